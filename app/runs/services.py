"""Requests for background work, as people and schedules make them.

A request is rows and nothing else: the run is written in the caller's transaction and the
dispatcher hears of it when that commits. Redis is never touched here.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, time
from typing import Any
from uuid import UUID, uuid4
from zoneinfo import ZoneInfo

import msgspec
import sqlalchemy as sa
from croniter import CroniterError, croniter
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from app.audit import recorder
from app.core import db
from app.core.errors import RejectedError
from app.core.policy import acting_principal, request_id
from app.core.words import message_id
from app.runs.errors import (
    AlreadyActiveError,
    BadScheduleError,
    NotCancellableError,
    NotRetryableError,
    OutdatedWorkError,
    ReasonMissingError,
    SupersededError,
)
from app.runs.kinds import KINDS, KindName
from app.runs.models import CancelRequest, JobRun, Schedule
from app.runs.queries import is_overtaken, is_superseded, open_again
from app.runs.states import ACTIVE, RETRYABLE, MissedPolicy, RunStatus

# So many runs are tried again by one press of a button: a few seconds of work.
RETRY_LIMIT = 1_000
BELL = "simpul_job_run"  # NOTIFY channel that wakes the dispatcher
_UNREADABLE = message_id("The schedule cannot be read: %(cron)s. Example: 0 2 * * *")
# croniter's R and H stand for times drawn by lot: no two readings of them agree.
_RANDOM = re.compile(r"(?<![a-z])[rh](?![a-z])", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be done: the kind, its parameters, and the key that must not overlap.

    ``retry_of``: the run whose work is asked for again.
    """

    kind: str
    key: str
    params: msgspec.Struct
    label: str
    agency_id: UUID | None
    retry_of: UUID | None = None


def request_run(session: Session, order: Order) -> UUID:
    """Write a run into this transaction and return its id.

    Raises ``AlreadyActiveError`` when a run of the same kind and key is not over yet.
    """
    values = run_values(order.kind, order.key, msgspec.to_builtins(order.params))
    run_id: UUID | None = session.scalar(
        insert(JobRun)
        .values(
            **values,
            label=order.label,
            agency_id=order.agency_id,
            retry_of_id=order.retry_of,
        )
        .on_conflict_do_nothing(
            index_elements=["kind", "key"],
            index_where=JobRun.status.in_([sa.literal_column(f"'{s}'") for s in ACTIVE]),
        )
        .returning(JobRun.id)
    )
    if run_id is None:
        raise AlreadyActiveError
    ring(session)
    return run_id


def run_values(kind: str, key: str, params: Mapping[str, Any]) -> dict[str, Any]:
    """Return the columns of a new run, its parameters checked against the kind."""
    definition = KINDS[kind]
    msgspec.convert(params, definition.params, strict=False)
    principal = acting_principal()
    return {
        "id": uuid4(),
        "kind": kind,
        "queue": definition.queue,
        "key": key,
        "params": dict(params),
        "status": RunStatus.QUEUED,
        "max_attempts": definition.max_attempts,
        "requested_by": principal.label,
        "requested_by_id": principal.user_id,
        "request_id": request_id(),
    }


def ring(session: Session) -> None:
    """Wake the dispatcher when this transaction commits; it also looks by itself."""
    session.execute(sa.text(f"NOTIFY {BELL}"))


def retry(session: Session, run: JobRun, *, accepted: str = "") -> UUID:
    """Request the same work again; the old run stays as it was.

    ``accepted`` names a gate code that the person lets pass, for a held pull. What somebody
    let pass before is carried along only then: a plain retry lets nothing pass. Raises
    ``SupersededError`` where data of earlier days would replace what came since, and
    ``OutdatedWorkError`` for work that this version does not know.
    """
    if run.status not in RETRYABLE:
        raise NotRetryableError
    params = dict(run.params)
    goes_back = run.kind == KindName.ROLLBACK or params.get("replay_of")
    if goes_back and is_overtaken(session, run):
        raise SupersededError
    before = params.pop("accepted", [])
    if accepted:
        params["accepted"] = sorted({*before, accepted})
        params["replay_of"] = str(run.id)  # the answer they looked at, and no other
    new_id = request_run(
        session,
        Order(
            kind=run.kind,
            key=run.key,
            params=_known_params(run.kind, params),
            label=run.label,
            agency_id=run.agency_id,
            retry_of=run.id,
        ),
    )
    recorder.record(
        session, "retry", run, after={"run": str(new_id), "accepted": accepted}
    )
    return new_id


def _known_params(kind: str, params: Mapping[str, Any]) -> msgspec.Struct:
    try:
        return msgspec.convert(params, KINDS[kind].params, strict=False)
    except (KeyError, msgspec.ValidationError):
        raise OutdatedWorkError from None


