"""Lists over tables of any size: a page goes on from a row, not from a number.

``OFFSET`` reads and throws away all that stands before it; here the last row of a page is
remembered in the address and the next page begins behind it (keyset), so that a deep page
costs what the first one does. A total is counted up to a bound, and told as about so many
beyond it, or as more than the bound where rows are found by words.

How rows are found by words is not left to the planner: row-level security keeps its
statistics from it, and walking a whole table for a word that nobody has takes seconds.
"""

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NamedTuple

import msgspec
import sqlalchemy as sa
from sqlalchemy import orm

from app.core.search import Found

# Counting so many rows takes a few milliseconds; beyond, the planner's guess is told.
COUNTED = 10_000
# Of what is found by words so many are: each one more is kept in order until the last hit.
HITS = 1_000
# So many rows are looked at in their order before all that are found are sorted instead.
WALKED = 2_000
MAX_PLACE = 2_000


class Turn(NamedTuple):
    """Where a page begins or ends, as an address says it: behind one row, or before it."""

    after: str = ""
    before: str = ""


FIRST = Turn()


class Place(NamedTuple):
    """A row of a list, by what it is sorted by."""

    value: Any
    key: Any


@dataclass(frozen=True, slots=True)
class Order:
    """What a list is sorted by: a column, and the table's key among equal values.

    Empty values come last both ways.
    """

    column: orm.InstrumentedAttribute[Any]
    key: orm.InstrumentedAttribute[Any]
    down: bool

    @property
    def may_be_empty(self) -> bool:
        return self.column.key != self.key.key and getattr(self.column, "nullable", True)

    def place_of(self, row: Any) -> str:
        """Return the place of a row as an address may hold it."""
        values = [getattr(row, self.column.key), getattr(row, self.key.key)]
        raw = msgspec.json.encode(values, enc_hook=str)
        return base64.urlsafe_b64encode(raw).decode().rstrip("=")

    def read(self, text: str) -> Place | None:
        """Return the place that an address names; None for what is none of this list."""
        if not text or len(text) > MAX_PLACE:
            return None
        try:
            raw = base64.urlsafe_b64decode(text.encode() + b"=" * (-len(text) % 4))
            value, key = msgspec.json.decode(raw, type=tuple[Any, Any])
            place = Place(_as(self.column, value), _as(self.key, key))
        except (binascii.Error, ValueError, NotImplementedError, RecursionError):
            return None
        is_odd = place.key is None or (place.value is None and not self.may_be_empty)
        return None if is_odd else place


class Told(StrEnum):
    """How well a total is known."""

    EXACTLY = "exactly"
    ABOUT = "about"
    MORE = "more"  # than so many


class Total(NamedTuple):
    """How many rows there are."""

    rows: int
    told: Told = Told.EXACTLY


@dataclass(frozen=True, slots=True)
class Slice:
    """One page of a list; ``earlier`` and ``later`` are the places that its neighbours have.

    ``is_lost``: the address named no place of this list, so it is the beginning.
    """

    rows: Sequence[Any]
    total: Total
    earlier: str = ""
    later: str = ""
    is_lost: bool = False


def read_slice(
    session: orm.Session,
    query: sa.Select[Any],
    order: Order,
    size: int,
    turn: Turn = FIRST,
    words: Found | None = None,
) -> Slice:
    """Return ``size`` rows of ``query`` behind or before a place, or the first ones.

    ``words`` is what rows are found by (``app.core.search``), and all that goes with it.
    """
    back = turn.before != "" and turn.after == ""
    place = order.read(turn.before if back else turn.after)
    is_lost = place is None and turn != FIRST
    back = back and not is_lost
    parts = _parts(order, place, back=back)
    if words is None:
        total = count(session, query)
        found = _in_order(session, query, parts, size + 1)
    else:
        hunt = _Hunt(session, query, order, words)
        found, total = hunt(parts, size + 1, back=back, is_first=place is None)
    goes_on, rows = len(found) > size, found[:size]
    if back:
        rows.reverse()
    if not rows:
        return Slice(rows, total, is_lost=is_lost)
    has_earlier = goes_on if back else place is not None
    return Slice(
        rows,
        total,
        earlier=order.place_of(rows[0]) if has_earlier else "",
        later=order.place_of(rows[-1]) if back or goes_on else "",
        is_lost=is_lost,
    )


def count(
    session: orm.Session,
    query: sa.Select[Any],
    words: Found | None = None,
) -> Total:
    """Count rows one by one up to a bound; beyond it tell what the planner expects."""
    one: sa.ColumnElement[int] = sa.literal_column("1")
    bare = query.with_only_columns(one, maintain_column_froms=True).order_by(None)
    bound = COUNTED if words is None else HITS
    if words is not None:
        bare = bare.where(words.by_index)
    some = bare.limit(bound + 1).subquery()
    counted = session.scalar(sa.select(sa.func.count()).select_from(some)) or 0
    if words is not None:  # of which the planner has no idea
        return _hits(counted)
    if counted <= COUNTED:
        return Total(counted)
    compiled = bare.compile(
        session.connection(), compile_kwargs={"render_postcompile": True}
    )
    plan = session.connection().exec_driver_sql(
        f"EXPLAIN (FORMAT JSON) {compiled}", compiled.params
    )
    expected = int(plan.scalar_one()[0]["Plan"]["Plan Rows"])
    return Total(max(expected, COUNTED + 1), Told.ABOUT)


