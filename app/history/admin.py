"""The audit trail, to read and to put things back from; and the trash."""

from collections.abc import Callable
from operator import itemgetter
from typing import Any, ClassVar

import sqlalchemy as sa
from flask import (
    Flask,
    abort,
    current_app,
    flash,
    make_response,
    redirect,
    request,
    url_for,
)
from flask.typing import ResponseReturnValue
from flask_admin import expose
from flask_babel import gettext
from markupsafe import Markup
from sqlalchemy.exc import IntegrityError, InvalidRequestError
from sqlalchemy.orm.exc import StaleDataError

from app.audit.models import AuditEvent
from app.core import lists
from app.core.errors import RejectedError
from app.core.filters import Filter, Options
from app.core.policy import Permission
from app.core.scope import NotFoundError, get_visible, visible
from app.history import reverts, services, trail
from app.history.models import Trashed
from app.identity.models import User
from app.web.context import OBJECTS, object_name, state_name
from app.web.extensions import db
from app.web.format import moment
from app.web.guard import needs, principal_now
from app.web.i18n import lazy_gettext, say
from app.web.listing import named
from app.web.paging import tell_lost, turn
from app.web.views import Page, ReadOnlyView, flash_rejected, flash_taken

MOST_PEOPLE = 500
ACTIONS = (
    "create", "update", "delete", "retry", "cancel", "replay", "rollback", "revert", "export",
    "preview",
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


def _kinds() -> Options:
    return sorted(
        ((name, str(label)) for name, label in OBJECTS.items()), key=itemgetter(1)
    )


def _people() -> Options:
    """Return those who may be chosen as who: the people whom the reader may see."""
    people = db.session().execute(
        sa.select(User.id, User.name)
        .where(visible(User, principal_now()))
        .order_by(User.name, User.id)
        .limit(MOST_PEOPLE)
    )
    return [(str(key), name) for key, name in people]


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
    column_sortable_list = ("at",)
    sorted_as: ClassVar = {"at": "id"}  # the order in which they came
    filters: ClassVar = (
        Filter(AuditEvent.action, lazy_gettext("What"), named(*ACTIONS), quick=True),
        Filter(
            AuditEvent.object_type, lazy_gettext("Kind of object"), _kinds, quick=True
        ),
        Filter(AuditEvent.actor_id, lazy_gettext("Who"), _people, quick=True),
        Filter(AuditEvent.at, lazy_gettext("When")),
        Filter(AuditEvent.object_label, lazy_gettext("Object")),
        Filter(AuditEvent.object_id, lazy_gettext("Number")),
        Filter(AuditEvent.reason, lazy_gettext("Reason")),
        Filter(AuditEvent.request_id, lazy_gettext("Request")),
    )
    more_columns = ("object_id", "request_id")
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

    @expose("/request/<request_id>")
    @needs(Permission.AUDIT_READ)
    def request_view(self, request_id: str) -> str:
        """Show all that one request changed."""
        events = trail.events_of_request(db.session(), request_id, principal_now())
        if not events:
            raise NotFoundError
        return self.render(
            "history/request.html",
            events=events,
            request_id=request_id,
            may_revert=any(map(reverts.may_be_reverted, events)),
            is_cut=len(events) == trail.MOST_OF_REQUEST,
        )

    @expose("/<ident>/revert", methods=("GET", "POST"))
    @needs(Permission.AUDIT_READ)
    def revert_event(self, ident: str) -> ResponseReturnValue:
        """Show what putting one change back would do, and do it."""
        event = get_visible(db.session(), AuditEvent, ident, principal_now())
        back = trail.page_of_event(event) or self.get_url(".details_view", id=event.id)
        return self._revert([event], back)

    @expose("/request/<request_id>/revert", methods=("GET", "POST"))
    @needs(Permission.AUDIT_READ)
    def revert_request(self, request_id: str) -> ResponseReturnValue:
        """Show what putting back all that one request changed would do, and do it.

        What is too much for one page is put back page by page; ``after`` is an event.
        """
        after = min(request.args.get("after", 0, int), 2**62)
        events = trail.events_of_request(db.session(), request_id, principal_now(), after)
        if not events:
            raise NotFoundError
        back = self.get_url(".request_view", request_id=request_id)
        further = ""
        if len(events) == trail.MOST_OF_REQUEST:
            further = self.get_url(
                ".revert_request", request_id=request_id, after=events[-1].id
            )
        return self._revert(events, back, further)

    def _revert(
        self, events: list[AuditEvent], back: str, further: str = ""
    ) -> ResponseReturnValue:
        """Answer for a plan; ``further`` is where it goes on, when these are not all."""
        session, is_sent = db.session(), request.method == "POST"
        if is_sent:
            if not any(map(reverts.may_be_reverted, events)):
                abort(403)
            if _put_back(events):
                flash(gettext("It is put back."), "success")
                return redirect(further or back)
            session.rollback()
        plan = reverts.plan_of(session, events)
        chosen = (
            request.form.getlist("put")
            if is_sent
            else [
                line.key
                for item in plan.items
                for line in item.lines
                if line.verdict is reverts.Verdict.BACK
            ]
        )
        page = self.render(
            "history/revert.html", plan=plan, chosen=chosen, back=back, further=further
        )
        return make_response(page, 409 if is_sent else 200)


def _put_back(events: list[AuditEvent]) -> bool:
    """Put back what the form chose; False after saying why not."""
    session, form = db.session(), request.form
    reason, digest = form.get("reason", "").strip()[:500], form.get("digest", "")
    try:
        reverts.put_back(session, events, form.getlist("put"), reason, digest=digest)
        session.commit()
    except reverts.NotYoursError:
        abort(403)
    except reverts.ObjectRefusedError as error:
        flash(f"{error.label}: {say(error.message, error.params)}", "danger")
    except RejectedError as error:
        flash_rejected(error)
    except IntegrityError:
        flash_taken()
    except StaleDataError:
        flash_rejected(reverts.PlanChangedError())
    else:
        return True
    return False


class TrashPage(Page):
    """What is in the trash, how it comes there and comes back."""

    @expose("/")
    @needs(Permission.TRASH_READ)
    def index(self) -> str:
        session, who = db.session(), principal_now()
        kinds = [name for name, kind in services.KINDS.items() if who.may(kind.read)]
        query = sa.select(Trashed).where(
            visible(Trashed, who), Trashed.object_type.in_(kinds)
        )
        order = lists.Order(Trashed.trashed_at, Trashed.id, down=True)
        page = lists.read_slice(session, query, order, trail.PAGE_SIZE, turn())
        tell_lost(page)
        return self.render(
            "history/trash.html",
            page=page,
            days=current_app.extensions["simpul_settings"].trash_days,
            may_restore=lambda each: _may_trash(each.object_type),
        )

    @expose("/put/<table>/<ident>", methods=("GET", "POST"))
    @needs(Permission.TRASH_WRITE)
    def put(self, table: str, ident: str) -> ResponseReturnValue:
        """Show what would go to the trash, and move it there."""
        if table not in services.KINDS:
            raise NotFoundError
        if not _may_trash(table):
            abort(403)
        session = db.session()
        obj = get_visible(session, services.KINDS[table].model, ident, principal_now())
        label, page = str(obj), trail.page_of(table, ident)
        if request.method == "POST" and _done(
            lambda: services.move_to_trash(session, obj, _reason())
        ):
            flash(gettext("%(name)s is in the trash.", name=label), "success")
            return redirect(self.get_url(".index"))
        model = services.KINDS[table].model
        parts, refusal = _look(get_visible(session, model, ident, principal_now()))
        text = self.render(
            "history/put.html", table=table, label=label, page=page, parts=parts,
            refusal=refusal, days=current_app.extensions["simpul_settings"].trash_days,
        )  # fmt: skip
        return make_response(text, 409 if request.method == "POST" else 200)

    @expose("/<ident>/restore", methods=("POST",))
    @needs(Permission.TRASH_WRITE)
    def restore(self, ident: str) -> ResponseReturnValue:
        """Bring something back."""
        session = db.session()
        trashed = get_visible(session, Trashed, ident, principal_now())
        table, key, label = trashed.object_type, trashed.object_id, trashed.label
        if not _may_trash(table):
            abort(403)
        if not _done(lambda: services.restore(session, trashed, _reason())):
            return redirect(self.get_url(".index"))
        flash(gettext("%(name)s is back.", name=label), "success")
        return redirect(trail.page_of(table, key) or self.get_url(".index"))


def _reason() -> str:
    return request.form.get("reason", "").strip()[:500]


def _may_trash(table: str) -> bool:
    kind, who = services.KINDS.get(table), principal_now()
    return kind is not None and who.may(Permission.TRASH_WRITE) and who.may(kind.write)


def _look(obj: Any) -> tuple[list[Any], str]:
    """Return what would go along, and why it cannot go, "" when it can."""
    try:
        return services.require_trashable(db.session(), obj), ""
    except RejectedError as error:
        return [], say(error.message, error.params)


def _done(deed: Callable[[], object]) -> bool:
    """Do something as one transaction; False after saying why not."""
    session = db.session()
    try:
        deed()
        session.commit()
    except RejectedError as error:
        session.rollback()
        flash_rejected(error)
    except IntegrityError:
        session.rollback()
        flash_taken()
    except (StaleDataError, InvalidRequestError):  # gone, or another version of it
        session.rollback()
        flash(
            gettext(
                "Somebody else changed the same thing at the same moment. Nothing of yours was"
                " saved; load the page again and look first."
            ),
            "danger",
        )
    else:
        return True
    return False


def init_app(app: Flask) -> None:
    """Let every page of an object show its history."""

    @app.context_processor
    def vocabulary() -> dict[str, Any]:
        return {
            "history_of": trail.history_of,
            "changes_of": trail.changes_of,
            "deeds_of": trail.deeds_of,
            "earlier_url": trail.earlier_url,
            "page_of_event": trail.page_of_event,
            "is_of_part": trail.is_of_part,
            "may_be_reverted": reverts.may_be_reverted,
            "may_trash": _may_trash,
            "object_name": object_name,
        }
