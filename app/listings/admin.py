"""Pages behind every list: saving and deleting views."""

from collections.abc import Sequence
from typing import Any

from flask import Flask, current_app, flash, request, url_for
from flask_admin import expose
from flask_babel import gettext
from werkzeug import Response
from werkzeug.utils import redirect

from app.core import db
from app.core.errors import RejectedError
from app.core.scope import NotFoundError
from app.listings import services
from app.listings.models import SavedView
from app.web.extensions import db as flask_db
from app.web.guard import principal_now, signed_in
from app.web.views import Page, ScopedView, flash_rejected


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


def _listed(text: str) -> str:
    """Return the name of a list's pages; raises ``NotFoundError`` for what is none."""
    view = current_app.extensions["simpul_admin_views"].get(text)
    if not isinstance(view, ScopedView) or not view.is_accessible():
        raise NotFoundError
    return text


def _to(listed: str, query: str) -> Response:
    return redirect(address_of(listed, query))


def address_of(listed: str, query: str) -> str:
    """Return the address of a view."""
    address = url_for(f"{listed}.index_view")
    return f"{address}?{query}" if query else address


def init_app(app: Flask) -> None:
    """Tell every list its views."""

    @app.context_processor
    def views() -> dict[str, Any]:
        def saved_views(listed: str) -> Sequence[SavedView]:
            return services.views_of(flask_db.session(), principal_now(), listed)

        return {"saved_views": saved_views, "view_address": address_of}
