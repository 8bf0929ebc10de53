"""The process beside a pull that reads for it: the same pages, the same errors, no trace."""

import os
import signal
import time
from contextlib import closing
from pathlib import Path

import pytest

from app.connectors import errors
from app.connectors.registry import ReadOrder, connector_for_order
from jobs.reader import Reader, ReaderLostError
from tests.connectors.conftest import Upstream, paged, reply

# A test's own process has threads; the product forks before it has any.
pytestmark = pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
ROWS = [{"id": number, "nama": f"Nur'aini {number}"} for number in range(12)]


@pytest.fixture
def order(upstream):
    """An order to read the upstream in pages of five."""

    def make(*, paced=(), secrets=(), also_hosts=(), **settings):
        return ReadOrder(
            kind="rest_json",
            settings={
                "base_url": upstream.url, "rows_path": "data.items", "paging": "page",
                "page_size": 5, "read_seconds": 20.0, "page_seconds": 30.0,
            } | settings,
            secrets=dict(secrets),
            approved_hosts=[upstream.pair, *paced, *also_hosts],
            digest_salt=b"x",
            paced=list(paced),
        )  # fmt: skip

    return make


@pytest.fixture
def reader():
    made = Reader()
    with closing(made):
        yield made


def no_turn(pair):
    raise AssertionError(f"{pair} has no rate")


def go_on():
    return True


def is_alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_it_yields_what_the_connector_yields(upstream, order, reader):
    upstream.script = paged(ROWS)
    here = list(connector_for_order(order()).pages())

    assert list(reader.pages(order(), no_turn, go_on)) == here
    assert sum(page.row_count for page, _ in here) == len(ROWS)


def test_it_goes_on_from_a_position(upstream, order, reader):
    upstream.script = paged(ROWS)
    pages = list(connector_for_order(order()).pages())
    rest = ReadOrder(
        **{name: getattr(order(), name) for name in order().__struct_fields__}
        | {"position": pages[0][1]}
    )

    assert list(reader.pages(rest, no_turn, go_on)) == pages[1:]


def test_the_next_page_is_fetched_while_one_is_worked_on(upstream, order, reader):
    upstream.script = paged(ROWS)
    pages = reader.pages(order(), no_turn, go_on)

    next(pages)
    time.sleep(0.3)

    assert len(upstream.requests) == 2


def test_no_page_is_fetched_when_the_pull_may_not_go_on(upstream, order, reader):
    upstream.script = paged(ROWS)
    said = iter([True, False])
    pages = list(reader.pages(order(), no_turn, lambda: next(said)))
    time.sleep(0.3)

    assert [page.index for page, _ in pages] == [0, 1]
    assert len(upstream.requests) == 2


def test_behind_the_last_page_nobody_is_asked_whether_to_go_on(upstream, order, reader):
    upstream.script = paged(ROWS)
    said = iter([True, True])

    assert len(list(reader.pages(order(), no_turn, lambda: next(said)))) == 3
    assert list(said) == []


def test_an_error_comes_as_it_was_raised_when_its_page_is_asked_for(
    upstream, order, reader
):
    good = paged(ROWS)

    def script(connection, request):
        if request.query["page"] == "2":
            connection.sendall(reply(b"", "503 Later", Retry_After="7"))
            return False
        return good(connection, request)

    upstream.script = script
    pages = reader.pages(order(), no_turn, go_on)

    assert next(pages)[0].row_count == 5
    with pytest.raises(errors.SourceUnavailableError) as caught:
        next(pages)

    assert caught.value.code == "http_5xx"
    assert caught.value.retry_after_seconds == 7
    assert caught.value.params["host"] == "127.0.0.1"


def test_settings_that_cannot_work_are_refused_in_the_same_words(order, reader):
    with pytest.raises(errors.SourceSettingsError) as caught:
        next(reader.pages(order(auth="bearer"), no_turn, go_on))

    assert str(caught.value) == "The key of the service is missing"


@pytest.mark.parametrize("waits_for", ["service", "rate"])
def test_closing_ends_it_at_once_whatever_it_waits_for(
    upstream, order, reader, waits_for
):
    good = paged(ROWS)

    def script(connection, request):
        if request.query["page"] == "2" and waits_for == "service":
            time.sleep(20)
        return good(connection, request)

    upstream.script = script
    pages = reader.pages(
        order(rate_per_second=0.05 if waits_for == "rate" else 0), no_turn, go_on
    )
    next(pages)
    time.sleep(0.1)
    pid, began = reader._pid, time.monotonic()

    reader.close()

    assert time.monotonic() - began < 1
    assert not is_alive(pid)


def test_its_sudden_death_is_told(upstream, order, reader):
    upstream.script = paged(ROWS)
    pages = reader.pages(order(), no_turn, go_on)
    next(pages)

    os.kill(reader._pid, signal.SIGKILL)

    with pytest.raises(ReaderLostError):
        list(pages)


def test_it_has_no_file_of_the_process_it_was_forked_from(upstream, order, tmp_path):
    with (tmp_path / "rahasia").open("w") as secret, closing(Reader()) as reader:
        upstream.script = paged(ROWS)
        next(reader.pages(order(), no_turn, go_on))
        open_files = [
            str(each.readlink()) for each in Path(f"/proc/{reader._pid}/fd").iterdir()
        ]

    assert secret.name not in open_files


def test_it_asks_for_its_turn_before_each_request_to_a_host_with_a_rate(
    upstream, order, reader
):
    upstream.script = paged(ROWS)
    turns = []

    def await_turn(pair):
        turns.append((pair, len(upstream.requests)))

    pages = list(reader.pages(order(paced=[upstream.pair]), await_turn, go_on))

    assert pages == list(connector_for_order(order()).pages())
    assert turns == [(upstream.pair, number) for number in range(3)]


def test_a_refused_token_costs_its_hosts_turn_again(upstream, order, reader):
    turns, given = [], []

    def script(connection, request):
        if request.path == "/token":
            given.append(f"t{len(given)}")
            connection.sendall(reply(b'{"access_token":"%s"}' % given[-1].encode()))
        elif request.headers.get("x-token") == "t0":
            connection.sendall(reply(b"{}", "401 Unauthorized"))
        else:
            connection.sendall(reply(b'[{"id":1}]'))
        return True

    with Upstream() as token_host:
        upstream.script = token_host.script = script
        made = order(
            paced=[upstream.pair, token_host.pair], secrets={"auth_secret": "k"},
            paging="none", rows_path="", auth="login", auth_name="X-Token",
            auth_url=f"http://{token_host.pair}/token", auth_fields={"k": "{key}"},
        )  # fmt: skip
        list(reader.pages(made, turns.append, go_on))

    assert turns == [token_host.pair, upstream.pair] * 2


def test_a_failure_names_the_host_that_failed(upstream, order, reader):
    with Upstream() as token_host:
        token_host.script = reply(b"", "503 Later")
        made = order(
            secrets={"auth_secret": "k"}, auth="login", auth_fields={"k": "{key}"},
            auth_url=f"http://{token_host.pair}/token", also_hosts=[token_host.pair],
        )  # fmt: skip
        with pytest.raises(errors.SourceUnavailableError) as caught:
            list(reader.pages(made, no_turn, go_on))

    assert caught.value.pair == token_host.pair
