"""Narrowing lists: conditions upon columns, in groups of which any may hold.

A list is narrowed to ``Where``: its groups are joined by *or*, the clauses of a group by
*and*. As text a clause is ``column:operator:value``; an address holds them one by one, with
``or`` between groups.
"""

import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from typing import Any, NamedTuple
from uuid import UUID
from zoneinfo import ZoneInfo

import sqlalchemy as sa
from sqlalchemy import orm

from app.core.clock import utc_now
from app.core.search import NOTHING, Found, all_found, found_by, searched, typed

OR = "or"
MAX_CLAUSES = 50
MAX_VALUE = 200
MAX_DAYS = 3_660


class Kind(StrEnum):
    """What sort of values a column has, for the reader who narrows by it."""

    CHOICE = "choice"
    TEXT = "text"
    NUMBER = "number"
    DAY = "day"
    MOMENT = "moment"


class Op(StrEnum):
    """How a column is compared with a value."""

    IS = "is"
    NOT = "not"
    HAS = "has"
    FROM = "from"
    TO = "to"
    LAST = "last"
    EMPTY = "empty"
    FILLED = "filled"


VALUELESS = frozenset({Op.EMPTY, Op.FILLED})
_OPS = {
    Kind.CHOICE: (Op.IS, Op.NOT),
    Kind.TEXT: (Op.HAS, Op.IS, Op.NOT),
    Kind.NUMBER: (Op.FROM, Op.TO, Op.IS),
    Kind.DAY: (Op.FROM, Op.TO, Op.IS, Op.LAST),
    Kind.MOMENT: (Op.FROM, Op.TO, Op.IS, Op.LAST),
}
_COMPARED: Mapping[Op, Callable[[Any, Any], Any]] = {
    Op.IS: operator.eq,
    Op.NOT: lambda column, value: column.is_distinct_from(value),
    Op.FROM: operator.ge,
    Op.TO: operator.le,
}
Options = Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Filter:
    """A column that a list may be narrowed by.

    ``options`` returns what a choice chooses from: value and words. ``quick``: it stands
    above the list by itself.
    """

    column: orm.InstrumentedAttribute[Any]
    label: Any
    options: Callable[[], Options] | None = None
    quick: bool = False

    @property
    def name(self) -> str:
        return str(self.column.key)

    @property
    def kind(self) -> Kind:
        if self.options is not None:
            return Kind.CHOICE
        kind = self.column.type.python_type
        if issubclass(kind, datetime):
            return Kind.MOMENT
        if issubclass(kind, date):
            return Kind.DAY
        return Kind.NUMBER if issubclass(kind, int | float | Decimal) else Kind.TEXT

    @property
    def is_text(self) -> bool:
        """Whether what is empty in it is an empty text, and not nothing."""
        return self.kind is Kind.TEXT and issubclass(self.column.type.python_type, str)

    @property
    def ops(self) -> tuple[Op, ...]:
        """Return the ways in which it may be compared; the first is the usual one.

        Words are looked for where the table has an index of them, and nowhere else.
        """
        may_be_empty = getattr(self.column, "nullable", False) or self.is_text
        ops = _OPS[self.kind] + ((Op.EMPTY, Op.FILLED) if may_be_empty else ())
        model: Any = self.column.class_
        is_searched = self.name in searched(model)
        return ops if is_searched else tuple(op for op in ops if op is not Op.HAS)


class Clause(NamedTuple):
    """One condition; without the value that it needs it narrows nothing yet."""

    name: str
    op: Op
    value: str = ""

    @property
    def is_whole(self) -> bool:
        return self.op in VALUELESS or self.value != ""

    def __str__(self) -> str:
        return f"{self.name}:{self.op}:{self.value}"


class BadClauseError(ValueError):
    """A clause that no filter of the list understands."""


@dataclass(frozen=True, slots=True)
class Where:
    """What a list is narrowed to: any of these groups, in a group all of its clauses."""

    groups: tuple[tuple[Clause, ...], ...] = ()

    @property
    def clauses(self) -> list[Clause]:
        return [clause for group in self.groups for clause in group]

    def texts(self) -> list[str]:
        """Return the clauses as an address holds them."""
        texts: list[str] = []
        for group in self.groups:
            texts += [OR] if texts else []
            texts += [str(clause) for clause in group]
        return texts

    def none(self) -> "Where":
        """Return what narrows nothing."""
        return Where()

    def without(self, index: int) -> "Where":
        """Return it without one clause, counted over all groups from 0."""
        kept: list[list[Clause]] = []
        at = 0
        for group in self.groups:
            kept.append([])
            for clause in group:
                if at != index:
                    kept[-1].append(clause)
                at += 1
        return grouped(kept)


def grouped(groups: Iterable[Iterable[Clause]]) -> Where:
    """Return the groups that have a clause at all."""
    return Where(tuple(tuple(group) for group in map(list, groups) if group))


def read_where(
    texts: Iterable[str], filters: Sequence[Filter], zone: ZoneInfo
) -> tuple[Where, list[str]]:
    """Return what an address narrows a list to, and the texts of it that say nothing."""
    known = {each.name: each for each in filters}
    groups: list[list[Clause]] = [[]]
    bad: list[str] = []
    for text in list(texts)[: MAX_CLAUSES * 2]:
        if text == OR:
            groups.append([])
        elif text:
            try:
                groups[-1].append(_read(text, known, zone))
            except BadClauseError:
                bad.append(text[:MAX_VALUE])
    where = grouped(groups)
    if len(where.clauses) > MAX_CLAUSES:
        return Where(), [*bad, f"> {MAX_CLAUSES}"]
    return where, bad


