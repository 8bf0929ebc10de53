"""``./simpul verify``: does what is stored hold? The chain of seals, and invariants.

Every check names itself in two languages and lists what breaks it. Exit status 0 when all
hold, 1 when one does not. It only reads.
"""

import argparse
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import sqlalchemy as sa
from sqlalchemy.orm import Session

from app.audit import anchors, sealer
from app.core import db
from app.core.policy import COMMAND_LINE, acting_as
from app.core.sql import quote_all
from app.datasets.ddl import Names, keys_of
from app.datasets.models import Dataset
from jobs import runtime

MOST_SHOWN = 5
BREAKS = {
    "seal_missing": "segel hilang / a seal is missing",
    "rows_changed": "baris diubah atau hilang / rows were changed or are gone",
    "chain_broken": "segel diubah / the seal was changed",
}


class Check(NamedTuple):
    """One check: its name, and a function that yields a line for each fault."""

    name: str
    faults: Callable[[Session, Path], Iterator[str]]


def chain(session: Session, _home: Path) -> Iterator[str]:
    for each in sealer.breaks_of(session):
        yield f"{BREAKS[each.what]}: {each.log}, no. {each.number}"


def anchored(session: Session, home: Path) -> Iterator[str]:
    for each in anchors.kept(home / anchors.FOLDER):
        digest = sealer.digest_of(session, each.seal)
        if digest is None or digest.hex() != each.digest:
            yield f"{each.name}: rantai lain / another chain (no. {each.seal})"


def asked(sql: str) -> Callable[[Session, Path], Iterator[str]]:
    """Make a check of a query that returns a text for each fault."""

    def faults(session: Session, _home: Path) -> Iterator[str]:
        yield from map(str, session.scalars(sa.text(sql)))

    return faults


def counted(session: Session, _home: Path) -> Iterator[str]:
    for dataset in session.scalars(sa.select(Dataset).order_by(Dataset.slug)):
        table = Names(dataset.slug, dataset.version.number).table
        count = session.scalar(
            sa.text(f"SELECT count(*) FROM {table} WHERE _deleted_at IS NULL")
        )
        if count != dataset.row_count:
            yield f"{dataset.slug}: {count} ≠ {dataset.row_count}"


def published_by_known_runs(session: Session, _home: Path) -> Iterator[str]:
    for dataset in session.scalars(sa.select(Dataset).order_by(Dataset.slug)):
        names = Names(dataset.slug, dataset.version.number)
        for table in (names.table, names.history):
            strays = session.scalar(
                sa.text(
                    f"SELECT count(*) FROM {table} t WHERE NOT EXISTS"
                    " (SELECT FROM pull_run p WHERE p.run_id = t._run_id)"
                )
            )
            if strays:
                yield f"{table}: {strays}"


def spans(session: Session, _home: Path) -> Iterator[str]:
    """Yield datasets in which two former values of one row held at the same time."""
    for dataset in session.scalars(sa.select(Dataset).order_by(Dataset.slug)):
        names = Names(dataset.slug, dataset.version.number)
        keys = quote_all(keys_of(dataset.version.specs()))
        overlaps = session.scalar(
            sa.text(
                "SELECT count(*) FROM (SELECT _valid_from, _valid_to,"
                f" lag(_valid_to) OVER (PARTITION BY {keys} ORDER BY _valid_to) AS before"
                f" FROM {names.history}) h"
                " WHERE _valid_from > _valid_to OR before > _valid_from"
            )
        )
        if overlaps:
            yield f"{dataset.slug}: {overlaps}"


CHECKS = (
    Check("rantai segel utuh / the chain of seals is whole", chain),
    Check("jangkar harian cocok / the daily anchors agree", anchored),
    Check(
        "catatan tersegel dalam semenit / log rows are sealed within a minute",
        asked(
            "SELECT log || ' ' || id FROM (SELECT 'audit_event' AS log, id, at"
            " FROM audit_event UNION ALL SELECT 'exchange_log', id, at FROM exchange_log) l"
            " WHERE at < clock_timestamp() - interval '1 minute'"
            " EXCEPT SELECT log || ' ' || unnest(ids) FROM seal_batch"
        ),
    ),
    Check(
        "tidak ada proses yang tersangkut / no run is stuck",
        asked(
            "SELECT id FROM job_run WHERE status = 'running'"
            " AND lease_until < clock_timestamp() - interval '1 minute'"
        ),
    ),
    Check(
        "antrean bergerak / the queues move",
        asked(
            "SELECT id FROM job_run WHERE status = 'queued' AND rung_at IS NULL"
            " AND not_before < clock_timestamp() - interval '1 minute'"
        ),
    ),
    Check(
        "setiap penarikan yang berhasil punya angkanya / each pull that succeeded has its counts",
        asked(
            "SELECT j.id FROM job_run j WHERE j.kind = 'pull' AND j.status = 'succeeded'"
            " AND NOT EXISTS (SELECT FROM pull_run p WHERE p.run_id = j.id)"
        ),
    ),
    Check(
        "angka penarikan berjumlah benar / the counts of pulls add up",
        asked(
            "SELECT run_id FROM pull_run WHERE read_count <> inserted_count + changed_count"
            " + unchanged_count + rejected_count + repeated_count"
        ),
    ),
    Check(
        "jumlah baris himpunan data benar / the datasets' row counts are right", counted
    ),
    Check(
        "setiap baris berasal dari penarikan yang dikenal / each row comes of a known pull",
        published_by_known_runs,
    ),
    Check("riwayat tidak bertumpuk / spans of the history do not overlap", spans),
)


def main(arguments: Sequence[str]) -> int:
    argparse.ArgumentParser(
        prog="simpul verify", description="Periksa yang tersimpan / check what is stored"
    ).parse_args(arguments)
    home = runtime.start().settings.home
    fine = True
    with acting_as(COMMAND_LINE):
        for check in CHECKS:
            with db.unit_of_work() as session:
                faults = list(check.faults(session, home))
            fine = fine and not faults
            print(f"{'NOT' if faults else 'ok '} {check.name}")
            for fault in faults[:MOST_SHOWN]:
                print(f"      {fault}")
            if len(faults) > MOST_SHOWN:
                print(f"      … ({len(faults)})")
    return 0 if fine else 1
