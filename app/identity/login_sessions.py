"""Log-ins that the server knows: opened, found again at every request, ended.

The cookie holds a random token and nothing else of worth; its hash is what is stored. A
copied cookie is dead with the row, and with the person's ``fs_uniquifier`` of that moment.
"""

import hashlib
import secrets
from collections.abc import Sequence
from datetime import timedelta
from typing import NamedTuple
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy import orm
from sqlalchemy.orm import Session

from app.identity.models import LoginSession, User

SEEN_EVERY = timedelta(minutes=1)
LONGEST_AGENT = 400
_CLOCK = sa.func.now()


class Limits(NamedTuple):
    """How long a log-in lives without being used, and at most."""

    idle: timedelta
    whole: timedelta


class Found(NamedTuple):
    """Whose log-in a token stands for; ``is_stale`` when it was noted a while ago."""

    user: User
    session_id: UUID
    is_stale: bool
    as_agency_id: UUID | None


def open_session(session: Session, user: User, *, address: str, agent: str) -> str:
    """Open a log-in and return the token of its cookie; the person's dead ones are removed."""
    token = secrets.token_urlsafe(32)
    session.execute(
        sa.delete(LoginSession).where(
            LoginSession.user_id == user.id, LoginSession.user_key != user.fs_uniquifier
        )
    )
    session.add(
        LoginSession(
            user_id=user.id,
            user_key=user.fs_uniquifier,
            token_hash=_hash(token),
            address=address,
            user_agent=agent[:LONGEST_AGENT].replace("\0", ""),
        )
    )
    return token


def find(session: Session, token: str, limits: Limits) -> Found | None:
    """Return the person of a living log-in, in one statement."""
    row = session.execute(
        sa.select(
            User,
            LoginSession.id,
            LoginSession.last_seen_at < _CLOCK - SEEN_EVERY,
            LoginSession.as_agency_id,
        )
        .join(LoginSession, LoginSession.user_id == User.id)
        .options(orm.lazyload(User.roles), orm.selectinload(User.held_roles))
        .where(LoginSession.token_hash == _hash(token), *_alive(limits))
    ).first()
    return Found(*row) if row else None


def note_seen(session: Session, session_id: UUID) -> None:
    """Note that a log-in was used just now."""
    session.execute(
        sa.update(LoginSession)
        .where(LoginSession.id == session_id)
        .values(last_seen_at=_CLOCK)
    )


def look_on(session: Session, session_id: UUID, agency_id: UUID | None) -> None:
    """Have a log-in look on as an agency from now on, or as its own person again."""
    session.execute(
        sa.update(LoginSession)
        .where(LoginSession.id == session_id)
        .values(as_agency_id=agency_id)
    )


def living(session: Session, user_id: UUID, limits: Limits) -> Sequence[LoginSession]:
    """Return a person's log-ins, the one used last first."""
    return session.scalars(
        sa.select(LoginSession)
        .join(User, User.id == LoginSession.user_id)
        .where(LoginSession.user_id == user_id, *_alive(limits))
        .order_by(LoginSession.last_seen_at.desc())
    ).all()


def end(session: Session, user_id: UUID, session_id: UUID) -> bool:
    """End one log-in of a person; tell whether there was one."""
    ended = session.execute(
        sa.delete(LoginSession)
        .where(LoginSession.id == session_id, LoginSession.user_id == user_id)
        .returning(LoginSession.id)
    )
    return ended.first() is not None


def end_others(session: Session, user_id: UUID, kept: UUID) -> int:
    """End all log-ins of a person but one; return how many."""
    ended = session.execute(
        sa.delete(LoginSession)
        .where(LoginSession.user_id == user_id, LoginSession.id != kept)
        .returning(LoginSession.id)
    )
    return len(ended.all())


def end_by_token(session: Session, token: str) -> None:
    """End the log-in that a cookie points to."""
    session.execute(
        sa.delete(LoginSession).where(LoginSession.token_hash == _hash(token))
    )


def forget_dead(session: Session, whole: timedelta) -> int:
    """Remove log-ins that are over; return how many."""
    gone = session.execute(
        sa.delete(LoginSession)
        .where(LoginSession.created_at < _CLOCK - whole)
        .returning(LoginSession.id)
    )
    return len(gone.all())


def _alive(limits: Limits) -> tuple[sa.ColumnElement[bool], ...]:
    return (
        LoginSession.user_key == User.fs_uniquifier,
        LoginSession.last_seen_at > _CLOCK - limits.idle,
        LoginSession.created_at > _CLOCK - limits.whole,
    )


def _hash(token: str) -> bytes:
    """Return SHA-256: a token of 256 random bits needs no slow hash."""
    return hashlib.sha256(token.encode()).digest()


def device_of(agent: str) -> str:
    """Name browser and system of a ``User-Agent``, as far as they are told."""
    browsers = (("Edg", "Edge"), ("Firefox", "Firefox"), ("OPR", "Opera"),
                ("Chrome", "Chrome"), ("Safari", "Safari"))  # fmt: skip
    systems = (("Android", "Android"), ("iPhone", "iPhone"), ("iPad", "iPad"),
               ("Windows", "Windows"), ("Mac OS X", "macOS"), ("Linux", "Linux"))  # fmt: skip
    named = [
        next((name for sign, name in signs if sign in agent), "")
        for signs in (browsers, systems)
    ]
    return " · ".join(filter(None, named))
