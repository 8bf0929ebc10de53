"""Pages of a case that has ended: its archive and its report, to take away."""

import io
import re
import tempfile
from typing import IO

from flask import Response, send_file
from flask_admin import expose
from sqlalchemy.orm import Session

from app.core import db
from app.core.errors import RejectedError
from app.core.policy import Permission
from app.core.scope import NotFoundError
from app.files.inspection import MEDIA_TYPES, FileKind
from app.requests import archive, queries
from app.requests.models import IntegrationRequest
from app.requests.pressing import press_of_page
from app.requests.states import TERMINAL
from app.requests.story import story_of
from app.web.guard import needs, principal_now
from app.web.views import Page, back_to, flash_rejected


class ArchivePages(Page):
    """What of a case's page is about its end; ``RequestPage`` has it as its own."""

    @expose("/<ident>/archive")
    @needs(Permission.REQUEST_READ)
    def whole(self, ident: str) -> Response:
        """Give a case that has ended out whole, as a ZIP."""
        packed = tempfile.TemporaryFile()  # noqa: SIM115 - closed once it is sent
        try:
            with db.unit_of_work() as session:
                case = _ended(session, ident)
                archive.write_archive(session, press_of_page(), case, packed)
        except RejectedError as error:
            packed.close()
            flash_rejected(error)
            return back_to("requests.show", ident=ident)
        packed.seek(0)
        return _given(packed, "application/zip", case, "arsip", "zip")

    @expose("/<ident>/report.<form>")
    @needs(Permission.REQUEST_READ)
    def report(self, ident: str, form: str) -> Response:
        """Give the report of a case that has ended out: as a workbook, or for programs."""
        with db.unit_of_work() as session:
            case = _ended(session, ident)
            story = story_of(session, press_of_page(), case)
        if form == "json":
            content = archive.as_json(story)
            return _given(io.BytesIO(content), "application/json", case, "laporan", form)
        if form == "xlsx":
            content = archive.report_as_workbook(story)
            media = MEDIA_TYPES[FileKind.XLSX]
            return _given(io.BytesIO(content), media, case, "laporan", form)
        raise NotFoundError


def _ended(session: Session, ident: str) -> IntegrationRequest:
    """Return a case that has ended; raises ``NotFoundError`` for one that goes on."""
    case = queries.get_case(session, ident, principal_now())
    if case.step not in TERMINAL:
        raise NotFoundError
    return case


def _given(
    content: IO[bytes], media: str, case: IntegrationRequest, what: str, ending: str
) -> Response:
    name = re.sub(r"[^A-Za-z0-9]+", "-", f"{what} {case.number or 'permohonan'}")
    return send_file(
        content, mimetype=media, as_attachment=True, download_name=f"{name}.{ending}"
    )
