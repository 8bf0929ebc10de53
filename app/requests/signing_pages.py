"""Pages of signing: what waits for whose hand, going out and coming back, one or many at once."""

import io
import re
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from flask import Response, current_app, flash, make_response, request, send_file
from flask_admin import expose
from flask_babel import gettext
from sqlalchemy.orm import Session

from app.core import db
from app.core.errors import RejectedError
from app.core.policy import Permission
from app.core.scope import NotFoundError, get_visible
from app.files import services as files
from app.files.errors import MAX_BYTES, FileRefusedError
from app.files.inspection import MEDIA_TYPES, picture
from app.requests import papers, queries, receipts, signing
from app.requests.models import IssuedPaper
from app.requests.pressing import press_of_page
from app.requests.saying import roles_named, step_name
from app.requests.sight import page_count, what_changed
from app.requests.signing import Signing
from app.requests.states import PaperState
from app.web.guard import needs, principal_now
from app.web.i18n import say
from app.web.views import Page, back_to, flash_rejected

# What ``zipfile`` raises for an archive that is damaged, or odd in one of many ways.
UNREADABLE = (
    zipfile.BadZipFile, zlib.error, struct.error, NotImplementedError, RuntimeError, EOFError,
    OSError, ValueError,
)  # fmt: skip
TOLD = 8  # refused files that are told of one by one: a cookie carries the words
MAX_FILES = 50  # of one upload: each is looked at by a process of its own
ZIP_NAME = "naskah-untuk-ditandatangani.zip"


Deed = Callable[[Session, IssuedPaper], None]


