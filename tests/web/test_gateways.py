"""The pages behind the event loop: threads make them, and wait for nobody who reads them."""

import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest
import uvicorn
from werkzeug.middleware.proxy_fix import ProxyFix

from app.web import gateways
from ops import serve
from ops.serve import BoundedHttp
from tests import fakes

THREADS = 2
BIG = 40_000_000


class Wsgi:
    """Pages for tests; ``open`` counts answers that are not closed yet."""

    def __init__(self) -> None:
        self.open = 0

    def __call__(self, environ, start_response):
        self.open += 1
        headers = [("Set-Cookie", "a=1"), ("Set-Cookie", "b=2"), ("Date", "then")]
        if environ["PATH_INFO"] == "/big":
            headers.append(("Content-Length", str(BIG)))
        start_response("200 OK", headers)
        return Chunks(self, environ)


class Chunks:
    def __init__(self, wsgi, environ):
        self._wsgi = wsgi
        self._chunks = getattr(self, environ["PATH_INFO"].strip("/"))(environ)

    def __iter__(self):
        return self._chunks

    def close(self):
        self._wsgi.open -= 1

    def big(self, _environ):
        for _ in range(BIG // 10_000):
            yield b"x" * 10_000

    def who(self, environ):
        yield b""
        yield environ["REMOTE_ADDR"].encode()

    def slow(self, environ):
        time.sleep(1)
        yield b"%d" % len(environ["wsgi.input"].read())

    def broken(self, _environ):
        yield b"y" * 100_000
        raise ValueError


@pytest.fixture
def port() -> Iterator[int]:
    wsgi = Wsgi()
    front = gateways.Front(None, ProxyFix(wsgi), THREADS)
    server = uvicorn.Server(
        uvicorn.Config(
            front,
            proxy_headers=False,
            http=BoundedHttp,
            ws="none",
            lifespan="off",
            log_level="critical",
        )
    )
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        fakes.wait_until(lambda: server.started, 5)
        yield listener.getsockname()[1]
        fakes.wait_until(lambda: wsgi.open == 0, 5)
        server.should_exit = True
        thread.join(5)


def ask(port: int, path: str, more: str = "", behind: bytes = b"") -> bytes:
    with socket.create_connection(("127.0.0.1", port), 5) as line:
        head = f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{more}\r\n"
        line.sendall(head.encode() + behind)
        found = b""
        while part := line.recv(1 << 20):
            found += part
        return found


def stalled(port: int) -> socket.socket:
    line = socket.create_connection(("127.0.0.1", port), 5)
    line.sendall(b"GET /big HTTP/1.1\r\nHost: x\r\n\r\n")
    line.recv(1000)
    return line


def test_who_does_not_read_holds_no_thread(port):
    with ExitStack() as open_lines:
        for _ in range(2 * THREADS):
            open_lines.enter_context(stalled(port))
        assert ask(port, "/who").endswith(b"127.0.0.1\r\n0\r\n\r\n")
    whole = ask(port, "/big")
    assert whole.count(b"x") == BIG


def test_who_takes_nothing_for_long_loses_the_answer(port, monkeypatch):
    monkeypatch.setattr(gateways, "STALLED_SECONDS", 0.2)
    with stalled(port) as line:
        time.sleep(0.5)
        found = 0
        while part := line.recv(1 << 20):
            found += len(part)
        assert found < BIG


def test_an_answer_that_breaks_does_not_look_whole(port):
    said = ask(port, "/broken")

    assert b"yyy" in said
    assert not said.endswith(b"0\r\n\r\n")


def test_headers_stay_apart_and_the_date_is_told_once(port):
    head = ask(port, "/who").lower()

    assert b"set-cookie: a=1\r\nset-cookie: b=2\r\n" in head
    assert head.count(b"\r\ndate: ") == 1


def test_what_comes_behind_a_body_is_not_a_proxys_word(port):
    said = ask(
        port,
        "/who",
        "X-Forwarded-For: 1.2.3.4\r\nTransfer-Encoding: chunked\r\n",
        b"0\r\nX-Forwarded-For: 5.6.7.8\r\n\r\n",
    )

    assert b"1.2.3.4" in said
    assert b"5.6.7.8" not in said


@pytest.mark.parametrize("said", ['"x', 'x", "', '"x\\"'])
def test_a_quotation_mark_does_not_hide_an_address(port, said):
    found = ask(port, "/who", f"X-Forwarded-For: {said}, 1.2.3.4\r\n")

    assert b"\r\n1.2.3.4\r\n" in found


def test_bodies_that_wait_for_a_thread_are_counted(port, monkeypatch):
    monkeypatch.setattr(gateways, "MOST_BODIES", 3000)
    head = "Content-Length: 1000\r\n"
    with ThreadPoolExecutor(6) as pool:
        asked = [pool.submit(ask, port, "/slow", head, b"x" * 1000) for _ in range(6)]
        found = sorted(each.result()[9:12] for each in asked)
    assert found == [b"200"] * 3 + [b"503"] * 3
    assert ask(port, "/slow", head, b"x" * 1000)[9:12] == b"200"


def test_half_a_head_has_its_time_and_the_rest_of_a_talk_has_it_anew(port, monkeypatch):
    monkeypatch.setattr(serve, "HEAD_SECONDS", 0.3)
    whole = b"GET /who HTTP/1.1\r\nHost: x\r\n\r\n"
    for begun in (b"", b"GET /who HT", whole + b"GET /who HT"):
        with socket.create_connection(("127.0.0.1", port), 5) as line:
            line.sendall(begun)
            began, found = time.monotonic(), b""
            while part := line.recv(1000):
                found += part
            assert 0.2 < time.monotonic() - began < 3
            assert (b"200 OK" in found) is begun.startswith(whole)
    with socket.create_connection(("127.0.0.1", port), 5) as line:
        for _ in range(3):  # one that asks now and then is not cut off
            line.sendall(whole)
            found = b""
            while not found.endswith(b"0\r\n\r\n"):
                found += line.recv(1000)
            assert b"200 OK" in found
            time.sleep(0.2)
