"""Finding rows by words: PostgreSQL's full-text search over names, numbers and identifiers.

A model that is searched has a column ``words`` with an index. The database fills it out of
other columns: whole words, the parts of identifiers between signs, and numbers without
their leading zeros, so that ``PMH/2026/0236994`` is found by ``236994``. What is typed finds the beginnings of words;
the middle of a word is not found.
"""

from typing import Any

import sqlalchemy as sa
from sqlalchemy import orm
from sqlalchemy.dialects.postgresql import TSVECTOR

MAX_SEARCH = 200


def words_column(*columns: str) -> Any:
    """Return the column of the words in text columns of a model, for ``Unmapped``.

    No object holds it: it is for conditions alone. The index is named beside it.
    """
    text = " || ' ' || ".join(columns)
    computed = sa.Computed(f"simpul_words({text})", persisted=True)
    return orm.unmapped_column(TSVECTOR, computed, info={"of": columns})


def words_index() -> sa.Index:
    """Return the index that a search reads; without late entries, which it would wade through."""
    return sa.Index(
        None, "words", postgresql_using="gin", postgresql_with={"fastupdate": "off"}
    )


def words_of(model: type[Any]) -> sa.Column[Any] | None:
    """Return the column with the words of a model's rows, if it is searched at all."""
    column: sa.Column[Any] | None = model.__table__.c.get("words")
    return column


def searched(model: type[Any]) -> tuple[str, ...]:
    """Name the columns whose words are found."""
    column = words_of(model)
    names: tuple[str, ...] = () if column is None else column.info["of"]
    return names


def typed(text: str) -> str:
    """Return what somebody typed to be found, as a search can take it."""
    return text.replace("\0", "")[:MAX_SEARCH].strip()


def found_by(model: type[Any], text: str) -> sa.ColumnElement[bool] | None:
    """Return what rows of a searched model are found by; None for nothing asked."""
    words, wanted = words_of(model), typed(text)
    if words is None or not wanted:
        return None
    if not any(sign.isalnum() for sign in wanted):
        return sa.false()  # signs are no words: nothing has them
    return words.op("@@", is_comparison=True)(sa.func.simpul_query(wanted))
