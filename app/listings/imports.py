"""Pages of bringing a table into a list: send it, say what is what, look, bring it in."""

from contextlib import suppress
from typing import Any
from uuid import UUID

from flask import Response, current_app, flash, make_response, request
from flask_admin import expose
from flask_babel import gettext

from app.core import db
from app.core.clock import utc_now
from app.core.errors import RejectedError
from app.core.scope import NotFoundError, get_visible
from app.listings import importing, sheets
from app.listings.errors import BroughtInError, NoFileError, UnmappedError
from app.listings.importing import Kind, Outcome
from app.listings.models import DataImport
from app.web.extensions import db as flask_db
from app.web.format import number
from app.web.forms import plain_name
from app.web.guard import principal_now, signed_in
from app.web.views import Page, ScopedView, back_to, flash_rejected

SHOWN = 100  # rows of each kind on the page; the file has all
XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"


class ImportPage(Page):
    """Every list with a form takes a table as well."""

    def is_visible(self) -> bool:
        return False

    @expose("/", methods=("GET", "POST"))
    @signed_in
    def index(self) -> Response | str:
        """Take a file for the list that the address names."""
        view = _view(request.values.get("listed", ""))
        if request.method == "POST":
            try:
                return back_to("imports.show", ident=_keep(view))
            except RejectedError as error:
                flash_rejected(error)
        text: str = self.render(
            "listings/import.html",
            view=view,
            heads=importing.template_of(view),
            rows=sheets.MAX_ROWS,
        )
        return text

    @expose("/template")
    @signed_in
    def template(self) -> Response:
        """Hand out an empty table whose heads are understood at once."""
        view = _view(request.args.get("listed", ""))
        return _workbook(
            sheets.empty(importing.template_of(view)), f"{view.endpoint}.xlsx"
        )

    @expose("/<ident>", methods=("GET", "POST"))
    @signed_in
    def show(self, ident: str) -> Response | str:
        """Say which column is what; then see what would become of each row."""
        with db.unit_of_work() as session:
            asked = get_visible(session, DataImport, ident, principal_now())
            view = _view(asked.listed)
        if request.method == "POST":
            try:
                self._look(view, asked)
            except RejectedError as error:
                flash_rejected(error)
            return back_to("imports.show", ident=ident)
        table = sheets.Table.of(asked.sheet)
        outcomes = [Outcome.of(each) for each in asked.outcomes]
        mapping = asked.mapping or importing.guess(view, table.headers)
        text: str = self.render(
            "listings/importing.html",
            view=view,
            asked=asked,
            table=table,
            fields=importing.fields_of(view),
            mapping=mapping,
            ignored=importing.ignored(table.headers, mapping),
            by_kind={
                kind: [each for each in outcomes if each.kind is kind] for kind in Kind
            },
            shown=SHOWN,
        )
        return text

    @staticmethod
    def _look(view: ScopedView, asked: DataImport) -> None:
        asked.mapping = _mapping(view, asked)
        outcomes = importing.rehearse(flask_db.session(), view, asked)
        with db.unit_of_work() as session:
            mine = session.get_one(DataImport, asked.id, with_for_update=True)
            if mine.applied_at:  # what it did stands there, and is not rehearsed over
                raise BroughtInError
            mine.mapping = asked.mapping
            mine.outcomes = [each.as_json() for each in outcomes]

    @expose("/<ident>/apply", methods=("POST",))
    @signed_in
    def apply(self, ident: str) -> Response:
        """Bring the table in: all of it, or the good rows; in one transaction."""
        session = flask_db.session()
        asked = get_visible(session, DataImport, ident, principal_now())
        view = _view(asked.listed)
        good_only = request.form.get("only") == "good"
        reason = gettext("file %(name)s", name=asked.file_name)
        try:
            session.refresh(asked, with_for_update=True)  # of two who press, one waits
            if asked.applied_at:
                raise BroughtInError
            if not asked.mapping:
                raise NotFoundError
            done = importing.carry_out(
                session, view, asked, good_only=good_only, reason=reason
            )
            asked.outcomes, asked.applied_at = (
                [each.as_json() for each in done],
                utc_now(),
            )
            session.commit()
        except RejectedError as error:
            session.rollback()
            flash_rejected(error)
            return back_to("imports.show", ident=ident)
        flash(_told(done), "success")
        return back_to("imports.show", ident=ident)

    @expose("/<ident>/file")
    @signed_in
    def file(self, ident: str) -> Response:
        """Give the person their own file back, with what is wrong beside each row."""
        with db.unit_of_work() as session:
            asked = get_visible(session, DataImport, ident, principal_now())
            outcomes = [Outcome.of(each) for each in asked.outcomes]
            content, name = asked.content, asked.file_name
        remarks = importing.remarks_of(outcomes, asked.mapping)
        try:
            marked = sheets.remarked(content, importing.remarks_heading(), remarks)
        except RejectedError as error:
            flash_rejected(error)
            return back_to("imports.show", ident=ident)
        return _workbook(marked, f"{name.rpartition('.')[0] or name}-catatan.xlsx")


def _view(listed: str) -> ScopedView:
    """Return a list that one may add to; raises ``NotFoundError`` for any other."""
    view = current_app.extensions["simpul_admin_views"].get(listed)
    if not isinstance(view, ScopedView) or not (view.import_key and view.can_create):
        raise NotFoundError
    return view


def _keep(view: ScopedView) -> UUID:
    sent = request.files.get("file")
    if sent is None or not sent.filename:
        raise NoFileError
    content = sent.read()
    table = sheets.read(content)
    with db.unit_of_work() as session:
        asked = DataImport(
            user_id=principal_now().user_id,
            listed=view.endpoint,
            file_name=plain_name(sent.filename),
            content=content,
            sheet=table.as_json(),
        )
        session.add(asked)
    return asked.id


def _mapping(view: ScopedView, asked: DataImport) -> dict[str, Any]:
    """Read which column holds which field; raises ``UnmappedError`` without the key."""
    width = len(asked.sheet["headers"])
    found: dict[str, Any] = {}
    for each in importing.fields_of(view):
        with suppress(ValueError):
            column = int(request.form.get(f"col-{each.name}", ""))
            if 0 <= column < width:
                found[each.name] = column
    missing = importing.missing_keys(view, found)
    if missing:
        raise UnmappedError(", ".join(missing))
    return found


def _told(done: list[Outcome]) -> str:
    count = {kind: number(sum(each.kind is kind for each in done)) for kind in Kind}
    return str(
        gettext(
            "Brought in: %(added)s added, %(changed)s changed, %(unchanged)s as they were,"
            " %(wrong)s wrong.",
            **{str(kind): n for kind, n in count.items()},
        )
    )


def _workbook(content: bytes, name: str) -> Response:
    answer = make_response(content)
    answer.headers["Content-Type"] = XLSX
    answer.headers.set("Content-Disposition", "attachment", filename=name)
    return answer
