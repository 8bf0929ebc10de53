"""Tables of the case: the request, what happened to it, its documents, the talk about it."""

from datetime import datetime
from typing import Any, ClassVar
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column, relationship

from app.contracts.models import Contract
from app.core.db import Base, HasId, Versioned, choice
from app.core.scope import Scope
from app.core.search import words_index
from app.files.inspection import FileKind
from app.identity.models import Agency
from app.requests.documents import DocumentKind
from app.requests.procedure import Proposal, Standing
from app.requests.states import (
    OPD,
    TERMINAL,
    Action,
    MarkKind,
    Party,
    Reason,
    Role,
    Step,
)
from app.requests.wordings import PaperKind

_ENDS = ", ".join(f"'{step}'" for step in sorted(TERMINAL))


class IntegrationRequest(HasId, Versioned, Base):
    """A case, from the applicant's draft to the report.

    ``number`` is given when it is handed in first, ``accepted_at`` when its file is complete:
    from then on the three months run. ``producer_id`` is whose data it is, where that is not
    the applicant. ``digest`` is of the documents as they were proposed. ``asked`` are the
    roles whose move it is, ``ball`` the side that they are of. ``warned`` says of which step,
    round and level people were told.
    """

    __tablename__ = "integration_request"
    __scope__: ClassVar[Scope] = Scope.PARTIES
    __table_args__ = (
        words_index("integration_request", "number", "title", "purpose"),
        sa.CheckConstraint(
            f"(step IN ({_ENDS})) = (ended_at IS NOT NULL)", name="ended_iff_terminal"
        ),
        sa.CheckConstraint(
            "(proposer_id IS NULL) = (digest = '')", name="proposed_with_digest"
        ),
        sa.CheckConstraint(
            "number <> '' OR handed_in_at IS NULL", name="numbered_once_handed_in"
        ),
        sa.Index(
            "uq_integration_request_number",
            "number",
            unique=True,
            postgresql_where=sa.text("number <> ''"),
        ),
    )

    agency_id: Mapped[UUID] = mapped_column(sa.ForeignKey("agency.id"), index=True)
    producer_id: Mapped[UUID | None] = mapped_column(
        sa.ForeignKey("agency.id"), index=True
    )
    number: Mapped[str] = mapped_column(default="")
    title: Mapped[str]
    purpose: Mapped[str] = mapped_column(default="")
    contract_id: Mapped[UUID | None] = mapped_column(sa.ForeignKey("contract.id"))
    step: Mapped[Step] = mapped_column(choice(Step, "step"), default=Step.DRAFT)
    step_since: Mapped[datetime] = mapped_column(server_default=sa.func.now())
    is_held: Mapped[bool] = mapped_column(default=False)
    is_amendment: Mapped[bool] = mapped_column(default=False)
    proposer_id: Mapped[UUID | None] = mapped_column(sa.ForeignKey("user.id"))
    digest: Mapped[str] = mapped_column(default="")
    approved: Mapped[list[str]] = mapped_column(ARRAY(sa.Text), default=list)
    asked: Mapped[list[str]] = mapped_column(ARRAY(sa.Text), default=lambda: sorted(OPD))
    warned: Mapped[str] = mapped_column(default="")
    ball: Mapped[Party] = mapped_column(choice(Party, "ball"), default=Party.AGENCY)
    loops_a: Mapped[int] = mapped_column(default=0)
    loops_b: Mapped[int] = mapped_column(default=0)
    created_at: Mapped[datetime] = mapped_column(server_default=sa.func.now())
    created_by: Mapped[str] = mapped_column(default="")
    handed_in_at: Mapped[datetime | None]
    accepted_at: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]

    agency: Mapped[Agency] = relationship(lazy="joined", foreign_keys=[agency_id])
    producer: Mapped[Agency | None] = relationship(foreign_keys=[producer_id])
    contract: Mapped[Contract | None] = relationship()

    def __str__(self) -> str:
        return f"{self.number} {self.title}" if self.number else self.title

    @property
    def standing(self) -> Standing:
        """Where it stands, for the procedure."""
        proposal = None
        if self.proposer_id is not None:
            proposal = Proposal(self.proposer_id, self.digest)
        return Standing(
            self.step,
            self.is_held,
            proposal,
            frozenset(Role(role) for role in self.approved),
            (self.loops_a, self.loops_b),
            has_producer=self.producer_id is not None,
            is_amendment=self.is_amendment,
        )

    @standing.setter
    def standing(self, now: Standing) -> None:
        self.step, self.is_held = now.step, now.is_held
        self.proposer_id = now.proposal.person if now.proposal else None
        self.digest = now.proposal.digest if now.proposal else ""
        self.approved = sorted(now.approved)
        self.asked, self.ball = sorted(now.asked), now.ball
        self.loops_a, self.loops_b = now.loops