def _read(text: str, known: dict[str, Filter], zone: ZoneInfo) -> Clause:
    name, op, value = [*text.split(":", 2), "", ""][:3]
    chosen = known.get(name)
    if chosen is None or op not in chosen.ops or "\0" in value or len(value) > MAX_VALUE:
        raise BadClauseError(text)
    clause = Clause(name, Op(op), "" if op in VALUELESS else value.strip())
    if clause.is_whole:
        condition_of(clause, chosen, zone)  # a value of another sort is no clause
    return clause


class Narrowing(NamedTuple):
    """What the rows of a list must fulfil; ``words`` apart, as lists are searched by them."""

    condition: sa.ColumnElement[bool] | None = None
    words: Found | None = None


def narrowing(where: Where, filters: Sequence[Filter], zone: ZoneInfo) -> Narrowing:
    """Return the conditions of all whole clauses."""
    known = {each.name: each for each in filters}
    groups = [[clause for clause in group if clause.is_whole] for group in where.groups]
    groups = [group for group in groups if group]
    if not groups:
        return Narrowing()
    if len(groups) > 1:
        return Narrowing(sa.or_(*(
            sa.and_(*(condition_of(each, known[each.name], zone) for each in group))
            for group in groups
        )))  # fmt: skip
    words = [_anywhere(each, known[each.name]) for each in groups[0] if each.op is Op.HAS]
    rest = [
        _in_column(each, known[each.name])
        if each.op is Op.HAS
        else condition_of(each, known[each.name], zone)
        for each in groups[0]
    ]
    return Narrowing(sa.and_(*rest), all_found(words))


def condition_of(
    clause: Clause, chosen: Filter, zone: ZoneInfo
) -> sa.ColumnElement[bool]:
    """Return the condition of one whole clause; raises ``BadClauseError`` for its value."""
    column: Any = chosen.column
    if clause.op in VALUELESS:
        empty: sa.ColumnElement[bool] = (
            column == "" if chosen.is_text else column.is_(None)
        )
        return empty if clause.op is Op.EMPTY else ~empty
    if clause.op is Op.HAS:
        return sa.and_(_in_column(clause, chosen), _anywhere(clause, chosen).by_row)
    if chosen.kind in {Kind.DAY, Kind.MOMENT}:
        return _in_time(clause, chosen, zone)
    compared: sa.ColumnElement[bool] = _COMPARED[clause.op](
        column, _value(clause, column)
    )
    return compared


def _anywhere(clause: Clause, chosen: Filter) -> Found:
    """Return the condition that the row has the words of a clause, which an index answers."""
    model: Any = chosen.column.class_
    return found_by(model, clause.value) or NOTHING


def _in_column(clause: Clause, chosen: Filter) -> sa.ColumnElement[bool]:
    """Return the condition that words of the row stand in the column of the clause."""
    signs = (sign if sign.isalnum() else " " for sign in typed(clause.value))
    tokens = "".join(signs).split()
    if not tokens:
        raise BadClauseError(str(clause))
    return sa.and_(*(chosen.column.icontains(each) for each in tokens))


def _in_time(clause: Clause, chosen: Filter, zone: ZoneInfo) -> sa.ColumnElement[bool]:
    """Compare with days, first and last included, on the clock of ``zone``."""
    column: Any = chosen.column
    first, last = _days(clause, zone)
    is_moment = chosen.kind is Kind.MOMENT
    wanted: list[sa.ColumnElement[bool]] = []
    if first is not None:
        wanted.append(column >= (_begin(first, zone) if is_moment else first))
    if last is not None:
        after = last + timedelta(days=1)
        wanted.append(column < (_begin(after, zone) if is_moment else after))
    return sa.and_(*wanted)


def _days(clause: Clause, zone: ZoneInfo) -> tuple[date | None, date | None]:
    """Return the first and the last day that a clause means; None where it is open."""
    if clause.op is Op.LAST:
        days = _whole(clause.value)
        if not 1 <= days <= MAX_DAYS:
            raise BadClauseError(str(clause))
        return utc_now().astimezone(zone).date() - timedelta(days=days - 1), None
    try:
        day = date.fromisoformat(clause.value)
    except ValueError:
        raise BadClauseError(str(clause)) from None
    if not 1900 <= day.year <= 2999:
        raise BadClauseError(str(clause))
    return (
        None if clause.op is Op.TO else day,
        None if clause.op is Op.FROM else day,
    )


def _begin(day: date, zone: ZoneInfo) -> datetime:
    return datetime.combine(day, time(), zone)


def _value(clause: Clause, column: Any) -> Any:
    """Return the value as the column has it; raises ``BadClauseError`` for another sort."""
    kind = column.type.python_type
    try:
        if kind is bool:
            return {"1": True, "0": False}[clause.value]
        if kind is int:
            whole = _whole(clause.value)
            return whole if _holds(column.type, whole) else _bad(clause)
        if kind in {float, Decimal}:
            number = Decimal(clause.value.replace(",", "."))
            return kind(number) if number.is_finite() else _bad(clause)
        if kind is UUID:
            return UUID(clause.value)
        return kind(clause.value)
    except (ValueError, KeyError, InvalidOperation):
        _bad(clause)


def _holds(kind: Any, number: int) -> bool:
    """Tell whether a column of whole numbers can hold this one at all."""
    bits = 63 if isinstance(kind, sa.BigInteger) else 31
    return number.bit_length() <= bits


def _bad(clause: Clause) -> Any:
    raise BadClauseError(str(clause))


def _whole(text: str) -> int:
    digits = text.removeprefix("-")
    if not (digits.isascii() and digits.isdecimal()) or len(text) > 18:
        raise BadClauseError(text)
    return int(text)
