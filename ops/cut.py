"""Keeps an answer that broke off from looking whole.

Granian ends the body of an iterator that raises as it ends any other: a client would take the
half for all of it. So the connection is ended instead. The server does not say which one it
is; it is found among this process's sockets by who is at the other end and since when that
one has said nothing more.
"""

import os
import socket
import struct
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

Wsgi = Callable[[dict[str, Any], Any], Iterable[bytes]]
_SECONDS_HEARD_BEFORE = 0.5  # the clocks of kernel and process need not agree
_LAST_DATA_RECEIVED = 52  # in Linux' struct tcp_info: milliseconds, 32 bits


def cutting(application: Wsgi) -> Wsgi:
    """Return the application, with answers that break off when they fail."""

    def answer(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        begun = time.monotonic()
        body = application(environ, start_response)
        if isinstance(body, list):
            return body
        return _Whole(body, _peer(environ), begun)

    return answer


def _peer(environ: dict[str, Any]) -> str:
    """Return the other end as the server saw it, before any proxy's word was taken."""
    found = environ.get("werkzeug.proxy_fix.orig", environ)
    return str(found.get("REMOTE_ADDR", ""))


class _Whole:
    """Chunks that all come, or the connection ends."""

    def __init__(self, body: Iterable[bytes], peer: str, begun: float) -> None:
        self._body = body
        self._chunks = iter(body)
        self._peer = peer
        self._begun = begun

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        try:
            return next(self._chunks)
        except StopIteration:
            raise
        except BaseException:
            end_connections(self._peer, time.monotonic() - self._begun)
            raise

    def close(self) -> None:
        close = getattr(self._body, "close", None)
        if close is not None:
            close()


def end_connections(peer: str, silent_for: float) -> None:
    """End connections with an address which have sent nothing for so many seconds.

    Beside the one that is meant these are idle ones, and longer answers than this.
    """
    for entry in Path("/proc/self/fd").iterdir():
        with suppress(OSError, ValueError):
            _end_if_meant(int(entry.name), peer, silent_for - _SECONDS_HEARD_BEFORE)


def _end_if_meant(number: int, peer: str, seconds: float) -> None:
    with socket.socket(fileno=os.dup(number)) as end:
        if end.family == socket.AF_UNIX or end.getpeername()[0] != peer:
            return
        about = end.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104)
        (silent,) = struct.unpack_from("=I", about, _LAST_DATA_RECEIVED)
        if silent / 1000 >= seconds:
            end.shutdown(socket.SHUT_RDWR)
