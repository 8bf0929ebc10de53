"""Records over HTTP: pages, filters, tokens, changes, streams; each of them logged."""

import csv
import gzip
import io
import json
import time

import pytest
import sqlalchemy as sa

from app.api import exchanges
from app.exports.models import ExchangeLog
from tests import fakes, make
from tests.api.conftest import person


def logged(shop):
    with make.session() as s:
        return s.scalars(
            sa.select(ExchangeLog)
            .where(ExchangeLog.client_id == shop.client)
            .order_by(ExchangeLog.id)
        ).all()


def names(answer):
    assert answer.status_code == 200, answer.get_data(as_text=True)
    return [row["nip"] for row in answer.json["data"]]


def test_a_key_a_page_and_its_row_in_the_log(shop):
    answer = shop.get("?limit=3")

    assert answer.status_code == 200, answer.get_data(as_text=True)
    assert [row["nip"] for row in answer.json["data"]] == ["0000", "0001", "0002"]
    row = answer.json["data"][1]
    assert row == {
        "nip": "0001", "nama": 'O"Brien, Ani 1', "gaji": 1000, "lahir": "1980-01-02",
        "bobot": 0.25, "aktif": False, "dicatat": "2025-12-31T17:01:00+00:00", "sort": "s1",
    }  # fmt: skip
    (log,) = logged(shop)
    assert (log.row_count, log.query, log.status, log.agreement) == (
        3,
        "limit=3",
        200,
        "PKS 12/2026",
    )
    assert log.request_id == answer.headers["X-Request-Id"]
    assert log.etag == answer.headers["ETag"]
    assert log.byte_count > 300
    assert log.producer_id != log.agency_id
    assert log.key_prefix == shop.key[4:14]


def test_pages_by_token_give_every_row_once(shop):
    seen, path = [], "?limit=100"
    while path:
        answer = shop.get(path)
        seen += names(answer)
        token = answer.json["page"]["next"]
        path = f"?limit=100&after={token}" if token else ""

    assert seen == [f"{n:04d}" for n in range(250)]


@pytest.mark.parametrize(
    "sort", ["gaji", "-gaji", "sort,-gaji", "-nip", "-sort,nip", "aktif"]
)
def test_every_order_gives_every_row_once(shop, sort):
    seen, path = [], f"?limit=33&sort={sort}"
    while path:
        answer = shop.get(path)
        seen += answer.json["data"]
        token = answer.json["page"]["next"]
        path = f"?limit=33&sort={sort}&after={token}" if token else ""

    assert sorted(row["nip"] for row in seen) == [f"{n:04d}" for n in range(250)]
    first = sort.split(",")[0].removeprefix("-")
    values = [row[first] for row in seen if row[first] is not None]
    assert values == sorted(values, reverse=sort.startswith("-"))
    assert all(row[first] is not None for row in seen[: len(values)])


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("nip=0007", lambda p: p["nip"] == "0007"),
        ("nip__ne=0007", lambda p: p["nip"] != "0007"),
        (
            "gaji__gte=200000&gaji__lt=210000",
            lambda p: 200_000 <= (p["gaji"] or 0) < 210_000,
        ),
        ("nip__in=0001,0002,9999", lambda p: p["nip"] in {"0001", "0002"}),
        ("nama__contains=citra", lambda p: "Citra" in p["nama"]),
        ("nama__startswith=%3D1", lambda p: p["nama"].startswith("=1")),
        ("nama__contains=%25", lambda p: False),
        ("gaji__isnull=true", lambda p: p["gaji"] is None),
        ("gaji__isnull=false&aktif=true", lambda p: p["gaji"] is not None and p["aktif"]),
        ("lahir__gt=1980-01-27", lambda p: p["lahir"] > "1980-01-27"),
        ("bobot__lte=0.5", lambda p: p["bobot"] <= 0.5),
        ("dicatat=2026-01-01T00:05:00%2B07:00", lambda p: p["dicatat"][14:16] == "05"),
        ("sort__eq=s1", lambda p: p["sort"] == "s1"),
    ],
)
def test_filters_choose_rows(shop, query, expected):
    answer = shop.get(f"?limit=1000&count=exact&{query}")

    assert names(answer) == [f"{n:04d}" for n in range(250) if expected(person(n))]
    assert answer.json["count"] == {"kind": "exact", "rows": len(answer.json["data"])}