def _in_order(
    session: orm.Session, query: sa.Select[Any], parts: Sequence["_Part"], wanted: int
) -> list[Any]:
    """Return so many rows by walking stretch after stretch."""
    found: list[Any] = []
    for part in parts:
        rows = session.scalars(part(query).limit(wanted - len(found)))
        found += rows.unique().all()
        if len(found) == wanted:
            break
    return found


@dataclass(frozen=True, slots=True)
class _Hunt:
    """Finds rows by words in the order of a list, first their keys and then the rows."""

    session: orm.Session
    query: sa.Select[Any]
    order: Order
    words: Found

    def __call__(
        self, parts: Sequence["_Part"], wanted: int, *, back: bool, is_first: bool
    ) -> tuple[list[Any], Total]:
        keys, total = self._walked(parts[0], wanted), None
        if len(keys) < wanted:
            keys, ahead = self._sorted(parts, wanted, back=back, is_first=is_first)
            total = ahead if is_first else None
        if total is None:
            total = count(self.session, self.query, self.words)
        name = self.order.key.key
        found = self.session.scalars(self.query.where(self.order.key.in_(keys)))
        by_key = {getattr(row, name): row for row in found.unique()} if keys else {}
        return [by_key[key] for key in keys if key in by_key], total

    def _walked(self, part: "_Part", wanted: int) -> list[Any]:
        """Walk the list's order for a while: a word that many rows have is soon met."""
        way = part(self._keys(self.words.by_row.label("is_met"))).limit(WALKED).subquery()
        met = sa.select(way.c.key).where(way.c.is_met).limit(wanted)
        return list(self.session.scalars(met))

    def _sorted(
        self, parts: Sequence["_Part"], wanted: int, *, back: bool, is_first: bool
    ) -> tuple[list[Any], Total]:
        """Find all rows ahead by the index of words and sort them; return how many, too.

        No more are kept than are counted: to keep all until the last one costs more than
        to find them.
        """
        found = self._keys().where(self.words.by_index)
        if not is_first:
            ahead = (sa.and_(sa.true(), *part.where) for part in parts)
            found = found.where(sa.or_(*ahead))
        hits = found.order_by(None).offset(0).subquery()  # no walk in order
        value = hits.c.value.desc() if parts[0].down else hits.c.value.asc()
        key = hits.c.key.desc() if parts[0].down else hits.c.key.asc()
        some = (
            sa.select(hits.c.key)
            .order_by(value.nulls_first() if back else value.nulls_last(), key)
            .limit(max(wanted, HITS + 1))
            .subquery()
        )
        in_order = sa.func.array_agg(some.c.key)[1:wanted]
        # Processes beside take longer to hand over the rows than one does to read them.
        self.session.execute(sa.text("SET LOCAL max_parallel_workers_per_gather = 0"))
        rows, keys = self.session.execute(sa.select(sa.func.count(), in_order)).one()
        return keys or [], _hits(rows)

    def _keys(self, *more: sa.ColumnElement[Any]) -> sa.Select[Any]:
        return self.query.with_only_columns(
            self.order.column.label("value"), self.order.key.label("key"), *more,
            maintain_column_froms=True,
        )  # fmt: skip


def _hits(rows: int) -> Total:
    return Total(rows) if rows <= HITS else Total(HITS, Told.MORE)


class _Part(NamedTuple):
    """A stretch of a list that one index finds in order: rows with a value, or without."""

    where: Sequence[sa.ColumnElement[bool]]
    by: Sequence[sa.ColumnElement[Any]]
    down: bool

    def __call__(self, query: sa.Select[Any]) -> sa.Select[Any]:
        return query.where(*self.where).order_by(None).order_by(*self.by)


def _parts(order: Order, place: Place | None, *, back: bool) -> list[_Part]:
    """Return the stretches from a place on, in the order in which they are walked."""
    down = order.down is not back
    key = order.key.desc() if down else order.key.asc()
    if order.column.key == order.key.key:
        return [
            _Part(
                () if place is None else (_beyond(order.key, place.key, down),),
                (key,),
                down,
            )
        ]
    by = (order.column.desc() if down else order.column.asc(), key)
    filled: list[sa.ColumnElement[bool]] = []
    if order.may_be_empty:
        filled.append(order.column.is_not(None))
    if place is not None and place.value is not None:
        filled.append(_beyond_both(order, place, down))
    empty: list[sa.ColumnElement[bool]] = [order.column.is_(None)]
    if place is not None and place.value is None:
        empty.append(_beyond(order.key, place.key, down))
    with_value, without = _Part(filled, by, down), _Part(empty, (key,), down)
    if not order.may_be_empty:
        return [with_value]
    stands_at_empty = place is not None and place.value is None
    if back:
        return [without, with_value] if stands_at_empty else [with_value]
    return [without] if stands_at_empty else [with_value, without]


def _beyond(column: Any, value: Any, down: bool) -> sa.ColumnElement[bool]:  # noqa: FBT001 - a direction
    condition: sa.ColumnElement[bool] = column < value if down else column > value
    return condition


def _beyond_both(order: Order, place: Place, down: bool) -> sa.ColumnElement[bool]:  # noqa: FBT001 - a direction
    """Compare value and key as one: that an index over both can begin at."""
    both = sa.tuple_(order.column, order.key)
    types = [order.column.type, order.key.type]
    other = sa.tuple_(*place, types=types)
    return both < other if down else both > other


def _as(column: orm.InstrumentedAttribute[Any], value: Any) -> Any:
    """Return a value out of an address as the column has it; raises ``ValueError``."""
    if value is None:
        return None
    return msgspec.convert(value, column.type.python_type, strict=False)
