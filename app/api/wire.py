"""Requests and answers as the door passes them about: a little of HTTP and nothing else."""

import gzip
import zlib
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from werkzeug.datastructures import MIMEAccept
from werkzeug.http import parse_accept_header, parse_etags

from app.api.errors import Refused

MEDIA = {
    "json": "application/json",
    "ndjson": "application/x-ndjson",
    "csv": "text/csv; charset=utf-8",
    "csv-excel": "text/csv; charset=utf-8",
}
_OFFERED = ("application/json", "application/x-ndjson", "text/csv")
_ALWAYS = (
    ("X-Content-Type-Options", "nosniff"),
    ("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'"),
    ("Referrer-Policy", "no-referrer"),
    ("Cache-Control", "private, no-cache"),
    ("Vary", "Accept, Accept-Encoding, Authorization, X-API-Key"),
)
_WORTH_PACKING = 1000
Headers = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Request:
    """What the door reads of a request; ``query`` is the raw query string."""

    method: str
    path: str
    query: str
    ip: str
    ident: str
    environ: dict[str, Any]

    def header(self, name: str) -> str:
        value: str = self.environ.get(f"HTTP_{name.upper().replace('-', '_')}", "")
        return value

    @property
    def packs(self) -> bool:
        return "gzip" in self.header("Accept-Encoding") and "gzip;q=0" not in self.header(
            "Accept-Encoding"
        ).replace(" ", "")

    def knows(self, etag: str) -> bool:
        """Tell whether the client has an answer with this (weak) mark already."""
        given = self.header("If-None-Match")
        return given != "" and parse_etags(given).contains_weak(etag[3:-1])

    def accepted(self, offered: tuple[str, ...] = _OFFERED) -> str:
        """Return the media type to answer with; raises ``Refused`` (406) for none."""
        wanted = self.header("Accept")
        if wanted in {"", "*/*", "application/json"}:
            return "application/json"
        found = parse_accept_header(wanted, MIMEAccept).best_match(offered)
        if found is None:
            raise Refused(
                406, "not_acceptable", "This address answers in %(what)s only.", what=", ".join(offered),
            )  # fmt: skip
        return found


@dataclass(frozen=True, slots=True)
class Answer:
    """What goes back.

    ``body`` is bytes, chunks of a stream that ``close`` ends early, or None where only the
    head was asked for and nobody knows how long the rest would be.
    """

    status: int
    headers: Headers
    body: "bytes | Primed | None"

    def send(self, request: Request, start_response: Any) -> Iterable[bytes]:
        """Put it on the wire, packed when the client asked for that."""
        body, headers = (
            self.body,
            [*_ALWAYS, ("X-Request-Id", request.ident), *self.headers],
        )
        if isinstance(body, bytes):
            if request.packs and len(body) > _WORTH_PACKING:
                body = gzip.compress(body, 1)
                headers.append(("Content-Encoding", "gzip"))
            if self.status != HTTPStatus.NOT_MODIFIED:
                headers.append(("Content-Length", str(len(body))))
        elif request.packs and body is not None:
            headers.append(("Content-Encoding", "gzip"))
        start_response(f"{self.status} {HTTPStatus(self.status).phrase}", headers)
        if isinstance(body, bytes):
            return [] if request.method == "HEAD" else [body]
        return [] if body is None else body


class Primed:
    """Chunks whose first one is made at once: what can be refused is refused in time."""

    def __init__(self, chunks: Generator[bytes]) -> None:
        self._chunks = chunks
        self._first = next(chunks)

    def __iter__(self) -> Iterator[bytes]:
        yield self._first
        yield from self._chunks

    def close(self) -> None:
        """End it; the server calls this also when the client has gone away."""
        self._chunks.close()


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
