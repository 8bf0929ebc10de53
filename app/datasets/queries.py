"""Reading central tables, within what somebody may read of them."""

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import msgspec
import sqlalchemy as sa
from sqlalchemy.orm import Session

from app.contracts.fields import FieldSpec
from app.contracts.states import FieldType
from app.core.policy import Principal
from app.core.scope import NotFoundError, visible
from app.core.sql import quote, quote_all
from app.datasets.ddl import SQL_TYPES, Names
from app.datasets.models import Agreement, Dataset
from app.datasets.reading import Chosen, Reading, readable, whole

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


def agreement_of(session: Session, dataset: Dataset, agency_id: UUID) -> Agreement | None:
    """Return what opens a dataset to another agency now."""
    return session.scalar(
        sa.select(Agreement).where(
            Agreement.dataset_id == dataset.id,
            Agreement.agency_id == agency_id,
            *Agreement.is_active(),
        )
    )


def reading_of(session: Session, dataset: Dataset, agency_id: UUID | None) -> Reading:
    """Return what an agency (None: the office) may read; ``NotFoundError`` for nothing."""
    specs = dataset.version.specs()
    if agency_id is None or agency_id == dataset.agency_id:
        return whole(specs)
    agreement = agreement_of(session, dataset, agency_id)
    if agreement is None:
        raise NotFoundError
    return reading_by(agreement, specs)


def reading_by(agreement: Agreement, specs: Sequence[FieldSpec]) -> Reading:
    """Return what an agreement opens of the fields that there are."""
    chosen = None
    if agreement.row_field:
        chosen = Chosen(agreement.row_field, tuple(agreement.row_values))
    return Reading(
        fields=readable(specs, agreement.fields),
        keys=whole(specs).keys,
        chosen=chosen,
        basis=agreement.number,
    )


@dataclass(frozen=True, slots=True)
class RowsPage:
    """Rows in order as mappings, and the tokens of the pages beside this one."""

    rows: Sequence[dict[str, Any]]
    before: str
    after: str


# What rows are told apart by where their keys may not be read.
_PLACE = FieldSpec(name="_seq", source_path="", label="", type=FieldType.INTEGER)


def rows_page(
    session: Session,
    dataset: Dataset,
    reading: Reading,
    *,
    search: str = "",
    before: str = "",
    after: str = "",
) -> RowsPage:
    """Return one page of living rows, by key: any page costs what the first one costs.

    Where keys may not be read the order is that of the changes: a token says no key.
    ``before`` and ``after`` are tokens of an earlier page; ``search`` is looked for in
    every text field, letters of either case.
    """
    ordered = reading.keys if reading.shows_keys else (_PLACE,)
    names = [each.name for each in ordered]
    table = Names(dataset.slug, dataset.version.number)
    params: dict[str, Any] = {}
    wanted = ["_deleted_at IS NULL"]
    if search:
        condition, values = _search(reading.fields, search)
        wanted.append(condition)
        params |= values
    backwards = bool(before)
    token = before or after
    if token:
        wanted.append(_beyond(ordered, "<" if backwards else ">"))
        params |= {f"k{i}": value for i, value in enumerate(_read(token, len(names)))}
    direction = " DESC" if backwards else ""
    order = ", ".join(f"{quote(name)}{direction}" for name in names)
    columns = quote_all([f.name for f in reading.fields] + ["_seq"])
    sql = (
        f"SELECT {columns}, _run_id, _first_seen_at, _changed_at"
        f" FROM {reading.source(table)} WHERE {' AND '.join(wanted)} ORDER BY {order}"
        f" LIMIT {PAGE_SIZE + 1}"
    )
    found = [dict(row) for row in session.execute(sa.text(sql), params).mappings()]
    more, rows = len(found) > PAGE_SIZE, found[:PAGE_SIZE]
    if backwards:
        rows.reverse()
    has_after = more or backwards
    has_before = (more if backwards else bool(after)) and bool(rows)
    return RowsPage(
        rows,
        before=_token(rows[0], names) if has_before else "",
        after=_token(rows[-1], names) if has_after and rows else "",
    )


def row_count(session: Session, dataset: Dataset, reading: Reading) -> int:
    """Return how many living rows somebody may read: counted where only some are opened."""
    if reading.chosen is None:
        return dataset.row_count
    source = reading.source(Names(dataset.slug, dataset.version.number))
    sql = f"SELECT count(*) FROM {source} WHERE _deleted_at IS NULL"
    return int(session.scalar(sa.text(sql)) or 0)


