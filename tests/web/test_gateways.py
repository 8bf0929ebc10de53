"""The pages behind the event loop: files without threads, bodies, names of headers."""

import asyncio
import socket
import threading
import time
from collections.abc import Iterator

import pytest
import uvicorn
from flask import Flask, request, send_file

from app.web.gateways import Front
from ops.serve import BoundedHttp
from tests.api.test_server import everything

SIZE = 30_000_000  # more than the buffers of a connection hold


class NoDoor:
    async def __call__(self, scope, receive, send):
        raise AssertionError(scope["path"])

    async def close(self):
        pass


@pytest.fixture
def port(tmp_path) -> Iterator[int]:
    """Serve a few pages with a single thread for all of them."""
    file = tmp_path / "large.bin"
    file.write_bytes(b"0123456789" * (SIZE // 10))
    pages = Flask(__name__)
    pages.config["USE_X_SENDFILE"] = True
    pages.add_url_rule("/file", view_func=lambda: send_file(file), endpoint="file")
    pages.add_url_rule(
        "/gone",
        view_func=lambda: ("", 200, {"X-Sendfile": str(file) + "x"}),
        endpoint="gone",
    )
    pages.add_url_rule("/said", view_func=lambda: dict(request.headers), endpoint="said")
    config = uvicorn.Config(
        Front(NoDoor(), pages.wsgi_app, 1), http=BoundedHttp, log_level="critical"
    )
    server = uvicorn.Server(config)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(
            target=lambda: asyncio.run(server.serve(sockets=[listening]))
        )
        thread.start()
        while not server.started:
            time.sleep(0.01)
        yield listening.getsockname()[1]
        server.should_exit = True
        thread.join(10)


def ask(port: int, path: str, more: str = "", method: str = "GET") -> bytes:
    with socket.create_connection(("127.0.0.1", port)) as line:
        line.settimeout(10)
        head = f"{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{more}\r\n"
        line.sendall(head.encode())
        return everything(line)


def body_of(answer: bytes) -> bytes:
    return answer.partition(b"\r\n\r\n")[2]


def test_a_file_comes_whole_in_part_and_not_at_all(port):
    whole = ask(port, "/file")
    assert b"x-sendfile" not in whole[:1000].lower()
    assert len(body_of(whole)) == SIZE
    part = ask(port, "/file", "Range: bytes=300003-300012\r\n")
    assert part.startswith(b"HTTP/1.1 206")
    assert body_of(part) == b"3456789012"
    etag = next(
        line for line in whole.decode("latin-1").split("\r\n") if line.startswith("etag")
    )
    known = ask(port, "/file", f"If-None-Match: {etag[6:]}\r\n")
    assert known.startswith(b"HTTP/1.1 304")
    assert body_of(known) == b""
    head = ask(port, "/file", method="HEAD")
    assert f"content-length: {SIZE}".encode() in head.lower()
    assert body_of(head) == b""


def test_slow_readers_of_files_hold_no_thread(port):
    slow = [socket.create_connection(("127.0.0.1", port)) for _ in range(5)]
    try:
        for line in slow:
            line.sendall(b"GET /file HTTP/1.1\r\nHost: x\r\n\r\n")
            assert line.recv(100).startswith(b"HTTP/1.1 200")
        assert ask(port, "/said").startswith(b"HTTP/1.1 200")
    finally:
        for line in slow:
            line.close()


def test_a_file_that_is_gone_does_not_look_like_an_empty_one(port):
    answer = ask(port, "/gone")
    assert not answer.endswith(b"0\r\n\r\n")
    assert ask(port, "/said").startswith(b"HTTP/1.1 200")


def test_names_that_only_look_like_others_are_left_out(port):
    said = ask(port, "/said", "X_Forwarded_For: 6.6.6.6\r\nX-Forwarded-For: 1.2.3.4\r\n")
    assert b"1.2.3.4" in said
    assert b"6.6.6.6" not in said
