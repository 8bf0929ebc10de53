"""Tables of who may fetch data by a program: clients, their keys, grants and use."""

from datetime import date, datetime
from typing import ClassVar
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column, relationship

from app.core.db import Base, HasId, Versioned
from app.core.scope import Scope
from app.core.search import words_index
from app.datasets.models import Dataset
from app.identity.models import Agency


class ApiClient(HasId, Versioned, Base):
    """A program of a consuming agency, with the limits that all its keys share."""

    __tablename__ = "api_client"
    __scope__: ClassVar[Scope] = Scope.AGENCY
    __table_args__ = (
        words_index("api_client", "name", "contact"),
        sa.CheckConstraint(
            "requests_per_minute > 0 AND requests_per_day > 0 AND rows_per_day > 0"
            " AND concurrency BETWEEN 1 AND 64",
            name="limits_are_positive",
        ),
    )

    agency_id: Mapped[UUID] = mapped_column(sa.ForeignKey("agency.id"), index=True)
    name: Mapped[str] = mapped_column(unique=True)
    contact: Mapped[str] = mapped_column(default="")
    enabled: Mapped[bool] = mapped_column(default=True)
    requests_per_minute: Mapped[int] = mapped_column(default=600)
    requests_per_day: Mapped[int] = mapped_column(default=100_000)
    rows_per_day: Mapped[int] = mapped_column(sa.BigInteger, default=10_000_000)
    concurrency: Mapped[int] = mapped_column(default=4)
    created_at: Mapped[datetime] = mapped_column(server_default=sa.func.now())

    agency: Mapped[Agency] = relationship(lazy="joined")

    def __str__(self) -> str:
        return self.name


class ApiKey(HasId, Base):
    """A key of a client. Only its SHA-256 is kept; ``prefix`` is how people name it.

    ``networks`` are CIDR blocks that it may come from; none means anywhere.
    """

    __tablename__ = "api_key"
    __scope__: ClassVar[Scope] = Scope.AGENCY
    __part_of__: ClassVar[str] = "client_id"

    client_id: Mapped[UUID] = mapped_column(sa.ForeignKey("api_client.id"), index=True)
    agency_id: Mapped[UUID] = mapped_column(sa.ForeignKey("agency.id"))
    prefix: Mapped[str] = mapped_column(unique=True)
    # Deferred: an agency's role may see its keys but not read this column.
    secret_hash: Mapped[bytes] = mapped_column(
        sa.LargeBinary, deferred=True, info={"secret": True}
    )
    networks: Mapped[list[str]] = mapped_column(ARRAY(sa.Text), default=list)
    created_at: Mapped[datetime] = mapped_column(server_default=sa.func.now())
    created_by: Mapped[str] = mapped_column(default="")
    expires_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]
    last_used_at: Mapped[datetime | None]

    client: Mapped[ApiClient] = relationship(lazy="joined")

    def __str__(self) -> str:
        return f"{self.client.name} {self.prefix}" if self.client else self.prefix


class ApiGrant(HasId, Versioned, Base):
    """One dataset opened to one client for a time, within its agency's agreement.

    ``agency_id`` is who receives, ``producer_id`` whose data it is: another's is open while
    an agreement between the two stands, in the fields and rows that it opens. ``fields``
    names the fields; empty means all that are not personal. A ``sample`` shows the first
    rows only, personal fields masked, and needs no agreement.
    """

    __tablename__ = "api_grant"
    __scope__: ClassVar[Scope] = Scope.PARTIES
    __part_of__: ClassVar[str] = "client_id"
    __table_args__ = (sa.UniqueConstraint("client_id", "dataset_id"),)

    client_id: Mapped[UUID] = mapped_column(sa.ForeignKey("api_client.id"))
    dataset_id: Mapped[UUID] = mapped_column(sa.ForeignKey("dataset.id"), index=True)
    agency_id: Mapped[UUID] = mapped_column(sa.ForeignKey("agency.id"), index=True)
    producer_id: Mapped[UUID] = mapped_column(sa.ForeignKey("agency.id"), index=True)
    fields: Mapped[list[str]] = mapped_column(ARRAY(sa.Text), default=list)
    sample: Mapped[bool] = mapped_column(default=False)
    valid_from: Mapped[datetime] = mapped_column(server_default=sa.func.now())
    valid_until: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]

    client: Mapped[ApiClient] = relationship(lazy="joined")
    dataset: Mapped[Dataset] = relationship(lazy="joined")

    def __str__(self) -> str:
        return f"{self.dataset} → {self.client}" if self.dataset else str(self.id)


class ApiUsage(Base):
    """What a client has used up on one day (UTC) and in its newest minute."""

    __tablename__ = "api_usage"
    __scope__: ClassVar[Scope] = Scope.OFFICE

    client_id: Mapped[UUID] = mapped_column(
        sa.ForeignKey("api_client.id"), primary_key=True
    )
    day: Mapped[date] = mapped_column(primary_key=True)
    requests: Mapped[int] = mapped_column(sa.BigInteger)
    rows: Mapped[int] = mapped_column(sa.BigInteger)
    minute: Mapped[datetime]
    minute_requests: Mapped[int] = mapped_column(sa.BigInteger)
