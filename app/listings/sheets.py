"""Reading a table that somebody sends, and giving it back with remarks.

What people send is opened by a process of its own with little memory and time: a workbook
of a few kilobytes can unpack to gigabytes, and its parser must not take the server along.
The process is this module itself: ``python -m app.listings.sheets read < FILE > JSON``.
"""

import csv
import io
import json
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from defusedxml import DefusedXmlException

from app.core import confined, workbooks
from app.core.confined import RefusedHereError
from app.core.errors import RejectedError
from app.core.words import message_id
from app.core.workbooks import MAX_CELL, Bounds, Line, text_of

MAX_ROWS = 1_000
MAX_COLUMNS = 100
_BEGIN = 1 << 16  # characters that are looked at to tell what a text is
HEAD_WITHIN = 20  # rows, for a title above the table
_BOUNDS = Bounds(MAX_ROWS + HEAD_WITHIN + 2, MAX_COLUMNS + 1)
WRONG = "FFF4B6B6"  # the colour of a cell that is refused

REFUSALS = {
    "empty": message_id("The file holds no table: a row of column names and rows below it."),
    "kind": message_id("This is neither an Excel workbook (.xlsx) nor a CSV file."),
    "old": message_id(
        "This is an old Excel file (.xls), or one with a password: save it as .xlsx without"
        " a password."
    ),
    "broken": message_id("The workbook is damaged and cannot be read: save it anew."),
    "bomb": message_id(
        "The workbook unpacks to far more than it should: copy the table alone into a new"
        " workbook."
    ),
    "entities": message_id(
        "The workbook holds a document type or entities, which no spreadsheet program"
        " writes: save it anew from Excel or LibreOffice."
    ),
    "places": message_id("The workbook is damaged and cannot be read: save it anew."),
    "rows": message_id("The table has more than %(limit)s rows: split the file."),
    "columns": message_id("The table has more than %(limit)s columns."),
    "twice": message_id("Two columns are called %(what)s: rename one of them."),
    "cell": message_id("A cell holds more than %(limit)s characters."),
    "letters": message_id(
        "The text cannot be read as UTF-8 nor as Windows text: save it as “CSV UTF-8”."
    ),
    "giant": message_id("The file needs too much memory or time to be read: split it."),
}  # fmt: skip
_LIMITS = {"rows": MAX_ROWS, "columns": MAX_COLUMNS, "cell": MAX_CELL}


class SheetRefusedError(RejectedError):
    code = "sheet_refused"

    def __init__(self, why: str, what: str = "") -> None:
        self.code = f"sheet_{why}"
        self.why, self.what = why, what
        params: dict[str, Any] = {"limit": _LIMITS[why]} if why in _LIMITS else {}
        if what:
            params["what"] = what
        super().__init__(REFUSALS[why], **params)


@dataclass(frozen=True, slots=True)
class Table:
    """A table as it was sent. ``sheet``: of which the table is; others were not read."""

    headers: list[str]
    lines: list[Line]
    sheet: str
    others: list[str]

    def as_json(self) -> dict[str, Any]:
        return {
            "headers": self.headers,
            "lines": self.lines,
            "sheet": self.sheet,
            "others": self.others,
        }

    @classmethod
    def of(cls, raw: dict[str, Any]) -> "Table":
        lines = [Line(*each) for each in raw["lines"]]
        return cls(raw["headers"], lines, raw["sheet"], raw["others"])


class Remark(NamedTuple):
    """What is wrong with a row of the file, and in which of its columns (from 0)."""

    number: int
    text: str
    columns: list[int]


def read(content: bytes) -> Table:
    """Read a workbook or a CSV file; raises ``SheetRefusedError``."""
    return Table.of(json.loads(_in_child("read", content)))


def remarked(content: bytes, heading: str, remarks: Sequence[Remark]) -> bytes:
    """Return somebody's own file as a workbook: a column of remarks more, wrong cells coloured."""
    asked = json.dumps({"heading": heading, "remarks": remarks}).encode()
    return _in_child("remark", len(asked).to_bytes(4, "big") + asked + content)


