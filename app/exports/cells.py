"""Rows as the XML of a sheet, most of them written by the database itself.

A row whose cells need no second look comes out of COPY as finished XML: nothing of it is
Python's, and that is several times as fast as the fastest writer of cells. Every other row
(a character to escape, a text or number that Excel cannot hold, a date before its calendar)
comes as JSON and is written here, by rules that lose nothing silently.
"""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any

from app.contracts.fields import FieldSpec
from app.contracts.states import FieldType
from app.core.sql import literal, quote

MAX_CELL = 32_767  # UTF-16 units in one cell
MAX_DIGITS = 15  # an Excel number is a binary64: more digits would come back changed
# Excel believes in 29 February 1900 and LibreOffice does not: dates before it are text.
FIRST_DATE = date(1900, 3, 1)
CUT_MARK = " … [DIPOTONG: lihat CSV]"
_DAY_ZERO = date(1899, 12, 30)
_SPECIAL = b"!"  # begins the line of a row that Python writes; XML begins with "<"
_MAX_ARGUMENTS = 50  # of one SQL function; PostgreSQL allows 100
# What a text of a finished row may not have: what XML escapes, what COPY escapes, control
# characters, OOXML's own escapes, blanks at the edges (the texts are joined by DEL).
_UNPLAIN = "[\x01-\x1f&<>\\\\\ufffe\uffff]|_x|^ | $|\x7f | \x7f"
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\ufffe\uffff]")
_LOOKS_ESCAPED = re.compile(r"_(?=x[0-9A-Fa-f]{4}_)")


@dataclass(slots=True)
class Sheets:
    """How the rows of one export are to be written; ``keys`` order them, shown or not.

    ``styles`` are the cell formats of the columns (None: the default one). ``cuts`` counts
    the cells that were too long, by field; filled while rows are written.
    """

    fields: tuple[FieldSpec, ...]
    keys: tuple[FieldSpec, ...]
    styles: tuple[int | None, ...]
    time_zone: str
    rows_per_sheet: int
    cuts: dict[str, int] = field(default_factory=dict)

    def select(self, source: str) -> str:
        """Return the SELECT of all living rows in key order, one line of text each."""
        keys = [each.name for each in self.keys]
        order = ", ".join(quote(key) for key in keys)
        columns = [f"{self._source(each)} AS c{i}" for i, each in enumerate(self.fields)]
        columns += [f"{quote(key)} AS k{i}" for i, key in enumerate(keys)]
        place = f"(row_number() OVER (ORDER BY {order}) - 1) % {self.rows_per_sheet} + 2"
        texts = [quote(f.name) for f in self.fields if f.type is FieldType.TEXT]
        return (
            f"SELECT CASE WHEN {' OR '.join(self._closer_looks())}"
            f" THEN concat('!', n, ' [', {self._json()}, ']')"
            f" ELSE concat('<row r=\"', n, '\">', {self._xml()}, '</row>') END"
            f" FROM (SELECT ({place})::text AS n, {', '.join(columns)},"
            f" {_joined(texts)} AS s FROM {source} WHERE _deleted_at IS NULL) AS r"
            f" ORDER BY {', '.join(f'k{i}' for i in range(len(keys)))}"
        )

    def _source(self, each: FieldSpec) -> str:
        name = quote(each.name)
        if each.type is FieldType.TIMESTAMP:
            return f"timezone({literal(self.time_zone)}, {name})"
        if each.type is FieldType.DATE:
            return f"{name} - {literal(_DAY_ZERO.isoformat())}::date"
        if each.type is FieldType.NUMBER:
            return f"{name}::text"
        return name

    def _closer_looks(self) -> Iterator[str]:
        """Yield conditions, never NULL, under which a row is not finished in SQL."""
        yield f"octet_length(s) > {MAX_CELL}"
        yield f"s ~ {literal(_UNPLAIN)}"
        first = (FIRST_DATE - _DAY_ZERO).days
        for i, each in enumerate(self.fields):
            if each.type is FieldType.NUMBER:
                # NaN and the infinities end with a letter: letters follow digits in ASCII.
                is_word = f"right(c{i}, 1) COLLATE \"C\" > '9'"
                yield f"coalesce(length(c{i}) > {MAX_DIGITS} OR {is_word}, false)"
            elif each.type is FieldType.DATE:
                yield f"coalesce(c{i} < {first}, false)"
            elif each.type is FieldType.TIMESTAMP:
                yield f"coalesce(c{i} < {literal(FIRST_DATE.isoformat())}, false)"

    def _json(self) -> str:
        parts = [f"c{i}" for i in range(len(self.fields))]
        arrays = [
            f"json_build_array({', '.join(some)})::text" for some in _batches(parts)
        ]
        return " || ',' || ".join(arrays)

    def _xml(self) -> str:
        # concat() passes NULL by, so an empty cell is no cell at all.
        cells = [self._cell(i, each.type) for i, each in enumerate(self.fields)]
        return ", ".join(f"concat({', '.join(some)})" for some in _batches(cells))

    def _cell(self, i: int, kind: FieldType) -> str:
        head = f"'<c r=\"{column_letters(i)}' || n || '\"{_style(self.styles[i])}"
        text = f"{head} t=\"inlineStr\"><is><t>' || c{i} || '</t></is></c>'"
        number = f"{head}><v>' || c{i} || '</v></c>'"
        if kind is FieldType.TEXT:
            return text.replace(f"|| c{i} ||", f"|| nullif(c{i}, '') ||")
        if kind is FieldType.INTEGER:
            bound = 10**MAX_DIGITS - 1
            return f"CASE WHEN c{i} BETWEEN -{bound} AND {bound} THEN {number} ELSE {text} END"
        if kind is FieldType.BOOLEAN:
            return f"{head} t=\"b\"><v>' || c{i}::int || '</v></c>'"
        if kind is FieldType.TIMESTAMP:
            since = f"c{i} - {literal(_DAY_ZERO.isoformat())}::timestamp"
            return number.replace(
                f"|| c{i} ||", f"|| date_part('epoch', {since}) / 86400 ||"
            )
        return number

    def finished(self, line: bytes) -> bytes:
        """Return a line of the SELECT, as COPY writes it, as the XML of a row."""
        if not line.startswith(_SPECIAL):
            return line
        # JSON has no bare control characters: COPY had only backslashes to double.
        number, _, values = line[1:].replace(rb"\\", b"\\").partition(b" ")
        flat = [value for part in json.loads(values) for value in part]
        cells = [
            self._written(i, number.decode(), value)
            for i, value in enumerate(flat)
            if value not in {None, ""}
        ]
        return f'<row r="{number.decode()}">{"".join(cells)}</row>\n'.encode()

    def _written(self, i: int, row: str, value: Any) -> str:
        kind, content = self._content(self.fields[i], value)
        head = f'<c r="{column_letters(i)}{row}"{_style(self.styles[i])}'
        if kind != "text":
            mark = ' t="b"' if kind == "boolean" else ""
            return f"{head}{mark}><v>{content}</v></c>"
        return (
            f'{head} t="inlineStr"><is><t xml:space="preserve">{escaped(content)}'
            "</t></is></c>"
        )

    def _content(self, each: FieldSpec, value: Any) -> tuple[str, str]:
        """Return what a cell holds: "number", "boolean" or "text", and its content."""
        if each.type is FieldType.BOOLEAN:
            return "boolean", str(int(value))
        if each.type in {FieldType.INTEGER, FieldType.NUMBER}:
            return ("number" if fits_a_number(str(value)) else "text"), str(value)
        if each.type is FieldType.DATE:
            day = _DAY_ZERO + timedelta(days=value)
            return ("number", str(value)) if day >= FIRST_DATE else ("text", str(day))
        if each.type is FieldType.TIMESTAMP:
            return _moment(datetime.fromisoformat(value))
        fitting = fitting_text(value)
        if fitting != value:
            self.cuts[each.name] = self.cuts.get(each.name, 0) + 1
        return "text", fitting


