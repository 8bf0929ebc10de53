"""Shapes: the msgspec types that records of a contract are read as, in one call a page."""

from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import Any

import msgspec
from msgspec import UNSET

from app.contracts.field_rules import UNREADABLE, FieldRule

Bytes = bytes | msgspec.Raw


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
            else (f"f_{rule.spec.name}", _or_absent(rule.optional_type), UNSET)
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


class Shape:
    """A msgspec type of records, and what makes tuples of its values in field order.

    ``complete``: every field is there and not null, so there are no gaps to look after. The
    other kind gives UNSET for a field that is absent; ``filled`` makes None of it.
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
        """Return the rows of a JSON array; raises one of ``UNREADABLE``."""
        return list(map(self._as_tuple, self._page.decode(body)))

    def filled(self, row: tuple[Any, ...]) -> tuple[Any, ...]:
        """Return a row with None for what is absent or null."""
        if UNSET in row:
            row = tuple([None if value is UNSET else value for value in row])
        for at in self._nullable:
            if row[at] is not None and bytes(row[at]) == b"null":
                row = (*row[:at], None, *row[at + 1 :])
        return row

    def read_each(self, raws: Sequence[Bytes]) -> list[tuple[Any, ...] | None]:
        """Return the row of each record, None for those that do not fit."""
        decode, as_tuple = self._record.decode, self._as_tuple
        rows: list[tuple[Any, ...] | None] = []
        for raw in raws:
            try:
                rows.append(as_tuple(decode(raw)))
            except UNREADABLE:
                rows.append(None)
        return rows


def _or_absent(kind: Any) -> Any:
    """Return a type whose default may be UNSET; of Raw msgspec knows no union."""
    return kind if kind is msgspec.Raw else kind | msgspec.UnsetType


def _tuple_maker(attributes: Sequence[str]) -> Callable[[Any], tuple[Any, ...]]:
    """Return the function that makes a tuple of the values under dotted ``attributes``."""
    if all("." not in attribute for attribute in attributes):
        return msgspec.structs.astuple
    if len(attributes) == 1:
        only = attrgetter(attributes[0])
        return lambda each: (only(each),)
    return attrgetter(*attributes)
