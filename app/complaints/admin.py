"""Pages of complaints: the list, one with its course and answer, a new one, the counts."""

from datetime import date
from typing import Any

import sqlalchemy as sa
from flask import Response, current_app, flash, request
from flask_admin import expose
from flask_babel import format_date, gettext
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from app.complaints import queries, services
from app.complaints.forms import EnterForm, SendForm
from app.complaints.models import Complaint
from app.complaints.services import Said
from app.complaints.states import Channel, Deed, Kind, State
from app.core import clock, db
from app.core.errors import RejectedError
from app.core.filters import Filter
from app.core.policy import Permission
from app.core.scope import NotFoundError, get_visible, visible
from app.identity.forms import agency_options
from app.identity.models import Agency, User
from app.web.guard import needs, principal_now
from app.web.i18n import lazy_gettext as _
from app.web.listing import named
from app.web.tables import Table
from app.web.views import Page, back_to, flash_rejected, flash_taken, go_to

COMPLAINTS = Table(
    endpoint="complaints.index",
    model=Complaint,
    columns={
        "number": _("Number"),
        "subject": _("What it is about"),
        "kind": _("Kind"),
        "channel": _("Came by"),
        "agency_id": _("Agency of the sender"),
        "producer_id": _("Passed on to"),
        "state": _("Status"),
        "due_on": _("To be answered by"),
        "received_on": _("Received"),
        "answered_at": _("Answered"),
    },
    usual=("number", "subject", "kind", "channel", "state", "due_on"),
    sorts={
        "number": Complaint.number, "received_on": Complaint.received_on,
        "due_on": Complaint.due_on, "answered_at": Complaint.answered_at,
    },
    sorted_by="received_on",
    is_down=True,
    filters=(
        Filter(Complaint.state, _("Status"), named(*State), quick=True),
        Filter(Complaint.kind, _("Kind"), named(*Kind), quick=True),
        Filter(Complaint.channel, _("Came by"), named(*Channel), quick=True),
        Filter(Complaint.producer_id, _("Passed on to"), agency_options),
        Filter(Complaint.due_on, _("To be answered by")),
        Filter(Complaint.received_on, _("Received")),
        Filter(Complaint.answered_at, _("Answered")),
    ),
    searched=_("number, what it is about, tracking number"),
    former={},
)  # fmt: skip


class ComplaintPage(Page):
    """Complaints, suggestions and questions."""

    table = COMPLAINTS

    @expose("/")
    @needs(Permission.COMPLAINT_READ)
    def index(self) -> Response | str:
        if elsewhere := COMPLAINTS.other_address():
            return go_to(elsewhere)
        with db.unit_of_work() as session:
            rows = sa.select(Complaint).where(visible(Complaint, principal_now()))
            text: str = self.render(
                "complaints/list.html",
                shown=COMPLAINTS.shown(session, rows),
                may_send=_may_send(),
                today=_today(),
            )
        return text

    @expose("/new", methods=("GET", "POST"))
    @needs(Permission.COMPLAINT_READ)
    def new(self) -> Response | str:
        """Send one of one's own agency, or enter what came to the office."""
        if not _may_send():
            raise NotFoundError
        form = EnterForm() if principal_now().is_office else SendForm()
        if form.validate_on_submit():
            try:
                with db.unit_of_work() as session:
                    complaint = services.receive(session, _said(form), _zone())
                return back_to("complaints.show", ident=complaint.id)
            except RejectedError as error:
                flash_rejected(error)
            except IntegrityError:  # the tracking number is that of another one
                flash_taken()
        text: str = self.render("complaints/new.html", form=form)
        return text

    @expose("/<ident>")
    @needs(Permission.COMPLAINT_READ)
    def show(self, ident: str) -> str:
        principal = principal_now()
        with db.unit_of_work() as session:
            complaint = get_visible(session, Complaint, ident, principal)
            # Who answers needs to know who asked; who only reads does not.
            answers = principal.is_office and principal.may(Permission.COMPLAINT_WRITE)
            is_office = principal.is_office
            text: str = self.render(
                "complaints/show.html",
                complaint=complaint,
                events=queries.events_of(session, complaint, principal),
                sender=queries.sender_of(session, complaint.id) if answers else None,
                notes=queries.notes_of(session, complaint.id) if is_office else (),
                is_of_office=is_office,
                answers=answers,
                may={
                    deed.value: services.may_do(complaint, deed, principal)
                    for deed in Deed
                },
                people=_people(session) if answers else (),
                agencies=_agencies(session) if answers else (),
                today=_today(),
            )
        return text

    @expose("/<ident>/notes", methods=("POST",))
    @needs(Permission.COMPLAINT_WRITE)
    def note(self, ident: str) -> Response:
        """Note something that the office alone reads."""
        try:
            with db.unit_of_work() as session:
                complaint = get_visible(session, Complaint, ident, principal_now())
                services.note(session, complaint, request.form.get("words", ""))
        except RejectedError as error:
            flash_rejected(error)
        return back_to("complaints.show", ident=ident, _anchor="notes")

    @expose("/<ident>/<deed>", methods=("POST",))
    @needs(Permission.COMPLAINT_READ)
    def act(self, ident: str, deed: str) -> Response:
        """Do something to it: who may, says the service."""
        try:
            with db.unit_of_work() as session:
                complaint = get_visible(session, Complaint, ident, principal_now())
                _act(session, complaint, deed)
        except RejectedError as error:
            flash_rejected(error)
        else:
            flash(gettext("Saved."), "success")
        return back_to("complaints.show", ident=ident)

    @expose("/counts")
    @needs(Permission.COMPLAINT_READ)
    def counts(self) -> str:
        """Show how many came in a year, and how many were answered in time."""
        today, asked = _today(), request.args.get("year", "")
        is_year = asked.isascii() and asked.isdigit() and len(asked) == 4
        year = int(asked) if is_year else today.year
        principal = principal_now()
        with db.unit_of_work() as session:
            text: str = self.render(
                "complaints/counts.html",
                year=year,
                this_year=today.year,
                tables=[
                    (
                        by,
                        queries.counts(session, principal, year, today, _zone(), by),
                    )
                    for by in queries.By
                ],
                states=queries.by_state(session, principal, year),
                month_name=_month_name,
            )
        return text


