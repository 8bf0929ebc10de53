"""Reading central tables: the same rows for page, export and (later) API."""

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.orm import Session

from app.contracts.fields import FieldSpec
from app.core.policy import Principal
from app.core.scope import NotFoundError, visible
from app.core.sql import quote, quote_all
from app.datasets.ddl import SQL_TYPES, Names, keys_of
from app.datasets.models import Dataset

PAGE_SIZE = 50
MAX_SEARCH_COLUMNS = 40


def dataset_by_slug(session: Session, slug: str, principal: Principal) -> Dataset:
    """Return one dataset; raises ``NotFoundError`` when it is not the principal's to see."""
    dataset = session.scalar(
        sa.select(Dataset).where(Dataset.slug == slug, visible(Dataset, principal))
    )
    if dataset is None:
        raise NotFoundError
    return dataset


@dataclass(frozen=True, slots=True)
class RowsPage:
    """Rows in key order as mappings, and the tokens of the pages beside this one."""

    rows: Sequence[dict[str, Any]]
    before: str
    after: str


def rows_page(
    session: Session,
    dataset: Dataset,
    fields: Sequence[FieldSpec],
    *,
    search: str = "",
    before: str = "",
    after: str = "",
) -> RowsPage:
    """Return one page of living rows, by key: any page costs what the first one costs.

    ``before`` and ``after`` are tokens of an earlier page; ``search`` is looked for in
    every text field, letters of either case.
    """
    keys = keys_of(fields)
    table = Names(dataset.slug, dataset.version.number).table
    wanted: list[str] = ["_deleted_at IS NULL"]
    params: dict[str, Any] = {}
    if search:
        condition, params = _search(fields, search)
        wanted.append(condition)
    backwards = bool(before)
    token = before or after
    if token:
        wanted.append(_beyond(fields, "<" if backwards else ">"))
        params |= {f"k{i}": value for i, value in enumerate(_read(token, len(keys)))}
    direction = " DESC" if backwards else ""
    order = ", ".join(f"{quote(key)}{direction}" for key in keys)
    sql = (
        f"SELECT {quote_all([f.name for f in fields])}, _run_id, _first_seen_at, _changed_at"
        f" FROM {table} WHERE {' AND '.join(wanted)} ORDER BY {order} LIMIT {PAGE_SIZE + 1}"
    )
    found = [dict(row) for row in session.execute(sa.text(sql), params).mappings()]
    more, rows = len(found) > PAGE_SIZE, found[:PAGE_SIZE]
    if backwards:
        rows.reverse()
    has_after = more or backwards
    has_before = (more if backwards else bool(after)) and bool(rows)
    return RowsPage(
        rows,
        before=_token(rows[0], keys) if has_before else "",
        after=_token(rows[-1], keys) if has_after and rows else "",
    )


def _search(fields: Sequence[FieldSpec], search: str) -> tuple[str, dict[str, Any]]:
    texts = [f.name for f in fields if SQL_TYPES[f.type] == "text"][:MAX_SEARCH_COLUMNS]
    if not texts:
        return "false", {}
    escaped = search.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    condition = " OR ".join(f"{quote(name)} ILIKE :search" for name in texts)
    return f"({condition})", {"search": f"%{escaped}%"}


def _beyond(fields: Sequence[FieldSpec], operator: str) -> str:
    keys = [field for field in fields if field.is_key]
    names = ", ".join(quote(each.name) for each in keys)
    values = ", ".join(
        f"CAST(:k{i} AS {SQL_TYPES[each.type]})" for i, each in enumerate(keys)
    )
    return f"({names}) {operator} ({values})"


def _token(row: dict[str, Any], keys: Sequence[str]) -> str:
    values = msgspec.json.encode([str(row[key]) for key in keys])
    return base64.urlsafe_b64encode(values).decode().rstrip("=")


def _read(token: str, count: int) -> list[str]:
    """Return the key values in a token; raises ``NotFoundError`` for one we did not make."""
    try:
        padded = token + "=" * (-len(token) % 4)
        values = msgspec.json.decode(base64.urlsafe_b64decode(padded), type=list[str])
    except (binascii.Error, msgspec.DecodeError, ValueError, UnicodeDecodeError):
        raise NotFoundError from None
    if len(values) != count or any("\0" in value for value in values):
        raise NotFoundError
    return values


def history_of(
    session: Session, dataset: Dataset, fields: Sequence[FieldSpec], token: str
) -> tuple[dict[str, Any], Sequence[dict[str, Any]]]:
    """Return one row by its token, and its former values, newest first."""
    names = Names(dataset.slug, dataset.version.number)
    keys = [field for field in fields if field.is_key]
    same = " AND ".join(
        f"{quote(each.name)} = CAST(:k{i} AS {SQL_TYPES[each.type]})"
        for i, each in enumerate(keys)
    )
    params = {f"k{i}": value for i, value in enumerate(_read(token, len(keys)))}
    columns = quote_all([f.name for f in fields])
    row = (
        session.execute(
            sa.text(
                f"SELECT {columns}, _run_id, _first_seen_at, _changed_at, _deleted_at"
                f" FROM {names.table} WHERE {same}"
            ),
            params,
        )
        .mappings()
        .first()
    )
    if row is None:
        raise NotFoundError
    former = session.execute(
        sa.text(
            f"SELECT {columns}, _run_id, _valid_from, _valid_to, _ended_as"
            f" FROM {names.history} WHERE {same} ORDER BY _valid_to DESC LIMIT 100"
        ),
        params,
    ).mappings()
    return dict(row), [dict(each) for each in former]


def token_of(row: dict[str, Any], fields: Sequence[FieldSpec]) -> str:
    """Return the token by which a row's own page is found."""
    return _token(row, keys_of(fields))
