"""The decoder: one set of rules, whichever path a record takes."""

import json
from datetime import UTC, date, datetime
from decimal import Decimal

import pytest
from hypothesis import given, settings, strategies as st

from app.contracts.decoder import Decoder, NotJsonError
from app.contracts.fields import FieldSpec
from app.contracts.states import FieldType


def field(name, type_=FieldType.TEXT, **kw):
    kw.setdefault("source_path", name)
    return FieldSpec(name=name, label=name, type=type_, **kw)


PERSON = (
    field("nip", required=True, is_key=True, pattern=r"\d{18}"),
    field("nama", required=True, max_length=20),
    field("jk", allowed_values=("L", "P")),
    field("lahir", FieldType.DATE, minimum="1900-01-01"),
    field("gaji", FieldType.NUMBER, minimum="0", maximum="1000000000"),
    field("anak", FieldType.INTEGER, minimum="0", maximum="30"),
    field("aktif", FieldType.BOOLEAN),
    field("dicatat", FieldType.TIMESTAMP),
)
GOOD = {
    "nip": "198001012005011001",
    "nama": "Nur'aini",
    "jk": "P",
    "lahir": "1980-01-01",
    "gaji": 4500000.25,
    "anak": 2,
    "aktif": True,
    "dicatat": "2026-01-02T03:04:05",
}


def decode(records, fields=PERSON):
    body = records if isinstance(records, bytes) else json.dumps(records).encode()
    return Decoder(fields).decode(body)


def plain(rows):
    """Return rows with their numbers, which come as written, as numbers."""
    gaji = [each.name for each in PERSON].index("gaji")
    return [
        tuple(
            Decimal(bytes(value).decode().strip('"'))
            if at == gaji and value is not None
            else value
            for at, value in enumerate(row)
        )
        for row in rows
    ]


def codes(page):
    return {(error.field, error.code) for each in page.rejected for error in each.errors}


def test_a_good_record_becomes_a_typed_row_and_local_time_an_instant():
    page = decode([GOOD])

    assert plain(page.rows) == [
        (
            "198001012005011001",
            "Nur'aini",
            "P",
            date(1980, 1, 1),
            Decimal("4500000.25"),
            2,
            True,
            datetime(2026, 1, 1, 20, 4, 5, tzinfo=UTC),
        )
    ]
    assert page.rejected == []


def test_a_bad_record_lists_all_its_errors_and_leaves_the_others_alone():
    bad = GOOD | {
        "nip": "12",
        "nama": "x" * 21,
        "jk": "X",
        "lahir": "1980-02-30",
        "gaji": -1,
    }
    del bad["aktif"]
    page = decode([GOOD, bad, GOOD])

    assert len(page.rows) == 2
    assert page.positions == [0, 2]
    assert codes(page) == {
        ("nip", "pattern"),
        ("nama", "too_long"),
        ("jk", "not_allowed"),
        ("lahir", "wrong_type"),
        ("gaji", "too_small"),
    }
    assert json.loads(page.rejected[0].raw) == bad
    assert page.rejected[0].key is None


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"nip": 198001012005011001}, ("nip", "wrong_type")),
        ({"nip": None}, ("nip", "null")),
        ({"nip": "１９８００１０１２００５０１１００１"}, ("nip", "pattern")),
        ({"nip": "198001012005011001\n"}, ("nip", "pattern")),
        ({"nama": ""}, ("nama", "too_short")),
        ({"nama": "a\0b"}, ("nama", "nul")),
        ({"nama": "\ud800"}, ("nama", "half_character")),
        ({"nama": "\udc00x"}, ("nama", "half_character")),
        ({"anak": 31}, ("anak", "too_large")),
        ({"anak": 2**63}, ("anak", "too_large")),
        ({"anak": 1.5}, ("anak", "wrong_type")),
        ({"anak": "2"}, ("anak", "wrong_type")),
        ({"gaji": "Rp 4.500.000"}, ("gaji", "wrong_type")),
        ({"aktif": "ya"}, ("aktif", "wrong_type")),
        ({"aktif": 1}, ("aktif", "wrong_type")),
        ({"lahir": "1899-12-31"}, ("lahir", "too_small")),
        ({"lahir": "0000-00-00"}, ("lahir", "wrong_type")),
        ({"dicatat": "0001-01-01T00:00:00+07:00"}, ("dicatat", "too_small")),
    ],
)
def test_each_broken_rule_has_its_code(change, expected):
    page = decode([GOOD, GOOD | change])

    assert codes(page) == {expected}
    assert len(page.rows) == 1


@pytest.mark.parametrize("number", ["1e400", "1e-400", "1" * 39, "0." + "0" * 40 + "1"])
def test_a_number_that_would_be_rounded_is_refused(number):
    body = json.dumps([GOOD]).replace("4500000.25", number).encode()

    assert ("gaji", "too_many_digits") in codes(decode(body))