class PaperPage(Page):
    """Papers on their way to being signed."""

    def render(self, template: str, **values: object) -> str:
        page: str = super().render(
            template, step_name=step_name, roles_named=roles_named, **values
        )
        return page

    @expose("/")
    @needs(Permission.REQUEST_READ)
    def index(self) -> str:
        """Show what waits: for one's own hand first, then for others'."""
        principal = principal_now()
        with db.unit_of_work() as session:
            found = signing.on_their_way(session, principal)
            mine: list[Signing] = []
            others: list[Signing] = []
            for each in found:
                (mine if signing.waits_for(each, principal) else others).append(each)
            text: str = self.render(
                "requests/papers.html",
                mine=mine,
                others=others[: signing.LISTED],
                most=signing.LISTED if len(others) > signing.LISTED else None,
            )
        return text

    @expose("/<ident>")
    @needs(Permission.REQUEST_READ)
    def show(self, ident: str) -> str:
        """Show a paper as a picture, who has done what with it, and what it is compared with."""
        principal = principal_now()
        with db.unit_of_work() as session:
            receipts.note_opened(session, _paper(session, ident), principal)
            found = _one(session, ident)
            content = files.path_of(_home(), found.paper.sha256).read_bytes()
            earlier = queries.paper_before(session, found.paper)
            changed = None
            if earlier is not None:
                before = files.path_of(_home(), earlier.sha256).read_bytes()
                changed = what_changed(before, content)
            text: str = self.render(
                "requests/paper.html",
                signing=found,
                case=found.paper.case,
                hands=signing.may(found, principal),
                pages=page_count(content),
                earlier=earlier,
                changed=changed,
                may_issue=found.state is PaperState.SENT_BACK and principal.is_office,
            )
        return text

    @expose("/<ident>/pages/<page>")
    @needs(Permission.REQUEST_READ)
    def page(self, ident: str, page: str) -> Response:
        """Paint a page of a paper as it is in force; 0 is the first."""
        with db.unit_of_work() as session:
            found = _one(session, ident)
        content = files.path_of(_home(), found.sha256).read_bytes()
        if page not in map(str, range(page_count(content))):
            raise NotFoundError
        return _painted(content, int(page))

    @expose("/<ident>/scan/picture")
    @needs(Permission.REQUEST_READ)
    def scan_picture(self, ident: str) -> Response:
        """Paint the first page of what was signed by pen."""
        with db.unit_of_work() as session:
            found = _one(session, ident)
        if found.scan is None:
            raise NotFoundError
        return _painted(files.path_of(_home(), found.scan.sha256).read_bytes(), 0)

    @expose("/<ident>/file")
    @needs(Permission.REQUEST_READ)
    def file(self, ident: str) -> Response:
        """Give a paper out as it is in force: with the signatures there are, or the scan."""
        with db.unit_of_work() as session:
            receipts.note_opened(session, _paper(session, ident), principal_now())
            found = _one(session, ident)
        is_scan = found.state is PaperState.SIGNED and found.scan is not None
        sha256 = found.scan.sha256 if is_scan and found.scan else found.sha256
        kind = found.scan.media if is_scan and found.scan else None
        media = MEDIA_TYPES[kind] if kind else "application/pdf"
        name = f"{_plain(found.paper)}.{kind or 'pdf'}"
        return send_file(
            files.path_of(_home(), sha256),
            mimetype=media,
            as_attachment=True,
            download_name=name,
        )

    @expose("/zip", methods=("POST",))
    @needs(Permission.REQUEST_READ)
    def together(self) -> Response:
        """Give several papers out as one ZIP, to be signed."""
        packed = io.BytesIO()
        with db.unit_of_work() as session:
            chosen = [_one(session, each) for each in _chosen()]
            for found in chosen:
                receipts.note_opened(session, found.paper, principal_now())
        if not chosen:
            flash(gettext("Choose papers first."), "warning")
            return back_to("papers.index")
        with zipfile.ZipFile(packed, "w") as book:
            for found in chosen:
                path = files.path_of(_home(), found.sha256)
                book.write(path, f"{_plain(found.paper)}.pdf")
        packed.seek(0)
        return send_file(
            packed,
            mimetype="application/zip",
            as_attachment=True,
            download_name=ZIP_NAME,
        )

    @expose("/initial", methods=("POST",))
    @needs(Permission.REQUEST_ACT)
    def initial(self) -> Response:
        """Put one's initials on the papers that were chosen: on all of them, or on none."""
        chosen = _chosen()
        try:
            with db.unit_of_work() as session:
                for each in chosen:
                    signing.initial(session, _one(session, each).paper)
        except RejectedError as error:
            flash_rejected(error)
        else:
            if chosen:
                flash(gettext("Initialled: %(n)s.", n=len(chosen)), "success")
            else:
                flash(gettext("Choose papers first."), "warning")
        return back_to("papers.index")

    @expose("/signed", methods=("POST",))
    @needs(Permission.REQUEST_ACT)
    def signed(self) -> Response:
        """Take files back; each finds its paper, and each is told of by itself."""
        outcomes: list[Outcome] = []
        for number, (name, content) in enumerate(_sent()):
            if number >= MAX_FILES:
                flash(
                    gettext(
                        "The first %(n)s files were looked at: send the others once more.",
                        n=MAX_FILES,
                    ),
                    "warning",
                )
                break
            outcomes.append(_taken(name, content))
        _tell(outcomes)
        return back_to("papers.index")

    @expose("/<ident>/scan", methods=("POST",))
    @needs(Permission.REQUEST_ACT)
    def scan(self, ident: str) -> Response:
        """Take a scan of what was signed by pen."""
        sent = request.files.get("file")
        try:
            with db.unit_of_work() as session:
                _one(session, ident)  # before anything is opened
            content = sent.read(MAX_BYTES + 1) if sent else b""
            kept = files.keep(_home(), (sent.filename or "") if sent else "", content)
            with db.unit_of_work() as session:
                signing.take_scan(session, _one(session, ident).paper, kept)
        except RejectedError as error:
            flash_rejected(error)
        else:
            flash(gettext("The scan is here. A second person attests it."), "success")
        return back_to("papers.show", ident=ident)

    @expose("/<ident>/attest", methods=("POST",))
    @needs(Permission.REQUEST_ACT)
    def attest(self, ident: str) -> Response:
        """Say that the pen on the paper was seen."""
        return self._do(
            ident,
            lambda session, paper: signing.attest(
                session, paper, request.form.get("seen", "")
            ),
            gettext("Attested: the paper is signed."),
        )

    @expose("/<ident>/send-back", methods=("POST",))
    @needs(Permission.REQUEST_ACT)
    def send_back(self, ident: str) -> Response:
        """Say that the paper is not signed as it is."""
        return self._do(
            ident,
            lambda session, paper: signing.send_back(
                session, paper, request.form.get("note", "")
            ),
            gettext("Sent back: the paper holds no more. It can be issued anew."),
        )

    @expose("/<ident>/anew", methods=("POST",))
    @needs(Permission.REQUEST_ACT)
    def anew(self, ident: str) -> Response:
        """Issue a paper that was sent back once more, with a number of its own."""
        try:
            with db.unit_of_work() as session:
                found = _one(session, ident)
                again = papers.issue_anew(session, press_of_page(), found)
        except RejectedError as error:
            flash_rejected(error)
            return back_to("papers.show", ident=ident)
        return back_to("papers.show", ident=again.id)

    def _do(self, ident: str, deed: Deed, said: str) -> Response:
        try:
            with db.unit_of_work() as session:
                deed(session, _one(session, ident).paper)
        except RejectedError as error:
            flash_rejected(error)
        else:
            flash(said, "success")
        return back_to("papers.show", ident=ident)


