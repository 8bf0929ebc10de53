"""Tables of the ledger: runs, their log, schedules and the workers' pulse."""

from datetime import datetime
from typing import Any, ClassVar
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.hybrid import hybrid_property
from sqlalchemy.orm import Mapped, mapped_column

from app.core.db import Base, HasId, Versioned, choice
from app.core.scope import Scope
from app.core.search import words_index
from app.runs.states import (
    ACTIVE,
    TERMINAL,
    LogLevel,
    MissedPolicy,
    QueueName,
    RunStatus,
)


def _listed(statuses: tuple[RunStatus, ...]) -> str:
    return ", ".join(f"'{status}'" for status in statuses)


class Schedule(HasId, Versioned, Base):
    """When a kind of work is due: a cron line on the clock of a time zone.

    ``next_due_at`` is the slot that comes next; one run for each slot, by a constraint on
    the runs. ``missed`` says what becomes of slots that passed while nothing ran. After
    ``until`` nothing is due any more.
    """

    __tablename__ = "schedule"
    __scope__: ClassVar[Scope] = Scope.AGENCY
    __table_args__ = (
        words_index("schedule", "name"),
        sa.Index("ix_schedule_due", "next_due_at", postgresql_where=sa.text("enabled")),
    )

    name: Mapped[str]
    kind: Mapped[str]
    key: Mapped[str]
    params: Mapped[dict[str, Any]] = mapped_column(default=dict)
    agency_id: Mapped[UUID | None] = mapped_column(sa.ForeignKey("agency.id"), index=True)
    cron: Mapped[str]
    time_zone: Mapped[str] = mapped_column(default="Asia/Jakarta")
    enabled: Mapped[bool] = mapped_column(default=True)
    missed: Mapped[MissedPolicy] = mapped_column(
        choice(MissedPolicy, "missed"), default=MissedPolicy.COALESCE
    )
    until: Mapped[datetime | None]
    next_due_at: Mapped[datetime]
    created_at: Mapped[datetime] = mapped_column(server_default=sa.func.now())

    @hybrid_property
    def comes_at(self) -> datetime | None:
        """The slot that really comes next; none while it is off."""
        return self.next_due_at if self.enabled else None

    @comes_at.inplace.expression
    @classmethod
    def _comes_at(cls) -> sa.Case[datetime | None]:
        return sa.case((cls.enabled, cls.next_due_at))

    def __str__(self) -> str:
        return self.name


