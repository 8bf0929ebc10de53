"""What a document asks for: fields in parts, read out of a form that anybody may send.

A part is filled in once, or has a row for each of several people, systems or data elements.
What is missing is told and never refused; what is malformed is told before it is kept.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from typing import Any, NamedTuple

from app.core.words import message_id

MAX_TEXT, MAX_LONG, MAX_ROWS = 300, 5_000, 500


class FieldKind(StrEnum):
    """How a field is filled in and what makes it well-formed."""

    TEXT = "text"
    LONG = "long"
    DATE = "date"
    WHOLE = "whole"
    YES = "yes"
    CHOICE = "choice"
    NIP = "nip"
    EMAIL = "email"
    PHONE = "phone"


@dataclass(frozen=True, slots=True)
class Field:
    """One thing that is asked. ``choices`` are stored values with their words."""

    name: str
    label: str
    kind: FieldKind = FieldKind.TEXT
    is_required: bool = False
    choices: Mapping[str, str] | None = None
    hint: str = ""


@dataclass(frozen=True, slots=True)
class Part:
    """Fields that belong together; with a ``name`` there is a row of them for each of many."""

    label: str
    fields: tuple[Field, ...]
    name: str = ""
    row: str = ""  # what one row is called

    @property
    def is_many(self) -> bool:
        return bool(self.name)


@dataclass(frozen=True, slots=True)
class Form:
    """What one document asks for. ``file`` says what is attached to it, "" for nothing."""

    label: str
    parts: tuple[Part, ...]
    lead: str = ""
    file: str = ""


class Place(NamedTuple):
    """One field of a filled-in form: where it stands, and what it holds."""

    path: str
    field: Field
    value: Any


Values = dict[str, Any]
_PATTERNS = {
    FieldKind.NIP: (
        re.compile(r"[0-9]{18}", re.ASCII),
        message_id("A NIP has 18 digits."),
    ),
    FieldKind.EMAIL: (
        re.compile(r"[^@\s]{1,64}@[^@\s]+\.[^@\s]+"),
        message_id("This is no e-mail address."),
    ),
    FieldKind.PHONE: (
        re.compile(r"\+?[0-9][0-9 ()./-]{4,28}", re.ASCII),
        message_id("A telephone number has digits, blanks and - alone."),
    ),
    FieldKind.WHOLE: (
        re.compile(r"[0-9]{1,12}", re.ASCII),
        message_id("A whole number is written with digits alone."),
    ),
}
_TOO_LONG = message_id("This is too long.")
_NO_DATE = message_id("This is no date.")
_NO_CHOICE = message_id("Choose one of those that are offered.")
TOO_MANY = message_id("So many rows cannot be kept in one document: at most 500.")


def read(form: Form, sent: Mapping[str, str]) -> tuple[Values, dict[str, str]]:
    """Return what was filled in, and what is malformed: a sentence by the field's path.

    Fields are named by their names, those of rows ``<part>-<n>-<name>``; a row in which
    nothing is filled in is none. What is malformed is among the values as it was written.
    """
    values: Values = {}
    problems: dict[str, str] = {}
    for part in form.parts:
        if not part.is_many:
            values |= _read_fields(part.fields, "", sent, problems)
            continue
        rows: list[Values] = []
        numbers = _row_numbers(part.name, sent)
        if len(numbers) > MAX_ROWS:
            problems[part.name] = TOO_MANY
        for number in numbers[:MAX_ROWS]:
            found: dict[str, str] = {}
            row = _read_fields(part.fields, f"{part.name}-{number}-", sent, found)
            if not row:
                continue
            # Rows are counted anew: what was left empty between them is gone.
            there = f"{part.name}-{len(rows)}-"
            problems |= {
                there + path.rpartition("-")[2]: text for path, text in found.items()
            }
            rows.append(row)
        if rows:
            values[part.name] = rows
    return values, problems


def _row_numbers(name: str, sent: Mapping[str, str]) -> list[int]:
    found = (re.fullmatch(rf"{name}-([0-9]{{1,6}})-\w+", key, re.ASCII) for key in sent)
    return sorted({int(each[1]) for each in found if each})


def _read_fields(
    fields: Sequence[Field],
    prefix: str,
    sent: Mapping[str, str],
    problems: dict[str, str],
) -> Values:
    values: Values = {}
    for each in fields:
        text = sent.get(prefix + each.name, "").replace("\0", "").strip()
        if not text:
            continue
        values[each.name] = text
        if problem := _problem(each, text):
            problems[prefix + each.name] = problem
            values[each.name] = text[:MAX_LONG]
    return values


def _problem(field: Field, text: str) -> str:
    if len(text) > (MAX_LONG if field.kind is FieldKind.LONG else MAX_TEXT):
        return _TOO_LONG
    if field.kind is FieldKind.DATE:
        return "" if _is_date(text) else _NO_DATE
    if field.kind is FieldKind.YES:
        return "" if text == "1" else _NO_CHOICE
    if field.choices is not None:
        return "" if text in field.choices else _NO_CHOICE
    if field.kind in _PATTERNS:
        pattern, sentence = _PATTERNS[field.kind]
        return "" if pattern.fullmatch(text) else sentence
    return ""


def _is_date(text: str) -> bool:
    try:
        return 1900 <= date.fromisoformat(text).year <= 2999
    except ValueError:
        return False


def places(form: Form, values: Values) -> Iterator[Place]:
    """Yield every field of a filled-in form in its order; those of rows that there are."""
    for part in form.parts:
        rows = values.get(part.name, ()) if part.is_many else (values,)
        for number, row in enumerate(rows):
            prefix = f"{part.name}-{number}-" if part.is_many else ""
            for each in part.fields:
                yield Place(prefix + each.name, each, row.get(each.name, ""))


def missing(form: Form, values: Values) -> list[Place]:
    """Return the required fields that are empty; the first row of a part without rows."""
    empty_parts: Values = {
        p.name: [{}] for p in form.parts if p.is_many and not values.get(p.name)
    }
    return [
        place
        for place in places(form, values | empty_parts)
        if place.field.is_required and not place.value
    ]


def flat_text(form: Form, values: Values) -> dict[str, str]:
    """Return a filled-in form as its page would send it, without what is empty."""
    return {place.path: place.value for place in places(form, values) if place.value}
