"""Everything that changes people."""

import unicodedata
from uuid import uuid4

import sqlalchemy as sa
from sqlalchemy.orm import Session

from app.core.policy import Permission, acting_principal
from app.identity.errors import (
    PasswordMissingError,
    RoleMismatchError,
    SelfLockoutError,
)
from app.identity.models import Agency, Role, User
from app.identity.passwords import hash_of

MIN_PASSWORD_LENGTH = 12


def normal_email(text: str) -> str:
    """Return an address in the one form in which it is unique: NFKC, lower case."""
    return unicodedata.normalize("NFKC", text).strip().casefold()


def settle_user(
    session: Session, user: User, *, new_password: str, created: bool
) -> None:
    """Put a new or changed person in order before they are written.

    A new password, or being switched off, ends every session of the person. Raises
    ``RoleMismatchError``, ``PasswordMissingError`` or ``SelfLockoutError``.
    """
    user.email = normal_email(user.email)
    for role in user.roles:
        if role.for_agency is not (user.agency is not None):
            raise RoleMismatchError(role.label)
    if created and len(new_password) < MIN_PASSWORD_LENGTH:
        raise PasswordMissingError
    if new_password:
        user.password = hash_of(new_password)
    if new_password or created or not user.active:
        user.fs_uniquifier = uuid4().hex
    if not created and user.id == acting_principal().user_id:
        _refuse_lockout(user)
    session.add(user)


def _refuse_lockout(user: User) -> None:
    still = {permission for role in user.roles for permission in role.permissions}
    if not user.active or Permission.USER_WRITE not in still:
        raise SelfLockoutError


def create_user(
    session: Session,
    *,
    email: str,
    name: str,
    password: str,
    roles: list[str],
    agency: Agency | None = None,
    job_title: str = "",
) -> User:
    """Make a person with roles by their names; raises ``ValueError`` for unknown ones."""
    found = session.scalars(sa.select(Role).where(Role.name.in_(roles))).all()
    missing = set(roles) - {role.name for role in found}
    if missing:
        raise ValueError(f"unknown roles: {', '.join(sorted(missing))}")
    user = User(
        email=email,
        name=name,
        job_title=job_title,
        agency=agency,
        roles=list(found),
        active=True,
    )
    settle_user(session, user, new_password=password, created=True)
    return user
