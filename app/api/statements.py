"""SQL of one answer. Names come out of contracts, quoted; values are parameters, always.

PostgreSQL writes the JSON and the exchange log's row in the statement that reads the rows:
what is handed out is logged, or neither happens.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from app.api.access import SAMPLE_ROWS, Opened
from app.api.ask import COMPARE, Ask, Filter
from app.contracts.fields import FieldSpec
from app.contracts.states import FieldType
from app.core.sql import quote
from app.datasets.ddl import SQL_TYPES, Names

TAKE = (
    "SELECT set_config('role', 'simpul_api', true),"
    " set_config('simpul.client_id', %s, true),"
    " set_config('statement_timeout', %s, true)"
)
TAKE_WITH_PLACE = TAKE + ", simpul_api_slot(%s, %s)"
DRAW = (
    "SELECT granted, minute_left, day_left, rows_left, seconds"
    " FROM simpul_api_draw(%s, %s, %s)"
)
_LOG_COLUMNS = (
    "channel, agency_id, producer_id, dataset_id, client_id, key_prefix, agreement, query,"
    " fields, etag, request_id, remote_ip, phase, status, run_id, file_sha256"
)
_LOG_VALUES = (
    "'api', %(agency)s, %(producer)s, %(dataset)s, %(client)s, %(prefix)s, %(agreement)s,"
    " %(query)s, %(fields)s, %(etag)s, %(request)s, %(ip)s, %(phase)s, %(status)s, %(run)s, ''"
)
LOG = (
    f"INSERT INTO exchange_log ({_LOG_COLUMNS}, row_count, byte_count, duration_ms)"
    f" VALUES ({_LOG_VALUES}, %(rows)s, %(bytes)s, %(milliseconds)s)"
)
# Apostrophe in front: Excel then takes the cell for text, whatever it begins with.
_DANGEROUS = r"^[=+\-@\t\r]"


@dataclass(frozen=True, slots=True)
class Statement:
    sql: str
    params: dict[str, Any]


def page(ask: Ask, opened: Opened, limit: int, place: Sequence[Any] | None) -> Statement:
    """Return the statement of one JSON page; ``place`` is where the page before ended.

    Answers one row: the records as JSON text in bytes, how many were found (at most one
    more than ``limit``), the place of the last one shown, the newest change.
    """
    where, params = _conditions(ask.filters)
    order = _order(ask, opened)
    if place is not None:
        condition, more = _beyond(order, place)
        where.append(condition)
        params |= more
    columns = ", ".join(_shown(each, opened) for each in ask.fields)
    at = ", ".join(f"_t.{quote(each.name)}::text" for each, _ in order)
    rows = (
        f"SELECT row_to_json(_x)::text AS j, row_number() OVER () AS n, {at}"
        f" FROM (SELECT * FROM {_source(opened)} WHERE {' AND '.join(where)}"
        f" ORDER BY {_order_sql(order)} LIMIT {limit + 1}) _t,"
        f" LATERAL (SELECT {columns}) _x"
    )
    names = ", ".join(f"a{i}" for i in range(len(order)))
    return Statement(
        _logged(
            f"WITH page (j, n, {names}) AS MATERIALIZED ({rows})",
            f"max(json_build_array({names})::text) FILTER (WHERE n = {limit})",
            limit,
        )
        + f", {_newest(opened)} FROM body",
        params,
    )


def changes(ask: Ask, opened: Opened, limit: int, since: int) -> Statement:
    """Return the statement of one page of the change feed, as ``page`` answers."""
    columns = ", ".join(_shown(each, opened) for each in ask.fields)
    keys = ", ".join(f"_t.{quote(each.name)}" for each in opened.keys)
    rows = (
        "SELECT CASE WHEN _t._deleted_at IS NULL THEN row_to_json(_x)::text"
        " ELSE row_to_json(_gone)::text END, row_number() OVER (), _t._seq"
        f" FROM (SELECT * FROM {_table(opened)} WHERE _seq > %(since)s"
        f" ORDER BY _seq LIMIT {limit + 1}) _t,"
        f" LATERAL (SELECT {columns}, false AS _deleted) _x,"
        f" LATERAL (SELECT {keys}, true AS _deleted) _gone"
    )
    return Statement(
        _logged(
            f"WITH page (j, n, seq) AS MATERIALIZED ({rows})",
            f"(max(seq) FILTER (WHERE n <= {limit}))::text",
            limit,
        )
        + ", %(since)s::bigint FROM body",
        {"since": since},
    )


def _logged(page_sql: str, place: str, limit: int) -> str:
    """Return the page and the log of it; bytes are the records', before compression."""
    return (
        f"{page_sql}, body AS MATERIALIZED (SELECT convert_to(coalesce(string_agg("
        f"j, ',' ORDER BY n) FILTER (WHERE n <= {limit}), ''), 'UTF8') AS text,"
        f" count(*) AS n, {place} AS place FROM page), logged AS ("
        f"INSERT INTO exchange_log ({_LOG_COLUMNS}, row_count, byte_count, duration_ms)"
        f" SELECT {_LOG_VALUES}, least(n, {limit}), length(text),"
        " extract(epoch FROM clock_timestamp() - statement_timestamp()) * 1000 FROM body)"
        " SELECT text, n, place"
    )


def count(ask: Ask, opened: Opened) -> Statement:
    where, params = _conditions(ask.filters)
    return Statement(
        f"SELECT count(*) FROM {_source(opened)} WHERE {' AND '.join(where)}", params
    )


