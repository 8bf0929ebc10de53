"""What the office is called and when it works, for pages, files and letters."""

import sqlalchemy as sa
from sqlalchemy.orm import Session

from app.office.calendar import Calendar
from app.office.models import NOTICE_DAYS, Holiday, Office


def office_name(session: Session, default: str) -> str:
    """Return the name that staff entered, else the one of the server's settings."""
    return session.scalar(sa.select(Office.name)) or default


def calendar_of(session: Session) -> Calendar:
    """Return the office's working days."""
    return Calendar(frozenset(session.scalars(sa.select(Holiday.day))))


def notice_days(session: Session) -> int:
    """Return how many days before it a change that may break something is told."""
    days = session.scalar(sa.select(Office.notice_days))
    return NOTICE_DAYS if days is None else days
