"""Reads a request for records: an allow-list of fields and operators, every value typed."""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qsl

from app.api import keys
from app.api.access import Opened
from app.api.errors import Refused, bad_value
from app.contracts.fields import FieldSpec
from app.contracts.states import FieldType
from app.core.words import message_id

MAX_LIMIT, DEFAULT_LIMIT = 1000, 100
MAX_FILTERS, MAX_LENGTH, MAX_IN, MAX_SORTS = 20, 500, 100, 4
MAX_QUERY = 16_000
MAX_NUMBER = 10**30
MOST_ASKS = 1000
RESERVED = frozenset({"fields", "sort", "limit", "after", "since", "count", "format"})
FORMATS = ("json", "ndjson", "csv", "csv-excel")
COMPARE = {"eq": "=", "ne": "<>", "gt": ">", "gte": ">=", "lt": "<", "lte": "<="}
OPERATORS = (*COMPARE, "in", "contains", "startswith", "isnull")
_KEY_NAMES = frozenset({"api_key", "apikey", "access_token", "x-api-key"})
# Patterns of OpenAPI's document too: what it lets pass is answered.
TOKEN = r"[A-Za-z0-9_-]{40,400}"  # noqa: S105 - a form, no secret
INTEGER = r"-?[0-9]{1,19}"
NUMBER = r"-?[0-9]{1,40}(\.[0-9]{1,40})?([eE][+-]?[0-9]{1,3})?"
_TOKEN = re.compile(TOKEN + r"\Z")
_NUMBER = re.compile(NUMBER + r"\Z")
_INTEGER = re.compile(INTEGER + r"\Z")
_MOMENT = re.compile(
    r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?(Z|[+-]\d\d:\d\d)\Z", re.ASCII
)


@dataclass(frozen=True, slots=True)
class Filter:
    """One condition; ``values`` are typed as the field is (``isnull``: one bool)."""

    field: FieldSpec
    operator: str
    values: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Ask:
    """What a request wants, but for the place that it goes on from (``after``).

    ``context`` names dataset, filters and order: a token's query. ``names`` are the fields'
    as PostgreSQL writes an array. ``made`` keeps statements that were written for it, by
    the shape of the place.
    """

    fields: tuple[FieldSpec, ...]
    filters: tuple[Filter, ...]
    sort: tuple[tuple[FieldSpec, bool], ...]  # True: descending
    limit: int | None
    since: str
    count: str
    format: str
    context: str
    names: str
    made: dict[tuple[bool, ...] | None, str] = field(default_factory=dict, compare=False)


def pairs_of(query: str) -> list[tuple[str, str]]:
    """Split a query string; refuses a key in it, and what is no UTF-8."""
    if len(query) > MAX_QUERY:
        raise Refused(400, "too_long", "The address is too long.")
    if keys.ANYWHERE.search(query):
        raise Refused(
            400,
            "key_in_address",
            "A key must never stand in an address: addresses are written into logs. Send it"
            " in the header Authorization or X-API-Key, and replace this key now.",
        )
    try:
        pairs = parse_qsl(
            query, keep_blank_values=True, errors="strict", max_num_fields=60
        )
    except (UnicodeDecodeError, ValueError):
        raise Refused(
            400,
            "unreadable",
            "The address is not valid UTF-8, or has too many parameters.",
        ) from None
    for name, value in pairs:
        if "\0" in name + value or len(value) > MAX_LENGTH * 8:
            raise bad_value(
                name[:60].replace("\0", ""), message_id("shorter, and without a NUL")
            )
    return pairs


class Asks:
    """Reads requests of one process; what a walk repeats from page to page is read once."""

    def __init__(self) -> None:
        self._read: dict[Any, Ask] = {}
        self._begun: dict[Any, Ask] = {}  # of first pages, by the query as it came

    def read(self, query: str, opened: Opened, accepted: str) -> tuple[Ask, str]:
        """Return what is asked and the token of the place to go on from, or nothing."""
        known = self._begun.get((query, opened.dataset_id, opened.mark, accepted))
        if known is not None:
            return known, ""
        pairs = pairs_of(query)
        after = [value for name, value in pairs if name == "after"]
        if len(after) > 1:
            raise _twice("after")
        goes_on = after != [] and after[0] != ""
        rest = tuple(pair for pair in pairs if pair[0] != "after")
        key = (opened.dataset_id, opened.mark, rest, accepted, goes_on)
        ask = self._read.get(key)
        if ask is None:
            ask = _read(rest, opened, accepted, goes_on=goes_on)
            if len(self._read) >= MOST_ASKS:
                self._read.clear()
            self._read[key] = ask
        if goes_on:
            return ask, _token("after", after[0])
        if len(self._begun) >= MOST_ASKS:
            self._begun.clear()
        self._begun[query, opened.dataset_id, opened.mark, accepted] = ask
        return ask, ""


