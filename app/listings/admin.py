"""Pages behind every list: saving views, changing a cell or many rows."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qsl
from uuid import UUID

import sqlalchemy as sa
from flask import (
    Flask,
    Response,
    current_app,
    flash,
    jsonify,
    make_response,
    request,
    url_for,
)
from flask_admin import expose
from flask_babel import gettext
from markupsafe import escape
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session
from werkzeug.datastructures import MultiDict

from app.core import db
from app.core.errors import RejectedError
from app.core.filters import OR
from app.core.scope import NotFoundError, get_visible, visible
from app.core.search import typed
from app.listings import bulk, finding, services
from app.listings.editing import EDITS, Editable, Edits
from app.listings.errors import ListMovedOnError, MovedOnError
from app.listings.models import SavedView
from app.runs.models import JobRun
from app.web.extensions import db as flask_db
from app.web.format import number
from app.web.guard import principal_now, signed_in
from app.web.i18n import say
from app.web.views import Page, ScopedView, back_to, flash_rejected, flash_taken, taken

SHOWN = 10  # rows that the page of a change names
MOST_BOXES = 500


class SavedViewPage(Page):
    """No page of its own: what the menu of views on each list does."""

    def is_visible(self) -> bool:
        return False

    @expose("/", methods=("POST",))
    @signed_in
    def index(self) -> Response:
        """Save the list of the form as it is under the name of the form."""
        listed = _listed(request.form.get("listed", ""))
        query = request.form.get("query", "")
        try:
            with db.unit_of_work() as session:
                view = services.save_view(
                    session,
                    principal_now(),
                    listed,
                    request.form.get("name", ""),
                    query,
                    is_shared=request.form.get("is_shared") == "1",
                )
            flash(gettext("The view %(name)s is saved.", name=view.name), "success")
        except RejectedError as error:
            flash_rejected(error)
        return _to(listed, services.kept_query(query))

    @expose("/<ident>/delete", methods=("POST",))
    @signed_in
    def delete(self, ident: str) -> Response:
        with db.unit_of_work() as session:
            view = services.delete_view(session, principal_now(), ident)
        flash(gettext("The view %(name)s is deleted.", name=view.name), "success")
        return _to(view.listed, "")


class FindPage(Page):
    """Finding anything: pages of the menu, and objects by their words."""

    def is_visible(self) -> bool:
        return False

    @expose("/")
    @signed_in
    def index(self) -> str:
        return self._answer("listings/find.html")

    @expose("/part")
    @signed_in
    def part(self) -> str:
        """Answer what the palette shows while somebody types."""
        return self._answer("listings/found.html")

    def _answer(self, template: str) -> str:
        asked = typed(request.args.get("q", ""))
        with db.unit_of_work() as session:
            found = finding.find(session, principal_now(), asked)
        text: str = self.render(template, asked=asked, found=found)
        return text


class EditPage(Page):
    """Changing rows from their list: one cell of it, or a column of many rows."""

    def is_visible(self) -> bool:
        return False

    @expose("/", methods=("POST",))
    @signed_in
    def index(self) -> str:
        """Ask what is to be changed in the rows that were chosen."""
        listed = request.form.get("listed", "")
        view, edits = _view(listed), bulk.edits_of(listed, principal_now())
        return self._ask(view, edits)

    @expose("/<listed>/apply", methods=("POST",))
    @signed_in
    def apply(self, listed: str) -> Response | str:
        view, edits = _view(listed), bulk.edits_of(listed, principal_now())
        changes = {
            name: request.form.get(f"to-{name}", "")
            for name in request.form.getlist("change")
        }
        try:
            with db.unit_of_work() as session:
                idents = _chosen(session, view)
                if request.form.get("count", str(len(idents))) != str(len(idents)):
                    raise ListMovedOnError
                run = bulk.request_edit(
                    session,
                    listed,
                    idents,
                    changes,
                    reason=request.form.get("reason", "").replace("\0", "").strip()[:500],
                    label=gettext(
                        "%(list)s: change of %(n)s rows", list=view.name, n=len(idents)
                    ),
                )
        except RejectedError as error:
            flash_rejected(error)
            return self._ask(view, edits)
        except IntegrityError:
            flash_taken()
            return self._ask(view, edits)
        if run is not None:
            flash(
                gettext("These are many rows: they are changed in the background."),
                "info",
            )
            return back_to("runs.show", ident=run)
        flash(gettext("Changed: %(n)s rows.", n=number(len(idents))), "success")
        return _to(listed, services.kept_query(request.form.get("query", "")))

    @expose("/undo/<ident>", methods=("POST",))
    @signed_in
    def undo(self, ident: str) -> Response:
        """Have a run put back what another one has changed."""
        reason = request.form.get("reason", "").replace("\0", "").strip()[:500]
        try:
            with db.unit_of_work() as session:
                run = get_visible(session, JobRun, ident, principal_now())
                label = gettext("Putting back: %(what)s", what=run.label)
                new = bulk.request_undo(session, run, reason=reason, label=label)
        except NotFoundError:
            raise
        except RejectedError as error:
            flash_rejected(error)
            return back_to("runs.show", ident=ident)
        return back_to("runs.show", ident=new)

    @expose("/<listed>/cell", methods=("POST",))
    @signed_in
    def cell(self, listed: str) -> Response:
        """Change one cell; answers what it shows from now on, or why not."""
        view = _view(listed)
        name = request.form.get("column", "")
        try:
            with db.unit_of_work() as session:
                obj = bulk.change_cell(
                    session,
                    listed,
                    request.form.get("row", ""),
                    name,
                    was=request.form.get("was", ""),
                    text=request.form.get("to", ""),
                )
                session.flush()
                value = bulk.edits_of(listed, principal_now()).columns[name].text_of(obj)
                shown = str(escape(view.shown(obj, name)))
        except NotFoundError:
            raise
        except RejectedError as error:
            said = {"error": say(error.message, error.params)}
            if isinstance(error, MovedOnError):
                said |= self._now(view, name)
            return make_response(jsonify(said), HTTPStatus.CONFLICT)
        except IntegrityError:
            return make_response(jsonify(error=taken()), HTTPStatus.CONFLICT)
        return jsonify(html=shown, value=value)

    @staticmethod
    def _now(view: ScopedView, name: str) -> dict[str, str]:
        """Return what a cell shows by now, for who did not know."""
        principal = principal_now()
        with db.unit_of_work() as session:
            edits = bulk.edits_of(view.endpoint, principal)
            obj = get_visible(
                session, edits.model, request.form.get("row", ""), principal
            )
            shown = str(escape(view.shown(obj, name)))
            return {"html": shown, "value": edits.columns[name].text_of(obj)}

    def _ask(self, view: ScopedView, edits: Edits) -> str:
        with db.unit_of_work() as session:
            idents = _chosen(session, view)
            sample = session.scalars(
                sa.select(edits.model).where(edits.model.id.in_(idents[:SHOWN]))
            )
            text: str = self.render(
                "listings/bulk.html",
                view=view,
                columns=[
                    (each, each.choices(session) if each.choices else ())
                    for each in edits.columns.values()
                ],
                sample=sorted(str(row) for row in sample.unique()),
                count=len(idents),
                at_once=bulk.AT_ONCE,
                form=request.form,
            )
        return text


def _chosen(session: Session, view: ScopedView) -> list[UUID]:
    """Return the rows that were chosen: by their boxes, or all that the list is narrowed to."""
    if request.form.get("all") == "1":
        sent = request.form.get("query", "")
        if len(sent) > services.LONGEST_QUERY:
            raise ListMovedOnError  # what is cut off would choose too much
        args = MultiDict(parse_qsl(services.kept_query(sent)))
        state = view.list_state(args)
        if len(state.where.clauses) < sum(
            text not in {"", OR} for text in args.getlist("where")
        ):
            raise ListMovedOnError  # a filter that says nothing would choose too much
        query = view.narrowed(state).whole()
        key = sa.inspect(view.model).primary_key[0]
        wanted = query.with_only_columns(key, maintain_column_froms=True).order_by(None)
        return list(session.scalars(wanted.limit(bulk.MOST_ROWS + 1)))
    given = []
    for text in request.form.getlist("row")[:MOST_BOXES]:
        with suppress(ValueError):
            given.append(UUID(text))
    model: Any = view.model
    seen = visible(model, principal_now())
    return list(session.scalars(sa.select(model.id).where(model.id.in_(given), seen)))


def _view(text: str) -> ScopedView:
    """Return a list that one may see; raises ``NotFoundError`` for what is none."""
    view = current_app.extensions["simpul_admin_views"].get(text)
    if not isinstance(view, ScopedView) or not view.is_accessible():
        raise NotFoundError
    return view


def _listed(text: str) -> str:
    """Return the name of a list that one may see; raises ``NotFoundError`` for none."""
    view = current_app.extensions["simpul_admin_views"].get(text)
    if not (isinstance(view, Page) and view.table and view.is_accessible()):
        _view(text)
    return text


def _to(listed: str, query: str) -> Response:
    return back_to(
        _first_page(_listed(listed)),
        **MultiDict(parse_qsl(query)).to_dict(flat=False),
    )


def _first_page(listed: str) -> str:
    """Return the endpoint of a list."""
    table = getattr(current_app.extensions["simpul_admin_views"][listed], "table", None)
    return table.endpoint if table is not None else f"{listed}.index_view"


def address_of(listed: str, query: str) -> str:
    """Return the address of a view."""
    address = url_for(_first_page(listed))
    return f"{address}?{query}" if query else address


def init_app(app: Flask) -> None:
    """Tell every list its views."""

    @app.context_processor
    def views() -> dict[str, Any]:
        def saved_views(listed: str) -> Sequence[SavedView]:
            return services.views_of(flask_db.session(), principal_now(), listed)

        def undoable(run: JobRun) -> bool:
            return bulk.undo_of(flask_db.session(), run) is not None

        def editable(listed: str) -> Mapping[str, Editable]:
            """Return the columns that one may change in a list, without its form."""
            edits = EDITS.get(listed)
            may = edits is not None and principal_now().may(edits.write)
            return edits.columns if edits is not None and may else {}

        return {
            "saved_views": saved_views,
            "view_address": address_of,
            "editable": editable,
            "undoable": undoable,
        }
