"""Datasette as it is measured: the same rows in SQLite, one process for each of ours."""

import sqlite3
import sys

from bench.lab import records

KINDS = {"number": "REAL", "boolean": "INTEGER"}


def fill(path: str, rows: int) -> None:
    """Write the rows into a table with the same key."""
    columns = ", ".join(
        f"{name} {KINDS.get(kind, 'TEXT')}{' PRIMARY KEY' if name == 'nip' else ''}"
        for name, kind in records.FIELDS
    )
    marks = ", ".join("?" for _ in records.FIELDS)
    with sqlite3.connect(path) as database:
        database.execute("PRAGMA journal_mode = WAL")
        database.execute(f"CREATE TABLE pegawai ({columns})")
        database.executemany(
            f"INSERT INTO pegawai VALUES ({marks})",
            (tuple(each.values()) for each in records.all_records(rows)),
        )
    database.close()


if __name__ == "__main__":
    fill(sys.argv[1], int(sys.argv[2]))
