"""What the scheduler process does over and over; any number of them may do it at once.

``open_due_slots`` turns schedules into runs, ``take_waiting`` hands runs to the bell, and
``reconcile`` repairs what crashed. All by the database's clock, all safe to repeat.
"""

import logging
from datetime import datetime, timedelta
from typing import Any, NamedTuple
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
from app.runs.ledger import end_called_off, is_called_off, requeue_or_bury
from app.runs.models import JobRun, Schedule
from app.runs.services import next_slot, ring, run_values
from app.runs.states import ACTIVE, MissedPolicy, QueueName, RunStatus

log = logging.getLogger("simpul.scheduler")
_CLOCK = sa.func.clock_timestamp()
# So late a slot still counts as on time: the scheduler was restarted, not away.
ON_TIME = timedelta(minutes=5)
_LAST_DAY_OVER = "its last day is over"
_OVERLAP = message_id("Left out: the run before it had not ended.")
_MISSED = message_id(
    "Left out: nothing ran at that time, and it was not to be made up for."
)


class WorkerLostError(TransientError):
    """The worker of a run was killed, crashed or froze."""

    code = "worker_lost"

    def __init__(self) -> None:
        super().__init__("The worker was lost; the run goes on from its last checkpoint.")


def open_due_slots(session: Session, *, limit: int = 100) -> int:
    """Open the runs that schedules are due for; return how many were looked at.

    What becomes of slots that were missed is said by each schedule, see ``MissedPolicy``.
    """
    now = db.now(session)
    due = session.scalars(
        sa.select(Schedule)
        .where(Schedule.enabled, Schedule.next_due_at <= now, ~_is_catching_up())
        .order_by(Schedule.next_due_at)
        .limit(limit)
        .with_for_update(skip_locked=True)
    ).all()
    for schedule in due:
        problem = _problem(schedule, now)
        if problem:
            log.error("schedule %s is broken: %s", schedule.id, problem)
            _switch_off(session, schedule, problem)
        elif _is_over(schedule, schedule.next_due_at):
            _switch_off(session, schedule, _LAST_DAY_OVER)
        else:
            _MAKE_UP[schedule.missed](session, schedule, now)
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


def _is_over(schedule: Schedule, slot: datetime) -> bool:
    """Tell whether a slot lies behind the last day: an end that was asked for, no error."""
    return schedule.until is not None and slot > schedule.until


def _switch_off(session: Session, schedule: Schedule, reason: str) -> None:
    log.info("schedule %s is switched off: %s", schedule.id, reason)
    recorder.record(
        session,
        "update",
        schedule,
        before={"enabled": True},
        after={"enabled": False},
        reason=reason,
    )
    session.execute(
        sa.update(Schedule)
        .where(Schedule.id == schedule.id)
        # It counts as a change: a person who has the form open must not undo it unseen.
        .values(enabled=False, row_version=Schedule.row_version + 1),
        execution_options={"audited": True},
    )


def _is_catching_up() -> sa.ColumnElement[bool]:
    """Return the condition that a schedule makes up for its slots and is at one of them."""
    return sa.and_(
        Schedule.missed == MissedPolicy.CATCH_UP,
        sa.exists().where(
            JobRun.kind == Schedule.kind,
            JobRun.key == Schedule.key,
            JobRun.status.in_(ACTIVE),
        ),
    )


def _catch_up(session: Session, schedule: Schedule, now: datetime) -> None:
    """Open the oldest missed slot; the others follow when its run is over."""
    del now
    _open_slot(session, schedule, schedule.next_due_at)
    _move_on(session, schedule, schedule.next_due_at)


def _coalesce(session: Session, schedule: Schedule, now: datetime) -> None:
    """Open one run, for the latest slot."""
    _open_slot(session, schedule, _latest_slot(schedule, now))
    _move_on(session, schedule, now)


def _skip(session: Session, schedule: Schedule, now: datetime) -> None:
    """Open the latest slot if it is due just now; note what is left out."""
    slot = _latest_slot(schedule, now)
    if now - slot <= ON_TIME:
        _open_slot(session, schedule, slot)
    else:
        _leave_out(session, schedule, slot, "missed", _MISSED)
    _move_on(session, schedule, now)


_MAKE_UP = {
    MissedPolicy.CATCH_UP: _catch_up,
    MissedPolicy.COALESCE: _coalesce,
    MissedPolicy.SKIP: _skip,
}


def _move_on(session: Session, schedule: Schedule, after: datetime) -> None:
    """Wait for the slot that follows ``after``, or rest when the schedule has run out."""
    slot = next_slot(schedule.cron, schedule.time_zone, after)
    if _is_over(schedule, slot):
        _switch_off(session, schedule, _LAST_DAY_OVER)
    session.execute(
        sa.update(Schedule).where(Schedule.id == schedule.id).values(next_due_at=slot),
        # Moving on to the next slot decides nothing; the run is the record of it.
        execution_options={"audited": True},
    )


def _latest_slot(schedule: Schedule, now: datetime) -> datetime:
    """Return the last slot that has come, within the schedule's days."""
    end = min(now, schedule.until) if schedule.until else now
    local = end.astimezone(ZoneInfo(schedule.time_zone)) + timedelta(microseconds=1)
    previous: datetime = croniter(schedule.cron, local).get_prev(datetime)
    return max(previous, schedule.next_due_at)


def _slot_values(schedule: Schedule, due_at: datetime) -> dict[str, Any]:
    return run_values(schedule.kind, schedule.key, schedule.params) | {
        "label": schedule.name,
        "agency_id": schedule.agency_id,
        "schedule_id": schedule.id,
        "due_at": due_at,
    }


def _open_slot(session: Session, schedule: Schedule, due_at: datetime) -> None:
    opened = session.scalar(
        insert(JobRun)
        .values(**_slot_values(schedule, due_at))
        .on_conflict_do_nothing()
        .returning(JobRun.id)
    )
    if opened is None:
        # Either the slot has its run already, or the run before it is still at work.
        _leave_out(session, schedule, due_at, "overlap", _OVERLAP)


def _leave_out(
    session: Session, schedule: Schedule, due_at: datetime, code: str, message: str
) -> None:
    """Note that a slot has no run, so that nobody wonders; unless it has one."""
    values = _slot_values(schedule, due_at) | {
        "status": RunStatus.SKIPPED,
        "finished_at": _CLOCK,
        "error_code": code,
        "error_message": message,
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
    _end_called_off(session, limit)
    if expired:
        ring(session)
    return len(expired)


def _end_called_off(session: Session, limit: int) -> None:
    """End runs that came back to the queue after somebody had called them off."""
    waiting = session.execute(
        sa.select(JobRun.id, JobRun.fence)
        .where(JobRun.status == RunStatus.QUEUED, is_called_off())
        .limit(limit)
        .with_for_update(skip_locked=True)
    ).all()
    for run_id, fence in waiting:
        end_called_off(session, run_id, fence)