def _paper(session: Session, ident: str) -> IssuedPaper:
    paper: IssuedPaper = get_visible(session, IssuedPaper, ident, principal_now())
    return paper


def _one(session: Session, ident: str) -> Signing:
    paper = _paper(session, ident)
    return signing.signings(session, [paper])[paper.id]


def _chosen() -> list[str]:
    return request.form.getlist("paper")[: signing.LISTED]


def _sent() -> Iterator[tuple[str, bytes | None]]:
    """Yield the files of an upload, those within a ZIP too; None for what cannot be read."""
    for sent in request.files.getlist("files"):
        name, content = sent.filename or "?", sent.read()
        if not content.startswith(b"PK\x03\x04"):
            yield name, content
            continue
        try:
            with zipfile.ZipFile(io.BytesIO(content)) as book:
                for each in book.infolist():
                    if not each.is_dir():
                        with book.open(each) as file:
                            yield each.filename, file.read(MAX_BYTES + 1)
        except UNREADABLE:
            yield name, None


class Outcome(NamedTuple):
    """What became of a file that came back; ``is_scan``: a second person has to attest it."""

    name: str
    error: RejectedError | None = None
    is_scan: bool = False


def _taken(name: str, content: bytes | None) -> Outcome:
    """Take a file that came back, with signatures or as a scan of what was signed by pen."""
    anchors = current_app.extensions["simpul_settings"].trust_anchors
    if content is None:
        return Outcome(name, FileRefusedError("broken"))
    try:
        with db.unit_of_work() as session:
            signing.take_signed(session, _home(), content, anchors)
    except FileRefusedError as error:
        if error.why != "other":
            return Outcome(name, error)
        return _taken_as_scan(name, content)
    except RejectedError as error:
        return Outcome(name, error)
    return Outcome(name)


def _taken_as_scan(name: str, content: bytes) -> Outcome:
    try:
        with db.unit_of_work() as session:
            paper_id = signing.paper_on_scan(session, content).id
        kept = files.keep(_home(), name, content)
        with db.unit_of_work() as session:
            signing.take_scan(session, session.get_one(IssuedPaper, paper_id), kept)
    except RejectedError as error:
        return Outcome(name, error)
    return Outcome(name, is_scan=True)


def _tell(outcomes: Sequence[Outcome]) -> None:
    """Say what became of each file that was sent."""
    if not outcomes:
        flash(gettext("Choose files first."), "warning")
        return
    refused = [(each.name, each.error) for each in outcomes if each.error is not None]
    for name, error in refused[:TOLD]:
        flash(f"{name[:80]}: {say(error.message, error.params)}", "danger")
    if len(refused) > TOLD:
        more = gettext("%(n)s more files were refused.", n=len(refused) - TOLD)
        flash(more, "danger")
    scans = sum(each.is_scan for each in outcomes)
    taken = len(outcomes) - len(refused) - scans
    if taken:
        flash(gettext("Signed papers that were taken: %(n)s.", n=taken), "success")
    if scans:
        told = gettext("Scans that a second person has to attest: %(n)s.", n=scans)
        flash(told, "success")


def _painted(content: bytes, page: int) -> Response:
    answer = make_response(picture(content, page))
    answer.content_type = "image/png"
    answer.headers["Cache-Control"] = "private, no-store"
    return answer


def _plain(paper: IssuedPaper) -> str:
    return re.sub(r"[^A-Za-z0-9]+", "-", f"{paper.title} {paper.number}").strip("-")


def _home() -> Path:
    home: Path = current_app.extensions["simpul_settings"].home
    return home
