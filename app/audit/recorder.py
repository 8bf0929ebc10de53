"""Writes an audit row for each change of our own tables, in the same transaction.

Listens to every ORM session, so no page, service or command can forget it. Bulk and Core
updates pass the ORM's events by: they are refused for audited tables unless the caller
says that it writes an explicit event (``execution_options(audited=True)``).
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy import event, orm

from app.audit.models import AuditEvent
from app.core.db import REASON
from app.core.policy import acting_principal, request_id

CENSORED = "•••"
# Tables without audit rows, each with its reason; a law test keeps the list complete.
EXEMPT: Mapping[str, str] = MappingProxyType(
    {
        "audit_event": "is the audit itself",
        "job_run": "changes state many times a minute; its own log and columns tell all",
        "run_log": "is a log itself",
        "cancel_request": "the wish to cancel is an explicit event",
        "worker_heartbeat": "a pulse, not a decision",
        "pull_run": "counters of a run, written by the run alone",
        "quarantined_record": "written by runs alone; the run and the raw record are kept",
        "host_visit": "who is at a host right now; gone when the run is",
        "answer_page": "digests that runs recognise records by; nobody else reads them",
        "raw_page": "what a run read, kept as it came; the run tells of it",
        "raw_body": "what a run read, kept as it came; the run tells of it",
        "export_run": "written by runs alone; the request for it is an explicit event",
        "exchange_log": "is a log itself",
        "api_usage": "counters of requests, written by the database's own function",
        "login_session": "comes and goes with log-ins, which are explicit events",
        "notice": "waits to be spread to people; what it tells of is audited itself",
        "notification": "what one person is told; what it tells of is audited itself",
        "notice_preference": "when one person wants to be told: nobody else's business",
        "mail": "changes state as it is sent; what it tells of is audited itself",
        "passkey": "used at log-ins; added and taken away by explicit events",
        "bulk_edit": "a request; each row that it changes has an event of its own",
        "data_import": "a request; each row that it brings in has an event of its own",
        "saved_view": "how somebody looks at a list; it changes nothing that others rely on",
        "complaint_event": "is a log itself: one line for each deed",
        "complaint_sender": "personal data, written once; that it came in is an event",
        "complaint_note": "what was said, as it was said; never changes",
        "request_event": "is a log itself: one line for each deed in a case",
        "paper": "issued once and never changed; the deed that brought it is an event",
        "paper_mark": "is a log itself: one line for each hand upon a paper",
        "document_file": "sent once and never changed; what became of it is in the document",
        "document_version": "a copy of a document as it was proposed; never changes",
        "request_message": "what was said, as it was said; never changes",
        "request_note": "what was said, as it was said; never changes",
        "register": "counts up; what is numbered is audited itself",
        "seal_batch": "seals upon the logs, written by the sealer alone",
        "trash": "taking away, bringing back and emptying are events of what is in it",
    }
)


_TABLE = AuditEvent.metadata.tables["audit_event"]


class UnauditedWriteError(RuntimeError):
    """A bulk write to an audited table without an explicit event; a bug."""


def record(
    session: orm.Session,
    action: str,
    obj: Any,
    *,
    before: Mapping[str, Any] | None = None,
    after: Mapping[str, Any] | None = None,
    reason: str = "",
) -> None:
    """Write one explicit event, for deeds that no changed column shows."""
    _append(
        session, [_row(session, action, obj, before=before, after=after, reason=reason)]
    )


def _append(session: orm.Session, rows: list[dict[str, Any]]) -> None:
    """Insert without reading back: who may write the trail need not be able to read it."""
    session.connection().execute(sa.insert(_TABLE).inline(), rows)


def _row(
    session: orm.Session,
    action: str,
    obj: Any,
    *,
    before: Mapping[str, Any] | None,
    after: Mapping[str, Any] | None,
    reason: str = "",
) -> dict[str, Any]:
    principal = acting_principal()
    table = obj.__tablename__
    return {
        "actor_id": principal.user_id,
        "actor": principal.label,
        "agency_id": obj.id if table == "agency" else getattr(obj, "agency_id", None),
        "action": action,
        "object_type": table,
        "object_id": str(sa.inspect(obj).mapper.primary_key_from_instance(obj)[0]),
        "object_label": _label(obj),
        "before": before,
        "after": after,
        "reason": reason or session.info.get(REASON, ""),
        "request_id": request_id(),
        "part_of": _whole_of(obj),
    }


def _whole_of(obj: Any) -> str:
    """Return the key of what the object is a part of, by its class' ``__part_of__``."""
    name = getattr(type(obj), "__part_of__", "")
    return str(getattr(obj, name)) if name else ""


