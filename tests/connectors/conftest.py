"""An upstream that misbehaves on demand: raw sockets, one thread per connection."""

import contextlib
import json
import socket
import threading
import time
from dataclasses import dataclass

import pytest

from app.connectors.addresses import ApprovedHosts
from app.connectors.rest_json import RestJsonConnector, RestJsonSettings


@dataclass(frozen=True)
class Request:
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    method: str = "GET"
    body: bytes = b""


def read_request(connection):
    data = b""
    while b"\r\n\r\n" not in data:
        part = connection.recv(65_536)
        if not part:
            return None
        data += part
    data, _, body = data.partition(b"\r\n\r\n")
    head, *lines = data.decode("latin-1").split("\r\n")
    path, _, query = head.split(" ")[1].partition("?")
    pairs = [part.partition("=") for part in query.split("&") if part]
    headers = {
        name.lower(): value for name, _, value in (line.partition(": ") for line in lines)
    }
    while len(body) < int(headers.get("content-length", "0")):
        body += connection.recv(65_536)
    query = {name: value for name, _, value in pairs}
    return Request(path, query, headers, head.split(" ")[0], body)


def reply(body=b"", status="200 OK", **headers):
    """A whole HTTP answer as bytes; header names with _ for -; None leaves one out."""
    fields = {
        "Content_Type": "application/json",
        "Content_Length": str(len(body)),
    } | headers
    lines = [
        f"{name.replace('_', '-')}: {value}" for name, value in fields.items() if value
    ]
    return "\r\n".join([f"HTTP/1.1 {status}", *lines, "", ""]).encode("latin-1") + body


class Upstream:
    """Answers each request with ``script(connection, request)`` or with its bytes.

    A script that returns True keeps the connection open.
    """

    def __init__(self, wrap=None):
        self.requests = []
        self.connections = 0
        self.script = reply(b"[]")
        self.greeting = b""  # sent before anything was asked
        self._wrap = wrap
        self._open = []
        self._stopped = False
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def pair(self):
        return f"127.0.0.1:{self.port}"

    @property
    def url(self):
        return f"http://{self.pair}/data"

    def _accept(self):
        while not self._stopped:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            self._open.append(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection):
        with contextlib.suppress(OSError), connection:
            if self._wrap is None:
                self._converse(connection)
            else:
                with self._wrap(connection) as wrapped:
                    self._converse(wrapped)

    def _converse(self, connection):
        if self.greeting:
            connection.sendall(self.greeting)
        while (request := read_request(connection)) is not None:
            self.requests.append(request)
            if isinstance(self.script, bytes):
                connection.sendall(self.script)
            elif not self.script(connection, request):
                return

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def stop(self):
        if self._stopped:
            return
        self._stopped = True
        self._listener.shutdown(socket.SHUT_RDWR)  # closing alone leaves accept waiting
        self._listener.close()
        for connection in self._open:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()


def drip(connection, data, seconds):
    for place in range(len(data)):
        connection.sendall(data[place : place + 1])
        time.sleep(seconds)


def paged(rows, *, total=None, key="page", size_key="per_page", cap=None):
    """A script that serves ``rows`` by page number or offset, correctly."""

    def script(connection, request):
        size = int(request.query[size_key])
        size = min(size, cap or size)
        start = (
            int(request.query[key])
            if key == "offset"
            else (int(request.query[key]) - 1) * size
        )
        body = {"ok": True, "data": {"items": rows[start : start + size]}}
        if total is not None:
            body["data"]["total"] = total
        connection.sendall(reply(json.dumps(body).encode()))
        return True

    return script


@pytest.fixture
def upstream():
    server = Upstream()
    yield server
    server.stop()


@pytest.fixture
def make_connector(upstream):
    """A connector to the upstream; settings by name over small budgets."""

    def make(*, secret="", secrets=None, approved=None, since="", **settings):
        small = {"connect_seconds": 2.0, "read_seconds": 0.5, "page_seconds": 1.5}
        known = (
            {"base_url": upstream.url, "page_bytes": 4 * 1024 * 1024} | small | settings
        )
        return RestJsonConnector(
            RestJsonSettings(**known),
            approved=approved or ApprovedHosts([upstream.pair]),
            secrets=secrets or ({"auth_secret": secret} if secret else {}),
            since=since,
        )

    return make