def empty(heads: Sequence[str]) -> bytes:
    """Return a workbook that has only the heads of a table; all its cells take text."""
    book = _as_workbook(Table(list(heads), [], "", []))
    file = io.BytesIO()
    book.save(file)
    return file.getvalue()


def _in_child(what: str, sent: bytes) -> bytes:
    try:
        return confined.run("app.listings.sheets", [what], sent)
    except RefusedHereError as error:
        raise SheetRefusedError(error.why, error.what) from None


# In the process of its own -------------------------------------------------------------


def _table_of(content: bytes) -> Table:
    if content.startswith(b"PK"):
        return _of_workbook(content)
    if content.startswith(b"\xd0\xcf\x11\xe0"):
        raise SheetRefusedError("old")
    return _of_text(content)


def _of_workbook(content: bytes) -> Table:
    workbooks.require_workbook(content)
    book = workbooks.open_book(content, read_only=True)
    found = [
        (sheet, lines)
        for sheet in book.worksheets
        if sheet.sheet_state == "visible"
        and (lines := list(workbooks.lines_of(sheet, _BOUNDS)))
    ]
    if not found:
        raise SheetRefusedError("empty")
    sheet, lines = found[0]
    lines = workbooks.with_dead_formulas(content, sheet.title, lines, _BOUNDS)
    return _table(lines, sheet.title, [each.title for each, _lines in found[1:]])


def _of_text(content: bytes) -> Table:
    text = _decoded(content)
    begin = text[:_BEGIN]
    separator = max(";,\t|", key=begin.split("\n", 1)[0].count)
    try:
        csv.field_size_limit(MAX_CELL * 4)
        rows = csv.reader(io.StringIO(text), delimiter=separator, strict=True)
        lines = []
        for row in rows:
            texts = [text_of(each) for each in row[: MAX_COLUMNS + 1]]
            if any(texts):
                lines.append(Line(rows.line_num, texts, []))
            if len(lines) > MAX_ROWS + HEAD_WITHIN:
                raise SheetRefusedError("rows")
    except csv.Error:
        raise SheetRefusedError("kind") from None
    return _table(lines, "", [])


def _decoded(content: bytes) -> str:
    if b"\0" in content[:_BEGIN] and not content.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise SheetRefusedError("kind")
    wide = content.startswith((b"\xff\xfe", b"\xfe\xff"))
    for encoding in ("utf-16",) if wide else ("utf-8-sig", "cp1252"):
        try:
            return content.decode(encoding)
        except UnicodeDecodeError:
            continue
    raise SheetRefusedError("letters")


def _table(lines: list[Line], sheet: str, others: list[str]) -> Table:
    """Take the first row with more than one cell for the names of the columns."""
    head = next(
        (
            n
            for n, each in enumerate(lines[:HEAD_WITHIN])
            if sum(map(bool, each.cells)) > 1
        ),
        0,
    )
    if len(lines) < head + 2:
        raise SheetRefusedError("empty")
    names = lines[head].cells
    while names and not names[-1]:
        names = names[:-1]
    if len(names) > MAX_COLUMNS:
        raise SheetRefusedError("columns")
    folded = [each.casefold() for each in names if each]
    twice = next(
        (each for each in names if each and folded.count(each.casefold()) > 1), None
    )
    if twice is not None:
        raise SheetRefusedError("twice", twice[:80])
    rest = lines[head + 1 :]
    if len(rest) > MAX_ROWS:
        raise SheetRefusedError("rows")
    width = len(names)
    return Table(
        names,
        [Line(n, (cells + [""] * width)[:width], faults) for n, cells, faults in rest],
        sheet,
        others,
    )


_UNFIT = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")  # no workbook holds these


