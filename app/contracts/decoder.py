"""Turns the JSON rows of a page into typed tuples, and explains every record that breaks.

A contract compiles to a ``msgspec`` type, so a good page is decoded and checked in one call.
A page that fails, or that holds what msgspec alone would not see (a key twice in one object,
a NUL, half a surrogate pair), is gone through record by record. The rules are written once,
as *atoms* of a field: the whole type is their sum, and an explanation names the atoms that
the value breaks.
"""

import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Context, Decimal, DecimalException, Inexact, Overflow, Underflow
from itertools import compress
from operator import attrgetter, itemgetter, methodcaller
from typing import Annotated, Any, Literal, NamedTuple
from zoneinfo import ZoneInfo

import msgspec
from msgspec import Meta

from app.contracts.fields import FieldSpec
from app.contracts.states import FieldType
from app.core.errors import PermanentError
from app.core.words import message_id

# Raise it when the same record would be judged or read in another way than before: what
# earlier pulls remember of records they accepted is then worth nothing.
RULES_REVISION = 1
# PostgreSQL's bigint.
INT_MIN, INT_MAX = -(2**63), 2**63 - 1
# A number may have 38 digits, up to 37 behind the point: no value is rounded silently.
DIGITS = 38
_EXACT = Context(prec=DIGITS, Emin=0, Emax=DIGITS, traps=[Inexact, Overflow, Underflow])
DATE_MIN, DATE_MAX = date(1, 1, 2), date(9999, 12, 30)
# Escapes that spell a letter, digit, dot, underscore or hyphen: a key could hide in them.
_HIDDEN_NAME = re.compile(
    rb"\\u00(?:2[dDeE]|3\d|4[1-9a-fA-F]|5[\daAfF]|6[1-9a-fA-F]|7[\daA])"
)
_LONE = re.compile(
    rb"\\u[dD][89abAB]..(?!\\u[dD][c-fC-F])|(?<!\\u[dD][89abAB]..)\\u[dD][c-fC-F]"
)


# The commonest pattern of all, of NIK, NIP and codes: a column at once is far faster than
# a search in each value.
_ONLY_DIGITS = re.compile(r"(?:\\d|\[0-9\])\{([1-9]\d?)\}", re.ASCII)
_NUMBER = rb"-?[0-9]+(?:\.[0-9]+)?"
_PLAIN_NUMBERS = re.compile(
    rb"(?:%b|\"%b\")(?:,(?:%b|\"%b\"))*" % (_NUMBER, _NUMBER, _NUMBER, _NUMBER)
)
_decimals = msgspec.json.Decoder(list[Decimal])
_count_none = methodcaller("count", None)
_BLANK = frozenset(" \t\r\n")
_Bytes = bytes | msgspec.Raw
_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


class NotJsonError(PermanentError):
    """The page is no JSON array; nothing of it can be read."""

    code = "not_json"

    def __init__(self, page: int) -> None:
        super().__init__("Page %(page)s is not a JSON list of records.", page=page + 1)


class FieldError(NamedTuple):
    """One broken rule. ``code`` is stable, ``message`` a message id, ``params`` fills it.

    ``params`` never hold the value itself: it may be personal, and the raw record is kept.
    """

    field: str
    code: str
    message: str
    params: dict[str, Any]


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


class _Atom(NamedTuple):
    """One rule of a field: what to say when it breaks, and the check itself."""

    code: str
    message: str
    params: dict[str, Any]
    breaks: Callable[[Any], bool]


_WRONG_TYPE = {
    FieldType.TEXT: message_id("Must be text in quotation marks."),
    FieldType.INTEGER: message_id("Must be a whole number."),
    FieldType.NUMBER: message_id("Must be a number."),
    FieldType.BOOLEAN: message_id("Must be true or false."),
    FieldType.DATE: message_id("Must be a date that exists, written YYYY-MM-DD."),
    FieldType.TIMESTAMP: message_id(
        "Must be a point in time, written YYYY-MM-DDTHH:MM:SS+07:00."
    ),
}
_PYTHON: dict[FieldType, Any] = {
    FieldType.TEXT: str,
    FieldType.INTEGER: int,
    FieldType.NUMBER: Decimal,
    FieldType.BOOLEAN: bool,
    FieldType.DATE: date,
    FieldType.TIMESTAMP: datetime,
}


