"""Tables of complaints: what was said, by whom, and what became of it."""

from datetime import date, datetime
from typing import ClassVar
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column, relationship

from app.complaints.states import OPEN, Channel, Deed, Kind, State
from app.core.db import Base, HasId, Versioned, choice
from app.core.scope import Scope
from app.core.search import words_index
from app.identity.models import Agency, User
from app.requests.models import IntegrationRequest


class Complaint(HasId, Versioned, Base):
    """What somebody said about the service, and the answer.

    ``agency_id`` is the sender's, None for one who is of none; ``producer_id`` the agency
    that it was forwarded to. ``due_on`` is the last day for the answer. With ``number`` and
    ``code`` a sender without a log-in looks where it stands.
    """

    __tablename__ = "complaint"
    __scope__: ClassVar[Scope] = Scope.PARTIES
    __table_args__ = (
        words_index("complaint", "number", "subject", "lapor_number"),
        sa.CheckConstraint(
            "(answered_at IS NOT NULL) = (state IN ('answered', 'turned_down', 'closed'))",
            name="answered_when_decided",
        ),
        sa.Index(
            "uq_complaint_lapor_number",
            "lapor_number",
            unique=True,
            postgresql_where=sa.text("lapor_number <> ''"),
        ),
    )

    number: Mapped[str] = mapped_column(unique=True)
    code: Mapped[str]
    kind: Mapped[Kind] = mapped_column(choice(Kind, "kind"))
    channel: Mapped[Channel] = mapped_column(choice(Channel, "channel"))
    lapor_number: Mapped[str] = mapped_column(default="")
    agency_id: Mapped[UUID | None] = mapped_column(sa.ForeignKey("agency.id"), index=True)
    producer_id: Mapped[UUID | None] = mapped_column(
        sa.ForeignKey("agency.id"), index=True
    )
    case_id: Mapped[UUID | None] = mapped_column(sa.ForeignKey("integration_request.id"))
    assigned_id: Mapped[UUID | None] = mapped_column(sa.ForeignKey("user.id"))
    subject: Mapped[str]
    text: Mapped[str]
    received_on: Mapped[date]
    due_on: Mapped[date]
    state: Mapped[State] = mapped_column(choice(State, "state"), default=State.RECEIVED)
    answer: Mapped[str] = mapped_column(default="")
    answered_at: Mapped[datetime | None]
    warned: Mapped[str] = mapped_column(default="")
    created_at: Mapped[datetime] = mapped_column(server_default=sa.func.now())

    agency: Mapped[Agency | None] = relationship(foreign_keys=[agency_id])
    concerned: Mapped[Agency | None] = relationship(foreign_keys=[producer_id])
    assigned: Mapped[User | None] = relationship()
    case: Mapped[IntegrationRequest | None] = relationship()

    def __str__(self) -> str:
        return f"{self.number} {self.subject}"

    @property
    def is_open(self) -> bool:
        return self.state in OPEN


class ComplaintSender(HasId, Base):
    """Who sent it and how to reach them: the office alone knows, and its trail does not."""

    __tablename__ = "complaint_sender"
    __scope__: ClassVar[Scope] = Scope.OFFICE

    complaint_id: Mapped[UUID] = mapped_column(
        sa.ForeignKey("complaint.id", ondelete="CASCADE"), unique=True
    )
    name: Mapped[str] = mapped_column(default="")
    contact: Mapped[str] = mapped_column(default="")

    complaint: Mapped[Complaint] = relationship()

    def __str__(self) -> str:
        return self.name


class ComplaintEvent(Base):
    """One deed, appended and never changed.

    The agency that it was passed on to does not read who sent it, nor the sender's agency
    what the other one says to the office: ``queries.events_of`` and the database say so.
    """

    __tablename__ = "complaint_event"
    __scope__: ClassVar[Scope] = Scope.PART
    __part_of__: ClassVar[str] = "complaint_id"

    id: Mapped[int] = mapped_column(sa.BigInteger, sa.Identity(), primary_key=True)
    complaint_id: Mapped[UUID] = mapped_column(
        sa.ForeignKey("complaint.id", ondelete="CASCADE"), index=True
    )
    at: Mapped[datetime] = mapped_column(server_default=sa.func.clock_timestamp())
    actor: Mapped[str]
    deed: Mapped[Deed] = mapped_column(choice(Deed, "deed"))
    words: Mapped[str] = mapped_column(default="")

    complaint: Mapped[Complaint] = relationship()


class ComplaintNote(HasId, Base):
    """What the office says of it among itself: in a table that no agency's role may read."""

    __tablename__ = "complaint_note"
    __scope__: ClassVar[Scope] = Scope.OFFICE

    complaint_id: Mapped[UUID] = mapped_column(
        sa.ForeignKey("complaint.id", ondelete="CASCADE"), index=True
    )
    at: Mapped[datetime] = mapped_column(server_default=sa.func.clock_timestamp())
    author: Mapped[str]
    text: Mapped[str]

    complaint: Mapped[Complaint] = relationship()
