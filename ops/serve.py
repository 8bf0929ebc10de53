"""Serves the API and the pages by uvicorn, for ``run`` and in production alike.

``WEB_WORKERS`` processes; in each the API runs on the event loop and the pages in
``WEB_THREADS`` threads.
"""

import asyncio
import gc
import logging
import multiprocessing
import os
import resource
import signal
import sys
from typing import Any
from urllib.parse import quote

import psycopg
import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from ops.leash import ask_for_death_signal

# Longer lines and headers are refused: the server itself would take them without end.
LARGEST_HEAD = 64 * 1024
HEAD_SECONDS = 30.0
_TOO_LARGE = (
    b"Alamat dan header permintaan terlalu panjang.\n"
    b"The address and the headers are too long.\n"
)
_NOT_HTTP = (
    "Permintaan ini bukan HTTP yang benar.\nThis request is not well-formed HTTP.\n"
)
_ASCII = "".join(map(chr, range(128)))
_LINGER_SECONDS = 2.0
_MOST_CONNECTIONS = 4096


class GatheringTransport:
    """Writes at once what is written in one step of the loop.

    Head and body of a page are then one packet, and wake its reader once.
    """

    def __init__(self, transport: Any) -> None:
        self._transport = transport
        self._loop = asyncio.get_running_loop()
        self._parts: list[bytes] = []

    def write(self, data: bytes) -> None:
        if not self._parts:
            self._loop.call_soon(self._flush)
        self._parts.append(data)

    def close(self) -> None:
        self._flush()
        self._transport.close()

    def _flush(self) -> None:
        parts, self._parts = self._parts, []
        if parts:
            self._transport.writelines(parts)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


class BoundedHttp(HttpToolsProtocol):
    """Uvicorn's protocol, for heads of bounded length and with few packets."""

    _in_head = True
    _unread = 0  # bytes of a head, or of what is no part of a body, until now
    _refused = False

    def connection_made(self, transport: Any) -> None:
        self._clock: asyncio.TimerHandle | None = None
        self._start_clock(transport)
        super().connection_made(GatheringTransport(transport))  # type: ignore[arg-type]

    def data_received(self, data: bytes) -> None:
        if self._refused:
            return
        if self._in_head and self._unread == 0 and not data.isascii():
            # Some programs send bare UTF-8; the parser takes no such address.
            line, end, rest = data.partition(b"\r\n")
            data = quote(line, safe=_ASCII).encode() + end + rest
        self._unread += len(data)
        super().data_received(data)
        if self._unread > LARGEST_HEAD:
            self._refuse()

    def on_message_begin(self) -> None:
        self._unread = 0
        self._start_clock(self.transport)
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._in_head:  # behind a body it would pass for a proxy's word
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._in_head, self._unread = False, 0
        self._stop_clock()
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._unread = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._in_head, self._unread = True, 0
        super().on_message_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_clock()
        super().connection_lost(exc)

    def _start_clock(self, transport: Any) -> None:
        """Give a head its time: whoever says half of one would hold a descriptor for ever."""
        if self._clock is None:
            self._clock = self.loop.call_later(HEAD_SECONDS, transport.close)

    def _stop_clock(self) -> None:
        if self._clock is not None:
            self._clock.cancel()
            self._clock = None

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - uvicorn's words
        super().send_400_response(_NOT_HTTP)

    def _refuse(self) -> None:
        self._refused = True
        if self.cycle is not None and not self.cycle.response_complete:
            self.transport.close()  # words would stand in the middle of an answer
            return
        length = str(len(_TOO_LARGE)).encode()
        self.transport.write(
            b"HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\n"
            b"content-type: text/plain\r\ncontent-length: "
            + length
            + b"\r\n\r\n"
            + _TOO_LARGE
        )
        # Closed at once, with more on the way, the answer would be lost with the connection.
        self.loop.call_later(_LINGER_SECONDS, self.transport.close)


def main() -> None:
    _raise_limit_of_files()
    uvicorn.run(
        "ops.serve:application",
        factory=True,
        host=os.environ.get("WEB_HOST", "127.0.0.1"),
        port=int(os.environ.get("WEB_PORT", "8000")),
        workers=int(os.environ.get("WEB_WORKERS", "2")),
        http=BoundedHttp,
        ws="none",
        log_level="error",
        access_log=False,
        server_header=False,
        proxy_headers=False,  # the application knows how many proxies it may believe
        timeout_keep_alive=75,
        timeout_graceful_shutdown=6,  # inside the supervisor's grace of ten seconds
        backlog=_MOST_CONNECTIONS,
    )


class InALine(logging.Filter):
    """Tells in a line of an answer that was broken off: the reader or the database failed it.

    Of any other error the server's trace stays, and of a statement that PostgreSQL does not
    understand: that is an error of ours.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        ours = isinstance(error, psycopg.ProgrammingError)
        if isinstance(error, TimeoutError | psycopg.Error) and not ours:
            record.msg = f"an answer was broken off: {type(error).__name__}"
            record.args, record.exc_info = (), None
        return True


def _raise_limit_of_files() -> None:
    """Whoever only holds a connection holds a file: let there be many."""
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def application() -> Any:
    """Make the application in a worker process, which may not outlive its parent."""
    ask_for_death_signal(signal.SIGKILL)
    parent = multiprocessing.parent_process()
    if parent is not None and os.getppid() != parent.pid:
        sys.exit("the parent died before the kernel was asked to tell")
    logging.getLogger("uvicorn.error").addFilter(InALine())
    from wsgi import front

    made = front(int(os.environ.get("WEB_THREADS", "8")))
    gc.collect()
    gc.freeze()  # what was made so far stays: the collector need not look at it again
    return made


if __name__ == "__main__":
    main()
