"""Every common way of paging, and the traps that agencies' services set."""

import json
from itertools import pairwise
from urllib.parse import parse_qsl

import pytest

from app.connectors.asking import Asking

from .conftest import ROWS, answer_json, ids, refusal, reply

CANARY = "r4hasia-jangan-bocor"


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


def test_what_paging_asks_replaces_what_was_pasted_with_the_address():
    url = "https://h/x?unit=a%20b&limit=5&offset=0&flag"

    assert Asking(url, query={"offset": "20", "limit": "7"}).address() == (
        "https://h/x?unit=a%20b&flag&offset=20&limit=7"
    )
    assert Asking(url).address() == url


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


@pytest.mark.parametrize(
    "totals",
    [[0, 0, 0], [2, 2, 2], [12, 5, 5], [12, 7, 1], [12, 11, 12]],
    ids=["none", "counts-pages", "falls", "falls-more", "wavers"],
)
@pytest.mark.parametrize("cap", [5, 3])
def test_a_total_smaller_than_what_came_ends_nothing(
    upstream, make_connector, totals, cap
):
    def script(connection, request):
        page = int(request.query["page"])
        part = ROWS[(page - 1) * cap : page * cap]
        total = totals[min(page, len(totals)) - 1]
        return answer_json(connection, {"rows": part, "total": total})

    upstream.script = script
    connector = make_connector(
        paging="page", page_size=5, rows_path="rows", total_path="total"
    )

    assert ids(connector.pages()) == list(range(1, 13))
