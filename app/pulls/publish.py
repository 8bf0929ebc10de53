"""Publishing: the stage becomes the central table in one transaction, or nothing does.

Only rows that differ are written. A changed row's former values go to the history with
the span in which they held; a vanished row stays as a tombstone with ``_deleted_at``.
"""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Session

from app.contracts.decoder import Rejected
from app.contracts.field_rules import FieldError
from app.contracts.fields import FieldSpec
from app.contracts.states import FieldType, LoadMode
from app.core import db
from app.core.sql import literal, quote, quote_all
from app.datasets.ddl import Names, keys_of
from app.datasets.models import Dataset
from app.pulls.gate import Counts
from app.pulls.models import PullRun


@dataclass(frozen=True, slots=True)
class Merge:
    """SQL of one pull's merge.

    ``read`` records came, ``known`` ones of them have living rows of their own, each
    another; ``fresh`` ones may have any. Only a fresh record can have the key of another record.
    """

    names: Names
    fields: tuple[FieldSpec, ...]
    load_mode: LoadMode
    read: int
    known: int
    fresh: int

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

    def _staged(self, columns: Sequence[str] | None = None) -> str:
        """Return expressions that read the stage ``s``: typed as the central table is."""
        return ", ".join(self._read(each) for each in columns or self._columns)

    def _typed(self) -> str:
        return ", ".join(f"{self._read(each)} AS {quote(each)}" for each in self._columns)

    def _read(self, column: str) -> str:
        staged = f"s.{quote(column)}"
        if column not in self._numbers:
            return staged
        return (
            f"btrim({staged}, '\"')::numeric"  # written with or without quotation marks
        )

    @property
    def _numbers(self) -> set[str]:
        return {each.name for each in self.fields if each.type is FieldType.NUMBER}

    def duplicates(self) -> str:
        """Return SQL for the keys that stand in the stage more than once."""
        keys, stage = quote_all(self._keys), self.names.stage
        suspects = (
            f" AND ({keys}) IN (SELECT {keys} FROM {stage}"
            " WHERE NOT _rejected AND NOT _known)"
            if self.known
            else ""
        )
        return (
            f"SELECT {keys} FROM {stage} WHERE NOT _rejected{suspects}"
            f" GROUP BY {keys} HAVING count(*) > 1"
        )

    def fill_known(self) -> str:
        """Return SQL that gives known records with a key twice the values of their rows.

        Of a known record the stage has the key alone; what it is compared with has more.
        """
        rest = [column for column in self._columns if column not in self._keys]
        values = "".join(
            f"{quote(c)} = c.{quote(c)}{'::text' if c in self._numbers else ''}, "
            for c in rest
        )
        return (
            f"WITH twice AS ({self.duplicates()})"
            f" UPDATE {self.names.stage} s SET {values} _known = false"
            f" FROM twice t JOIN {self.names.table} c ON {self._same_key('c', 't')}"
            f" WHERE s._known AND {self._same_key('s', 't')}"
        )

    def drop_repeated(self) -> str:
        """Return SQL that leaves the first of exactly equal rows of a key.

        It returns the places of those it drops.
        """
        return (
            f"WITH twice AS ({self.duplicates()}), ranked AS (SELECT s.ctid AS at,"
            f" row_number() OVER (PARTITION BY {self._staged()} ORDER BY s._place) AS n"
            f" FROM {self.names.stage} s JOIN twice t ON {self._same_key('s', 't')}"
            " WHERE NOT s._rejected)"
            f" DELETE FROM {self.names.stage} s USING ranked r"
            " WHERE s.ctid = r.at AND r.n > 1 RETURNING s._place"
        )

    def reject_conflicting(self) -> str:
        """Return SQL that marks rows of one key with different values: none can be trusted."""
        return (
            f"WITH twice AS ({self.duplicates()})"
            f" UPDATE {self.names.stage} s SET _rejected = true FROM twice t"
            f" WHERE {self._same_key('s', 't')} AND NOT s._rejected"
            f" RETURNING s._place, {self._list('s', self._keys)},"
            f" ({self._as_json()})::text AS raw"
        )

    def _as_json(self) -> str:
        """Return an expression for a stage row's values; a function takes 100 arguments."""
        pairs = [f"'{each}', {self._read(each)}" for each in self._columns]
        return " || ".join(
            f"jsonb_build_object({', '.join(pairs[at : at + 50])})"
            for at in range(0, len(pairs), 50)
        )

    def fill(self) -> str:
        """Return SQL that puts the stage into a central table without any row.

        Numbers of changes are drawn at once for all records, not one by one: ``:seq`` is
        the first of them.
        """
        return (
            f"INSERT INTO {self.names.table} ({quote_all(self._columns)}, _run_id,"
            " _first_seen_at, _changed_at, _seq)"
            f" SELECT {self._staged()}, :run_id, :now, :now, :seq + s._place"
            f" FROM {self.names.stage} s WHERE NOT s._rejected"
        )

    def draw_numbers(self) -> str:
        """Return SQL that draws a number of changes for each record that came."""
        sequence = literal(self.names.sequence)
        return f"SELECT setval({sequence}, nextval({sequence}) + :read) - :read AS first"

    def still_there(self) -> str:
        """Return SQL that counts the living rows of fresh records."""
        return (
            f"SELECT count(*) FROM {self.names.stage} s JOIN {self.names.table} c"
            f" ON {self._same_key('c', 's')} WHERE NOT s._rejected AND NOT s._known"
            " AND c._deleted_at IS NULL"
        )

    def bury(self) -> str:
        """Return SQL that makes tombstones of living rows that the answer no longer has."""
        table, stage = self.names.table, self.names.stage
        return f"""
WITH gone AS MATERIALIZED (
  SELECT c.ctid AS _at FROM {table} c WHERE c._deleted_at IS NULL AND NOT EXISTS
    (SELECT FROM {stage} s WHERE {self._same_key("s", "c")})
), kept AS (
  {self._keep("'vanished'", "gone")}
), buried AS (
  UPDATE {table} c SET _run_id = :run_id, _changed_at = :now, _deleted_at = :now,
    _seq = DEFAULT
  FROM gone g WHERE c.ctid = g._at
)
SELECT count(*) AS vanished FROM gone"""

    def merge(self) -> str:
        """Return SQL that writes new and changed rows, and the history of the latter."""
        table, stage = self.names.table, self.names.stage
        rest = [column for column in self._columns if column not in self._keys]
        differs = (
            f"({self._list('c', rest)}) IS DISTINCT FROM ({self._staged(rest)})"
            if rest
            else "false"
        )
        return f"""
WITH diff AS MATERIALIZED (
  SELECT {self._typed()}, c.ctid AS _at, c._deleted_at AS _was_deleted
  FROM {stage} s LEFT JOIN {table} c ON {self._same_key("c", "s")}
  WHERE NOT s._rejected AND NOT s._known
    AND (c._seq IS NULL OR c._deleted_at IS NOT NULL OR {differs})
), kept AS (
  {self._keep("CASE WHEN c._deleted_at IS NULL THEN 'changed' ELSE 'returned' END", "diff")}
), updated AS (
  UPDATE {table} c SET {self._assignments(rest)} _run_id = :run_id, _changed_at = :now,
    _deleted_at = NULL, _seq = DEFAULT
  FROM diff d WHERE c.ctid = d._at
), added AS (
  INSERT INTO {table} ({quote_all(self._columns)}, _run_id, _first_seen_at, _changed_at)
  SELECT {self._list("d")}, :run_id, :now, :now FROM diff d WHERE d._at IS NULL
)
SELECT count(*) FILTER (WHERE _at IS NULL OR _was_deleted IS NOT NULL) AS inserted,
  count(*) FILTER (WHERE _at IS NOT NULL AND _was_deleted IS NULL) AS changed
FROM diff"""

    def _keep(self, ended_as: str, ending: str) -> str:
        """Return SQL that writes rows as they were into the history, found by ``ending``.

        By their place in the table: the dataset's row is locked, so nothing moves meanwhile.
        """
        return (
            f"INSERT INTO {self.names.history} ({quote_all(self._columns)}, _run_id,"
            " _valid_from, _valid_to, _ended_by, _ended_as)"
            f" SELECT {self._list('c')}, c._run_id, c._changed_at, :now, :run_id, {ended_as}"
            f" FROM {self.names.table} c JOIN {ending} e ON c.ctid = e._at"
        )

    def _assignments(self, columns: Sequence[str]) -> str:
        return "".join(f"{quote(c)} = d.{quote(c)}, " for c in columns)


