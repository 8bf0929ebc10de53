"""Warns of steps whose time is nearly used up, and tells higher up of those that are late."""

from datetime import datetime
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Session

from app.core.words import message_id
from app.notifications import notices
from app.notifications.states import NoticeKind
from app.requests.clocks import clocks_of
from app.requests.deadlines import Clock, Level
from app.requests.models import IntegrationRequest
from app.requests.names import STEPS
from app.requests.services import addressees
from app.requests.states import Role

_DUE = message_id("%(name)s: the step %(step)s is due on %(day)s.")
_LATE = message_id("%(name)s: the step %(step)s was due on %(day)s.")
# Who hears of it beside those whose move it is.
_HIGHER_UP = {
    Level.SOON: frozenset[Role](),
    Level.NEAR: frozenset({Role.PENGAWAS_DATA}),
    Level.LATE: frozenset({Role.PENGAWAS_DATA, Role.ADMINISTRATOR}),
}


def remind(session: Session, zone: str, at: datetime | None = None) -> int:
    """Tell of each level that a step has come to, once; return of how many cases."""
    cases = session.scalars(
        sa.select(IntegrationRequest).where(
            IntegrationRequest.ended_at.is_(None),
            IntegrationRequest.number != "",
            IntegrationRequest.is_held.is_(False),
        )
    ).all()
    clocks = clocks_of(session, cases, zone, at)
    return sum(_warned(session, case, clocks[case.id]) for case in cases)


def _warned(session: Session, case: IntegrationRequest, clock: Clock) -> bool:
    if clock.level is Level.CALM or clock.due is None:
        return False
    mark = f"{case.step} {case.loops_a} {case.loops_b} {clock.level}"
    if not notices.is_first_to_warn(session, IntegrationRequest, case.id, mark):
        return False
    is_late = clock.level is Level.LATE
    asked = addressees(case, case.standing.asked)
    for agency_id, roles in _audience(asked, clock):
        notices.tell(
            session,
            NoticeKind.REQUEST_LATE if is_late else NoticeKind.REQUEST_DUE,
            _LATE if is_late else _DUE,
            {"name": str(case), "step": STEPS[case.step], "day": f"{clock.due:%d-%m-%Y}"},
            path=f"/requests/{case.id}",
            agency_id=agency_id,
            roles=roles,
        )
    return True


def _audience(
    asked: list[tuple[UUID | None, frozenset[Role]]], clock: Clock
) -> list[tuple[UUID | None, frozenset[Role]]]:
    """Return who is told: those whose move it is, and higher up the later it is."""
    higher = _HIGHER_UP[clock.level]
    if clock.level is Level.LATE and clock.is_endangered:
        higher |= {Role.PIMPINAN}
    agencies = [each for each in asked if each[0] is not None]
    office = frozenset[Role]().union(
        *(roles for at, roles in asked if at is None), higher
    )
    return [*agencies, *([(None, office)] if office else [])]
