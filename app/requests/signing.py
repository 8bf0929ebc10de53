"""How papers are signed: initialled here, signed elsewhere, taken back when nothing else changed.

A file that comes back finds its paper by itself: it begins with the very bytes that were
handed out. What is signed by pen is taken as a scan once a second person has attested it.
"""

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from urllib.parse import parse_qs, urlsplit
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Session

from app.core.policy import Principal, acting_principal
from app.core.scope import NotFoundError, visible
from app.core.words import message_id
from app.files import scanning, services as files
from app.files.errors import FileRefusedError
from app.files.inspection import FileKind
from app.files.services import Kept, store_of
from app.files.signatures import Signature, signatures_in
from app.notifications import notices
from app.notifications.states import NoticeKind
from app.requests.errors import (
    InitialsFirstError,
    NoReasonError,
    NothingToSignError,
    NotYourMarkError,
    SameHandError,
    SignedMeanwhileError,
)
from app.requests.models import IntegrationRequest, IssuedPaper, PaperMark
from app.requests.queries import actor_in
from app.requests.states import AGENCIES, MarkKind, PaperState, Role
from app.requests.wordings import PAPERS
from app.requests.writing import lock

# Papers that a head signs are initialled by somebody else of the office before.
HEADS = frozenset({Role.PIMPINAN, Role.ADMINISTRATOR})
INITIALLING = frozenset({Role.TIM_TEKNIS, Role.PENGAWAS_DATA, Role.PENGAWAS_TI, Role.ADMINISTRATOR})  # fmt: skip
ENDS = frozenset({PaperState.SENT_BACK, PaperState.SIGNED, PaperState.UNSIGNED})
MAX_NOTE = 2_000
LISTED, LOOKED_AT = 200, 2_000  # shown of others' papers; looked at for one's own


@dataclass(frozen=True, slots=True)
class Signing:
    """How far a paper is on its way; ``marks`` in the order in which they came.

    ``missing`` are the roles that have not signed yet. ``sha256`` finds what is to be signed
    next, or the paper as it is in force: as issued, or with the signatures there are.
    """

    paper: IssuedPaper
    marks: tuple[PaperMark, ...]
    state: PaperState
    missing: tuple[Role, ...]
    sha256: str
    signatures: int
    scan: PaperMark | None

    def when(self, kind: MarkKind | str) -> datetime | None:
        """Return when something was done with it for the first time; pages name it by its word."""
        return next((mark.at for mark in self.marks if mark.kind == kind), None)

    @property
    def initials(self) -> tuple[PaperMark, ...]:
        return tuple(m for m in self.marks if m.kind is MarkKind.INITIAL)


def signing_of(paper: IssuedPaper, marks: Iterable[PaperMark]) -> Signing:
    """Return how far a paper is, out of its marks."""
    marks = tuple(sorted(marks, key=lambda mark: (mark.at, str(mark.id))))
    signed = [m for m in marks if m.kind is MarkKind.SIGNATURE]
    given = {Role(role) for mark in signed for role in mark.roles}
    signers = PAPERS[paper.kind].signers
    missing = tuple(role for role in signers if role not in given)
    scans = [m for m in marks if m.kind is MarkKind.SCAN]
    is_initialled = any(m.kind is MarkKind.INITIAL for m in marks)
    state = PaperState.FOR_SIGNATURE
    if not signers:
        state = PaperState.UNSIGNED
    elif any(m.kind is MarkKind.SEND_BACK for m in marks):
        state = PaperState.SENT_BACK
    elif any(m.completes for m in marks):
        state, missing = PaperState.SIGNED, ()
    elif scans:
        state = PaperState.FOR_ATTEST
    elif HEADS & set(missing) and not is_initialled:
        state = PaperState.FOR_INITIALS
    return Signing(
        paper,
        marks,
        state,
        missing,
        sha256=signed[-1].sha256 if signed else paper.sha256,
        signatures=signed[-1].signatures if signed else 0,
        scan=scans[-1] if scans else None,
    )


def signings(session: Session, papers: Sequence[IssuedPaper]) -> Mapping[UUID, Signing]:
    """Return how far each of some papers is, by its id."""
    found = session.scalars(
        sa.select(PaperMark).where(PaperMark.paper_id.in_([p.id for p in papers]))
    )
    marks: dict[UUID, list[PaperMark]] = defaultdict(list)
    for mark in found:
        marks[mark.paper_id].append(mark)
    return {paper.id: signing_of(paper, marks[paper.id]) for paper in papers}


