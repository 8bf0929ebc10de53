"""Pages of cases: the list, one case with its twelve steps, its documents, the talk."""

from collections.abc import Sequence
from datetime import date, timedelta
from typing import Any, NamedTuple
from uuid import UUID

import sqlalchemy as sa
from flask import Response, current_app, flash, request
from flask_admin import expose
from flask_babel import gettext
from sqlalchemy.orm import Session
from wtforms import StringField, TextAreaField
from wtforms.validators import DataRequired, Length

from app.contracts.models import Contract
from app.core import db
from app.core.clock import in_zone, utc_now
from app.core.errors import RejectedError, SimpulError
from app.core.filters import Filter, Options
from app.core.policy import Permission
from app.core.scope import NotFoundError, get_visible
from app.identity.forms import agency_options
from app.identity.models import Agency
from app.requests import names, queries, services, signing, trials, writing
from app.requests.archive_pages import ArchivePages
from app.requests.clocks import clocks_of
from app.requests.deadlines import Clock
from app.requests.document_pages import DocumentPages
from app.requests.documents import (
    DOCUMENTS,
    STEP_DOCUMENTS,
    DocumentKind,
)
from app.requests.errors import DocumentsLackingError
from app.requests.fields import Form, missing
from app.requests.findings import findings_of
from app.requests.integration import built, obstacles
from app.requests.models import Document, IntegrationRequest
from app.requests.openings import Opening, openings
from app.requests.pressing import press_of_page
from app.requests.procedure import Actor, Deed
from app.requests.review_pages import ReviewPages
from app.requests.saying import line_of, step_name
from app.requests.states import DUTIES, OPD, TERMINAL, Action, Reason, Role, Step
from app.requests.wordings import ISSUED
from app.sources.errors import SourceInvalidError
from app.web.forms import Form as WebForm
from app.web.guard import needs, principal_now
from app.web.i18n import lazy_gettext as _
from app.web.tables import Table
from app.web.views import back_to, flash_rejected, go_to


def _steps() -> Options:
    return [(str(step), step_name(step)) for step in Step]


def _parties() -> Options:
    return [(str(party), gettext(name)) for party, name in names.PARTIES.items()]


MOST = 500  # cases on one board
SOON = timedelta(days=7)

REQUESTS = Table(
    endpoint="requests.index",
    model=IntegrationRequest,
    columns={
        "number": _("Number"),
        "title": _("Name of the request"),
        "agency_id": _("Agency"),
        "step": _("Step"),
        "ball": _("Waits for"),
        "due": _("Due"),
        "step_since": _("Since"),
        "handed_in_at": _("Handed in"),
        "accepted_at": _("Complete since"),
        "ended_at": _("Ended"),
    },
    usual=("number", "title", "agency_id", "step", "ball", "due"),
    sorts={
        "number": IntegrationRequest.number, "title": IntegrationRequest.title,
        "step_since": IntegrationRequest.step_since,
        "created_at": IntegrationRequest.created_at,
    },
    sorted_by="created_at",
    is_down=True,
    filters=(
        Filter(IntegrationRequest.step, _("Step"), _steps, quick=True),
        Filter(IntegrationRequest.ball, _("Waits for"), _parties, quick=True),
        Filter(IntegrationRequest.agency_id, _("Agency"), agency_options, quick=True),
        Filter(IntegrationRequest.handed_in_at, _("Handed in")),
        Filter(IntegrationRequest.accepted_at, _("Complete since")),
        Filter(IntegrationRequest.ended_at, _("Ended")),
    ),
    searched=_("number, title, purpose"),
    former={},
)  # fmt: skip


class BeginForm(WebForm):
    """What a request is about, before its documents."""

    title = StringField(
        _("Name of the request"),
        [DataRequired(), Length(max=services.MAX_TITLE)],
        description=_("For example: Integration of the personnel data"),
    )
    purpose = TextAreaField(
        _("What it is for"), [DataRequired(), Length(max=services.MAX_MESSAGE)]
    )


