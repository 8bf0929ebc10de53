"""What the trail's fields and values are called: as the pages call them.

A table with a list of its own is named by its list's columns; the others stand here.
"""

from collections.abc import Callable, Iterator, Mapping
from datetime import date, datetime, time
from typing import Any

import sqlalchemy as sa
from flask import current_app, g
from flask_babel import format_date, gettext

from app.audit.recorder import CENSORED
from app.contracts import drafts
from app.core.db import Base
from app.core.scope import NotFoundError, get_visible
from app.runs.kinds import KINDS
from app.sources.forms import SourceForm
from app.web.context import permission_name, state_name
from app.web.extensions import db
from app.web.format import moment, number
from app.web.guard import principal_now
from app.web.i18n import lazy_gettext as _, say

LONGEST_VALUE = 500
# Fields that many tables have.
COMMON: Mapping[str, Any] = {
    "id": _("Number"),
    "agency_id": _("Agency"),
    "contract_id": _("Contract"),
    "version_id": _("Contract version"),
    "client_id": _("Program"),
    "dataset_id": _("Dataset"),
    "producer_id": _("Agency that provides the data"),
    "created_at": _("Since"),
    "created_by": _("By"),
    "enabled": _("Switched on"),
    "name": _("Name"),
    "kind": _("Kind"),
    "title": _("Title"),
    "description": _("Description"),
    "slug": _("Short name"),
    "revoked_at": _("Withdrawn"),
    # Of deeds that no changed column shows.
    "run": _("Run"),
    "object_type": _("Kind of object"),
    "object_id": _("Number"),
    "events": _("Numbers of the changes put back"),
    "to": _("As it stood after the pull of"),
    "accepted": _("Let pass"),
    "hosts": _("Host and port"),
    "changed": _("Tried otherwise"),
}
FIELDS: Mapping[str, Mapping[str, Any]] = {
    "contract": {
        "basis": _("Rests on"),
        "is_listed": _("On the public page"),
        "kind": _("Kind of data"),
        "load_mode": _("Each pull brings"),
    },
    "integration_request": {
        "number": _("Number"),
        "purpose": _("Purpose"),
        "step": _("Step"),
        "step_since": _("In this step since"),
        "is_held": _("rests"),
        "is_amendment": _("change of what runs"),
        "proposer_id": _("Submitted by"),
        "digest": _("Digest of what was submitted"),
        "approved": _("Approved as"),
        "asked": _("Asked"),
        "ball": _("Waits for"),
        "warned": _("Warned of"),
        "loops_a": _("Loops A"),
        "loops_b": _("Loops B"),
        "handed_in_at": _("Handed in"),
        "accepted_at": _("Complete since"),
        "ended_at": _("Ended"),
    },
    "change_notice": {
        "changes": _("What changes"),
        "digest": _("Digest of what changes"),
    },
    "complaint": {
        "number": _("Number"),
        "code": _("Code"),
        "kind": _("Kind"),
        "channel": _("Came by"),
        "lapor_number": _("Tracking number of LAPOR!"),
        "agency_id": _("Agency of the sender"),
        "producer_id": _("Passed on to"),
        "case_id": _("Case"),
        "assigned_id": _("Answers it"),
        "subject": _("What it is about"),
        "text": _("What is meant"),
        "received_on": _("Received"),
        "due_on": _("To be answered by"),
        "state": _("Status"),
        "answer": _("Answer"),
        "answered_at": _("Answered"),
        "warned": _("Warned of"),
    },
    "complaint_sender": {
        "complaint_id": _("complaint or question"),
        "name": _("Who sent it"),
        "contact": _("How to reach them"),
    },
    "paper_wording": {
        "opening": _("Opening"),
        "closing": _("Closing"),
    },
    "document": {
        "case_id": _("Case"),
        "content": _("What was filled in"),
        "remarks": _("Remarks"),
        "changed_at": _("Changed"),
        "changed_by": _("By"),
    },
    "contract_version": {
        "number": _("Version"),
        "status": _("State"),
        "note": _("Note"),
        **drafts.LIMITS,
        "plan": _("Plan"),
        "activated_at": _("Activated"),
        "activated_by": _("Activated by"),
    },
    "contract_field": {"position": _("Place in the list"), **drafts.COLUMNS},
    "dataset": {
        "row_count": _("Rows"),
        "published_at": _("Data as of"),
        "published_run_id": _("Run"),
    },
    "source": {
        "settings": _("Settings"),
        "secrets": _("Key or password"),
        "approved_host": _("Approved address"),
        "approved_by_id": _("Approved by"),
        "approved_by": _("Approved by"),
        "approved_at": _("Approved"),
        "settled_by_ids": _("Address or signing in changed by"),
        "settled_at": _("Address or signing in changed"),
        "pause": _("Rests because"),
        "failure_count": _("Failures in a row"),
        "max_failures": _("Rests after so many failures in a row (0: never)"),
        "plain_until": _("Without encryption until"),
        "plain_reason": _("Without encryption because"),
        "mark": _("Published up to"),
    },
    "office": {"is_only": _("The one office")},
    "host": {"next_at": _("Next request")},
    "schedule": {"key": _("Work that must not overlap"), "params": _("Parameters")},
    "user": {
        "password": _("Password"),
        "password_changed_at": _("Password changed"),
        "must_change_password": _("Must choose an own password"),
        "former_passwords": _("Former passwords"),
        "tf_primary_method": _("Second factor"),
        "tf_totp_secret": _("Second factor"),
        "tf_last_counter": _("Last code"),
        "mf_recovery_codes": _("Recovery codes"),
        "fs_webauthn_user_handle": _("Passkeys"),
        "language": _("Language of mails"),
        "fs_uniquifier": _("Sessions"),
    },
    "duty": {
        "user_id": _("Person"),
        "for_user_id": _("Acts for"),
        "kind": _("Kind"),
        "position": _("Position"),
        "basis": _("Letter of appointment"),
        "starts_at": _("From"),
        "ends_at": _("Until"),
        "given_by": _("Given by"),
        "roles": _("Roles"),
    },
    "factor_reset": {
        "user_id": _("Person"),
        "reason": _("Reason"),
        "asked_by": _("Asked for by"),
        "asked_at": _("Asked for"),
        "settled_by": _("Decided by"),
        "settled_at": _("Decided"),
        "granted": _("Granted"),
    },
    "invitation": {
        "user_id": _("Person"),
        "code_hash": _("One-time code"),
        "stamp": _("What it hangs on"),
        "invited_by": _("Invited by"),
        "expires_at": _("Expires"),
        "used_at": _("Used"),
    },
    "api_key": {
        "prefix": _("Key"),
        "secret_hash": _("Key or password"),
        "networks": _("Only from these addresses"),
        "expires_at": _("Expires"),
        "revoked_at": _("revoked"),
        "last_used_at": _("Last used"),
    },
}
# Keys of people that are no foreign keys: the trail outlives the person.
_PEOPLE = frozenset(
    {
        "approved_by_id",
        "settled_by_ids",
        "given_by",
        "asked_by",
        "settled_by",
        "invited_by",
    }
)