def _decodes(kind: Any) -> Callable[[Any], bool]:
    """Return a test that tells whether a raw JSON value breaks the type ``kind``."""
    decoder = msgspec.json.Decoder(kind)

    def breaks(raw: Any) -> bool:
        try:
            decoder.decode(raw)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return True
        return False

    return breaks


def full_match(pattern: str) -> str:
    """Return the pattern as msgspec needs it: for the whole text, its classes ASCII."""
    return rf"(?a)\A(?:{pattern})\Z"


class FieldRule:
    """All rules of one field, as one type for the fast path and as atoms for the slow."""

    def __init__(self, spec: FieldSpec, zone: ZoneInfo) -> None:
        self.spec = spec
        self._zone = zone
        plain = _PYTHON[spec.type]
        self._plain_breaks = _decodes(plain)
        self._is_null = _decodes(None)
        self.atoms: list[_Atom] = []
        self._wants_digits = False
        self._value = msgspec.json.Decoder(plain)
        self.type: Any = self._fast_type(plain)
        self.bulk = self._bulk_check()
        self._fast = msgspec.json.Decoder(self.optional_type)

    def _fast_type(self, plain: Any) -> Any:
        """Return the type of the fast path. Numbers stay as written: see ``DecodedPage``."""
        if self.spec.type is FieldType.TEXT:
            return self._text_type()
        if self.spec.type is FieldType.INTEGER:
            return self._integer_type()
        return msgspec.Raw if self.spec.type is FieldType.NUMBER else plain

    @property
    def optional_type(self) -> Any:
        """The type that lets null pass. To "as written or null" msgspec has no type."""
        return self.type if self.type is msgspec.Raw else self.type | None

    def _text_type(self) -> Any:
        spec = self.spec
        shortest = max(spec.min_length or 0, 1 if spec.required else 0)
        metas: dict[str, Any] = {}
        if shortest:
            metas["min_length"] = shortest
            self._atom("too_short", "Must have at least %(n)s characters.", shortest,
                       Annotated[str, Meta(min_length=shortest)])  # fmt: skip
        if spec.max_length is not None:
            metas["max_length"] = spec.max_length
            self._atom("too_long", "Must have at most %(n)s characters.", spec.max_length,
                       Annotated[str, Meta(max_length=spec.max_length)])  # fmt: skip
        if spec.pattern:
            form = full_match(spec.pattern)
            self._atom("pattern", "Must have the form %(n)s.", spec.pattern,
                       Annotated[str, Meta(pattern=form)])  # fmt: skip
            digits = _ONLY_DIGITS.fullmatch(spec.pattern)
            if digits:
                self._wants_digits = True
                count = int(digits[1])
                metas["min_length"] = max(count, shortest)
                metas["max_length"] = min(count, metas.get("max_length", count))
            else:
                metas["pattern"] = form
        whole: Any = Annotated[str, Meta(**metas)] if metas else str
        if spec.allowed_values:
            allowed: Any = Literal[spec.allowed_values]
            listed = ", ".join(spec.allowed_values[:20])
            self._atom("not_allowed", "Must be one of: %(n)s.", listed, allowed)
            whole = self._allowed_type(allowed)
        return whole

    def _allowed_type(self, allowed: Any) -> Any:
        """Return the list itself, without the entries that the other rules would refuse."""
        fitting = tuple(
            value
            for value in self.spec.allowed_values
            if not any(atom.breaks(msgspec.json.encode(value)) for atom in self.atoms)
        )
        return Literal[fitting] if fitting else allowed

    def _integer_type(self) -> Any:
        low = max(int(self.spec.minimum or INT_MIN), INT_MIN)
        high = min(int(self.spec.maximum or INT_MAX), INT_MAX)
        self._atom(
            "too_small", "Must be at least %(n)s.", low, Annotated[int, Meta(ge=low)]
        )
        self._atom(
            "too_large", "Must be at most %(n)s.", high, Annotated[int, Meta(le=high)]
        )
        return Annotated[int, Meta(ge=low, le=high)]

    def _atom(self, code: str, message: str, n: Any, kind: Any) -> None:
        self.atoms.append(_Atom(code, message, {"n": n}, _decodes(kind)))

    def _value_atom(
        self, code: str, message: str, n: Any, test: Callable[[Any], bool]
    ) -> None:
        """Add a rule that msgspec cannot state: ``test`` tells whether a value breaks it."""

        def breaks(raw: Any) -> bool:
            return test(self._normal(self._value.decode(raw)))

        self.atoms.append(_Atom(code, message, {"n": n}, breaks))

    def _normal(self, value: Any) -> Any:
        """Return the value as it is compared and stored: times aware and in UTC."""
        if isinstance(value, datetime):
            return self.instant(value)
        return value

    def instant(self, value: datetime) -> datetime:
        """Return a time as an instant; one without an offset is on the contract's clock."""
        try:
            aware = value if value.tzinfo else value.replace(tzinfo=self._zone)
            return aware.astimezone(UTC)
        except OverflowError:
            return datetime.min.replace(tzinfo=UTC)

    def _bulk_check(self) -> Callable[[Sequence[Any]], bool] | None:
        """Return a test for a whole column (without Nones): True when every value fits."""
        if self._wants_digits:
            return _are_digits
        if self.spec.type is FieldType.NUMBER:
            return self._number_check()
        if self.spec.type in {FieldType.DATE, FieldType.TIMESTAMP}:
            return self._time_check()
        return None

    def _number_check(self) -> Callable[[Sequence[Any]], bool]:
        low = Decimal(self.spec.minimum) if self.spec.minimum else None
        high = Decimal(self.spec.maximum) if self.spec.maximum else None
        self._value_atom(
            "too_many_digits", "Must have at most %(n)s digits.", DIGITS, _inexact
        )
        if low is not None:
            self._value_atom(
                "too_small", "Must be at least %(n)s.", str(low), lambda v: v < low
            )
        if high is not None:
            self._value_atom(
                "too_large", "Must be at most %(n)s.", str(high), lambda v: v > high
            )

        def fits(written: Sequence[Any]) -> bool:
            joined = b",".join(written)
            if not written:
                return True
            # Short enough has few enough digits; what is longer is judged one by one.
            if (
                _PLAIN_NUMBERS.fullmatch(joined) is None
                or max(map(len, written)) > DIGITS
            ):
                return False
            if low is None and high is None:
                return True
            numbers = _decimals.decode(b"[" + joined + b"]")
            return (low is None or min(numbers) >= low) and (
                high is None or max(numbers) <= high
            )

        return fits

    def _time_check(self) -> Callable[[Sequence[Any]], bool]:
        low, high = self._time_bounds()
        self._value_atom(
            "too_small", "Must be at least %(n)s.", low.isoformat(), lambda v: v < low
        )
        self._value_atom(
            "too_large", "Must be at most %(n)s.", high.isoformat(), lambda v: v > high
        )

        zoned = self.spec.type is FieldType.TIMESTAMP

        def fits(values: Sequence[Any]) -> bool:
            instants = [*map(self.instant, values)] if zoned else values
            return not instants or (min(instants) >= low and max(instants) <= high)

        return fits

    def _time_bounds(self) -> tuple[Any, Any]:
        if self.spec.type is FieldType.DATE:
            return (
                date.fromisoformat(self.spec.minimum) if self.spec.minimum else DATE_MIN,
                date.fromisoformat(self.spec.maximum) if self.spec.maximum else DATE_MAX,
            )
        low = self.spec.minimum or f"{DATE_MIN.isoformat()}T00:00:00+00:00"
        high = self.spec.maximum or f"{DATE_MAX.isoformat()}T00:00:00+00:00"
        return (
            self.instant(datetime.fromisoformat(low)),
            self.instant(datetime.fromisoformat(high)),
        )

    def judge(self, raw: Any) -> tuple[list[FieldError], Any]:
        """Return everything that is wrong with one raw JSON value, or the row's value."""
        try:
            value = self._fast.decode(raw)
        except _UNREADABLE:
            value = None
        if value is not None and (self.bulk is None or self.bulk([value])):
            return [], self._normal(value)
        errors = self.explain(raw)
        return errors, None if errors else self.value(raw)

    def explain(self, raw: Any) -> list[FieldError]:
        """Return everything that is wrong with one raw JSON value of this field."""
        spec = self.spec
        if not self._is_null(raw):
            return [self.missing("null")] if spec.required else []
        if self._plain_breaks(raw) or not self._is_finite(raw):
            return [FieldError(spec.name, "wrong_type", _WRONG_TYPE[spec.type], {})]
        return [
            FieldError(spec.name, atom.code, atom.message, atom.params)
            for atom in self.atoms
            if atom.breaks(raw)
        ]

    def _is_finite(self, raw: Any) -> bool:
        """Tell whether a number is one: "NaN" and "Infinity" in quotation marks are none."""
        if self.spec.type is not FieldType.NUMBER:
            return True
        finite: bool = self._value.decode(raw).is_finite()
        return finite

    def missing(self, code: str) -> FieldError:
        text = (
            message_id("Is required and is absent.")
            if code == "missing"
            else message_id("Is required and is empty.")
        )
        return FieldError(self.spec.name, code, text, {})

    def value(self, raw: Any) -> Any:
        """Return the row's value of a raw JSON value that ``explain`` found nothing in."""
        if not self._is_null(raw):
            return None
        value = self._normal(self._value.decode(raw))
        return str(value).encode() if self.spec.type is FieldType.NUMBER else value


