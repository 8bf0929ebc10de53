"""From a person to the principal that policy and scope know."""

from app.core.policy import DbRole, Principal
from app.identity.models import User


def principal_of(user: User) -> Principal:
    """Return who a person is to policy and scope: the sum of all their roles."""
    permissions = frozenset(p for role in user.roles for p in role.permissions)
    role = DbRole.OFFICE if user.agency_id is None else DbRole.AGENCY
    return Principal(
        label=f"{user.name} <{user.email}>",
        db_role=role,
        user_id=user.id,
        agency_id=user.agency_id,
        permissions=permissions,
    )
