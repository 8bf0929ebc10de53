"""Every kind of connector against an upstream that does every wrong thing it can."""

import gzip
import json
import time
import tracemalloc
import zlib

import msgspec
import pytest

from app.connectors import errors
from app.connectors.addresses import ApprovedHosts
from app.connectors.registry import CONNECTORS, connector_for, params_of
from app.core.errors import PermanentError, SimpulError, TransientError

from .conftest import drip, paged, reply

CANARY = "r4hasia-jangan-bocor"
TRANSIENT = {
    "timeout", "too_slow", "http_429", "http_5xx", "truncated_body", "connection_lost", "refused",
}  # fmt: skip


def sends(data):
    def script(connection, request):
        connection.sendall(data)
        return False

    return script


def slow_head(connection, request):
    time.sleep(3)


def dripping(connection, request):
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n[")
    drip(connection, b"1," * 200, 0.05)


def dripping_head(connection, request):
    drip(connection, b"HTTP/1.1 200 OK\r\n" + b"X-Slow: 1\r\n" * 200, 0.05)


def one_byte_chunks(connection, request):
    connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while True:
        connection.sendall(b"1\r\n \r\n" * 50)


def endless(connection, request):
    connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    block = b"10000\r\n" + b" " * 65_536 + b"\r\n"
    for _ in range(160_000):
        connection.sendall(block)


def endless_head(connection, request):
    connection.sendall(b"HTTP/1.1 200 OK\r\n")
    while True:
        connection.sendall(b"X-More: " + b"a" * 1_000 + b"\r\n")


def endless_early_hints(connection, request):
    while True:
        connection.sendall(b"HTTP/1.1 103 Early Hints\r\n\r\n" * 100)


def zipped(data, **headers):
    return reply(data, Content_Encoding="gzip", **headers)


def bomb():
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    parts = [packer.compress(b" " * (1 << 20)) for _ in range(256)]
    return b"".join(parts) + packer.flush()


GOOD = json.dumps({"ok": True, "data": {"total": 1, "items": [{"a": 1}]}}).encode()
DEEP = b'{"ok":true,"data":{"items":[' + b"[" * 100_000 + b"]" * 100_000 + b"]}}"

CASES = {
    "empty_list": (reply(b'{"ok":true,"data":{"items":[]}}'), "empty_answer"),
    "empty_body": (reply(b""), "not_json"),
    "no_content": (reply(b"", "204 No Content", Content_Length=None), "not_json"),
    "http_401": (reply(GOOD, "401 Unauthorized"), "http_401"),
    "http_403": (reply(GOOD, "403 Forbidden"), "http_403"),
    "http_404": (reply(GOOD, "404 Not Found"), "http_404"),
    "http_410": (reply(GOOD, "410 Gone"), "http_4xx"),
    "http_408": (reply(GOOD, "408 Request Timeout"), "http_4xx"),
    "http_429": (reply(GOOD, "429 Too Many Requests", Retry_After="7"), "http_429"),
    "http_500": (reply(GOOD, "500 Internal Server Error"), "http_5xx"),
    "http_503": (reply(b"", "503 Service Unavailable"), "http_5xx"),
    "redirect": (reply(b"", "302 Found", Location="http://10.0.0.1/"), "redirect_refused"),
    "redirect_same": (reply(b"", "308 Permanent", Location="/x"), "redirect_refused"),
    "not_modified": (reply(b"", "304 Not Modified"), "redirect_refused"),
    "slow_head": (slow_head, "timeout"),
    "dripping_head": (dripping_head, "too_slow"),
    "dripping_body": (dripping, "too_slow"),
    "one_byte_chunks": (one_byte_chunks, ("too_slow", "response_too_large")),
    "endless_body": (endless, "response_too_large"),
    "endless_head": (endless_head, "not_http"),
    "endless_hints": (endless_early_hints, "too_slow"),
    "ten_gigabytes_claimed": (
        sends(b"HTTP/1.1 200 OK\r\nContent-Length: 10000000000\r\n\r\n["),
        "response_too_large",
    ),
    "gzip_bomb": (zipped(bomb()), "response_too_large"),
    "gzip_lie": (zipped(GOOD), "wrong_encoding"),
    "gzip_truncated": (zipped(gzip.compress(GOOD)[:-12]), "truncated_body"),
    "unknown_packing": (reply(GOOD, Content_Encoding="br"), "wrong_encoding"),
    "truncated_body": (sends(reply(GOOD)[:-5]), "truncated_body"),
    "chunk_lie": (
        sends(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nff\r\n{}\r\n0\r\n\r\n"),
        "truncated_body",
    ),
    "chunk_no_number": (
        sends(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n"),
        "truncated_body",
    ),
    "two_lengths": (
        sends(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n[1,2]"),
        "not_http",
    ),
    "negative_length": (sends(b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n[]"), "not_http"),
    "closed_without_answer": (sends(b""), "connection_lost"),
    "closed_in_head": (sends(b"HTTP/1.1 200 OK\r\nContent-"), "connection_lost"),
    "not_http": (sends(b"SSH-2.0-OpenSSH_9.2\r\n\r\n"), "not_http"),
    "html": (reply(b"<html>Sedang pemeliharaan</html>", Content_Type="text/html"), "not_json"),
    "html_as_json": (reply(b"<!DOCTYPE html>"), "not_json"),
    "text": (reply(b'"maintenance"'), "not_json"),
    "number": (reply(b"5"), "not_json"),
    "nan": (reply(b'{"ok":true,"data":{"items":[{"a":NaN}]}}'), "not_json"),
    "trailing_comma": (reply(b'{"ok":true,"data":{"items":[{"a":1},]}}'), "not_json"),
    "cut_json": (reply(GOOD[:-2]), "not_json"),
    "two_documents": (reply(GOOD + GOOD), "not_json"),
    "utf16": (reply(GOOD.decode().encode("utf-16")), "not_json"),
    "deep": (reply(DEEP), "not_json"),
    "deep_objects": (reply(b'{"a":' * 100_000 + b"1" + b"}" * 100_000), "not_json"),
    "success_false": (reply(b'{"ok":false,"message":"x","data":null}'), "success_rule"),
    "success_false_with_rows": (reply(GOOD.replace(b"true", b"false")), "success_rule"),
    "success_missing": (reply(b'{"data":{"items":[1]}}'), "success_rule"),
    "success_object": (reply(b'{"ok":{"x":1},"data":{"items":[1]}}'), "success_rule"),
    "rows_missing": (reply(b'{"ok":true,"data":{}}'), "wrong_shape"),
    "rows_null": (reply(b'{"ok":true,"data":{"items":null}}'), "wrong_shape"),
    "rows_text": (reply(b'{"ok":true,"data":""}'), "wrong_shape"),
    "success_false_as_list": (reply(b'{"ok":[],"data":null}'), "success_rule"),
    "rows_object": (reply(b'{"ok":true,"data":{"items":{"0":{}}}}'), "wrong_shape"),
    "bare_list": (reply(b'[{"a":1}]'), "success_rule"),
}  # fmt: skip


@pytest.mark.parametrize("kind", CONNECTORS)
@pytest.mark.parametrize("name", CASES)
def test_a_misbehaving_service_becomes_a_named_error(kind, name, upstream):
    upstream.script, expected = CASES[name]
    settings = {
        "base_url": upstream.url, "rows_path": "data.items", "success_path": "ok",
        "success_value": "true", "query": {"token": CANARY}, "auth": "header",
        "read_seconds": 0.5, "page_seconds": 1.5, "page_bytes": 4 << 20, "paging": "page",
        "headers": {"X-Other": CANARY},
    }  # fmt: skip
    approved = ApprovedHosts([upstream.pair])
    connector = connector_for(kind, settings, {"auth_secret": CANARY}, approved)
    began = time.monotonic()

    with pytest.raises(SimpulError) as caught:
        list(connector.pages())

    error = caught.value
    codes = expected if isinstance(expected, tuple) else (expected,)
    assert error.code in codes
    transient = error.code in TRANSIENT or name == "http_408"
    wanted = TransientError if transient else PermanentError
    assert isinstance(error, wanted)
    assert time.monotonic() - began < 3
    told = f"{error} {error.message} {error.params} {error!r}"
    assert CANARY not in told
    assert "pemeliharaan" not in told


def endless_plain(connection, request):
    connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
    block = b" " * 65_536
    for _ in range(160_000):
        connection.sendall(block)


@pytest.mark.parametrize("script", [endless, endless_plain])
def test_ten_gigabytes_need_little_memory(upstream, make_connector, script):
    upstream.script = script
    tracemalloc.start()
    with pytest.raises(errors.SourceAnswerError) as caught:
        list(make_connector(rows_path="data").pages())

    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert caught.value.code == "response_too_large"
    assert peak < 16 << 20


def test_a_gzip_bomb_bursts_before_it_fills_memory(upstream, make_connector):
    upstream.script = zipped(bomb())
    tracemalloc.start()
    with pytest.raises(errors.SourceAnswerError):
        list(make_connector(rows_path="data").pages())

    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 16 << 20


def test_a_packed_answer_of_several_members_is_read(upstream, make_connector):
    whole = b'[{"a":1},{"a":2}]'
    upstream.script = zipped(gzip.compress(whole[:9]) + gzip.compress(whole[9:]))

    [(page, _)] = make_connector().pages()

    assert page.rows_json == whole


@pytest.mark.parametrize("members", [0, 1])
def test_a_packed_answer_larger_than_a_piece_is_whole(upstream, make_connector, members):
    rows = b'["' + b"a" * (3 << 20) + b'"]'
    upstream.script = zipped(gzip.compress(rows) + gzip.compress(b"") * members)

    [(page, _)] = make_connector().pages()

    assert page.rows_json == rows


def test_a_deflated_answer_is_read(upstream, make_connector):
    upstream.script = reply(zlib.compress(b"[1,2]"), Content_Encoding="deflate")

    [(page, _)] = make_connector().pages()

    assert page.row_count == 2


@pytest.mark.parametrize(
    ("header", "low", "high"),
    [
        ("7", 7, 7), ("0", 0, 0), ("999999999", 86_400, 86_400), ("-5", None, None),
        ("soon", None, None), ("Wed, 21 Oct 2015 07:28:00 -0000", 0, 0), ("Wed, 21 Oct 2015 07:28:00 GMT", 0, 0),
        ("Fri, 31 Dec 9999 23:59:59 GMT", 86_400, 86_400), ("", None, None),
        ("\xb2", None, None), ("1" * 400, None, None),
    ],
)  # fmt: skip
def test_retry_after_reaches_the_error(upstream, make_connector, header, low, high):
    upstream.script = reply(b"", "429 Too Many Requests", Retry_After=header or None)

    with pytest.raises(errors.SourceUnavailableError) as caught:
        list(make_connector().pages())

    wait = caught.value.retry_after_seconds
    assert wait is None if low is None else low <= wait <= high


# --- pages --------------------------------------------------------------------------


def rows_of(pages):
    return [row for page, _ in pages for row in json.loads(page.rows_json)]


SHAPE = {"rows_path": "data.items", "success_path": "ok", "success_value": "true"}
ROWS = [{"id": number, "nama": f"Nur'aini {number}"} for number in range(25)]


@pytest.mark.parametrize(
    ("settings", "script"),
    [
        ({"paging": "page"}, {}),
        ({"paging": "page", "total_path": "data.total"}, {"total": 25}),
        ({"paging": "page", "total_path": "data.total"}, {"total": "25"}),
        ({"paging": "offset", "size_param": "x"}, {"key": "offset", "size_key": "limit"}),
        (
            {"paging": "offset", "total_path": "data.total"},
            {"key": "offset", "size_key": "limit", "total": 25, "cap": 3},
        ),
        ({"paging": "page", "until_empty": True}, {"cap": 4}),
    ],
)
@pytest.mark.parametrize("size", [1, 5, 7, 25, 100])
def test_every_record_comes_once(upstream, make_connector, settings, script, size):
    upstream.script = paged(ROWS, **script)

    got = list(make_connector(page_size=size, **SHAPE, **settings).pages())

    assert rows_of(got) == ROWS
    assert [page.index for page, _ in got] == list(range(len(got)))
    assert sum(page.row_count for page, _ in got) == 25
    assert upstream.connections == 1


def test_a_service_without_paging_is_asked_once(upstream, make_connector):
    upstream.script = reply(json.dumps(ROWS).encode())

    [(page, position)] = make_connector(page_size=5).pages()

    assert page.row_count == 25
    assert position["done"] is True
    assert len(upstream.requests) == 1
    assert upstream.requests[0].query == {}


@pytest.mark.parametrize("kept", range(5))
def test_a_killed_run_goes_on_from_the_last_committed_page(
    upstream, make_connector, kept
):
    upstream.script = paged(ROWS)
    settings = SHAPE | {"paging": "page", "page_size": 5}
    first = make_connector(**settings).pages()
    before = [next(first) for _ in range(kept)]
    position = json.loads(json.dumps(before[-1][1])) if before else None
    first.close()

    after = list(make_connector(**settings).pages(position))

    assert rows_of(before) + rows_of(after) == ROWS
    assert [page.index for page, _ in before + after] == list(range(5))


def test_a_connector_can_be_read_twice(upstream, make_connector):
    upstream.script = paged(ROWS)
    connector = make_connector(paging="page", page_size=10, **SHAPE)

    assert rows_of(connector.pages()) == rows_of(connector.pages()) == ROWS


def test_a_finished_position_asks_nothing(upstream, make_connector):
    upstream.script = paged(ROWS)
    settings = SHAPE | {"paging": "page", "page_size": 10}
    *_, (_, position) = make_connector(**settings).pages()
    asked = len(upstream.requests)

    assert list(make_connector(**settings).pages(position)) == []
    assert len(upstream.requests) == asked


@pytest.mark.parametrize(
    "position",
    [{"page": 2, "rows": 10, "page_size": 7}, {"page": "x"}, {"page": -1}, {"rows": -5}],
)
def test_a_position_of_other_settings_is_refused(make_connector, position):
    with pytest.raises(errors.SourceAnswerError) as caught:
        list(make_connector(page_size=5, paging="page").pages(position))

    assert caught.value.code == "position_mismatch"


def test_a_repeated_page_is_an_error_after_the_first(upstream, make_connector):
    upstream.script = reply(b"[1,2]")
    pages = make_connector(paging="page", page_size=2).pages()

    next(pages)
    with pytest.raises(errors.SourceAnswerError) as caught:
        next(pages)

    assert caught.value.code == "repeated_page"


def test_a_page_repeated_after_a_resume_is_an_error(upstream, make_connector):
    upstream.script = reply(b"[1,2]")
    pages = make_connector(paging="page", page_size=2).pages()
    _, position = next(pages)
    pages.close()

    with pytest.raises(errors.SourceAnswerError) as caught:
        list(make_connector(paging="page", page_size=2).pages(position))

    assert caught.value.code == "repeated_page"


def test_endless_pages_stop_at_the_limit(upstream, make_connector):
    def script(connection, request):
        connection.sendall(reply(b'["%s"]' % request.query["page"].encode()))
        return True

    upstream.script = script
    pages = make_connector(paging="page", page_size=1, max_pages=7).pages()

    with pytest.raises(errors.SourceAnswerError) as caught:
        list(pages)

    assert caught.value.code == "too_many_pages"
    assert len(upstream.requests) == 7


@pytest.mark.parametrize("paging", ["page", "none"])
def test_fewer_records_than_declared_is_an_error(upstream, make_connector, paging):
    script = paged(ROWS, total=26)

    def with_defaults(connection, request):
        request.query.setdefault("page", "1")
        request.query.setdefault("per_page", "100")
        return script(connection, request)

    upstream.script = with_defaults
    settings = SHAPE | {"total_path": "data.total", "paging": paging, "page_size": 10}

    with pytest.raises(errors.SourceAnswerError) as caught:
        list(make_connector(**settings).pages())

    assert caught.value.code == "short_total"
    assert caught.value.params == {"host": "127.0.0.1", "rows": 25, "total": 26}


@pytest.mark.parametrize("total", [None, "x", -1, 1.5, True, "٣", [], "9" * 40])
def test_a_total_that_is_no_count_is_a_wrong_shape(upstream, make_connector, total):
    upstream.script = reply(json.dumps({"total": total, "rows": [1]}).encode())

    with pytest.raises(errors.SourceAnswerError) as caught:
        list(make_connector(rows_path="rows", total_path="total").pages())

    assert (caught.value.code, caught.value.params["path"]) == ("wrong_shape", "total")


def test_a_verdict_of_null_can_be_the_rule(upstream, make_connector):
    upstream.script = reply(b'{"error":null,"rows":[1]}')
    settings = {"rows_path": "rows", "success_path": "error", "success_value": "null"}

    assert len(list(make_connector(**settings).pages())) == 1


@pytest.mark.parametrize(
    "body", [b'{"data":[{"page":1},""]}', b'{"data":[1]}', b'{"data":""}']
)
def test_an_array_without_the_place_of_the_rows_is_a_wrong_shape(
    upstream, make_connector, body
):
    upstream.script = reply(body)

    with pytest.raises(errors.SourceAnswerError) as caught:
        list(make_connector(rows_path="data.1").pages())

    assert (caught.value.code, caught.value.params["path"]) == ("wrong_shape", "data.1")


def test_an_object_where_a_bare_list_should_be_is_a_wrong_shape(upstream, make_connector):
    upstream.script = reply(b'{"rows":[1]}')

    with pytest.raises(errors.SourceAnswerError) as caught:
        list(make_connector().pages())

    assert (caught.value.code, caught.value.params["path"]) == ("wrong_shape", "$")


def test_a_missing_total_is_a_wrong_shape(upstream, make_connector):
    upstream.script = reply(b'{"rows":[1]}')

    with pytest.raises(errors.SourceAnswerError) as caught:
        list(make_connector(rows_path="rows", total_path="meta.total").pages())

    assert caught.value.params["path"] == "meta.total"


@pytest.mark.parametrize(
    ("body", "settings"),
    [
        (b'\xef\xbb\xbf[{"a":1}]', {}),
        (b' [ {"a":1} ] ', {}),
        (b'{"status":"OK","data":[{"page":1},[{"a":1}]]}', {"rows_path": "data.1"}),
        (b'{"data-list":{"hasil akhir":[{"a":1}]}}', {"rows_path": "data-list.hasil akhir"}),
        (b'{"meta":{"code":200},"rows":[{"a":1}]}',
         {"rows_path": "rows", "success_path": "meta.code", "success_value": "200"}),
        (b'{"meta":{"ok":1},"total":1,"rows":[{"a":1}]}',
         {"rows_path": "rows", "total_path": "total", "success_path": "meta.ok",
          "success_value": "1"}),
        (b'{"status":"success","rows":[{"a":1}]}',
         {"rows_path": "rows", "success_path": "status", "success_value": "success"}),
    ],
)  # fmt: skip
def test_the_shapes_of_the_field_are_read(upstream, make_connector, body, settings):
    upstream.script = reply(body, Content_Type="text/html; charset=iso-8859-1")

    [(page, _)] = make_connector(**settings).pages()

    assert json.loads(page.rows_json) == [{"a": 1}]


@pytest.mark.parametrize(
    "record",
    [
        b'{"nama":"\xd8\xb9\xd8\xa8\xd8\xaf"}', b'{"nama":"\\ud83d\\ude00"}', b'{"nama":"\\u0000"}',
        b'{"nik":9171010101010101999999}', b'{"a":1,"a":2}', b'{"x":1e400}', b'{"n":"\xff"}',
    ],
)  # fmt: skip
def test_records_pass_byte_for_byte(upstream, make_connector, record):
    upstream.script = reply(b'{"rows":[{"a":1},' + record + b"]}")

    [(page, _)] = make_connector(rows_path="rows").pages()

    assert page.rows_json == b'[{"a":1},' + record + b"]"


@pytest.mark.parametrize(
    ("escape", "code_point"),
    [
        (b"\\ud800", 0xD800), (b"\\uDFff", 0xDFFF), (b"\\ud800\\u0041", 0xD800),
        (b"\\udc00\\ud800", 0xDC00), (b"\\ud83d\\ude00\\ud83d", 0xD83D),
    ],
)  # fmt: skip
def test_half_a_character_costs_one_record_and_not_the_page(
    upstream, make_connector, escape, code_point
):
    upstream.script = reply(
        b'{"rows":[{"a":"\\\\ud800"},{"a":"' + escape + b'"},{"a":"z"}]}'
    )

    [(page, _)] = make_connector(rows_path="rows").pages()

    good, bad, last = msgspec.json.decode(page.rows_json, type=list[msgspec.Raw])
    assert msgspec.json.decode(good) == {"a": "\\ud800"}
    assert msgspec.json.decode(last) == {"a": "z"}
    assert chr(code_point) in bytes(bad).decode("utf-8", "surrogatepass")
    with pytest.raises(UnicodeDecodeError):
        msgspec.json.decode(bad)


# --- requests -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "header", "value"),
    [
        ({"auth": "header", "auth_name": "apikey"}, "apikey", "s3"),
        ({"auth": "bearer"}, "authorization", "Bearer s3"),
        ({"auth": "basic", "auth_name": "opd"}, "authorization", "Basic b3BkOnMz"),
        ({"headers": {"User-Agent": "Mozilla/5.0"}}, "user-agent", "Mozilla/5.0"),
        ({"headers": {"accept": "text/json"}}, "accept", "text/json"),
        ({}, "user-agent", "Simpul/0.1"),
    ],
)
def test_headers_are_sent(upstream, make_connector, settings, header, value):
    upstream.script = reply(b"[1]")

    list(make_connector(secret="s3", **settings).pages())

    assert upstream.requests[0].headers[header] == value
    assert upstream.requests[0].headers["host"] == upstream.pair
    assert "cookie" not in upstream.requests[0].headers


def test_query_parameters_are_joined_and_escaped(upstream, make_connector):
    upstream.script = reply(b"[1]")
    settings = {"query": {"q": "a&b=c d"}, "auth": "query", "auth_name": "token"}

    list(make_connector(base_url=upstream.url + "?x=1", secret="s/3", **settings).pages())

    assert upstream.requests[0].query == {"x": "1", "q": "a%26b%3Dc+d", "token": "s%2F3"}


def test_cookies_are_not_kept(upstream, make_connector):
    def script(connection, request):
        page = request.query["page"].encode()
        connection.sendall(
            reply(b"[%s]" % page * (page < b"3"), Set_Cookie="a=b") or reply(b"[]")
        )
        return True

    upstream.script = script
    with pytest.raises(SimpulError):
        list(make_connector(paging="page", page_size=1).pages())

    assert len(upstream.requests) == 3
    assert not any("cookie" in request.headers for request in upstream.requests)


@pytest.mark.parametrize(
    "headers",
    [
        {"X-A": "a\r\nX-B: b"}, {"X-A": "a\nb"}, {"X\r\nA": "b"}, {"Host": "evil"}, {"": "x"},
        {"X-A": "é"}, {"Cookie": "a=b"}, {"Content-Length": "5"}, {"X-A": " a"}, {"X A": "b"},
        {"Transfer-Encoding": "chunked"}, {"X-A": "a\x00"}, {"Accept-Encoding": "br"},
    ],
)  # fmt: skip
def test_headers_that_would_break_the_request_are_refused(make_connector, headers):
    with pytest.raises(errors.SourceSettingsError):
        make_connector(headers=headers)


def test_a_secret_that_breaks_the_header_is_refused_without_being_told(make_connector):
    with pytest.raises(errors.SourceSettingsError) as caught:
        make_connector(auth="header", secret=CANARY + "\n")

    assert CANARY not in str(caught.value)


def test_proxies_of_the_environment_are_not_used(upstream, make_connector, monkeypatch):
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    upstream.script = reply(b"[1]")

    assert len(list(make_connector().pages())) == 1


def test_a_connection_closed_between_pages_is_opened_again(upstream, make_connector):
    rows = paged(ROWS)

    def script(connection, request):
        rows(connection, request)
        time.sleep(0.02)
        return False

    upstream.script = script

    got = list(make_connector(paging="page", page_size=5, **SHAPE).pages())

    assert rows_of(got) == ROWS


def test_a_fresh_connection_that_dies_is_not_asked_again(upstream, make_connector):
    upstream.script = sends(b"")

    with pytest.raises(errors.SourceUnavailableError):
        list(make_connector().pages())

    assert len(upstream.requests) == 1


def test_the_rate_is_kept(upstream, make_connector):
    upstream.script = paged(ROWS)
    settings = {"paging": "page", "page_size": 10, "rate_per_second": 10}
    began = time.monotonic()

    list(make_connector(**SHAPE, **settings).pages())

    assert 0.19 < time.monotonic() - began < 1


def test_a_closed_port_is_refused(upstream, make_connector):
    upstream.stop()
    time.sleep(0.05)

    with pytest.raises(errors.SourceUnavailableError) as caught:
        list(make_connector().pages())

    assert caught.value.code == "refused"


@pytest.mark.parametrize("total", ["9223372036854775808", "18446744073709551616"])
def test_a_total_beyond_all_counting_is_the_wrong_shape(upstream, make_connector, total):
    upstream.script = reply(b'{"rows":[{"a":1}],"total":%b}' % total.encode())
    with pytest.raises(errors.SourceAnswerError) as caught:
        list(make_connector(rows_path="rows", total_path="total").pages())

    assert caught.value.code == "wrong_shape"


# --- settings -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "settings",
    [
        {"page_size": 0}, {"page_size": 10**7}, {"read_seconds": 0}, {"read_seconds": "nan"},
        {"max_pages": 0}, {"page_bytes": 0}, {"rate_per_second": -1}, {"first_page": -1},
        {"rows_path": "a..b"}, {"rows_path": "a", "total_path": "a.b"}, {"paging": "cursor"},
        {"rows_path": "a.b", "total_path": "a.0"}, {"rows_path": ".".join("abcdefghi")},
        {"success_path": "ok"}, {"success_value": "ok"}, {"auth": "header"}, {"auth": "magic"},
        {"rows_path": 'a"b'}, {"rows_path": "a\x1fb"}, {"rows_path": "a\ud800"},
        {"query": {"q": "\ud800"}}, {"auth_name": "\ud800", "auth": "basic"}, {"unknown": 1}, {"headers": {"a": 1, "b": []}}, {"base_url": 5}, {"extra_ca_pem": "x"},
    ],
)  # fmt: skip
def test_settings_that_cannot_work_are_refused_when_saved(upstream, settings):
    known = {"base_url": upstream.url} | settings
    secrets = {} if settings == {"auth": "header"} else {"auth_secret": "s3"}

    with pytest.raises(errors.SourceSettingsError):
        connector_for("rest_json", known, secrets, ApprovedHosts([upstream.pair]))


def test_settings_may_come_as_text_from_a_form(upstream):
    settings = {"base_url": upstream.url, "page_size": "50", "until_empty": "true"}

    connector_for("rest_json", settings, {}, ApprovedHosts([upstream.pair]))


def test_an_unknown_kind_is_refused():
    with pytest.raises(errors.SourceSettingsError):
        connector_for("ftp", {}, {}, ApprovedHosts())
    with pytest.raises(errors.SourceSettingsError):
        params_of("ftp")


@pytest.mark.parametrize("kind", CONNECTORS)
def test_every_kind_marks_its_secrets_and_describes_every_setting(kind):
    params = params_of(kind)

    assert [param.name for param in params if param.secret] == [
        "auth_secret",
        "also_secret",
    ]
    assert len({param.name for param in params}) == len(params)
    assert all(param.label for param in params)
