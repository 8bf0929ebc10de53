"""openpyxl and XlsxWriter at their best for long sheets. Runs in the peers' environment."""

import os
import tempfile
import time
from collections.abc import Callable, Iterator
from typing import Any

import openpyxl
import psycopg
import xlsxwriter

from bench.lab import records
from bench.lab.program import answer

BATCH = 5_000
Rows = Iterator[tuple[Any, ...]]


def _rows(slug: str, limit: int) -> Rows:
    """Read as our export does: one server-side cursor, in key order."""
    columns = ", ".join(f'"{name}"' for name, _ in records.FIELDS)
    with (
        psycopg.connect(os.environ["BENCH_ADMIN_URL"]) as connection,
        connection.cursor(name="peer") as cursor,
    ):
        cursor.execute(f'SELECT {columns} FROM data."{slug}" ORDER BY nip LIMIT {limit}')
        while batch := cursor.fetchmany(BATCH):
            yield from batch


def _openpyxl(path: str, rows: Rows) -> None:
    book = openpyxl.Workbook(write_only=True)
    sheet = book.create_sheet("Data")
    sheet.append([name for name, _ in records.FIELDS])
    for row in rows:
        sheet.append(row)
    book.save(path)


def _xlsxwriter(path: str, rows: Rows) -> None:
    book = xlsxwriter.Workbook(
        path, {"constant_memory": True, "strings_to_formulas": False}
    )
    sheet = book.add_worksheet("Data")
    dated = book.add_format({"num_format": "yyyy-mm-dd"})
    dates = [kind == "date" for _, kind in records.FIELDS]
    for column, (name, _) in enumerate(records.FIELDS):
        sheet.write_string(0, column, name)
    for number, row in enumerate(rows, 1):
        for column, value in enumerate(row):
            if dates[column]:
                sheet.write_datetime(number, column, value, dated)
            else:
                sheet.write(number, column, value)
    book.close()


WRITERS: dict[str, Callable[[str, Rows], None]] = {
    "openpyxl write-only": _openpyxl,
    "xlsxwriter constant-memory": _xlsxwriter,
}


def export(name: str, slug: str, rows: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        begun = time.perf_counter()
        WRITERS[name](f"{folder}/x.xlsx", _rows(slug, rows))
        return {"seconds": time.perf_counter() - begun}


if __name__ == "__main__":
    answer(lambda question: export(**question))
