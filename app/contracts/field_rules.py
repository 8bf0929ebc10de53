"""The rules of a contract's fields: as one type for the fast path, as atoms for the slow.

Each rule is written once. The whole type of a field is the sum of its atoms, and an
explanation names the atoms that a value breaks.
"""

import re
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime
from decimal import Context, Decimal, DecimalException, Inexact, Overflow, Underflow
from typing import Annotated, Any, Literal, NamedTuple
from zoneinfo import ZoneInfo

import msgspec
from msgspec import Meta

from app.contracts.fields import FieldSpec
from app.contracts.states import FieldType
from app.core.words import message_id

# PostgreSQL's bigint.
INT_MIN, INT_MAX = -(2**63), 2**63 - 1
# A number may have 38 digits, up to 37 behind the point: no value is rounded silently.
DIGITS = 38
_EXACT = Context(prec=DIGITS, Emin=0, Emax=DIGITS, traps=[Inexact, Overflow, Underflow])
DATE_MIN, DATE_MAX = date(1, 1, 2), date(9999, 12, 30)
# The commonest pattern of all, of NIK, NIP and codes: a column at once is far faster than
# a search in each value.
_ONLY_DIGITS = re.compile(r"(?:\\d|\[0-9\])\{([1-9]\d?)\}", re.ASCII)
_NUMBER = rb"-?[0-9]+(?:\.[0-9]+)?"
_PLAIN_NUMBERS = re.compile(
    rb"(?:%b|\"%b\")(?:,(?:%b|\"%b\"))*" % (_NUMBER, _NUMBER, _NUMBER, _NUMBER)
)
_decimals = msgspec.json.Decoder(list[Decimal])
# What msgspec raises for what it cannot read.
UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


class FieldError(NamedTuple):
    """One broken rule. ``code`` is stable, ``message`` a message id, ``params`` fills it.

    ``params`` never hold the value itself: it may be personal, and the raw record is kept.
    """

    field: str
    code: str
    message: str
    params: dict[str, Any]


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


def is_pattern(pattern: str) -> bool:
    """Tell whether a pattern can be used; one too deep or too large for Python is none."""
    try:
        re.compile(full_match(pattern))
    except (re.error, OverflowError, RecursionError):
        return False
    return True


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
            digits = _ONLY_DIGITS.fullmatch(spec.pattern)
            in_digits = message_id("Must have %(n)s digits.")
            said = in_digits if digits else message_id("Must have the form %(n)s.")
            self._atom("pattern", said, digits[1] if digits else spec.pattern,
                       Annotated[str, Meta(pattern=form)])  # fmt: skip
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
            whole = self._allowed_type()
        return whole

    def _allowed_type(self) -> Any:
        """Return the list itself, without the entries that the other rules would refuse."""
        fitting = tuple(
            value
            for value in self.spec.allowed_values
            if not any(atom.breaks(msgspec.json.encode(value)) for atom in self.atoms)
        )
        # Where none fits, a value that can be none: a text may not be a NUL.
        return Literal[fitting or ("\0",)]

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
        except UNREADABLE:
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


def _are_digits(values: Sequence[str]) -> bool:
    text = "".join(values)
    return not text or (text.isascii() and text.isdecimal())


def _inexact(value: Decimal) -> bool:
    try:
        _EXACT.plus(value)
    except DecimalException:
        return True
    return False
