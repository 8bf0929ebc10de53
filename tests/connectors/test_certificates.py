"""Certificates and outbound proxies: whom to trust, and what is said when not."""

import contextlib
import socket
import ssl
import threading

import pytest

from app.connectors import errors
from app.connectors.addresses import ApprovedHosts
from app.connectors.guard import GuardedClient, Way
from app.connectors.transport import fingerprints
from app.core.errors import SimpulError

from .conftest import Names, Upstream, client_on, pem


def test_the_name_is_shown_and_verified_though_the_address_is_pinned(
    tls_upstream, authority
):
    server = tls_upstream(["api.opd.example"])
    names = Names(["10.1.2.3"])

    with client_on(server, names, way=Way(pem(authority[0]))) as client:
        assert client.send("GET", "https://api.opd.example/").body == b"[1]"
        assert client.send("GET", "https://api.opd.example/").body == b"[1]"

    assert server.names_shown == ["api.opd.example"]


@pytest.mark.parametrize(
    ("names", "days", "trusted", "code"),
    [
        (["other.example"], (-1, 30), True, "tls_wrong_name"),
        (["10.1.2.3"], (-1, 30), True, "tls_wrong_name"),
        (["api.opd.example"], (-30, -1), True, "tls_expired"),
        (["api.opd.example"], (5, 30), True, "tls_expired"),
        (["api.opd.example"], (-1, 30), False, "tls_untrusted"),
    ],
)
def test_bad_certificates_are_told_apart(
    tls_upstream, authority, names, days, trusted, code
):
    server = tls_upstream(names, days=days)
    extra = pem(authority[0]) if trusted else ""

    with (
        client_on(server, Names(["10.1.2.3"]), way=Way(extra)) as client,
        pytest.raises(errors.SourceRefusedError) as caught,
    ):
        client.send("GET", "https://api.opd.example/")

    assert caught.value.code == code
    assert server.requests == []


def fingerprints_of(server):
    with socket.create_connection(("127.0.0.1", server.port)) as raw:
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        with context.wrap_socket(raw, server_hostname="api.opd.example") as wrapped:
            return fingerprints(wrapped.getpeercert(binary_form=True))


@pytest.mark.parametrize("place", [0, 1])
@pytest.mark.parametrize("spelling", [str, str.upper, lambda text: ":".join(
    text[at : at + 2] for at in range(0, 64, 2))])  # fmt: skip
def test_a_pinned_certificate_or_key_stands_for_the_authority(
    tls_upstream, place, spelling
):
    server = tls_upstream(["other.example"], days=(-30, -1))
    pin = spelling(fingerprints_of(server)[place].hex())

    with client_on(server, Names(["10.1.2.3"]), way=Way(pin_sha256=pin)) as client:
        assert client.send("GET", "https://api.opd.example/").body == b"[1]"


def test_another_certificate_than_the_pinned_one_gets_no_request(tls_upstream, authority):
    server = tls_upstream(["api.opd.example"])
    way = Way(pem(authority[0]), pin_sha256="ab" * 32)

    with (
        client_on(server, Names(["10.1.2.3"]), way=way) as client,
        pytest.raises(errors.SourceRefusedError) as caught,
    ):
        client.send("GET", "https://api.opd.example/")

    assert caught.value.code == "tls_pin_mismatch"
    assert server.requests == []


def test_an_address_needs_its_address_in_the_certificate(tls_upstream, authority):
    server = tls_upstream(["127.0.0.1"])
    client = GuardedClient(ApprovedHosts([server.pair]), way=Way(pem(authority[0])))

    with client:
        assert client.send("GET", f"https://{server.pair}/").status == 200


def test_encryption_asked_of_a_plain_service_is_an_error():
    with Upstream() as plain:
        plain.greeting = b"HTTP/1.1 400 Bad Request\r\n\r\n"
        with (
            GuardedClient(ApprovedHosts([plain.pair])) as client,
            pytest.raises(errors.SourceRefusedError) as caught,
        ):
            client.send("GET", f"https://{plain.pair}/")

    assert caught.value.code == "tls_failed"


def test_plain_http_asked_of_an_encrypted_service_is_an_error(tls_upstream):
    server = tls_upstream(["127.0.0.1"])
    with (
        GuardedClient(ApprovedHosts([server.pair])) as client,
        pytest.raises(SimpulError) as caught,
    ):
        client.send("GET", f"http://{server.pair}/")

    assert caught.value.code in {"connection_lost", "not_http"}


# --- a proxy in front ---------------------------------------------------------------


