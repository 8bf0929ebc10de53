"""Everything that changes people."""

import unicodedata
from collections.abc import Sequence
from uuid import UUID, uuid4

import sqlalchemy as sa
from sqlalchemy.orm import Session

from app.core.policy import Permission, acting_principal
from app.identity.errors import (
    RoleMismatchError,
    SelfGrantError,
    SelfLockoutError,
    UnfitPermissionsError,
)
from app.identity.models import Agency, Role, User
from app.identity.passwords import check, hash_of

# What people of agencies may do at all, whatever a role says: the rest is work of the office.
FOR_AGENCIES = frozenset(
    {
        Permission.CONTRACT_READ, Permission.SOURCE_READ, Permission.SOURCE_PREVIEW,
        Permission.RUN_READ, Permission.QUARANTINE_READ, Permission.DATASET_READ,
        Permission.DATASET_EXPORT, Permission.API_READ, Permission.EXCHANGE_READ,
        Permission.USER_READ, Permission.USER_WRITE, Permission.REQUEST_READ,
        Permission.REQUEST_ACT, Permission.AGREEMENT_READ, Permission.AGREEMENT_CONSENT,
        Permission.COMPLAINT_READ, Permission.COMPLAINT_SEND,
    }
)  # fmt: skip


def normal_email(text: str) -> str:
    """Return an address in the one form in which it is unique: NFKC, lower case."""
    return unicodedata.normalize("NFKC", text).strip().casefold()


def settle_user(
    session: Session, user: User, *, new_password: str, created: bool
) -> None:
    """Put a new or changed person in order before they are written.

    A new password, another address, other roles, another agency or being switched off ends
    every session of the person, and every link and invitation that was sent to them; without
    a password, a new person has to be invited. Raises ``RoleMismatchError``,
    ``WeakPasswordError``, ``SelfLockoutError``, or ``SelfGrantError``.
    """
    user.email = normal_email(user.email)
    for role in user.roles:
        if role.for_agency is not (user.agency is not None):
            raise RoleMismatchError(role.label)
    if new_password:
        _set_password(user, new_password)
    if new_password or created or not user.active or _may_differently(user):
        end_sessions(user)
    if not created and user.id == acting_principal().user_id:
        _refuse_lockout(user, user.roles)
        _refuse_self_grant(user)
    session.add(user)


def set_language(session: Session, user_id: UUID | None, language: str) -> None:
    """Remember the language in which a person wants mails; what they see is no change of them."""
    session.execute(
        sa.update(User)
        .where(User.id == user_id)
        .values(language=language)
        .execution_options(audited=True)
    )


def end_sessions(user: User) -> None:
    """End every log-in of a person, and every link that was sent to them, when written."""
    user.fs_uniquifier = uuid4().hex


def _set_password(user: User, password: str) -> None:
    check(user, password)
    user.password = hash_of(password)
    # Who was given one by somebody else chooses an own one first.
    giver = acting_principal().user_id
    user.must_change_password = giver is not None and giver != user.id


def _may_differently(user: User) -> bool:
    """Tell whether what a person may do is about to change."""
    attributes = sa.inspect(user).attrs
    changed = (
        attributes.email, attributes.roles, attributes.agency, attributes.agency_id,
    )  # fmt: skip
    return any(each.history.has_changes() for each in changed)


def settle_role(session: Session, role: Role) -> None:
    """Put a changed role in order before it is written; whoever holds it notices at once.

    Raises ``UnfitPermissionsError``, or ``SelfLockoutError`` when whoever changes it could
    change no role any more.
    """
    if role.for_agency and set(role.permissions) - FOR_AGENCIES:
        raise UnfitPermissionsError
    user = session.get(User, acting_principal().user_id)
    if user is not None and role in user.held_roles:
        _refuse_lockout(user, user.held_roles)


def _refuse_self_grant(user: User) -> None:
    """An agency's administrator is not its head by a word of their own."""
    added = sa.inspect(user).attrs.roles.history.added
    if user.agency is not None and added:
        raise SelfGrantError


def _refuse_lockout(user: User, roles: Sequence[Role]) -> None:
    still = {permission for role in roles for permission in role.permissions}
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
