"""The history of one object, or of one request: who changed what of it, when and why."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import sqlalchemy as sa
from flask import request, url_for
from sqlalchemy import orm

from app.audit.models import AuditEvent
from app.audit.recorder import CENSORED
from app.contracts.models import Contract, ContractVersion
from app.core import lists
from app.core.policy import Permission, Principal
from app.core.scope import visible
from app.history import words
from app.history.models import Trashed
from app.web.extensions import db
from app.web.guard import principal_now
from app.web.paging import address_here

PAGE_SIZE = 50
PLACE = "history_before"  # where the page's address says from which event on
_NEWEST_FIRST = lists.Order(AuditEvent.id, AuditEvent.id, down=True)


class Deed(NamedTuple):
    """What one request did, as far as a page tells of it."""

    first: AuditEvent
    events: list[AuditEvent]


def deeds_of(events: Sequence[AuditEvent]) -> list[Deed]:
    """Return events that stand together by the request that they are of."""
    deeds: list[Deed] = []
    for event in events:
        same = (
            deeds and event.request_id and deeds[-1].first.request_id == event.request_id
        )
        if same:
            deeds[-1].events.append(event)
        else:
            deeds.append(Deed(event, [event]))
    return deeds


class Change(NamedTuple):
    """One field of an object, before and after, as a person reads them."""

    field: str
    before: str
    after: str


def history_of(*objects: Any) -> lists.Slice:
    """Return a page of what happened to objects and their parts, newest first.

    Empty for who may not read the trail; what is None is passed by.
    """
    principal = principal_now()
    if not principal.may(Permission.AUDIT_READ):
        return lists.Slice((), lists.Total(0))
    session = db.session()
    query = sa.select(AuditEvent).where(
        sa.or_(*(_of(session, each) for each in objects if each is not None)),
        visible(AuditEvent, principal),
    )
    turn = lists.Turn(after=request.args.get(PLACE, ""))
    return lists.read_slice(session, query, _NEWEST_FIRST, PAGE_SIZE, turn)


def _of(session: orm.Session, obj: Any) -> sa.ColumnElement[bool]:
    key = str(sa.inspect(obj).mapper.primary_key_from_instance(obj)[0])
    return sa.or_(
        sa.and_(AuditEvent.object_type == obj.__tablename__, AuditEvent.object_id == key),
        AuditEvent.part_of.in_([key, *_versions(session, obj)]),
    )


def _versions(session: orm.Session, obj: Any) -> list[str]:
    """Return the keys of a contract's versions: their fields are parts of theirs."""
    if not isinstance(obj, Contract):
        return []
    keys = session.scalars(
        sa.select(ContractVersion.id).where(
            ContractVersion.contract_id == obj.id,
            visible(ContractVersion, principal_now()),
        )
    )
    return [str(key) for key in keys]


def events_of_request(
    session: orm.Session, request_id: str, principal: Principal, after: int = 0
) -> list[AuditEvent]:
    """Return what one request changed, in the order in which it did: all, or very many.

    ``after``: go on behind this event.
    """
    if not request_id:
        return []
    return list(
        session.scalars(
            sa.select(AuditEvent)
            .where(
                AuditEvent.request_id == request_id,
                AuditEvent.id > after,
                visible(AuditEvent, principal),
            )
            .order_by(AuditEvent.id)
            .limit(MOST_OF_REQUEST)
        )
    )


MOST_OF_REQUEST = 2_000


def changes_of(event: AuditEvent) -> Iterator[Change]:
    """Yield the fields that an event changed; secrets were censored when written."""
    before, after, table = event.before or {}, event.after or {}, event.object_type
    for name in words.parts_of(before, after):
        change = Change(
            words.field_name(table, name),
            words.value_words(table, name, words.look_up(before, name)),
            words.value_words(table, name, words.look_up(after, name)),
        )
        if change.before != change.after or change.before == CENSORED:
            yield change


def earlier_url(place: str) -> str:
    """Return the address of the page at hand with earlier events of its history."""
    there = {PLACE: place} if place else {}
    return address_here(PLACE, **there) + "#history"


def page_of(table: str, ident: str) -> str:
    """Return the address of an object's own page, or of the trash that it lies in.

    "" when it has no page, is gone for good or may not be seen.
    """
    if not words.is_there(table, ident):
        return _trash_of(ident)
    if table in _PAGES:
        endpoint, name, permission = _PAGES[table]
        if not principal_now().may(permission):
            return ""
        values: dict[str, Any] = {name: ident}
        return url_for(endpoint, **values)
    view = words.view_of(table)
    if view is None or not view.is_accessible():
        return ""
    return url_for(f"{view.endpoint}.details_view", id=ident)


def _trash_of(ident: str) -> str:
    lies = sa.select(
        sa.exists().where(Trashed.object_id == ident, visible(Trashed, principal_now()))
    )
    may = principal_now().may(Permission.TRASH_READ)
    return url_for("trash.index") if may and db.session().scalar(lies) else ""


_PAGES = {
    "contract": ("contracts.show", "ident", Permission.CONTRACT_READ),
    "contract_version": ("contracts.version", "ident", Permission.CONTRACT_READ),
    "source": ("pulls.source", "ident", Permission.SOURCE_READ),
    "job_run": ("runs.show", "ident", Permission.RUN_READ),
}


def page_of_event(event: AuditEvent) -> str:
    """Return the address of the object that an event tells of; of a part, of its whole."""
    own = page_of(event.object_type, event.object_id)
    if own or not event.part_of:
        return own
    whole = _WHOLES.get(event.object_type, "")
    return page_of(whole, event.part_of) if whole else ""


_WHOLES = {"contract_field": "contract_version", "api_key": "api_client"}


def is_of_part(event: AuditEvent, shown: Any) -> bool:
    """Tell whether an event on an object's page is one of its parts: they are named."""
    return bool(shown is None or event.object_type != shown.__tablename__)
