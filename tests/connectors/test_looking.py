"""A look at a service: what it finds, proposes and hides."""

import base64
import json
from urllib.parse import quote

import msgspec
import pytest

from app.connectors.looking import LookOrder, look, look_apart
from app.connectors.sampling import fields_of, sample_of
from app.contracts.decoder import Decoder
from app.contracts.fields import FieldSpec
from app.contracts.states import FieldType

from .conftest import reply

CANARY = "r4hasia-jangan-bocor"
PEOPLE = [
    {"id": n, "nip": f"1980010120050110{n:02d}", "kode": f"0{n:02d}", "luas": f"{n}.5",
     "lahir": "1980-01-02", "aktif": True, "nik": f"14710102038000{n:02d}",
     "gol": ["III/a", "IV/b"][n % 2], "kontak": {"email": f"p{n}@riau.go.id"}}
    for n in range(10, 20)
]  # fmt: skip


def order(upstream, secrets=None, **settings):
    settings = {"base_url": upstream.url} | settings
    return LookOrder(settings, secrets or {}, [upstream.pair])


def levels(found):
    return [(each.level, each.code or each.message) for each in found.findings]


def test_types_are_proposed_and_codes_stay_texts():
    found = {each.path: each for each in fields_of(PEOPLE)}

    assert {path: each.type for path, each in found.items()} == {
        "id": "integer", "nip": "text", "kode": "text", "luas": "number", "lahir": "date",
        "aktif": "boolean", "nik": "text", "gol": "text", "kontak.email": "text",
    }  # fmt: skip
    assert [path for path, each in found.items() if each.is_key] == ["id"]
    assert found["gol"].choices == ["III/a", "IV/b"]
    assert found["nik"].is_personal
    assert found["kontak.email"].is_personal


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (["007", "12"], "text"), ([10**15], "integer"), (["1234567890123456"], "text"),
        ([2**63], "number"), (["5", "12"], "number"), (["", "5"], "text"),
        ([1, 2.5], "number"), (["2024-01-01", "2024-01-01T10:00:00"], "text"),
        (["2024-01-01T10:00:00"], "timestamp"), (["2024-01-01"], "date"),
        (["2024-02-30"], "text"), ([None, ""], "text"), ([True, "ya"], "text"),
        ([{"a": []}], "text"), (["14.10"], "number"),
    ],
)  # fmt: skip
def test_the_type_holds_every_value(values, kind):
    assert fields_of([{"x": value} for value in values])[0].type == kind


VALUES = [
    5, -3, 0, 2**63, 2**63 - 1, 10**16, 1.5, 1e300, True, "", "5", "007", "12.50", "x", "14.10",
    "1234567890123456", "2024-01-01", "2024-02-30", "20240101", "2024-01-01T10:00:00",
    "2024-01-01 10:00:00", "2024-01-01T10:00:00+07:00", "2024-01-01T10:00:00Z",
    "2024-01-01T10:00", "1.234,5", "ya", [], [1], {},
]  # fmt: skip


@pytest.mark.parametrize("value", VALUES, ids=str)
@pytest.mark.parametrize("kind", list(FieldType))
def test_a_type_that_is_said_to_fit_is_one_that_a_contract_takes(value, kind):
    spec = FieldSpec(name="x", source_path="x", label="x", type=kind, required=False)
    page = Decoder([spec]).decode(json.dumps([{"x": value}]).encode())

    said = kind.value in fields_of([{"x": value}])[0].fits
    assert said == (not page.rejected)


def test_values_of_several_types_and_lists_are_named_and_a_code_of_texts_is_not(upstream):
    rows = [
        {"kode": "11", "campur": 1, "isi": [1]},
        {"kode": "11.01", "campur": "satu", "isi": []},
        {"kode": "A1", "campur": 2, "isi": [2]},
    ]
    upstream.script = reply(json.dumps(rows).encode())

    said = look(order(upstream)).findings

    named = {
        each.params["field"]: each.message for each in said if "field" in each.params
    }
    assert set(named) == {"campur", "isi"}
    assert "several types" in named["campur"]
    assert "a list" in named["isi"]


