"""The form for everybody, where the office has switched it on, and what became of it."""

from http import HTTPStatus

import sqlalchemy as sa
from flask import current_app
from flask_admin import expose
from sqlalchemy.orm import Session
from wtforms import StringField
from wtforms.validators import DataRequired, Length

from app.complaints import queries, services
from app.complaints.forms import SayForm
from app.complaints.services import MAX_CONTACT, Said
from app.complaints.states import Channel, Kind
from app.core import db
from app.core.errors import RejectedError
from app.core.policy import ANONYMOUS, acting_as
from app.core.scope import NotFoundError
from app.office.models import Office
from app.requests.public import GUESSES, Answer, PublicPage, asked, is_wrong_mark
from app.web.extensions import limiter
from app.web.guard import open_to_all
from app.web.i18n import lazy_gettext as _
from app.web.views import flash_rejected

SENDINGS = "5 per hour; 20 per day"  # from one address


class TellForm(SayForm):
    """What anybody tells the office; ``website`` is filled in by programs alone."""

    sender = StringField(_("Your name"), [DataRequired(), Length(max=MAX_CONTACT)])
    contact = StringField(
        _("E-mail or telephone"), [DataRequired(), Length(max=MAX_CONTACT)]
    )
    website = StringField("website", [Length(max=0)])


class ComplainPage(PublicPage):
    """A form without a log-in, and the answer to who knows number and code."""

    @expose("/", methods=("GET", "POST"))
    @open_to_all
    @limiter.limit(SENDINGS, methods=["POST"])
    def index(self) -> str:
        form, complaint = TellForm(), None
        with acting_as(ANONYMOUS), db.unit_of_work() as session:
            office = _open_office(session)
            days = office.answer_days
        if form.validate_on_submit():
            zone = current_app.extensions["simpul_settings"].time_zone
            said = Said(
                kind=Kind(form.kind.data),
                channel=Channel.FORM,
                subject=form.subject.data,
                text=form.text.data,
                sender=form.sender.data,
                contact=form.contact.data,
            )
            try:
                with acting_as(ANONYMOUS), db.unit_of_work() as session:
                    complaint = services.receive(session, said, zone)
            except RejectedError as error:
                flash_rejected(error)
        text: str = self.render(
            "complaints/public.html", form=form, complaint=complaint, days=days
        )
        return text

    @expose("/status")
    @open_to_all
    @limiter.limit(GUESSES, deduct_when=is_wrong_mark)
    def status(self) -> Answer:
        """Show what became of one, to who knows its number and code."""
        number, code = asked("number"), asked("code")
        with acting_as(ANONYMOUS), db.unit_of_work() as session:
            _open_office(session)
            found = queries.by_marks(session, number, code)
            page: str = self.render(
                "complaints/status.html", number=number, code=code, complaint=found
            )
        is_wrong = found is None and bool(number or code)
        return (page, HTTPStatus.NOT_FOUND) if is_wrong else page


def _open_office(session: Session) -> Office:
    """Return the office; raises ``NotFoundError`` while it hears nobody without a log-in."""
    office: Office = session.scalars(sa.select(Office)).one()
    if not office.hears_public:
        raise NotFoundError
    return office
