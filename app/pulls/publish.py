"""Publishing: the stage becomes the central table in one transaction, or nothing does.

Only rows that differ are written. A changed row's former values go to the history with
the span in which they held; a vanished row stays as a tombstone with ``_deleted_at``.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Session

from app.contracts.decoder import FieldError, Rejected
from app.contracts.fields import FieldSpec
from app.contracts.states import LoadMode
from app.core.sql import quote, quote_all
from app.datasets.ddl import Names, keys_of
from app.pulls.gate import Counts
from app.pulls.stage import PAGE_SHIFT, quarantine


@dataclass(frozen=True, slots=True)
class Merge:
    """SQL of one contract version's merge. ``statement`` runs it and returns its counts."""

    names: Names
    fields: tuple[FieldSpec, ...]
    load_mode: LoadMode

    @property
    def _columns(self) -> list[str]:
        return [each.name for each in self.fields]

    @property
    def _keys(self) -> tuple[str, ...]:
        return keys_of(self.fields)

    def _same_key(self, left: str, right: str) -> str:
        return " AND ".join(f"{left}.{quote(k)} = {right}.{quote(k)}" for k in self._keys)

    def _list(self, alias: str, columns: Sequence[str] | None = None) -> str:
        return ", ".join(f"{alias}.{quote(c)}" for c in columns or self._columns)

    def duplicates(self) -> str:
        """Return SQL for the keys that stand in the stage more than once."""
        keys = quote_all(self._keys)
        return (
            f"SELECT {keys} FROM {self.names.stage} WHERE NOT _rejected"
            f" GROUP BY {keys} HAVING count(*) > 1"
        )

    def drop_repeated(self) -> str:
        """Return SQL that leaves the first of exactly equal rows of a key, and counts them."""
        return (
            f"WITH twice AS ({self.duplicates()}), ranked AS (SELECT s.ctid AS at,"
            f" row_number() OVER (PARTITION BY {self._list('s')} ORDER BY s._place) AS n"
            f" FROM {self.names.stage} s JOIN twice t ON {self._same_key('s', 't')}"
            " WHERE NOT s._rejected)"
            f" DELETE FROM {self.names.stage} s USING ranked r WHERE s.ctid = r.at AND r.n > 1"
        )

    def reject_conflicting(self) -> str:
        """Return SQL that marks rows of one key with different values: none can be trusted."""
        return (
            f"WITH twice AS ({self.duplicates()})"
            f" UPDATE {self.names.stage} s SET _rejected = true FROM twice t"
            f" WHERE {self._same_key('s', 't')} AND NOT s._rejected"
            f" RETURNING s._place, {self._list('s', self._keys)},"
            f" jsonb_build_object({self._json_pairs()})::text AS raw"
        )

    def _json_pairs(self) -> str:
        return ", ".join(f"'{each.name}', s.{quote(each.name)}" for each in self.fields)

    def statement(self) -> str:
        """Return the merge: history, updates, inserts and tombstones in one statement."""
        table, history, stage = self.names.table, self.names.history, self.names.stage
        rest = [column for column in self._columns if column not in self._keys]
        differs = (
            f"({self._list('c', rest)}) IS DISTINCT FROM ({self._list('s', rest)})"
            if rest
            else "false"
        )
        return f"""
WITH diff AS MATERIALIZED (
  SELECT {self._list("s")}, c._seq IS NOT NULL AS _known, c._deleted_at AS _was_deleted
  FROM {stage} s LEFT JOIN {table} c ON {self._same_key("c", "s")}
  WHERE NOT s._rejected
    AND (c._seq IS NULL OR c._deleted_at IS NOT NULL OR {differs})
), gone AS MATERIALIZED (
  {self._vanished()}
), kept AS (
  INSERT INTO {history} ({quote_all(self._columns)}, _run_id, _valid_from, _valid_to,
    _ended_by, _ended_as)
  SELECT {self._list("c")}, c._run_id, c._changed_at, :now, :run_id,
    CASE WHEN c._deleted_at IS NULL THEN 'changed' ELSE 'returned' END
  FROM {table} c JOIN diff d ON {self._same_key("c", "d")} WHERE d._known
  UNION ALL
  SELECT {self._list("c")}, c._run_id, c._changed_at, :now, :run_id, 'vanished'
  FROM {table} c JOIN gone g ON {self._same_key("c", "g")}
), updated AS (
  UPDATE {table} c SET {self._assignments(rest)} _run_id = :run_id, _changed_at = :now,
    _deleted_at = NULL, _seq = DEFAULT
  FROM diff d WHERE d._known AND {self._same_key("c", "d")}
), buried AS (
  UPDATE {table} c SET _run_id = :run_id, _changed_at = :now, _deleted_at = :now,
    _seq = DEFAULT
  FROM gone g WHERE {self._same_key("c", "g")}
), added AS (
  INSERT INTO {table} ({quote_all(self._columns)}, _run_id, _first_seen_at, _changed_at)
  SELECT {self._list("d")}, :run_id, :now, :now FROM diff d WHERE NOT d._known
)
SELECT count(*) FILTER (WHERE NOT _known OR _was_deleted IS NOT NULL) AS inserted,
  count(*) FILTER (WHERE _known AND _was_deleted IS NULL) AS changed,
  (SELECT count(*) FROM gone) AS vanished
FROM diff"""

    def _vanished(self) -> str:
        """Return SQL for living rows that the answer no longer has; none for an upsert."""
        keys = self._list("c", self._keys)
        if self.load_mode is LoadMode.UPSERT:
            return f"SELECT {keys} FROM {self.names.table} c WHERE false"
        return (
            f"SELECT {keys} FROM {self.names.table} c WHERE c._deleted_at IS NULL AND NOT"
            f" EXISTS (SELECT FROM {self.names.stage} s WHERE {self._same_key('s', 'c')})"
        )

    def _assignments(self, columns: Sequence[str]) -> str:
        return "".join(f"{quote(c)} = d.{quote(c)}, " for c in columns)


