"""The register of integrations."""

from datetime import date, datetime
from typing import ClassVar
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column, relationship

from app.contracts.models import Contract
from app.core.db import Base, HasId, Versioned
from app.core.scope import Scope
from app.core.search import words_index
from app.identity.models import Agency


class Integration(HasId, Versioned, Base):
    """An integrated service: a contract, and what is on no other row.

    A case that closes writes it, or it is taken over from before with ``document`` and
    ``reason``. ``document`` is the number of the request, or of the paper that it rests on;
    ``reason`` is empty for one that went the twelve steps. ``tls_until`` and ``staff_until``
    are the last days of the server's certificate and of the list of staff.
    """

    __tablename__ = "integration"
    __scope__: ClassVar[Scope] = Scope.AGENCY
    __table_args__ = (words_index("integration", "system", "document"),)

    contract_id: Mapped[UUID] = mapped_column(sa.ForeignKey("contract.id"), unique=True)
    agency_id: Mapped[UUID] = mapped_column(sa.ForeignKey("agency.id"), index=True)
    system: Mapped[str]
    server: Mapped[str] = mapped_column(default="")
    contact: Mapped[str] = mapped_column(default="")
    contact_phone: Mapped[str] = mapped_column(default="")
    contact_email: Mapped[str] = mapped_column(default="")
    document: Mapped[str]
    reason: Mapped[str] = mapped_column(default="")
    running_since: Mapped[date]
    review_on: Mapped[date | None]
    tls_until: Mapped[date | None]
    staff_until: Mapped[date | None]
    created_at: Mapped[datetime] = mapped_column(server_default=sa.func.now())

    agency: Mapped[Agency] = relationship(lazy="joined")
    contract: Mapped[Contract] = relationship(lazy="joined")

    def __str__(self) -> str:
        return self.system
