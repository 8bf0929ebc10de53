"""Answers as services really wrap them."""

import json

import pytest

from .conftest import ROWS, ids, refusal, reply


@pytest.mark.parametrize(
    ("body", "inner"),
    [
        ({"return": json.dumps({"rows": ROWS[:3]})}, "return"),
        (json.dumps({"rows": ROWS[:3]}), "$"),
        ({"a": [{"b": "\ufeff" + json.dumps({"rows": ROWS[:3]})}]}, "a.0.b"),
    ],
)
def test_a_json_text_inside_json_is_opened(upstream, make_connector, body, inner):
    upstream.script = reply(json.dumps(body).encode())

    assert ids(make_connector(inner_path=inner, rows_path="rows").pages()) == [1, 2, 3]


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b'{"return":5}', "wrong_shape"), (b'{"x":1}', "wrong_shape"), (b"<xml>", "not_json"),
        (b'{"return":"<xml>"}', "not_json"), (b'{"return":"{}"}', "wrong_shape"),
        (b'{"return":"\\ud800"}', "wrong_shape"), (b"", "not_json"),
    ],
)  # fmt: skip
def test_a_broken_inner_text_is_named(upstream, make_connector, body, code):
    upstream.script = reply(body)

    error = refusal(make_connector(inner_path="return", rows_path="rows"))

    assert error.code == code


@pytest.mark.parametrize("log", ["ERROR: kode salah", ["OK", "x ERROR: y"]])
def test_a_failure_that_calls_itself_a_success_is_none(upstream, make_connector, log):
    upstream.script = reply(json.dumps({"code": 200, "log": log, "rows": [1]}).encode())

    error = refusal(
        make_connector(rows_path="rows", failure_path="log", failure_text="ERROR:")
    )

    assert (error.code, error.params["path"]) == ("success_rule", "log")


def test_a_log_without_the_failures_word_passes(upstream, make_connector):
    upstream.script = reply(b'{"log":["1 OK"],"rows":[{"id":4}]}')

    connector = make_connector(
        rows_path="rows", failure_path="log", failure_text="ERROR:"
    )

    assert ids(connector.pages()) == [4]


BPS = {"rows_path": "data.1", "total_path": "data.0.total", "success_path": "status",
       "success_value": "OK", "blank_is_empty": True}  # fmt: skip


@pytest.mark.parametrize("data", ["", None, []])
def test_an_empty_answer_of_the_statistics_office_has_no_records(
    upstream, make_connector, data
):
    upstream.script = reply(json.dumps({"status": "OK", "data": data}).encode())

    assert refusal(make_connector(**BPS)).code == "empty_answer"


def test_its_error_is_no_empty_answer(upstream, make_connector):
    upstream.script = reply(b'{"status":"Error","message":"invalid key","data":""}')

    assert refusal(make_connector(**BPS)).code == "success_rule"


def test_its_pages_are_read_by_their_place(upstream, make_connector):
    body = {"status": "OK", "data": [{"page": 1, "total": 2}, ROWS[:2]]}
    upstream.script = reply(json.dumps(body).encode())

    assert ids(make_connector(**BPS).pages()) == [1, 2]
