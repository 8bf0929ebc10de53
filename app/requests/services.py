"""Everything that changes cases: one lock, one move of the procedure, one event for each."""

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from uuid import UUID

import msgspec
import sqlalchemy as sa
from sqlalchemy.orm import Session

from app.contracts.models import Contract
from app.core import clock, db
from app.core.errors import RejectedError
from app.core.policy import acting_principal
from app.core.scope import NotFoundError
from app.core.words import message_id
from app.files.services import Kept
from app.identity.models import Agency, User
from app.notifications import notices
from app.notifications.states import NoticeKind
from app.requests import integration, papers
from app.requests.documents import (
    DOCUMENTS,
    STEP_DOCUMENTS,
    DocumentKind,
    is_present,
    lacking,
)
from app.requests.errors import (
    DocumentsLackingError,
    EmptyTextError,
    MalformedError,
    NotEditableError,
    NotYourMoveError,
    OwnDataError,
    StepNotDoneError,
    TooManyFilesError,
)
from app.requests.fields import Values, flat_text, read
from app.requests.integration import built, obstacles
from app.requests.models import (
    Document,
    DocumentFile,
    DocumentVersion,
    IntegrationRequest,
    RequestEvent,
    RequestMessage,
    RequestNote,
)
from app.requests.papers import Press
from app.requests.procedure import Deed, Moved, Standing, move
from app.requests.queries import actor_in, documents_of, files_of, get_case
from app.requests.states import AGENCIES, DUTIES, OPD, TERMINAL, Action, Role, Step
from app.requests.wordings import issued_by

SERIES = "PMH"  # permohonan
MAX_TITLE, MAX_MESSAGE, MAX_FILES = 200, 5_000, 10
# The office says whose data it is before its owner's consent is needed, in step 2.
NAMING_STEPS = frozenset({Step.FILE_CHECK, Step.COORDINATION})
NAMING_ROLES = frozenset({Role.TIM_TEKNIS, Role.PIMPINAN})
BUILDING_STEPS = frozenset(
    {Step.SCENARIO, Step.INTERCHANGE_DOCUMENT, Step.API, Step.CENTRAL_DATABASE}
)
_PROPOSING = frozenset({Action.HAND_IN, Action.PROPOSE})


def begin(session: Session, title: str, purpose: str) -> IntegrationRequest:
    """Begin a request of the acting person's agency: a draft that nobody else sees yet."""
    principal = acting_principal()
    if principal.agency_id is None:
        raise NotYourMoveError
    if not title.strip():
        raise EmptyTextError
    case = IntegrationRequest(
        agency_id=principal.agency_id,
        title=title.strip()[:MAX_TITLE],
        purpose=purpose.strip()[:MAX_MESSAGE],
        created_by=principal.label,
    )
    session.add(case)
    session.flush()
    return case


def may_name_producer(case: IntegrationRequest, roles: frozenset[Role]) -> bool:
    """Tell whether it may be said now whose data it is: before that agency has to consent."""
    return case.step in NAMING_STEPS and bool(roles & NAMING_ROLES)


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


def may_write(
    case: IntegrationRequest, kind: DocumentKind, roles: frozenset[Role]
) -> bool:
    """Tell whether the holder of some roles may write a document now: before it is proposed."""
    if case.is_held or case.proposer_id is not None:
        return False
    if kind not in STEP_DOCUMENTS.get(case.step, ()):
        return False
    writers = OPD if case.step is Step.DRAFT else DUTIES[case.step].proposed_by
    return bool(roles & writers)


def write_document(
    session: Session, case: IntegrationRequest, kind: DocumentKind, values: Values
) -> Document:
    """Keep what was filled in; raises ``NotEditableError`` when it is not the time for it."""
    document = _document_to_write(session, case, kind)
    document.content = values
    _touch(document)
    session.flush()
    return document


def attach(
    session: Session, case: IntegrationRequest, kind: DocumentKind, kept: Kept
) -> DocumentFile:
    """Put a file with a document; the same content twice is one file.

    Raises ``NotEditableError``, or ``TooManyFilesError``.
    """
    document = _document_to_write(session, case, kind)
    session.flush()  # its id is the file's
    there = files_of(session, document)
    same = next((each for each in there if each.sha256 == kept.sha256), None)
    if same is not None:
        return same
    if len(there) >= MAX_FILES:
        raise TooManyFilesError(MAX_FILES)
    file = DocumentFile(
        case_id=case.id,
        document_id=document.id,
        document=document,
        name=kept.name,
        kind=kept.kind,
        sha256=kept.sha256,
        byte_count=kept.byte_count,
        pages=kept.pages,
        by=acting_principal().label,
    )
    session.add(file)
    _touch(document)
    session.flush()
    return file


def detach(session: Session, case: IntegrationRequest, file: DocumentFile) -> None:
    """Take a file away from a document that may be written; versions keep it."""
    document = _document_to_write(session, case, file.document.kind)
    file.removed_at = clock.utc_now()
    _touch(document)
    session.flush()


def _document_to_write(
    session: Session, case: IntegrationRequest, kind: DocumentKind
) -> Document:
    lock(session, case)
    actor = actor_in(case, acting_principal())
    if actor is None or not may_write(case, kind, actor.roles):
        raise NotEditableError
    document = documents_of(session, case).get(kind)
    if document is None:
        document = Document(case_id=case.id, case=case, kind=kind)
        session.add(document)
    return document


def _touch(document: Document) -> None:
    document.changed_at = clock.utc_now()
    document.changed_by = acting_principal().label


