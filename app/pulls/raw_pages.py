"""Answers as they came, kept compressed for some days, so that a pull can be done again.

A page is kept in the transaction that commits its rows. Equal pages are kept once: of an
answer that is as it was yesterday only the list of its pages is new.
"""

from collections.abc import Iterator
from typing import Any
from uuid import UUID

import msgspec
import sqlalchemy as sa
import zstandard
from sqlalchemy.orm import Session

from app.connectors.base import Page, digests_of
from app.connectors.registry import ReadOrder
from app.core import db
from app.pulls.errors import AnswerGoneError
from app.pulls.models import RawBody, RawPage
from app.runs.models import JobRun

# Level 1 takes a tenth of a millisecond a thousand records, and a tenth of their bytes or less.
_compressor = zstandard.ZstdCompressor(level=1)
# One statement: a pull has hundreds of pages, and each trip to the database counts.
_KEEP = sa.text(
    "WITH body AS (INSERT INTO raw_body (fingerprint, rows, byte_count)"
    " VALUES (:fingerprint, :rows, :byte_count) ON CONFLICT DO NOTHING),"
    " answer AS (INSERT INTO answer_page (run_id, source_id, page, digests)"
    " VALUES (:run_id, :source_id, :page, :digests))"
    " INSERT INTO raw_page (run_id, page, source_id, fingerprint, row_count, declared_total)"
    " VALUES (:run_id, :page, :source_id, :fingerprint, :row_count, :declared_total)"
)


def keep(
    session: Session, run_id: UUID, source_id: UUID, page: Page, digests: bytes
) -> None:
    """Keep one page of a run's answer, and the digests of its records.

    ``digests`` are the page's, those of records that were not accepted blanked.
    """
    session.execute(
        _KEEP,
        {
            "fingerprint": bytes.fromhex(page.fingerprint),
            "rows": _compressor.compress(page.rows_json),
            "byte_count": len(page.rows_json),
            "run_id": run_id,
            "page": page.index,
            "source_id": source_id,
            "row_count": page.row_count,
            "declared_total": page.declared_total,
            "digests": digests,
        },
    )


def is_whole(session: Session, run_id: UUID) -> bool:
    """Tell whether the whole answer that a run read is still kept."""
    fetched = session.scalar(
        sa.select(JobRun.checkpoint["fetched"].as_boolean()).where(JobRun.id == run_id)
    )
    count, last = session.execute(
        sa.select(sa.func.count(), sa.func.max(RawPage.page)).where(
            RawPage.run_id == run_id
        )
    ).one()
    return bool(fetched) and count > 0 and count == last + 1


def require_whole(session: Session, run_id: UUID) -> None:
    """Raise ``AnswerGoneError`` when the answer of a run cannot be read again."""
    if not is_whole(session, run_id):
        raise AnswerGoneError


def pages_of(run_id: UUID, order: ReadOrder) -> Iterator[tuple[Page, dict[str, Any]]]:
    """Yield the kept pages of a run as a connector would, from the order's position on.

    Raises ``AnswerGoneError`` when they go meanwhile: a part of them is no answer.
    """
    first = int((order.position or {}).get("page", 0))
    with db.unit_of_work() as session:
        count = session.scalar(
            sa.select(sa.func.max(RawPage.page) + 1).where(RawPage.run_id == run_id)
        )
    for number in range(first, count or 0):
        page = _page(run_id, number, order.digest_salt)
        if page is None:
            raise AnswerGoneError
        yield page, {"page": number + 1}


def _page(run_id: UUID, number: int, salt: bytes) -> Page | None:
    with db.unit_of_work() as session:
        row = session.execute(
            sa.select(
                RawPage.row_count,
                RawPage.declared_total,
                RawBody.rows,
                RawBody.byte_count,
            )
            .join(RawBody, RawBody.fingerprint == RawPage.fingerprint)
            .where(RawPage.run_id == run_id, RawPage.page == number)
        ).first()
    if row is None:
        return None
    rows_json = zstandard.ZstdDecompressor().decompress(row.rows, row.byte_count)
    return Page(
        index=number,
        rows_json=rows_json,
        row_count=row.row_count,
        declared_total=row.declared_total,
        digests=digests_of(msgspec.json.decode(rows_json, type=list[msgspec.Raw]), salt),
    )


def forget(session: Session, run_id: UUID) -> None:
    """Drop the pages of a run that begins anew."""
    session.execute(sa.delete(RawPage).where(RawPage.run_id == run_id))


def forget_old(session: Session, days: int) -> int:
    """Drop pages that were read so many days ago; return how many."""
    gone = session.execute(
        sa.delete(RawPage).where(
            RawPage.at < sa.func.now() - sa.func.make_interval(0, 0, 0, days)
        )
    )
    used = sa.exists().where(RawPage.fingerprint == RawBody.fingerprint)
    session.execute(sa.delete(RawBody).where(~used))
    return int(gone.rowcount)  # type: ignore[attr-defined]