def _act(session: Session, complaint: Complaint, deed: str) -> None:
    words, principal = request.form.get("words", ""), principal_now()
    if deed == Deed.ASSIGN:
        person = get_visible(session, User, request.form.get("person", ""), principal)
        services.assign(session, complaint, person)
    elif deed == Deed.FORWARD:
        agency = get_visible(session, Agency, request.form.get("agency", ""), principal)
        services.forward(session, complaint, agency)
    elif deed == Deed.CLOSE:
        services.close(session, complaint)
    elif deed == Deed.REOPEN:
        services.reopen(session, complaint, words, _zone())
    elif deed in _WORDED:
        _WORDED[deed](session, complaint, words)
    else:
        raise NotFoundError


_WORDED: dict[str, Any] = {
    Deed.REPLY: services.reply,
    Deed.ANSWER: services.answer,
    Deed.REFUSE: services.refuse,
}


def _said(form: Any) -> Said:
    is_entered = isinstance(form, EnterForm)
    return Said(
        kind=Kind(form.kind.data),
        channel=Channel(form.channel.data) if is_entered else Channel.PORTAL,
        subject=form.subject.data,
        text=form.text.data,
        sender=form.sender.data or "" if is_entered else "",
        contact=form.contact.data or "" if is_entered else "",
        lapor_number=form.lapor_number.data or "" if is_entered else "",
        case_number=form.case_number.data or "",
        received_on=form.received_on.data if is_entered else None,
    )


def _may_send() -> bool:
    principal = principal_now()
    if principal.is_office:
        return principal.may(Permission.COMPLAINT_WRITE)
    return principal.may(Permission.COMPLAINT_SEND) and not principal.read_only


def _people(session: Session) -> list[tuple[Any, str]]:
    """Return who of the office may answer."""
    rows = session.scalars(
        sa.select(User).where(User.agency_id.is_(None), User.active).order_by(User.name)
    )
    return [(user.id, user.name) for user in rows if services.may_answer(user)]


def _agencies(session: Session) -> list[tuple[Any, str]]:
    rows = session.scalars(sa.select(Agency).where(Agency.active).order_by(Agency.name))
    return [(agency.id, agency.name) for agency in rows]


def _month_name(month: int) -> str:
    return str(format_date(date(2000, month, 1), "LLLL"))  # of any year


def _zone() -> str:
    zone: str = current_app.extensions["simpul_settings"].time_zone
    return zone


def _today() -> date:
    return clock.in_zone(clock.utc_now(), _zone()).date()