def field_name(table: str, field: str) -> str:
    """Name a field of a table in the reader's language; ``a.b`` is a setting b of field a."""
    field, _dot, part = field.partition(".")
    if part:
        return _setting_name(part)
    view = view_of(table)
    relation = field.removesuffix("_id")
    for known in (
        FIELDS.get(table, {}),
        getattr(view, "column_labels", None) or {},
    ):
        for name in (field, relation):
            if name in known:
                return str(known[name])
    return str(COMMON.get(field, field))


def view_of(table: str) -> Any:
    """Return the list of a table among the pages, None when it has none."""
    views = current_app.extensions["simpul_admin_views"].values()
    return next(
        (
            v
            for v in views
            if getattr(getattr(v, "model", None), "__tablename__", "") == table
        ),
        None,
    )


def model_of(table: str) -> Any:
    """Return the class whose rows a table holds, None when there is no such table."""
    mappers = Base.registry.mappers
    return next((m.class_ for m in mappers if m.class_.__tablename__ == table), None)


def _setting_name(part: str) -> str:
    unbound = getattr(SourceForm, part, None)
    return str(unbound.args[0]) if unbound is not None and unbound.args else part


def value_words(table: str, field: str, value: Any) -> str:
    """Return a value out of the trail as the object's page would show it."""
    field, _dot, part = field.partition(".")
    if value is None or value in ("", [], {}):
        return "–"
    if value == CENSORED:
        return CENSORED
    if part:
        return _setting_words(part, value)
    if (table, field) in _SAID_BY:
        return _shortened(_SAID_BY[table, field](value))
    if isinstance(value, list):
        return ", ".join(value_words(table, field, each) for each in value)[
            :LONGEST_VALUE
        ]
    return _shortened(_one_value(table, field, value))