def test_fields_are_chosen_in_the_order_asked(shop):
    answer = shop.get("?fields=nama,nip&limit=1")

    assert list(answer.json["data"][0]) == ["nama", "nip"]


def test_counts_are_estimated_without_reading(shop):
    assert shop.get("?count=estimated&limit=1").json["count"] == {
        "kind": "estimated",
        "rows": 250,
    }
    filtered = shop.get("?count=estimated&limit=1&aktif=true").json["count"]
    assert filtered["kind"] == "estimated"
    assert 0 <= filtered["rows"] <= 1000


def test_known_answers_are_304s_and_are_logged_by_number(shop, monkeypatch):
    monkeypatch.setattr(exchanges, "COUNTED_SECONDS", 0.2)
    etag = shop.get("?limit=2").headers["ETag"]

    for _ in range(3):
        answer = shop.get("?limit=2", If_None_Match=etag)
        assert (answer.status_code, answer.data) == (304, b"")

    fakes.wait_until(lambda: len(logged(shop)) == 2, 5)
    known = logged(shop)[-1]
    assert (known.status, known.times, known.row_count) == (304, 3, 0)
    assert (known.etag, known.query, known.agreement) == (etag, "limit=2", "PKS 12/2026")
    assert shop.get("?limit=3", If_None_Match=etag).status_code == 200
    shop.upstream.records = shop.upstream.records[:249]
    shop.pull()
    time.sleep(1.05)  # what a key opens is remembered for a second
    assert shop.get("?limit=2", If_None_Match=etag).status_code == 200


@pytest.mark.parametrize(
    ("given", "status"),
    [("{0}", 304), ('"{1}"', 304), ("*", 304), ('W/"x", {0}', 304), ('{0},"y"', 304),
     ('"y"', 200), ('W/"{1}0"', 200), ('"', 200), (",", 200)],
)  # fmt: skip
def test_marks_are_compared_as_http_has_it(shop, given, status):
    etag = shop.get("?limit=2").headers["ETag"]
    sent = given.format(etag, etag[3:-1])

    for more in ({}, {"Accept_Encoding": "gzip"}):
        assert shop.get("?limit=2", If_None_Match=sent, **more).status_code == status
    assert shop.get("?limit=2&format=csv", If_None_Match=etag).status_code == 200


def test_changes_since_a_token_come_with_tombstones(shop):
    since = shop.get("?limit=1").json["page"]["since"]
    assert shop.get(f"?since={since}").json["data"] == []
    shop.upstream.records = [
        person(0) | {"nama": "Baru"}, *[person(n) for n in range(2, 250)], person(300),
    ]  # fmt: skip
    shop.pull()

    first = shop.get(f"?since={since}&limit=2&fields=nip,nama").json
    rest = shop.get(f"?since={first['page']['since']}&limit=2&fields=nip,nama").json
    last = shop.get(f"?since={rest['page']['since']}").json

    assert first["page"]["more"]
    assert not rest["page"]["more"]
    found = {row["nip"]: row for row in first["data"] + rest["data"]}
    assert found == {
        "0000": {"nip": "0000", "nama": "Baru", "_deleted": False},
        "0001": {"nip": "0001", "_deleted": True},
        "0300": {"nip": "0300", "nama": person(300)["nama"], "_deleted": False},
    }
    assert last["data"] == []


