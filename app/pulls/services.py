"""Asking for pulls, now and on a schedule."""

from dataclasses import dataclass
from datetime import date
from uuid import UUID

import msgspec
import sqlalchemy as sa
from sqlalchemy.orm import Session

from app.runs.kinds import KindName, PullParams
from app.runs.models import Schedule
from app.runs.services import Order, request_run, save_schedule, set_days
from app.runs.states import MissedPolicy
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
    """Ask for a pull now; raises ``AlreadyActiveError`` while one is under way."""
    return request_run(session, order_for(source))


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


def set_schedule(session: Session, source: Source, wish: ScheduleWish) -> Schedule:
    """Set when a source is pulled; raises ``BadScheduleError`` for an unreadable line."""
    # Two who save at the same moment must not both make one.
    session.execute(sa.select(Source.id).where(Source.id == source.id).with_for_update())
    order = order_for(source)
    schedule = schedule_of(session, source) or Schedule(kind=order.kind)
    schedule.name, schedule.key = source.name, order.key
    schedule.params = msgspec.to_builtins(order.params)
    schedule.agency_id = source.agency_id
    schedule.cron, schedule.time_zone = wish.cron, wish.time_zone
    schedule.enabled = wish.enabled
    set_days(schedule, wish.missed, wish.last_day)
    save_schedule(session, schedule)
    return schedule