def retry_all(session: Session, listed: sa.Select[Any]) -> tuple[int, int]:
    """Request again the work of all runs of a list that nobody asked for since.

    Of runs of the same work only the newest counts. Returns how many were requested and how
    many could not be. At most ``RETRY_LIMIT`` are looked at, newest first; the next call
    takes the others.
    """
    wanted = open_again(listed)
    locked = session.scalars(
        wanted.with_only_columns(JobRun.id)
        .order_by(JobRun.created_at.desc(), JobRun.id)
        .limit(RETRY_LIMIT)
        .with_for_update(of=JobRun)
    ).all()
    # Asked anew now that they are ours: somebody may have done the same just before.
    runs = session.scalars(wanted.where(JobRun.id.in_(locked)).order_by(JobRun.id)).all()
    begun = 0
    for run in runs:
        try:
            retry(session, run)
        except RejectedError:
            continue  # refused before anything was written
        begun += 1
    return begun, len(runs) - begun


def cancel(session: Session, run: JobRun) -> None:
    """Call a run off: one that waits ends now, one at work within moments.

    Raises ``NotCancellableError`` when it is over already.
    """
    who = acting_principal().label
    ended = session.execute(
        sa.update(JobRun)
        .where(JobRun.id == run.id, JobRun.status == RunStatus.QUEUED)
        .values(
            status=RunStatus.CANCELLED,
            finished_at=sa.func.clock_timestamp(),
            error_code="cancelled",
            error_message=message_id("Cancelled by %(who)s."),
            error_params={"who": who},
        )
        .returning(JobRun.id)
        .execution_options(synchronize_session=False)
    ).first()
    if ended is None:
        _ask_to_end(session, run, who)
    recorder.record(session, "cancel", run)


def _ask_to_end(session: Session, run: JobRun, who: str) -> None:
    status = session.scalar(sa.select(JobRun.status).where(JobRun.id == run.id))
    if status not in ACTIVE:
        raise NotCancellableError
    session.execute(
        insert(CancelRequest)
        .values(run_id=run.id, requested_by=who)
        .on_conflict_do_nothing()
    )


def accept_held(session: Session, run: JobRun, reason: str) -> UUID:
    """Run a held pull again and let the fault that held it pass, for that run alone.

    Raises ``ReasonMissingError`` without a reason, ``NotRetryableError`` if not held, and
    ``SupersededError`` for any but the newest run of the same work.
    """
    if run.status is not RunStatus.HELD:
        raise NotRetryableError
    if is_superseded(session, run):
        raise SupersededError
    if not reason:
        raise ReasonMissingError
    db.because(session, reason)
    return retry(session, run, accepted=run.error_code)


def next_slot(cron: str, time_zone: str, after: datetime) -> datetime:
    """Return the first slot later than ``after``, on the wall clock of ``time_zone``.

    Raises ``BadScheduleError`` for a line that is no cron line or would never be due.
    """
    if len(cron.split()) != 5:
        raise BadScheduleError(
            "A schedule has five parts: minute, hour, day, month, weekday. Example: 0 2 * * *"
        )
    if _RANDOM.search(cron):
        raise BadScheduleError(_UNREADABLE, cron=cron)
    try:
        local = after.astimezone(ZoneInfo(time_zone))
        slot: datetime = croniter(cron, local).get_next(datetime)
    except (CroniterError, KeyError, ValueError, OSError):
        raise BadScheduleError(_UNREADABLE, cron=cron) from None
    return slot


def next_slots(cron: str, time_zone: str, after: datetime, count: int) -> list[datetime]:
    """Return the next ``count`` slots, for a person to look at before saving."""
    slots: list[datetime] = []
    for _ in range(count):
        after = next_slot(cron, time_zone, after)
        slots.append(after)
    return slots


def coming_slots(schedule: Schedule, now: datetime, count: int = 5) -> list[datetime]:
    """Return the slots at which a schedule will really be due; none while it rests."""
    if not schedule.enabled:
        return []
    slots = next_slots(schedule.cron, schedule.time_zone, now, count)
    return [slot for slot in slots if schedule.until is None or slot <= schedule.until]


def last_day(schedule: Schedule) -> date | None:
    """Return the last day on which a schedule is due, on its own clock."""
    if schedule.until is None:
        return None
    return schedule.until.astimezone(ZoneInfo(schedule.time_zone)).date()


def set_days(schedule: Schedule, missed: MissedPolicy, last: date | None) -> None:
    """Set what becomes of missed slots, and the last day (whole, on the schedule's clock)."""
    schedule.missed = missed
    zone = ZoneInfo(schedule.time_zone)
    schedule.until = datetime.combine(last, time.max, zone) if last else None


def save_schedule(session: Session, schedule: Schedule) -> None:
    """Check a new or changed schedule and set its next slot from the database's clock."""
    definition = KINDS[schedule.kind]
    msgspec.convert(schedule.params, definition.params, strict=False)
    now = db.now(session)
    schedule.next_due_at = next_slot(schedule.cron, schedule.time_zone, now)
    if schedule.enabled and schedule.until and schedule.next_due_at > schedule.until:
        raise BadScheduleError(
            "The schedule would end before it is due for the first time."
        )
    session.add(schedule)
