"""Taking answers apart: for any answer either the records, untouched, or a named error."""

import json

import msgspec
import pytest
from hypothesis import given, settings, strategies as st

from app.connectors.envelope import Envelope, safe_type
from app.core.errors import SimpulError

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4)
    ),
    max_leaves=12,
)


def is_plain_key(key):
    is_place = key.isdecimal() and key.isascii() and len(key) <= 2
    return key.isprintable() and not set('."\\') & set(key) and not is_place


KEYS = st.text(min_size=1, max_size=8).filter(is_plain_key)
OPEN = {"host": "h", "content_type": "application/json"}


@settings(deadline=None, max_examples=200)
@given(
    st.lists(VALUES, min_size=1, max_size=6), st.lists(KEYS, max_size=3), st.booleans()
)
def test_the_records_come_out_as_they_went_in(records, path, plain):
    body = records
    for key in reversed(path):
        body = {"other": 1, key: body}
    text = json.dumps(body, ensure_ascii=plain, indent=1).encode("utf-8", "surrogatepass")

    opened = Envelope(".".join(path)).open(text, **OPEN)

    assert len(opened.records) == len(records)
    assert json.loads(opened.rows_json()) == records


@settings(deadline=None, max_examples=200)
@given(
    st.binary(max_size=60)
    | st.text(max_size=60).map(str.encode)
    | VALUES.map(msgspec.json.encode)
)
def test_no_answer_at_all_raises_anything_else(body):
    for envelope in (
        Envelope(),
        Envelope(
            "data.items", total_path="data.total", success_path="ok", success_value="1"
        ),
        Envelope("data.1", total_path="data.0.total"),
    ):
        outcome = "records"
        try:
            envelope.open(body, **OPEN)
        except SimpulError as error:
            outcome = error.code
        assert outcome in {"records", "not_json", "wrong_shape", "success_rule"}


@pytest.mark.parametrize(
    ("given_type", "told"),
    [
        ("text/html; charset=utf-8", "text/html"), ("application/hal+json", "application/hal+json"),
        ("", "?"), ("<script>", "?"), ("a" * 100, "?"), ("x\x00y", "?"), ("téxt/html", "?"),
    ],
)  # fmt: skip
def test_a_media_type_is_told_only_when_it_looks_like_one(given_type, told):
    assert safe_type(given_type) == told
