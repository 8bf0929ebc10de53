"""Pages on which the office edits what its papers say, with a picture of how they look."""

from flask import Response, flash, make_response
from flask_admin import expose
from flask_babel import gettext
from wtforms import StringField, TextAreaField, ValidationError
from wtforms.validators import DataRequired, Length

from app.core import db
from app.core.policy import Permission
from app.core.scope import NotFoundError
from app.files.inspection import picture
from app.requests import papers
from app.requests.pressing import press_of_page
from app.requests.wordings import PAPERS, PLACES, PaperKind, unknown_places
from app.web.forms import Form as WebForm
from app.web.guard import needs
from app.web.i18n import lazy_gettext as _
from app.web.views import Page, back_to


def _only_known(_form: WebForm, field: StringField) -> None:
    unknown = unknown_places(field.data or "")
    if unknown:
        raise ValidationError(
            gettext("There is no such place: %(what)s.", what=", ".join(unknown))
        )


class WordingForm(WebForm):
    """What one kind of paper says."""

    title = StringField(_("Title"), [DataRequired(), Length(max=150), _only_known])
    opening = TextAreaField(
        _("Opening"),
        [DataRequired(), Length(max=3000), _only_known],
        description=_("A line for each paragraph."),
        render_kw={"rows": 7},
    )
    closing = TextAreaField(
        _("Closing"), [Length(max=3000), _only_known], render_kw={"rows": 4}
    )


class WordingPage(Page):
    """The words of the office's papers."""

    @expose("/")
    @needs(Permission.OFFICE_WRITE)
    def index(self) -> str:
        with db.unit_of_work() as session:
            titles = {kind: papers.wording_of(session, kind)[0] for kind in PAPERS}
        page: str = self.render("requests/wordings.html", titles=titles)
        return page

    @expose("/<kind>", methods=("GET", "POST"))
    @needs(Permission.OFFICE_WRITE)
    def edit(self, kind: str) -> Response | str:
        name = _kind(kind)
        with db.unit_of_work() as session:
            title, opening, closing = papers.wording_of(session, name)
        form = WordingForm(data={"title": title, "opening": opening, "closing": closing})
        if form.validate_on_submit():
            with db.unit_of_work() as session:
                papers.reword(
                    session,
                    name,
                    form.title.data,
                    form.opening.data,
                    form.closing.data or "",
                )
            flash(gettext("Saved. Papers that were issued stay as they are."), "success")
            return back_to("wordings.edit", kind=kind)
        page: str = self.render(
            "requests/wording.html",
            form=form,
            kind=name,
            places=PLACES,
            paper=PAPERS[name],
        )
        return page

    @expose("/<kind>/preview")
    @needs(Permission.OFFICE_WRITE)
    def preview(self, kind: str) -> Response:
        """Paint how the paper would look now, for the newest case that there is."""
        with db.unit_of_work() as session:
            content = papers.sample(session, press_of_page(), _kind(kind))
        answer = make_response(picture(content, 0))
        answer.content_type = "image/png"
        answer.headers["Cache-Control"] = "no-store"
        return answer


def _kind(text: str) -> PaperKind:
    try:
        return PaperKind(text)
    except ValueError:
        raise NotFoundError from None
