"""The audit trail, to read."""

from operator import itemgetter
from typing import ClassVar

from flask_babel import gettext
from markupsafe import Markup

from app.audit.history import changes_of
from app.audit.models import AuditEvent
from app.core.filters import Filter, Options
from app.core.policy import Permission
from app.web.context import OBJECTS, object_name, state_name
from app.web.format import moment
from app.web.i18n import lazy_gettext
from app.web.listing import named
from app.web.views import ReadOnlyView

ACTIONS = (
    "create", "update", "delete", "retry", "cancel", "replay", "rollback", "export", "log_in",
    "view_as", "add_passkey", "drop_passkey",
)  # fmt: skip


def _kinds() -> Options:
    return sorted(
        ((name, str(label)) for name, label in OBJECTS.items()), key=itemgetter(1)
    )


def _changes(event: AuditEvent) -> Markup:
    """Write the changed columns as a small table: before and after."""
    rows = Markup("").join(
        Markup("<tr><th scope=row>{}</th><td>{}</td><td>{}</td></tr>").format(*change)
        for change in changes_of(event)
    )
    head = Markup("<tr><th></th><th scope=col>{}</th><th scope=col>{}</th></tr>").format(
        gettext("before"), gettext("after")
    )
    return Markup('<table class="table table-sm">{}{}</table>').format(head, rows)


class AuditView(ReadOnlyView):
    """Who changed what, when and why."""

    read = Permission.AUDIT_READ
    lead = lazy_gettext(
        "Every change of Simpul's own data, with actor, reason and request."
    )
    column_list = ("at", "actor", "action", "object_type", "object_label", "reason")
    column_default_sort = ("id", True)
    narrow_columns = ("at", "action")
    wide_details = ("changes",)
    column_sortable_list = ("at",)
    sorted_as: ClassVar = {"at": "id"}  # the order in which they came
    filters: ClassVar = (
        Filter(AuditEvent.action, lazy_gettext("What"), named(*ACTIONS), quick=True),
        Filter(
            AuditEvent.object_type, lazy_gettext("Kind of object"), _kinds, quick=True
        ),
        Filter(AuditEvent.at, lazy_gettext("When")),
        Filter(AuditEvent.actor, lazy_gettext("Who")),
        Filter(AuditEvent.object_label, lazy_gettext("Object")),
        Filter(AuditEvent.object_id, lazy_gettext("Number")),
        Filter(AuditEvent.reason, lazy_gettext("Reason")),
        Filter(AuditEvent.request_id, lazy_gettext("Request")),
    )
    column_details_list = (
        "at", "actor", "action", "object_type", "object_label", "object_id", "reason",
        "request_id", "changes",
    )  # fmt: skip
    column_labels: ClassVar = {
        "at": lazy_gettext("When"),
        "actor": lazy_gettext("Who"),
        "action": lazy_gettext("What"),
        "object_type": lazy_gettext("Kind of object"),
        "object_label": lazy_gettext("Object"),
        "object_id": lazy_gettext("Number"),
        "reason": lazy_gettext("Reason"),
        "request_id": lazy_gettext("Request"),
        "changes": lazy_gettext("Changes"),
    }
    column_formatters: ClassVar = {
        "at": lambda _v, _c, m, _n: moment(m.at),
        "action": lambda _v, _c, m, _n: state_name(m.action),
        "object_type": lambda _v, _c, m, _n: object_name(m.object_type),
        "changes": lambda _v, _c, m, _n: _changes(m),
    }