def _read(
    pairs: Iterable[tuple[str, str]], opened: Opened, accepted: str, *, goes_on: bool
) -> Ask:
    """Return what is asked; ``accepted`` is the format that the Accept header chose."""
    given: dict[str, str] = {}
    filters = []
    for name, value in pairs:
        if name in RESERVED:
            if name in given:
                raise _twice(name)
            given[name] = value
        else:
            filters.append(_filter(name, value, opened))
    if len(filters) > MAX_FILTERS:
        raise Refused(
            400,
            "too_many_filters",
            "At most %(limit)s filters are answered.",
            limit=MAX_FILTERS,
        )
    sort = _sort(given.get("sort", ""), opened)
    fields = _fields(given.get("fields"), opened)
    ask = Ask(
        fields=fields,
        names="{" + ",".join(f'"{each.name}"' for each in fields) + "}",
        filters=tuple(filters),
        sort=sort,
        limit=_limit(given.get("limit")),
        since=_token("since", given.get("since", "")),
        count=_choice("count", given.get("count", ""), ("estimated", "exact", "")),
        format=_choice("format", given.get("format", accepted), FORMATS),
        context=_context(opened, filters, sort),
    )
    _refuse_mixtures(ask, opened, given, goes_on=goes_on)
    return ask


def _twice(name: str) -> Refused:
    return Refused(400, "twice", "The parameter %(name)s is given twice.", name=name)


def _context(
    opened: Opened, filters: list[Filter], sort: tuple[tuple[FieldSpec, bool], ...]
) -> str:
    wanted = sorted(f"{f.field.name} {f.operator} {f.values!r}" for f in filters)
    order = [f"{'-' if down else ''}{each.name}" for each, down in sort]
    return f"{opened.dataset_id} {wanted} {order}"


def _refuse_mixtures(
    ask: Ask, opened: Opened, given: dict[str, str], *, goes_on: bool
) -> None:
    """Refuse what cannot go together, rather than leave a part out in silence."""
    if "since" in given and (ask.filters or ask.sort or goes_on or ask.count):
        raise Refused(
            409, "since_alone", "since goes with fields, limit and format only: a row may leave a filter without being removed.",
        )  # fmt: skip
    if ask.since and opened.sample:
        raise Refused(403, "sample_only", "A trial key has no change feed.")
    if ask.format != "json" and (goes_on or ask.since or ask.count):
        raise Refused(
            409, "json_only", "after, since and count go with the format json only; the other formats are whole.",
        )  # fmt: skip
    if ask.since and any(each not in opened.fields for each in opened.keys):
        raise Refused(
            403, "keys_hidden", "The change feed names rows by their key, and this grant hides the key.",
        )  # fmt: skip


def _token(name: str, value: str) -> str:
    if value and not _TOKEN.match(value):
        raise bad_value(name, message_id("a token as an answer gave it"))
    return value


def _choice(name: str, value: str, choices: tuple[str, ...]) -> str:
    if value not in choices:
        raise Refused(
            400,
            "bad_choice",
            "%(name)s must be one of: %(what)s.",
            name=name,
            what=", ".join(filter(None, choices)),
        )
    return value


def _limit(value: str | None) -> int | None:
    if value is None:
        return None
    if not _INTEGER.match(value) or not 1 <= int(value) <= MAX_LIMIT:
        raise Refused(
            400,
            "bad_limit",
            "limit must be a whole number from 1 to %(limit)s.",
            limit=MAX_LIMIT,
        )
    return int(value)


def _field(name: str, opened: Opened) -> FieldSpec:
    found = opened.by_name.get(name)
    if found is None:
        raise Refused(
            400,
            "unknown_field",
            "There is no parameter or field %(name)s for this key; the dictionary lists them.",
            name=name[:60],
        )
    return found


def _fields(value: str | None, opened: Opened) -> tuple[FieldSpec, ...]:
    if value is None:
        return opened.fields
    names = list(dict.fromkeys(value.split(",")))
    return tuple(_field(name, opened) for name in names)


