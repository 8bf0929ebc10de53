"""The door as it is served: real processes of ``ops.serve``, real sockets, real ends."""

import http.client
import logging
import os
import select
import signal
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest
import sqlalchemy as sa

from app.api.models import ApiClient
from app.core import db
from app.exports.models import ExchangeLog
from ops.serve import InALine
from tests import fakes, make
from tests.api.conftest import Shop
from tests.api.test_door import change
from tests.faults.proxy import Proxy

LONG = 60_000  # rows beside the first, of about 400 bytes: more than all buffers hold


@dataclass
class Served:
    """A web server of one process, its port, and the shop behind it."""

    shop: Shop
    port: int
    main: object
    log: Path

    def head(self, path: str = "", *, method: str = "GET", more: str = "") -> bytes:
        address = f"/api/v1/datasets/{self.shop.slug}/records{path}"
        return (
            f"{method} {address} HTTP/1.1\r\nHost: x\r\n"
            f"Authorization: Bearer {self.shop.key}\r\n{more}\r\n"
        ).encode("latin-1")

    def connect(self) -> socket.socket:
        made = socket.create_connection(("127.0.0.1", self.port))
        made.settimeout(10)
        return made

    def ask(self, data: bytes) -> bytes:
        """Send it on a connection of its own; return all that comes back."""
        with self.connect() as line:
            line.sendall(data)
            return everything(line)

    def get(self, path: str = "?limit=1", more: str = "") -> bytes:
        return self.ask(self.head(path, more=f"Connection: close\r\n{more}"))


POST = (
    b"POST /login HTTP/1.1\r\nHost: x\r\n"
    b"Content-Type: application/x-www-form-urlencoded\r\n"
)


def everything(line: socket.socket) -> bytes:
    """Read to the end of a connection, however it ends."""
    found = bytearray()
    try:
        while part := line.recv(1 << 20):
            found += part
    except ConnectionResetError:
        pass
    return bytes(found)


@pytest.fixture
def served(shop, settings, tmp_path, request) -> Iterator[Served]:
    with serving(shop, settings, tmp_path, **getattr(request, "param", {})) as made:
        yield made


@contextmanager
def serving(shop: Shop, settings, folder: Path, **more: str) -> Iterator[Served]:
    change(
        ApiClient, shop.client, requests_per_minute=10**6, requests_per_day=10**8,
        rows_per_day=10**10, concurrency=64,
    )  # fmt: skip
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    env = {"WEB_PORT": str(port), "WEB_WORKERS": "1"} | more
    log = folder / "log"
    with fakes.Processes(settings, log) as processes:
        made = Served(shop, port, processes.start("ops.serve", env=env), log)
        fakes.wait_until(lambda: is_up(made), 20)
        yield made
        made.main.send_signal(signal.SIGTERM)
        made.main.wait(12)


def is_up(served: Served) -> bool:
    try:
        return served.ask(b"GET /health/live HTTP/1.0\r\n\r\n").startswith(
            b"HTTP/1.1 200"
        )
    except OSError:
        return False


def lengthen(shop: Shop) -> None:
    """Put many rows into the dataset, past its pull."""
    with db.owner_unit_of_work() as s:
        s.execute(
            sa.text(
                f'INSERT INTO data."{shop.slug}" (nip, nama, _run_id, _first_seen_at, _changed_at)'
                " SELECT 'x' || n, repeat('abcdefghij', 40), :run, now(), now()"
                " FROM generate_series(1, :n) n"
            ),
            {"n": LONG, "run": run_of(shop)},
        )


def run_of(shop: Shop):
    from app.datasets.models import Dataset

    with make.session() as s:
        return s.get_one(Dataset, shop.dataset).published_run_id


def logged(shop: Shop, status: int = 200) -> list[ExchangeLog]:
    with make.session() as s:
        return list(
            s.scalars(
                sa.select(ExchangeLog)
                .where(ExchangeLog.client_id == shop.client, ExchangeLog.status == status)
                .order_by(ExchangeLog.id)
            )
        )


