"""Asking for pulls, now and on a schedule."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date
from uuid import UUID

import msgspec
import sqlalchemy as sa
from sqlalchemy.orm import Session

from app.audit import recorder
from app.core import db
from app.core.errors import SimpulError
from app.core.words import message_id
from app.datasets.models import Dataset
from app.pulls import raw_pages
from app.pulls.errors import NotReplayableError, RollbackWaitsError
from app.pulls.models import PullRun
from app.pulls.rollback import require_returnable
from app.runs.errors import AlreadyActiveError, ReasonMissingError
from app.runs.kinds import KindName, PullParams, RollbackParams
from app.runs.models import JobRun, Schedule
from app.runs.queries import is_active
from app.runs.services import Order, request_run, save_schedule, set_days
from app.runs.states import MissedPolicy, RunStatus
from app.sources.models import Source


def order_for(source: Source) -> Order:
    """Return the order of a pull. Its key keeps two pulls into one dataset apart."""
    return Order(
        kind=KindName.PULL,
        key=f"contract:{source.contract_id}",
        params=PullParams(source_id=source.id),
        label=source.name,
        agency_id=source.agency_id,
    )


def request_pull(session: Session, source: Source) -> UUID:
    """Ask for a pull now.

    Raises ``AlreadyActiveError`` while one is under way, ``RollbackWaitsError`` while its
    dataset is being brought back.
    """
    order = order_for(source)
    if is_active(session, KindName.ROLLBACK, order.key):
        raise RollbackWaitsError
    return request_run(session, order)


def request_replay(session: Session, run: JobRun) -> UUID:
    """Ask for a pull out of the kept answer of an earlier one.

    Raises ``NotReplayableError`` when the answer is not whole any more, or when a later
    one was published; ``AlreadyActiveError`` while a pull is under way.
    """
    if run.kind != KindName.PULL or not raw_pages.is_whole(session, run.id):
        raise NotReplayableError(
            "The answer of this run is not kept, or was never whole."
        )
    newer = sa.exists().where(
        JobRun.kind == run.kind,
        JobRun.key == run.key,
        JobRun.created_at > run.created_at,
        JobRun.status == RunStatus.SUCCEEDED,
    )
    if session.scalar(sa.select(newer)):
        raise NotReplayableError(
            "A later answer was published since. To go back, use the roll-back."
        )
    source = session.get_one(Source, UUID(str(run.params["source_id"])))
    order = order_for(source)
    params = PullParams(source_id=source.id, replay_of=run.id)
    run_id = request_run(session, replace(order, params=params))
    recorder.record(session, "replay", run, after={"run": str(run_id)})
    return run_id


def published_run(session: Session, source: Source) -> UUID | None:
    """Return the run at which the source's dataset stands."""
    return session.scalar(
        sa.select(Dataset.published_run_id).where(
            Dataset.contract_id == source.contract_id
        )
    )


def request_rollback(
    session: Session, dataset: Dataset, target: PullRun, reason: str
) -> UUID:
    """Ask that a dataset be brought back to how it stood after ``target``.

    Its schedules rest from now on: the next pull would bring back what is rolled back.
    Raises ``ReasonMissingError``, ``NotReturnableError``, or ``AlreadyActiveError`` while a
    pull is under way.
    """
    if not reason:
        raise ReasonMissingError
    require_returnable(dataset, target)
    key = f"contract:{dataset.contract_id}"
    if is_active(session, KindName.PULL, key):
        raise AlreadyActiveError
    db.because(session, reason)
    for schedule in session.scalars(
        sa.select(Schedule).where(
            Schedule.kind == KindName.PULL, Schedule.key == key, Schedule.enabled
        )
    ):
        schedule.enabled = False
    # What changed since then is not there any more: it must be asked for again.
    for source in session.scalars(
        sa.select(Source).where(Source.contract_id == dataset.contract_id)
    ):
        source.mark = None
    run_id = request_run(
        session,
        Order(
            kind=KindName.ROLLBACK,
            key=key,
            params=RollbackParams(dataset_id=dataset.id, to_run_id=target.run_id),
            label=dataset.title,
            agency_id=dataset.agency_id,
        ),
    )
    recorder.record(session, "rollback", dataset, after={"to": str(target.run_id)})
    return run_id


