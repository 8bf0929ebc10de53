"""The start page, and the switch of language."""

from flask import Response, request, session as cookie
from flask_admin import AdminIndexView, expose

from app.core import db
from app.dashboard.queries import overview
from app.identity.services import set_language
from app.web.guard import as_log_in, principal_now, signed_in
from app.web.i18n import LANGUAGES
from app.web.views import Page, back_to


class HomePage(Page, AdminIndexView):
    """What happened, what waits for somebody, what comes next."""

    @expose("/")
    @signed_in
    def index(self) -> str:
        with db.unit_of_work() as session:
            text: str = self.render(
                "dashboard/home.html", seen=overview(session, principal_now())
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