def on_their_way(session: Session, principal: Principal) -> list[Signing]:
    """Return the papers that are not signed yet, those that were issued first in front."""
    ended = sa.or_(PaperMark.completes, PaperMark.kind == MarkKind.SEND_BACK)
    signed_kinds = [kind for kind, paper in PAPERS.items() if paper.signers]
    papers = session.scalars(
        sa.select(IssuedPaper)
        .where(
            visible(IssuedPaper, principal),
            IssuedPaper.kind.in_(signed_kinds),
            ~sa.exists().where(PaperMark.paper_id == IssuedPaper.id, ended),
        )
        .order_by(IssuedPaper.issued_at, IssuedPaper.id)
        .limit(LOOKED_AT)
    ).all()
    by_id = signings(session, papers)
    return [by_id[paper.id] for paper in papers]


def may(signing: Signing, principal: Principal) -> frozenset[MarkKind]:
    """Return what somebody may do with a paper now."""
    actor = actor_in(signing.paper.case, principal)
    if actor is None:
        return frozenset()
    state, allowed = signing.state, set()
    initialled = {mark.by_id for mark in signing.initials}
    is_open = state in {PaperState.FOR_INITIALS, PaperState.FOR_SIGNATURE}
    if is_open and actor.roles & INITIALLING and actor.person not in initialled:
        allowed.add(MarkKind.INITIAL)
    if state is PaperState.FOR_SIGNATURE and _signs_for(signing, principal):
        allowed |= {MarkKind.SIGNATURE, MarkKind.SCAN}
    scanned_by = signing.scan.by_id if signing.scan else actor.person
    is_second = principal.is_office and actor.person != scanned_by
    if state is PaperState.FOR_ATTEST and is_second:
        allowed.add(MarkKind.ATTEST)
    if state not in ENDS and actor.roles & (HEADS | INITIALLING | set(signing.missing)):
        allowed.add(MarkKind.SEND_BACK)
    return frozenset(allowed)


def waits_for(signing: Signing, principal: Principal) -> bool:
    """Tell whether a paper waits for somebody's own hand: initials, signature, their word."""
    actor = actor_in(signing.paper.case, principal)
    allowed = may(signing, principal)
    if actor is None or not allowed:
        return False
    if signing.state is PaperState.FOR_INITIALS:
        return MarkKind.INITIAL in allowed
    signs = bool(actor.roles & set(signing.missing))
    return MarkKind.ATTEST in allowed or (MarkKind.SIGNATURE in allowed and signs)


def _signs_for(signing: Signing, principal: Principal) -> tuple[Role, ...]:
    """Return the missing roles of somebody's side; who brings a file need not be who signed."""
    actor = actor_in(signing.paper.case, principal)
    if actor is None or not actor.roles:
        return ()
    if principal.is_office:
        return tuple(role for role in signing.missing if role not in AGENCIES)
    owns = principal.agency_id == signing.paper.case.producer_id
    own = {Role.PRODUCER} if owns else {Role.OPD_OPERATOR, Role.OPD_PIMPINAN}
    return tuple(role for role in signing.missing if role in own)


def initial(session: Session, paper: IssuedPaper) -> None:
    """Put one's initials on a paper: one has read it, and it may go to who signs."""
    signing = _locked(session, paper)
    _require(signing, MarkKind.INITIAL)
    _mark(session, paper, MarkKind.INITIAL)


def send_back(session: Session, paper: IssuedPaper, note: str) -> None:
    """Say that a paper is not signed as it is, and why: it holds no more.

    The office looks over its papers; an agency's head sends back what waits for their hand.
    """
    signing = _locked(session, paper)
    _require(signing, MarkKind.SEND_BACK)
    note = note.replace("\0", "").strip()[:MAX_NOTE]
    if not note:
        raise NoReasonError
    _mark(session, paper, MarkKind.SEND_BACK, note=note)
    notices.tell(
        session,
        NoticeKind.REQUEST_TOLD,
        message_id(
            "The paper %(name)s was sent back: issue it anew once that is mended."
        ),
        {"name": str(paper)},
        path=f"/papers/{paper.id}",
        agency_id=None,
        roles={Role.TIM_TEKNIS},
    )


