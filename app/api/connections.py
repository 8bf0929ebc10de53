"""The API's own connections: plain psycopg, statements prepared, two trips a request."""

import os
import select
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

import psycopg

_OPTIONS = (
    "-c statement_timeout=5000 -c lock_timeout=5000 -c timezone=UTC"
    " -c idle_in_transaction_session_timeout=120000"
    " -c client_connection_check_interval=500"
)
Params = Mapping[str, Any] | tuple[Any, ...] | None
Row = tuple[Any, ...]


class Connections:
    """A few connections of one process, the last used first. Safe among threads."""

    def __init__(self, url: str) -> None:
        self._url = url.replace("+psycopg", "")
        self._idle: deque[psycopg.Connection[Row]] = deque()
        self._process = os.getpid()

    @contextmanager
    def one(self) -> Iterator[psycopg.Connection[Row]]:
        """Lend a connection; one that failed is not lent again, nor those beside it."""
        connection = self._take()
        try:
            yield connection
        except BaseException as error:
            with suppress(psycopg.Error):
                connection.rollback()
            if connection.closed or isinstance(error, GeneratorExit):
                connection.close()
                if isinstance(error, psycopg.OperationalError):
                    self._forget()
            else:
                self._idle.append(connection)
            raise
        self._idle.append(connection)

    def _take(self) -> psycopg.Connection[Row]:
        if self._process != os.getpid():  # forked: the parent's are the parent's
            self._idle, self._process = deque(), os.getpid()
        with suppress(IndexError):
            while True:
                kept = self._idle.pop()
                if not _was_ended(kept):
                    return kept
                kept.close()
        return psycopg.connect(
            self._url,
            autocommit=True,
            prepare_threshold=0,
            connect_timeout=5,
            options=_OPTIONS,
        )

    def _forget(self) -> None:
        while self._idle:
            with suppress(IndexError):
                self._idle.pop().close()


def _was_ended(connection: psycopg.Connection[Row]) -> bool:
    """Tell whether the server has ended a kept connection: nothing else is unasked for."""
    readable, _, _ = select.select([connection.fileno()], [], [], 0)
    return bool(readable)


def together(
    connection: psycopg.Connection[Row], *statements: tuple[str, Params]
) -> Row | None:
    """Run statements as one transaction in one trip; return the last one's first row.

    A pipeline without BEGIN is one transaction up to its end; it is committed, to the disk,
    when this returns, and undone when it raises.
    """
    with connection.pipeline():
        for sql, params in statements:
            cursor = connection.cursor(binary=True)
            cursor.execute(sql, params)
    return cursor.fetchone() if cursor.description else None