@pytest.mark.parametrize("place", ["alone", "beside a bad record"])
@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("4500000.250", "4500000.250"),
        ("-0", None),
        ("12", "12"),
        ('"12.5"', "12.5"),
        ('"007"', "7"),
        ("1.5e3", "1500"),
        ('"1_000"', "1000"),
        ("null", "null"),
    ],
)
def test_a_number_keeps_every_digit_however_it_is_written(written, value, place):
    one = json.dumps(GOOD).replace("4500000.25", written)
    other = json.dumps(GOOD | {"lahir": "kemarin"})
    fields = [each for each in PERSON if each.name != "gaji"]
    fields.append(field("gaji", FieldType.NUMBER))
    page = decode(f"[{one}{',' + other if place != 'alone' else ''}]".encode(), fields)

    [row] = page.rows
    if value == "null":
        assert row[-1] is None
    else:
        number = Decimal(bytes(row[-1]).decode().strip('"'))
        assert number == Decimal(value or 0)


@pytest.mark.parametrize(
    "written", ['"NaN"', '"Infinity"', '"-inf"', "true", '"1,5"', '""']
)
def test_what_is_no_number_is_refused(written):
    body = json.dumps([GOOD]).replace("4500000.25", written).encode()

    assert codes(decode(body)) == {("gaji", "wrong_type")}


def test_a_required_number_may_not_be_null():
    fields = [each for each in PERSON if each.name != "gaji"]
    fields.append(field("gaji", FieldType.NUMBER, required=True))
    page = decode([GOOD, GOOD | {"gaji": None}], fields)

    assert codes(page) == {("gaji", "null")}
    assert len(page.rows) == 1


@pytest.mark.parametrize(
    ("pattern", "more"),
    [(r"\d{18}", {}), (r"[0-9]{18}", {"max_length": 18}), (r"\d{18}", {"max_length": 5})],
)
@pytest.mark.parametrize(
    "value", ["198001012005011001", "19800101200501100", "1980010120050110011", "19800101200501100x", "19800101200501100\n", "１９８００１０１２００５０１１００１", ""]
)  # fmt: skip
def test_digits_are_judged_by_the_column_as_by_the_value(pattern, more, value):
    fields = [field("kode", FieldType.TEXT, pattern=pattern, **more)]
    rule = Decoder(fields)._rules[0]
    page = decode([{"kode": value}], fields)

    fits = not rule.explain(json.dumps(value).encode())
    assert bool(page.rows) is fits
    assert fits is (value == "198001012005011001" and more.get("max_length") != 5)


@pytest.mark.parametrize(
    ("pattern", "said", "n"),
    [
        (r"\d{18}", "Must have %(n)s digits.", "18"),
        (r"[A-Z]{2}", "Must have the form %(n)s.", "[A-Z]{2}"),
    ],
)
def test_digits_are_asked_for_in_words_and_not_as_a_pattern(pattern, said, n):
    page = decode([{"k": "x"}], (field("k", pattern=pattern),))
    [error] = [each for bad in page.rejected for each in bad.errors]
    assert (error.message, error.params["n"]) == (said, n)


def test_records_that_lack_something_are_read_after_complete_ones():
    decoder = Decoder(PERSON)
    lacking = {"nip": GOOD["nip"], "nama": "Siti"}
    for _ in range(2):
        assert len(decoder.decode(json.dumps([GOOD]).encode()).rows) == 1
        page = decoder.decode(json.dumps([GOOD, lacking, GOOD | {"anak": None}]).encode())
        assert page.rejected == []
        assert [row[5] for row in page.rows] == [2, None, None]


def test_keys_are_read_without_judging_the_rest():
    fields = (
        field("kode", FieldType.TEXT, is_key=True, required=True, pattern=r"\d+"),
        field(
            "saat", FieldType.TIMESTAMP, is_key=True, required=True, source_path="a.saat"
        ),
        field("nilai", FieldType.NUMBER),
    )
    records = [{"kode": "1", "a": {"saat": "2026-01-02T03:04:05"}, "nilai": "bukan"}]

    [key] = Decoder(fields).keys_of(json.dumps(records).encode())

    assert key == ("1", datetime(2026, 1, 1, 20, 4, 5, tzinfo=UTC))


def test_a_name_that_stands_twice_is_seen_even_in_disguise():
    first = json.dumps(GOOD)
    twice = first[:-1] + ', "jk": "L"}'
    hidden = first[:-1] + ', "\\u006ak": "L"}'

    for body in (twice, hidden):
        page = decode(f"[{first},{body}]".encode())
        assert codes(page) == {("jk", "key_twice")}
        assert len(page.rows) == 1


