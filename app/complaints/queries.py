"""Finding and counting complaints."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Session

from app.complaints.models import Complaint, ComplaintEvent, ComplaintSender
from app.complaints.states import Kind, State
from app.core.policy import Principal
from app.core.scope import visible


@dataclass(frozen=True, slots=True)
class Count:
    """How many of one kind came in a year, and what became of them."""

    kind: Kind
    total: int
    waiting: int
    in_time: int
    late: int
    refused: int


def events_of(session: Session, complaint: Complaint) -> Sequence[ComplaintEvent]:
    """Return what happened to it, in order."""
    return session.scalars(
        sa.select(ComplaintEvent)
        .where(ComplaintEvent.complaint_id == complaint.id)
        .order_by(ComplaintEvent.id)
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
    session: Session, principal: Principal, year: int, today: date, zone: str
) -> list[Count]:
    """Count what came in a year, by kind; an open one is late once its last day is past."""
    answered_on = sa.cast(sa.func.timezone(zone, Complaint.answered_at), sa.Date)
    is_open = Complaint.answered_at.is_(None)
    is_late = sa.func.coalesce(answered_on, today) > Complaint.due_on
    is_refused = Complaint.state == State.REFUSED

    def number(*conditions: sa.ColumnElement[bool]) -> sa.ColumnElement[int]:
        return sa.func.count().filter(sa.and_(*conditions))

    rows = session.execute(
        sa.select(
            Complaint.kind,
            sa.func.count(),
            number(is_open),
            number(~is_open, ~is_late),
            number(is_late),
            number(is_refused),
        )
        .where(
            visible(Complaint, principal),
            sa.extract("year", Complaint.received_on) == year,
        )
        .group_by(Complaint.kind)
    )
    found = {row[0]: Count(*row) for row in rows}
    return [found.get(kind) or Count(kind, 0, 0, 0, 0, 0) for kind in Kind]


def by_channel(session: Session, principal: Principal, year: int) -> dict[str, int]:
    """Count what came in a year, by its channel, the most first."""
    many = sa.func.count()
    rows = session.execute(
        sa.select(Complaint.channel, many)
        .where(
            visible(Complaint, principal),
            sa.extract("year", Complaint.received_on) == year,
        )
        .group_by(Complaint.channel)
        .order_by(many.desc())
    )
    return {str(channel): number for channel, number in rows}
