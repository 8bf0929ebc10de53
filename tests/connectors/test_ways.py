"""Every common way of signing in and paging, and the traps that agencies' services set."""

import json
from itertools import pairwise
from urllib.parse import parse_qsl, unquote

import msgspec
import pytest

from app.connectors import errors
from app.connectors.addresses import ApprovedHosts
from app.connectors.incremental import HighWater, windows_of
from app.connectors.settings import RestJsonSettings
from app.core.errors import SimpulError

from .conftest import reply

CANARY = "r4hasia-jangan-bocor"
ROWS = [{"id": number} for number in range(1, 13)]


def answer_json(connection, value, status="200 OK", **headers):
    connection.sendall(reply(json.dumps(value).encode(), status, **headers))
    return True


def ids(pages):
    return [
        each["id"] for page, _ in pages for each in msgspec.json.decode(page.rows_json)
    ]


def refusal(make):
    with pytest.raises(SimpulError) as caught:
        list(make.pages())
    return caught.value


# --- signing in ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "seen"),
    [
        ({"auth": "cookie", "auth_name": "sesi"}, lambda r: r.headers["cookie"] == "sesi=k/1"),
        ({"auth": "body", "auth_name": "auth.token", "method": "POST"},
         lambda r: json.loads(r.body) == {"auth": {"token": "k/1"}}),
        ({"auth": "body", "auth_name": "pass", "method": "POST", "body_kind": "form",
          "body": {"aksi": "baca"}},
         lambda r: dict(parse_qsl(r.body.decode())) == {"aksi": "baca", "pass": "k/1"}),
        ({"auth": "header", "auth_name": "Authorization", "auth_prefix": "Token "},
         lambda r: r.headers["authorization"] == "Token k/1"),
        ({"auth": "basic", "auth_user": "opd"}, lambda r: r.headers["authorization"] == "Basic b3BkOmsvMQ=="),
    ],
)  # fmt: skip
def test_the_key_stands_where_the_service_wants_it(
    upstream, make_connector, settings, seen
):
    upstream.script = reply(b'[{"id":1}]')

    assert ids(make_connector(secret="k/1", **settings).pages()) == [1]
    assert seen(upstream.requests[0])


def test_a_key_in_the_path_is_filled_in(upstream, make_connector):
    upstream.script = reply(b'[{"id":1}]')
    url = f"http://{upstream.pair}/v1/key/{{key}}/list"

    list(make_connector(base_url=url, auth="path", secret="a/b").pages())

    assert unquote(upstream.requests[0].path) == "/v1/key/a/b/list"
    assert "/a%2Fb/" in upstream.requests[0].path


def test_two_keys_at_once(upstream, make_connector):
    upstream.script = reply(b'[{"id":1}]')
    secrets = {"auth_secret": "satu", "also_secret": "dua"}

    list(make_connector(secrets=secrets, auth="bearer", also="header").pages())

    headers = upstream.requests[0].headers
    assert (headers["authorization"], headers["apikey"]) == ("Bearer satu", "dua")


def token_service(tokens, *, refused_keys=()):
    """Serves /token by basic auth or log-in; /data to the token that was given last."""
    given = []

    def script(connection, request):
        if request.path == "/token":
            body = dict(parse_qsl(request.body.decode()))
            if any(key in request.body.decode() for key in refused_keys):
                return answer_json(connection, {"error": "salah"}, "401 Unauthorized")
            given.append(tokens[len(given)])
            return answer_json(connection, {"access_token": given[-1], "got": body})
        if request.headers.get("authorization") != f"Bearer {given[-1]}" or (
            given[-1] == "usang"
        ):
            return answer_json(connection, {"msg": "token"}, "401 Unauthorized")
        return answer_json(connection, ROWS[:2])

    return script


OAUTH = {"auth": "oauth2", "auth_user": "klien", "auth_name": "Authorization",
         "auth_prefix": "Bearer "}  # fmt: skip


