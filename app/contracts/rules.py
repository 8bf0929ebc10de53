"""What makes a contract version sound, before it may generate anything. Pure."""

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from typing import Any, NamedTuple

from app.contracts.field_rules import is_pattern
from app.contracts.fields import FieldSpec
from app.contracts.states import FieldType
from app.core.sql import MAX_NAME_LENGTH, is_name

MAX_FIELDS = 400
# Field names that would clash with PostgreSQL's own column names.
RESERVED = frozenset({"ctid", "xmin", "xmax", "cmin", "cmax", "tableoid", "oid"})
ORDERED = {FieldType.INTEGER, FieldType.NUMBER, FieldType.DATE, FieldType.TIMESTAMP}


class Problem(NamedTuple):
    """What is wrong: the field ("" for the whole), a message id, and what fills it."""

    field: str
    message: str
    params: dict[str, Any] = {}


def problems_of(fields: Sequence[FieldSpec]) -> list[Problem]:
    """Return everything that keeps these fields from becoming a table."""
    found = [*_whole_problems(fields), *_path_problems(fields)]
    for each in fields:
        found += _name_problems(each)
        found += _rule_problems(each)
    return found


def _whole_problems(fields: Sequence[FieldSpec]) -> Iterator[Problem]:
    if not fields:
        yield Problem("", "A contract needs at least one field.")
    elif not any(each.is_key for each in fields):
        yield Problem(
            "", "Mark at least one field as the key: rows are recognised by it."
        )
    if len(fields) > MAX_FIELDS:
        yield Problem("", "A contract has at most %(n)s fields.", {"n": MAX_FIELDS})
    for name, count in Counter(each.name for each in fields).items():
        if count > 1:
            yield Problem(name, "Two fields have the same name.")


def _path_problems(fields: Sequence[FieldSpec]) -> Iterator[Problem]:
    paths = [tuple(each.source_path.split(".")) for each in fields]
    for each, path in zip(fields, paths, strict=True):
        if any(path[: len(other)] == other and path != other for other in paths):
            yield Problem(each.name, "Its path leads through the path of another field.")
    for path, count in Counter(paths).items():
        if count > 1:
            yield Problem(
                "", "Two fields read the same path: %(p)s.", {"p": ".".join(path)}
            )


def _name_problems(each: FieldSpec) -> Iterator[Problem]:
    if not is_name(each.name) or each.name in RESERVED:
        yield Problem(
            each.name,
            "A name has small letters, digits and _, begins with a letter and has at most"
            " %(n)s characters.",
            {"n": MAX_NAME_LENGTH},
        )
    if not each.source_path or not all(each.source_path.split(".")):
        yield Problem(
            each.name, "The path in the source is missing or has an empty part."
        )
    if each.is_key and not each.required:
        yield Problem(each.name, "A key field must be required.")
    if each.is_key and each.type in {FieldType.NUMBER, FieldType.BOOLEAN}:
        yield Problem(each.name, "A key must be text, a whole number, a date or a time.")


def _rule_problems(each: FieldSpec) -> Iterator[Problem]:
    is_text = each.type is FieldType.TEXT
    if not is_text and (each.pattern or each.allowed_values):
        yield Problem(each.name, "Pattern and list of values are for text fields only.")
    if not is_text and (each.min_length is not None or each.max_length is not None):
        yield Problem(each.name, "Lengths are for text fields only.")
    if each.type not in ORDERED and (each.minimum or each.maximum):
        yield Problem(
            each.name, "Smallest and largest value are for numbers and dates only."
        )
    yield from _length_problems(each)
    yield from _bound_problems(each)
    if each.pattern and not is_pattern(each.pattern):
        yield Problem(each.name, "The pattern is no valid regular expression.")


def _length_problems(each: FieldSpec) -> Iterator[Problem]:
    low, high = each.min_length, each.max_length
    if any(value is not None and not 0 <= value <= 10_000_000 for value in (low, high)):
        yield Problem(each.name, "A length lies between 0 and 10,000,000.")
    elif low is not None and high is not None and low > high:
        yield Problem(each.name, "The smallest length is larger than the largest.")


def _bound_problems(each: FieldSpec) -> Iterator[Problem]:
    if each.type not in ORDERED:
        return
    try:
        low, high = (bound_of(each.type, text) for text in (each.minimum, each.maximum))
    except (ValueError, InvalidOperation):
        yield Problem(
            each.name, "Smallest or largest value is not written as the field's type is."
        )
        return
    if low is not None and high is not None and low > high:
        yield Problem(each.name, "The smallest value is larger than the largest.")


def bound_of(kind: FieldType, text: str) -> Any:
    """Return a bound as a value of its type; None for an empty text."""
    if not text:
        return None
    if kind is FieldType.INTEGER:
        return int(text)
    if kind is FieldType.NUMBER:
        return _finite(text)
    if kind is FieldType.DATE:
        return date.fromisoformat(text)
    instant = datetime.fromisoformat(text)
    if instant.tzinfo is None:
        raise ValueError("a time needs its offset")
    return instant


def _finite(text: str) -> Decimal:
    value = Decimal(text)
    if not value.is_finite():
        raise ValueError("not a number")
    return value