def _moment(local: datetime) -> tuple[str, str]:
    if local.date() < FIRST_DATE:
        return "text", str(local)
    since = local - datetime.combine(_DAY_ZERO, datetime.min.time())
    return "number", repr(since / timedelta(days=1))


def _style(style: int | None) -> str:
    return "" if style is None else f' s="{style}"'


def _joined(texts: Sequence[str]) -> str:
    """Return SQL for all texts of a row in one, so that one look is enough; never NULL."""
    if not texts:
        return "''"
    parts = [f"concat_ws('\x7f', {', '.join(some)})" for some in _batches(texts)]
    return parts[0] if len(parts) == 1 else _joined(parts)


def _batches(parts: Sequence[str]) -> list[Sequence[str]]:
    return [
        parts[at : at + _MAX_ARGUMENTS] for at in range(0, len(parts), _MAX_ARGUMENTS)
    ]


def column_letters(index: int) -> str:
    """Return a column's letters, counted from 0: A, B, …, Z, AA."""
    letters = ""
    number = index + 1
    while number:
        number, rest = divmod(number - 1, 26)
        letters = chr(ord("A") + rest) + letters
    return letters


def fits_a_number(text: str) -> bool:
    """Tell whether Excel gives back every digit of a number that is written so."""
    digits = text.lstrip("-").replace(".", "")
    return digits.isdecimal() and len(digits.strip("0")) <= MAX_DIGITS


def escaped(text: str) -> str:
    """Return a text as a sheet has it: XML's escapes, and OOXML's for what XML forbids."""
    text = _LOOKS_ESCAPED.sub("_x005F_", text)
    text = _CONTROL.sub(lambda found: f"_x{ord(found[0]):04X}_", text)
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def utf16_units(text: str) -> int:
    return len(text.encode("utf-16-le")) // 2


def fitting_text(text: str) -> str:
    """Return a text that fits into a cell, with a clear mark where it was cut."""
    if utf16_units(text) <= MAX_CELL:
        return text
    room = (MAX_CELL - len(CUT_MARK)) * 2
    kept = text.encode("utf-16-le")[:room].decode("utf-16-le", "ignore")
    return kept + CUT_MARK
