"""Audit events, appended to and never changed, and the seals upon them."""

from datetime import datetime
from typing import Any, ClassVar
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.orm import Mapped, mapped_column

from app.core.db import Base
from app.core.scope import Scope
from app.core.search import words_index

# The number of the transaction that wrote a row: what the sealer finds new rows by.
WRITTEN_BY = sa.text("(pg_current_xact_id()::text)::bigint")


class AuditEvent(Base):
    """One change of one object, or one deed without an object's change.

    ``before`` and ``after`` hold the changed columns only; secrets are censored.
    ``part_of`` is the key of the object that this one is a part of, as a field of its version.
    """

    __tablename__ = "audit_event"
    __scope__: ClassVar[Scope] = Scope.AGENCY
    __table_args__ = (
        words_index("audit_event", "actor", "object_label", "reason"),
        sa.Index(None, "object_type", "object_id"),
        sa.Index(None, "at"),
        sa.Index(None, "txid"),
        sa.Index(
            "ix_audit_event_part_of",
            "part_of",
            postgresql_where=sa.text("part_of <> ''"),
        ),
        sa.Index(
            "ix_audit_event_request_id",
            "request_id",
            postgresql_where=sa.text("request_id <> ''"),
        ),
    )

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
    part_of: Mapped[str] = mapped_column(server_default="")
    txid: Mapped[int] = mapped_column(sa.BigInteger, server_default=WRITTEN_BY)

    def __str__(self) -> str:
        return self.object_label or f"{self.object_type} {self.object_id}"


class SealBatch(Base):
    """A seal upon some rows of a log; with the seal before it a chain, see ``sealer``.

    ``ids`` are the rows, ``columns`` what of them is sealed, in this order. ``snapshot``:
    which transactions were through when it was made, of the server whose ``epoch`` it is
    (another one after a restore); rows up to ``floor`` were there when the epoch began.
    """

    __tablename__ = "seal_batch"
    __scope__: ClassVar[Scope] = Scope.OFFICE
    __table_args__ = (sa.Index(None, "log", "id"),)

    id: Mapped[int] = mapped_column(
        sa.BigInteger, primary_key=True, autoincrement=False
    )  # without gaps
    at: Mapped[datetime]
    log: Mapped[str]
    columns: Mapped[list[str]] = mapped_column(ARRAY(sa.Text))
    ids: Mapped[list[int]] = mapped_column(ARRAY(sa.BigInteger))
    epoch: Mapped[str]
    snapshot: Mapped[str]
    floor: Mapped[int] = mapped_column(sa.BigInteger)
    rows_digest: Mapped[bytes]
    digest: Mapped[bytes]
