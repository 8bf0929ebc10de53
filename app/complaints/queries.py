"""Finding and counting complaints."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Session

from app.complaints.models import (
    Complaint,
    ComplaintEvent,
    ComplaintNote,
    ComplaintSender,
)
from app.complaints.states import Channel, Deed, Kind, State
from app.core.policy import Principal
from app.core.scope import visible


class By(StrEnum):
    """What a year is counted by."""

    KIND = "kind"
    CHANNEL = "channel"
    MONTH = "month"


# What each is told apart by, and all that there can be, in order.
_BY: Mapping[By, tuple[Any, Sequence[Any]]] = {
    By.KIND: (Complaint.kind, tuple(Kind)),
    By.CHANNEL: (Complaint.channel, tuple(Channel)),
    By.MONTH: (
        sa.cast(sa.extract("month", Complaint.received_on), sa.Integer),
        range(1, 13),
    ),
}


@dataclass(frozen=True, slots=True)
class Count:
    """How many came in, and what became of them; ``of`` a kind, channel or month."""

    of: Any
    total: int = 0
    waiting: int = 0
    in_time: int = 0
    late: int = 0
    refused: int = 0


def events_of(
    session: Session, complaint: Complaint, principal: Principal
) -> Sequence[ComplaintEvent]:
    """Return what happened to it, in order, as far as it is somebody's to read."""
    return session.scalars(
        sa.select(ComplaintEvent)
        .where(
            ComplaintEvent.complaint_id == complaint.id,
            ComplaintEvent.deed.not_in(_kept_from(complaint, principal)),
        )
        .order_by(ComplaintEvent.id)
    ).all()


def _kept_from(complaint: Complaint, principal: Principal) -> set[Deed]:
    """Return what an agency does not read: who sent it, or what the other one replied."""
    if principal.is_office:
        return set()
    kept = set()
    if complaint.agency_id != principal.agency_id:
        kept.add(Deed.RECEIVE)
    if complaint.producer_id != principal.agency_id:
        kept.add(Deed.REPLY)
    return kept


def notes_of(session: Session, ident: UUID) -> Sequence[ComplaintNote]:
    """Return what the office noted about one, to the office."""
    return session.scalars(
        sa.select(ComplaintNote)
        .where(ComplaintNote.complaint_id == ident)
        .order_by(ComplaintNote.at, ComplaintNote.id)
    ).all()


def sender_of(session: Session, ident: UUID) -> ComplaintSender | None:
    """Return who sent it, to the office."""
    return session.scalar(
        sa.select(ComplaintSender).where(ComplaintSender.complaint_id == ident)
    )


def by_marks(session: Session, number: str, code: str) -> Complaint | None:
    """Return the one with a number, to who knows its code."""
    return session.scalar(
        sa.select(Complaint).where(
            Complaint.number == number.upper(), Complaint.code == code.upper()
        )
    )


def counts(
    session: Session, principal: Principal, year: int, today: date, zone: str, by: By
) -> list[Count]:
    """Count what came in a year; an open one is late once its last day is past."""
    answered_on = sa.cast(sa.func.timezone(zone, Complaint.answered_at), sa.Date)
    is_open = Complaint.answered_at.is_(None)
    is_late = sa.func.coalesce(answered_on, today) > Complaint.due_on
    is_refused = Complaint.state == State.REFUSED
    column, all_of_them = _BY[by]

    def number(*conditions: sa.ColumnElement[bool]) -> sa.ColumnElement[int]:
        return sa.func.count().filter(sa.and_(*conditions))

    rows = session.execute(
        sa.select(
            column,
            sa.func.count(),
            number(is_open),
            number(~is_open, ~is_late),
            number(is_late),
            number(is_refused),
        )
        .where(*_of_year(principal, year))
        .group_by(column)
    )
    found = {row[0]: Count(*row) for row in rows}
    return [found.get(each) or Count(each) for each in all_of_them]


def by_state(session: Session, principal: Principal, year: int) -> dict[str, int]:
    """Count what came in a year by where it stands now, in the order of the way."""
    rows = session.execute(
        sa.select(Complaint.state, sa.func.count())
        .where(*_of_year(principal, year))
        .group_by(Complaint.state)
    )
    found = {row[0]: row[1] for row in rows}
    return {state.value: found.get(state, 0) for state in State}


def _of_year(principal: Principal, year: int) -> tuple[sa.ColumnElement[bool], ...]:
    in_year = sa.extract("year", Complaint.received_on) == year
    return visible(Complaint, principal), in_year
