"""Invitations: a one-time code by which a person chooses their first (or next) password."""

import hashlib
import secrets
from datetime import timedelta
from typing import NamedTuple

import sqlalchemy as sa
from sqlalchemy.orm import Session

from app.core.clock import utc_now
from app.core.policy import acting_principal
from app.identity.errors import InvitationOverError
from app.identity.models import Invitation, User
from app.identity.passwords import check, hash_of
from app.identity.services import end_sessions

VALID_FOR = timedelta(days=7)
# No letters and digits that are taken for each other on paper.
_LETTERS = "ABCDEFGHJKMNPQRSTVWXYZ23456789"
_GROUPS, _GROUP_LENGTH = 5, 4


class Invited(NamedTuple):
    """An invitation and its code, which nobody can say again."""

    invitation: Invitation
    code: str


def invite(session: Session, user: User) -> Invited:
    """Invite a person; what they were invited by before is worth nothing from now on."""
    for former in _open_of(session, user):
        former.expires_at = utc_now()
    code = "-".join(
        "".join(secrets.choice(_LETTERS) for _ in range(_GROUP_LENGTH))
        for _ in range(_GROUPS)
    )
    invitation = Invitation(
        user=user,
        agency_id=user.agency_id,
        code_hash=_hash(code),
        stamp=_stamp(user),
        invited_by=acting_principal().user_id,
        expires_at=utc_now() + VALID_FOR,
    )
    session.add(invitation)
    return Invited(invitation, code)


def open_invitation(session: Session, code: str) -> Invitation:
    """Return the invitation of a code; raises ``InvitationOverError`` for all but living ones."""
    found = session.scalar(
        sa.select(Invitation).where(Invitation.code_hash == _hash(code), _is_open())
    )
    if found is None or not _holds(found):
        raise InvitationOverError
    return found


def accept(session: Session, code: str, password: str) -> User:
    """Give the invited person the password of their choice.

    Raises ``InvitationOverError`` or ``WeakPasswordError``.
    """
    invitation = session.scalar(
        sa.select(Invitation)
        .where(Invitation.code_hash == _hash(code), _is_open())
        .with_for_update()
    )
    if invitation is None or not _holds(invitation):
        raise InvitationOverError
    user = invitation.user
    check(user, password)
    user.password = hash_of(password)
    invitation.used_at = utc_now()
    end_sessions(user)
    return user


def last_of(session: Session, user: User) -> Invitation | None:
    """Return the newest invitation of a person."""
    return session.scalar(
        sa.select(Invitation)
        .where(Invitation.user_id == user.id)
        .order_by(Invitation.created_at.desc())
        .limit(1)
    )


def _open_of(session: Session, user: User) -> list[Invitation]:
    return list(
        session.scalars(
            sa.select(Invitation).where(Invitation.user_id == user.id, _is_open())
        )
    )


def _is_open() -> sa.ColumnElement[bool]:
    return sa.and_(Invitation.used_at.is_(None), Invitation.expires_at > utc_now())


def _holds(invitation: Invitation) -> bool:
    """Tell whether the person is still who was invited: no new password, role or address."""
    user = invitation.user
    return user.is_active and invitation.stamp == _stamp(user)


def _stamp(user: User) -> str:
    return hashlib.sha256(user.fs_uniquifier.encode()).hexdigest()


def _hash(code: str) -> bytes:
    """Return the hash of a code, however it was typed; 98 random bits need no slow one."""
    plain = "".join(c for c in code.upper() if c in _LETTERS)
    return hashlib.sha256(plain.encode()).digest()
