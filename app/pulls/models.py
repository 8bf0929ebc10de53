"""What a pull counted, and the records it set aside."""

from datetime import datetime
from typing import Any, ClassVar
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column, relationship

from app.contracts.models import ContractVersion
from app.core.db import Base, HasId
from app.core.scope import Scope
from app.core.search import words_index
from app.datasets.models import Dataset
from app.runs.models import JobRun
from app.sources.models import Source


class PullRun(Base):
    """The counters of one pull, in records; written in the transaction of the publish.

    read = inserted + changed + unchanged + rejected + repeated (exact duplicates in the
    answer). ``vanished`` counts rows that were alive and are absent from the answer.
    """

    __tablename__ = "pull_run"
    __scope__: ClassVar[Scope] = Scope.AGENCY

    run_id: Mapped[UUID] = mapped_column(
        sa.ForeignKey("job_run.id", ondelete="CASCADE"), primary_key=True
    )
    agency_id: Mapped[UUID] = mapped_column(sa.ForeignKey("agency.id"))
    source_id: Mapped[UUID] = mapped_column(sa.ForeignKey("source.id"), index=True)
    dataset_id: Mapped[UUID] = mapped_column(sa.ForeignKey("dataset.id"), index=True)
    version_id: Mapped[UUID] = mapped_column(sa.ForeignKey("contract_version.id"))
    read_count: Mapped[int] = mapped_column(sa.BigInteger, default=0)
    inserted_count: Mapped[int] = mapped_column(sa.BigInteger, default=0)
    changed_count: Mapped[int] = mapped_column(sa.BigInteger, default=0)
    unchanged_count: Mapped[int] = mapped_column(sa.BigInteger, default=0)
    rejected_count: Mapped[int] = mapped_column(sa.BigInteger, default=0)
    repeated_count: Mapped[int] = mapped_column(sa.BigInteger, default=0)
    vanished_count: Mapped[int] = mapped_column(sa.BigInteger, default=0)
    published_at: Mapped[datetime | None]

    run: Mapped[JobRun] = relationship(lazy="joined")
    source: Mapped[Source] = relationship()
    dataset: Mapped[Dataset] = relationship()
    version: Mapped[ContractVersion] = relationship()


class QuarantinedRecord(HasId, Base):
    """One record that broke its contract, as it came, with all its errors.

    ``errors`` is a list of {field, code, message, params}; ``raw`` is the record's own JSON
    bytes, which may hold what text columns cannot (a NUL, half a surrogate pair).
    """

    __tablename__ = "quarantined_record"
    __scope__: ClassVar[Scope] = Scope.AGENCY
    __table_args__ = (
        words_index("quarantined_record", "record_key"),
        sa.UniqueConstraint("run_id", "page", "position"),
        sa.Index(None, "created_at", "id"),
    )

    run_id: Mapped[UUID] = mapped_column(sa.ForeignKey("job_run.id", ondelete="CASCADE"))
    source_id: Mapped[UUID] = mapped_column(sa.ForeignKey("source.id"), index=True)
    version_id: Mapped[UUID] = mapped_column(sa.ForeignKey("contract_version.id"))
    agency_id: Mapped[UUID] = mapped_column(sa.ForeignKey("agency.id"), index=True)
    page: Mapped[int]
    position: Mapped[int]
    record_key: Mapped[str] = mapped_column(default="")
    errors: Mapped[list[Any]]
    raw: Mapped[bytes]
    created_at: Mapped[datetime] = mapped_column(server_default=sa.func.now())

    source: Mapped[Source] = relationship(lazy="joined")


class AnswerPage(Base):
    """What one page of a run's answer held: a digest for each record, see ``answers``."""

    __tablename__ = "answer_page"
    __scope__: ClassVar[Scope] = Scope.OFFICE

    run_id: Mapped[UUID] = mapped_column(
        sa.ForeignKey("job_run.id", ondelete="CASCADE"), primary_key=True
    )
    page: Mapped[int] = mapped_column(primary_key=True)
    source_id: Mapped[UUID] = mapped_column(sa.ForeignKey("source.id"), index=True)
    digests: Mapped[bytes]


class RawBody(Base):
    """The records of a page as they came: a JSON array, compressed (zstd).

    ``byte_count`` is its size before; ``fingerprint`` see ``connectors.base.Page``.
    """

    __tablename__ = "raw_body"
    __scope__: ClassVar[Scope] = Scope.OFFICE

    fingerprint: Mapped[bytes] = mapped_column(primary_key=True)
    rows: Mapped[bytes]
    byte_count: Mapped[int] = mapped_column(sa.BigInteger)


class RawPage(Base):
    """One page of a run's answer, to be read again by a replay."""

    __tablename__ = "raw_page"
    __scope__: ClassVar[Scope] = Scope.OFFICE

    run_id: Mapped[UUID] = mapped_column(
        sa.ForeignKey("job_run.id", ondelete="CASCADE"), primary_key=True
    )
    page: Mapped[int] = mapped_column(primary_key=True)
    source_id: Mapped[UUID] = mapped_column(sa.ForeignKey("source.id"))
    fingerprint: Mapped[bytes] = mapped_column(
        sa.ForeignKey("raw_body.fingerprint"), index=True
    )
    row_count: Mapped[int] = mapped_column(sa.BigInteger)
    declared_total: Mapped[int | None] = mapped_column(sa.BigInteger)
    at: Mapped[datetime] = mapped_column(
        server_default=sa.func.clock_timestamp(), index=True
    )
