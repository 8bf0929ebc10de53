"""The audit trail, to read: all of it, and all that one request changed."""

from contextlib import suppress
from datetime import date, datetime, time, timedelta
from typing import Any, ClassVar
from zoneinfo import ZoneInfo

import sqlalchemy as sa
from flask import current_app, request, url_for
from flask_admin import expose
from flask_babel import gettext
from markupsafe import Markup

from app.audit.models import AuditEvent
from app.core.policy import Permission
from app.core.scope import NotFoundError, visible
from app.history import trail
from app.identity.models import User
from app.web.context import OBJECTS, object_name, state_name
from app.web.extensions import db
from app.web.format import moment
from app.web.guard import needs, principal_now
from app.web.i18n import lazy_gettext
from app.web.views import ListFilter, ReadOnlyView

MOST_PEOPLE = 500
BY_ITSELF = "system"  # the choice of who: no person
ACTIONS = (
    "create", "update", "delete", "retry", "cancel", "replay", "rollback", "export", "preview",
)  # fmt: skip


def _object(event: AuditEvent) -> Markup | str:
    """Name what an event tells of, with a link to its page where it has one."""
    name = event.object_label or event.object_id[:8]
    address = trail.page_of_event(event)
    return Markup('<a href="{}">{}</a>').format(address, name) if address else name


def _request(event: AuditEvent) -> Markup | str:
    if not event.request_id:
        return "–"
    address = url_for("audit.request_view", request_id=event.request_id)
    return Markup('<a class="mono" href="{}">{}</a>').format(
        address, event.request_id[:12]
    )


def _day(name: str) -> datetime | None:
    """Return the beginning of a day in the address, on the office's clock."""
    zone = ZoneInfo(current_app.extensions["simpul_settings"].time_zone)
    with suppress(ValueError):
        return datetime.combine(
            date.fromisoformat(request.args.get(name, "")), time(), zone
        )
    return None


class AuditView(ReadOnlyView):
    """Who changed what, when and why."""

    read = Permission.AUDIT_READ
    lead = lazy_gettext(
        "Every change of Simpul's own data, with actor, reason and request."
    )
    details_template = "history/event.html"
    column_list = ("at", "actor", "action", "object_type", "object_label", "reason")
    column_default_sort = ("id", True)
    narrow_columns = ("at", "action")
    column_searchable_list = (
        "actor", "object_label", "object_id", "request_id", "reason",
    )  # fmt: skip
    column_sortable_list = ("at",)
    sorted_as: ClassVar = {"at": "id"}  # the order in which they came
    named_filters: ClassVar = {"action": ACTIONS, "object_type": tuple(OBJECTS)}
    column_details_list = (
        "at", "actor", "action", "object_type", "object_label", "object_id", "reason",
        "request_id",
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
    }
    column_formatters: ClassVar = {
        "at": lambda _v, _c, m, _n: moment(m.at),
        "action": lambda _v, _c, m, _n: state_name(m.action),
        "object_type": lambda _v, _c, m, _n: object_name(m.object_type),
        "object_label": lambda _v, _c, m, _n: _object(m),
        "request_id": lambda _v, _c, m, _n: _request(m),
    }

    def conditions(self) -> list[Any]:
        wanted = super().conditions()
        given = request.args
        who = given.get("who", "")
        if who == BY_ITSELF:
            wanted.append(AuditEvent.actor_id.is_(None))
        elif who:
            wanted.append(sa.cast(AuditEvent.actor_id, sa.Text) == _text(who))
        for name in ("object_id", "request_id"):
            if given.get(name):
                wanted.append(getattr(AuditEvent, name) == _text(given[name]))
        since, until = _day("since"), _day("until")
        if since is not None:
            wanted.append(AuditEvent.at >= since)
        if until is not None and until.date() < date.max:
            wanted.append(AuditEvent.at < until + timedelta(days=1))
        return wanted

    def list_filters(self) -> tuple[ListFilter, ...]:
        return (
            ListFilter("since", gettext("From")),
            ListFilter("until", gettext("Until")),
            ListFilter(
                "who", gettext("Who"), (*_people(), (BY_ITSELF, gettext("the system")))
            ),
            *(
                ListFilter(name, str(self.column_labels[name]), ((value, value[:12]),))
                for name in ("object_id", "request_id")
                if (value := request.args.get(name))
            ),
        )

    @expose("/request/<request_id>")
    @needs(Permission.AUDIT_READ)
    def request_view(self, request_id: str) -> str:
        """Show all that one request changed."""
        events = trail.events_of_request(db.session(), request_id, principal_now())
        if not events:
            raise NotFoundError
        return self.render("history/request.html", events=events, request_id=request_id)


def _text(value: str) -> str:
    return value.replace("\0", "")[:200]


def _people() -> tuple[tuple[str, str], ...]:
    """Return those who may be chosen as who: the people whom the reader may see."""
    people = db.session().execute(
        sa.select(User.id, User.name)
        .where(visible(User, principal_now()))
        .order_by(User.name, User.id)
        .limit(MOST_PEOPLE)
    )
    return tuple((str(key), name) for key, name in people)