def _without_rules(spec: FieldSpec) -> FieldSpec:
    return FieldSpec(
        name=spec.name,
        source_path=spec.source_path,
        label=spec.label,
        type=spec.type,
        required=True,
        is_key=True,
    )


def _are_digits(values: Sequence[str]) -> bool:
    text = "".join(values)
    return not text or (text.isascii() and text.isdecimal())


def _inexact(value: Decimal) -> bool:
    try:
        _EXACT.plus(value)
    except DecimalException:
        return True
    return False


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
        self._complete = _Shape(self._rules, self._paths, complete=True)
        self._lenient = _Shape(self._rules, self._paths)
        self._expects_complete = True
        self._raws = msgspec.json.Decoder(list[msgspec.Raw])
        self._object = msgspec.json.Decoder(dict[str, msgspec.Raw])
        self._key_at = [i for i, field in enumerate(self.fields) if field.is_key]
        self._keys = _Shape(
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
        # Each declared name, once as it would be written, to count it in a page.
        names = {part for path in self._paths for part in path}
        self._tokens = [
            json.dumps(name, ensure_ascii=False).encode() for name in sorted(names)
        ]
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
        if _has_bad_escape(data):
            return None
        if self._expects_complete:
            rows = self._fitting(data, self._complete)
            if rows is not None:
                return rows
        rows = self._fitting(data, self._lenient)
        if rows is not None:
            self._expects_complete = False
        return rows

    def _fitting(self, data: bytes, shape: "_Shape") -> list[tuple[Any, ...]] | None:
        """Return the rows that ``shape`` reads, or None when something is wrong with one."""
        try:
            rows = shape.read_page(data)
        except _UNREADABLE:
            return None
        nones = 0 if shape.complete else sum(map(_count_none, rows))
        is_plain = self._has_each_key_once(data.count(b":"), len(rows), nones)
        if not is_plain and self._has_key_twice(data, len(rows)):
            return None
        return rows if self._all_fit(rows) else None

    def _has_each_key_once(self, colons: int, rows: int, nones: int) -> bool:
        """Tell cheaply whether no name can stand twice; False only means: look closer.

        Each name has its colon. Records whose names, less those that may be absent (their
        values are ``nones``), make up all ``colons`` of their JSON have none to spare.
        """
        return self._flat and colons == rows * len(self.columns) - nones

    def _has_key_twice(self, data: bytes, count: int) -> bool:
        """Tell whether some record might hold a declared name twice; may err on one side."""
        if not self._flat:
            return self._nested_key_twice(data)
        return any(data.count(token) > count for token in self._tokens)

    def _nested_key_twice(self, data: bytes) -> bool:
        try:
            json.loads(data, object_pairs_hook=_refuse_twice)
        except (_TwiceError, ValueError, RecursionError):
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

    def _split(self, data: bytes) -> Sequence[_Bytes] | None:
        """Return each record's own bytes; None when the array cannot be read."""
        try:
            return self._raws.decode(data)
        except _UNREADABLE:
            # msgspec refuses the whole array for half a character in one record.
            return _split_leniently(data)

    def _candidates(
        self, data: bytes, raws: Sequence[_Bytes]
    ) -> list[tuple[Any, ...] | None]:
        """Return the row of each record that is surely good, None for the others."""
        if _has_bad_escape(data):
            return self._one_by_one(raws)
        # A null would pass for a number as written.
        shape = self._lenient if self._numbers and b"null" in data else self._complete
        found = shape.read_each(raws)
        doubtful = _holes(found) if shape.complete else [*range(len(found))]
        if shape.complete:
            for at in doubtful:
                found[at] = self._lenient.read_each([raws[at]])[0]
        bad = _holes(found)
        # Complete rows have no Nones to count.
        nones = sum(_count_none(row) for row in map(found.__getitem__, doubtful) if row)
        colons = data.count(b":") - sum(bytes(raws[at]).count(b":") for at in bad)
        is_plain = self._has_each_key_once(colons, len(found) - len(bad), nones)
        if not is_plain and self._has_key_twice(data, len(raws)):
            return self._one_by_one(raws)
        for index, fits in self._unfit_columns([row for row in found if row is not None]):
            found = [
                row if row is None or row[index] is None or fits([row[index]]) else None
                for row in found
            ]
        return found

    def _one_by_one(self, raws: Sequence[_Bytes]) -> list[tuple[Any, ...] | None]:
        return [rows[0] if (rows := self._read(b"[%b]" % raw)) else None for raw in raws]

    def _judge(self, raw: bytes, position: int) -> tuple[Any, ...] | Rejected:
        """Return the record's row after all, or everything that is wrong with it."""
        errors, values = self._explain(raw)
        if errors:
            return Rejected(position, raw, tuple(errors), self._key_of(values))
        return tuple(values[name] for name in self.columns)

    def _explain(self, raw: bytes) -> tuple[list[FieldError], dict[str, Any]]:
        """Return every error of a record, and the values of the fields that have none."""
        unreadable = _record_errors(raw, self.columns, self._paths)
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
            wrong, value = _text_errors(rule.spec.name, found), None
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


def _has_bad_escape(data: bytes) -> bool:
    """Tell whether the page holds a NUL, half a surrogate pair, or a name in disguise."""
    # One byte is looked for much faster than two.
    if b"\\" not in data or b"\\u" not in data:
        return False
    return (
        b"\\u0000" in data
        or _HIDDEN_NAME.search(data) is not None
        or (
            re.search(rb"\\u[dD][89a-fA-F]", data) is not None
            and _LONE.search(data) is not None
        )
    )


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _after_blank(text: str, at: int) -> int:
    """Return the place of the next character that is no white space."""
    while text[at : at + 1] in _BLANK and at < len(text):
        at += 1
    return at


def _split_leniently(data: bytes) -> list[bytes] | None:
    """Split an array by Python's own reader, which lets bad characters inside texts pass."""
    text = data.decode("utf-8", "surrogateescape").strip(" \t\r\n")
    if not text.startswith("[") or not text.endswith("]"):
        return None
    reader = json.JSONDecoder(parse_constant=_refuse_constant)
    raws: list[bytes] = []
    at = _after_blank(text, 1)
    while text[at] != "]" or (not raws and at < len(text) - 1):
        try:
            _value, end = reader.raw_decode(text, at)
        except (ValueError, RecursionError):
            return None
        raws.append(text[at:end].encode("utf-8", "surrogateescape"))
        at = _after_blank(text, end)
        if text[at] == ",":
            at = _after_blank(text, at + 1)
        elif text[at] != "]":
            return None
    return raws if at == len(text) - 1 else None


class _TwiceError(Exception):
    def __init__(self, name: str) -> None:
        self.name = name


def _refuse_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise _TwiceError(name)
        found[name] = value
    return found


def _record_errors(
    raw: bytes, columns: Sequence[str], paths: Sequence[tuple[str, ...]]
) -> list[FieldError]:
    """Return what makes a record unreadable as a whole, if anything does."""
    text = raw.decode("utf-8", "surrogateescape")
    try:
        parsed = json.loads(text, object_pairs_hook=_refuse_twice)
    except _TwiceError as error:
        message = message_id("Stands more than once in the same record.")
        return [FieldError(error.name, "key_twice", message, {})]
    except (ValueError, RecursionError):
        return [FieldError("", "unreadable", "The record cannot be read as JSON.", {})]
    if not isinstance(parsed, dict):
        return [FieldError("", "not_a_record", "Is no record with named fields.", {})]
    if not _is_whole_text(json.dumps(parsed, ensure_ascii=False)):
        halves = [
            name
            for name, path in zip(columns, paths, strict=True)
            if not _is_whole_text(str(_value_at(parsed, path)))
        ]
        message = message_id("Holds half of a character.")
        return [
            FieldError(name, "half_character", message, {}) for name in halves or [""]
        ]
    return []


def _is_whole_text(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _value_at(parsed: Any, path: tuple[str, ...]) -> Any:
    for part in path:
        parsed = parsed.get(part) if isinstance(parsed, dict) else None
    return parsed


def _text_errors(name: str, raw: bytes) -> list[FieldError]:
    """Return what a text may never hold, whatever its rules say."""
    if raw.startswith(b'"') and b"\\u0000" in raw and "\0" in json.loads(raw):
        return [FieldError(name, "nul", "Holds a NUL, which no text may.", {})]
    return []


class _Level:
    """One level of nested records while the msgspec types are built, leaves first."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._leaves: list[tuple[FieldRule, str]] = []
        self._below: dict[str, _Level] = {}

    def add(self, rule: FieldRule, path: tuple[str, ...]) -> str:
        """Place a field; return the dotted attribute under which its value will stand."""
        if len(path) == 1:
            self._leaves.append((rule, path[0]))
            return f"f_{rule.spec.name}"
        number = (
            list(self._below).index(path[0])
            if path[0] in self._below
            else len(self._below)
        )
        below = self._below.setdefault(path[0], _Level(f"{self._name}_{number}"))
        return f"n{number}.{below.add(rule, path[1:])}"

    @property
    def required(self) -> bool:
        return any(rule.spec.required for rule, _ in self._leaves) or any(
            level.required for level in self._below.values()
        )

    def struct(self, *, complete: bool) -> Any:
        """Return the type; ``complete``: every field must be there and not null."""
        renames = {f"f_{rule.spec.name}": part for rule, part in self._leaves}
        members: list[Any] = [
            (f"f_{rule.spec.name}", rule.type)
            if complete or rule.spec.required
            else (f"f_{rule.spec.name}", rule.optional_type, None)
            for rule, _ in self._leaves
        ]
        for number, (part, level) in enumerate(self._below.items()):
            inner = level.struct(complete=complete)
            renames[f"n{number}"] = part
            members.append(
                (f"n{number}", inner)
                if complete or level.required
                else (f"n{number}", inner, msgspec.field(default_factory=inner))
            )
        return msgspec.defstruct(
            self._name, members, rename=renames, kw_only=True, gc=False
        )


class _Shape:
    """A msgspec type of records, and what makes tuples of its values in field order.

    ``complete``: every field is there and not null, so there are no Nones to look after.
    """

    def __init__(
        self,
        rules: Sequence[FieldRule],
        paths: Sequence[tuple[str, ...]],
        *,
        complete: bool = False,
    ) -> None:
        self.complete = complete
        top = _Level("Record")
        attributes = [
            top.add(rule, path) for rule, path in zip(rules, paths, strict=True)
        ]
        record: Any = top.struct(complete=complete)
        page: Any = list[record]
        self._record = msgspec.json.Decoder(record)
        self._page = msgspec.json.Decoder(page)
        self._as_tuple = _tuple_maker(attributes)
        # Optional fields whose null comes as written.
        self._nullable = [
            at
            for at, rule in enumerate(rules)
            if rule.type is msgspec.Raw and not (complete or rule.spec.required)
        ]

    def read_page(self, body: bytes) -> list[tuple[Any, ...]]:
        """Return the rows of a JSON array; raises one of ``_UNREADABLE``."""
        rows = list(map(self._as_tuple, self._page.decode(body)))
        if self._nullable and b"null" in body:
            return list(map(self._without_nulls, rows))
        return rows

    def _without_nulls(self, row: tuple[Any, ...]) -> tuple[Any, ...]:
        for at in self._nullable:
            if row[at] is not None and bytes(row[at]) == b"null":
                row = (*row[:at], None, *row[at + 1 :])
        return row

    def read_each(self, raws: Sequence[_Bytes]) -> list[tuple[Any, ...] | None]:
        """Return the row of each record, None for those that do not fit."""
        decode, as_tuple = self._record.decode, self._as_tuple
        rows: list[tuple[Any, ...] | None] = []
        for raw in raws:
            try:
                row = as_tuple(decode(raw))
                rows.append(self._without_nulls(row) if self._nullable else row)
            except _UNREADABLE:
                rows.append(None)
        return rows


def _tuple_maker(attributes: Sequence[str]) -> Callable[[Any], tuple[Any, ...]]:
    """Return the function that makes a tuple of the values under dotted ``attributes``."""
    if all("." not in attribute for attribute in attributes):
        return msgspec.structs.astuple
    if len(attributes) == 1:
        only = attrgetter(attributes[0])
        return lambda each: (only(each),)
    return attrgetter(*attributes)
