"""The table of audit events: appended to, never changed."""

from datetime import datetime
from typing import Any, ClassVar
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from app.core.db import Base
from app.core.scope import Scope


class AuditEvent(Base):
    """One change of one object, or one deed without an object's change.

    ``before`` and ``after`` hold the changed columns only; secrets are censored.
    """

    __tablename__ = "audit_event"
    __scope__: ClassVar[Scope] = Scope.AGENCY
    __table_args__ = (sa.Index(None, "object_type", "object_id"), sa.Index(None, "at"))

    id: Mapped[int] = mapped_column(sa.BigInteger, sa.Identity(), primary_key=True)
    at: Mapped[datetime] = mapped_column(server_default=sa.func.clock_timestamp())
    actor_id: Mapped[UUID | None]
    actor: Mapped[str]
    agency_id: Mapped[UUID | None]
    action: Mapped[str]
    object_type: Mapped[str]
    object_id: Mapped[str]
    object_label: Mapped[str] = mapped_column(default="")
    before: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True))
    after: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True))
    reason: Mapped[str] = mapped_column(default="")
    request_id: Mapped[str] = mapped_column(default="")

    def __str__(self) -> str:
        return self.object_label or f"{self.object_type} {self.object_id}"
