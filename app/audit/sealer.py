"""Seals upon the logs: a chain of hashes that shows when a row was changed or taken away.

Rows of the audit trail and of the exchange log are sealed in batches, moments after their
transaction is through. A seal is the SHA-256 of the seal before it and of its rows, so that
none of them can be changed without changing all that follow; an *anchor*, the last seal of a
day, is kept in a file outside the database, where the database's owner cannot reach it.

Which rows are new is asked by transaction, not by number: a transaction that takes long
commits low numbers late. A row is new when its transaction was not yet through at the
snapshot of the seal before.
"""

import hashlib
from collections.abc import Iterator
from datetime import UTC
from typing import NamedTuple

import msgspec
import sqlalchemy as sa
from sqlalchemy.orm import Session

from app.audit.models import AuditEvent, SealBatch
from app.core import db
from app.core.db import Base
from app.core.sql import quote, quote_all

LOGS = ("audit_event", "exchange_log")
MAX_BATCH = 10_000
# Two sealers at once: the second waits for the first and finds its seal.
_LOCK = 7_250_002


def seal(session: Session) -> int:
    """Seal what was committed since the last seal; return how many rows that were."""
    session.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK)))
    return sum(_seal_log(session, log) for log in LOGS)


def _seal_log(session: Session, log: str) -> int:
    epoch = str(
        session.scalar(sa.text("SELECT system_identifier FROM pg_control_system()"))
    )
    former = session.execute(
        sa.select(SealBatch.epoch, SealBatch.snapshot, SealBatch.floor)
        .where(SealBatch.log == log)
        .order_by(SealBatch.id.desc())
        .limit(1)
    ).first()
    if former is not None and former.epoch == epoch:
        new = _since(session, log, former.snapshot, former.floor)
    else:
        new = _never_sealed(session, log)
    for at in range(0, len(new.ids), MAX_BATCH):
        _append(session, log, new.ids[at : at + MAX_BATCH], epoch, new)
    return len(new.ids)


class _New(NamedTuple):
    """Rows to seal, and the snapshot that sees them."""

    ids: list[int]
    snapshot: str
    floor: int


def _since(session: Session, log: str, snapshot: str, floor: int) -> _New:
    """Return rows of transactions that were not through at ``snapshot``."""
    found = session.execute(
        sa.text(
            "SELECT pg_current_snapshot()::text AS snapshot, ARRAY("
            f" SELECT id FROM {quote(log)} WHERE id > :floor"
            " AND txid >= (pg_snapshot_xmin(CAST(:snapshot AS pg_snapshot))::text)::bigint"
            " AND NOT pg_visible_in_snapshot((txid::text)::xid8,"
            "  CAST(:snapshot AS pg_snapshot)) ORDER BY id) AS ids"
        ),
        {"snapshot": snapshot, "floor": floor},
    ).one()
    return _New(found.ids, found.snapshot, floor)


def _never_sealed(session: Session, log: str) -> _New:
    """Return all rows without a seal: at the beginning, and after a restore elsewhere.

    The floor keeps rows of a former server apart, whose transactions were numbered higher
    than this one's are now.
    """
    found = session.execute(
        sa.text(
            "SELECT pg_current_snapshot()::text AS snapshot,"
            f" (SELECT coalesce(max(id), 0) FROM {quote(log)} WHERE txid >="
            "  (pg_snapshot_xmax(pg_current_snapshot())::text)::bigint) AS floor,"
            f" ARRAY(SELECT id FROM {quote(log)} EXCEPT"
            "  SELECT unnest(ids) FROM seal_batch WHERE log = :log ORDER BY 1) AS ids"
        ),
        {"log": log},
    ).one()
    return _New(found.ids, found.snapshot, found.floor)


def _append(session: Session, log: str, ids: list[int], epoch: str, new: _New) -> None:
    last = session.execute(
        sa.select(SealBatch.id, SealBatch.digest).order_by(SealBatch.id.desc()).limit(1)
    ).first()
    columns = sorted(c.key for c in Base.metadata.tables[log].columns if not c.computed)
    made = SealBatch(
        id=last.id + 1 if last else 1,
        at=db.now(session),
        log=log,
        columns=columns,
        ids=ids,
        epoch=epoch,
        snapshot=new.snapshot,
        floor=new.floor,
        rows_digest=_rows_digest(session, log, columns, ids),
    )
    made.digest = _chained(last.digest if last else b"", made)
    session.add(made)
    session.flush()


def _rows_digest(session: Session, log: str, columns: list[str], ids: list[int]) -> bytes:
    """Return the SHA-256 of rows as PostgreSQL writes them in JSON, one a line, by number."""
    digest: bytes | None = session.scalar(
        sa.text(
            "SELECT sha256(convert_to(string_agg("
            f"jsonb_build_array({quote_all(columns)})::text, E'\\n' ORDER BY id), 'UTF8'))"
            f" FROM {quote(log)} WHERE id = ANY(:ids)"
        ),
        {"ids": ids},
    )
    return digest or b""


def _chained(former: bytes, made: SealBatch) -> bytes:
    """Return the SHA-256 of the seal before and of all that this one says of its rows."""
    at = made.at.astimezone(UTC).isoformat()
    said = msgspec.json.encode([made.id, at, made.log, made.columns, made.ids])
    return hashlib.sha256(former + said + made.rows_digest).digest()


class Break(NamedTuple):
    """Where the chain is broken: a seal's number, its log, and what is wrong in a word."""

    number: int
    log: str
    what: str


def breaks_of(session: Session) -> Iterator[Break]:
    """Go through the whole chain and yield each place where it does not hold."""
    former, expected = b"", 1
    seals = session.scalars(
        sa.select(SealBatch).order_by(SealBatch.id).execution_options(yield_per=100)
    )
    for each in seals:
        if each.id != expected:
            yield Break(expected, each.log, "seal_missing")
        expected = each.id + 1
        if _rows_digest(session, each.log, each.columns, each.ids) != each.rows_digest:
            yield Break(each.id, each.log, "rows_changed")
        if _chained(former, each) != each.digest:
            yield Break(each.id, each.log, "chain_broken")
        former = each.digest


def last_seal(session: Session) -> SealBatch | None:
    return session.scalar(sa.select(SealBatch).order_by(SealBatch.id.desc()).limit(1))


def digest_of(session: Session, number: int) -> bytes | None:
    """Return the digest of a seal, None when there is no seal of that number."""
    return session.scalar(sa.select(SealBatch.digest).where(SealBatch.id == number))


def is_late(session: Session) -> bool:
    """Tell whether some row has waited for its seal for more than a minute."""
    last = sa.select(sa.func.max(SealBatch.at)).scalar_subquery()
    newest = sa.select(sa.func.max(AuditEvent.at)).scalar_subquery()
    late = sa.func.coalesce(newest > last, newest.is_not(None))
    is_old = newest < sa.func.clock_timestamp() - sa.text("interval '1 minute'")
    return bool(session.scalar(sa.select(sa.and_(late, is_old))))