def test_client_credentials_bring_a_token_and_a_refused_one_is_fetched_again_once(
    upstream, make_connector
):
    upstream.script = token_service(["usang", "segar"])
    url = f"http://{upstream.pair}/token"

    assert ids(make_connector(secret="s3", auth_url=url, **OAUTH).pages()) == [1, 2]

    paths = [request.path for request in upstream.requests]
    assert paths == ["/token", "/data", "/token", "/data"]
    assert upstream.requests[0].headers["authorization"] == "Basic a2xpZW46czM="
    assert b"grant_type=client_credentials" in upstream.requests[0].body


def test_a_token_that_is_refused_for_ever_fails_after_one_more_try(
    upstream, make_connector
):
    upstream.script = token_service(["usang"] * 9)
    url = f"http://{upstream.pair}/token"

    error = refusal(make_connector(secret="s3", auth_url=url, **OAUTH))

    assert error.code == "http_401"
    assert len(upstream.requests) == 4


def test_a_log_in_fills_user_and_key_into_its_fields(upstream, make_connector):
    upstream.script = token_service(["t"])
    login = {
        "auth": "login", "auth_name": "Authorization", "auth_prefix": "Bearer ",
        "auth_url": f"http://{upstream.pair}/token", "auth_user": "opd",
        "auth_fields": {"akun.nama": "{user}", "akun.sandi": "{key}"},
    }  # fmt: skip

    assert ids(make_connector(secret='s"3', **login).pages()) == [1, 2]
    assert json.loads(upstream.requests[0].body) == {
        "akun": {"nama": "opd", "sandi": 's"3'}
    }


def test_the_next_key_is_tried_when_the_present_one_is_refused(upstream, make_connector):
    def script(connection, request):
        if request.headers["authorization"] != "Bearer baru":
            return answer_json(connection, {}, "401 Unauthorized")
        return answer_json(connection, ROWS[:1])

    upstream.script = script
    secrets = {"auth_secret": "lama", "auth_secret_next": "baru"}

    assert ids(make_connector(secrets=secrets, auth="bearer").pages()) == [1]
    assert len(upstream.requests) == 2


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (reply(b"{}", "401 Unauthorized"), "login_refused"),
        (reply(b"{}", "400 Bad Request"), "login_refused"),
        (reply(b'{"token":"x"}'), "no_token"),
        (reply(b'{"access_token":5}'), "no_token"),
        (reply(b'{"access_token":"a\\nb"}'), "no_token"),
        (reply(b'{"access_token":""}'), "no_token"),
        (reply(b"<html>"), "no_token"),
        (reply(b"[]"), "no_token"),
        (reply(b"", "302 Found", Location="http://10.0.0.1/"), "redirect_refused"),
        (reply(b"", "503 Later"), "http_5xx"),
    ],
)
def test_a_log_in_that_brings_no_token_says_so(upstream, make_connector, answer, code):
    upstream.script = answer
    url = f"http://{upstream.pair}/token"

    error = refusal(make_connector(secret=CANARY, auth_url=url, **OAUTH))

    assert error.code == code
    assert CANARY not in str(error)


def test_the_address_of_the_token_must_be_approved_too(make_connector):
    with pytest.raises(errors.SourceRefusedError):
        make_connector(secret="s", auth_url="http://10.9.9.9/token", **OAUTH)


def test_a_token_way_without_its_address_is_refused_when_saved(make_connector):
    with pytest.raises(errors.SourceSettingsError):
        make_connector(secret="s", **OAUTH)


@pytest.mark.parametrize("bad", ["a;b", "a\nb", "a\r\nX: y"])
def test_a_cookie_cannot_break_out(make_connector, bad):
    with pytest.raises(errors.SourceSettingsError):
        make_connector(secret=bad, auth="cookie", auth_name="sesi")


# --- paging -------------------------------------------------------------------------


def test_page_and_size_in_the_path(upstream, make_connector):
    def script(connection, request):
        _, _, size, _, page = request.path.strip("/").split("/")[-5:]
        start = (int(page) - 1) * int(size)
        return answer_json(connection, ROWS[start : start + int(size)])

    upstream.script = script
    url = f"http://{upstream.pair}/list/perpage/{{size}}/page/{{page}}"

    pages = make_connector(
        base_url=url, paging="page", paging_in="path", page_size=5
    ).pages()

    assert ids(pages) == list(range(1, 13))


