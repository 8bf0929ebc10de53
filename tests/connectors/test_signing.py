"""Every common way of signing in, and what is refused."""

import json
from urllib.parse import parse_qsl, unquote

import pytest

from app.connectors import errors

from .conftest import ROWS, answer_json, ids, refusal, reply

CANARY = "r4hasia-jangan-bocor"


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