def _label(obj: Any) -> str:
    """Return what a person would call the object; nothing where the class has no word."""
    has_words = "__str__" in vars(type(obj))
    return str(obj)[:200] if has_words else ""


@event.listens_for(orm.Session, "after_flush")
def _write_changes(session: orm.Session, context: Any) -> None:
    rows = [
        row
        for action, objects in (
            ("create", session.new),
            ("update", session.dirty),
            ("delete", _deleted(context)),
        )
        for obj in objects
        if (row := _change(session, action, obj)) is not None
    ]
    if rows:
        _append(session, rows)


def _deleted(context: Any) -> list[Any]:
    """Return what this flush removed, with what was only taken out of its whole's list.

    ``Session.deleted`` does not name such orphans.
    """
    return [
        state.obj()
        for state, (is_delete, is_listed_only) in context.states.items()
        if is_delete and not is_listed_only
    ]


def _change(session: orm.Session, action: str, obj: Any) -> dict[str, Any] | None:
    if obj.__tablename__ in EXEMPT:
        return None
    before, after = _difference(obj, action)
    if action == "update" and not after:
        return None
    return _row(
        session,
        action,
        obj,
        before=None if action == "create" else before,
        after=None if action == "delete" else after,
    )


def _difference(obj: Any, action: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the changed attributes, before and after; all of them but for an update."""
    before: dict[str, Any] = {}
    after: dict[str, Any] = {}
    state = sa.inspect(obj)
    for attr in state.mapper.attrs:
        if _tells_nothing(attr):
            continue
        history = state.attrs[attr.key].history
        if action == "update" and not history.has_changes():
            continue
        secret = any(column.info.get("secret") for column in getattr(attr, "columns", ()))
        old = history.deleted or history.unchanged
        before[attr.key] = _plain(old, attr, secret=secret)
        after[attr.key] = _plain(history.added or history.unchanged, attr, secret=secret)
        if isinstance(attr, orm.RelationshipProperty) and history.has_changes():
            before[attr.key] = _names([*history.deleted, *history.unchanged])
            after[attr.key] = _names([*history.added, *history.unchanged])
    return before, after


def _tells_nothing(attr: Any) -> bool:
    """Tell what is no change of the object itself: other rows, and the count of changes."""
    if isinstance(attr, orm.RelationshipProperty):
        return attr.secondary is None
    return bool(attr.key == "row_version")


def _names(objects: Any) -> list[str]:
    return sorted(str(obj) for obj in objects)


def _plain(values: Any, attr: Any, *, secret: bool) -> Any:
    if isinstance(attr, orm.RelationshipProperty):
        return _names(values)
    value = values[0] if values else None
    if secret and value:
        return CENSORED
    return as_json(value)


def as_json(value: Any) -> Any:
    """Return ``value`` as JSON can hold it, without losing a digit."""
    return msgspec.to_builtins(value, enc_hook=str)


@event.listens_for(orm.Session, "do_orm_execute")
def _refuse_unaudited(state: orm.ORMExecuteState) -> None:
    if not (state.is_update or state.is_delete or state.is_insert):
        return
    if state.execution_options.get("audited"):
        return
    table = getattr(state.statement, "table", None)
    name = getattr(table, "name", "")
    if name and name in AuditEvent.metadata.tables and name not in EXEMPT:
        raise UnauditedWriteError(f"bulk write to {name}: record() it, then audited=True")
