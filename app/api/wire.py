"""Requests and answers as the door passes them about: a little of HTTP and nothing else."""

import asyncio
import gzip
import secrets
import zlib
from collections.abc import AsyncGenerator, Iterable
from contextlib import aclosing
from http import HTTPStatus
from typing import NamedTuple, Self

from werkzeug.datastructures import MIMEAccept
from werkzeug.http import parse_accept_header, parse_etags

from app.api.errors import Refused
from app.core.asgi import Message, Receive, Scope, Send, put

MEDIA = {
    "json": "application/json",
    "ndjson": "application/x-ndjson",
    "csv": "text/csv; charset=utf-8",
    "csv-excel": "text/csv; charset=utf-8",
}
_OFFERED = ("application/json", "application/x-ndjson", "text/csv")
_WORTH_PACKING = 1000
STALLED_SECONDS = 60.0  # a client that takes nothing of a stream for so long loses it
Headers = tuple[tuple[str, str], ...]


def _encoded(headers: Iterable[tuple[str, str]]) -> list[tuple[bytes, bytes]]:
    return [(name.lower().encode(), value.encode("latin-1")) for name, value in headers]


_ALWAYS = _encoded(
    (
        ("X-Content-Type-Options", "nosniff"),
        ("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'"),
        ("Referrer-Policy", "no-referrer"),
        ("Cache-Control", "private, no-cache"),
        ("Vary", "Accept, Accept-Encoding, Authorization, X-API-Key"),
    )
)


class Request(NamedTuple):
    """What the door reads of a request; ``query`` is the raw query string.

    ``given`` are its headers by their names in small letters.
    """

    method: str
    path: str
    query: str
    ip: str
    ident: str
    given: dict[str, str]

    @classmethod
    def of(cls, scope: Scope, proxies: int) -> Self:
        """Read an ASGI scope; of a chain of ``proxies`` the outermost tells who asks."""
        given: dict[str, str] = {}
        for name, value in scope["headers"]:
            key, text = name.decode("latin-1"), value.decode("latin-1")
            given[key] = f"{given[key]},{text}" if key in given else text
        ip = scope["client"][0] if scope.get("client") else ""
        chain = [each.strip() for each in given.get("x-forwarded-for", "").split(",")]
        if proxies and len(chain) >= proxies:
            ip = chain[-proxies] or ip
        return cls(
            method=scope["method"],
            path=scope["path"],
            query=scope["query_string"].decode("latin-1"),
            ip=ip,
            ident=secrets.token_hex(16),
            given=given,
        )

    def header(self, name: str) -> str:
        return self.given.get(name, "")

    @property
    def packs(self) -> bool:
        """Tell whether the client takes gzip; most do, without a weight."""
        wanted = self.header("accept-encoding")
        if "gzip" not in wanted or ";" not in wanted:
            return "gzip" in wanted
        weights = dict(parse_accept_header(wanted))
        return weights.get("gzip", weights.get("*", 0)) > 0

    def knows(self, etag: str) -> bool:
        """Tell whether the client has an answer with this (weak) mark already."""
        given = self.header("if-none-match")
        return given != "" and parse_etags(given).contains_weak(etag[3:-1])

    def accepted(self, offered: tuple[str, ...] = _OFFERED) -> str:
        """Return the media type to answer with; raises ``Refused`` (406) for none."""
        wanted = self.header("accept")
        if wanted in {"", "*/*", "application/json"}:
            return "application/json"
        found = parse_accept_header(wanted, MIMEAccept).best_match(offered)
        if found is None:
            raise Refused(
                406, "not_acceptable", "This address answers in %(what)s only.", what=", ".join(offered),
            )  # fmt: skip
        return found


class Answer(NamedTuple):
    """What goes back.

    ``body`` is bytes, chunks of a stream, or None where only the head was asked for and
    nobody knows how long the rest would be.
    """

    status: int
    headers: Headers
    body: "bytes | Primed | None"

    async def send(self, request: Request, receive: Receive, send: Send) -> None:
        """Put it on the wire, packed when the client asked for that.

        What a stream raises is passed on: the server then ends the connection, and the half
        does not look like the whole.
        """
        body = self.body
        headers = [("X-Request-Id", request.ident), *self.headers]
        if isinstance(body, bytes):
            if request.packs and len(body) > _WORTH_PACKING:
                body = gzip.compress(body, 1)
                headers.append(("Content-Encoding", "gzip"))
            if self.status != HTTPStatus.NOT_MODIFIED:
                headers.append(("Content-Length", str(len(body))))
        elif request.packs and body is not None:
            headers.append(("Content-Encoding", "gzip"))
        start = {
            "type": "http.response.start",
            "status": self.status,
            "headers": [*_ALWAYS, *_encoded(headers)],
        }
        if isinstance(body, Primed):
            await body.flow(start, receive, send)
            return
        await send(start)
        shown = b"" if body is None or request.method == "HEAD" else body
        await send({"type": "http.response.body", "body": shown})


class Primed:
    """Chunks whose first one is made at once: what can be refused is refused in time."""

    def __init__(self, first: bytes, rest: AsyncGenerator[bytes]) -> None:
        self._first = first
        self._rest = rest

    @classmethod
    async def of(cls, chunks: AsyncGenerator[bytes]) -> Self:
        return cls(await anext(chunks), chunks)

    async def flow(self, start: Message, receive: Receive, send: Send) -> None:
        """Send all of it, as fast as the client takes it; stop when that one is gone.

        Raises ``TimeoutError`` when nothing was taken for long.
        """
        gone = asyncio.create_task(_leaving(receive))
        try:
            async with aclosing(self._rest):
                await send(start)
                await _put(send, self._first)
                async for chunk in self._rest:
                    await _put(send, chunk)
                    if gone.done():
                        return
            await send({"type": "http.response.body", "body": b""})
        finally:
            gone.cancel()


async def _put(send: Send, chunk: bytes) -> None:
    message = {"type": "http.response.body", "body": chunk, "more_body": True}
    await put(send, message, STALLED_SECONDS)


async def _leaving(receive: Receive) -> None:
    """Return when the client has gone away; what it still says is not listened to."""
    while (await receive())["type"] != "http.disconnect":
        pass


class Packer:
    """Gathers small pieces to chunks, gzipped or as they are."""

    CHUNK = 64 * 1024

    def __init__(self, *, packs: bool) -> None:
        self._zip = zlib.compressobj(1, zlib.DEFLATED, 31) if packs else None
        self._pieces: list[bytes] = []
        self._size = 0

    def add(self, piece: bytes) -> bytes:
        """Take a piece; return a chunk when there is enough for one, else nothing."""
        self._pieces.append(piece)
        self._size += len(piece)
        return self._pack() if self._size >= self.CHUNK else b""

    def finish(self) -> bytes:
        rest = self._pack()
        return rest + (self._zip.flush() if self._zip else b"")

    def _pack(self) -> bytes:
        chunk = b"".join(self._pieces)
        self._pieces, self._size = [], 0
        return self._zip.compress(chunk) if self._zip else chunk