def schedule_of(session: Session, source: Source) -> Schedule | None:
    """Return the schedule of a source's pulls, if it has one."""
    return session.scalar(
        sa.select(Schedule).where(
            Schedule.kind == KindName.PULL,
            Schedule.params["source_id"].astext == str(source.id),
        )
    )


@dataclass(frozen=True, slots=True)
class ScheduleWish:
    """When a source shall be pulled. ``last_day`` None: until somebody stops it."""

    cron: str
    time_zone: str
    enabled: bool = True
    missed: MissedPolicy = MissedPolicy.COALESCE
    last_day: date | None = None


def locked_schedule(session: Session, source: Source) -> Schedule | None:
    """Return the schedule of a source as it stays until the transaction ends.

    Two who save at the same moment must not both make one.
    """
    session.execute(sa.select(Source.id).where(Source.id == source.id).with_for_update())
    return schedule_of(session, source)


def set_schedule(session: Session, source: Source, wish: ScheduleWish) -> Schedule:
    """Set when a source is pulled; raises ``BadScheduleError`` for an unreadable line."""
    schedule = locked_schedule(session, source)
    order = order_for(source)
    schedule = schedule or Schedule(kind=order.kind)
    schedule.name, schedule.key = source.name, order.key
    schedule.params = msgspec.to_builtins(order.params)
    schedule.agency_id = source.agency_id
    schedule.cron, schedule.time_zone = wish.cron, wish.time_zone
    schedule.enabled = wish.enabled
    set_days(schedule, wish.missed, wish.last_day)
    save_schedule(session, schedule)
    return schedule


def _schedule_to_change(session: Session, source: Source) -> Schedule | None:
    """Return a source's schedule as it is now: a run's end must not fail on an editor's save."""
    schedule = schedule_of(session, source)
    if schedule is not None:
        session.refresh(schedule, with_for_update=True)
    return schedule


RESTS = message_id("%(who)s let it rest: %(reason)s")


def pause_source(
    session: Session, source: Source, message: str, params: Mapping[str, object]
) -> None:
    """Let a source and its schedule rest; ``message`` is a message id that says why."""
    schedule = _schedule_to_change(session, source)
    had_schedule = schedule is not None and schedule.enabled
    if schedule is not None:
        schedule.enabled = False
    source.enabled = False
    source.pause = {
        "message": message,
        "params": msgspec.to_builtins(dict(params), enc_hook=str),
        "schedule": had_schedule,
    }


def resume_source(session: Session, source: Source) -> None:
    """Let a source work again, and its schedule when that rested with it."""
    pause = source.pause or {}
    source.enabled, source.pause, source.failure_count = True, None, 0
    schedule = _schedule_to_change(session, source)
    if schedule is not None and pause.get("schedule"):
        schedule.enabled = True
        save_schedule(session, schedule)


def note_failure(session: Session, source_id: UUID, error: SimpulError) -> None:
    """Count a run that failed; after too many in a row the source rests."""
    source = _locked(session, source_id)
    if source is None or not source.enabled:  # gone, or at rest already
        return
    count = source.failure_count + 1
    _count(session, source_id, count)
    if source.max_failures and count >= source.max_failures:
        session.refresh(source, with_for_update={"of": Source})
        db.because(session, f"{count}: {error.code}")
        pause_source(session, source, error.message, error.params)


def note_success(session: Session, source_id: UUID) -> None:
    """A run came to its end: failures in a row begin anew."""
    _count(session, source_id, 0)


def _locked(session: Session, source_id: UUID) -> Source | None:
    return session.scalars(
        sa.select(Source).where(Source.id == source_id).with_for_update(of=Source)
    ).one_or_none()


def _count(session: Session, source_id: UUID, count: int) -> None:
    session.execute(
        sa.update(Source)
        .where(Source.id == source_id, Source.failure_count != count)
        .values(failure_count=count)
        # A counter of runs, which tell of themselves.
        .execution_options(audited=True, synchronize_session=False)
    )
