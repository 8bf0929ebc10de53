"""The one client for outgoing requests: approved addresses only, budgets on everything."""

import email.utils
import errno
import functools
import re
import ssl
import threading
import time
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Self

import certifi
import httpcore

from app.connectors import errors
from app.connectors.addresses import ApprovedHosts, Target, parse_url
from app.connectors.transport import Flight, PinnedBackend, Resolver, resolve
from app.core.errors import SimpulError

USER_AGENT = "Simpul/0.1"
_SAMPLE_BYTES = 4_096
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


@dataclass(frozen=True, slots=True)
class Exchange:
    """One request and what came back, for a preview. ``failure`` None: a good answer.

    It holds keys and personal data: whoever shows it hides them first.
    """

    method: str
    url: str
    headers: list[tuple[str, str]]
    content: bytes
    status: int | None
    answer_headers: Mapping[str, str]
    sample: bytes
    failure: SimpulError | None = None


@functools.lru_cache(maxsize=32)
def tls_context(extra_ca_pem: str = "", *, pinned: bool = False) -> ssl.SSLContext:
    """Verify always: the public authorities, the system's, and one private authority.

    With a pinned certificate that one is compared instead (``transport.BoundStream``).
    """
    context = ssl.create_default_context(cafile=certifi.where())
    if pinned:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return context
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


@dataclass(frozen=True, slots=True)
class Way:
    """How one source's requests travel: whom to trust, through whom, under which name."""

    extra_ca_pem: str = ""
    pin_sha256: str = ""
    proxy: str = ""
    user_agent: str = ""


