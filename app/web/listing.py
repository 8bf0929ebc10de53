"""What an address says of a list: words, conditions, order and columns, all of it.

A link that somebody copies shows another person the same list, as far as it is theirs.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from flask import current_app, flash, url_for
from flask_babel import gettext
from werkzeug.datastructures import MultiDict

from app.core.filters import (
    MAX_CLAUSES,
    BadClauseError,
    Clause,
    Filter,
    Kind,
    Op,
    Options,
    Where,
    condition_of,
    grouped,
    read_where,
)
from app.core.search import typed
from app.web.context import state_name
from app.web.i18n import lazy_gettext

NOWHERE = Where()
OPERATORS: Mapping[Op, Any] = {
    Op.IS: lazy_gettext("is"),
    Op.NOT: lazy_gettext("is not"),
    Op.HAS: lazy_gettext("has the words"),
    Op.FROM: lazy_gettext("from"),
    Op.TO: lazy_gettext("up to"),
    Op.LAST: lazy_gettext("in the last days"),
    Op.EMPTY: lazy_gettext("is empty"),
    Op.FILLED: lazy_gettext("is filled"),
}


HINTS: Mapping[Kind, Any] = {
    Kind.CHOICE: lazy_gettext("one of the values in the choice"),
    Kind.TEXT: lazy_gettext("any text"),
    Kind.NUMBER: lazy_gettext("a number"),
    Kind.DAY: lazy_gettext("a day"),
    Kind.MOMENT: lazy_gettext("a day"),
}


def office_zone() -> ZoneInfo:
    """Return the zone of the office's clock: days of a filter are its days."""
    return ZoneInfo(current_app.extensions["simpul_settings"].time_zone)


def yes_or_no() -> Options:
    return (("1", gettext("yes")), ("0", gettext("no")))


def named(*values: str) -> Callable[[], Options]:
    """Return the choice of some states, kinds or classes, by their names on pages."""
    return lambda: [(str(each), state_name(each)) for each in values]


@dataclass(frozen=True, slots=True)
class ListState:
    """A list as an address shows it, but for the place in it."""

    endpoint: str
    search: str = ""
    where: Where = NOWHERE
    sort: str = ""
    is_down: bool = False
    columns: tuple[str, ...] = ()  # none: the usual ones

    def pairs(self) -> list[tuple[str, str]]:
        """Return the parts of the address, in one order."""
        named = {
            "search": self.search, "sort": self.sort, "desc": "1" if self.is_down else "",
        }  # fmt: skip
        pairs = [(name, value) for name, value in named.items() if value]
        pairs += [("where", text) for text in self.where.texts()]
        return pairs + [("cols", name) for name in self.columns]

    def url(self, **changes: Any) -> str:
        """Return the address of the list, at its beginning, with some parts changed."""
        changed = replace(self, **changes)
        many: dict[str, Any] = {}
        for name, value in changed.pairs():
            many.setdefault(name, []).append(value)
        return url_for(self.endpoint, **many)

    @property
    def query(self) -> str:
        """Return what stands behind the question mark of its address."""
        return urlencode(self.pairs())

    @property
    def listed(self) -> str:
        """Return the name of the list's pages."""
        return self.endpoint.partition(".")[0]

    def hidden(self, *without: str) -> list[tuple[str, str]]:
        """Return the parts that a form must carry along beside its own."""
        return [pair for pair in self.pairs() if pair[0] not in without]

    @property
    def is_narrowed(self) -> bool:
        return bool(self.search or self.where.groups)

    def chosen(self, name: str) -> str:
        """Return the clause by which a quick choice narrows the list, if it does."""
        return next(
            (str(c) for c in self.where.clauses if c.name == name and c.op is Op.IS), ""
        )

    @property
    def is_plain(self) -> bool:
        """Whether quick choices can show how the list is narrowed: without *or*."""
        return len(self.where.groups) < 2


def read_state(
    endpoint: str,
    args: "MultiDict[str, str]",
    filters: Sequence[Filter],
    sortable: Collection[str],
    columns: Sequence[str],
) -> ListState:
    """Read an address; what of it says nothing is told to the reader, not left out silently."""
    where, bad = read_where(args.getlist("where"), filters, office_zone())
    for text in bad:
        flash(
            gettext(
                "This filter says nothing here and was left out: %(text)s", text=text
            ),
            "warning",
        )
    sort = args.get("sort", "")
    asked = tuple(dict.fromkeys(args.getlist("cols")))
    return ListState(
        endpoint,
        search=typed(args.get("search", "")),
        where=where,
        sort=sort if sort in sortable else "",
        is_down=args.get("desc") == "1" and sort in sortable,
        columns=tuple(name for name in columns if name in asked),
    )


