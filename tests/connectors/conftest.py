"""An upstream that misbehaves on demand: raw sockets, one thread per connection."""

import contextlib
import datetime as dt
import ipaddress
import json
import socket
import ssl
import threading
import time
from dataclasses import dataclass

import httpcore
import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from app.connectors.addresses import ApprovedHosts
from app.connectors.guard import GuardedClient
from app.connectors.rest_json import RestJsonConnector, RestJsonSettings
from app.core.errors import SimpulError


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


# --- the network and certificates -----------------------------------------------------


class Wire(httpcore.NetworkBackend):
    """Stands for the network: notes the address asked for, leads to a server of the test."""

    def __init__(self, port):
        self.asked = []
        self._port = port

    def connect_tcp(
        self, host, port, timeout=None, local_address=None, socket_options=None
    ):
        self.asked.append((host, port))
        if host == "10.0.0.66":
            raise httpcore.ConnectError("down")
        return httpcore.SyncBackend().connect_tcp("127.0.0.1", self._port, timeout)


class Names:
    """A resolver that gives its answers in turn and counts the questions."""

    def __init__(self, *answers):
        self._answers = list(answers)
        self.asked = 0

    def __call__(self, host, port):
        self.asked += 1
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


def client_on(upstream, names, **more):
    approved = ApprovedHosts(["api.opd.example:80", "api.opd.example:443"])
    client = GuardedClient(approved, resolver=names, **more)
    client._backend._inner = Wire(upstream.port)
    return client


def certificate(names, *, signer=None, days=(-1, 30), is_ca=False):
    """(certificate, key), signed by ``signer`` or by itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0])])
    now = dt.datetime.now(dt.UTC)
    alternatives = [
        x509.IPAddress(ipaddress.ip_address(name))
        if name[0].isdigit()
        else x509.DNSName(name)
        for name in names
    ]
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(signer[0].subject if signer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + dt.timedelta(days=days[0]))
        .not_valid_after(now + dt.timedelta(days=days[1]))
        .add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        .add_extension(x509.BasicConstraints(ca=is_ca, path_length=None), critical=True)
    )
    return builder.sign(signer[1] if signer else key, hashes.SHA256()), key


def pem(cert):
    return cert.public_bytes(serialization.Encoding.PEM).decode()


@pytest.fixture(scope="module")
def authority():
    return certificate(["Otoritas Uji"], is_ca=True)


@pytest.fixture
def tls_upstream(authority, tmp_path):
    """Makes an upstream with a certificate for ``names``; remembers the SNI it was shown."""
    made = []

    def make(names, **more):
        cert, key = certificate(names, signer=authority, **more)
        private = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        path = tmp_path / "server.pem"
        path.write_text(pem(cert) + private.decode(), encoding="ascii")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(path)
        server = Upstream(
            wrap=lambda connection: context.wrap_socket(connection, server_side=True)
        )
        server.names_shown = []
        context.sni_callback = lambda _socket, name, _context: server.names_shown.append(
            name
        )
        server.script = reply(b"[1]")
        made.append(server)
        return server

    yield make
    for server in made:
        server.stop()