def take_signed(
    session: Session, home: Path, content: bytes, anchors: str
) -> tuple[IssuedPaper, PaperMark]:
    """Take a file that came back from signing; it finds its paper by what it begins with.

    ``anchors`` is the file of trusted certificates, "" for none. Raises
    ``FileRefusedError``, ``InitialsFirstError``, ``NotYourMarkError``,
    ``SignedMeanwhileError`` for one signed on an earlier state, ``NothingToSignError`` when
    its signatures are all there already.
    """
    paper = _paper_of(session, acting_principal(), content)
    signing = _locked(session, paper)
    if signing.state is PaperState.FOR_INITIALS:
        raise InitialsFirstError
    _require(signing, MarkKind.SIGNATURE)
    issued = _content(home, paper.sha256)
    if not content.startswith(_content(home, signing.sha256)):
        raise SignedMeanwhileError
    found = signatures_in(content, issued, anchors)
    fresh = found[signing.signatures :]
    if not fresh:
        raise NothingToSignError
    _require_trust(fresh, anchors)
    roles = _signs_for(signing, acting_principal())[: len(fresh)]
    stored = store_of(home).put(content)
    newest = fresh[-1]
    mark = _mark(
        session,
        paper,
        MarkKind.SIGNATURE,
        roles=list(roles),
        sha256=stored.sha256,
        media=FileKind.PDF,
        signatures=len(found),
        signer=", ".join(each.name for each in fresh),
        issuer=newest.issuer,
        signed_at=newest.at,
        is_trusted=all(each.is_trusted for each in fresh),
        completes=set(signing.missing) <= set(roles),
    )
    return paper, mark


def _require_trust(found: Sequence[Signature], anchors: str) -> None:
    for each in found:
        if anchors and not each.is_trusted:
            raise FileRefusedError("untrusted", each.name)


def _paper_of(session: Session, principal: Principal, content: bytes) -> IssuedPaper:
    """Return the paper that a file begins with the bytes of; ``FileRefusedError`` for none."""
    sizes = session.scalars(
        sa.select(IssuedPaper.byte_count)
        .where(visible(IssuedPaper, principal), IssuedPaper.byte_count <= len(content))
        .distinct()
        .order_by(IssuedPaper.byte_count)
    )
    digest, read, sums = hashlib.sha256(), 0, []
    for size in sizes:
        digest.update(content[read:size])
        read = size
        sums.append(digest.hexdigest())
    paper = session.scalar(
        sa.select(IssuedPaper)
        .where(visible(IssuedPaper, principal), IssuedPaper.sha256.in_(sums))
        .limit(1)
    )
    if paper is None:
        raise FileRefusedError("other")
    return paper


def paper_on_scan(session: Session, content: bytes) -> IssuedPaper:
    """Return the paper whose QR code is on a scan.

    Raises ``FileRefusedError`` for a file without one, or with those of several papers.
    """
    codes = {
        code
        for text in scanning.codes_on(content)
        for code in parse_qs(urlsplit(text).query).get("code", ())
        if "\0" not in code
    }
    found = session.scalars(
        sa.select(IssuedPaper)
        .where(visible(IssuedPaper, acting_principal()), IssuedPaper.code.in_(codes))
        .limit(2)
    ).all()
    if len(found) != 1:
        raise FileRefusedError("other")
    return found[0]


def take_scan(session: Session, paper: IssuedPaper, kept: Kept) -> None:
    """Take a picture of a paper that was signed by pen: a second person has to attest it."""
    signing = _locked(session, paper)
    if signing.state is PaperState.FOR_INITIALS:
        raise InitialsFirstError
    _require(signing, MarkKind.SCAN)
    if kept.kind not in scanning.SCANNED:
        raise FileRefusedError("kind")
    _mark(session, paper, MarkKind.SCAN, sha256=kept.sha256, media=kept.kind)


def attest(session: Session, paper: IssuedPaper, seen: str) -> None:
    """Say that one has seen the pen on the paper; ``seen`` is the scan that one looked at."""
    signing = _locked(session, paper)
    scan = signing.scan
    if scan is not None and scan.by_id == acting_principal().user_id:
        raise SameHandError
    _require(signing, MarkKind.ATTEST)
    if scan is None or scan.sha256 != seen:
        raise SignedMeanwhileError
    _mark(
        session,
        paper,
        MarkKind.ATTEST,
        roles=[str(role) for role in signing.missing],
        sha256=scan.sha256,
        media=scan.media,
        completes=True,
    )


def _locked(session: Session, paper: IssuedPaper) -> Signing:
    """Return how far a paper is, and let nobody else change that until the end."""
    lock(session, session.get_one(IntegrationRequest, paper.case_id))
    return signings(session, [paper])[paper.id]


def _require(signing: Signing, kind: MarkKind) -> None:
    """Raise ``NotYourMarkError`` unless the acting person may do it now."""
    principal = acting_principal()
    if actor_in(signing.paper.case, principal) is None:
        raise NotFoundError
    if kind not in may(signing, principal):
        raise NotYourMarkError


def _mark(
    session: Session, paper: IssuedPaper, kind: MarkKind, **values: object
) -> PaperMark:
    principal = acting_principal()
    mark = PaperMark(
        case_id=paper.case_id,
        paper_id=paper.id,
        paper=paper,
        kind=kind,
        by_id=principal.user_id,
        by=principal.label,
        **values,
    )
    session.add(mark)
    session.flush()
    return mark


def _content(home: Path, sha256: str) -> bytes:
    return files.path_of(home, sha256).read_bytes()
