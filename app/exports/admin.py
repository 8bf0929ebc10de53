"""Unduhan saya: asking for files and fetching them; each person sees their own alone."""

import sqlalchemy as sa
from flask import Response, current_app, make_response, send_file
from flask_admin import expose

from app.core import db
from app.core.errors import RejectedError
from app.core.policy import Permission
from app.core.scope import visible
from app.datasets.queries import dataset_by_slug
from app.exports import services
from app.exports.models import ExportRun
from app.web.guard import needs, principal_now
from app.web.views import Page, back_to, flash_rejected

XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"


class DownloadPage(Page):
    """Files that a person asked for."""

    @expose("/")
    @needs(Permission.DATASET_EXPORT)
    def index(self) -> str:
        with db.unit_of_work() as session:
            exports = session.scalars(
                sa.select(ExportRun)
                .where(visible(ExportRun, principal_now()))
                .order_by(ExportRun.created_at.desc())
                .limit(100)
            ).all()
            text: str = self.render(
                "exports/list.html", exports=exports, now=db.now(session)
            )
        return text

    @expose("/request/<slug>", methods=("POST",))
    @needs(Permission.DATASET_EXPORT)
    def request_export(self, slug: str) -> Response:
        try:
            with db.unit_of_work() as session:
                dataset = dataset_by_slug(session, slug, principal_now())
                services.request_export(session, dataset)
        except RejectedError as error:
            flash_rejected(error)
        return back_to("downloads.index")

    @expose("/pending")
    @needs(Permission.DATASET_EXPORT)
    def pending(self) -> Response:
        """Tell the list of downloads whether something on it is still being made."""
        with db.unit_of_work() as session:
            count = services.pending_count(session)
        answer = make_response("")
        answer.headers["X-Settled"] = "0" if count else "1"
        return answer

    @expose("/<ident>")
    @needs(Permission.DATASET_EXPORT)
    def fetch(self, ident: str) -> Response:
        """Hand a ready file to its owner; the log of it is written first."""
        home = current_app.extensions["simpul_settings"].home
        with db.unit_of_work() as session:
            export, path = services.hand_out(session, ident, home)
            name = export.file_name
        return send_file(path, mimetype=XLSX, as_attachment=True, download_name=name)