def _shortened(text: str) -> str:
    return text if len(text) <= LONGEST_VALUE else text[:LONGEST_VALUE] + "…"


def _one_value(table: str, field: str, value: Any) -> str:
    if isinstance(value, bool):
        return str(gettext("yes") if value else gettext("no"))
    model = model_of(table)
    column = model.__table__.columns.get(field) if model is not None else None
    if column is None or isinstance(value, dict):
        return _plain_words(value)
    if field in _PEOPLE:
        return object_words("user", value)
    for key in column.foreign_keys:
        return object_words(key.column.table.name, value)
    return _by_type(column.type, value)


def _by_type(kind: Any, value: Any) -> str:
    if isinstance(kind, sa.Enum):
        return state_name(value)
    if isinstance(kind, sa.Date | sa.DateTime | sa.Time):
        return _time_words(kind, str(value))
    if isinstance(kind, sa.Integer | sa.Float):
        return number(value)
    return str(value)


def _time_words(kind: Any, text: str) -> str:
    try:
        if isinstance(kind, sa.Time):
            return f"{time.fromisoformat(text):%H.%M}"
        if isinstance(kind, sa.DateTime):
            return moment(datetime.fromisoformat(text))
        return str(format_date(date.fromisoformat(text), "d MMM y"))
    except ValueError:
        return text


def object_words(table: str, ident: Any) -> str:
    """Return an object's name by its key; one that is gone, or not theirs, stays a key."""
    names: dict[tuple[str, str], str] = g.setdefault("object_names", {})
    key = table, str(ident)
    if key not in names:  # a page of history names the same few over and over
        names[key] = _object_name(*key)
    return names[key]


def is_there(table: str, ident: str) -> bool:
    """Tell whether an object exists for the reader."""
    return object_words(table, ident) != ident


def _object_name(table: str, ident: str) -> str:
    model = model_of(table)
    try:
        found = get_visible(db.session(), model, ident, principal_now()) if model else ""
    except NotFoundError:
        found = ""
    return str(found or ident)


def _pause_words(value: Any) -> str:
    if not isinstance(value, dict):
        return str(value)
    return say(str(value.get("message", "")), value.get("params"))


def _mark_words(value: Any) -> str:
    return str(value.get("value", "")) if isinstance(value, dict) else str(value)


def _kind_words(value: Any) -> str:
    return say(KINDS[value].label) if value in KINDS else str(value)


def _plan_words(value: Any) -> str:
    return str(gettext("%(n)s steps", n=number(len(value))))


def _permission_words(value: Any) -> str:
    return ", ".join(permission_name(str(each)) for each in value)


_SAID_BY: Mapping[tuple[str, str], Callable[[Any], str]] = {
    ("source", "pause"): _pause_words,
    ("source", "mark"): _mark_words,
    ("contract_version", "plan"): _plan_words,
    ("schedule", "kind"): _kind_words,
    ("role", "permissions"): _permission_words,
}


def _setting_words(part: str, value: Any) -> str:
    unbound = getattr(SourceForm, part, None)
    choices = unbound.kwargs.get("choices") if unbound is not None else None
    for choice in choices or ():
        if choice.value == value:
            return str(choice.label)
    if isinstance(value, bool):
        return str(gettext("yes") if value else gettext("no"))
    return _shortened(_plain_words(value))


def _plain_words(value: Any) -> str:
    if isinstance(value, dict):
        return "; ".join(f"{k}: {v}" for k, v in value.items())
    return str(value)


def parts_of(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[str]:
    """Yield the names of what differs; of settings those that do, as ``settings.page_size``."""
    for name in sorted({*before, *after}):
        old, new = before.get(name), after.get(name)
        if old == new != CENSORED:
            continue
        if name in SPLIT and isinstance(old or {}, dict) and isinstance(new or {}, dict):
            yield from (
                f"{name}.{key}"
                for key in sorted({*(old or {}), *(new or {})})
                if (old or {}).get(key) != (new or {}).get(key)
            )
        else:
            yield name


SPLIT = frozenset({"settings"})


def look_up(values: Mapping[str, Any] | None, name: str) -> Any:
    """Return a value of an event's before or after by a name of ``parts_of``."""
    field, _dot, part = name.partition(".")
    value = (values or {}).get(field)
    return (
        value.get(part)
        if part and isinstance(value, dict)
        else value
        if not part
        else None
    )