def children(pid: int) -> list[int]:
    path = Path(f"/proc/{pid}/task/{pid}/children")
    return [int(each) for each in path.read_text().split()]


def workers(served: Served) -> list[int]:
    """Return the processes that answer, without the one that keeps a list of semaphores."""
    return [
        each
        for each in children(served.main.pid)
        if b"spawn_main" in Path(f"/proc/{each}/cmdline").read_bytes()
    ]


def is_alive(pid: int) -> bool:
    try:
        return (
            Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
            not in "ZX"
        )
    except OSError:
        return False


def end_database_lines(word: str) -> int:
    with psycopg.connect(os.environ["TEST_PG_ADMIN_URL"], autocommit=True) as admin:
        return admin.execute(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
            " WHERE datname = %s AND query LIKE %s",
            [db.engine().url.database, f"{word}%"],
        ).fetchone()[0]


@pytest.mark.parametrize("form", ["csv", "ndjson"])
def test_a_stream_that_the_database_ends_does_not_look_whole(served, form):
    lengthen(served.shop)
    with served.connect() as line:
        line.sendall(served.head(f"?format={form}"))
        begun = line.recv(1000)
        while b"jabcdefghij" not in begun:
            begun += line.recv(1000)
        assert begun.startswith(b"HTTP/1.1 200")
        other = served.get()  # a younger request of the same address is left alone
        assert end_database_lines("COPY") == 1
        rest = everything(line)

    assert other.startswith(b"HTTP/1.1 200")
    assert not rest.endswith(b"0\r\n\r\n")
    assert [each.phase for each in logged(served.shop)][-1] == "broken"
    told = served.log.read_text()
    assert told.count("an answer was broken off: ") == 1
    assert "Traceback" not in told
    whole = served.get(f"?format={form}")
    assert whole.endswith(b"0\r\n\r\n")


def test_a_slow_reader_is_waited_for_without_filling_memory(served):
    lengthen(served.shop)
    worker = served.main.pid
    with served.connect() as line:
        line.sendall(served.head("?format=csv", more="Connection: close\r\n"))
        line.recv(1000)
        before = memory(worker)
        time.sleep(1)
        assert memory(worker) - before < 8_000
        assert served.get().startswith(b"HTTP/1.1 200")
        assert everything(line).endswith(b"0\r\n\r\n")
    assert logged(served.shop)[-1].row_count == LONG + 250