def test_a_number_that_others_round_is_named(upstream):
    upstream.script = reply(b'[{"nik": 1471010203800012}]')

    assert any("round" in each.message for each in look(order(upstream)).findings)


def test_a_code_with_dots_is_no_number():
    assert fields_of([{"kode": "14.10"}, {"kode": "14.20"}])[0].type == "text"


@pytest.mark.parametrize(
    ("answer", "path"),
    [
        (PEOPLE, ""), ({"data": PEOPLE}, "data"), ({"result": {"records": PEOPLE}}, "result.records"),
        ({"data": [{"page": 1, "total": 10}, PEOPLE]}, "data.1"), ({"data": []}, None), ({}, None),
        ([1, 2], None), ("x", None), ({"fields": [{"id": "a"}], "records": PEOPLE}, "records"),
    ],
)  # fmt: skip
def test_the_records_are_found(answer, path):
    assert sample_of(answer, None).rows_path == path


def test_a_text_inside_is_opened():
    found = sample_of({"return": json.dumps({"rows": PEOPLE})}, None)

    assert (found.inner_path, found.rows_path, found.row_count) == ("return", "rows", 10)


def test_total_next_and_success_are_found():
    answer = {
        "status": "success",
        "meta": {"total": 60},
        "data": PEOPLE,
        "next": "http://x/?p=2",
    }
    found = sample_of(answer, None)

    assert (found.total_path, found.total) == ("meta.total", 60)
    assert (found.success_path, found.success_value) == ("status", "success")
    assert found.next_path == "next"


def test_a_look_finds_proposes_and_pages(upstream):
    def script(connection, request):
        page = int(request.query.get("page", "1"))
        body = {"data": PEOPLE[(page - 1) * 5 : page * 5], "current_page": page,
                "per_page": 5, "total": 10, "next_page_url": None}  # fmt: skip
        connection.sendall(reply(json.dumps(body).encode()))
        return True

    upstream.script = script
    first = look(order(upstream))

    assert first.preset == "laravel"
    assert first.proposal["paging"] == "page"
    assert (
        "warn",
        "Only %(count)s of %(total)s records came: paging must be set.",
    ) in levels(first)

    second = look(order(upstream, **first.proposal))
    assert second.proposal == {}
    assert second.findings[-1].params == {"count": 5}


def test_keys_tokens_and_personal_numbers_never_leave(upstream):
    token = "tokentokentoken"

    def script(connection, request):
        if request.path == "/token":
            connection.sendall(reply(json.dumps({"data": {"t": token}}).encode()))
        else:
            echo = {"rows": PEOPLE, "you": f"{CANARY} {token}", "auth": request.headers}
            connection.sendall(reply(json.dumps(echo).encode(), X_Echo=token))
        return True

    upstream.script = script
    found = look(
        order(
            upstream,
            {"auth_secret": CANARY, "also_secret": CANARY + "2"},
            auth="login", auth_url=f"http://{upstream.pair}/token", auth_token_path="data.t",
            auth_fields={"sandi": "{key}"}, auth_name="X-Token",
            also="query", also_name="kunci",
        )
    )  # fmt: skip
    told = msgspec.json.encode(found).decode()

    assert found.sample.row_count == 10
    assert CANARY not in told
    assert token not in told
    assert not any(person["nik"] in told for person in PEOPLE)
    assert not any(person["kontak"]["email"] in told for person in PEOPLE)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (reply(b"{}", "401 Unauthorized"), "http_401"), (reply(b"", "302 Found", Location="/x"), "redirect_refused"),
        (reply(b"", "500 No"), "http_5xx"), (reply(b""), "The answer is empty."),
        (reply(b"<html>Masuk</html>", Content_Type="text/html"),
         "The answer is a web page or XML (%(type)s), not JSON: often the log-in page, or an address that is none of the service."),
        (reply(b"halo"), "The answer is not JSON (declared as %(type)s)."),
        (reply(b"{}"), "No list of records was found in the answer."),
        (reply(b"[" * 100_000), "The answer is not JSON (declared as %(type)s)."),
        (reply(b'{"a":NaN}'), "The answer is not JSON (declared as %(type)s)."),
        (reply(b"\xff\xfe"), "The answer is not JSON (declared as %(type)s)."),
        (reply(b'{"rows":[{"a":"\\ud800"}]}'), "The answer is not JSON (declared as %(type)s)."),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said(upstream, answer, said):
    upstream.script = answer

    assert said in [word for _, word in levels(look(order(upstream)))]


