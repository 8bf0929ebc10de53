"""Taking answers apart: for any answer either the records, untouched, or a named error."""

import json

import msgspec
import pytest
from hypothesis import given, strategies as st

from app.connectors.envelope import Envelope, safe_type
from app.core.errors import SimpulError

SCALARS = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4)
    ),
    max_leaves=12,
)
KEYS = st.text(min_size=1, max_size=8).filter(
    lambda key: (
        "." not in key and not (key.isdecimal() and key.isascii() and len(key) <= 2)
    )
)
OPEN = {"host": "h", "content_type": "application/json"}


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
        try:
            opened = envelope.open(body, **OPEN)
        except SimpulError as error:
            assert error.code in {"not_json", "wrong_shape", "success_rule"}
        else:
            assert isinstance(opened.records, list)


@pytest.mark.parametrize(
    ("given_type", "told"),
    [
        ("text/html; charset=utf-8", "text/html"), ("application/hal+json", "application/hal+json"),
        ("", "?"), ("<script>", "?"), ("a" * 100, "?"), ("x\x00y", "?"), ("téxt/html", "?"),
    ],
)  # fmt: skip
def test_a_media_type_is_told_only_when_it_looks_like_one(given_type, told):
    assert safe_type(given_type) == told
