"""The table of sources."""

from datetime import date, datetime, time
from typing import Any, ClassVar
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column, relationship

from app.contracts.models import Contract
from app.core.crypto import EncryptedMap
from app.core.db import Base, HasId, Versioned
from app.core.scope import Scope
from app.core.search import words_index
from app.identity.models import Agency


class Source(HasId, Versioned, Base):
    """One web service that fills one contract's dataset.

    ``settings`` are the connector's plain settings; ``secrets`` its secrets by name,
    write-only in forms. ``approved_host`` names the exact host:port pairs, parted by blanks,
    that requests may go to; ``settled_by_ids`` are all who changed that since, the last at ``settled_at``.

    ``pause`` says why the source rests: message, params, and whether its schedule rests with
    it. ``mark`` is up to where changes were published: value, and the version of then.
    Until ``plain_until`` it may be asked without encryption.
    """

    __tablename__ = "source"
    __scope__: ClassVar[Scope] = Scope.AGENCY
    __table_args__ = (
        words_index("source", "name"),
        sa.UniqueConstraint("contract_id", "name"),
    )

    agency_id: Mapped[UUID] = mapped_column(sa.ForeignKey("agency.id"), index=True)
    contract_id: Mapped[UUID] = mapped_column(sa.ForeignKey("contract.id"), index=True)
    name: Mapped[str]
    kind: Mapped[str] = mapped_column(default="rest_json")
    settings: Mapped[dict[str, Any]] = mapped_column(default=dict)
    secrets: Mapped[dict[str, str] | None] = mapped_column(
        EncryptedMap("auth_secret"), default=dict, info={"secret": True}
    )
    approved_host: Mapped[str] = mapped_column(default="")
    approved_by_id: Mapped[UUID | None]
    approved_by: Mapped[str] = mapped_column(default="")
    approved_at: Mapped[datetime | None]
    settled_by_ids: Mapped[list[UUID]] = mapped_column(sa.ARRAY(sa.Uuid), default=list)
    settled_at: Mapped[datetime | None]
    pause: Mapped[dict[str, Any] | None]
    failure_count: Mapped[int] = mapped_column(default=0)
    max_failures: Mapped[int] = mapped_column(default=5)
    plain_until: Mapped[date | None]
    plain_reason: Mapped[str] = mapped_column(default="")
    mark: Mapped[dict[str, Any] | None]
    enabled: Mapped[bool] = mapped_column(default=True)
    created_at: Mapped[datetime] = mapped_column(server_default=sa.func.now())

    agency: Mapped[Agency] = relationship(lazy="joined")
    contract: Mapped[Contract] = relationship(lazy="joined")

    def __str__(self) -> str:
        return self.name


class Host(HasId, Versioned, Base):
    """What is known about one host:port, for all sources and all processes at once.

    ``per_second`` and ``at_once`` 0: no limit. Between ``quiet_from`` and ``quiet_until``, on
    the office's clock, nobody asks it. Nobody does before ``wait_until`` either: it asked
    for that (``http_429``), or it failed ``failure_count`` times in a row.
    """

    __tablename__ = "host"
    __scope__: ClassVar[Scope] = Scope.OFFICE
    __table_args__ = (words_index("host", "pair", "note"),)

    pair: Mapped[str] = mapped_column(unique=True)
    per_second: Mapped[float] = mapped_column(default=0.0)
    at_once: Mapped[int] = mapped_column(default=0)
    quiet_from: Mapped[time | None]
    quiet_until: Mapped[time | None]
    note: Mapped[str] = mapped_column(default="")
    next_at: Mapped[datetime | None]
    wait_until: Mapped[datetime | None]
    wait_code: Mapped[str] = mapped_column(default="")
    failure_count: Mapped[int] = mapped_column(default=0)

    def __str__(self) -> str:
        return self.pair


class HostVisit(Base):
    """A run that asks a host; it counts for as long as the run holds its lease."""

    __tablename__ = "host_visit"
    __scope__: ClassVar[Scope] = Scope.OFFICE

    run_id: Mapped[UUID] = mapped_column(
        sa.ForeignKey("job_run.id", ondelete="CASCADE"), primary_key=True
    )
    pair: Mapped[str] = mapped_column(primary_key=True, index=True)