def settle_duplicates(session: Session, merge: Merge) -> tuple[int, list[Rejected]]:
    """Deal with keys that the answer holds more than once.

    Returns how many exact repetitions were dropped, and the records of each key that came
    with different values: which of them is right nobody can know, so none is published.
    """
    if session.execute(sa.text(merge.duplicates() + " LIMIT 1")).first() is None:
        return 0, []
    dropped: Any = session.execute(sa.text(merge.drop_repeated()))
    conflicting = session.execute(sa.text(merge.reject_conflicting())).all()
    error = FieldError(
        ", ".join(keys_of(merge.fields)),
        "key_conflict",
        "Another record of the same answer has this key and other values.",
        {},
    )
    rejected = [
        Rejected(row[0], row.raw.encode(), (error,), tuple(row[1:-1]))
        for row in conflicting
    ]
    return int(dropped.rowcount), rejected


def quarantine_conflicts(
    session: Session, run_id: UUID, rejected: Sequence[Rejected], **owner: UUID
) -> None:
    """Set conflicting records aside under the page and place at which they stood."""
    for bad in rejected:
        page, position = (
            bad.position >> PAGE_SHIFT,
            bad.position & ((1 << PAGE_SHIFT) - 1),
        )
        placed = Rejected(position, bad.raw, bad.errors, bad.key)
        quarantine(session, run_id, page, [placed], **owner)


def merge_stage(session: Session, merge: Merge, run_id: UUID) -> Counts:
    """Run the merge; return inserted, changed and vanished."""
    # A fresh stage has no statistics; without them the planner may loop over it row by row.
    session.execute(sa.text("SET LOCAL enable_nestloop = off"))
    session.execute(sa.text("SET LOCAL work_mem = '64MB'"))
    now = session.execute(sa.text("SELECT clock_timestamp()")).scalar_one()
    row = session.execute(
        sa.text(merge.statement()), {"run_id": run_id, "now": now}
    ).one()
    return Counts(inserted=row.inserted, changed=row.changed, vanished=row.vanished)