@pytest.mark.parametrize("kind", ["json", "form"])
def test_offset_and_limit_in_the_body(upstream, make_connector, kind):
    def script(connection, request):
        body = request.body.decode()
        asked = json.loads(body) if kind == "json" else dict(parse_qsl(body))
        start = int(asked["start"])
        return answer_json(connection, {"data": ROWS[start : start + 5], "total": 12})

    upstream.script = script

    pages = make_connector(
        method="POST", body_kind=kind, body={"time": "2024"}, paging="offset",
        paging_in="body", offset_param="start", limit_param="length", page_size=5,
        rows_path="data", total_path="total",
    ).pages()  # fmt: skip

    assert ids(pages) == list(range(1, 13))
    assert upstream.requests[0].method == "POST"
    assert b"2024" in upstream.requests[1].body


@pytest.mark.parametrize("place", ["body", "header"])
def test_a_cursor_leads_on(upstream, make_connector, place):
    def script(connection, request):
        start = int(request.query.get("after", "0"))
        rows, after = ROWS[start : start + 5], start + 5
        more = after < len(ROWS)
        body = {"rows": rows, "meta": {"next": after if more else None}}
        headers = {"X_Next": str(after)} if more and place == "header" else {}
        return answer_json(connection, body, **headers)

    upstream.script = script
    where = (
        {"cursor_path": "meta.next"} if place == "body" else {"cursor_header": "X-Next"}
    )

    pages = make_connector(
        paging="cursor", cursor_param="after", size_param="", rows_path="rows", **where
    ).pages()

    assert ids(pages) == list(range(1, 13))
    assert "per_page" not in upstream.requests[0].query


def test_a_pull_by_cursor_goes_on_where_it_was(upstream, make_connector):
    def script(connection, request):
        start = int(request.query.get("cursor", "0"))
        body = {
            "rows": ROWS[start : start + 5],
            "next": str(start + 5) if start < 10 else "",
        }
        return answer_json(connection, body)

    upstream.script = script
    connector = make_connector(paging="cursor", cursor_path="next", rows_path="rows")
    pages = list(connector.pages())

    for (_, before), (_, after) in pairwise(pages):
        assert before["cursor"] != after["cursor"]
    assert list(connector.pages(pages[0][1])) == pages[1:]
    assert list(connector.pages(pages[-1][1])) == []


def laravel(upstream, *, base="", simple=False):
    """A length-aware or simple paginator that writes the key into its own links."""

    def script(connection, request):
        page = int(request.query.get("page", "1"))
        rows = ROWS[(page - 1) * 5 : page * 5]
        root = base or f"http://{upstream.pair}"
        link = f"{root}/data?token={CANARY}&page={page + 1}" if page < 3 else None
        body = {"data": rows, "next_page_url": link}
        if not simple:
            body["total"] = len(ROWS)
        return answer_json(connection, body)

    return script


@pytest.mark.parametrize("base", ["", "https://127.0.0.1", "/data-tidak-dipakai/.."])
def test_a_next_address_leads_on_without_carrying_the_key_into_the_checkpoint(
    upstream, make_connector, base
):
    upstream.script = laravel(upstream, base=base)
    connector = make_connector(
        paging="next_url", next_path="next_page_url", rows_path="data",
        auth="query", auth_name="token", secret=CANARY,
    )  # fmt: skip

    pages = list(connector.pages())

    assert ids(pages) == list(range(1, 13))
    assert all(request.query["token"] == CANARY for request in upstream.requests)
    assert CANARY not in json.dumps([position for _, position in pages])


def test_the_link_header_leads_on(upstream, make_connector):
    def script(connection, request):
        page = int(request.query.get("page", "1"))
        link = f'</data?page=1>; rel="first", </data?page={page + 1}>; rel="next"'
        more = {"Link": link} if page < 3 else {"Link": '</data?page=1>; rel="first"'}
        return answer_json(connection, ROWS[(page - 1) * 5 : page * 5], **more)

    upstream.script = script

    assert ids(make_connector(paging="link").pages()) == list(range(1, 13))


