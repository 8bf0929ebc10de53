"""The history of one object, out of the audit trail: who changed what of it, when and why."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import sqlalchemy as sa
from flask import Flask
from flask_babel import gettext

from app.audit.models import AuditEvent
from app.core.policy import Permission
from app.core.scope import visible
from app.web.extensions import db
from app.web.guard import principal_now

MOST_EVENTS = 50
LONGEST_VALUE = 500


class Change(NamedTuple):
    """One field of an object, before and after, as texts."""

    field: str
    before: str
    after: str


def history_of(obj: Any) -> Sequence[AuditEvent]:
    """Return what happened to an object, newest first; nothing for who may not read it."""
    principal = principal_now()
    if not principal.may(Permission.AUDIT_READ):
        return ()
    key = sa.inspect(obj).mapper.primary_key_from_instance(obj)[0]
    return (
        db.session()
        .scalars(
            sa.select(AuditEvent)
            .where(
                AuditEvent.object_type == obj.__tablename__,
                AuditEvent.object_id == str(key),
                visible(AuditEvent, principal),
            )
            .order_by(AuditEvent.id.desc())
            .limit(MOST_EVENTS)
        )
        .all()
    )


def changes_of(event: AuditEvent) -> Iterator[Change]:
    """Yield the fields that an event changed, by name; secrets were censored when written."""
    before, after = event.before or {}, event.after or {}
    for name in sorted({*before, *after}):
        if before.get(name) != after.get(name):
            yield Change(name, _words(before.get(name)), _words(after.get(name)))


def _words(value: object) -> str:
    """Return a value out of the trail as a person reads it."""
    if value is None or value in ("", []):
        return "–"
    if isinstance(value, bool):
        return str(gettext("yes") if value else gettext("no"))
    if isinstance(value, list):
        return ", ".join(_words(each) for each in value)[:LONGEST_VALUE]
    return str(value)[:LONGEST_VALUE]


def init_app(app: Flask) -> None:
    """Let every page of an object show its history."""

    @app.context_processor
    def words() -> dict[str, Any]:
        return {
            "history_of": history_of,
            "changes_of": changes_of,
            "most_events": MOST_EVENTS,
        }