class JobRun(HasId, Base):
    """One background run. ``fence`` grows with each claim; every write of a worker checks it.

    ``key``: at most one active run for a (kind, key). ``rung_at``: when Redis was last told.
    ``progress_done`` and ``progress_total`` are counted in ``progress_unit``.
    """

    __tablename__ = "job_run"
    __scope__: ClassVar[Scope] = Scope.AGENCY
    __table_args__ = (
        words_index("job_run", "label"),
        sa.UniqueConstraint("schedule_id", "due_at"),
        sa.Index(
            "uq_job_run_active_key",
            "kind",
            "key",
            unique=True,
            postgresql_where=sa.text(f"status IN ({_listed(ACTIVE)})"),
        ),
        sa.Index(
            "ix_job_run_waiting",
            "not_before",
            postgresql_where=sa.text("status = 'queued'"),
        ),
        sa.Index(
            "ix_job_run_leased",
            "lease_until",
            postgresql_where=sa.text("status = 'running'"),
        ),
        sa.Index("ix_job_run_created_at", sa.text("created_at DESC")),
        sa.CheckConstraint(
            f"(status IN ({_listed(TERMINAL)})) = (finished_at IS NOT NULL)",
            name="finished_iff_terminal",
        ),
        sa.CheckConstraint(
            "(status = 'running') = (lease_until IS NOT NULL)", name="leased_iff_running"
        ),
    )

    kind: Mapped[str]
    queue: Mapped[QueueName] = mapped_column(choice(QueueName, "queue"))
    key: Mapped[str]
    label: Mapped[str] = mapped_column(default="")
    agency_id: Mapped[UUID | None] = mapped_column(sa.ForeignKey("agency.id"), index=True)
    params: Mapped[dict[str, Any]]
    status: Mapped[RunStatus] = mapped_column(
        choice(RunStatus, "status"), default=RunStatus.QUEUED
    )
    attempt: Mapped[int] = mapped_column(default=0)
    max_attempts: Mapped[int]
    fence: Mapped[int] = mapped_column(sa.BigInteger, default=0)
    lease_until: Mapped[datetime | None]
    worker: Mapped[str] = mapped_column(default="")
    not_before: Mapped[datetime] = mapped_column(server_default=sa.func.now())
    rung_at: Mapped[datetime | None]
    schedule_id: Mapped[UUID | None]  # no foreign key: runs outlive their schedule
    due_at: Mapped[datetime | None]
    retry_of_id: Mapped[UUID | None] = mapped_column(sa.ForeignKey("job_run.id"))
    checkpoint: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True))
    result: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True))
    error_code: Mapped[str] = mapped_column(default="")
    error_message: Mapped[str] = mapped_column(default="")  # message id
    error_params: Mapped[dict[str, Any]] = mapped_column(default=dict)
    progress_done: Mapped[int] = mapped_column(sa.BigInteger, default=0)
    progress_total: Mapped[int | None] = mapped_column(sa.BigInteger)
    progress_unit: Mapped[str] = mapped_column(default="")
    requested_by: Mapped[str] = mapped_column(default="")
    requested_by_id: Mapped[UUID | None]
    request_id: Mapped[str] = mapped_column(default="")
    created_at: Mapped[datetime] = mapped_column(server_default=sa.func.clock_timestamp())
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]

    def __str__(self) -> str:
        return self.label or f"{self.kind} {self.id}"


class CancelRequest(Base):
    """Somebody's wish that a run end. A table of its own: a publish holds its run's row."""

    __tablename__ = "cancel_request"
    __scope__: ClassVar[Scope] = Scope.OFFICE

    run_id: Mapped[UUID] = mapped_column(
        sa.ForeignKey("job_run.id", ondelete="CASCADE"), primary_key=True
    )
    requested_at: Mapped[datetime] = mapped_column(
        server_default=sa.func.clock_timestamp()
    )
    requested_by: Mapped[str]


class RunLog(Base):
    """One line of a run's log: a message id and what fills it, written while it runs."""

    __tablename__ = "run_log"
    __scope__: ClassVar[Scope] = Scope.AGENCY
    __table_args__ = (sa.Index(None, "run_id", "id"),)

    id: Mapped[int] = mapped_column(sa.BigInteger, sa.Identity(), primary_key=True)
    run_id: Mapped[UUID] = mapped_column(sa.ForeignKey("job_run.id", ondelete="CASCADE"))
    agency_id: Mapped[UUID | None]
    at: Mapped[datetime] = mapped_column(server_default=sa.func.clock_timestamp())
    attempt: Mapped[int]
    level: Mapped[LogLevel] = mapped_column(choice(LogLevel, "level"))
    message: Mapped[str]
    params: Mapped[dict[str, Any]] = mapped_column(default=dict)


class WorkerHeartbeat(Base):
    """The pulse of one worker process; what health and the overview read."""

    __tablename__ = "worker_heartbeat"
    __scope__: ClassVar[Scope] = Scope.OFFICE

    name: Mapped[str] = mapped_column(primary_key=True)
    role: Mapped[str]  # "worker" or "scheduler"
    queue: Mapped[str] = mapped_column(default="")
    host: Mapped[str]
    pid: Mapped[int]
    started_at: Mapped[datetime] = mapped_column(server_default=sa.func.now())
    seen_at: Mapped[datetime] = mapped_column(server_default=sa.func.now())
