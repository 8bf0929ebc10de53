"""Tables of exports and of what was handed out."""

from datetime import datetime
from typing import ClassVar
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column, relationship

from app.audit.models import WRITTEN_BY
from app.core.db import Base, HasId
from app.core.scope import Scope
from app.datasets.models import Agreement, Dataset
from app.identity.models import Agency, User
from app.runs.models import JobRun


class ExportRun(HasId, Base):
    """One file that a person asked for. ``file_key`` names it in the store once it is ready.

    ``agreement_id`` is what opened the rows in it, None for whose data it is and the office:
    when that ends, the file is not handed out any more.

    ``csv_sha256`` is the digest of the dataset's canonical CSV at that moment, so that two
    people can compare what they hold without sending it.
    """

    __tablename__ = "export_run"
    __scope__: ClassVar[Scope] = Scope.PERSON

    run_id: Mapped[UUID | None] = mapped_column(sa.ForeignKey("job_run.id"), unique=True)
    user_id: Mapped[UUID] = mapped_column(sa.ForeignKey("user.id"), index=True)
    agency_id: Mapped[UUID | None] = mapped_column(sa.ForeignKey("agency.id"))
    dataset_id: Mapped[UUID] = mapped_column(sa.ForeignKey("dataset.id"))
    agreement_id: Mapped[UUID | None] = mapped_column(sa.ForeignKey("agreement.id"))
    file_name: Mapped[str] = mapped_column(default="")
    file_key: Mapped[str] = mapped_column(default="")
    file_sha256: Mapped[str] = mapped_column(default="")
    file_bytes: Mapped[int] = mapped_column(sa.BigInteger, default=0)
    csv_sha256: Mapped[str] = mapped_column(default="")
    row_count: Mapped[int] = mapped_column(sa.BigInteger, default=0)
    created_at: Mapped[datetime] = mapped_column(server_default=sa.func.now())
    expires_at: Mapped[datetime | None]

    run: Mapped[JobRun | None] = relationship(lazy="joined")
    dataset: Mapped[Dataset] = relationship(lazy="joined")
    agreement: Mapped[Agreement | None] = relationship()
    user: Mapped[User] = relationship()

    def __str__(self) -> str:
        return self.file_name or str(self.id)


class ExchangeLog(Base):
    """One handing out of data: who got what, when, how much. No log, no exchange.

    ``agency_id`` received (None: the office), ``producer_id`` is whose data it was. A
    stream has two rows of one ``request_id``: its ``begin`` and, when it came that far, its
    ``end``. ``duration_ms`` is the database's part of it. What a client knows already (304)
    is counted: one row for all ``times`` within about a second.
    """

    __tablename__ = "exchange_log"
    __scope__: ClassVar[Scope] = Scope.PARTIES
    __table_args__ = (sa.Index(None, "txid"),)

    id: Mapped[int] = mapped_column(sa.BigInteger, sa.Identity(), primary_key=True)
    at: Mapped[datetime] = mapped_column(server_default=sa.func.clock_timestamp())
    channel: Mapped[str]
    # No foreign keys: a log keeps what it was told, and locks nothing. No index on these: a
    # client's rows are alike, its requests would queue at one page (decision 0010).
    user_id: Mapped[UUID | None]
    agency_id: Mapped[UUID | None] = mapped_column()
    producer_id: Mapped[UUID | None]
    dataset_id: Mapped[UUID] = mapped_column()
    client_id: Mapped[UUID | None]
    key_prefix: Mapped[str] = mapped_column(default="", server_default="")
    agreement: Mapped[str] = mapped_column(default="", server_default="")
    query: Mapped[str] = mapped_column(default="", server_default="")
    fields: Mapped[list[str]] = mapped_column(
        ARRAY(sa.Text), default=list, server_default="{}"
    )
    phase: Mapped[str] = mapped_column(default="whole", server_default="whole")
    status: Mapped[int] = mapped_column(default=200, server_default="200")
    times: Mapped[int] = mapped_column(default=1, server_default="1")
    duration_ms: Mapped[float] = mapped_column(default=0.0, server_default="0")
    etag: Mapped[str] = mapped_column(default="", server_default="")
    remote_ip: Mapped[str] = mapped_column(default="", server_default="")
    run_id: Mapped[UUID | None]
    row_count: Mapped[int] = mapped_column(sa.BigInteger)
    byte_count: Mapped[int] = mapped_column(sa.BigInteger)
    file_sha256: Mapped[str] = mapped_column(default="")
    request_id: Mapped[str] = mapped_column(default="")
    txid: Mapped[int] = mapped_column(sa.BigInteger, server_default=WRITTEN_BY)

    dataset: Mapped[Dataset | None] = relationship(
        lazy="joined", primaryjoin=Dataset.id == dataset_id, foreign_keys=[dataset_id]
    )
    agency: Mapped[Agency | None] = relationship(
        lazy="joined", primaryjoin=Agency.id == agency_id, foreign_keys=[agency_id]
    )

    def __str__(self) -> str:
        return f"{self.channel} {self.id}"
