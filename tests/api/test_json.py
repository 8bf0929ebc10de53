"""A record's JSON, put together by the statement, is what ``row_to_json`` would write."""

from types import SimpleNamespace

import psycopg
import pytest

from app.api import statements
from app.contracts.states import Classification, FieldType
from app.core.sql import quote
from app.datasets.ddl import SQL_TYPES
from tests import make
from tests.api.conftest import open_shop, person

VALUES = {
    FieldType.TEXT: [
        "", 'a"b', "a\\b", "".join(map(chr, range(1, 32))), "\x7f\x80", "\u2028\u2029\ufeff",
        "😀", "'", "%(x)s", "{a,b}", "null", '"' * 50_000,
    ],
    FieldType.NUMBER: [
        "NaN", "Infinity", "-Infinity", "1e400", "-0.0", "0.000", "1.500", "1e-300",
        "123456789012345678901234567890.000000000000000000001",
    ],
    FieldType.INTEGER: ["0", "-1", str(2**63 - 1), str(-(2**63))],
    FieldType.BOOLEAN: ["t", "f"],
    FieldType.DATE: ["0044-03-15 BC", "9999-12-31", "5874897-12-31", "infinity", "-infinity"],
    FieldType.TIMESTAMP: [
        "4713-01-01 00:00:00+00 BC", "294276-12-31 23:59:59.999999+00", "infinity",
        "-infinity", "2024-01-01 00:00:00.50+07",
    ],
}  # fmt: skip
KINDS = list(FieldType)


@pytest.fixture
def line(settings):
    url = settings.migration_database_url.replace("+psycopg", "")
    with psycopg.connect(url, options="-c timezone=UTC") as made:
        yield made


@pytest.mark.parametrize("sample", [False, True])
@pytest.mark.parametrize("count", [1, 6, 40, 41, 99, 150, 400])
def test_a_record_is_written_as_row_to_json_writes_it(line, count, sample):
    fields = [
        make.field(f"f{n}_".ljust(48, "x"), KINDS[n % len(KINDS)]) for n in range(count)
    ]
    opened = SimpleNamespace(is_masked=lambda each: sample and each.name[1] in "135")
    columns = ", ".join(f"{quote(f.name)} {SQL_TYPES[f.type]}" for f in fields)
    line.execute(f"CREATE TEMP TABLE t ({columns})")
    marks = ", ".join(f"%s::{SQL_TYPES[f.type]}" for f in fields)
    for n in range(14):
        row = [(VALUES[f.type] + [None])[n % (len(VALUES[f.type]) + 1)] for f in fields]
        line.execute(f"INSERT INTO t VALUES ({marks})", row)

    shown = ", ".join(
        f"{statements._value(f, opened)} AS {quote(f.name)}" for f in fields
    )
    told = line.execute(
        f"SELECT {statements._record(fields, opened)},"
        f" (SELECT row_to_json(_x)::text FROM (SELECT {shown}) _x) FROM t _t"
    ).fetchall()

    assert len(told) == 14
    assert [ours for ours, _ in told] == [theirs for _, theirs in told]


@pytest.mark.parametrize("form", ["json", "ndjson", "csv"])
def test_a_grant_that_opens_no_field_answers_with_empty_records(
    app, bound, upstream, form
):
    hidden = Classification.PERSONAL
    upstream.records = [person(n) for n in range(3)]
    shop = open_shop(
        app, upstream, (make.field("nip", is_key=True, classification=hidden),)
    )

    answer = shop.get(f"?format={form}")

    assert answer.status_code == 200, answer.get_data(as_text=True)
    body = answer.get_data(as_text=True)
    empty = {"json": '{"data":[{},{},{}],', "ndjson": "{}\n{}\n{}\n", "csv": "\n\n\n\n"}
    assert body.startswith(empty[form])