@dataclass(frozen=True, slots=True)
class Settled:
    """What became of keys that came twice.

    ``filled`` known records are known no more: others have their keys. ``dropped`` are page and position of exact repetitions. ``conflicting`` are the records of each
    key that came with different values, with the index of their page: which of them is
    right nobody can know, so none is published.
    """

    filled: int = 0
    dropped: Sequence[tuple[int, int]] = ()
    conflicting: Sequence[tuple[int, Rejected]] = ()

    @property
    def unpublished(self) -> dict[int, list[int]]:
        """Positions by page of all records that will not be published."""
        found = defaultdict(list)
        for page, position in self.dropped:
            found[page].append(position)
        for page, bad in self.conflicting:
            found[page].append(bad.position)
        return found


def settle_duplicates(
    session: Session, merge: Merge, page_starts: Sequence[int]
) -> Settled:
    """Deal with keys that the answer holds more than once.

    ``page_starts`` are the places of each page's first record.
    """

    def found_at(place: int) -> tuple[int, int]:
        page = bisect_right(page_starts, place) - 1
        return page, place - page_starts[page]

    if not merge.fresh:
        return Settled()
    _plan_for_stage(session)
    if session.execute(sa.text(merge.duplicates() + " LIMIT 1")).first() is None:
        return Settled()
    filled: Any = session.execute(sa.text(merge.fill_known()))
    dropped = [*map(found_at, session.scalars(sa.text(merge.drop_repeated())))]
    conflicting = session.execute(sa.text(merge.reject_conflicting())).all()
    error = FieldError(
        ", ".join(keys_of(merge.fields)),
        "key_conflict",
        "Another record of the same answer has this key and other values.",
        {},
    )
    rejected = []
    for row in conflicting:
        page, position = found_at(row[0])
        key = tuple(row[1:-1])
        rejected.append((page, Rejected(position, row.raw.encode(), (error,), key)))
    return Settled(filled.rowcount, dropped, rejected)