def _search(fields: Sequence[FieldSpec], search: str) -> tuple[str, dict[str, Any]]:
    texts = [f.name for f in fields if SQL_TYPES[f.type] == "text"][:MAX_SEARCH_COLUMNS]
    if not texts:
        return "false", {}
    escaped = search.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    condition = " OR ".join(f"{quote(name)} ILIKE :search" for name in texts)
    return f"({condition})", {"search": f"%{escaped}%"}


def _beyond(keys: Sequence[FieldSpec], operator: str) -> str:
    names = ", ".join(quote(each.name) for each in keys)
    values = ", ".join(
        f"CAST(:k{i} AS {SQL_TYPES[each.type]})" for i, each in enumerate(keys)
    )
    return f"({names}) {operator} ({values})"


def _token(row: dict[str, Any], names: Sequence[str]) -> str:
    values = msgspec.json.encode([str(row[name]) for name in names])
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


def row_of(
    session: Session, dataset: Dataset, reading: Reading, token: str
) -> dict[str, Any]:
    """Return one row by its token; raises ``NotFoundError`` for none that may be read."""
    if not reading.shows_keys:
        raise NotFoundError
    row = _row(session, dataset, reading, _same_params(reading, token))
    if row is None:
        raise NotFoundError
    return row


def rows_by_keys(
    session: Session, dataset: Dataset, reading: Reading, keys: Sequence[tuple[Any, ...]]
) -> dict[tuple[Any, ...], dict[str, Any]]:
    """Return the rows that have some keys, by their keys: values as the columns have them."""
    if not keys:
        return {}
    wanted = ", ".join(
        f"CAST(:k{i} AS {SQL_TYPES[each.type]}[])" for i, each in enumerate(reading.keys)
    )
    names = quote_all([each.name for each in reading.keys])
    params = {f"k{i}": list(part) for i, part in enumerate(zip(*keys, strict=True))}
    found = _rows(
        session,
        dataset,
        reading,
        f"({names}) IN (SELECT * FROM unnest({wanted}))",
        params,
    )
    return {tuple(row[each.name] for each in reading.keys): row for row in found}


def _row(
    session: Session, dataset: Dataset, reading: Reading, params: dict[str, Any]
) -> dict[str, Any] | None:
    return next(iter(_rows(session, dataset, reading, _same(reading.keys), params)), None)


def _rows(
    session: Session,
    dataset: Dataset,
    reading: Reading,
    condition: str,
    params: dict[str, Any],
) -> list[dict[str, Any]]:
    names = Names(dataset.slug, dataset.version.number)
    columns = quote_all([f.name for f in reading.fields])
    is_there = "true" if reading.is_whole else "_deleted_at IS NULL"
    sql = (
        f"SELECT {columns}, _run_id, _first_seen_at, _changed_at, _deleted_at"
        f" FROM {reading.source(names)} WHERE {condition} AND {is_there}"
    )
    return [dict(row) for row in session.execute(sa.text(sql), params).mappings()]


def history_of(
    session: Session, dataset: Dataset, reading: Reading, token: str
) -> Sequence[dict[str, Any]]:
    """Return a row's former values, newest first; an agreement opens what is, not what was."""
    if not reading.is_whole:
        return []
    names = Names(dataset.slug, dataset.version.number)
    columns = quote_all([f.name for f in reading.fields])
    former = session.execute(
        sa.text(
            f"SELECT {columns}, _run_id, _valid_from, _valid_to, _ended_as"
            f" FROM {names.history} WHERE {_same(reading.keys)}"
            " ORDER BY _valid_to DESC LIMIT 100"
        ),
        _same_params(reading, token),
    ).mappings()
    return [dict(each) for each in former]


def _same(keys: Sequence[FieldSpec]) -> str:
    return " AND ".join(
        f"{quote(each.name)} = CAST(:k{i} AS {SQL_TYPES[each.type]})"
        for i, each in enumerate(keys)
    )


def _same_params(reading: Reading, token: str) -> dict[str, Any]:
    values = _read(token, len(reading.keys))
    return {f"k{i}": value for i, value in enumerate(values)}


def token_of(row: dict[str, Any], reading: Reading) -> str:
    """Return the token by which a row's own page is found; "" where it has none."""
    if not reading.shows_keys:
        return ""
    return _token(row, [each.name for each in reading.keys])