def remark(session: Session, document: Document, remarks: Mapping[str, str]) -> None:
    """Keep what a reviewer says of fields, by their paths; "" takes a remark away."""
    known = {
        path: text.strip()[:MAX_MESSAGE] for path, text in remarks.items() if text.strip()
    }
    if known != document.remarks:
        document.remarks = known
        session.flush()


def lock(session: Session, case: IntegrationRequest) -> None:
    """Keep others from moving a case until this transaction ends; read it as it is now."""
    session.execute(
        sa.select(IntegrationRequest.id)
        .where(IntegrationRequest.id == case.id)
        .with_for_update()
    )
    session.refresh(case)


def take_action(
    session: Session,
    ident: str | UUID,
    deed: Deed,
    press: Press,
    paper_number: str = "",
) -> Moved:
    """Do one deed of the acting person's to a case, write it down, issue its paper.

    ``paper_number`` is of the office's own letter system, "" for the next of our register.

    Raises what ``procedure.move`` raises, and ``DocumentsLackingError`` or ``MalformedError``
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
    before = case.standing
    if deed.action in _PROPOSING:
        _require_documents(session, case)
        _require_built(case)
        deed = replace(deed, digest=proposal_digest(session, case))
    moved = move(before, deed, actor)
    if deed.action is Action.APPROVE and moved.standing.step is not before.step:
        _require_built(case)
    if deed.action in _PROPOSING:
        _freeze(session, case)
    _settle(session, case, before, moved.standing)
    event = _written_down(session, case, deed, moved, before)
    kind = issued_by(before.step, deed.action, moved.standing.step)
    if kind is not None:
        papers.issue(session, press, case, kind, event, paper_number)
    _tell(session, case, moved.standing)
    session.flush()
    return moved


def _require_built(case: IntegrationRequest) -> None:
    """Raise ``StepNotDoneError`` while what the step is for is not there, or is red."""
    lacking = obstacles(case.step, built(case))
    if lacking:
        raise StepNotDoneError(lacking)


def may_build(case: IntegrationRequest, roles: frozenset[Role]) -> bool:
    """Tell whether the contract of a case may be named now."""
    return case.step in BUILDING_STEPS and Role.TIM_TEKNIS in roles


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


def _require_documents(session: Session, case: IntegrationRequest) -> None:
    """Raise ``DocumentsLackingError`` unless what the step is for has been written."""
    kinds = STEP_DOCUMENTS.get(case.step, ())
    documents = documents_of(session, case)
    present = frozenset(
        kind for kind in kinds if kind in documents and is_there(session, documents[kind])
    )
    groups = lacking(present) if case.step is Step.DRAFT else [
        (kind,) for kind in kinds if kind not in present
    ]  # fmt: skip
    if groups:
        raise DocumentsLackingError(groups)
    for kind in sorted(present):
        problems = malformed(kind, documents[kind].content)
        if problems:
            raise MalformedError(DOCUMENTS[kind].label, problems)


def is_there(session: Session, document: Document) -> bool:
    """Tell whether a document has been written, or a file put with it."""
    has_file = bool(files_of(session, document))
    return is_present(DOCUMENTS[document.kind], document.content, has_file=has_file)


def malformed(kind: DocumentKind, content: Values) -> dict[str, str]:
    """Return what stands in a document otherwise than it should: a sentence by its path."""
    form = DOCUMENTS[kind]
    return read(form, flat_text(form, content))[1]


def proposal_digest(session: Session, case: IntegrationRequest) -> str:
    """Return the digest of the documents of the step as they stand: what is proposed."""
    documents = documents_of(session, case)
    sums = [
        f"{kind} {content_digest(session, documents[kind])}"
        for kind in _proposed_kinds(case.step)
        if kind in documents
    ]
    return hashlib.sha256("\n".join(sums).encode()).hexdigest()


def _proposed_kinds(step: Step) -> tuple[DocumentKind, ...]:
    # What was handed in is what the check of the file is about.
    return STEP_DOCUMENTS.get(Step.DRAFT if step is Step.FILE_CHECK else step, ())


def content_digest(session: Session, document: Document) -> str:
    """Return the SHA-256 of a document's content and files as JSON with sorted keys."""
    whole = {"content": document.content, "files": _files_told(session, document)}
    return hashlib.sha256(msgspec.json.encode(whole, order="deterministic")).hexdigest()


def _files_told(session: Session, document: Document) -> list[dict[str, Any]]:
    return [
        {"name": each.name, "sha256": each.sha256, "bytes": each.byte_count}
        for each in files_of(session, document)
    ]


def _freeze(session: Session, case: IntegrationRequest) -> None:
    """Keep each document as it is proposed, unless it was proposed like that before."""
    for document in documents_of(session, case).values():
        if document.kind not in STEP_DOCUMENTS.get(case.step, ()):
            continue
        last = session.scalar(
            sa.select(DocumentVersion)
            .where(DocumentVersion.document_id == document.id)
            .order_by(DocumentVersion.number.desc())
            .limit(1)
        )
        digest = content_digest(session, document)
        if last is None or last.sha256 != digest:
            session.add(
                DocumentVersion(
                    case_id=case.id,
                    document_id=document.id,
                    number=last.number + 1 if last else 1,
                    content=document.content,
                    files=_files_told(session, document),
                    sha256=digest,
                    by=acting_principal().label,
                )
            )
        document.remarks = {}


def _settle(
    session: Session, case: IntegrationRequest, before: Standing, after: Standing
) -> None:
    """Write down where a case stands now, and what was reached for the first time."""
    now = db.now(session)
    case.standing = after
    if after.step is not before.step:
        case.step_since = now
    if after.step is Step.FILE_CHECK and not case.number:
        case.number = next_number(session, SERIES, now.year)
        case.handed_in_at = now
    if before.step is Step.FILE_CHECK and after.step is Step.COORDINATION:
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
