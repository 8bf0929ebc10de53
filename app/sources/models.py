"""The table of sources."""

from datetime import datetime
from typing import Any, ClassVar
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column, relationship

from app.contracts.models import Contract
from app.core.crypto import EncryptedText
from app.core.db import Base, HasId
from app.core.scope import Scope
from app.identity.models import Agency


class Source(HasId, Base):
    """One web service that fills one contract's dataset.

    ``settings`` are the connector's plain settings; ``secret`` is its one secret, write-only
    in forms. ``approved_host`` is the exact host:port that requests may go to.
    """

    __tablename__ = "source"
    __scope__: ClassVar[Scope] = Scope.AGENCY
    __table_args__ = (sa.UniqueConstraint("contract_id", "name"),)

    agency_id: Mapped[UUID] = mapped_column(sa.ForeignKey("agency.id"), index=True)
    contract_id: Mapped[UUID] = mapped_column(sa.ForeignKey("contract.id"), index=True)
    name: Mapped[str]
    kind: Mapped[str] = mapped_column(default="rest_json")
    settings: Mapped[dict[str, Any]] = mapped_column(default=dict)
    secret: Mapped[str | None] = mapped_column(EncryptedText, info={"secret": True})
    approved_host: Mapped[str] = mapped_column(default="")
    enabled: Mapped[bool] = mapped_column(default=True)
    created_at: Mapped[datetime] = mapped_column(server_default=sa.func.now())

    agency: Mapped[Agency] = relationship(lazy="joined")
    contract: Mapped[Contract] = relationship(lazy="joined")

    def __str__(self) -> str:
        return self.name
