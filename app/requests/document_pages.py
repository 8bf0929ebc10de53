"""Pages of a case's documents: filled in, remarked upon, with their files and papers."""

import re
from pathlib import Path

from flask import Response, current_app, flash, make_response, request, send_file
from flask_admin import expose
from flask_babel import gettext
from sqlalchemy.orm import Session

from app.core import db
from app.core.errors import RejectedError
from app.core.policy import Permission
from app.core.scope import NotFoundError, get_visible
from app.files import services as files
from app.files.inspection import MEDIA_TYPES, picture
from app.requests import queries, receipts, writing
from app.requests.documents import (
    DocumentKind,
)
from app.requests.errors import NotEditableError
from app.requests.models import DocumentFile, IssuedPaper
from app.requests.sheets import Sheet
from app.web.guard import needs, principal_now
from app.web.views import Page, back_to, flash_rejected


class DocumentPages(Page):
    """What of a case's page is about its documents; ``RequestPage`` has it as its own."""

    @expose("/<ident>/documents/<kind>", methods=("GET", "POST"))
    @needs(Permission.REQUEST_READ)
    def document(self, ident: str, kind: str) -> Response | str:
        """Show a document; who may write it now also fills it in here."""
        principal = principal_now()
        with db.unit_of_work() as session:
            case = queries.get_case(session, ident, principal)
            name = _kind(kind)
            actor = queries.actor_in(case, principal)
            document = queries.documents_of(session, case).get(name)
            writable = actor is not None and writing.may_write(case, name, actor.roles)
            sheet = Sheet(name, document)
            if request.method == "POST":
                if not writable or not principal.may(Permission.REQUEST_ACT):
                    raise NotEditableError
                if sheet.take(session, case):
                    flash(gettext("Saved."), "success")
                    return back_to("requests.document", ident=case.id, kind=kind)
            is_empty = document is None or not document.content
            former = queries.told_before(session, case, name) if writable else None
            text: str = self.render(
                "requests/document.html",
                case=case,
                former=former if is_empty else None,
                sheet=sheet,
                writable=writable,
                files=queries.files_of(session, document) if document else (),
                may_remark=actor is not None
                and writing.may_remark(case, name, actor.roles),
                versions=queries.versions_of(session, document) if document else (),
            )
        return make_response(text, sheet.status)

    @expose("/<ident>/documents/<kind>/again", methods=("POST",))
    @needs(Permission.REQUEST_ACT)
    def again(self, ident: str, kind: str) -> Response:
        """Fill in what the agency told in its last request."""
        try:
            with db.unit_of_work() as session:
                case = queries.get_case(session, ident, principal_now())
                writing.take_again(session, case, _kind(kind))
        except RejectedError as error:
            flash_rejected(error)
        else:
            flash(
                gettext("Filled in: look whether it still holds, then save."), "success"
            )
        return back_to("requests.document", ident=ident, kind=kind)

    @expose("/<ident>/documents/<kind>/files", methods=("POST",))
    @needs(Permission.REQUEST_ACT)
    def attach(self, ident: str, kind: str) -> Response:
        """Put a file with a document."""
        sent, name = request.files.get("file"), _kind(kind)
        try:
            with db.unit_of_work() as session:
                queries.get_case(session, ident, principal_now())  # before it is opened
            content = sent.read() if sent else b""
            kept = files.keep(_home(), sent.filename or "" if sent else "", content)
            with db.unit_of_work() as session:
                case = queries.get_case(session, ident, principal_now())
                writing.attach(session, case, name, kept)
        except RejectedError as error:
            flash_rejected(error)
        else:
            flash(gettext("The file is with the document now."), "success")
        return back_to("requests.document", ident=ident, kind=kind)

    @expose("/files/<ident>/remove", methods=("POST",))
    @needs(Permission.REQUEST_ACT)
    def detach(self, ident: str) -> Response:
        """Take a file away."""
        with db.unit_of_work() as session:
            file = _file(session, ident)
            case = queries.get_case(session, file.case_id, principal_now())
            writing.detach(session, case, file)
        return back_to("requests.document", ident=case.id, kind=file.document.kind)

    @expose("/files/<ident>")
    @needs(Permission.REQUEST_READ)
    def file(self, ident: str) -> Response:
        """Give a file out: to be saved, never to be opened within our pages."""
        with db.unit_of_work() as session:
            file = _file(session, ident)
        return send_file(
            files.path_of(_home(), file.sha256),
            mimetype=MEDIA_TYPES[file.kind],
            as_attachment=True,
            download_name=file.name,
        )

    @expose("/files/<ident>/pages/<page>")
    @needs(Permission.REQUEST_READ)
    def page(self, ident: str, page: str) -> Response:
        """Paint a page of a file; 0 is the first."""
        with db.unit_of_work() as session:
            file = _file(session, ident)
        if page not in map(str, range(file.pages)):
            raise NotFoundError
        content = files.path_of(_home(), file.sha256).read_bytes()
        answer = make_response(picture(content, int(page)))
        answer.content_type = "image/png"
        answer.headers["Cache-Control"] = "private, max-age=3600"
        return answer

    @expose("/papers/<ident>")
    @needs(Permission.REQUEST_READ)
    def paper(self, ident: str) -> Response:
        """Give an issued paper out, as it was issued."""
        with db.unit_of_work() as session:
            paper = get_visible(session, IssuedPaper, ident, principal_now())
            receipts.note_opened(session, paper, principal_now())
        plain = re.sub(r"[^A-Za-z0-9]+", "-", f"{paper.title} {paper.number}").strip("-")
        return send_file(
            files.path_of(_home(), paper.sha256),
            mimetype="application/pdf",
            as_attachment=True,
            download_name=f"{plain}.pdf",
        )

    @expose("/<ident>/documents/<kind>/remarks", methods=("POST",))
    @needs(Permission.REQUEST_ACT)
    def remark(self, ident: str, kind: str) -> Response:
        """Keep what a reviewer says of fields."""
        said = {
            name.removeprefix("remark-"): text
            for name, text in request.form.items()
            if name.startswith("remark-")
        }
        with db.unit_of_work() as session:
            case = queries.get_case(session, ident, principal_now())
            writing.remark(session, case, _kind(kind), said)
        flash(
            gettext("The remarks are kept. Return the case so that they are read."),
            "success",
        )
        return back_to("requests.show", ident=ident)


def _home() -> Path:
    home: Path = current_app.extensions["simpul_settings"].home
    return home


def _file(session: Session, ident: str) -> DocumentFile:
    """Return a file of a case that one sees, also one that versions alone still have."""
    file = get_visible(session, DocumentFile, ident, principal_now())
    queries.get_case(session, file.case_id, principal_now())
    return file


def _kind(text: str) -> DocumentKind:
    try:
        return DocumentKind(text)
    except ValueError:
        raise NotFoundError from None
