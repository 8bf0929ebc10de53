"""Lists of pages of our own: the same as those of Flask-Admin's views, without its forms.

A page says once what its list is made of (``Table``); the address says how it is narrowed,
sorted and which columns it has, like that of any list.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import sqlalchemy as sa
from flask import request
from sqlalchemy import orm
from werkzeug.datastructures import MultiDict

from app.core import lists
from app.core.filters import Clause, Filter, Op, Where, narrowing
from app.core.search import Found, all_found, found_by
from app.web.listing import ListState, Panel, office_zone, read_state, where_of_panel
from app.web.paging import tell_lost, turn

PAGE_SIZE = 25


class Narrowed(NamedTuple):
    """What a list shows: a query, and what its rows are found by when words are among it."""

    query: sa.Select[Any]
    words: Found | None

    def whole(self) -> sa.Select[Any]:
        """Return the query with all of its conditions, where nothing is shown in order."""
        return self.query if self.words is None else self.query.where(self.words.by_index)


def narrowed(
    rows: sa.Select[Any], model: type[Any], filters: Sequence[Filter], state: ListState
) -> Narrowed:
    """Narrow ``rows`` as a list is; all conditions beside words go with them."""
    condition, *words = narrowing(state.where, filters, office_zone())
    searched = found_by(model, state.search)
    found = all_found([each for each in (*words, searched) if each is not None])
    beside = () if condition is None else (condition,)
    if found is None:
        return Narrowed(rows.where(*beside), None)
    return Narrowed(rows, found.also(*beside))


@dataclass(frozen=True, slots=True)
class Shown:
    """One page of a list, for its template."""

    table: "Table"
    page: lists.Slice
    state: ListState
    panel: Panel
    sorted_by: str
    is_down: bool

    @property
    def rows(self) -> Sequence[Any]:
        return self.page.rows

    @property
    def columns(self) -> list[tuple[str, str]]:
        """Return the columns that are shown: names and headings."""
        return self._named(self.state.columns or self.table.usual)

    @property
    def all_columns(self) -> list[tuple[str, str]]:
        return self._named(self.table.columns)

    def _named(self, names: Sequence[str] | Mapping[str, Any]) -> list[tuple[str, str]]:
        return [(name, str(self.table.columns[name])) for name in names]


@dataclass(frozen=True, slots=True)
class Table:
    """What a list is made of.

    ``columns`` are headings by name, ``usual`` those that are shown when none are chosen;
    ``sorts`` says by what a column is sorted. ``former`` are filters that an address of
    former days named by themselves: ``?status=dead``. ``searched`` says in words what a
    search looks at.
    """

    endpoint: str
    model: type[Any]
    columns: Mapping[str, Any]
    usual: Sequence[str]
    sorts: Mapping[str, orm.InstrumentedAttribute[Any]]
    sorted_by: str
    is_down: bool
    filters: Sequence[Filter]
    searched: Any
    former: Mapping[str, str]

    def state(self, args: "MultiDict[str, str]") -> ListState:
        """Return the list as an address with these parts shows it."""
        return read_state(
            self.endpoint, args, self.filters, self.sorts.keys(), tuple(self.columns)
        )

    def narrowed(self, rows: sa.Select[Any], state: ListState) -> Narrowed:
        return narrowed(rows, self.model, self.filters, state)

    def other_address(self) -> str:
        """Return where a request for the list is to be sent instead; "" for nowhere.

        The panel of filters has its address put in order, and one of former days is read.
        """
        args = request.args
        if "do" in args:
            return self.state(args).url(where=where_of_panel(args, self.filters))
        clauses = [
            Clause(name, Op.IS, args[old])
            for old, name in self.former.items()
            if args.get(old)
        ]
        if not clauses:
            return ""
        state = self.state(args)
        return state.url(where=Where((*state.where.groups, tuple(clauses))))

    def shown(self, session: orm.Session, rows: sa.Select[Any]) -> Shown:
        """Return the page of ``rows`` that the request asks for."""
        state = self.state(request.args)
        name = state.sort or self.sorted_by
        is_down = state.is_down if state.sort else self.is_down
        key = getattr(self.model, str(sa.inspect(self.model).primary_key[0].key))
        order = lists.Order(self.sorts[name], key, is_down)
        query, words = self.narrowed(rows, state)
        page = lists.read_slice(session, query, order, PAGE_SIZE, turn(), words)
        tell_lost(page)
        return Shown(self, page, state, Panel(self.filters, state), name, is_down)