def _with_remarks(sent: bytes) -> bytes:
    size = int.from_bytes(sent[:4], "big")
    asked, content = json.loads(sent[4 : 4 + size]), sent[4 + size :]
    remarks = [Remark(*each) for each in asked["remarks"]]
    if content.startswith(b"PK"):
        table = _of_workbook(content)
        book = workbooks.open_book(content, read_only=False)
        sheet = book[table.sheet]
        head = next(_head_numbers(sheet, table.headers))
    else:
        table, head = _of_text(content), 1
        book = _as_workbook(table)
        sheet = book.active
        at = {line.number: n for n, line in enumerate(table.lines, 2)}
        remarks = [each._replace(number=at[each.number]) for each in remarks]
    column = _remarks_column(sheet, head, table.headers, asked["heading"])
    _write_remarks(sheet, head, column, asked["heading"], remarks)
    file = io.BytesIO()
    book.save(file)
    return file.getvalue()


def _remarks_column(sheet: Any, head: int, headers: Sequence[str], heading: str) -> int:
    """Return where remarks go: where they stood in an earlier round, or a column of nobody's."""
    if heading in headers:
        return list(headers).index(heading) + 1
    column = len(headers) + 1
    while any(
        sheet.cell(row, column).value is not None
        for row in range(head, sheet.max_row + 1)
    ):
        column += 1
    return column


def _head_numbers(sheet: Any, headers: Iterable[str]) -> Iterator[int]:
    wanted = list(headers)
    for number, row in enumerate(
        sheet.iter_rows(max_row=HEAD_WITHIN * 5, values_only=True), 1
    ):
        if [text_of(value) for value in row[: len(wanted)]] == wanted:
            yield number
    yield 1


def _as_workbook(table: Table) -> Any:
    """Return a text file's table as a workbook: texts all of them, nothing is a formula."""
    import openpyxl

    book = openpyxl.Workbook()
    for number, cells in enumerate(
        [table.headers, *(line.cells for line in table.lines)], 1
    ):
        for column, text in enumerate(cells, 1):
            _put(book.active, number, column, text)
    return book


def _put(sheet: Any, row: int, column: int, text: str) -> Any:
    cell = sheet.cell(row, column)
    cell.value = _UNFIT.sub("", text)
    cell.data_type = "s"
    cell.number_format = "@"
    return cell


def _write_remarks(
    sheet: Any, head: int, column: int, heading: str, remarks: Sequence[Remark]
) -> None:
    from openpyxl.styles import Alignment, Font, PatternFill
    from openpyxl.utils import get_column_letter

    red = PatternFill("solid", start_color=WRONG)
    for merged in list(sheet.merged_cells.ranges):  # such a cell takes no text
        if merged.min_col <= column <= merged.max_col:
            sheet.unmerge_cells(str(merged))
    for row in range(head, sheet.max_row + 1):  # of an earlier round
        sheet.cell(row, column).value = None
    _put(sheet, head, column, heading).font = Font(bold=True)
    for remark in remarks:
        cell = _put(sheet, remark.number, column, remark.text)
        cell.alignment = Alignment(wrap_text=True, vertical="top")
        for wrong in remark.columns:
            sheet.cell(remark.number, wrong + 1).fill = red
    sheet.column_dimensions[get_column_letter(column)].width = 60


def main(what: str) -> int:
    """Do one thing with what comes in, and write what comes of it, or why nothing does."""
    confined.confine()
    sent = sys.stdin.buffer.read()
    try:
        out = (
            json.dumps(_table_of(sent).as_json()).encode()
            if what == "read"
            else _with_remarks(sent)
        )
    except RefusedHereError as error:
        return confined.refuse(error)
    except SheetRefusedError as error:
        return confined.refuse(RefusedHereError(error.why, error.what))
    except DefusedXmlException:
        return confined.refuse(RefusedHereError("entities"))
    except MemoryError:
        return confined.refuse(RefusedHereError("giant"))
    sys.stdout.buffer.write(out)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