def test_html_escapes_and_surrogate_pairs_are_ordinary_text():
    page = decode(
        json.dumps([GOOD | {"nama": "A & <B> 😀"}]).replace("&", "\\u0026").encode()
    )

    assert page.rows[0][1] == "A & <B> 😀"


@pytest.mark.parametrize("record", [None, 1, "x", [], [1]])
def test_what_is_no_record_is_set_aside(record):
    page = decode([GOOD, record])

    assert codes(page) == {("", "not_a_record")}


@pytest.mark.parametrize(
    "body",
    [b"", b"{}", b"<html>", b"[1", b"null", b'[{"a":NaN}', b"\xff", b"[" * 100_000],
)
def test_a_page_that_is_no_list_is_refused_whole(body):
    with pytest.raises(NotJsonError):
        decode(body)


def test_bad_bytes_in_one_record_do_not_lose_the_others():
    body = json.dumps([GOOD, GOOD]).encode().replace(b"Nur'aini", b"Nur\xff", 1)
    page = decode(body)

    assert len(page.rows) == 1
    assert len(page.rejected) == 1


def test_nested_paths_are_read_and_missing_parents_explained():
    fields = (
        field("nip", source_path="orang.nip", required=True, is_key=True),
        field("kota", source_path="alamat.kota.nama"),
    )
    page = decode(
        [
            {"orang": {"nip": "1"}, "alamat": {"kota": {"nama": "Dumai"}}},
            {"orang": {"nip": "2"}},
            {"orang": {"nip": "3"}, "alamat": None},
            {"alamat": {}},
        ],
        fields,
    )

    assert page.rows == [("1", "Dumai"), ("2", None), ("3", None)]
    assert codes(page) == {("nip", "missing")}


def test_the_key_of_a_rejected_record_is_kept_where_it_is_good():
    page = decode([GOOD | {"jk": "X"}])

    assert page.rejected[0].key == ("198001012005011001",)


json_values = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=25),
    st.sampled_from(
        [
            "L",
            "P",
            "198001012005011001",
            "1980-01-01",
            "2026-01-02T03:04:05Z",
            "١٢٣",
            "\0",
            "12.50",
            "NaN",
            "1_000",
        ]
    ),
)


@settings(max_examples=300, deadline=None)
@given(
    st.lists(
        st.fixed_dictionaries(
            {"nip": st.one_of(st.just(GOOD["nip"]), json_values)},
            optional={name: json_values for name in GOOD if name != "nip"},
        ),
        max_size=6,
    )
)
def test_fast_and_slow_path_agree(records):
    body = json.dumps(records).encode()
    decoder = Decoder(PERSON)
    fast = decoder.decode(body)
    # A field that nobody asked for and that looks suspicious sends the page down the slow path.
    slow = decoder.decode(json.dumps([*records, {"\0": 1}]).encode())

    assert plain(slow.rows) == plain(fast.rows)
    assert [r.errors for r in slow.rejected[:-1]] == [r.errors for r in fast.rejected]
    explained = [decoder._explain(json.dumps(record).encode()) for record in records]
    assert [not errors for errors, _ in explained].count(True) == len(fast.rows)


@pytest.mark.parametrize(
    ("twice", "other"),
    [
        ('{"k":"1","x":"a","x":"b"}', '{"k":"2"}'),
        ('{"k":"1","x":null,"x":"b"}', '{"k":"2"}'),
        ('{"k":"1","x":"a","x":"b"}', '{"k":"2","x":null}'),
        ('{"k":"1","x":"a","x":"b"}', '{"x":"tanpa kunci"}'),
        ('{"k":"1","x":"a","x":"b","saat":"10:20"}', '{"k":"2","saat":"10:20"}'),
    ],
)
def test_a_name_twice_is_not_made_up_for_by_a_neighbour(twice, other):
    fields = (field("k", is_key=True, required=True), field("x"))
    for body in (f"[{twice},{other}]", f"[{other},{twice}]", f"[{twice}]"):
        page = decode(body.encode(), fields)
        assert ("x", "key_twice") in codes(page)


@pytest.mark.parametrize(
    ("name", "hidden"), [("a b", "a\\u0020b"), ("é", "\\u00e9"), ("a/b", "a\\/b")]
)
def test_a_name_of_any_letters_that_stands_twice_is_seen_in_disguise(name, hidden):
    fields = (field("k", is_key=True, required=True), field("x", source_path=name))
    body = f'[{{"k":"1","{name}":"a","{hidden}":"b"}},{{"k":"2","{name}":"c"}}]'
    page = decode(body.encode(), fields)
    assert codes(page) == {(name, "key_twice")}
    assert len(page.rows) == 1


def test_allowed_values_that_break_the_other_rules_are_refused():
    fields = (field("k", pattern=r"\d{3}", allowed_values=("12",)),)
    assert codes(decode([{"k": "12"}], fields)) == {("k", "pattern")}
