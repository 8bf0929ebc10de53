"""Reads cases, for pages."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Session

from app.core.policy import Principal
from app.core.scope import NotFoundError, get_visible, visible
from app.requests.documents import LASTING, DocumentKind
from app.requests.models import (
    Document,
    DocumentFile,
    DocumentVersion,
    IntegrationRequest,
    IssuedPaper,
    PaperMark,
    RequestEvent,
    RequestMessage,
    RequestNote,
)
from app.requests.procedure import Actor
from app.requests.states import AGENCIES, OPD, Action, Reason, Role, Step

SENDING_BACK = frozenset(
    {Action.RETURN, Action.DISAGREE, Action.NOT_FIT, Action.REFUSE, Action.WITHDRAW}
)


def actor_in(case: IntegrationRequest, principal: Principal) -> Actor | None:
    """Return who a person is in a case: an agency's roles count in its own cases alone.

    None for who is nobody's: a part of the system, or who looks on.
    """
    if principal.user_id is None or principal.read_only:
        return None
    held = {role for role in Role if role in principal.roles}
    if principal.agency_id is None:
        return Actor(principal.user_id, frozenset(held - AGENCIES))
    roles: set[Role] = set()
    if principal.agency_id == case.agency_id:
        roles |= held & OPD
    if principal.agency_id == case.producer_id and Role.OPD_PIMPINAN in held:
        roles.add(Role.PRODUCER)
    return Actor(principal.user_id, frozenset(roles))


def cases(principal: Principal) -> sa.Select[Any]:
    """Return the cases that somebody sees; an agency's draft is its own alone."""
    query = sa.select(IntegrationRequest).where(visible(IntegrationRequest, principal))
    if principal.agency_id is None:
        return query.where(IntegrationRequest.number != "")
    own = IntegrationRequest.agency_id == principal.agency_id
    return query.where(sa.or_(own, IntegrationRequest.number != ""))


def open_cases(principal: Principal) -> sa.Select[Any]:
    """Return those that have not ended."""
    return cases(principal).where(IntegrationRequest.ended_at.is_(None))


def asked_of(principal: Principal) -> sa.ColumnElement[bool]:
    """Return the condition of cases that wait for a move of somebody's own."""
    held = frozenset(role for role in Role if role in principal.roles)
    if principal.agency_id is None:
        return _asks(held - AGENCIES)
    applicant = sa.and_(
        IntegrationRequest.agency_id == principal.agency_id, _asks(held & OPD)
    )
    if Role.OPD_PIMPINAN not in held:
        return applicant
    owner = IntegrationRequest.producer_id == principal.agency_id
    return sa.or_(applicant, sa.and_(owner, _asks(frozenset({Role.PRODUCER}))))


def _asks(roles: frozenset[Role]) -> sa.ColumnElement[bool]:
    wanted = sa.cast(sorted(roles), ARRAY(sa.Text))
    return IntegrationRequest.asked.op("&&")(wanted)


def get_case(
    session: Session, ident: str | UUID, principal: Principal
) -> IntegrationRequest:
    """Return one case; raises ``NotFoundError`` for another's, and another's draft."""
    case = get_visible(session, IntegrationRequest, ident, principal)
    if not case.number and case.agency_id != principal.agency_id:
        raise NotFoundError
    return case


def documents_of(
    session: Session, case: IntegrationRequest
) -> Mapping[DocumentKind, Document]:
    found = session.scalars(sa.select(Document).where(Document.case_id == case.id))
    return {each.kind: each for each in found}


def files_of(session: Session, document: Document) -> Sequence[DocumentFile]:
    """Return the files that are with a document now, in the order in which they came."""
    return session.scalars(
        sa.select(DocumentFile)
        .where(DocumentFile.document_id == document.id, DocumentFile.removed_at.is_(None))
        .order_by(DocumentFile.at, DocumentFile.id)
    ).all()


def versions_of(session: Session, document: Document) -> Sequence[DocumentVersion]:
    """Return what was handed in or proposed, the newest first."""
    return session.scalars(
        sa.select(DocumentVersion)
        .where(DocumentVersion.document_id == document.id)
        .order_by(DocumentVersion.number.desc())
    ).all()


def events_of(session: Session, case: IntegrationRequest) -> Sequence[RequestEvent]:
    """Return all deeds, the newest first."""
    return session.scalars(
        sa.select(RequestEvent)
        .where(RequestEvent.case_id == case.id)
        .order_by(RequestEvent.id.desc())
    ).all()


def messages_of(session: Session, case: IntegrationRequest) -> Sequence[RequestMessage]:
    return session.scalars(
        sa.select(RequestMessage)
        .where(RequestMessage.case_id == case.id)
        .order_by(RequestMessage.at, RequestMessage.id)
    ).all()


