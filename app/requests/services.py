"""Everything that changes cases: one lock, one move of the procedure, one event for each."""

from dataclasses import replace
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Session

from app.contracts.models import Contract
from app.core import clock, db
from app.core.errors import RejectedError
from app.core.policy import acting_principal
from app.core.scope import NotFoundError
from app.core.words import message_id
from app.identity.models import Agency, User
from app.notifications import notices
from app.notifications.states import NoticeKind
from app.requests import integration, papers, registering
from app.requests.errors import (
    EmptyTextError,
    NotEditableError,
    NothingRunsError,
    NotYourMoveError,
    OwnDataError,
    StepNotDoneError,
)
from app.requests.findings import findings_of
from app.requests.integration import built, obstacles
from app.requests.models import (
    IntegrationRequest,
    RequestEvent,
    RequestMessage,
    RequestNote,
)
from app.requests.papers import Press
from app.requests.procedure import Deed, Moved, Standing, move
from app.requests.queries import actor_in, get_case
from app.requests.states import (
    AGENCIES,
    OPD,
    PROPOSALS,
    TERMINAL,
    Action,
    Role,
    Step,
)
from app.requests.wordings import issued_by
from app.requests.writing import freeze, lock, proposal_digest, require_written

SERIES = "PMH"  # permohonan
MAX_TITLE, MAX_MESSAGE = 200, 5_000
# The office says whose data it is before its owner's consent is needed, in step 2.
NAMING_STEPS = frozenset({Step.FILE_CHECK, Step.COORDINATION})
NAMING_ROLES = frozenset({Role.TIM_TEKNIS, Role.PIMPINAN})
BUILDING_STEPS = frozenset(
    {Step.SCENARIO, Step.INTERCHANGE_DOCUMENT, Step.API, Step.CENTRAL_DATABASE}
)


def begin(
    session: Session, title: str, purpose: str, runs: Contract | None = None
) -> IntegrationRequest:
    """Begin a request of the acting person's agency: a draft that nobody else sees yet.

    ``runs`` is the contract of the agency's own integration that is to be changed a little;
    raises ``NothingRunsError`` where nothing runs by it.
    """
    principal = acting_principal()
    if principal.agency_id is None:
        raise NotYourMoveError
    if runs is not None and not integration.may_amend(session, runs, principal):
        raise NothingRunsError
    if not title.strip():
        raise EmptyTextError
    case = IntegrationRequest(
        agency_id=principal.agency_id,
        title=title.strip()[:MAX_TITLE],
        purpose=purpose.strip()[:MAX_MESSAGE],
        created_by=principal.label,
        is_amendment=runs is not None,
        contract_id=runs.id if runs else None,
    )
    session.add(case)
    session.flush()
    return case


def may_name_producer(case: IntegrationRequest, roles: frozenset[Role]) -> bool:
    """Tell whether it may be said now whose data it is: before that agency has to consent."""
    is_open = case.step in NAMING_STEPS and not case.is_amendment
    return is_open and bool(roles & NAMING_ROLES)


def name_producer(
    session: Session, case: IntegrationRequest, producer: Agency | None
) -> None:
    """Say whose data it is, where it is not the applicant's own; None: it is.

    Raises ``NotEditableError`` when it is too late, ``OwnDataError`` for the applicant.
    """
    lock(session, case)
    actor = actor_in(case, acting_principal())
    if actor is None or not may_name_producer(case, actor.roles):
        raise NotEditableError
    if producer is not None and producer.id == case.agency_id:
        raise OwnDataError
    case.producer_id = producer.id if producer else None
    session.flush()


def take_action(
    session: Session,
    ident: str | UUID,
    deed: Deed,
    press: Press,
    paper_number: str = "",
) -> Moved:
    """Do one deed of the acting person's to a case, write it down, issue its paper.

    ``paper_number`` is of the office's own letter system, which no agency has; "" for the
    next of our register. Raises what ``procedure.move`` raises, and ``DocumentsLackingError`` or ``MalformedError``
    when what is to be proposed is not there, or not as it should be,
    ``StepNotDoneError`` while what a step is for is not there; what ``papers.issue``
    raises.
    """
    principal = acting_principal()
    case = get_case(session, ident, principal)
    lock(session, case)
    actor = actor_in(case, principal)
    if actor is None:
        raise NotFoundError
    if paper_number and not principal.is_office:
        raise NotYourMoveError
    before = case.standing
    if deed.action in PROPOSALS:
        require_written(session, case)
        _require_built(session, case, press.zone)
        deed = replace(deed, digest=proposal_digest(session, case))
    moved = move(before, deed, actor)
    if deed.action is Action.APPROVE and moved.standing.step is not before.step:
        _require_built(session, case, press.zone)
    if deed.action in PROPOSALS:
        freeze(session, case)
    _settle(session, case, before, moved.standing, press.zone)
    event = _written_down(session, case, deed, moved, before)
    kind = issued_by(before.step, deed.action, moved.standing.step)
    if kind is not None:
        papers.issue(session, press, case, kind, event, paper_number)
    if moved.standing.step is Step.CLOSED:
        today = clock.in_zone(event.at, press.zone).date()
        registering.enter(session, case, today)
    _tell(session, case, moved.standing)
    session.flush()
    return moved


def _require_built(session: Session, case: IntegrationRequest, zone: str) -> None:
    """Raise ``StepNotDoneError`` while what the step is for is not there, or is red."""
    found = obstacles(case.step, built(case, findings_of(session, case, zone)))
    if found:
        raise StepNotDoneError(found)