def where_of_panel(args: "MultiDict[str, str]", filters: Sequence[Filter]) -> Where:
    """Read the panel of filters: a row of it for each clause, and what is to be done.

    ``g`` group, ``f`` column, ``was`` the column it was, ``o`` operator, ``v`` value;
    ``do``: ``and:GROUP`` or ``or`` adds a row, ``drop:ROW`` takes one away.
    """
    rows = zip(
        *(args.getlist(name) for name in ("g", "f", "was", "o", "v")), strict=False
    )
    doing, _, at = args.get("do", "").partition(":")
    groups: dict[str, list[Clause]] = {}
    for number, (group, name, was, op, value) in enumerate(rows):
        clause = _clause(name, was, op, value, filters)
        if clause and not (doing == "drop" and at == str(number)):
            groups.setdefault(group, []).append(clause)
    if (
        doing in {"and", "or"}
        and filters
        and sum(map(len, groups.values())) < MAX_CLAUSES
    ):
        fresh = Clause(filters[0].name, filters[0].ops[0])
        groups.setdefault(at if doing == "and" else "new", []).append(fresh)
    return grouped(groups.values())


def _clause(
    name: str, was: str, op: str, value: str, filters: Sequence[Filter]
) -> Clause | None:
    chosen = next((each for each in filters if each.name == name), None)
    if chosen is None:
        return None
    # Another column is compared in its own usual way, with a value of its own.
    kept = name == was and op in chosen.ops
    made = Clause(name, Op(op) if kept else chosen.ops[0])
    text = value.replace("\0", "").strip()
    if not text or name != was or made.is_whole:
        return made
    filled = made._replace(value=text)
    try:
        condition_of(filled, chosen, office_zone())
    except BadClauseError:
        flash(
            gettext(
                "%(value)s does not suit %(column)s: %(hint)s",
                value=text[:80], column=chosen.label, hint=hint_of(chosen, made.op),
            ),
            "warning",
        )  # fmt: skip
        return made
    return filled


def hint_of(chosen: Filter, op: Op) -> str:
    """Say what sort of value a clause takes."""
    if op is Op.LAST:
        return str(gettext("a number of days, at most 3660, today included"))
    if op is Op.HAS:
        return str(gettext("words or numbers, at least one letter or digit"))
    return str(HINTS[chosen.kind])


@dataclass(frozen=True, slots=True)
class Row:
    """A row of the panel: a clause with what may be chosen in its place."""

    number: int
    group: int
    clause: Clause
    filter: Filter
    options: Options


class Panel:
    """The filters of one list as a page shows them; choices are asked for once."""

    def __init__(self, filters: Sequence[Filter], state: ListState) -> None:
        self.filters, self.state = filters, state
        self._known = {each.name: each for each in filters}
        self._options: dict[str, Options] = {}

    def options(self, chosen: Filter) -> Options:
        if chosen.options is None:
            return ()
        if chosen.name not in self._options:
            self._options[chosen.name] = chosen.options()
        return self._options[chosen.name]

    def groups(self) -> list[list[Row]]:
        made: list[list[Row]] = []
        number = 0
        for at, group in enumerate(self.state.where.groups):
            made.append([])
            for clause in group:
                chosen = self._known[clause.name]
                made[-1].append(Row(number, at, clause, chosen, self.options(chosen)))
                number += 1
        return made

    def quick(self) -> list[Filter]:
        return (
            [each for each in self.filters if each.quick] if self.state.is_plain else []
        )

    def beside_quick(self) -> list[str]:
        """Return the clauses that no quick choice shows, for the form that holds those."""
        shown = {self.state.chosen(each.name) for each in self.quick()}
        return [text for text in self.state.where.texts() if text not in shown]

    @property
    def is_open(self) -> bool:
        """Whether somebody is at work on a filter: one lacks its value, or may be changed."""
        return any(not each.is_whole for each in self.state.where.clauses)

    def operator_name(self, op: Op) -> str:
        return str(OPERATORS[op])

    def value_words(self, row: Row) -> str:
        """Return a clause's value as the page names it."""
        return dict(row.options).get(row.clause.value, row.clause.value)
