"""Acting for somebody else for some days: given in one action, ended by date or early."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import sqlalchemy as sa
from sqlalchemy.orm import Session

from app.core.clock import utc_now
from app.core.policy import acting_principal
from app.identity.errors import (
    ActsAlreadyError,
    BadDutyDaysError,
    DutyOverError,
    NoDutiesError,
    NotForOneselfError,
    RoleMismatchError,
)
from app.identity.models import Duty, User
from app.identity.states import DutyKind

LONGEST = timedelta(days=366)
LAST_YEAR = 2999


@dataclass(frozen=True, slots=True)
class HandOver:
    """What is handed over: to act as what, on what basis, from a day until another one."""

    kind: DutyKind
    position: str
    basis: str
    first_day: date
    last_day: date


def hand_over(
    session: Session, holder: User, successor: User, given: HandOver, zone: str
) -> Duty:
    """Let ``successor`` act in all roles of ``holder``, from the first day to the last.

    Raises ``NotForOneselfError``, ``NoDutiesError``, ``RoleMismatchError`` or
    ``BadDutyDaysError``, ``ActsAlreadyError``.
    """
    if successor.id == holder.id or not successor.is_active:
        raise NotForOneselfError
    if not holder.roles:
        raise NoDutiesError
    for role in holder.roles:
        if role.for_agency is not (successor.agency_id is not None):
            raise RoleMismatchError(role.label)
    if successor.agency_id != holder.agency_id:
        raise NotForOneselfError
    starts_at, ends_at = _span(given, zone)
    # Who presses twice waits here for themselves, and then sees what they have done.
    session.execute(
        sa.select(
            sa.func.pg_advisory_xact_lock(
                sa.func.hashtextextended(f"duty {holder.id}", 0)
            )
        )
    )
    if _acts_already(session, holder, successor, starts_at, ends_at):
        raise ActsAlreadyError
    duty = Duty(
        user=successor,
        for_user=holder,
        agency_id=successor.agency_id,
        kind=given.kind,
        position=given.position,
        basis=given.basis,
        starts_at=starts_at,
        ends_at=ends_at,
        given_by=acting_principal().user_id,
        roles=list(holder.roles),
    )
    session.add(duty)
    return duty


def _acts_already(
    session: Session,
    holder: User,
    successor: User,
    starts_at: datetime,
    ends_at: datetime,
) -> bool:
    overlapping = sa.exists().where(
        Duty.user_id == successor.id,
        Duty.for_user_id == holder.id,
        Duty.starts_at < ends_at,
        Duty.ends_at > starts_at,
        Duty.ends_at > utc_now(),
    )
    return bool(session.scalar(sa.select(overlapping)))


def end_early(duty: Duty) -> None:
    """Let a duty be over now; raises ``DutyOverError`` when it is already."""
    now = utc_now()
    if duty.ends_at <= now:
        raise DutyOverError
    duty.starts_at, duty.ends_at = min(duty.starts_at, now), now


def duties_of(session: Session, user: User) -> Sequence[Duty]:
    """Return the duties that a person has for others, or others for them, newest first."""
    return session.scalars(
        sa.select(Duty)
        .where(sa.or_(Duty.user_id == user.id, Duty.for_user_id == user.id))
        .order_by(Duty.starts_at.desc())
        .limit(50)
    ).all()


def colleagues_of(session: Session, user: User) -> Sequence[User]:
    """Return the active people to whom somebody's duties may go."""
    same = (
        User.agency_id.is_(None)
        if user.agency_id is None
        else User.agency_id == user.agency_id
    )
    return session.scalars(
        sa.select(User)
        .where(same, User.active, User.id != user.id)
        .order_by(User.name)
        .limit(500)
    ).all()


def _span(given: HandOver, zone: str) -> tuple[datetime, datetime]:
    """Return the instants between which a duty lasts, both days whole, on the office's clock."""
    days = given.last_day - given.first_day
    if days < timedelta(0) or days > LONGEST or given.last_day.year > LAST_YEAR:
        raise BadDutyDaysError
    starts_at, ends_at = (
        datetime.combine(day, time(), tzinfo=ZoneInfo(zone))
        for day in (given.first_day, given.last_day + timedelta(days=1))
    )
    if ends_at <= utc_now():
        raise BadDutyDaysError
    return starts_at, ends_at