class GuardedClient:
    """GET and POST requests to approved pairs. One request at a time; a second thread waits.

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
        way: Way | None = None,
        watch: Callable[[Exchange], None] | None = None,
        before: Callable[[str], None] | None = None,
    ) -> None:
        """``before`` is told the host:port before each request, and may take its time."""
        self._approved = approved
        self.budgets = budgets or Budgets()
        self._flight = Flight()
        self._way = way or Way()
        pin = read_pin(self._way.pin_sha256)
        self._backend = PinnedBackend(approved, resolver, self._flight, pin)
        self._watch = watch
        self._before = before
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

    def send(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str] | None = None,
        content: bytes = b"",
        *,
        cookie: str = "",
    ) -> Answer:
        """Do one request within the budgets, or raise one of ``app.connectors.errors``.

        ``content`` is sent with a POST; a POST here reads, as a GET does, and may be said
        again when a kept connection turns out to be closed.
        """
        target = self._approved.target(url)
        given = header_fields(headers or {})
        if cookie:
            given.append((b"Cookie", cookie.encode("ascii")))
        if method == "POST":
            given.append((b"Content-Length", str(len(content)).encode("ascii")))
        request = _Request(
            method, target, self._own_fields(target, given) + given, content
        )
        if self._before is not None:
            self._before(target.pair_name)
        with self._turn:
            return self._watched(request)

    def _own_fields(
        self, target: Target, given: list[tuple[bytes, bytes]]
    ) -> list[tuple[bytes, bytes]]:
        fields = [(b"Host", target.host_header.encode("ascii"))]
        names = {name.lower() for name, _ in given}
        if b"user-agent" not in names:
            agent = self._way.user_agent or USER_AGENT
            fields.append((b"User-Agent", agent.encode("ascii")))
        if b"accept" not in names:
            fields.append((b"Accept", b"application/json"))
        fields.append((b"Accept-Encoding", b"gzip, deflate"))
        return fields

    def _watched(self, request: "_Request") -> Answer:
        """Do a request and tell whoever watches how it went."""
        self._seen: tuple[int, Mapping[str, str], bytes] | None = None
        try:
            answer = self._get_once_or_again(request)
        except SimpulError as error:
            if isinstance(error, errors.SourceUnavailableError):
                error.pair = request.target.pair_name
            self._tell(request, error)
            raise
        self._seen = (answer.status, answer.headers, answer.body)
        self._tell(request, None)
        return answer

    def _tell(self, request: "_Request", failure: SimpulError | None) -> None:
        if self._watch is None:
            return
        status, headers, sample = self._seen or (None, {}, b"")
        scheme, host = request.target.scheme, request.target.host_header
        self._watch(
            Exchange(
                request.method,
                f"{scheme}://{host}{request.target.path}",
                [(n.decode("ascii"), v.decode("ascii")) for n, v in request.fields],
                request.content,
                status,
                headers,
                sample,
                failure,
            )
        )

    def _get_once_or_again(self, request: "_Request") -> Answer:
        """Once more on a fresh connection when a kept one had died."""
        self._flight.start(self.budgets.page_seconds)
        before = self._flight.connections
        try:
            return self._get_once(request)
        except errors.SourceUnavailableError as error:
            reused = self._flight.connections == before
            if error.code != "connection_lost" or not reused:
                raise
        return self._get_once(request)

    def _get_once(self, request: "_Request") -> Answer:
        began = time.monotonic()
        answered = False
        target = request.target
        try:
            with self._pool(target.scheme).stream(
                request.method,
                httpcore.URL(
                    scheme=target.scheme.encode("ascii"),
                    host=target.host.encode("ascii"),
                    port=target.port,
                    target=target.path.encode("ascii"),
                ),
                headers=request.fields,
                content=request.content or None,
                extensions={"timeout": self._timeouts()},
            ) as response:
                answered = True
                headers = _readable(response.headers)
                self._refuse_status(target, response, headers)
                body = self._body(target, headers, response.iter_stream())
            return Answer(response.status, headers, body, time.monotonic() - began)
        except SimpulError:
            raise
        except (
            httpcore.TimeoutException,
            httpcore.NetworkError,
            httpcore.ProtocolError,
            httpcore.ProxyError,
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
            way = self._way
            context = (
                tls_context(way.extra_ca_pem, pinned=bool(way.pin_sha256))
                if scheme == "https"
                else _no_tls()
            )
            self._pools[scheme] = httpcore.ConnectionPool(
                ssl_context=context,
                max_connections=1,
                keepalive_expiry=KEEP_ALIVE_SECONDS,
                network_backend=self._backend,
                proxy=httpcore.Proxy(way.proxy) if way.proxy else None,
            )
        return self._pools[scheme]

    def _refuse_status(
        self, target: Target, response: httpcore.Response, headers: Mapping[str, str]
    ) -> None:
        status = response.status
        if not 200 <= status < 300:
            self._seen = (status, headers, self._beginning(target, response, headers))
            wait = retry_after(headers.get("retry-after"), datetime.now(UTC))
            raise errors.for_status(target.host, status, wait)

    def _beginning(
        self, target: Target, response: httpcore.Response, headers: Mapping[str, str]
    ) -> bytes:
        """The first part of a refusal's body, when somebody watches; it explains much."""
        if self._watch is None:
            return b""
        try:
            parts = self._body(target, headers, response.iter_stream())
        except (SimpulError, httpcore.TimeoutException, httpcore.NetworkError,
                httpcore.ProtocolError):  # fmt: skip
            return b""
        return parts[:_SAMPLE_BYTES]

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
        proxy = parse_url(self._way.proxy) if self._way.proxy else None
        if isinstance(error, httpcore.ConnectError):
            return _connect_named(target, proxy or target, error)
        if proxy is not None and isinstance(error, httpcore.ProxyError):
            status = re.match(r"[1-5][0-9]{2}", str(error))
            return errors.proxy_refused(
                target.host, proxy.pair_name, int(status[0]) if status else 0
            )
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


@dataclass(frozen=True, slots=True)
class _Request:
    method: str
    target: Target
    fields: list[tuple[bytes, bytes]]
    content: bytes


def read_pin(text: str) -> bytes:
    """A SHA-256 as people copy it, hexadecimal with or without colons; 32 bytes or none."""
    plain = text.replace(":", "").replace(" ", "").lower()
    if not plain:
        return b""
    if not re.fullmatch(r"[0-9a-f]{64}", plain):
        raise errors.SourceSettingsError(
            "A pinned certificate is named by its SHA-256: 64 hexadecimal digits"
        )
    return bytes.fromhex(plain)


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


def _connect_named(target: Target, next_hop: Target, error: Exception) -> SimpulError:
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
        return errors.unreachable(next_hop.host)
    if number == errno.ECONNREFUSED:
        return errors.refused(next_hop.host, next_hop.port)
    return errors.connection_lost(target.host)
