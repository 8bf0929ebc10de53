"""The register of datasets; the central tables themselves come from contracts."""

from datetime import datetime
from typing import Any, ClassVar
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column, relationship

from app.contracts.models import Contract, ContractVersion
from app.core import clock
from app.core.db import Base, HasId, Versioned
from app.core.scope import Scope
from app.core.search import words_index
from app.datasets.states import AgreementState
from app.identity.models import Agency


class Dataset(HasId, Base):
    """One central table: ``data.<slug>``, its history ``data.<slug>__history``.

    Other agencies see it while an agreement opens it to them.
    ``row_count`` counts living rows as of the last publish, ``published_run_id``.
    """

    __tablename__ = "dataset"
    __scope__: ClassVar[Scope] = Scope.OPENED
    __table_args__ = (words_index("dataset", "title", "slug"),)

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

    @classmethod
    def opened_to(cls, agency_id: UUID) -> sa.ColumnElement[bool]:
        """Return the condition of datasets that an agreement opens to an agency now."""
        return cls.id.in_(
            sa.select(Agreement.dataset_id).where(
                Agreement.agency_id == agency_id, *Agreement.is_active()
            )
        )


class Agreement(HasId, Versioned, Base):
    """What opens one dataset to one consuming agency, and on what ground.

    ``agency_id`` receives, ``producer_id`` is whose data it is and whose head consents.
    ``fields`` names the fields, empty means all that are not personal. ``row_field`` and
    ``row_values`` choose rows, "" means all. Nothing of it changes once it was consented to:
    another one takes its place. ``valid_until`` is None for those alone that are older than
    agreements. ``ended_at`` without consent: it was declined, or taken back.
    """

    __tablename__ = "agreement"
    __scope__: ClassVar[Scope] = Scope.PARTIES
    __table_args__ = (
        words_index("agreement", "number", "purpose"),
        sa.CheckConstraint("agency_id <> producer_id", name="opens_to_another"),
        sa.CheckConstraint(
            "(consented_at IS NULL) = (consented_by = '')", name="consented_by_somebody"
        ),
        sa.CheckConstraint(
            "(ended_at IS NULL) = (ended_because = '')", name="ended_with_reason"
        ),
        # One at a time: who may read what has one answer.
        sa.Index(
            "uq_agreement_standing",
            "dataset_id",
            "agency_id",
            unique=True,
            postgresql_where=sa.text("consented_at IS NOT NULL AND ended_at IS NULL"),
        ),
    )

    number: Mapped[str]
    dataset_id: Mapped[UUID] = mapped_column(sa.ForeignKey("dataset.id"), index=True)
    agency_id: Mapped[UUID] = mapped_column(sa.ForeignKey("agency.id"), index=True)
    producer_id: Mapped[UUID] = mapped_column(sa.ForeignKey("agency.id"), index=True)
    fields: Mapped[list[str]] = mapped_column(ARRAY(sa.Text), default=list)
    row_field: Mapped[str] = mapped_column(default="")
    row_values: Mapped[list[str]] = mapped_column(ARRAY(sa.Text), default=list)
    purpose: Mapped[str]
    valid_from: Mapped[datetime] = mapped_column(server_default=sa.func.now())
    valid_until: Mapped[datetime | None]
    proposed_by: Mapped[str] = mapped_column(default="")
    consented_at: Mapped[datetime | None]
    consented_by: Mapped[str] = mapped_column(default="")
    ended_at: Mapped[datetime | None]
    ended_because: Mapped[str] = mapped_column(default="")

    dataset: Mapped[Dataset] = relationship(lazy="joined")
    agency: Mapped[Agency] = relationship(lazy="joined", foreign_keys=[agency_id])
    producer: Mapped[Agency] = relationship(foreign_keys=[producer_id])

    def __str__(self) -> str:
        return self.number

    @classmethod
    def is_active(cls) -> tuple[sa.ColumnElement[bool], ...]:
        """Return the conditions of agreements that open rows now, on the database's clock."""
        return (
            cls.consented_at.is_not(None),
            cls.ended_at.is_(None),
            cls.valid_from <= sa.func.now(),
            sa.or_(cls.valid_until.is_(None), cls.valid_until > sa.func.now()),
        )

    @property
    def state(self) -> AgreementState:
        """Where it stands now."""
        if self.ended_at is not None:
            ended = self.consented_at is not None
            return AgreementState.ENDED if ended else AgreementState.DECLINED
        if self.consented_at is None:
            return AgreementState.PROPOSED
        now = clock.utc_now()
        if self.valid_until is not None and self.valid_until <= now:
            return AgreementState.OVER
        return AgreementState.AHEAD if self.valid_from > now else AgreementState.ACTIVE


class ChangeNotice(HasId, Base):
    """That a receiver was told of a change that may break what it does with the data.

    ``agency_id`` receives the data, ``producer_id`` is whose data it is. ``changes`` are
    those of ``app.contracts.changes`` as they were then, ``digest`` stands for the breaking
    ones. From ``due_at`` on nobody waits for the answer any more.
    """

    __tablename__ = "change_notice"
    __scope__: ClassVar[Scope] = Scope.PARTIES
    __table_args__ = (
        sa.UniqueConstraint("version_id", "agency_id", "digest"),
        sa.CheckConstraint(
            "(answered_at IS NULL) = (answered_by = '')", name="answered_by_somebody"
        ),
    )

    version_id: Mapped[UUID] = mapped_column(sa.ForeignKey("contract_version.id"))
    dataset_id: Mapped[UUID] = mapped_column(sa.ForeignKey("dataset.id"), index=True)
    agency_id: Mapped[UUID] = mapped_column(sa.ForeignKey("agency.id"), index=True)
    producer_id: Mapped[UUID] = mapped_column(sa.ForeignKey("agency.id"), index=True)
    title: Mapped[str]
    changes: Mapped[list[Any]]
    digest: Mapped[str]
    sent_at: Mapped[datetime]
    sent_by: Mapped[str]
    due_at: Mapped[datetime]
    answered_at: Mapped[datetime | None]
    answered_by: Mapped[str] = mapped_column(default="")
    remark: Mapped[str] = mapped_column(default="")

    agency: Mapped[Agency] = relationship(lazy="joined", foreign_keys=[agency_id])
    dataset: Mapped[Dataset] = relationship()

    def __str__(self) -> str:
        return self.title
