"""A version of a contract as one plain value, out of the words that a file has for it. Pure.

ODCS and the workbook call things differently; what may stand there, and what is said of what
may not, is the same for both.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeVar

import msgspec

from app.contracts.fields import FieldSpec
from app.contracts.states import (
    Classification,
    DatasetKind,
    FieldType,
    LoadMode,
    VersionStatus,
)
from app.core.words import message_id

E = TypeVar("E")
MAX_TEXT, MAX_TITLE, MAX_DESCRIPTION = 2_000, 200, 4_000
MAX_VALUES = 1_000  # that one field may list as allowed
SEPARATOR = "|"  # between allowed values where they stand in one line
MOST_NOTES = 300  # of each kind; who sends a file with more mends these first
MAX_PLACE = 200
NO_PLACE = message_id("Simpul has no place for it.")
MORE = message_id("There is more of it than is told here.")


class Terms(msgspec.Struct, frozen=True, kw_only=True):
    """A version of a contract. ``agency`` is its code; None or "": the file does not say."""

    fields: tuple[FieldSpec, ...]
    ident: str = ""
    slug: str = ""
    title: str = ""
    agency: str = ""
    agency_name: str = ""
    kind: DatasetKind | None = None
    load_mode: LoadMode | None = None
    description: str = ""
    basis: str = ""
    number: int | None = None
    status: VersionStatus | None = None
    note: str = ""
    max_vanished_percent: int | None = None
    max_rejected_percent: int | None = None


class Receiver(NamedTuple):
    """Who receives the data: told in a file, never taken out of one."""

    agency: str
    agency_name: str
    agreement: str
    purpose: str
    fields: Sequence[str]
    until: str


class Around(NamedTuple):
    """What is no part of the terms and told beside them: ``schedules`` are cron lines."""

    created_at: str = ""
    receivers: Sequence[Receiver] = ()
    schedules: Sequence[tuple[str, str]] = ()


class Note(NamedTuple):
    """A sentence about a place of a file; ``places``: how many such it is about."""

    place: str
    message: str
    params: dict[str, Any] = {}
    places: int = 1


class Taken(NamedTuple):
    """What a file says, what is wrong with it, and what of it is not taken over."""

    terms: Terms
    wrong: list[Note]
    left: list[Note]


@dataclass
class Findings:
    """Gathers what is wrong in a file, and what of it is not taken over."""

    wrong: list[Note] = field(default_factory=list)
    _left: dict[tuple[str, str], Note] = field(default_factory=dict)

    @property
    def left(self) -> list[Note]:
        return list(self._left.values())

    def blame(self, place: str, message: str, **params: Any) -> None:
        if len(self.wrong) < MOST_NOTES:
            self.wrong.append(Note(place[:MAX_PLACE], message, params))
        elif len(self.wrong) == MOST_NOTES:
            self.wrong.append(Note("…", MORE))

    def leave(self, place: str, message: str = NO_PLACE, *, kind: str = "") -> None:
        """Name what is not taken over; places of one ``kind`` are told once, and counted."""
        key = (kind or place, message)
        if key not in self._left and len(self._left) >= MOST_NOTES:
            key, place, message = ("", MORE), "…", MORE
        former = self._left.get(key)
        places = former.places + 1 if former else 1
        self._left[key] = Note(
            former.place if former else place[:MAX_PLACE], message, {}, places
        )


class Words(NamedTuple):
    """What a format calls things; of several words for one the first is written."""

    types: Mapping[str, FieldType]
    classes: Mapping[str, Classification]
    kinds: Mapping[str, DatasetKind]
    modes: Mapping[str, LoadMode]
    states: Mapping[str, VersionStatus]
    flags: Mapping[str, bool]


class Reader:
    """Makes values of the texts of a file, each by what is wanted in its place."""

    def __init__(self, words: Words, found: Findings) -> None:
        self.words, self._found = words, found

    def text(self, place: str, raw: str | None, longest: int = MAX_TEXT) -> str:
        text = (raw or "").strip()
        if len(text) > longest:
            self._found.blame(
                place, "The text has more than %(limit)s characters.", limit=longest
            )
        return text[:longest]

    def choice(self, place: str, raw: str | None, words: Mapping[str, E]) -> E | None:
        """Return what a word stands for; None for none, or for one that stands for nothing."""
        text = (raw or "").strip()
        if not text:
            return None
        if text.casefold() not in words:
            self._found.blame(
                place,
                "There is no “%(what)s” here: write one of %(p)s.",
                what=text[:80],
                p=", ".join(words),
            )
        return words.get(text.casefold())

    def count(self, place: str, raw: str | None, most: int) -> int | None:
        """Return a whole number from 0 to ``most``."""
        text = (raw or "").strip()
        if not text:
            return None
        if not (text.isascii() and text.isdecimal() and len(text) < 10) or (
            int(text) > most
        ):
            self._found.blame(
                place, "Write a whole number from 0 to %(limit)s.", limit=most
            )
            return None
        return int(text)

    def spec(
        self,
        raw: Mapping[str, str | None],
        allowed: Sequence[str],
        place_of: Callable[[str], str],
    ) -> FieldSpec:
        """Return a field out of its texts by column; ``place_of`` a column is its place."""
        texts = {
            name: self.text(place_of(name), raw.get(name))
            for name in (
                "name", "source_path", "label", "minimum", "maximum", "pattern", "definition",
                "unit", "example",
            )
        }  # fmt: skip
        texts["source_path"] = texts["source_path"] or texts["name"]
        texts["label"] = texts["label"] or texts["name"]
        flags = {
            name: bool(self.choice(place_of(name), raw.get(name), self.words.flags))
            for name in ("is_key", "required")
        }
        lengths = {
            name: self.count(place_of(name), raw.get(name), 10_000_000)
            for name in ("min_length", "max_length")
        }
        return FieldSpec(
            **texts,
            type=self._type(place_of("type"), raw.get("type")),
            classification=self._class(
                place_of("classification"), raw.get("classification")
            ),
            is_key=flags["is_key"],
            required=flags["required"] or flags["is_key"],
            min_length=lengths["min_length"],
            max_length=lengths["max_length"],
            allowed_values=self._allowed(place_of("allowed_values"), allowed),
        )

    def _type(self, place: str, raw: str | None) -> FieldType:
        if not (raw or "").strip():
            self._found.blame(
                place,
                "The type is missing: write one of %(p)s.",
                p=", ".join(self.words.types),
            )
        return self.choice(place, raw, self.words.types) or FieldType.TEXT

    def _class(self, place: str, raw: str | None) -> Classification:
        """Return the class; of what says none nobody is told more than those who must know."""
        if not (raw or "").strip():
            self._found.leave(
                place, message_id("No class is given: it is taken as restricted."),
                kind="class",
            )  # fmt: skip
        return self.choice(place, raw, self.words.classes) or Classification.RESTRICTED

    def _allowed(self, place: str, values: Sequence[str]) -> tuple[str, ...]:
        if len(values) > MAX_VALUES:
            self._found.blame(
                place, "At most %(limit)s values may be listed.", limit=MAX_VALUES
            )
        allowed = tuple(self.text(place, each) for each in values[:MAX_VALUES])
        for each in allowed:
            if not is_listable(each):
                self._found.blame(
                    place,
                    "An allowed value is neither empty nor has a %(p)s or a line break: “%(what)s”.",
                    p=SEPARATOR,
                    what=each[:80],
                )
        return allowed


def is_listable(value: str) -> bool:
    """Tell whether an allowed value can stand in one line with others."""
    return bool(value) and SEPARATOR not in value and len(value.splitlines()) == 1


def blame_twice(
    specs: Sequence[FieldSpec], place_of: Callable[[int], str], found: Findings
) -> None:
    """Blame each field whose name another one before it has."""
    seen: set[str] = set()
    for at, each in enumerate(specs):
        if each.name in seen:
            found.blame(
                place_of(at),
                "Two fields have the same name: “%(what)s”.",
                what=each.name[:80],
            )
        seen.add(each.name)


def words_for(words: Mapping[str, E]) -> dict[E, str]:
    """Return the word that each thing is written by."""
    return {value: word for word, value in reversed(list(words.items()))}
