"""Sockets to addresses we resolved and judged ourselves, each wait bounded by a deadline."""

import hashlib
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import httpcore
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from app.connectors import errors
from app.connectors.addresses import ApprovedHosts, pinned

Resolver = Callable[[str, int], Sequence[str]]
"""(host, port) -> addresses as text. May raise ``socket.gaierror``."""

_READ_BYTES = 128 * 1024
_TEMPORARY = (socket.EAI_AGAIN, socket.EAI_FAIL, socket.EAI_SYSTEM, socket.EAI_MEMORY)


def resolve(host: str, port: int) -> list[str]:
    """Ask the system's name service once; addresses in its order, without repeats."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


class Flight:
    """The request under way: its deadline on the monotonic clock."""

    def __init__(self) -> None:
        self._deadline = float("inf")
        self.connections = 0  # made so far; tells a fresh connection from a reused one

    def start(self, seconds: float) -> None:
        self._deadline = time.monotonic() + seconds

    def left(self) -> float:
        return self._deadline - time.monotonic()

    def bound(self, seconds: float | None) -> float:
        """``seconds``, or what is left of the budget; never 0, which would not block."""
        left = max(self.left(), 0.001)
        return left if seconds is None else min(seconds, left)


def fingerprints(der: bytes) -> tuple[bytes, bytes]:
    """The SHA-256 of a certificate and of its public key."""
    key = x509.load_der_x509_certificate(der).public_key()
    spki = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(der).digest(), hashlib.sha256(spki).digest()


class BoundStream(httpcore.NetworkStream):
    """A connection whose every read and write also ends when the page's budget ends.

    A socket's own time limit starts anew with each byte received; this one does not.
    """

    def __init__(
        self, inner: httpcore.NetworkStream, flight: Flight, pin: bytes = b""
    ) -> None:
        self._inner = inner
        self._flight = flight
        self._pin = pin

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        if self._flight.left() <= 0:  # data that is always there would never wait
            raise httpcore.ReadTimeout
        # As much as has come: a page is a megabyte, and each read costs a wait.
        return self._inner.read(max(max_bytes, _READ_BYTES), self._flight.bound(timeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._inner.write(buffer, self._flight.bound(timeout))

    def close(self) -> None:
        self._inner.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> "BoundStream":
        timeout = self._flight.bound(timeout)
        inner = self._inner.start_tls(ssl_context, server_hostname, timeout)
        if self._pin:
            shown = inner.get_extra_info("ssl_object").getpeercert(
                True
            )  # the inner object takes no name for it
            if self._pin not in fingerprints(shown or b""):
                inner.close()
                raise errors.tls_pin_mismatch(server_hostname or "?")
        return BoundStream(inner, self._flight)

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)


class PinnedBackend(httpcore.NetworkBackend):
    """Connects only to approved pairs, to the address that was judged and no other.

    The name stays with httpcore for SNI and certificate checks.
    """

    def __init__(
        self,
        approved: ApprovedHosts,
        resolver: Resolver,
        flight: Flight,
        pin: bytes = b"",
    ) -> None:
        self._pin = pin
        self._approved = approved
        self._resolver = resolver
        self._flight = flight
        self._inner = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,  # noqa: ARG002 (their signature)
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        timeout = self._flight.bound(timeout)
        until = time.monotonic() + timeout
        addresses = pinned(host, port, self._answers(host, port, timeout), self._approved)
        stream = self._first_open(host, addresses, port, until, socket_options)
        self._flight.connections += 1
        return BoundStream(stream, self._flight, self._pin)

    def _first_open(
        self,
        host: str,
        addresses: list[str],
        port: int,
        until: float,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None,
    ) -> httpcore.NetworkStream:
        failure: Exception = errors.name_not_found(host)
        for address in addresses:
            left = max(until - time.monotonic(), 0.001)
            try:
                return self._inner.connect_tcp(address, port, left, None, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
        raise failure

    def _answers(self, host: str, port: int, timeout: float) -> Sequence[str]:
        """Ask the resolver in a thread of its own: getaddrinfo knows no time limit."""
        if ":" in host or host.rpartition(".")[2].isdigit():
            return ()  # an address; ``pinned`` takes it as it is
        box: list[Sequence[str] | OSError] = []

        def ask() -> None:
            try:
                box.append(self._resolver(host, port))
            except OSError as error:
                box.append(error)

        thread = threading.Thread(target=ask, name="simpul-resolve", daemon=True)
        thread.start()
        thread.join(timeout)
        if not box:
            raise errors.name_service_failed(host)
        if not isinstance(box[0], OSError):
            return box[0]
        if isinstance(box[0], socket.gaierror) and box[0].errno not in _TEMPORARY:
            raise errors.name_not_found(host) from box[0]
        raise errors.name_service_failed(host) from box[0]
