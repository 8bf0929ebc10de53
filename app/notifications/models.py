"""Tables of mails."""

from datetime import datetime
from typing import ClassVar
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from app.core.crypto import EncryptedText
from app.core.db import Base, HasId, choice
from app.core.scope import Scope
from app.notifications.states import MailState


class Mail(HasId, Base):
    """A mail in the outbox, written with the change that it tells of.

    ``confidential``: it holds a link that opens something; its words go when it is sent.
    """

    __tablename__ = "mail"
    __scope__: ClassVar[Scope] = Scope.OFFICE
    __table_args__ = (
        sa.Index(
            "ix_mail_due",
            "not_before",
            postgresql_where=sa.text("state IN ('waiting', 'sending')"),
        ),
        sa.Index(None, "created_at", "id"),
    )

    recipient: Mapped[str]
    user_id: Mapped[UUID | None] = mapped_column(
        sa.ForeignKey("user.id", ondelete="SET NULL"), index=True
    )
    subject: Mapped[str]
    text: Mapped[str] = mapped_column(EncryptedText, info={"secret": True})
    html: Mapped[str] = mapped_column(EncryptedText, info={"secret": True})
    confidential: Mapped[bool]
    state: Mapped[MailState] = mapped_column(choice(MailState, "state"))
    attempts: Mapped[int] = mapped_column(default=0)
    last_error: Mapped[str] = mapped_column(default="")
    not_before: Mapped[datetime]
    created_at: Mapped[datetime]
    sent_at: Mapped[datetime | None]

    def __str__(self) -> str:
        return self.subject