def stream(ask: Ask, opened: Opened) -> Statement:
    """Return the COPY of a whole answer in NDJSON or CSV, a line for each row."""
    where, params = _conditions(ask.filters)
    order = _order_sql(_order(ask, opened))
    limit = f" LIMIT {ask.limit}" if ask.limit else ""
    source = (
        f"(SELECT * FROM {_source(opened)} WHERE {' AND '.join(where)}"
        f" ORDER BY {order}{limit}) _t"
    )
    if ask.format == "ndjson":
        columns = ", ".join(_shown(each, opened) for each in ask.fields)
        # JSON has no control characters: with these two nothing is ever quoted or escaped.
        return Statement(
            f"COPY (SELECT row_to_json(_x)::text FROM {source}, LATERAL (SELECT {columns}) _x)"
            r" TO STDOUT (FORMAT csv, QUOTE E'\x01', DELIMITER E'\x02')",
            params,
        )
    excel = ask.format == "csv-excel"
    columns = ", ".join(_written(each, opened, excel=excel) for each in ask.fields)
    more = ", DELIMITER ';'" if excel else ""
    return Statement(
        f"COPY (SELECT {columns} FROM {source}) TO STDOUT (FORMAT csv, HEADER{more})",
        params,
    )


def _table(opened: Opened) -> str:
    return Names(opened.slug, opened.version).table


def _source(opened: Opened) -> str:
    """Return what rows are read from; a trial key's is the first rows alone."""
    table = _table(opened)
    if not opened.sample:
        return table
    keys = ", ".join(quote(each.name) for each in opened.keys)
    return (
        f"(SELECT * FROM {table} WHERE _deleted_at IS NULL ORDER BY {keys}"
        f" LIMIT {SAMPLE_ROWS}) _s"
    )


def _value(each: FieldSpec, opened: Opened) -> str:
    column = f"_t.{quote(each.name)}"
    if not opened.is_masked(each):
        return column
    if each.type is FieldType.TEXT:
        return f"left({column}, 1) || left('•••••', length({column}))"
    return f"NULL::{SQL_TYPES[each.type]}"


def _shown(each: FieldSpec, opened: Opened) -> str:
    return f"{_value(each, opened)} AS {quote(each.name)}"


def _written(each: FieldSpec, opened: Opened, *, excel: bool) -> str:
    """Return a column as CSV has it: the same words as JSON's; safe cells for Excel."""
    value = _value(each, opened)
    if each.type is FieldType.BOOLEAN:
        value = f"({value})::text"
    elif each.type is FieldType.TIMESTAMP:
        value = f"to_json({value})#>>'{{}}'"
    elif excel and each.type is FieldType.TEXT:
        value = (
            f"CASE WHEN {value} ~ E'{_DANGEROUS}' THEN '''' || ({value}) ELSE {value} END"
        )
    return f"{value} AS {quote(each.name)}"


def _newest(opened: Opened) -> str:
    return f"(SELECT coalesce(max(_seq), 0) FROM {_table(opened)})"


def _conditions(filters: Sequence[Filter]) -> tuple[list[str], dict[str, Any]]:
    where = ["_deleted_at IS NULL"]
    params: dict[str, Any] = {}
    for number, each in enumerate(filters):
        sql, more = _condition(each, f"f{number}")
        where.append(sql)
        params |= more
    return where, params


def _condition(each: Filter, name: str) -> tuple[str, dict[str, Any]]:
    column, kind = quote(each.field.name), SQL_TYPES[each.field.type]
    if each.operator == "isnull":
        return f"{column} IS {'' if each.values[0] else 'NOT '}NULL", {}
    if each.operator == "in":
        return f"{column} = ANY (%({name})s::{kind}[])", {name: list(each.values)}
    value = each.values[0]
    if each.operator == "contains":
        return f"{column} ILIKE %({name})s", {name: f"%{_plain(value)}%"}
    if each.operator == "startswith":
        return f"{column} LIKE %({name})s", {name: f"{_plain(value)}%"}
    return f"{column} {COMPARE[each.operator]} %({name})s::{kind}", {name: value}


def _plain(text: str) -> str:
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")


Order = list[tuple[FieldSpec, bool]]


def _order(ask: Ask, opened: Opened) -> Order:
    """Return what rows are ordered by: as asked, then by key, so that no two are equal."""
    named = {each.name for each, _ in ask.sort}
    down = bool(ask.sort) and all(down for _, down in ask.sort)
    return [*ask.sort, *((each, down) for each in opened.keys if each.name not in named)]


def _order_sql(order: Order) -> str:
    """Return it as SQL; empty values come last both ways (a key has none)."""
    return ", ".join(
        quote(each.name)
        + (" DESC" if down else "")
        + (" NULLS LAST" if down and not each.is_key else "")
        for each, down in order
    )


def _beyond(order: Order, place: Sequence[Any]) -> tuple[str, dict[str, Any]]:
    """Return the condition of lying after ``place``, whose values are texts or None."""
    params = {f"k{i}": value for i, value in enumerate(place)}
    ways = {down for _, down in order}
    marks = [f"%(k{i})s::{SQL_TYPES[each.type]}" for i, (each, _) in enumerate(order)]
    if len(ways) == 1 and all(each.is_key for each, _ in order):
        names = ", ".join(quote(each.name) for each, _ in order)
        sign = "<" if ways == {True} else ">"
        return f"({names}) {sign} ({', '.join(marks)})", params
    ors, same = [], []
    for (each, down), mark, value in zip(order, marks, place, strict=True):
        column = quote(each.name)
        if value is None:
            same.append(f"{column} IS NULL")
            continue
        later = f"{column} {'<' if down else '>'} {mark}"
        if not each.is_key:
            later = f"({later} OR {column} IS NULL)"
        ors.append(" AND ".join([*same, later]))
        same.append(f"{column} = {mark}")
    used = {f"k{i}" for i, value in enumerate(place) if value is not None}
    return f"({' OR '.join(ors)})", {k: v for k, v in params.items() if k in used}