def notes_of(session: Session, case: IntegrationRequest) -> Sequence[RequestNote]:
    """Return the office's notes; in an agency's role there are none."""
    return session.scalars(
        sa.select(RequestNote)
        .where(RequestNote.case_id == case.id)
        .order_by(RequestNote.at, RequestNote.id)
    ).all()


def papers_of(session: Session, case: IntegrationRequest) -> Sequence[IssuedPaper]:
    """Return a case's papers, the newest first."""
    return session.scalars(
        sa.select(IssuedPaper)
        .where(IssuedPaper.case_id == case.id)
        .order_by(IssuedPaper.issued_at.desc(), IssuedPaper.id)
    ).all()


def paper_before(session: Session, paper: IssuedPaper) -> IssuedPaper | None:
    """Return the last paper of the same kind of its case that was issued before."""
    return session.scalar(
        sa.select(IssuedPaper)
        .where(
            IssuedPaper.case_id == paper.case_id,
            IssuedPaper.kind == paper.kind,
            # One that was issued anew bears the moment of the deed, and a later number.
            sa.tuple_(IssuedPaper.issued_at, IssuedPaper.number)
            < sa.tuple_(paper.issued_at, paper.number),
        )
        .order_by(IssuedPaper.issued_at.desc(), IssuedPaper.number.desc())
        .limit(1)
    )


class Sent(NamedTuple):
    """How often cases were sent back or ended out of a step, and why."""

    step: Step
    action: Action
    reason: Reason | None
    times: int


def sent_back(session: Session, principal: Principal) -> Sequence[Sent]:
    """Return returns, refusals, withdrawals and both loops by step and reason."""
    found = session.execute(
        sa.select(
            RequestEvent.from_step,
            RequestEvent.action,
            RequestEvent.reason,
            sa.func.count(),
        )
        .where(
            RequestEvent.case_id.in_(_idents(principal)),
            RequestEvent.action.in_(SENDING_BACK),
        )
        .group_by(RequestEvent.from_step, RequestEvent.action, RequestEvent.reason)
    )
    order = list(Step)
    rows = [Sent(*row) for row in found]
    return sorted(rows, key=lambda row: (order.index(row.step), row.action, -row.times))


def told_before(
    session: Session, case: IntegrationRequest, kind: DocumentKind
) -> Document | None:
    """Return what the agency wrote last into this document of another request, if it lasts."""
    if kind not in LASTING:
        return None
    return session.scalar(
        sa.select(Document)
        .join(IntegrationRequest, IntegrationRequest.id == Document.case_id)
        .where(
            IntegrationRequest.agency_id == case.agency_id,
            IntegrationRequest.id != case.id,
            IntegrationRequest.number != "",
            Document.kind == kind,
            sa.func.jsonb_typeof(Document.content) == "object",
            Document.content != sa.literal({}, Document.content.type),
        )
        .order_by(Document.changed_at.desc())
        .limit(1)
    )


def done_alone(
    session: Session, principal: Principal, limit: int
) -> Sequence[RequestEvent]:
    """Return what heads did alone, the newest first: it is looked at afterwards."""
    return session.scalars(
        sa.select(RequestEvent)
        .where(RequestEvent.is_alone, RequestEvent.case_id.in_(_idents(principal)))
        .order_by(RequestEvent.id.desc())
        .limit(limit)
    ).all()


def _idents(principal: Principal) -> sa.Select[Any]:
    return cases(principal).with_only_columns(IntegrationRequest.id)


def case_by_marks(session: Session, number: str, code: str) -> IntegrationRequest | None:
    """Return the case with a number, to who knows the code of one of its papers."""
    mark = code.strip().upper().replace(" ", "")
    return session.scalar(
        sa.select(IntegrationRequest)
        .join(IssuedPaper, IssuedPaper.case_id == IntegrationRequest.id)
        .where(
            IntegrationRequest.number == number.strip().upper(), IssuedPaper.code == mark
        )
        .limit(1)
    )


def paper_by_mark(session: Session, mark: str) -> IssuedPaper | None:
    """Return the paper with a code or a SHA-256, for the public page: no role of a person's.

    The digest may be of the file as issued, or of one with signatures or the pen on it.
    """
    mark = mark.strip()
    if re.fullmatch(r"[0-9a-fA-F]{64}", mark) is None:
        wanted = IssuedPaper.code == mark.upper().replace(" ", "")
    else:
        of_mark = sa.select(PaperMark.paper_id).where(PaperMark.sha256 == mark.lower())
        wanted = sa.or_(IssuedPaper.sha256 == mark.lower(), IssuedPaper.id.in_(of_mark))
    return session.scalar(sa.select(IssuedPaper).where(wanted).limit(1))
