"""Tables of contracts, their versions and fields."""

from datetime import datetime
from typing import Any, ClassVar
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column, relationship

from app.contracts.fields import FieldSpec
from app.contracts.states import (
    Classification,
    DatasetKind,
    FieldType,
    LoadMode,
    VersionStatus,
)
from app.contracts.terms import Terms
from app.core.db import Base, HasId, Versioned, choice
from app.core.scope import Scope
from app.core.search import words_index
from app.identity.models import Agency


class Contract(HasId, Base):
    """What one agency provides as one dataset; its terms stand in its versions.

    ``slug`` names the central table and the address of the API, so it never changes.
    ``is_listed``: the public page of the service names it, once it has rows.
    """

    __tablename__ = "contract"
    __scope__: ClassVar[Scope] = Scope.AGENCY
    __table_args__ = (words_index("contract", "title", "slug", "description"),)

    agency_id: Mapped[UUID] = mapped_column(sa.ForeignKey("agency.id"), index=True)
    slug: Mapped[str] = mapped_column(unique=True)
    title: Mapped[str]
    description: Mapped[str] = mapped_column(default="")
    basis: Mapped[str] = mapped_column(default="")  # the request that it came out of
    kind: Mapped[DatasetKind] = mapped_column(choice(DatasetKind, "kind"))
    load_mode: Mapped[LoadMode] = mapped_column(choice(LoadMode, "load_mode"))
    is_listed: Mapped[bool] = mapped_column(default=False)
    created_at: Mapped[datetime] = mapped_column(server_default=sa.func.now())

    agency: Mapped[Agency] = relationship(lazy="joined")

    def __str__(self) -> str:
        return self.title


class ContractVersion(HasId, Versioned, Base):
    """One version of the terms: free to edit as a draft, frozen once active.

    ``plan`` is the DDL that its activation ran. The two percentages are the gate's limits.
    """

    __tablename__ = "contract_version"
    __scope__: ClassVar[Scope] = Scope.AGENCY
    __part_of__: ClassVar[str] = "contract_id"
    __table_args__ = (
        sa.UniqueConstraint("contract_id", "number"),
        sa.Index(
            "uq_contract_version_active",
            "contract_id",
            unique=True,
            postgresql_where=sa.text("status = 'active'"),
        ),
        sa.Index(
            "uq_contract_version_draft",
            "contract_id",
            unique=True,
            postgresql_where=sa.text("status = 'draft'"),
        ),
        sa.CheckConstraint(
            "max_vanished_percent BETWEEN 0 AND 100", name="vanished_is_percent"
        ),
        sa.CheckConstraint(
            "max_rejected_percent BETWEEN 0 AND 100", name="rejected_is_percent"
        ),
        sa.CheckConstraint(
            "(status = 'draft') = (activated_at IS NULL)", name="activated_unless_draft"
        ),
    )

    contract_id: Mapped[UUID] = mapped_column(sa.ForeignKey("contract.id"))
    agency_id: Mapped[UUID] = mapped_column(sa.ForeignKey("agency.id"), index=True)
    number: Mapped[int]
    status: Mapped[VersionStatus] = mapped_column(
        choice(VersionStatus, "status"), default=VersionStatus.DRAFT
    )
    note: Mapped[str] = mapped_column(default="")
    max_vanished_percent: Mapped[int] = mapped_column(default=10)
    max_rejected_percent: Mapped[int] = mapped_column(default=20)
    plan: Mapped[list[Any] | None]
    created_at: Mapped[datetime] = mapped_column(server_default=sa.func.now())
    created_by: Mapped[str] = mapped_column(default="")
    activated_at: Mapped[datetime | None]
    activated_by: Mapped[str] = mapped_column(default="")

    contract: Mapped[Contract] = relationship(lazy="joined")
    fields: Mapped[list["ContractField"]] = relationship(
        order_by="ContractField.position",
        lazy="selectin",
        cascade="all, delete-orphan",
        passive_deletes=True,
    )

    def __str__(self) -> str:
        return f"{self.contract.title} v{self.number}"

    def specs(self) -> tuple[FieldSpec, ...]:
        """Return the fields as plain values, in order."""
        return tuple(each.spec() for each in self.fields)

    def terms(self) -> Terms:
        """Return all that a file says of the version, as a plain value."""
        contract = self.contract
        return Terms(
            fields=self.specs(),
            ident=str(contract.id),
            slug=contract.slug,
            title=contract.title,
            agency=contract.agency.code,
            agency_name=contract.agency.name,
            kind=contract.kind,
            load_mode=contract.load_mode,
            description=contract.description,
            basis=contract.basis,
            number=self.number,
            status=self.status,
            note=self.note,
            max_vanished_percent=self.max_vanished_percent,
            max_rejected_percent=self.max_rejected_percent,
        )


class ContractField(HasId, Base):
    """One data element. ``minimum`` and ``maximum`` are written as the type writes them."""

    __tablename__ = "contract_field"
    __scope__: ClassVar[Scope] = Scope.AGENCY
    __part_of__: ClassVar[str] = "version_id"
    __table_args__ = (
        sa.UniqueConstraint("version_id", "name"),
        sa.CheckConstraint("NOT is_key OR required", name="key_is_required"),
    )

    version_id: Mapped[UUID] = mapped_column(
        sa.ForeignKey("contract_version.id", ondelete="CASCADE")
    )
    agency_id: Mapped[UUID] = mapped_column(sa.ForeignKey("agency.id"))
    position: Mapped[int]
    name: Mapped[str]
    source_path: Mapped[str]
    label: Mapped[str]
    type: Mapped[FieldType] = mapped_column(choice(FieldType, "type"))
    required: Mapped[bool] = mapped_column(default=False)
    is_key: Mapped[bool] = mapped_column(default=False)
    min_length: Mapped[int | None]
    max_length: Mapped[int | None]
    minimum: Mapped[str] = mapped_column(default="")
    maximum: Mapped[str] = mapped_column(default="")
    pattern: Mapped[str] = mapped_column(default="")
    allowed_values: Mapped[list[str]] = mapped_column(ARRAY(sa.Text), default=list)
    classification: Mapped[Classification] = mapped_column(
        choice(Classification, "classification"), default=Classification.PUBLIC
    )
    definition: Mapped[str] = mapped_column(default="")
    unit: Mapped[str] = mapped_column(default="")
    example: Mapped[str] = mapped_column(default="")

    def __str__(self) -> str:
        return self.name

    def spec(self) -> FieldSpec:
        names = FieldSpec.__struct_fields__
        values = {name: getattr(self, name) for name in names}
        values["allowed_values"] = tuple(self.allowed_values or ())
        return FieldSpec(**values)
