"""Opening workbooks that others send; only ever in a process that is confined.

Cells come as texts, as somebody would type them. Raises ``RefusedHereError``: what
``archives.names_in`` raises, ``kind`` for what is no workbook, ``cell`` for a cell that holds
too much.
"""

import io
from collections.abc import Iterator
from datetime import date, datetime, time
from typing import Any, NamedTuple

from app.core import archives
from app.core.confined import RefusedHereError

MAX_CELL = 5_000  # characters


class Line(NamedTuple):
    """A row of a table: its number in the file, and its cells as texts.

    ``faults``: which cells hold an error of Excel's, such as #REF!, or a formula that was
    never worked out.
    """

    number: int
    cells: list[str]
    faults: list[int]


class Bounds(NamedTuple):
    """How many rows and columns of a sheet are looked at; where it says that it ends is not
    believed.
    """

    rows: int
    columns: int


def require_workbook(content: bytes) -> None:
    """Refuse what is no workbook, or unpacks to far more than it should."""
    if "xl/workbook.xml" not in archives.names_in(content):
        raise RefusedHereError("kind")


def open_book(content: bytes, *, read_only: bool, values: bool = True) -> Any:
    """Open a workbook; ``values``: of formulas what they came to, where it is read only."""
    import openpyxl

    if not openpyxl.DEFUSEDXML:
        raise RuntimeError("defusedxml is missing: workbooks of others are not opened")
    return openpyxl.load_workbook(
        io.BytesIO(content),
        read_only=read_only,
        data_only=read_only and values,
        keep_links=False,
    )


def lines_of(sheet: Any, bounds: Bounds) -> Iterator[Line]:
    """Yield the rows that hold something."""
    if hasattr(sheet, "reset_dimensions"):
        sheet.reset_dimensions()
    for number, row in enumerate(sheet.iter_rows(max_row=bounds.rows), 1):
        some = row[: bounds.columns]
        faults = [n for n, cell in enumerate(some) if cell.data_type == "e"]
        texts = [text_of(cell.value) for cell in some]
        if any(texts):
            yield Line(number, texts, faults)


def with_dead_formulas(
    content: bytes, title: str, lines: list[Line], bounds: Bounds
) -> list[Line]:
    """Return the lines with formulas that no program has worked out among their faults."""
    dead = _formulas(content, title, bounds)
    return [
        Line(n, cells, [*faults, *(c for c in dead.get(n, ()) if not cells[c])])
        for n, cells, faults in lines
    ]


def _formulas(content: bytes, title: str, bounds: Bounds) -> dict[int, list[int]]:
    """Return the cells with formulas by row."""
    sheet = open_book(content, read_only=True, values=False)[title]
    sheet.reset_dimensions()
    found = {
        number: [
            n for n, cell in enumerate(row[: bounds.columns]) if cell.data_type == "f"
        ]
        for number, row in enumerate(sheet.iter_rows(max_row=bounds.rows), 1)
    }
    return {number: columns for number, columns in found.items() if columns}


def text_of(value: Any) -> str:
    """Return a cell as somebody would type it; days and times as ISO has them."""
    match value:
        case None:
            return ""
        case bool():
            return "1" if value else "0"
        case float():
            return (
                str(int(value))
                if value.is_integer() and abs(value) < 1e15
                else repr(value)
            )
        case datetime():
            is_day = value.time() == time()
            return value.date().isoformat() if is_day else value.isoformat(" ", "minutes")
        case date() | time():
            return value.isoformat()
    text = str(value).replace("\0", "").strip()
    if len(text) > MAX_CELL:
        raise RefusedHereError("cell")
    return text