class RequestEvent(Base):
    """One deed of the procedure, appended and never changed.

    ``is_alone``: a head approved by themselves; listed for review. ``digest`` is of the
    documents that were proposed or approved. ``title`` and ``nip`` are the actor's then.
    """

    __tablename__ = "request_event"
    __scope__: ClassVar[Scope] = Scope.PART
    __part_of__: ClassVar[str] = "case_id"

    id: Mapped[int] = mapped_column(sa.BigInteger, sa.Identity(), primary_key=True)
    case_id: Mapped[UUID] = mapped_column(
        sa.ForeignKey("integration_request.id"), index=True
    )
    at: Mapped[datetime] = mapped_column(server_default=sa.func.clock_timestamp())
    actor_id: Mapped[UUID | None]
    actor: Mapped[str]
    title: Mapped[str] = mapped_column(default="")
    nip: Mapped[str] = mapped_column(default="")
    action: Mapped[Action] = mapped_column(choice(Action, "action"))
    role: Mapped[Role] = mapped_column(choice(Role, "role"))
    from_step: Mapped[Step] = mapped_column(choice(Step, "from_step"))
    to_step: Mapped[Step] = mapped_column(choice(Step, "to_step"))
    is_alone: Mapped[bool] = mapped_column(default=False)
    reason: Mapped[Reason | None] = mapped_column(choice(Reason, "reason"))
    note: Mapped[str] = mapped_column(default="")
    digest: Mapped[str] = mapped_column(default="")


class Document(HasId, Versioned, Base):
    """One document of a case as it stands now: what was filled in, and the file with it.

    ``remarks`` are what a reviewer said of fields, by their paths; they are gone once the
    document is proposed again, its version keeps them.
    """

    __tablename__ = "document"
    __scope__: ClassVar[Scope] = Scope.PART
    __part_of__: ClassVar[str] = "case_id"
    __table_args__ = (sa.UniqueConstraint("case_id", "kind"),)

    case_id: Mapped[UUID] = mapped_column(sa.ForeignKey("integration_request.id"))
    kind: Mapped[DocumentKind] = mapped_column(choice(DocumentKind, "kind"))
    content: Mapped[dict[str, Any]] = mapped_column(default=dict)
    remarks: Mapped[dict[str, Any]] = mapped_column(default=dict)
    changed_at: Mapped[datetime] = mapped_column(server_default=sa.func.now())
    changed_by: Mapped[str] = mapped_column(default="")

    case: Mapped[IntegrationRequest] = relationship(lazy="joined")

    def __str__(self) -> str:
        return f"{self.case} · {self.kind}" if self.case else str(self.kind)

    @property
    def agency_id(self) -> UUID:
        """The applicant, whose trail tells of it."""
        return self.case.agency_id


class DocumentFile(HasId, Base):
    """A file with a document. ``sha256`` finds it in the store; removed, it stays in versions.

    ``pages`` may be looked at as pictures.
    """

    __tablename__ = "document_file"
    __scope__: ClassVar[Scope] = Scope.PART
    __part_of__: ClassVar[str] = "case_id"

    case_id: Mapped[UUID] = mapped_column(
        sa.ForeignKey("integration_request.id"), index=True
    )
    document_id: Mapped[UUID] = mapped_column(sa.ForeignKey("document.id"), index=True)
    name: Mapped[str]
    kind: Mapped[FileKind] = mapped_column(choice(FileKind, "kind"))
    sha256: Mapped[str]
    byte_count: Mapped[int]
    pages: Mapped[int]
    at: Mapped[datetime] = mapped_column(server_default=sa.func.now())
    by: Mapped[str]
    removed_at: Mapped[datetime | None]

    document: Mapped[Document] = relationship(lazy="joined")

    def __str__(self) -> str:
        return self.name


class DocumentVersion(HasId, Base):
    """A document as it was handed in or proposed: never changed again.

    ``sha256`` is of its content and files as JSON with sorted keys; ``files`` are names and
    digests.
    """

    __tablename__ = "document_version"
    __scope__: ClassVar[Scope] = Scope.PART
    __part_of__: ClassVar[str] = "case_id"
    __table_args__ = (sa.UniqueConstraint("document_id", "number"),)

    case_id: Mapped[UUID] = mapped_column(
        sa.ForeignKey("integration_request.id"), index=True
    )
    document_id: Mapped[UUID] = mapped_column(sa.ForeignKey("document.id"))
    number: Mapped[int]
    content: Mapped[dict[str, Any]]
    files: Mapped[list[Any]]
    sha256: Mapped[str]
    at: Mapped[datetime] = mapped_column(server_default=sa.func.now())
    by: Mapped[str]

    document: Mapped[Document] = relationship()