def _plan_for_stage(session: Session) -> None:
    """A fresh stage has no statistics; without them the planner may loop over its rows."""
    session.execute(
        sa.text(
            "SELECT set_config('enable_nestloop', 'off', true),"
            " set_config('work_mem', '64MB', true)"
        )
    )


def _has_rows(session: Session, names: Names) -> bool:
    """Tell whether the central table has any row, living or dead."""
    found = session.execute(sa.text(f"SELECT EXISTS (SELECT FROM {names.table})"))
    return bool(found.scalar_one())


def merge_stage(session: Session, merge: Merge, run_id: UUID, alive: int) -> Counts:
    """Run the merge; return inserted, changed and vanished. ``alive`` rows were there."""
    _plan_for_stage(session)
    marks = {"run_id": run_id, "now": db.now(session)}
    if not _has_rows(session, merge.names):
        numbers = session.execute(sa.text(merge.draw_numbers()), {"read": merge.read})
        filled: Any = session.execute(
            sa.text(merge.fill()), {**marks, "seq": numbers.scalar_one()}
        )
        return Counts(inserted=filled.rowcount)
    vanished = 0
    if _may_vanish(session, merge, alive):
        vanished = session.execute(sa.text(merge.bury()), marks).scalar_one()
    if not merge.fresh:
        return Counts(vanished=vanished)
    row = session.execute(sa.text(merge.merge()), marks).one()
    return Counts(inserted=row.inserted, changed=row.changed, vanished=vanished)


def _may_vanish(session: Session, merge: Merge, alive: int) -> bool:
    """Tell whether some living row may have no record; counting is cheaper than looking."""
    if merge.load_mode is LoadMode.UPSERT:
        return False
    if not merge.known or merge.known + merge.fresh < alive:
        return True
    still = (
        session.execute(sa.text(merge.still_there())).scalar_one() if merge.fresh else 0
    )
    return bool(merge.known + still != alive)


def record_publish(
    session: Session,
    run_id: UUID,
    counts: Counts,
    *,
    dataset_id: UUID,
    version_id: UUID,
    source_id: UUID,
    agency_id: UUID,
) -> dict[str, int]:
    """Write a publish's counters and the dataset's new state; return the counters by column.

    The dataset stands at this run from now on: digests of any other run are not asked.
    """
    session.execute(
        sa.update(Dataset)
        .where(Dataset.id == dataset_id)
        .values(
            row_count=Dataset.row_count + counts.inserted - counts.vanished,
            published_at=sa.func.clock_timestamp(),
            published_run_id=run_id,
        )
        # The run and its counters are the record of a publish.
        .execution_options(audited=True)
    )
    numbers: dict[str, int] = {
        f"{name}_count": getattr(counts, name)
        for name in (
            "read", "inserted", "changed", "unchanged", "rejected", "repeated", "vanished"
        )
    }  # fmt: skip
    session.execute(
        sa.insert(PullRun).values(
            run_id=run_id,
            agency_id=agency_id,
            source_id=source_id,
            dataset_id=dataset_id,
            version_id=version_id,
            published_at=sa.func.clock_timestamp(),
            **numbers,
        )
    )
    return numbers
