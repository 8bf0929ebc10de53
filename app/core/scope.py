"""The one function that says which rows a principal may see.

List, detail, edit, delete, lookup, export, file and API all go through ``visible`` or
``get_visible``; another agency's object is as absent as one that never was.
"""

from enum import StrEnum
from typing import Any, TypeVar
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy import orm

from app.core.errors import RejectedError
from app.core.policy import Principal

T = TypeVar("T")


class Scope(StrEnum):
    """How a table belongs to somebody; each model says it in ``__scope__``."""

    EVERYONE = "everyone"  # vocabulary without a secret: roles
    OFFICE = "office"  # the office alone
    AGENCY = "agency"  # the office, and the agency in agency_id
    OWN_AGENCY = "own_agency"  # the office, and the agency whose row it is
    PARTIES = (
        "parties"  # the office, who receives (agency_id), whose data it is (producer_id)
    )
    PERSON = "person"  # only the person in user_id, not even the office
    SHARED = "shared"  # the person in user_id and, if is_shared, their side (agency_id)
    OPENED = "opened"  # as AGENCY, and whom it is opened to: the model's opened_to says
    PART = "part"  # whoever sees what it is a part of, the row that __part_of__ names


class NotFoundError(RejectedError):
    """No such object, or not for this principal: the same answer on purpose (HTTP 404)."""

    code = "not_found"

    def __init__(self) -> None:
        super().__init__("This page or object does not exist, or is not yours to see.")


def visible(model: type[Any], principal: Principal) -> sa.ColumnElement[bool]:
    """Return the condition under which rows of ``model`` exist for ``principal``."""
    scope: Scope = model.__scope__
    if scope is Scope.EVERYONE:
        return sa.true()
    if scope in {Scope.PERSON, Scope.SHARED}:
        return _personal(model, principal)
    if principal.is_office:
        return sa.true()
    if scope is Scope.OFFICE or principal.agency_id is None:
        return sa.false()
    return _of_agency(model, principal)


def _of_agency(model: type[Any], principal: Principal) -> sa.ColumnElement[bool]:
    """Return the condition of rows that exist for somebody of an agency."""
    scope, agency_id = model.__scope__, principal.agency_id
    if scope is Scope.PART:
        column = getattr(model, model.__part_of__)
        whole = _whole_of(model)
        of_it: sa.ColumnElement[bool] = column.in_(
            sa.select(whole.id).where(visible(whole, principal))
        )
        return of_it
    if scope is Scope.PARTIES:
        return sa.or_(model.agency_id == agency_id, model.producer_id == agency_id)
    if scope is Scope.OPENED:
        return sa.or_(model.agency_id == agency_id, model.opened_to(agency_id))
    column = model.id if scope is Scope.OWN_AGENCY else model.agency_id
    owned: sa.ColumnElement[bool] = column == agency_id
    return owned


def _whole_of(model: type[Any]) -> type[Any]:
    """Return the class of what rows of ``model`` are parts of, by their foreign key."""
    (key,) = model.__table__.c[model.__part_of__].foreign_keys
    mappers = model.registry.mappers
    found: type[Any] = next(
        m.class_ for m in mappers if m.local_table is key.column.table
    )
    return found


def _personal(model: type[Any], principal: Principal) -> sa.ColumnElement[bool]:
    """Return the condition of rows of persons: one's own, or shared by one's side."""
    own: sa.ColumnElement[bool] = model.user_id == principal.user_id
    if principal.user_id is None:
        return sa.false()
    if model.__scope__ is Scope.PERSON:
        return own
    same_side = model.agency_id.is_not_distinct_from(principal.agency_id)
    return sa.or_(own, sa.and_(same_side, model.is_shared))


def get_visible(
    session: orm.Session, model: type[T], ident: UUID | int | str, principal: Principal
) -> T:
    """Return one object by its primary key; raise ``NotFoundError`` when not visible."""
    key = sa.inspect(model).primary_key[0]
    try:
        value = key.type.python_type(ident) if isinstance(ident, str) else ident
    except ValueError:
        raise NotFoundError from None
    if isinstance(value, int) and not 0 <= value < 2**63:
        raise NotFoundError
    found = session.scalar(
        sa.select(model).where(key == value, visible(model, principal)).limit(1)
    )
    if found is None:
        raise NotFoundError
    return found