def may_build(case: IntegrationRequest, roles: frozenset[Role]) -> bool:
    """Tell whether the contract of a case may be named now; an amendment has its own."""
    is_open = case.step in BUILDING_STEPS and not case.is_amendment
    return is_open and Role.TIM_TEKNIS in roles


def draft_contract(session: Session, case: IntegrationRequest) -> Contract:
    """Draft the contract of a case from its definition; raises ``NotEditableError``."""
    _require_building(session, case)
    if case.contract_id is not None:
        raise NotEditableError
    return integration.draft_contract(session, case)


def choose_contract(
    session: Session, case: IntegrationRequest, contract: Contract
) -> None:
    """Say that a case is about a contract that there is: of the agency whose data it is."""
    _require_building(session, case)
    if contract.agency_id != (case.producer_id or case.agency_id):
        raise NotFoundError
    integration.join(session, case, contract)


def _require_building(session: Session, case: IntegrationRequest) -> None:
    lock(session, case)
    actor = actor_in(case, acting_principal())
    if actor is None or not may_build(case, actor.roles):
        raise NotEditableError


def _written_down(
    session: Session,
    case: IntegrationRequest,
    deed: Deed,
    moved: Moved,
    before: Standing,
) -> RequestEvent:
    principal = acting_principal()
    person = session.get(User, principal.user_id)
    proposed = before.proposal.digest if before.proposal else ""
    event = RequestEvent(
        case_id=case.id,
        at=db.now(session),
        actor_id=principal.user_id,
        actor=principal.label,
        title=person.job_title if person else "",
        nip=person.nip if person else "",
        action=deed.action,
        role=moved.role,
        from_step=before.step,
        to_step=moved.standing.step,
        is_alone=moved.alone,
        reason=deed.reason,
        note=deed.note.strip()[:MAX_MESSAGE],
        digest=deed.digest or proposed,
    )
    session.add(event)
    session.flush()
    return event


def _settle(
    session: Session,
    case: IntegrationRequest,
    before: Standing,
    after: Standing,
    zone: str,
) -> None:
    """Write down where a case stands now, and what was reached for the first time."""
    now = db.now(session)
    case.standing = after
    if after.step is not before.step:
        case.step_since = now
    if after.step is Step.FILE_CHECK and not case.number:
        case.number = next_number(session, SERIES, clock.in_zone(now, zone).year)
        case.handed_in_at = now
    if before.step is Step.FILE_CHECK and after.step.number:  # a step of the service
        case.accepted_at = now
    if after.step is Step.DRAFT:
        case.accepted_at = None
    case.ended_at = now if after.step in TERMINAL else None
    session.flush()


def next_number(session: Session, series: str, year: int) -> str:
    """Return the next number of a series in a year, such as PMH/2026/0007; never one twice."""
    number = session.scalar(sa.select(sa.func.simpul_next_number(series, year)))
    return f"{series}/{year}/{number:04d}"


def _tell(session: Session, case: IntegrationRequest, now: Standing) -> None:
    """Tell those whose move it is; at an end, the agency."""
    path = f"/requests/{case.id}"
    turn = session.scalar(
        sa.select(sa.func.count()).where(RequestEvent.case_id == case.id)
    )
    params = {"name": str(case), "turn": turn}
    if now.step in TERMINAL:
        notices.tell(
            session,
            NoticeKind.REQUEST_TOLD,
            message_id("The request %(name)s has ended."),
            params,
            path=path,
            agency_id=case.agency_id,
            roles=OPD,
        )
        return
    for agency_id, roles in addressees(case, now.asked):
        notices.tell(
            session,
            NoticeKind.REQUEST_ASKS,
            message_id("The request %(name)s waits for you."),
            params,
            path=path,
            agency_id=agency_id,
            roles=roles,
        )


def addressees(
    case: IntegrationRequest, asked: frozenset[Role]
) -> list[tuple[UUID | None, frozenset[Role]]]:
    """Return of whom it is asked: an agency, or None for the office, and which roles."""
    head = frozenset({Role.OPD_PIMPINAN})
    found = [
        (case.agency_id, asked & OPD),
        (case.producer_id, head if Role.PRODUCER in asked else frozenset()),
        (None, asked - AGENCIES),
    ]
    return [(agency_id, roles) for agency_id, roles in found if roles]


def send_message(session: Session, case: IntegrationRequest, text: str) -> None:
    """Say something to the other side: the agency to the office, or the office to it."""
    principal = acting_principal()
    session.add(
        RequestMessage(
            case_id=case.id,
            author_id=principal.user_id,
            author=principal.label,
            of_office=principal.is_office,
            text=_worded(text),
        )
    )
    notices.tell(
        session,
        NoticeKind.REQUEST_TOLD,
        message_id("A message about the request %(name)s."),
        {"name": str(case)},
        path=f"/requests/{case.id}#messages",
        agency_id=case.agency_id,
        roles=OPD if principal.is_office else {Role.TIM_TEKNIS},
    )


def add_note(session: Session, case: IntegrationRequest, text: str) -> None:
    """Note something of the office's own: no agency reads it."""
    principal = acting_principal()
    if not principal.is_office:
        raise NotYourMoveError
    session.add(
        RequestNote(
            case_id=case.id,
            author_id=principal.user_id,
            author=principal.label,
            text=_worded(text),
        )
    )


def _worded(text: str) -> str:
    text = text.replace("\0", "").strip()
    if not text:
        raise EmptyTextError
    if len(text) > MAX_MESSAGE:
        raise RejectedError("This is too long: at most %(n)s letters.", n=MAX_MESSAGE)
    return text
