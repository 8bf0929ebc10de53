"""The one client for outgoing requests: approved addresses only, budgets on everything."""

import email.utils
import errno
import functools
import re
import ssl
import threading
import time
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Self

import certifi
import httpcore

from app.connectors import errors
from app.connectors.addresses import ApprovedHosts, Target
from app.connectors.transport import Flight, PinnedBackend, Resolver, resolve
from app.core.errors import SimpulError

USER_AGENT = "Simpul/0.1"
MAX_RETRY_AFTER_SECONDS = 86_400.0
KEEP_ALIVE_SECONDS = 15.0
_OURS = frozenset(
    {"host", "connection", "content-length", "transfer-encoding", "accept-encoding", "te",
     "cookie", "expect", "upgrade", "proxy-authorization", "trailer"}
)  # fmt: skip
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,100}")
_HEADER_VALUE = re.compile(r"[\x21-\x7e](?:[\x20-\x7e\t]{0,8190}[\x21-\x7e])?")
_EXPIRED = (9, 10)  # OpenSSL's verify codes: not valid yet, has expired
_WRONG_NAME = (62, 63, 64)  # hostname, e-mail, address mismatch
_UNREACHABLE = (errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ENETDOWN, errno.EACCES)


@dataclass(frozen=True, slots=True)
class Budgets:
    """What one request may cost us. Bytes are counted after unpacking."""

    connect_seconds: float = 5.0
    read_seconds: float = 30.0
    page_seconds: float = 60.0
    page_bytes: int = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Answer:
    """A complete answer with a status from 200 to 299; header names in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    elapsed_seconds: float


@functools.lru_cache(maxsize=32)
def tls_context(extra_ca_pem: str = "") -> ssl.SSLContext:
    """Verify always: the public authorities, the system's, and one private authority."""
    context = ssl.create_default_context(cafile=certifi.where())
    context.load_default_certs()
    if extra_ca_pem:
        try:
            context.load_verify_locations(cadata=extra_ca_pem)
        except ssl.SSLError as error:
            raise errors.SourceSettingsError(
                "This is no certificate in PEM form"
            ) from error
    return context


def header_fields(headers: Mapping[str, str]) -> list[tuple[bytes, bytes]]:
    """Headers as sent, or ``SourceSettingsError`` naming the header, never its value."""
    fields = []
    for name, value in headers.items():
        if not _HEADER_NAME.fullmatch(name) or name.lower() in _OURS:
            raise errors.SourceSettingsError(
                "The header %(name)r cannot be set", name=name[:100]
            )
        if not _HEADER_VALUE.fullmatch(value):
            raise errors.SourceSettingsError(
                "The value of the header %(name)s holds forbidden characters", name=name
            )
        fields.append((name.encode("ascii"), value.encode("ascii")))
    return fields


def retry_after(value: str | None, now: datetime) -> float | None:
    """Seconds to wait as asked by a Retry-After header (a number or an HTTP date)."""
    text = (value or "").strip()
    if re.fullmatch(r"[0-9]{1,9}", text):
        return min(float(text), MAX_RETRY_AFTER_SECONDS)
    try:
        moment = email.utils.parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return min(max((moment - now).total_seconds(), 0.0), MAX_RETRY_AFTER_SECONDS)


