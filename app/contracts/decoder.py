"""Turns the JSON rows of a page into typed tuples, and explains every record that breaks.

A contract compiles to a ``msgspec`` type, so a good page is decoded and checked in one call.
A page that fails, or that holds what msgspec alone would not see (a key twice in one object,
a NUL, half a surrogate pair), is gone through record by record.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import compress
from operator import countOf, itemgetter, methodcaller
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
from msgspec import UNSET

from app.contracts.field_rules import UNREADABLE, FieldError, FieldRule
from app.contracts.fields import FieldSpec
from app.contracts.raw_records import (
    TwiceError,
    has_bad_escape,
    is_plain_name,
    record_errors,
    refuse_twice,
    split_leniently,
    text_errors,
)
from app.contracts.shapes import Bytes, Shape
from app.contracts.states import FieldType
from app.core.errors import PermanentError

# Raise it when the same record would be judged or read in another way than before: what
# earlier pulls remember of records they accepted is then worth nothing.
RULES_REVISION = 1
_count_absent = methodcaller("count", UNSET)


class NotJsonError(PermanentError):
    """The page is no JSON array; nothing of it can be read."""

    code = "not_json"

    def __init__(self, page: int) -> None:
        super().__init__("Page %(page)s is not a JSON list of records.", page=page + 1)


@dataclass(frozen=True, slots=True)
class Rejected:
    """A record that broke its contract: where it stood, as it came, and all its errors.

    ``key`` is the business key where it could be read, else None.
    """

    position: int
    raw: bytes
    errors: tuple[FieldError, ...]
    key: tuple[Any, ...] | None


@dataclass(frozen=True, slots=True)
class DecodedPage:
    """``rows`` are tuples in field order; ``positions`` their places; None means 0, 1, 2 and so on.

    A number is the bytes it was written in, perhaps in quotation marks: exact, and nobody
    but the database computes with it.
    """

    rows: list[tuple[Any, ...]]
    positions: list[int] | None
    rejected: list[Rejected]

    @property
    def read_count(self) -> int:
        return len(self.rows) + len(self.rejected)


class Decoder:
    """Decodes pages of one contract version. ``columns`` is the order of each tuple."""

    def __init__(
        self, fields: Sequence[FieldSpec], time_zone: str = "Asia/Jakarta"
    ) -> None:
        zone = ZoneInfo(time_zone)
        self.fields = tuple(fields)
        self.columns = tuple(field.name for field in self.fields)
        self._rules = [FieldRule(field, zone) for field in self.fields]
        self._paths = [tuple(field.source_path.split(".")) for field in self.fields]
        self._complete = Shape(self._rules, self._paths, complete=True)
        self._lenient = Shape(self._rules, self._paths)
        self._expects_complete = True
        self._raws = msgspec.json.Decoder(list[msgspec.Raw])
        self._object = msgspec.json.Decoder(dict[str, msgspec.Raw])
        self._key_at = [i for i, field in enumerate(self.fields) if field.is_key]
        self._keys = Shape(
            [FieldRule(_without_rules(self.fields[i]), zone) for i in self._key_at],
            [self._paths[i] for i in self._key_at],
            complete=True,
        )
        self._checked = [
            (i, rule.bulk) for i, rule in enumerate(self._rules) if rule.bulk
        ]
        self._numbers = any(field.type is FieldType.NUMBER for field in self.fields)
        self._zoned = [
            i for i, field in enumerate(self.fields) if field.type is FieldType.TIMESTAMP
        ]
        # The last name of each path, as it would be written, to count it in a page.
        self._tokens = [
            json.dumps(path[-1], ensure_ascii=False).encode() for path in self._paths
        ]
        names = {part for path in self._paths for part in path}
        self._all_escapes_suspect = not all(map(is_plain_name, names))
        self._flat = all(len(path) == 1 for path in self._paths)

    def decode(
        self, body: bytes | memoryview | msgspec.Raw, *, page: int = 0
    ) -> DecodedPage:
        """Decode a JSON array of records. ``page`` (0-based) is named in errors only.

        Raises ``NotJsonError`` when the array itself cannot be read.
        """
        data = bytes(body)
        rows = self._read(data)
        if rows is not None:
            return DecodedPage(self._finish(rows), None, [])
        return self._slow(data, page)

    def keys_of(self, body: bytes) -> list[tuple[Any, ...]]:
        """Return the business keys of records that were accepted before, in field order."""
        keys = self._keys.read_page(body)
        for at, index in enumerate(self._key_at):
            if index in self._zoned:
                instant = self._rules[index].instant
                keys = [(*key[:at], instant(key[at]), *key[at + 1 :]) for key in keys]
        return keys

    def _read(self, data: bytes) -> list[tuple[Any, ...]] | None:
        """Return the rows of an array in one go, or None when it needs a closer look."""
        if self._has_bad_escape(data):
            return None
        if self._expects_complete:
            rows = self._fitting(data, self._complete)
            if rows is not None:
                return rows
        rows = self._fitting(data, self._lenient)
        if rows is not None:
            self._expects_complete = False
        return rows

    def _has_bad_escape(self, data: bytes) -> bool:
        return has_bad_escape(data) or (self._all_escapes_suspect and b"\\" in data)

    def _fitting(self, data: bytes, shape: "Shape") -> list[tuple[Any, ...]] | None:
        """Return the rows that ``shape`` reads, or None when something is wrong with one."""
        try:
            rows = shape.read_page(data)
        except UNREADABLE:
            return None
        absent = 0 if shape.complete else sum(map(_count_absent, rows))
        is_plain = self._has_each_key_once(data.count(b":"), len(rows), absent)
        if not is_plain and self._has_key_twice(data, rows):
            return None
        if not shape.complete:
            rows = list(map(shape.filled, rows))
        return rows if self._all_fit(rows) else None

    def _has_each_key_once(self, colons: int, rows: int, absent: int) -> bool:
        """Tell cheaply whether no name can stand twice; False only means: look closer.

        Each name has its colon. Records whose names, less the ``absent`` ones, make up all
        ``colons`` of their JSON have none to spare.
        """
        return self._flat and colons == rows * len(self.columns) - absent

    def _has_key_twice(
        self, data: bytes, rows: Sequence[tuple[Any, ...]], bad: Sequence[bytes] = ()
    ) -> bool:
        """Tell whether some row's record might hold a declared name twice.

        A name may not be written more often than it is there. ``bad`` are the records in
        ``data`` that have no row. What is no name but looks like one errs on the safe side.
        """
        if not self._flat:
            return self._nested_key_twice(data)
        return any(
            data.count(token) - sum(raw.count(token) for raw in bad)
            > len(rows) - countOf(map(itemgetter(at), rows), UNSET)
            for at, token in enumerate(self._tokens)
        )

    def _nested_key_twice(self, data: bytes) -> bool:
        try:
            json.loads(data, object_pairs_hook=refuse_twice)
        except (TwiceError, ValueError, RecursionError):
            return True
        return False

    def _all_fit(self, rows: Sequence[tuple[Any, ...]]) -> bool:
        return not any(True for _ in self._unfit_columns(rows))

    def _unfit_columns(
        self, rows: Sequence[tuple[Any, ...]]
    ) -> Iterator[tuple[int, Callable[[Sequence[Any]], bool]]]:
        """Yield the columns in which some value breaks a rule, with the test of it."""
        for index, fits in self._checked:
            column = [*map(itemgetter(index), rows)]
            if None in column:
                column = [value for value in column if value is not None]
            if not fits(column):
                yield index, fits

    def _finish(self, rows: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
        """Turn times into instants; pages without a time column pass untouched."""
        for index in self._zoned:
            instant = self._rules[index].instant
            rows = [
                row if row[index] is None
                else (*row[:index], instant(row[index]), *row[index + 1 :])
                for row in rows
            ]  # fmt: skip
        return rows

    def _slow(self, data: bytes, page: int) -> DecodedPage:
        """Go through the array record by record."""
        raws = self._split(data)
        if raws is None:
            raise NotJsonError(page)
        candidates = self._candidates(data, raws)
        rows = [row for row in candidates if row is not None]
        good = [row is not None for row in candidates]
        positions = [*compress(range(len(raws)), good)]
        rejected: list[Rejected] = []
        for position in _holes(candidates):
            judged = self._judge(bytes(raws[position]), position)
            if isinstance(judged, Rejected):
                rejected.append(judged)
            else:
                rows.append(judged)
                positions.append(position)
        return DecodedPage(self._finish(rows), positions, rejected)

    def _split(self, data: bytes) -> Sequence[Bytes] | None:
        """Return each record's own bytes; None when the array cannot be read."""
        try:
            return self._raws.decode(data)
        except UNREADABLE:
            # msgspec refuses the whole array for half a character in one record.
            return split_leniently(data)

    def _candidates(
        self, data: bytes, raws: Sequence[Bytes]
    ) -> list[tuple[Any, ...] | None]:
        """Return the row of each record that is surely good, None for the others."""
        if self._has_bad_escape(data):
            return self._one_by_one(raws)
        # A null would pass for a number as written.
        shape = self._lenient if self._numbers and b"null" in data else self._complete
        found = shape.read_each(raws)
        doubtful = _holes(found) if shape.complete else [*range(len(found))]
        if shape.complete:
            for at in doubtful:
                found[at] = self._lenient.read_each([raws[at]])[0]
        bad = [bytes(raws[at]) for at in _holes(found)]
        good = [row for row in found if row is not None]
        # Complete rows have no gaps to count.
        absent = sum(
            _count_absent(row) for row in map(found.__getitem__, doubtful) if row
        )
        colons = data.count(b":") - sum(raw.count(b":") for raw in bad)
        is_plain = self._has_each_key_once(colons, len(good), absent)
        if not is_plain and self._has_key_twice(data, good, bad):
            return self._one_by_one(raws)
        for at in doubtful:
            row = found[at]
            found[at] = row and self._lenient.filled(row)
        for index, fits in self._unfit_columns([row for row in found if row is not None]):
            found = [
                row if row is None or row[index] is None or fits([row[index]]) else None
                for row in found
            ]
        return found

    def _one_by_one(self, raws: Sequence[Bytes]) -> list[tuple[Any, ...] | None]:
        return [rows[0] if (rows := self._read(b"[%b]" % raw)) else None for raw in raws]

    def _judge(self, raw: bytes, position: int) -> tuple[Any, ...] | Rejected:
        """Return the record's row after all, or everything that is wrong with it."""
        errors, values = self._explain(raw)
        if errors:
            return Rejected(position, raw, tuple(errors), self._key_of(values))
        return tuple(values[name] for name in self.columns)

    def _explain(self, raw: bytes) -> tuple[list[FieldError], dict[str, Any]]:
        """Return every error of a record, and the values of the fields that have none."""
        unreadable = record_errors(raw, self.columns, self._paths)
        if unreadable:
            return unreadable, {}
        errors: list[FieldError] = []
        values: dict[str, Any] = {}
        top = self._object.decode(raw)
        for rule, path in zip(self._rules, self._paths, strict=True):
            found = self._find(top, path)
            if found is None:
                if rule.spec.required:
                    errors.append(rule.missing("missing"))
                values[rule.spec.name] = None
                continue
            wrong, value = text_errors(rule.spec.name, found), None
            if not wrong:
                wrong, value = rule.judge(found)
            errors += wrong
            if not wrong:
                values[rule.spec.name] = value
        return errors, values

    def _find(self, top: dict[str, msgspec.Raw], path: tuple[str, ...]) -> bytes | None:
        """Return the raw JSON value at a path; None where a part of it is absent."""
        found = top.get(path[0])
        for part in path[1:]:
            try:
                found = None if found is None else self._object.decode(found).get(part)
            except (msgspec.DecodeError, UnicodeDecodeError):
                return None
        return None if found is None else bytes(found)

    def _key_of(self, values: dict[str, Any]) -> tuple[Any, ...] | None:
        names = [self.columns[i] for i in self._key_at]
        if any(values.get(name) is None for name in names):
            return None
        return tuple(values[name] for name in names)


def _holes(rows: Sequence[Any]) -> list[int]:
    return [at for at, row in enumerate(rows) if row is None]


def _without_rules(spec: FieldSpec) -> FieldSpec:
    return FieldSpec(
        name=spec.name,
        source_path=spec.source_path,
        label=spec.label,
        type=spec.type,
        required=True,
        is_key=True,
    )
