"""Questions about runs, for pages."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy import orm
from sqlalchemy.orm import Session

from app.runs.kinds import KINDS, KindName
from app.runs.models import JobRun, RunLog, Schedule, WorkerHeartbeat
from app.runs.states import (
    ACTIVE,
    DEAD_LETTERS,
    RETRYABLE,
    SILENT_SECONDS,
    QueueName,
    RunStatus,
)

PAGE_SIZE = 25


def is_superseded(session: Session, run: JobRun) -> bool:
    """Tell whether the same work has been asked for again since this run."""
    this = sa.select(JobRun.id).where(JobRun.id == run.id, was_asked_again())
    return session.scalar(this) is not None


def was_asked_again() -> sa.ColumnElement[bool]:
    """Return the condition that the work of a run was asked for again since."""
    newer = orm.aliased(JobRun)
    return sa.exists().where(
        newer.kind == JobRun.kind,
        newer.key == JobRun.key,
        newer.created_at > JobRun.created_at,
        newer.status != RunStatus.SKIPPED,
    )


def is_overtaken(session: Session, run: JobRun) -> bool:
    """Tell whether other data was published since for what this run would publish."""
    newer = sa.exists().where(
        JobRun.kind.in_([KindName.PULL, KindName.ROLLBACK]),
        JobRun.key == run.key,
        JobRun.created_at > run.created_at,
        JobRun.status == RunStatus.SUCCEEDED,
    )
    return bool(session.scalar(sa.select(newer)))


def is_active(session: Session, kind: str, key: str) -> bool:
    """Tell whether work of this kind and key waits or is at work."""
    active = sa.exists().where(
        JobRun.kind == kind, JobRun.key == key, JobRun.status.in_(ACTIVE)
    )
    return bool(session.scalar(sa.select(active)))


def open_again(wanted: sa.Select[Any]) -> sa.Select[Any]:
    """Narrow a query of runs to those that nobody has taken up since they ended."""
    return wanted.where(
        JobRun.status.in_(RETRYABLE), JobRun.kind.in_(KINDS), ~was_asked_again()
    )


def open_again_count(session: Session, wanted: sa.Select[Any]) -> int:
    """Return how many runs of a list end without a successor, and could have one."""
    found = open_again(wanted).with_only_columns(
        sa.func.count(), maintain_column_froms=True
    )
    return session.scalar(found.order_by(None)) or 0


def log_of(session: Session, run_id: UUID, *, limit: int = 500) -> Sequence[RunLog]:
    """Return the last lines of a run's log, oldest of them first."""
    newest = session.scalars(
        sa.select(RunLog)
        .where(RunLog.run_id == run_id)
        .order_by(RunLog.id.desc())
        .limit(limit)
    ).all()
    return newest[::-1]


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast a run goes: units per second, and seconds left where a total is known."""

    per_second: float | None
    seconds_left: float | None
    seconds: float | None


def pace_of(run: JobRun, now: datetime) -> Pace:
    """Work out rate and time left from progress and start."""
    if run.started_at is None:
        return Pace(None, None, None)
    seconds = ((run.finished_at or now) - run.started_at).total_seconds()
    if seconds <= 0 or not run.progress_done:
        return Pace(None, None, max(seconds, 0))
    rate = run.progress_done / seconds
    left = None
    if run.progress_total and run.status is RunStatus.RUNNING:
        left = max(run.progress_total - run.progress_done, 0) / rate
    return Pace(rate, left, seconds)


@dataclass(frozen=True, slots=True)
class QueueState:
    """One queue just now. ``lag``: how long the run that is due longest has waited.

    ``done`` and ``failed`` are runs that ended within the last hour.
    """

    name: QueueName
    workers: int
    waiting: int
    later: int
    running: int
    lag: timedelta | None
    done: int
    failed: int


@dataclass(frozen=True, slots=True)
class LedgerState:
    """Everything that is at work or waits, at ``now`` on the database's clock."""

    now: datetime
    queues: Sequence[QueueState]
    processes: Sequence[WorkerHeartbeat]
    leased: Sequence[JobRun]
    overdue: Sequence[Schedule]
    dead_letters: int

    def is_silent(self, process: WorkerHeartbeat) -> bool:
        return self.now - process.seen_at > timedelta(seconds=SILENT_SECONDS)


def ledger_state(session: Session, now: datetime) -> LedgerState:
    """Return the state of the whole ledger; for the office alone."""
    processes = session.scalars(
        sa.select(WorkerHeartbeat).order_by(
            WorkerHeartbeat.role, WorkerHeartbeat.queue, WorkerHeartbeat.name
        )
    ).all()
    alive = [p for p in processes if now - p.seen_at <= timedelta(seconds=SILENT_SECONDS)]
    counted = {row.queue: row for row in session.execute(_queue_counts(now))}
    return LedgerState(
        now=now,
        queues=[
            _queue_state(
                name, counted.get(name), sum(p.queue == name for p in alive), now
            )
            for name in QueueName
        ],
        processes=processes,
        leased=session.scalars(
            sa.select(JobRun)
            .where(JobRun.status == RunStatus.RUNNING)
            .order_by(JobRun.started_at)
            .limit(PAGE_SIZE)
        ).all(),
        overdue=session.scalars(
            sa.select(Schedule)
            .where(Schedule.enabled, Schedule.next_due_at < now - timedelta(minutes=1))
            .order_by(Schedule.next_due_at)
            .limit(PAGE_SIZE)
        ).all(),
        dead_letters=session.scalar(
            sa.select(sa.func.count())
            .select_from(JobRun)
            .where(
                JobRun.status.in_(DEAD_LETTERS),
                JobRun.created_at > now - timedelta(days=7),
            )
        )
        or 0,
    )


def _queue_counts(now: datetime) -> sa.Select[*tuple[Any, ...]]:
    """Return what is asked of each queue; runs that ended long ago are not looked at."""
    waits = sa.and_(JobRun.status == RunStatus.QUEUED, JobRun.not_before <= now)
    count = sa.func.count
    return (
        sa.select(
            JobRun.queue,
            count().filter(waits).label("waiting"),
            count()
            .filter(JobRun.status == RunStatus.QUEUED, JobRun.not_before > now)
            .label("later"),
            count().filter(JobRun.status == RunStatus.RUNNING).label("running"),
            sa.func.min(JobRun.not_before).filter(waits).label("oldest"),
            count().filter(JobRun.status == RunStatus.SUCCEEDED).label("done"),
            count().filter(JobRun.status.in_(DEAD_LETTERS)).label("failed"),
        )
        .where(
            sa.or_(
                JobRun.status.in_([RunStatus.QUEUED, RunStatus.RUNNING]),
                JobRun.finished_at > now - timedelta(hours=1),
            )
        )
        .group_by(JobRun.queue)
    )


def _queue_state(name: QueueName, row: Any, workers: int, now: datetime) -> QueueState:
    if row is None:
        return QueueState(name, workers, 0, 0, 0, None, 0, 0)
    lag = now - row.oldest if row.oldest else None
    return QueueState(
        name, workers, row.waiting, row.later, row.running, lag, row.done, row.failed
    )
