"""What the scheduler process does over and over; any number of them may do it at once.

``open_due_slots`` turns schedules into runs, ``take_waiting`` hands runs to the bell, and
``reconcile`` repairs what crashed. All by the database's clock, all safe to repeat.
"""

import logging
from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec
import sqlalchemy as sa
from croniter import croniter
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from app.audit import recorder
from app.core import db
from app.core.errors import TransientError
from app.core.words import message_id
from app.runs.errors import BadScheduleError
from app.runs.kinds import KINDS
from app.runs.ledger import requeue_or_bury
from app.runs.models import JobRun, Schedule
from app.runs.services import next_slot, ring, run_values
from app.runs.states import QueueName, RunStatus

log = logging.getLogger("simpul.scheduler")
_CLOCK = sa.func.clock_timestamp()


class WorkerLostError(TransientError):
    """The worker of a run was killed, crashed or froze."""

    code = "worker_lost"

    def __init__(self) -> None:
        super().__init__("The worker was lost; the run goes on from its last checkpoint.")


def open_due_slots(session: Session, *, limit: int = 100) -> int:
    """Open one run for each due schedule; return how many schedules were looked at.

    Slots that were missed while no scheduler ran become one run, for the latest of them.
    """
    now = db.now(session)
    due = session.scalars(
        sa.select(Schedule)
        .where(Schedule.enabled, Schedule.next_due_at <= now)
        .order_by(Schedule.next_due_at)
        .limit(limit)
        .with_for_update(skip_locked=True)
    ).all()
    for schedule in due:
        problem = _problem(schedule, now)
        if problem:
            _switch_off(session, schedule, problem)
        else:
            _open_slot(session, schedule, _latest_slot(schedule, now))
            _move_on(session, schedule, now)
    if due:
        ring(session)
    return len(due)


def _problem(schedule: Schedule, now: datetime) -> str:
    """Return why no run can come of a schedule, "" if one can.

    One that another version of the program wrote must not keep all others from their work.
    """
    kind = KINDS.get(schedule.kind)
    if kind is None:
        return f"unknown kind {schedule.kind}"
    try:
        msgspec.convert(schedule.params, kind.params, strict=False)
        next_slot(schedule.cron, schedule.time_zone, now)
    except (msgspec.ValidationError, BadScheduleError) as error:
        return str(error)
    return ""


def _switch_off(session: Session, schedule: Schedule, problem: str) -> None:
    log.error("schedule %s is switched off: %s", schedule.id, problem)
    recorder.record(
        session,
        "update",
        schedule,
        before={"enabled": True},
        after={"enabled": False},
        reason=problem,
    )
    session.execute(
        sa.update(Schedule).where(Schedule.id == schedule.id).values(enabled=False),
        execution_options={"audited": True},
    )


def _move_on(session: Session, schedule: Schedule, now: datetime) -> None:
    session.execute(
        sa.update(Schedule)
        .where(Schedule.id == schedule.id)
        .values(next_due_at=next_slot(schedule.cron, schedule.time_zone, now)),
        # Moving on to the next slot decides nothing; the run is the record of it.
        execution_options={"audited": True},
    )


def _latest_slot(schedule: Schedule, now: datetime) -> datetime:
    local = now.astimezone(ZoneInfo(schedule.time_zone))
    previous: datetime = croniter(schedule.cron, local).get_prev(datetime)
    return max(previous, schedule.next_due_at)


def _open_slot(session: Session, schedule: Schedule, due_at: datetime) -> None:
    values = run_values(schedule.kind, schedule.key, schedule.params) | {
        "label": schedule.name,
        "agency_id": schedule.agency_id,
        "schedule_id": schedule.id,
        "due_at": due_at,
    }
    opened = session.scalar(
        insert(JobRun).values(**values).on_conflict_do_nothing().returning(JobRun.id)
    )
    if opened is None:
        # Either the slot has its run already, or the run before it is still at work.
        values |= {
            "status": RunStatus.SKIPPED,
            "finished_at": _CLOCK,
            "error_code": "overlap",
            "error_message": message_id("Left out: the run before it had not ended."),
        }
        session.execute(
            insert(JobRun)
            .values(**values)
            .on_conflict_do_nothing(index_elements=["schedule_id", "due_at"])
        )


class Waiting(NamedTuple):
    """A run to ring for; ``again`` when it was rung before and nobody came."""

    run_id: UUID
    queue: QueueName
    fence: int
    again: bool


def take_waiting(
    session: Session, *, again_after_seconds: float, limit: int = 500
) -> list[Waiting]:
    """Mark runs as rung and return them; a run that nobody claimed is rung again later."""
    ready = (
        sa.select(JobRun.id, JobRun.queue, JobRun.fence, JobRun.rung_at)
        .where(
            JobRun.status == RunStatus.QUEUED,
            JobRun.not_before <= _CLOCK,
            sa.or_(
                JobRun.rung_at.is_(None),
                JobRun.rung_at < _CLOCK - timedelta(seconds=again_after_seconds),
            ),
        )
        .order_by(JobRun.not_before)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    rows = session.execute(ready).all()
    session.execute(
        sa.update(JobRun)
        .where(JobRun.id.in_([row.id for row in rows]))
        .values(rung_at=_CLOCK)
        .execution_options(synchronize_session=False)
    )
    return [
        Waiting(row.id, row.queue, row.fence, row.rung_at is not None) for row in rows
    ]


def unring(session: Session, run_ids: list[UUID]) -> None:
    """Undo ``take_waiting`` for runs that Redis did not take."""
    session.execute(
        sa.update(JobRun)
        .where(JobRun.id.in_(run_ids), JobRun.status == RunStatus.QUEUED)
        .values(rung_at=None)
        .execution_options(synchronize_session=False)
    )


def reconcile(session: Session, *, limit: int = 100) -> int:
    """Put runs whose lease ran out back into the queue, or bury them; return how many."""
    expired = session.execute(
        sa.select(JobRun.id, JobRun.fence)
        .where(JobRun.status == RunStatus.RUNNING, JobRun.lease_until < _CLOCK)
        .order_by(JobRun.lease_until)
        .limit(limit)
        .with_for_update(skip_locked=True)
    ).all()
    for run_id, fence in expired:
        requeue_or_bury(session, run_id, fence, WorkerLostError())
    if expired:
        ring(session)
    return len(expired)