class Proxy:
    """A forward proxy for https: opens a tunnel to ``port`` for each CONNECT, or refuses."""

    def __init__(self, port, answer=b"HTTP/1.1 200 OK\r\n\r\n"):
        self.asked = []
        self._port, self._answer = port, answer
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.pair = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                line, _ = self._listener.accept()
                thread = threading.Thread(target=self._serve, args=(line,), daemon=True)
                self._threads.append(thread)
                thread.start()

    def _serve(self, line):
        with line:
            head = b""
            while b"\r\n\r\n" not in head:
                head += line.recv(65_536)
            self.asked.append(head.split(b"\r\n")[0].decode())
            line.sendall(self._answer)
            if b" 200 " in self._answer:
                with socket.create_connection(("127.0.0.1", self._port)) as there:
                    back = threading.Thread(target=self._pump, args=(there, line))
                    back.start()
                    self._pump(line, there)
                    back.join()

    @staticmethod
    def _pump(source, sink):
        with contextlib.suppress(OSError):
            while data := source.recv(65_536):
                sink.sendall(data)
        with contextlib.suppress(OSError):
            sink.shutdown(socket.SHUT_WR)

    def stop(self):
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(5)


@pytest.fixture
def proxied(authority):
    """Makes a client of ``api.opd.example`` behind a proxy; the name is the proxy's to find."""
    made = []

    def make(port, *, answer=None, **way):
        proxy = Proxy(port, **({"answer": answer} if answer else {}))
        made.append(proxy)
        approved = ApprovedHosts(["api.opd.example:443", proxy.pair])
        names = Names(OSError("nobody asks us"))
        way = {"extra_ca_pem": pem(authority[0])} | way
        client = GuardedClient(
            approved, resolver=names, way=Way(proxy=f"http://{proxy.pair}", **way)
        )
        return proxy, client

    yield make
    for proxy in made:
        proxy.stop()


def asked_through(client):
    with client:
        return client.send("GET", "https://api.opd.example/x").body


def test_https_goes_through_a_proxys_tunnel_and_is_verified_at_its_end(
    tls_upstream, proxied
):
    server = tls_upstream(["api.opd.example"])
    proxy, client = proxied(server.port)

    assert asked_through(client) == b"[1]"
    assert proxy.asked == ["CONNECT api.opd.example:443 HTTP/1.1"]
    assert server.names_shown == ["api.opd.example"]
    assert server.requests[0].headers["host"] == "api.opd.example"


@pytest.mark.parametrize(
    ("names", "days", "way", "code"),
    [
        (["other.example"], (-1, 30), {}, "tls_wrong_name"),
        (["api.opd.example"], (-30, -1), {}, "tls_expired"),
        (["api.opd.example"], (-1, 30), {"extra_ca_pem": ""}, "tls_untrusted"),
        (["api.opd.example"], (-1, 30), {"pin_sha256": "ab" * 32}, "tls_pin_mismatch"),
    ],
)
def test_a_bad_certificate_behind_a_proxy_gets_no_request(
    tls_upstream, proxied, names, days, way, code
):
    server = tls_upstream(names, days=days)
    _, client = proxied(server.port, **way)

    with pytest.raises(errors.SourceRefusedError) as caught:
        asked_through(client)

    assert (caught.value.code, caught.value.params["host"]) == (code, "api.opd.example")
    assert server.requests == []


def test_a_pinned_certificate_behind_a_proxy_is_let_through(tls_upstream, proxied):
    server = tls_upstream(["other.example"])
    pin = fingerprints_of(server)[0].hex()
    _, client = proxied(server.port, pin_sha256=pin)

    assert asked_through(client) == b"[1]"


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        ("403 Forbidden", errors.SourceRefusedError), ("407 Proxy Authentication Required", errors.SourceRefusedError),
        ("502 Bad Gateway", errors.SourceUnavailableError), ("504 Timeout", errors.SourceUnavailableError),
    ],
)  # fmt: skip
def test_a_proxy_that_does_not_let_through_is_named(tls_upstream, proxied, status, kind):
    server = tls_upstream(["api.opd.example"])
    answer = f"HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n".encode()
    proxy, client = proxied(server.port, answer=answer)

    with pytest.raises(kind) as caught:
        asked_through(client)

    assert caught.value.code == "proxy_refused"
    assert caught.value.params["proxy"] == proxy.pair
    assert caught.value.params["status"] == int(status[:3])


def test_a_proxy_that_is_not_there_is_the_one_that_is_named(tls_upstream, proxied):
    server = tls_upstream(["api.opd.example"])
    proxy, client = proxied(server.port)
    proxy.stop()

    with pytest.raises(errors.SourceUnavailableError) as caught:
        asked_through(client)

    assert caught.value.code == "refused"
    assert str(caught.value.params["port"]) == proxy.pair.rpartition(":")[2]