def test_a_walk_keeps_the_change_token_of_its_first_page(shop):
    first = shop.get("?limit=200").json["page"]
    shop.upstream.records[0]["nama"] = "Sesudahnya"
    shop.pull()

    second = shop.get(f"?limit=200&after={first['next']}").json["page"]

    changes = shop.get(f"?since={second['since']}").json["data"]
    assert [row["nama"] for row in changes] == ["Sesudahnya"]


def test_tokens_stand_publishes_between_pages(shop):
    first = shop.get("?limit=100").json
    shop.upstream.records = [person(n) for n in range(50, 250)]
    shop.pull()

    second = names(shop.get(f"?limit=100&after={first['page']['next']}"))

    assert second[0] == "0100"


def test_ndjson_is_every_row_on_a_line(shop):
    answer = shop.get("", Accept="application/x-ndjson")

    rows = [json.loads(line) for line in answer.data.decode().splitlines()]
    assert [row["nip"] for row in rows] == [f"{n:04d}" for n in range(250)]
    assert rows[2]["nama"] == "Budi\nBaris 2"
    begin, end = logged(shop)
    assert (begin.phase, begin.row_count) == ("begin", 0)
    assert (end.phase, end.row_count, end.byte_count) == ("end", 250, len(answer.data))
    assert begin.request_id == end.request_id


def test_csv_has_what_json_has(shop):
    answer = shop.get("?format=csv&sort=nip")

    rows = list(csv.DictReader(io.StringIO(answer.data.decode(), newline="")))
    assert [row["nama"] for row in rows] == [person(n)["nama"] for n in range(250)]
    assert rows[1]["aktif"] == "false"
    assert rows[1]["dicatat"] == "2025-12-31T17:01:00+00:00"
    assert rows[0]["gaji"] == ""
    assert logged(shop)[-1].row_count == 250


def test_csv_for_excel_has_a_bom_semicolons_and_no_live_cell(shop):
    answer = shop.get("?format=csv-excel&limit=2")

    text = answer.data.decode("utf-8")
    assert text.startswith("\ufeffnip;nama;")
    rows = list(csv.DictReader(io.StringIO(text[1:], newline=""), delimiter=";"))
    assert rows[0]["nama"] == "'=1+1 0"
    assert len(rows) == 2


@pytest.mark.parametrize("form", ["json", "ndjson", "csv"])
def test_gzip_when_it_is_asked_for(shop, form):
    plain = shop.get(f"?format={form}&limit=200&fields=nip,nama")
    packed = shop.get(f"?format={form}&limit=200&fields=nip,nama", Accept_Encoding="gzip")

    assert packed.headers["Content-Encoding"] == "gzip"
    unpacked = gzip.decompress(packed.data)
    if form == "json":
        assert json.loads(unpacked)["data"] == plain.json["data"]
    else:
        assert unpacked == plain.data


def test_a_stream_that_is_broken_off_is_logged_as_far_as_it_came(shop):
    with shop.get("?format=ndjson") as answer:
        answer.response.close()

    assert [each.phase for each in logged(shop)] == ["begin"]


def test_a_last_page_that_is_just_full_says_that_there_are_no_more(shop):
    whole = shop.get("?limit=250").json
    assert (len(whole["data"]), whole["page"]["next"]) == (250, None)
    first = shop.get("?limit=125&sort=-gaji").json
    rest = shop.get(f"?limit=125&sort=-gaji&after={first['page']['next']}").json
    assert (len(rest["data"]), rest["page"]["next"]) == (125, None)
    none = shop.get("?limit=1&nip=9999").json
    assert (none["data"], none["page"]["next"]) == ([], None)
    one = shop.get("?limit=1&sort=nip").json
    assert (names_in(one), one["page"]["next"] is not None) == (["0000"], True)
    assert [each.row_count for each in logged(shop)] == [250, 125, 125, 0, 1]


def names_in(page):
    return [row["nip"] for row in page["data"]]