class IssuedPaper(HasId, Base):
    """A paper as it was issued: never changed again. ``code`` finds it on the public page.

    ``sha256`` finds its bytes in the store.
    """

    __tablename__ = "paper"
    __scope__: ClassVar[Scope] = Scope.PART
    __part_of__: ClassVar[str] = "case_id"
    __table_args__ = (sa.UniqueConstraint("number"),)

    case_id: Mapped[UUID] = mapped_column(
        sa.ForeignKey("integration_request.id"), index=True
    )
    kind: Mapped[PaperKind] = mapped_column(choice(PaperKind, "kind"))
    step: Mapped[Step] = mapped_column(choice(Step, "step"))
    number: Mapped[str]
    title: Mapped[str]
    code: Mapped[str] = mapped_column(unique=True)
    sha256: Mapped[str] = mapped_column(index=True)
    byte_count: Mapped[int]
    issued_at: Mapped[datetime]
    issued_by: Mapped[str]

    case: Mapped[IntegrationRequest] = relationship(lazy="joined")

    def __str__(self) -> str:
        return f"{self.title} {self.number}"


class PaperMark(HasId, Base):
    """What somebody did with a paper, appended and never changed.

    ``roles`` are those that it signs for; ``signatures`` how many the file ``sha256`` has,
    all together. ``completes``: nothing is missing any more. ``signer`` and ``issuer`` are
    names in the newest certificate, ``is_trusted`` whether an authority stands behind it.
    """

    __tablename__ = "paper_mark"
    __scope__: ClassVar[Scope] = Scope.PART
    __part_of__: ClassVar[str] = "case_id"

    case_id: Mapped[UUID] = mapped_column(
        sa.ForeignKey("integration_request.id"), index=True
    )
    paper_id: Mapped[UUID] = mapped_column(sa.ForeignKey("paper.id"), index=True)
    kind: Mapped[MarkKind] = mapped_column(choice(MarkKind, "kind"))
    roles: Mapped[list[str]] = mapped_column(ARRAY(sa.Text), default=list)
    by_id: Mapped[UUID | None]
    by: Mapped[str]
    at: Mapped[datetime] = mapped_column(server_default=sa.func.clock_timestamp())
    sha256: Mapped[str] = mapped_column(default="", index=True)
    media: Mapped[FileKind | None] = mapped_column(choice(FileKind, "media"))
    signatures: Mapped[int] = mapped_column(default=0)
    signer: Mapped[str] = mapped_column(default="")
    issuer: Mapped[str] = mapped_column(default="")
    signed_at: Mapped[datetime | None]
    is_trusted: Mapped[bool] = mapped_column(default=False)
    completes: Mapped[bool] = mapped_column(default=False)
    note: Mapped[str] = mapped_column(default="")

    paper: Mapped[IssuedPaper] = relationship(lazy="joined")

    def __str__(self) -> str:
        return f"{self.paper} · {self.kind}" if self.paper else str(self.kind)


class PaperWording(HasId, Versioned, Base):
    """What a kind of paper says here; one without a row says what ``wordings`` has."""

    __tablename__ = "paper_wording"
    __scope__: ClassVar[Scope] = Scope.EVERYONE

    kind: Mapped[PaperKind] = mapped_column(choice(PaperKind, "kind"), unique=True)
    title: Mapped[str]
    opening: Mapped[str]
    closing: Mapped[str]

    def __str__(self) -> str:
        return self.title


class Said(HasId):
    """What somebody said of a case, and when."""

    case_id: Mapped[UUID] = mapped_column(
        sa.ForeignKey("integration_request.id"), index=True
    )
    at: Mapped[datetime] = mapped_column(server_default=sa.func.now())
    author_id: Mapped[UUID | None]
    author: Mapped[str]
    text: Mapped[str]


class RequestMessage(Said, Base):
    """What was said between the agency and the office about a case."""

    __tablename__ = "request_message"
    __scope__: ClassVar[Scope] = Scope.PART
    __part_of__: ClassVar[str] = "case_id"

    of_office: Mapped[bool]


class RequestNote(Said, Base):
    """What the office says of a case among itself: in a table that no agency's role may read."""

    __tablename__ = "request_note"
    __scope__: ClassVar[Scope] = Scope.OFFICE
    __part_of__: ClassVar[str] = "case_id"


class Register(Base):
    """The last number that was given in a series and year: none is given twice."""

    __tablename__ = "register"
    __scope__: ClassVar[Scope] = Scope.OFFICE

    series: Mapped[str] = mapped_column(primary_key=True)
    year: Mapped[int] = mapped_column(primary_key=True)
    last: Mapped[int]