def memory(pid: int) -> int:
    """Return resident kilobytes."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1])
    raise AssertionError(pid)


def test_a_reader_who_goes_away_is_logged_as_far_as_it_came(served):
    lengthen(served.shop)
    with served.connect() as line:
        line.sendall(served.head("?format=csv"))
        while b"jabcdefghij" not in line.recv(1000):
            pass
    fakes.wait_until(lambda: len(logged(served.shop)) == 2, 5)

    begin, broken = logged(served.shop)
    assert (begin.phase, broken.phase) == ("begin", "broken")
    assert 0 < broken.row_count < LONG


def test_known_answers_are_logged_when_the_server_stops_at_once(served):
    etag = etag_of(served.get())
    for _ in range(5):
        assert served.get(more=f"If-None-Match: {etag}\r\n").startswith(b"HTTP/1.1 304")
    served.main.send_signal(signal.SIGTERM)
    served.main.wait(10)

    (known,) = logged(served.shop, 304)
    assert known.times == 5


def etag_of(answer: bytes) -> str:
    lines = answer.decode().split("\r\n")
    return next(line[6:] for line in lines if line.lower().startswith("etag: "))


def test_it_stops_in_time_beside_stalled_streams_and_leaves_nothing(served):
    lengthen(served.shop)
    family = [served.main.pid, *workers(served)]
    with served.connect() as line:
        line.sendall(served.head("?format=csv"))
        line.recv(1000)
        began = time.monotonic()
        served.main.send_signal(signal.SIGTERM)
        served.main.wait(10)
        assert time.monotonic() - began < 9.5
        assert not everything(line).endswith(b"0\r\n\r\n")
    assert not any(map(is_alive, family))
    begin, broken = logged(served.shop)
    assert (begin.phase, broken.phase) == ("begin", "broken")
    assert broken.row_count > 0


@pytest.mark.parametrize("served", [{"WEB_WORKERS": "2"}], indirect=True)
def test_a_killed_worker_comes_back_and_a_killed_server_leaves_nothing(served):
    before = workers(served)
    assert len(before) == 2
    for each in before:
        os.kill(each, signal.SIGKILL)
    fakes.wait_until(lambda: is_up(served), 20)
    after = workers(served)
    served.main.kill()
    served.main.wait(5)
    fakes.wait_until(lambda: not any(map(is_alive, after)), 5)


def test_connections_that_only_wait_hold_up_nobody(served):
    waiting = [served.connect() for _ in range(400)]
    try:
        for number, line in enumerate(waiting):
            line.sendall(
                served.head("?limit=1") if number % 2 else b"GET / HTTP/1.1\r\nX: "
            )
        assert served.get().startswith(b"HTTP/1.1 200")
    finally:
        for line in waiting:
            line.close()


def test_bodies_that_come_slowly_hold_up_nobody(served):
    slow = [served.connect() for _ in range(20)]
    try:
        for line in slow:
            line.sendall(POST + b"Content-Length: 1000\r\n\r\na=")
        assert served.get().startswith(b"HTTP/1.1 200")
        page = served.ask(b"GET /login HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert page.startswith(b"HTTP/1.1 200")
        for line in slow:
            line.sendall(b"b" * 998)
            assert line.recv(12) == b"HTTP/1.1 400"  # the form has no token
    finally:
        for line in slow:
            line.close()


def test_more_is_not_received_at_once_than_there_is_room_for(served):
    waiting = []
    try:
        for _ in range(9):
            waiting.append(served.connect())
            waiting[-1].sendall(
                POST + b"Content-Length: 8388608\r\n\r\n" + b"a" * 8_000_000
            )
        busy = select.select(waiting, [], [], 10)[0]
        assert len(busy) == 1
        assert busy[0].recv(12) == b"HTTP/1.1 503"
        assert served.get().startswith(b"HTTP/1.1 200")
    finally:
        for line in waiting:
            line.close()
    fakes.wait_until(
        lambda: served.ask(
            POST + b"Connection: close\r\nContent-Length: 3\r\n\r\na=b"
        ).startswith(b"HTTP/1.1 400"),
        10,
    )


def test_a_body_is_read_whole_however_it_is_framed_and_a_large_one_refused(served):
    line = http.client.HTTPConnection("127.0.0.1", served.port, timeout=10)
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    for body in (
        b"email=a%40b.test&password=x" + b"&a=b" * 20_000,
        iter([b"email=a", b"&b=c"]),
    ):
        line.request("POST", "/login", body, form)
        assert line.getresponse().read()  # a page in words: the form has no token
        line.close()
    for size in (b"Content-Length: 9000000", b"Transfer-Encoding: chunked"):
        said = served.ask(
            b"POST /login HTTP/1.1\r\nHost: x\r\nConnection: close\r\n" + size + b"\r\n"
            b"Content-Type: application/x-www-form-urlencoded\r\n\r\n"
            + (
                b"895441\r\n" + b"a" * 0x895441 + b"\r\n0\r\n\r\n"
                if b"chunked" in size
                else b""
            )
        )
        assert said[9:12] in {b"413", b"400"}, said[:200]


ODD = {
    "raw utf-8": ("?nama=\xc3\xa9&limit=1", "", b"200"),
    "no utf-8": ("?nama=\xff", "", b"400"),
    "long address": ("?a=" + "x" * 40_000, "", b"400"),
    "too long an address": ("?a=" + "x" * 1_000_000, "", b"431"),
    "many headers": ("", "".join(f"X-{n}: x\r\n" for n in range(90_000)), b"431"),
    "headers beyond ASCII": ("?limit=1", "Accept-Encoding: \xff\r\nIf-None-Match: \xfe\r\n", b"200"),
    "two lengths": ("", "Content-Length: 5\r\nContent-Length: 6\r\n", b"400"),
    "length below nothing": ("", "Content-Length: -1\r\n", b"400"),
    "unknown coding": ("", "Transfer-Encoding: zip\r\n", b"400"),
    "folded header": ("", "X-A: b\r\n c\r\n", b"400"),
    "space before the colon": ("", "X-A : b\r\n", b"400"),
    "another protocol": ("?limit=1", "Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n", b"200"),
}  # fmt: skip


def test_odd_requests_are_answered_in_order(served):
    for name, (query, more, status) in ODD.items():
        assert served.get(query, more)[9:12] == status, name
    for method in ("FOO", "get"):
        said = served.ask(served.head(method=method))
        assert said.startswith(b"HTTP/1.1 400"), method
        assert b"bukan HTTP" in said
    for method in ("OPTIONS", "TRACE", "CONNECT", "PUT"):
        said = served.ask(served.head(method=method, more="Connection: close\r\n"))
        assert said.startswith(b"HTTP/1.1 405"), method
        assert b"allow: GET, HEAD" in said
    old = served.head("?format=csv&limit=2").replace(b"HTTP/1.1", b"HTTP/1.0")
    said = served.ask(old)
    assert said.startswith(b"HTTP/1.1 200")
    assert said.count(b"\n000") == 2
    whole = served.head("?limit=1", more="Connection: close\r\n")
    said = served.ask(whole.replace(b"GET /", b"GET http://x/"))
    assert said.startswith(b"HTTP/1.1 200")
    assert is_up(served)
    assert "Traceback" not in served.log.read_text()


def test_requests_on_one_connection_are_told_apart(served):
    hidden = b"GET /api/v1/datasets HTTP/1.1\r\nHost: x\r\n\r\n"
    both = f"Content-Length: {len(hidden) + 5}\r\nTransfer-Encoding: chunked\r\n"
    said = served.ask(served.head("?limit=1", more=both) + b"0\r\n\r\n" + hidden)
    assert said.count(b"HTTP/1.1 ") == 1  # refused, or answered and closed
    body = f"Content-Length: {len(hidden)}\r\nConnection: close\r\n"
    said = served.ask(served.head("?limit=1", more=body) + hidden)
    assert said.count(b"HTTP/1.1 ") == 1
    last = served.head("?limit=4", more="Connection: close\r\n")
    said = served.ask(b"".join(served.head(f"?limit={n}") for n in (1, 2, 3)) + last)
    assert said.count(b"HTTP/1.1 200") == 4
    places = [said.index(f'"limit":{n}'.encode()) for n in (1, 2, 3, 4)]
    assert places == sorted(places)


def test_what_comes_behind_a_body_is_no_header_and_fills_no_memory(served):
    chunked = b"Transfer-Encoding: chunked\r\n\r\n0\r\n"
    before = memory(served.main.pid)
    for head in (
        served.head(more="Transfer-Encoding: chunked\r\n") + b"0\r\n",
        POST + chunked,
        POST + chunked + b"X: ",  # one without an end
    ):
        with served.connect() as line, suppress(ConnectionError):
            line.sendall(head)
            for _ in range(20):
                line.sendall(
                    b"y" * 500_000 if head.endswith(b": ") else b"x: y\r\n" * 80_000
                )
    assert memory(served.main.pid) - before < 8_000
    assert is_up(served)


def test_a_head_has_no_body_and_no_invented_length(served):
    for query, has_length in (("?limit=1", True), ("?format=csv", False)):
        said = served.ask(served.head(query, method="HEAD", more="Connection: close\r\n"))
        assert said.startswith(b"HTTP/1.1 200")
        assert said.endswith(b"\r\n\r\n")
        assert (b"content-length" in said.lower()) is has_length


@pytest.mark.parametrize("served", [{"TRUSTED_PROXIES": "1"}], indirect=True)
def test_behind_a_proxy_the_last_address_counts(served):
    for said in ("1.2.3.4", "9.9.9.9, 1.2.3.4"):
        assert served.get(more=f"X-Forwarded-For: {said}\r\n").startswith(b"HTTP/1.1 200")
    assert [each.remote_ip for each in logged(served.shop)] == ["1.2.3.4"] * 2
    lengthen(served.shop)
    with served.connect() as line:  # the connection is the proxy's, whoever is behind it
        line.sendall(served.head("?format=csv", more="X-Forwarded-For: 1.2.3.4\r\n"))
        while b"jabcdefghij" not in line.recv(1000):
            pass
        assert end_database_lines("COPY") == 1
        assert not everything(line).endswith(b"0\r\n\r\n")


def test_the_database_away_and_back_loses_no_known_answer(served):
    etag = etag_of(served.get())
    with db.owner_unit_of_work() as s:
        s.execute(sa.text("REVOKE INSERT ON exchange_log FROM simpul_api"))
    try:
        for _ in range(3):
            assert served.get(more=f"If-None-Match: {etag}\r\n").startswith(
                b"HTTP/1.1 304"
            )
        time.sleep(1.5)
    finally:
        with db.owner_unit_of_work() as s:
            s.execute(sa.text("GRANT INSERT ON exchange_log TO simpul_api"))
    fakes.wait_until(lambda: sum(each.times for each in logged(served.shop, 304)) == 3, 5)


@pytest.fixture
def relayed(shop, settings, tmp_path) -> Iterator[tuple[Served, Proxy]]:
    """A server whose lines to the database go through a relay."""
    there = sa.make_url(settings.database_url)
    with Proxy(lambda: socket.create_connection((there.host, there.port))) as line:
        here = there.set(drivername="postgresql", host="127.0.0.1", port=line.port)
        url = here.render_as_string(hide_password=False)
        with serving(shop, settings, tmp_path, DATABASE_URL=url) as made:
            yield made, line


def test_lines_that_break_without_a_word_leave_no_descriptors_and_hang_nobody(relayed):
    served, line = relayed
    files = Path(f"/proc/{served.main.pid}/fd")
    with ThreadPoolExecutor(10) as pool:
        pages = list(pool.map(lambda _: served.get()[9:12], range(10)))
        before = len(list(files.iterdir()))
        for _ in range(5):
            asked = [pool.submit(lambda: served.get()[9:12]) for _ in range(10)]
            time.sleep(0.01)
            line.cut()
            pages += [each.result() for each in asked]
            line.cut()
    assert set(pages) <= {b"200", b"503"}
    fakes.wait_until(lambda: served.get().startswith(b"HTTP/1.1 200"), 5)
    assert len(list(files.iterdir())) <= before


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (TimeoutError(), "an answer was broken off: TimeoutError"),
        (psycopg.errors.AdminShutdown(), "an answer was broken off: AdminShutdown"),
        (psycopg.errors.UndefinedFunction(), "an error"),
        (ValueError("100%"), "an error"),
    ],
)
def test_what_reader_or_database_failed_is_a_line_and_an_error_of_ours_a_trace(
    error, told
):
    record = logging.LogRecord(
        "uvicorn.error", logging.ERROR, "", 0, "an error", (), (type(error), error, None)
    )
    assert InALine().filter(record)
    assert record.getMessage() == told
    assert (record.exc_info is not None) is (told == "an error")
