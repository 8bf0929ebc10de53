"""From a person to the principal that policy and scope know."""

from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Session

from app.core.policy import DbRole, Principal
from app.identity.models import Agency, Role, User


def principal_of(user: User) -> Principal:
    """Return who a person is to policy and scope at this moment.

    The sum of their own roles and of those that they act in for somebody else.
    """
    permissions = frozenset(p for role in user.held_roles for p in role.permissions)
    role = DbRole.OFFICE if user.agency_id is None else DbRole.AGENCY
    return Principal(
        label=f"{user.name} <{user.email}>",
        db_role=role,
        user_id=user.id,
        agency_id=user.agency_id,
        permissions=permissions,
        roles=frozenset(role.name for role in user.held_roles),
    )


def onlooker_of(session: Session, user: User, agency_id: UUID) -> Principal:
    """Return who somebody of the office is while they look on as an agency.

    What any person of an agency may read, in the agency's own database role, without a
    person's own things and without a single change.
    """
    agency = session.get_one(Agency, agency_id)
    roles = session.scalars(sa.select(Role).where(Role.for_agency)).all()
    return Principal(
        label=f"{user.name} <{user.email}> / {agency.name}",
        db_role=DbRole.AGENCY,
        agency_id=agency_id,
        permissions=frozenset(
            p for role in roles for p in role.permissions if p.endswith(".read")
        ),
        read_only=True,
    )