@pytest.mark.parametrize(
    "link",
    ["http://169.254.169.254/x", "http://evil.example/x", "//10.0.0.9/x", "file:///etc/passwd",
     "http://u:p@127.0.0.1/x", "http://[::1/x", "gopher://127.0.0.1/x"],
)  # fmt: skip
def test_a_next_address_on_another_host_is_not_followed(upstream, make_connector, link):
    upstream.script = reply(json.dumps({"data": [{"id": 1}], "next": link}).encode())

    error = refusal(make_connector(paging="next_url", next_path="next", rows_path="data"))

    assert error.code == "foreign_next"
    assert len(upstream.requests) == 1


@pytest.mark.parametrize("length", [2, 3, 5, 7])
def test_pages_in_a_circle_are_noticed(upstream, make_connector, length):
    def script(connection, request):
        page = int(request.query["page"])
        return answer_json(connection, [{"id": page % length}])

    upstream.script = script

    error = refusal(
        make_connector(paging="page", page_size=1, until_empty=True, max_pages=1000)
    )

    assert error.code == "page_loop"
    assert len(upstream.requests) <= 3 * length + 2


def test_a_cursor_that_stands_still_is_noticed(upstream, make_connector):
    def script(connection, request):
        number = len(upstream.requests)
        return answer_json(connection, {"rows": [{"id": number}], "next": "abc"})

    upstream.script = script

    error = refusal(make_connector(paging="cursor", cursor_path="next", rows_path="rows"))

    assert (error.code, len(upstream.requests)) == ("page_loop", 2)


@pytest.mark.parametrize("cursor", [{"a": 1}, [1], True, 1.5, "x" * 5000])
def test_a_cursor_of_no_use_is_a_wrong_shape(upstream, make_connector, cursor):
    upstream.script = reply(json.dumps({"rows": [{"id": 1}], "next": cursor}).encode())

    error = refusal(make_connector(paging="cursor", cursor_path="next", rows_path="rows"))

    assert error.code == "wrong_shape"


def test_an_endless_cursor_ends_at_the_limit(upstream, make_connector):
    def script(connection, request):
        number = len(upstream.requests)
        return answer_json(connection, {"rows": [], "next": str(number)})

    upstream.script = script

    error = refusal(
        make_connector(
            paging="cursor", cursor_path="next", rows_path="rows", max_pages=20
        )
    )

    assert error.code == "too_many_pages"


# --- envelopes ----------------------------------------------------------------------


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


# --- what changed -------------------------------------------------------------------


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


# --- settings -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "settings",
    [
        {"auth": "body"}, {"paging_in": "body"}, {"paging": "cursor"}, {"paging": "next_url"},
        {"paging": "page", "paging_in": "path"}, {"failure_path": "log"},
        {"pin_sha256": "abc"}, {"user_agent": "a\r\nb"}, {"proxy": "http://10.0.0.1:3128"},
        {"since_overlap": -1}, {"window": -1},
    ],
)  # fmt: skip
def test_settings_that_do_not_go_together_are_refused(make_connector, settings):
    with pytest.raises((errors.SourceSettingsError, errors.SourceRefusedError)):
        make_connector(secret="s", **settings)


def test_requests_go_through_the_proxy_and_to_no_other(upstream, make_connector):
    upstream.script = reply(b'[{"id":1}]')
    approved = ApprovedHosts(["layanan.opd.example:80", upstream.pair])

    connector = make_connector(
        base_url="http://layanan.opd.example/data",
        proxy=f"http://{upstream.pair}",
        approved=approved,
    )

    assert ids(connector.pages()) == [1]
    assert upstream.requests[0].headers["host"] == "layanan.opd.example"


def test_the_user_agent_is_ours_to_set(upstream, make_connector):
    upstream.script = reply(b'[{"id":1}]')

    list(make_connector(user_agent="Mozilla/5.0").pages())

    assert upstream.requests[0].headers["user-agent"] == "Mozilla/5.0"
