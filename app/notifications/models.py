"""Tables of mails and notices."""

from datetime import datetime
from typing import Any, ClassVar
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
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


class Notice(Base):
    """Something to tell, written with what happened; gone once it is spread to people.

    ``roles``: only who holds one of them is told; empty for all of the kind's audience.
    """

    __tablename__ = "notice"
    __scope__: ClassVar[Scope] = Scope.OFFICE

    id: Mapped[int] = mapped_column(sa.BigInteger, sa.Identity(), primary_key=True)
    kind: Mapped[str]
    user_id: Mapped[UUID | None]
    agency_id: Mapped[UUID | None]
    roles: Mapped[list[str]] = mapped_column(ARRAY(sa.Text), server_default="{}")
    params: Mapped[dict[str, Any]] = mapped_column(JSONB(none_as_null=True))
    path: Mapped[str]
    at: Mapped[datetime] = mapped_column(server_default=sa.func.clock_timestamp())


class Notification(Base):
    """What one person is told. ``params["message"]`` is the id of its words.

    ``shown``: it stands under the bell; ``for_digest``: it waits for the daily mail.
    """

    __tablename__ = "notification"
    __scope__: ClassVar[Scope] = Scope.PERSON
    __table_args__ = (
        sa.Index(None, "user_id", "id"),
        sa.Index(
            "ix_notification_unread",
            "user_id",
            postgresql_where=sa.text("shown AND read_at IS NULL"),
        ),
        sa.Index(
            "ix_notification_digest", "user_id", postgresql_where=sa.text("for_digest")
        ),
        sa.Index(
            "ix_notification_turn", "path", postgresql_where=sa.text("params ? 'turn'")
        ),
    )

    id: Mapped[int] = mapped_column(sa.BigInteger, sa.Identity(), primary_key=True)
    user_id: Mapped[UUID] = mapped_column(sa.ForeignKey("user.id", ondelete="CASCADE"))
    kind: Mapped[str]
    params: Mapped[dict[str, Any]] = mapped_column(JSONB(none_as_null=True))
    path: Mapped[str]
    at: Mapped[datetime] = mapped_column(index=True)
    shown: Mapped[bool]
    read_at: Mapped[datetime | None]
    for_digest: Mapped[bool]


class NoticePreference(Base):
    """When a person wants to be told of a kind; without a row, as the kind says."""

    __tablename__ = "notice_preference"
    __scope__: ClassVar[Scope] = Scope.PERSON

    user_id: Mapped[UUID] = mapped_column(
        sa.ForeignKey("user.id", ondelete="CASCADE"), primary_key=True
    )
    kind: Mapped[str] = mapped_column(primary_key=True)
    in_app: Mapped[str]
    mail: Mapped[str]
