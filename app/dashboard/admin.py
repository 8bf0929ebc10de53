"""The start page, and the switch of language."""

from time import monotonic
from typing import Any
from uuid import UUID

from flask import Flask, Response, request, session as cookie
from flask_admin import AdminIndexView, expose

from app.core import db
from app.dashboard import queries
from app.identity.services import set_language
from app.web.guard import as_log_in, principal_now, signed_in
from app.web.i18n import LANGUAGES
from app.web.views import Page, back_to

# What the numbers depend on: whose rows somebody sees, what they may do, in which roles.
_Side = tuple[UUID | None, frozenset[str], frozenset[str]]
COUNTED_SECONDS = 15.0  # as long as a number beside the menu may be old


class HomePage(Page, AdminIndexView):
    """What happened, what waits for somebody, what comes next."""

    @expose("/")
    @signed_in
    def index(self) -> str:
        with db.unit_of_work() as session:
            text: str = self.render(
                "dashboard/home.html", seen=queries.overview(session, principal_now())
            )
        return text

    @expose("/language", methods=("POST",))
    @signed_in
    def language(self) -> Response:
        chosen = request.form.get("language", "")
        if chosen in LANGUAGES:
            cookie["language"] = chosen
            with as_log_in() as session:
                set_language(session, principal_now().user_id, chosen)
        return back_to("home.index")


def init_app(app: Flask) -> None:
    """Tell the menu how much waits behind its links; counted anew every few seconds."""
    known: dict[_Side, tuple[float, dict[str, int]]] = {}

    def menu_counts() -> dict[str, int]:
        principal = principal_now()
        side = (principal.agency_id, principal.permissions, principal.roles)
        counted_at, counts = known.get(side, (-COUNTED_SECONDS, {}))
        if monotonic() - counted_at >= COUNTED_SECONDS:
            with db.unit_of_work() as session:
                counts = queries.menu_counts(session, principal)
            known[side] = (monotonic(), counts)
        return counts

    @app.context_processor
    def words() -> dict[str, Any]:
        return {"menu_counts": menu_counts}
