"""Receives the bodies of requests before a page begins, so that slow ones hold up few.

A body that comes drop by drop holds the thread that waits for it. At most ``MOST`` threads of
a process wait so; the others stay free for whoever only reads.
"""

import threading
from collections.abc import Callable, Iterable
from io import BytesIO
from typing import Any

MOST = 4  # of the eight threads that a process has by default
_WORDS = (
    b"Terlalu banyak kiriman sedang diterima. Coba lagi sebentar lagi.\n"
    b"Too much is being received just now. Try again in a moment.\n"
)
Wsgi = Callable[[dict[str, Any], Any], Iterable[bytes]]


class Bodies:
    """A WSGI application in front of the pages. ``largest`` is in bytes."""

    def __init__(self, pages: Wsgi, largest: int) -> None:
        self._pages = pages
        self._largest = largest
        self._places = threading.BoundedSemaphore(MOST)

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        if _has_body(environ) and not self._is_too_large(environ):
            if not self._places.acquire(blocking=False):
                return _busy(start_response)
            try:
                body = environ["wsgi.input"].read(self._length(environ))
            finally:
                self._places.release()
            environ["wsgi.input"] = BytesIO(body)
        return self._pages(environ, start_response)

    def _is_too_large(self, environ: dict[str, Any]) -> bool:
        """Tell whether the pages will refuse it without reading."""
        length = environ.get("CONTENT_LENGTH") or "0"
        return not length.isdecimal() or int(length) > self._largest

    def _length(self, environ: dict[str, Any]) -> int:
        """Return how much to read: of a body of unknown length, enough to refuse it."""
        return int(environ.get("CONTENT_LENGTH") or 0) or self._largest + 1


def _has_body(environ: dict[str, Any]) -> bool:
    length = environ.get("CONTENT_LENGTH") or "0"
    return length != "0" or "HTTP_TRANSFER_ENCODING" in environ


def _busy(start_response: Any) -> list[bytes]:
    headers = [
        ("Content-Type", "text/plain; charset=utf-8"),
        ("Content-Length", str(len(_WORDS))),
        ("Retry-After", "5"),
    ]
    start_response("503 Service Unavailable", headers)
    return [_WORDS]