def _unmasked(each: FieldSpec, opened: Opened) -> FieldSpec:
    if opened.is_masked(each):
        raise Refused(
            403, "masked", "%(name)s is masked for this key, so rows cannot be chosen or sorted by it.", name=each.name,
        )  # fmt: skip
    return each


def _sort(value: str, opened: Opened) -> tuple[tuple[FieldSpec, bool], ...]:
    names = value.split(",") if value else []
    if len(names) > MAX_SORTS:
        raise Refused(
            400,
            "too_many_sorts",
            "At most %(limit)s fields are sorted by.",
            limit=MAX_SORTS,
        )
    found = [
        (_unmasked(_field(name.removeprefix("-"), opened), opened), name.startswith("-"))
        for name in names
    ]
    if len({each.name for each, _ in found}) < len(found):
        raise Refused(
            409,
            "sorted_twice",
            "Rows cannot be sorted by one field in two directions or twice.",
        )
    return tuple(found)


def _filter(name: str, value: str, opened: Opened) -> Filter:
    if name in _KEY_NAMES and name not in opened.by_name:
        raise Refused(
            400,
            "key_in_address",
            "A key must never stand in an address: addresses are written into logs. Send it"
            " in the header Authorization or X-API-Key, and replace this key now.",
        )
    operator = "eq"
    if name not in opened.by_name:
        stem, mark, end = name.rpartition("__")
        if mark and end in OPERATORS:
            name, operator = stem, end
    each = _unmasked(_field(name, opened), opened)
    label = f"{each.name}__{operator}"
    if operator == "isnull":
        return Filter(each, operator, (_boolean(label, value),))
    _refuse_operator(each, operator)
    parts = value.split(",") if operator == "in" else [value]
    if len(parts) > MAX_IN:
        raise bad_value(label, message_id("a list of at most 100 values"))
    return Filter(
        each, operator, tuple(READERS[each.type](label, part) for part in parts)
    )


def _refuse_operator(each: FieldSpec, operator: str) -> None:
    for_text = operator in {"contains", "startswith"} and each.type is not FieldType.TEXT
    ordered = operator in {"gt", "gte", "lt", "lte"} and each.type is FieldType.BOOLEAN
    if for_text or ordered:
        raise Refused(
            400, "bad_operator", "%(name)s cannot be asked with %(what)s: its type does not allow it.", name=each.name, what=operator,
        )  # fmt: skip


def _text(name: str, value: str) -> str:
    if len(value) > MAX_LENGTH:
        raise bad_value(name, message_id("a text of at most 500 characters"))
    return value


def _integer(name: str, value: str) -> int:
    if not _INTEGER.match(value) or not -(2**63) <= int(value) < 2**63:
        raise bad_value(name, message_id("a whole number of 64 bits"))
    return int(value)


def _number(name: str, value: str) -> Decimal:
    if not _NUMBER.match(value) or abs(Decimal(value)) > MAX_NUMBER:
        raise bad_value(
            name, message_id("a number with a point, such as 12.5, of at most 30 digits")
        )
    return Decimal(value)


def _boolean(name: str, value: str) -> bool:
    if value not in {"true", "false"}:
        raise bad_value(name, message_id("true or false"))
    return value == "true"


def _date(name: str, value: str) -> date:
    try:
        if len(value) == 10:
            return date.fromisoformat(value)
    except ValueError:
        pass
    raise bad_value(name, message_id("a date such as 2026-01-31"))


def _in_utc(moment: datetime) -> datetime:
    """Return the same moment; PostgreSQL knows no zones beyond 15:59 from UTC."""
    try:
        return moment.astimezone(UTC)
    except OverflowError:  # the first and the last hours of all years
        return moment


def _moment(name: str, value: str) -> datetime:
    try:
        if _MOMENT.match(value.replace(" ", "+")):  # a plus sign that was not escaped
            return _in_utc(datetime.fromisoformat(value.replace(" ", "+")))
    except ValueError:
        pass
    raise bad_value(
        name,
        message_id("a point in time with its zone, such as 2026-01-31T08:00:00+07:00"),
    )


READERS: dict[FieldType, Callable[[str, str], Any]] = {
    FieldType.TEXT: _text,
    FieldType.INTEGER: _integer,
    FieldType.NUMBER: _number,
    FieldType.BOOLEAN: _boolean,
    FieldType.DATE: _date,
    FieldType.TIMESTAMP: _moment,
}
