"""What the office is called, for pages, files and letters."""

import sqlalchemy as sa
from sqlalchemy.orm import Session

from app.office.models import Office


def office_name(session: Session, default: str) -> str:
    """Return the name that staff entered, else the one of the server's settings."""
    return session.scalar(sa.select(Office.name)) or default
