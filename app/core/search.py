"""Finding rows by words: PostgreSQL's full-text search over names, numbers and identifiers.

A model that is searched has an index over the words of its text: whole words, the parts of
identifiers between signs, and numbers without their leading zeros, so that
``PMH/2026/0236994`` is found by ``236994``. What is typed finds the beginnings of words;
the middle of a word is not found.

The words stand in the index alone: rows that carry them, too, take half as many pages
more, and a search reads every page that has a hit. A row that is looked at without the index is
first asked whether the text has the typed letters at all, which costs a hundredth.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from app.core.policy import BOUND, acting_principal

MAX_SEARCH = 200
_OF = "searched_columns"


def words_index(table: str, *columns: str) -> sa.Index:
    """Return the index over the words in text columns of a table.

    Without late entries, which a search would wade through.
    """
    return sa.Index(
        f"ix_{table}_words",
        sa.text(f"simpul_words({_joined(columns)})"),
        postgresql_using="gin",
        postgresql_with={"fastupdate": "off"},
        info={_OF: columns},
    )


def searched(model: type[Any]) -> tuple[str, ...]:
    """Name the columns whose words are found; none for a model that is not searched."""
    names = (index.info.get(_OF, ()) for index in model.__table__.indexes)
    return next(filter(None, names), ())


def typed(text: str) -> str:
    """Return what somebody typed to be found, as a search can take it."""
    return text.replace("\0", "")[:MAX_SEARCH].strip()


@dataclass(frozen=True, slots=True)
class Found:
    """What rows are found by: ``by_index`` for all of a table, ``by_row`` for one after another.

    Both tell the same. Which one is asked is not left to the planner.
    """

    by_index: sa.ColumnElement[bool]
    by_row: sa.ColumnElement[bool]

    def also(self, *conditions: sa.ColumnElement[bool]) -> "Found":
        """Return the same with further conditions, which are asked first."""
        return Found(
            sa.and_(*conditions, self.by_index), sa.and_(*conditions, self.by_row)
        )


# Signs are no words: nothing has them.
NOTHING = Found(sa.false(), sa.false())


def all_found(found: Sequence[Found]) -> Found | None:
    """Return what all of them tell together; None for none."""
    if not found:
        return None
    return Found(
        sa.and_(*(each.by_index for each in found)),
        sa.and_(*(each.by_row for each in found)),
    )


def found_by(model: type[Any], text: str) -> Found | None:
    """Return what rows of a searched model are found by; None for nothing asked."""
    columns, wanted = searched(model), typed(text)
    if not columns or not wanted:
        return None
    if not any(sign.isalnum() for sign in wanted):
        return NOTHING
    whole = _joined(f'"{model.__tablename__}".{name}' for name in columns)
    words: sa.ColumnElement[Any] = sa.literal_column(f"simpul_words({whole})")
    met = words.op("@@", is_comparison=True)(sa.func.simpul_query(wanted))
    text_of_row: sa.ColumnElement[str] = sa.literal_column(f"({whole})", sa.Text)
    # What other alphabets make of capitals is left to the words themselves.
    letters = re.findall("[A-Za-z0-9]+", wanted)
    by_row = sa.and_(*(text_of_row.icontains(each) for each in letters), met)
    # The index is not for whom row-level security binds: PostgreSQL lets no condition of
    # theirs be asked before its own.
    is_bound = acting_principal().db_role in BOUND
    return Found(by_row if is_bound else met, by_row)


def _joined(columns: Iterable[str]) -> str:
    """Return the text of some columns, written as PostgreSQL tells of an index upon it."""
    first, *rest = columns
    whole = first
    for name in rest:
        inner = whole if whole is first else f"({whole})"
        whole = f"({inner} || ' '::text) || {name}"
    return whole
