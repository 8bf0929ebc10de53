"""The register of datasets; the central tables themselves come from contracts."""

from datetime import datetime
from typing import Any, ClassVar
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, Unmapped, mapped_column, relationship

from app.contracts.models import Contract, ContractVersion
from app.core.db import Base, HasId
from app.core.scope import Scope
from app.core.search import words_column, words_index
from app.identity.models import Agency


class Dataset(HasId, Base):
    """One central table: ``data.<slug>``, its history ``data.<slug>__history``.

    ``row_count`` counts living rows as of the last publish, ``published_run_id``.
    """

    __tablename__ = "dataset"
    __scope__: ClassVar[Scope] = Scope.AGENCY
    __table_args__ = (words_index(),)

    words: Unmapped[Any] = words_column("title", "slug")
    contract_id: Mapped[UUID] = mapped_column(sa.ForeignKey("contract.id"), unique=True)
    agency_id: Mapped[UUID] = mapped_column(sa.ForeignKey("agency.id"), index=True)
    slug: Mapped[str] = mapped_column(unique=True)
    title: Mapped[str]
    version_id: Mapped[UUID] = mapped_column(sa.ForeignKey("contract_version.id"))
    row_count: Mapped[int] = mapped_column(sa.BigInteger, default=0)
    published_at: Mapped[datetime | None]
    published_run_id: Mapped[UUID | None] = mapped_column(sa.ForeignKey("job_run.id"))

    agency: Mapped[Agency] = relationship(lazy="joined")
    contract: Mapped[Contract] = relationship(lazy="joined")
    version: Mapped[ContractVersion] = relationship()

    def __str__(self) -> str:
        return self.title
