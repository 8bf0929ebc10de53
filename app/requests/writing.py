"""Writing the documents of a case: filled in, with files, remarked upon, frozen when proposed."""

import hashlib
from collections.abc import Mapping
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.orm import Session

from app.core import clock
from app.core.policy import acting_principal
from app.files.services import Kept
from app.office.models import Office
from app.requests.documents import (
    DOCUMENTS,
    STEP_DOCUMENTS,
    DocumentKind,
    is_present,
    lacking,
    proposed_in,
)
from app.requests.errors import (
    DocumentsLackingError,
    MalformedError,
    NotEditableError,
    NothingToldError,
    TooManyFilesError,
)
from app.requests.fields import Values, flat_text, places, read
from app.requests.models import (
    Document,
    DocumentFile,
    DocumentVersion,
    IntegrationRequest,
)
from app.requests.queries import actor_in, documents_of, files_of, told_before
from app.requests.states import (
    DUTIES,
    OPD,
    TRANSITIONS,
    Action,
    Role,
    Step,
)

MAX_FILES = 10
MAX_REMARK = 5_000
WHOLE = "_"  # the path of a remark on the whole document


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


def take_again(session: Session, case: IntegrationRequest, kind: DocumentKind) -> None:
    """Write into an empty document what the agency told in its last request.

    Its files are not: a signed paper is of its own day. Raises ``NotEditableError``, also
    where something is written already, ``NothingToldError`` where nothing was told.
    """
    document = _document_to_write(session, case, kind)
    if document.content:
        raise NotEditableError
    former = told_before(session, case, kind)
    if former is None:
        raise NothingToldError
    document.content = dict(former.content)
    _touch(document)
    session.flush()


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


def may_remark(
    case: IntegrationRequest, kind: DocumentKind, roles: frozenset[Role]
) -> bool:
    """Tell whether it may be said now what is wrong with a document: while it is proposed."""
    if case.proposer_id is None or kind not in proposed_in(case.step):
        return False
    return bool(roles & TRANSITIONS[case.step, Action.RETURN].roles)


def remark(
    session: Session,
    case: IntegrationRequest,
    kind: DocumentKind,
    remarks: Mapping[str, str],
) -> None:
    """Keep what a reviewer says of fields, by their paths; "" takes a remark away.

    Paths of no field are passed over. Raises ``NotEditableError`` when it is not the time.
    """
    lock(session, case)
    actor = actor_in(case, acting_principal())
    document = documents_of(session, case).get(kind)
    if actor is None or document is None or not may_remark(case, kind, actor.roles):
        raise NotEditableError
    paths = {place.path for place in places(DOCUMENTS[kind], document.content)}
    document.remarks = {
        path: text.strip()[:MAX_REMARK]
        for path, text in remarks.items()
        if text.strip() and path in paths | {WHOLE}
    }
    session.flush()


def lock(session: Session, case: IntegrationRequest) -> None:
    """Keep others from moving a case until this transaction ends; read it as it is now."""
    session.execute(
        sa.select(IntegrationRequest.id)
        .where(IntegrationRequest.id == case.id)
        .with_for_update()
    )
    session.refresh(case)


def require_written(session: Session, case: IntegrationRequest) -> None:
    """Raise ``DocumentsLackingError`` unless what the step is for has been written."""
    kinds = STEP_DOCUMENTS.get(case.step, ())
    documents = documents_of(session, case)
    present = frozenset(
        kind for kind in kinds if kind in documents and is_there(session, documents[kind])
    )
    both = bool(session.scalar(sa.select(Office.asks_for_both)))
    if case.step is Step.DRAFT:
        groups = lacking(present, asks_for_both=both, is_amendment=case.is_amendment)
    else:
        groups = [(kind,) for kind in kinds if kind not in present]
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
        for kind in proposed_in(case.step)
        if kind in documents
    ]
    return hashlib.sha256("\n".join(sums).encode()).hexdigest()


def content_digest(session: Session, document: Document) -> str:
    """Return the SHA-256 of a document's content and files as JSON with sorted keys."""
    whole = {"content": document.content, "files": _files_told(session, document)}
    return hashlib.sha256(msgspec.json.encode(whole, order="deterministic")).hexdigest()


def _files_told(session: Session, document: Document) -> list[dict[str, Any]]:
    return [
        {"name": each.name, "sha256": each.sha256, "bytes": each.byte_count}
        for each in files_of(session, document)
    ]


def freeze(session: Session, case: IntegrationRequest) -> None:
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
