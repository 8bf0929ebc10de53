"""SQL of one answer. Names come out of contracts, quoted; values are parameters, always.

PostgreSQL writes the JSON, and the exchange log's row in the statement that reads the rows:
what is handed out is logged, or neither happens.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from app.api.access import SAMPLE_ROWS, Opened
from app.api.ask import COMPARE, Ask, Filter
from app.contracts.fields import FieldSpec
from app.contracts.states import FieldType
from app.core.sql import quote
from app.datasets.ddl import SQL_TYPES, Names

LIMIT_TIME = "SELECT set_config('statement_timeout', %s, true)"
_ENTERED = "(SELECT simpul_api_enter(%(client)s::uuid, %(places)s::int))"
ENTER = f"SELECT {_ENTERED}"
# Rows that a grant does not open (any more) are as absent as others: this tells which.
MAY = "SELECT simpul_api_may(%s)"
# Counters, not the log: they need not be on the disk.
DRAW = (
    "SELECT granted, minute_left, day_left, rows_left, seconds,"
    " length(set_config('synchronous_commit', 'off', true))"
    " FROM simpul_api_draw(%(block)s::int, %(rows)s::bigint, %(back)s::int)"
)
# What is logged of one answer, by the names of its parameters: all of them texts.
_LOGGED = {
    "agency_id": "agency::uuid", "producer_id": "producer::uuid",
    "dataset_id": "dataset::uuid", "client_id": "client::uuid", "key_prefix": "prefix::text",
    "agreement": "agreement::text", "query": "query::text", "fields": "fields::text[]",
    "etag": "etag::text", "request_id": "request::text", "remote_ip": "ip::text",
    "phase": "phase::text", "status": "status::int", "run_id": "run::uuid",
    "times": "times::int",
}  # fmt: skip
_INSERT = (
    f"INSERT INTO exchange_log (channel, file_sha256, {', '.join(_LOGGED)},"
    " row_count, byte_count, duration_ms) SELECT 'api', '', "
    + ", ".join("%({})s::{}".format(*each.split("::")) for each in _LOGGED.values())
)
LOG = f"{_INSERT}, %(rows)s::bigint, %(bytes)s::bigint, %(milliseconds)s::float8"
# Apostrophe in front: Excel then takes the cell for text, whatever it begins with.
_DANGEROUS = r"^[=+\-@\t\r]"


Order = list[tuple[FieldSpec, bool]]


class Statement(NamedTuple):
    sql: str
    params: dict[str, Any]


def page(ask: Ask, opened: Opened, limit: int, place: Sequence[Any] | None) -> Statement:
    """Return the statement of one JSON page; ``place`` is where the page before ended.

    Answers one row: is the dataset open to the client; the records as JSON texts with commas
    between them; how many; are there more; then the values, as text, of what the last of
    them is ordered by. Beside the parameters that come with it, it needs those of ``ENTER``,
    of ``MAY`` and of the log.
    """
    order = _order(ask, opened)
    params = _values(ask.filters)
    if place is not None:
        params |= {f"k{i}": value for i, value in enumerate(place) if value is not None}
    shape = None if place is None else tuple(value is None for value in place)
    if shape not in ask.made:
        ask.made[shape] = _page_sql(ask, opened, order, limit, shape)
    return Statement(ask.made[shape], params)


def _page_sql(
    ask: Ask,
    opened: Opened,
    order: Order,
    limit: int,
    shape: tuple[bool, ...] | None,
) -> str:
    where = [_ENTERED, *_conditions(ask.filters)]
    if shape is not None:
        where.append(_beyond(order, shape))
    at = ", ".join(
        f"_t.{quote(each.name)}::text AS k{number}"
        for number, (each, _) in enumerate(order)
    )
    return _logged(
        f"SELECT {_record(ask.fields, opened)} AS j, {at}"
        f" FROM (SELECT * FROM {_source(opened)} WHERE {' AND '.join(where)}"
        f" ORDER BY {_order_sql(order)} LIMIT {limit + 1}) _t",
        limit,
        len(order),
    )


def changes(ask: Ask, opened: Opened, limit: int, since: int) -> Statement:
    """Return the statement of one page of the change feed, as ``page``: with numbers."""
    there = _record(ask.fields, opened, ',"_deleted":false')
    gone = _record(opened.keys, opened, ',"_deleted":true')
    rows = (
        f"SELECT CASE WHEN _t._deleted_at IS NULL THEN {there} ELSE {gone} END AS j,"
        " _t._seq::text AS k0"
        f" FROM (SELECT * FROM {_table(opened)} WHERE {_ENTERED} AND _seq > %(since)s"
        f" ORDER BY _seq LIMIT {limit + 1}) _t"
    )
    return Statement(_logged(rows, limit, 1), {"since": since})


def _logged(rows: str, limit: int, keys: int) -> str:
    """Return a page and the log of it; bytes are the records', before compression.

    Rows are gathered in the order in which they were read, in one pass; not as an array of
    records, which would be copied again and again: a page of a thousand large ones has to be
    there within the time that a statement may take. An empty page must not be that of a grant
    that ended: such an answer is none, and is not logged.
    """
    names = [f"k{number}" for number in range(keys)]
    gathered = ", ".join(f"array_agg({name}) AS {name}" for name in names)
    last = ", ".join(f"{name}[least(n, {limit})] AS {name}" for name in names)
    return (
        f"WITH told AS MATERIALIZED (SELECT least(n, {limit}) AS n, n > {limit} AS more,"
        f" coalesce(js, '') AS js, {last}, n > 0 OR simpul_api_may(%(slug)s) AS may"
        " FROM (SELECT count(*) AS n,"
        f" string_agg(j, ',') FILTER (WHERE i <= {limit}) AS js, {gathered}"
        f" FROM (SELECT *, row_number() OVER () AS i FROM ({rows}) _r) _p) _read),"
        f" logged AS ({_INSERT}, n, octet_length(js),"
        " extract(epoch FROM clock_timestamp() - statement_timestamp()) * 1000"
        " FROM told WHERE may)"
        f" SELECT may, js, n, more, {', '.join(names)} FROM told"
    )


def newest(opened: Opened) -> str:
    """Return the statement that asks for the number of the newest change."""
    return f"SELECT coalesce(max(_seq), 0) FROM {_table(opened)}"


def count(ask: Ask, opened: Opened) -> Statement:
    """Return the statement that counts rows; it needs the parameters of ``ENTER``."""
    where = " AND ".join([_ENTERED, *_conditions(ask.filters)])
    return Statement(
        f"SELECT count(*) FROM {_source(opened)} WHERE {where}", _values(ask.filters)
    )


def stream(ask: Ask, opened: Opened) -> Statement:
    """Return the COPY of a whole answer in NDJSON or CSV, a line for each row."""
    where, params = _conditions(ask.filters), _values(ask.filters)
    order = _order_sql(_order(ask, opened))
    limit = f" LIMIT {ask.limit}" if ask.limit else ""
    source = (
        f"(SELECT * FROM {_source(opened)} WHERE {' AND '.join(where)}"
        f" ORDER BY {order}{limit}) _t"
    )
    if ask.format == "ndjson":
        # JSON has no control characters: with these two nothing is ever quoted or escaped.
        return Statement(
            f"COPY (SELECT {_record(ask.fields, opened)} FROM {source})"
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
    if opened.chosen is not None:
        return f"(SELECT * FROM {table} WHERE {opened.chosen.sql}) _c"
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


def _record(fields: Sequence[FieldSpec], opened: Opened, more: str = "") -> str:
    """Return one row as JSON; ``more`` of it comes behind the fields.

    Put together here it costs two thirds of what ``row_to_json`` takes, which looks up each
    value's type anew. A function has at most a hundred arguments.
    """
    members = [
        f"'{mark}{quote(each.name)}:', simpul_json({_value(each, opened)})"
        for mark, each in zip("{" + "," * len(fields), fields, strict=False)
    ]
    parts = [
        f"concat({', '.join(members[at : at + 40])})" for at in range(0, len(members), 40)
    ]
    if not fields:  # all of them are personal, and the grant names none
        parts = ["'{'"]
    return " || ".join([*parts, f"'{more}}}'"])


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


def _conditions(filters: Sequence[Filter]) -> list[str]:
    return ["_deleted_at IS NULL"] + [
        _condition(each, f"f{number}") for number, each in enumerate(filters)
    ]


def _condition(each: Filter, name: str) -> str:
    column, kind = quote(each.field.name), SQL_TYPES[each.field.type]
    match each.operator:
        case "isnull":
            return f"{column} IS {'' if each.values[0] else 'NOT '}NULL"
        case "in":
            return f"{column} = ANY (%({name})s::{kind}[])"
        case "contains":
            return f"{column} ILIKE %({name})s"
        case "startswith":
            return f"{column} LIKE %({name})s"
    return f"{column} {COMPARE[each.operator]} %({name})s::{kind}"


def _values(filters: Sequence[Filter]) -> dict[str, Any]:
    """Return the values of the conditions, by the names that these have for them."""
    return {
        f"f{number}": _compared(each)
        for number, each in enumerate(filters)
        if each.operator != "isnull"
    }


def _compared(each: Filter) -> Any:
    value = each.values[0]
    match each.operator:
        case "in":
            return list(each.values)
        case "contains":
            return f"%{_plain(value)}%"
        case "startswith":
            return f"{_plain(value)}%"
    return value


def _plain(text: str) -> str:
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")


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


def _beyond(order: Order, shape: Sequence[bool]) -> str:
    """Return the condition of lying after a place, some of whose values may be empty."""
    ways = {down for _, down in order}
    marks = [f"%(k{i})s::{SQL_TYPES[each.type]}" for i, (each, _) in enumerate(order)]
    if len(ways) == 1 and all(each.is_key for each, _ in order):
        names = ", ".join(quote(each.name) for each, _ in order)
        sign = "<" if ways == {True} else ">"
        return f"({names}) {sign} ({', '.join(marks)})"
    ors, same = [], []
    for (each, down), mark, empty in zip(order, marks, shape, strict=True):
        column = quote(each.name)
        if empty:
            same.append(f"{column} IS NULL")
            continue
        later = f"{column} {'<' if down else '>'} {mark}"
        if not each.is_key:
            later = f"({later} OR {column} IS NULL)"
        ors.append(" AND ".join([*same, later]))
        same.append(f"{column} = {mark}")
    return f"({' OR '.join(ors)})"