class RequestPage(DocumentPages, ArchivePages, ReviewPages):
    """Cases: from the agency's draft to the report."""

    table = REQUESTS

    def render(self, template: str, **values: Any) -> str:
        page: str = super().render(template, names=names, step_name=step_name, **values)
        return page

    @expose("/")
    @needs(Permission.REQUEST_READ)
    def index(self) -> Response | str:
        if elsewhere := REQUESTS.other_address():
            return go_to(elsewhere)
        with db.unit_of_work() as session:
            shown = REQUESTS.shown(session, queries.cases(principal_now()))
            text: str = self.render(
                "requests/list.html",
                shown=shown,
                clocks=clocks_of(session, shown.rows, _zone()),
                may_begin=_may_begin(),
            )
        return text

    @expose("/mine")
    @needs(Permission.REQUEST_READ)
    def mine(self) -> str:
        """Show what waits for the person, and what else is due soon; the most urgent first."""
        principal = principal_now()
        with db.unit_of_work() as session:
            rows, is_cut = _first(session, queries.open_cases(principal))
            own, is_own_cut = _first(
                session, queries.cases(principal).where(queries.asked_of(principal))
            )
            clocks = clocks_of(session, list({*rows, *own}), _zone())
            last = in_zone(utc_now(), _zone()).date() + SOON
            due = (
                case for case in set(rows) - set(own) if _is_due(clocks[case.id], last)
            )
            text: str = self.render(
                "requests/mine.html",
                cases=sorted(own, key=lambda case: _urgency(clocks[case.id])),
                due_soon=sorted(due, key=lambda case: _urgency(clocks[case.id])),
                clocks=clocks,
                most=MOST if is_cut or is_own_cut else None,
            )
        return text

    @expose("/board")
    @needs(Permission.REQUEST_READ)
    def board(self) -> str:
        """Show all open cases by the step in which they stand."""
        with db.unit_of_work() as session:
            rows, is_cut = _first(session, queries.open_cases(principal_now()))
            clocks = clocks_of(session, rows, _zone())
            columns = {
                step: sorted(
                    (case for case in rows if case.step is step),
                    key=lambda case: _urgency(clocks[case.id]),
                )
                for step in (Step.DRAFT, *DUTIES)
            }
            text: str = self.render(
                "requests/board.html",
                columns=columns,
                clocks=clocks,
                most=MOST if is_cut else None,
            )
        return text

    @expose("/new", methods=("GET", "POST"))
    @needs(Permission.REQUEST_ACT)
    def new(self) -> Response | str:
        """Begin a request of one's own agency."""
        if not _may_begin():
            raise NotFoundError
        form = BeginForm()
        with db.unit_of_work() as session:
            runs = _amended(session)
        if form.validate_on_submit():
            try:
                with db.unit_of_work() as session:
                    case = services.begin(
                        session, form.title.data, form.purpose.data, _amended(session)
                    )
            except RejectedError as error:
                flash_rejected(error)
            else:
                return back_to("requests.show", ident=case.id)
        text: str = self.render("requests/new.html", form=form, runs=runs)
        return text

    @expose("/number/<path:number>")
    @needs(Permission.REQUEST_READ)
    def by_number(self, number: str) -> Response:
        """Lead to the case that has a number, as contracts name what they rest on."""
        with db.unit_of_work() as session:
            found = session.scalar(
                queries.cases(principal_now())
                .where(IntegrationRequest.number == number.replace("\0", ""))
                .with_only_columns(IntegrationRequest.id)
            )
        if found is None:
            raise NotFoundError
        return back_to("requests.show", ident=found)

    @expose("/<ident>")
    @needs(Permission.REQUEST_READ)
    def show(self, ident: str) -> str:
        principal = principal_now()
        with db.unit_of_work() as session:
            case = queries.get_case(session, ident, principal)
            actor = queries.actor_in(case, principal)
            found = findings_of(session, case, _zone())
            state = built(case, found)
            issued = queries.papers_of(session, case)
            events = queries.events_of(session, case)
            text: str = self.render(
                "requests/show.html",
                case=case,
                line=line_of(case, events),
                clock=clocks_of(session, [case], _zone())[case.id],
                asked=_asked(case),
                agencies=_producers(case, actor),
                is_of_office=principal.agency_id is None,
                openings=_open_to(case, actor),
                reasons=list(Reason),
                documents=_documents(session, case, actor),
                built=state,
                obstacles=obstacles(case.step, state),
                may_build=actor is not None and services.may_build(case, actor.roles),
                may_try=trials.may_try(case, principal),
                contracts=_contracts(session, case, actor),
                findings=found,
                papers=issued,
                signings=signing.signings(session, issued),
                brings_paper=principal.is_office and _paper_asked(case),
                events=events,
                messages=queries.messages_of(session, case),
                notes=queries.notes_of(session, case) if principal.is_office else (),
                has_ended=case.step in TERMINAL,
                may_speak=actor is not None and principal.may(Permission.REQUEST_ACT),
            )
        return text

    @expose("/<ident>/act", methods=("POST",))
    @needs(Permission.REQUEST_ACT)
    def act(self, ident: str) -> Response:
        """Do one deed of the procedure."""
        try:
            with db.unit_of_work() as session:
                number = request.form.get("paper_number", "").strip()
                moved = services.take_action(
                    session, ident, _deed(), press_of_page(), number
                )
        except DocumentsLackingError as error:
            labels = [
                gettext(" or ").join(gettext(DOCUMENTS[kind].label) for kind in group)
                for group in error.groups
            ]
            flash(
                gettext(
                    "Still to be written or attached: %(what)s.", what="; ".join(labels)
                ),
                "danger",
            )
        except RejectedError as error:
            flash_rejected(error)
        else:
            flash(
                gettext(
                    "Done. The case stands in: %(step)s.",
                    step=step_name(moved.standing.step),
                ),
                "success",
            )
        return back_to("requests.show", ident=ident)

    @expose("/<ident>/producer", methods=("POST",))
    @needs(Permission.REQUEST_ACT)
    def producer(self, ident: str) -> Response:
        """Say whose data it is."""
        named = request.form.get("producer", "")
        try:
            with db.unit_of_work() as session:
                case = queries.get_case(session, ident, principal_now())
                agency = None
                if named:
                    agency = get_visible(session, Agency, named, principal_now())
                services.name_producer(session, case, agency)
        except RejectedError as error:
            flash_rejected(error)
        return back_to("requests.show", ident=ident)

    @expose("/<ident>/contract", methods=("POST",))
    @needs(Permission.CONTRACT_WRITE)
    def contract(self, ident: str) -> Response:
        """Draft the contract of a case, or say which one it is."""
        chosen = request.form.get("contract", "")
        try:
            with db.unit_of_work() as session:
                case = queries.get_case(session, ident, principal_now())
                if chosen:
                    contract = get_visible(session, Contract, chosen, principal_now())
                    services.choose_contract(session, case, contract)
                else:
                    services.draft_contract(session, case)
        except RejectedError as error:
            flash_rejected(error)
        else:
            flash(gettext("The case has its contract."), "success")
        return back_to("requests.show", ident=ident, _anchor="integration")

    @expose("/<ident>/trial", methods=("POST",))
    @needs(Permission.SOURCE_PREVIEW)
    def trial(self, ident: str) -> Response:
        """Call the agency's service for the minutes of step 3."""
        try:
            trials.try_call(
                ident,
                _ident(request.form.get("source", "")),
                principal_now(),
                press_of_page(),
                current_app.extensions["simpul_settings"].approved_hosts,
            )
        except RejectedError as error:
            flash_rejected(error)
        except SimpulError as error:
            flash_rejected(SourceInvalidError(error))
        else:
            flash(gettext("What came of the call stands in the minutes."), "success")
        return back_to("requests.show", ident=ident, _anchor="integration")

    @expose("/<ident>/messages", methods=("POST",))
    @needs(Permission.REQUEST_ACT)
    def message(self, ident: str) -> Response:
        return self._said(ident, services.send_message, "messages")

    @expose("/<ident>/notes", methods=("POST",))
    @needs(Permission.REQUEST_ACT)
    def note(self, ident: str) -> Response:
        return self._said(ident, services.add_note, "notes")

    def _said(self, ident: str, say_it: Any, place: str) -> Response:
        try:
            with db.unit_of_work() as session:
                case = queries.get_case(session, ident, principal_now())
                say_it(session, case, request.form.get("text", ""))
        except RejectedError as error:
            flash_rejected(error)
        return back_to("requests.show", ident=ident, _anchor=place)


