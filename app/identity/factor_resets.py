"""A lost second factor is mended by two persons: one asks, another confirms."""

from datetime import timedelta
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Session

from app.core.clock import utc_now
from app.core.db import because
from app.core.policy import acting_principal
from app.identity.errors import (
    NoSecondFactorError,
    NotByYourselfError,
    ResetOverError,
)
from app.identity.models import FactorReset, User
from app.identity.services import end_sessions

OPEN_FOR = timedelta(days=7)


def open_reset_of(session: Session, user: User) -> FactorReset | None:
    """Return the wish that waits for its second person, if there is one."""
    return session.scalar(
        sa.select(FactorReset).where(
            FactorReset.user_id == user.id,
            FactorReset.settled_at.is_(None),
            FactorReset.asked_at > utc_now() - OPEN_FOR,
        )
    )


def ask(session: Session, user: User, reason: str) -> FactorReset:
    """Ask that a person's second factor be taken away.

    Raises ``NotByYourselfError`` or ``NoSecondFactorError``.
    """
    asker = _somebody_else_than(user.id)
    if user.tf_primary_method is None and user.fs_webauthn_user_handle is None:
        raise NoSecondFactorError
    _close_stale(session, user)
    wish = FactorReset(user=user, agency_id=user.agency_id, reason=reason, asked_by=asker)
    session.add(wish)
    return wish


def confirm(session: Session, wish: FactorReset) -> None:
    """Take the second factor away, and end every session of the person.

    Raises ``NotByYourselfError`` or ``ResetOverError``.
    """
    _refuse_settled(wish)
    confirmer = _somebody_else_than(wish.user_id, wish.asked_by)
    because(session, wish.reason)
    user = wish.user
    if user.agency_id != wish.agency_id:  # asked for on a side where they are no more
        raise ResetOverError
    user.tf_primary_method = user.tf_totp_secret = user.tf_last_counter = None
    user.mf_recovery_codes = None
    user.webauthn.clear()
    user.fs_webauthn_user_handle = None
    end_sessions(user)
    _settle(wish, confirmer, granted=True)


def withdraw(wish: FactorReset) -> None:
    """Let a wish be over without effect; raises ``ResetOverError``."""
    _refuse_settled(wish)
    _settle(wish, acting_principal().user_id, granted=False)


def _somebody_else_than(*people: UUID) -> UUID:
    own = acting_principal().user_id
    if own is None or own in people:
        raise NotByYourselfError
    return own


def _refuse_settled(wish: FactorReset) -> None:
    if wish.settled_at is not None or wish.asked_at < utc_now() - OPEN_FOR:
        raise ResetOverError


def _settle(wish: FactorReset, by: UUID | None, *, granted: bool) -> None:
    wish.settled_by, wish.settled_at, wish.granted = by, utc_now(), granted


def _close_stale(session: Session, user: User) -> None:
    stale = session.scalar(
        sa.select(FactorReset).where(
            FactorReset.user_id == user.id,
            FactorReset.settled_at.is_(None),
            FactorReset.asked_at <= utc_now() - OPEN_FOR,
        )
    )
    if stale is not None:
        _settle(stale, None, granted=False)
        session.flush()