class GuardedClient:
    """GET requests to approved pairs. One request at a time; a second thread waits.

    Connections are kept open between requests. Redirects are errors, cookies are not
    kept, proxies of the environment are not used, certificates are always verified.
    Every failure is one of ``app.connectors.errors``.
    """

    def __init__(
        self,
        approved: ApprovedHosts,
        *,
        budgets: Budgets | None = None,
        resolver: Resolver = resolve,
        extra_ca_pem: str = "",
    ) -> None:
        self._approved = approved
        self.budgets = budgets or Budgets()
        self._flight = Flight()
        self._backend = PinnedBackend(approved, resolver, self._flight)
        self._extra_ca_pem = extra_ca_pem
        self._pools: dict[str, httpcore.ConnectionPool] = {}
        self._turn = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close every connection; waits for a request under way."""
        with self._turn:
            for pool in self._pools.values():
                pool.close()
            self._pools.clear()

    def get(self, url: str, headers: Mapping[str, str] | None = None) -> Answer:
        """Fetch ``url`` within the budgets, or raise an error of ``app.connectors.errors``."""
        target = self._approved.target(url)
        fields = [(b"Host", target.host_header.encode("ascii"))]
        given = header_fields(headers or {})
        names = {name.lower() for name, _ in given}
        if b"user-agent" not in names:
            fields.append((b"User-Agent", USER_AGENT.encode("ascii")))
        if b"accept" not in names:
            fields.append((b"Accept", b"application/json"))
        fields.append((b"Accept-Encoding", b"gzip, deflate"))
        with self._turn:
            return self._get_once_or_again(target, fields + given)

    def _get_once_or_again(
        self, target: Target, fields: list[tuple[bytes, bytes]]
    ) -> Answer:
        """Once more on a fresh connection when a kept one had died; a GET may be repeated."""
        self._flight.start(self.budgets.page_seconds)
        before = self._flight.connections
        try:
            return self._get_once(target, fields)
        except errors.SourceUnavailableError as error:
            reused = self._flight.connections == before
            if error.code != "connection_lost" or not reused:
                raise
        return self._get_once(target, fields)

    def _get_once(self, target: Target, fields: list[tuple[bytes, bytes]]) -> Answer:
        began = time.monotonic()
        answered = False
        try:
            with self._pool(target.scheme).stream(
                "GET",
                httpcore.URL(
                    scheme=target.scheme.encode("ascii"),
                    host=target.host.encode("ascii"),
                    port=target.port,
                    target=target.path.encode("ascii"),
                ),
                headers=fields,
                extensions={"timeout": self._timeouts()},
            ) as response:
                answered = True
                headers = _readable(response.headers)
                self._refuse_status(target, response.status, headers)
                body = self._body(target, headers, response.iter_stream())
            return Answer(response.status, headers, body, time.monotonic() - began)
        except SimpulError:
            raise
        except (
            httpcore.TimeoutException,
            httpcore.NetworkError,
            httpcore.ProtocolError,
        ) as error:
            raise self._named(target, error, answered=answered) from error

    def _timeouts(self) -> dict[str, float]:
        budgets = self.budgets
        return {
            "connect": budgets.connect_seconds,
            "read": budgets.read_seconds,
            "write": budgets.read_seconds,
            "pool": budgets.connect_seconds,
        }

    def _pool(self, scheme: str) -> httpcore.ConnectionPool:
        """Plain http needs no certificates: loading them costs 10 to 20 ms."""
        if scheme not in self._pools:
            context = tls_context(self._extra_ca_pem) if scheme == "https" else _no_tls()
            self._pools[scheme] = httpcore.ConnectionPool(
                ssl_context=context,
                max_connections=1,
                keepalive_expiry=KEEP_ALIVE_SECONDS,
                network_backend=self._backend,
            )
        return self._pools[scheme]

    def _refuse_status(
        self, target: Target, status: int, headers: Mapping[str, str]
    ) -> None:
        if not 200 <= status < 300:
            wait = retry_after(headers.get("retry-after"), datetime.now(UTC))
            raise errors.for_status(target.host, status, wait)

    def _body(
        self, target: Target, headers: Mapping[str, str], parts: Iterator[bytes]
    ) -> bytes:
        limit = self.budgets.page_bytes
        declared = headers.get("content-length", "")
        if declared.isdecimal() and int(declared) > limit:
            raise errors.response_too_large(target.host, limit)
        encoding = headers.get("content-encoding", "identity").strip().lower()
        if encoding in {"", "identity"}:
            unpacked = parts
        elif encoding in {"gzip", "x-gzip", "deflate"}:
            unpacked = _unpack(target.host, parts, limit, gzip=encoding != "deflate")
        else:
            raise errors.wrong_encoding(target.host)
        return b"".join(self._counted(target, unpacked, limit))

    def _counted(
        self, target: Target, parts: Iterator[bytes], limit: int
    ) -> Iterator[bytes]:
        size = 0
        for part in parts:
            size += len(part)
            if size > limit:
                raise errors.response_too_large(target.host, limit)
            yield part

    def _named(self, target: Target, error: Exception, *, answered: bool) -> SimpulError:
        if isinstance(error, httpcore.TimeoutException):
            return self._timeout_named(target, error)
        if isinstance(error, httpcore.ConnectError):
            return _connect_named(target, error)
        if answered:
            return errors.truncated_body(target.host)
        if isinstance(error, httpcore.NetworkError) or "disconnected" in str(error):
            return errors.connection_lost(target.host)
        return errors.not_http(target.host)

    def _timeout_named(self, target: Target, error: Exception) -> SimpulError:
        if self._flight.left() <= 0:
            return errors.too_slow(target.host, self.budgets.page_seconds)
        connecting = isinstance(error, httpcore.ConnectTimeout)
        budgets = self.budgets
        seconds = budgets.connect_seconds if connecting else budgets.read_seconds
        return errors.timeout(target.host, seconds)


def _no_tls() -> ssl.SSLContext:
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def _readable(headers: list[tuple[bytes, bytes]]) -> dict[str, str]:
    return {
        name.decode("latin-1").lower(): value.decode("latin-1") for name, value in headers
    }


def _unpack(
    host: str, parts: Iterator[bytes], limit: int, *, gzip: bool
) -> Iterator[bytes]:
    """Unpack in pieces of at most ``limit`` + 1 bytes: a bomb bursts before it fills memory."""
    wbits = 31 if gzip else 15
    unpacker = zlib.decompressobj(wbits)
    piece = min(limit + 1, 1024 * 1024)
    try:
        for part in parts:
            waiting = part
            while waiting:
                yield unpacker.decompress(waiting, piece)
                waiting = unpacker.unconsumed_tail
                if unpacker.eof and unpacker.unused_data:  # a further gzip member
                    waiting = unpacker.unused_data
                    unpacker = zlib.decompressobj(wbits)
        if not unpacker.eof:
            raise errors.truncated_body(host)
    except zlib.error as error:
        raise errors.wrong_encoding(host) from error


def _connect_named(target: Target, error: Exception) -> SimpulError:
    cause = error.__cause__ or error.__context__
    if isinstance(cause, ssl.SSLCertVerificationError):
        if cause.verify_code in _EXPIRED:
            return errors.tls_expired(target.host)
        wrong_name = cause.verify_code in _WRONG_NAME
        return (errors.tls_wrong_name if wrong_name else errors.tls_untrusted)(
            target.host
        )
    if isinstance(cause, ssl.SSLError) and not isinstance(cause, ssl.SSLEOFError):
        return errors.tls_failed(target.host)
    number = cause.errno if isinstance(cause, OSError) else None
    if number in _UNREACHABLE:
        return errors.unreachable(target.host)
    if number == errno.ECONNREFUSED:
        return errors.refused(target.host, target.port)
    return errors.connection_lost(target.host)
