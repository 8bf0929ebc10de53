"""Asking only for what changed: windows, marks, and an answer without records."""

import json

import msgspec
import pytest

from app.connectors import errors
from app.connectors.incremental import HighWater, windows_of
from app.connectors.settings import RestJsonSettings

from .conftest import ROWS, answer_json, ids, reply


def changes(**more):
    return RestJsonSettings(base_url="http://x/", since_param="since", **more)


@pytest.mark.parametrize(
    ("settings", "since", "expected"),
    [
        (changes(), "", [("", "")]),
        (changes(since_start="2024-01-01"), "", [("2024-01-01", "")]),
        (changes(), "2024-05-10", [("2024-05-09", "")]),
        (changes(until_param="until"), "2024-05-10", [("2024-05-09", "2024-06-01")]),
        (changes(window=20, until_param="until"), "2024-05-10",
         [("2024-05-09", "2024-05-29"), ("2024-05-29", "2024-06-18")]),
        (changes(since_format="datetime", since_overlap=0), "2024-05-10T08:00:00",
         [("2024-05-10T08:00:00", "")]),
        (changes(since_format="number", since_overlap=10), "500", [("490", "")]),
    ],
)  # fmt: skip
def test_windows_go_from_the_mark_with_its_overlap(settings, since, expected):
    assert windows_of(settings, since, "2024-06-01") == expected


def test_two_years_a_request():
    settings = changes(since_format="year", window=2, until_param="to", since_overlap=0)

    assert windows_of(settings, "2019", "2024") == [
        ("2019", "2021"), ("2021", "2023"), ("2023", "2025")
    ]  # fmt: skip


def test_a_window_too_narrow_for_its_span_is_refused():
    settings = changes(window=1, max_pages=10)

    with pytest.raises(errors.SourceSettingsError):
        windows_of(settings, "1900-01-01", "2024-01-01")


@pytest.mark.parametrize("mark", ["kemarin", "2024-13-01", "99999-01-01"])
def test_a_mark_that_is_none_is_refused_in_words(mark):
    with pytest.raises(errors.SourceSettingsError):
        windows_of(changes(), mark, "2024-01-01")


def test_each_window_is_read_to_its_end_and_an_empty_one_is_no_failure(
    upstream, make_connector
):
    by_year = {"2022": ROWS[:7], "2023": [], "2024": ROWS[7:]}

    def script(connection, request):
        page, rows = int(request.query["page"]), by_year[request.query["th"]]
        part = rows[(page - 1) * 5 : page * 5]
        return answer_json(connection, {"rows": part, "total": len(rows)})

    upstream.script = script
    connector = make_connector(
        since_param="th", since_format="year", since_start="2022", window=1,
        paging="page", page_size=5, rows_path="rows", total_path="total",
    )  # fmt: skip
    pages = list(connector.pages({"until": "2024"}))

    assert ids(pages) == list(range(1, 13))
    for place, (_, position) in enumerate(pages):
        assert list(connector.pages(position)) == pages[place + 1 :]


def test_nothing_changed_is_no_failure(upstream, make_connector):
    upstream.script = reply(b"[]")

    assert list(make_connector(since_param="since", since="2024-01-02").pages()) == []
    assert upstream.requests[0].query["since"] == "2024-01-01"


@pytest.mark.parametrize(
    ("kind", "records", "high"),
    [
        ("date", [{"u": {"d": "2024-02-01 09:00"}}, {"u": {"d": "2024-01-09"}}], "2024-02-01"),
        ("datetime", [{"u": {"d": "2024-02-01 09:00:00"}}], "2024-02-01T09:00:00"),
        ("number", [{"u": {"d": 9}}, {"u": {"d": "10"}}], "10"),
        ("date", [{"u": None}, {"u": {"d": "rusak"}}, {}, 5], "2000-01-01"),
    ],
)  # fmt: skip
def test_the_high_water_mark_is_the_records_own(kind, records, high):
    settings = changes(since_format=kind, since_field="u.d")
    raw = [msgspec.Raw(json.dumps(record).encode()) for record in records]
    before = "3" if kind == "number" else "2000-01-01"

    assert HighWater(settings).of(raw, before) == high


@pytest.mark.parametrize(
    ("kind", "values", "high"),
    [
        ("date", ["2024-02-01", "2206-02-01"], "2024-02-01"), ("date", ["2024-03-02", "2024-03-03"], "2024-03-02"),
        ("datetime", ["9999-12-31T00:00:00", "2024-02-29T10:00:00"], "2024-02-29T10:00:00"),
        ("year", [2019, 2042], "2019"), ("date", ["2999-01-01"], ""), ("number", [7, 10**12], "1000000000000"),
    ],
)  # fmt: skip
def test_one_record_from_the_future_does_not_end_the_asking(kind, values, high):
    settings = changes(since_format=kind, since_field="u")
    raw = [msgspec.Raw(json.dumps({"u": value}).encode()) for value in values]
    until = "2024" if kind == "year" else "2024-03-01"

    assert HighWater(settings).of(raw, "", until) == high


def test_moments_of_several_zones_are_compared_as_moments():
    settings = changes(since_format="datetime", since_field="u")
    marks = ["2024-02-01T10:00:00+07:00", "2024-02-01T05:00:00Z", "2024-02-01T04:00:00"]
    raw = [msgspec.Raw(json.dumps({"u": mark}).encode()) for mark in marks]

    high = HighWater(settings).of(raw, "", "2024-03-01")
    assert high == "2024-02-01T05:00:00+00:00"


@pytest.mark.parametrize("more", [{"window": 100}, {"until_param": "to"}])
def test_numbers_have_no_end_that_could_be_asked_for(more):
    """The records behind a gap wider than the window would never be asked for."""
    with pytest.raises(errors.SourceSettingsError):
        changes(since_format="number", since_start="0", **more)