def _first(
    session: Session, rows: sa.Select[Any]
) -> tuple[Sequence[IntegrationRequest], bool]:
    """Return the cases that have stood still longest, and whether there are more."""
    found = session.scalars(
        rows.order_by(IntegrationRequest.step_since, IntegrationRequest.id).limit(
            MOST + 1
        )
    ).all()
    return found[:MOST], len(found) > MOST


def _ident(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise NotFoundError from None


def _zone() -> str:
    zone: str = current_app.extensions["simpul_settings"].time_zone
    return zone


def _urgency(clock: Clock) -> date:
    return clock.due or date.max


def _is_due(clock: Clock, last: date) -> bool:
    return clock.due is not None and clock.due <= last


# --- beginning ------------------------------------------------------------------------


def _may_begin() -> bool:
    """Tell whether the person may hand in requests for their agency."""
    principal = principal_now()
    return (
        principal.agency_id is not None
        and not principal.read_only
        and bool(principal.roles & OPD)
    )


# --- what a person may do ---------------------------------------------------------------


def _deed() -> Deed:
    """Return what the posted form asks for; nonsense is no deed of the procedure."""
    sent = request.form
    try:
        return Deed(
            Action(sent.get("action", "")),
            Role(sent["role"]) if sent.get("role") else None,
            sent.get("digest", ""),
            Reason(sent["reason"]) if sent.get("reason") else None,
            sent.get("note", "").replace("\0", ""),
        )
    except ValueError:
        raise NotFoundError from None


def _open_to(case: IntegrationRequest, actor: Actor | None) -> list[Opening]:
    if actor is None or not principal_now().may(Permission.REQUEST_ACT):
        return []
    return openings(case.standing, actor)


# --- a case on its page -----------------------------------------------------------------


def _asked(case: IntegrationRequest) -> list[str]:
    return [gettext(names.ROLES[role]) for role in Role if role in case.asked]


def _producers(case: IntegrationRequest, actor: Actor | None) -> Options:
    """Return the agencies whose data it may be, for who may say so now."""
    if actor is None or not services.may_name_producer(case, actor.roles):
        return ()
    own = str(case.agency_id)
    return [option for option in agency_options() if option[0] != own]


def _contracts(
    session: Session, case: IntegrationRequest, actor: Actor | None
) -> Options:
    """Return the contracts that a case may be about, for who may say so."""
    if actor is None or not services.may_build(case, actor.roles):
        return ()
    rows = session.scalars(
        sa.select(Contract)
        .where(Contract.agency_id == (case.producer_id or case.agency_id))
        .order_by(Contract.title)
    )
    return [(str(each.id), each.title) for each in rows]


def _paper_asked(case: IntegrationRequest) -> bool:
    """Tell whether the next approval is the last one, and brings a paper with a number."""
    return len(case.standing.missing) == 1 and (case.step, Action.APPROVE) in ISSUED


class Written(NamedTuple):
    """A document on the page of its case."""

    kind: DocumentKind
    form: Form
    document: Document | None
    is_there: bool
    missing: int
    writable: bool
    step: Step


def _documents(
    session: Session, case: IntegrationRequest, actor: Actor | None
) -> list[Written]:
    """Return the documents of the case's steps up to now; what may be written now comes first."""
    documents = queries.documents_of(session, case)
    found = []
    for step, kinds in STEP_DOCUMENTS.items():
        for kind in kinds:
            document = documents.get(kind)
            content = document.content if document else {}
            writable = actor is not None and writing.may_write(case, kind, actor.roles)
            if document is None and step is not case.step:
                continue
            there = document is not None and writing.is_there(session, document)
            lack = len(missing(DOCUMENTS[kind], content)) if there else 0
            found.append(
                Written(kind, DOCUMENTS[kind], document, there, lack, writable, step)
            )
    return sorted(found, key=lambda one: one.step is not case.step)


def _amended(session: Any) -> Contract | None:
    """Return the contract whose integration is to be changed a little, if one is named."""
    ident = request.args.get("contract", "")
    if not ident:
        return None
    contract: Contract = get_visible(session, Contract, ident, principal_now())
    return contract
