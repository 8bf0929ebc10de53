"""Receipts: that a paper was delivered to the agency, and that somebody there opened it."""

import sqlalchemy as sa
from sqlalchemy.orm import Session

from app.core.policy import Principal, acting_principal
from app.core.words import message_id
from app.notifications import notices
from app.notifications.states import NoticeKind
from app.requests.models import IntegrationRequest, IssuedPaper, PaperMark
from app.requests.states import OPD, MarkKind
from app.requests.wordings import PAPERS


def deliver(session: Session, case: IntegrationRequest, paper: IssuedPaper) -> None:
    """Tell the agency of a paper that is for it, and write down that it was told."""
    if not PAPERS[paper.kind].is_delivered:
        return
    _mark(session, paper, MarkKind.DELIVER, case.agency.name)
    notices.tell(
        session,
        NoticeKind.REQUEST_TOLD,
        message_id("A paper is there for you: %(name)s."),
        {"name": str(paper)},
        path=f"/papers/{paper.id}",
        agency_id=case.agency_id,
        roles=OPD,
    )


def note_opened(session: Session, paper: IssuedPaper, principal: Principal) -> None:
    """Write down that the agency opened a paper that was delivered to it: the first time."""
    if principal.read_only or principal.agency_id != paper.case.agency_id:
        return
    done = set(
        session.scalars(sa.select(PaperMark.kind).where(PaperMark.paper_id == paper.id))
    )
    if MarkKind.DELIVER in done and MarkKind.OPEN not in done:
        _mark(session, paper, MarkKind.OPEN, paper.case.agency.name)


def _mark(session: Session, paper: IssuedPaper, kind: MarkKind, agency: str) -> None:
    principal = acting_principal()
    session.add(
        PaperMark(
            case_id=paper.case_id,
            paper_id=paper.id,
            kind=kind,
            by_id=principal.user_id,
            by=principal.label,
            note=agency,
        )
    )
    session.flush()
