"""Bringing a dataset back to how it stood after an earlier publish.

Nothing is forgotten: the rows that are replaced go to the history as in a pull, and get new
numbers in the change feed, so that whoever reads by changes learns of it.
"""

from collections.abc import Sequence
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Session

from app.contracts.fields import FieldSpec
from app.core import db, faults
from app.core.sql import quote, quote_all
from app.datasets.ddl import Names, keys_of
from app.datasets.models import Dataset
from app.pulls.errors import NotReturnableError
from app.pulls.gate import Counts
from app.pulls.models import PullRun
from app.pulls.publish import record_publish
from app.runs.ledger import Lease
from app.sources.models import Source


def roll_back(lease: Lease) -> None:
    """Bring the dataset of ``lease.params`` back, and end the run, in one transaction."""
    with db.unit_of_work() as session:
        lease.save(session)
        dataset = session.scalars(
            sa.select(Dataset)
            .where(Dataset.id == lease.params.dataset_id)
            .with_for_update(of=Dataset)
        ).one()
        target = session.get_one(PullRun, lease.params.to_run_id)
        require_returnable(dataset, target)
        restored = _restore(session, dataset, target, lease.run_id)
        _forget_marks(session, dataset)
        faults.point("restored")
        _close(session, lease, dataset, target, restored)
        faults.point("restored_written")
    faults.point("rolled_back")


def _forget_marks(session: Session, dataset: Dataset) -> None:
    """What changed since then is not there any more: it must be asked for again.

    Here as well as in the request: a pull may have been published in between.
    """
    session.execute(
        sa.update(Source)
        .where(Source.contract_id == dataset.contract_id)
        .values(mark=None)
        # The roll-back is the record of it.
        .execution_options(audited=True, synchronize_session=False)
    )


def require_returnable(dataset: Dataset, target: PullRun) -> None:
    """Raise ``NotReturnableError`` when the dataset cannot be as it was after ``target``."""
    if target.dataset_id != dataset.id or target.published_at is None:
        raise NotReturnableError("This pull did not publish anything into this dataset.")
    if target.run_id == dataset.published_run_id:
        raise NotReturnableError("The dataset stands as this pull published it.")
    if target.version_id != dataset.version_id:
        raise NotReturnableError(
            "The contract has another version since: its fields are not those of then."
        )


def _restore(session: Session, dataset: Dataset, target: PullRun, run_id: UUID) -> Counts:
    names = Names(dataset.slug, dataset.version.number)
    sql = _restore_sql(names, dataset.version.specs())
    marks = {"then": target.published_at, "now": db.now(session), "run_id": run_id}
    back, changed, gone = session.execute(sa.text(sql), marks).one()
    return Counts(read=back + changed, inserted=back, changed=changed, vanished=gone)


def _restore_sql(names: Names, fields: Sequence[FieldSpec]) -> str:
    """Return SQL that undoes what happened to rows after ``:then``.

    A row's values at that moment are in the history if it changed since, except where it
    was a tombstone then (a span that ended as *returned*).
    """
    columns = [each.name for each in fields]
    keys = keys_of(fields)
    rest = [name for name in columns if name not in keys]
    same = " AND ".join(f"h.{quote(k)} = c.{quote(k)}" for k in keys)
    old = "".join(f", h.{quote(c)} AS {quote(c)}" for c in rest)
    kept = ", ".join(f"c.{quote(c)}" for c in columns)
    now_values = ", ".join(f"c.{quote(c)}" for c in rest)
    then_values = ", ".join(f"h.{quote(c)}" for c in rest)
    differs = f"({now_values}) IS DISTINCT FROM ({then_values})" if rest else "false"
    assignments = "".join(f"{quote(c)} = d.{quote(c)}, " for c in rest)
    return f"""
WITH diff AS MATERIALIZED (
  SELECT c.ctid AS _at, c._deleted_at AS _dead, h._run_id IS NOT NULL AS _was_there{old}
  FROM {names.table} c LEFT JOIN {names.history} h ON {same}
    AND h._valid_from <= :then AND h._valid_to > :then
    AND h._ended_as IN ('changed', 'vanished')
  WHERE c._changed_at > :then AND CASE WHEN h._run_id IS NULL THEN c._deleted_at IS NULL
    ELSE c._deleted_at IS NOT NULL OR {differs} END
), kept AS (
  INSERT INTO {names.history} ({quote_all(columns)}, _run_id, _valid_from, _valid_to,
    _ended_by, _ended_as)
  SELECT {kept}, c._run_id, c._changed_at, :now, :run_id,
    CASE WHEN c._deleted_at IS NOT NULL THEN 'returned'
      WHEN d._was_there THEN 'changed' ELSE 'vanished' END
  FROM {names.table} c JOIN diff d ON c.ctid = d._at
), back AS (
  UPDATE {names.table} c SET {assignments}_run_id = :run_id, _changed_at = :now,
    _deleted_at = NULL, _seq = DEFAULT
  FROM diff d WHERE c.ctid = d._at AND d._was_there
), buried AS (
  UPDATE {names.table} c SET _run_id = :run_id, _changed_at = :now, _deleted_at = :now,
    _seq = DEFAULT
  FROM diff d WHERE c.ctid = d._at AND NOT d._was_there
)
SELECT count(*) FILTER (WHERE _was_there AND _dead IS NOT NULL) AS inserted,
  count(*) FILTER (WHERE _was_there AND _dead IS NULL) AS changed,
  count(*) FILTER (WHERE NOT _was_there) AS vanished
FROM diff"""


def _close(
    session: Session, lease: Lease, dataset: Dataset, target: PullRun, restored: Counts
) -> None:
    """Write counters and the dataset's state, and end the run.

    Another published run than the pull's: its digests stand for no rows any more.
    """
    numbers = record_publish(
        session,
        lease.run_id,
        restored,
        dataset_id=dataset.id,
        version_id=dataset.version_id,
        source_id=target.source_id,
        agency_id=dataset.agency_id,
    )
    lease.log_in(
        session,
        "Rolled back: %(inserted)s rows are back, %(changed)s have their former values,"
        " %(vanished)s are gone again.",
        inserted=restored.inserted,
        changed=restored.changed,
        vanished=restored.vanished,
    )
    lease.succeed(session, numbers)