def test_the_body_of_a_refusal_is_shown(upstream):
    upstream.script = reply(b'{"pesan":"kunci kedaluwarsa"}', "403 Forbidden")

    assert "kunci kedaluwarsa" in look(order(upstream)).shown[0].answer


def test_it_goes_nowhere_that_is_not_approved(upstream):
    found = look(LookOrder({"base_url": upstream.url}, {}, []))

    assert levels(found) == [("bad", "not_approved")]
    assert upstream.requests == []


def test_it_works_in_a_process_of_its_own(upstream):
    upstream.script = reply(json.dumps(PEOPLE).encode())

    assert look_apart(order(upstream)).sample.row_count == 10


def test_a_service_that_never_ends_costs_no_more_than_its_time(upstream):
    def script(connection, request):
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 9000\r\n\r\n[")
        connection.recv(1)
        return False

    upstream.script = script

    assert levels(look_apart(order(upstream), seconds=2.0)) == [("bad", "too_slow")]


def test_an_answer_of_a_thousand_levels_ends_nothing(upstream):
    deep = b'{"a":' * 900 + b"1" + b"}" * 900
    upstream.script = reply(deep)

    assert look_apart(order(upstream)).findings


def test_a_key_that_json_must_escape_is_hidden_in_a_body_too(upstream):
    upstream.script = reply(json.dumps([{"id": 1}]).encode())
    secret = 'kunci"canggih\\satu'

    found = look(
        order(
            upstream, {"auth_secret": secret}, auth="body", auth_name="k", method="POST"
        )
    )

    assert found.sample.row_count == 1
    assert "canggih" not in msgspec.json.encode(found).decode()


def test_what_is_proposed_and_accepted_is_not_proposed_again(upstream):
    def script(connection, request):
        start, size = int(request.query.get("offset", 0)), int(request.query["limit"])
        rows = [{"_id": n, "kode": f"0{n}"} for n in range(100)][start : start + size]
        body = {"success": True, "result": {"records": rows, "total": 100}}
        connection.sendall(reply(json.dumps(body).encode()))
        return True

    upstream.script = script
    url = f"http://{upstream.pair}/api/3/action/datastore_search?limit=50"
    first = look(order(upstream, base_url=url, page_size=20))
    second = look(order(upstream, base_url=url, **first.proposal))

    assert (first.preset, first.proposal["paging"]) == ("ckan", "offset")
    assert second.proposal == {}
    # The number that CKAN gives a row changes with each upload.
    assert [each.path for each in second.sample.fields if each.is_key] == ["kode"]


def test_a_key_that_an_answer_gives_back_in_another_dress_is_hidden(upstream):
    secret = "rahasia/dinas+sehat/2026"
    basic = base64.b64encode(f"simpul:{secret}".encode()).decode()
    dresses = [secret, basic, base64.b64encode(secret.encode()).decode(), secret.replace("/", "\\/"),
               quote(secret, safe="").lower()]  # fmt: skip
    given = [{"id": n, "got": dress} for n, dress in enumerate(dresses)]
    settings = {"auth": "basic", "auth_user": "simpul"}
    upstream.script = reply(json.dumps({"rows": given, dresses[0]: 1}).encode())
    answers = [look(order(upstream, {"auth_secret": secret}, **settings))]
    for dress in dresses:
        for filler in (0, 1_490):
            upstream.script = reply(
                b"<p>" + b"x" * filler + dress.encode() + b"</p>", "500 No"
            )
            answers.append(look(order(upstream, {"auth_secret": secret}, **settings)))

    told = msgspec.json.encode(answers).decode()
    assert not [dress for dress in dresses if dress in told]
    assert "rahasia" not in told  # no beginning of it either
    assert basic[:8] not in told
