"""Lines to PostgreSQL, and how a dead or dumb one is noticed in time.

Two ways to be left without an answer: packets are lost on the way, or the other host is gone,
which the kernel tells when it is asked to; and the other end takes what is said and never
answers (a frozen server, a relay with nobody behind it), which only a clock tells.
"""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from time import monotonic
from typing import Any, Self

import psycopg
from psycopg.abc import RV, PQGen
from psycopg.errors import _WaitTimeout

# Of libpq; seconds, but milliseconds for the last. Together at most half a minute.
PARAMETERS: dict[str, Any] = {
    "connect_timeout": 5,
    "keepalives": 1,
    "keepalives_idle": 15,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
}
# The server's end must notice as well: it holds the locks of the one who is gone. Within a
# second when it was a process that died in the middle of a statement.
SERVER_OPTIONS = (
    "-c tcp_keepalives_idle=15 -c tcp_keepalives_interval=5 -c tcp_keepalives_count=3"
    " -c tcp_user_timeout=30000 -c client_connection_check_interval=500"
)
_patience: ContextVar[float | None] = ContextVar("patience", default=None)


@contextmanager
def answers_within(seconds: float) -> Iterator[None]:
    """Wait no longer for any answer of the database while the block runs.

    One that is late closes its connection and raises ``psycopg.OperationalError``: what the
    statement did is not known. For short questions of those who must not fall asleep.
    """
    before = _patience.set(seconds)
    try:
        yield
    finally:
        _patience.reset(before)


class Line(psycopg.Connection[psycopg.rows.TupleRow]):
    """A connection that keeps to ``answers_within`` and to a patience of its own, in seconds."""

    patience: float | None = None
    _asked_at: float | None = None

    @classmethod
    def connect(cls, conninfo: str = "", **named: Any) -> Self:
        """Connect; without a descriptor to be had that fails as without a server."""
        try:
            return super().connect(conninfo, **named)
        except OSError as error:
            text = f"no line to the database: {error.strerror}"
            raise psycopg.OperationalError(text) from error

    def wait(
        self, gen: PQGen[RV], interval: float = 0.1, timeout: float | None = None
    ) -> RV:
        if timeout is not None:  # the caller knows what to do when it is over
            return super().wait(gen, interval, timeout)
        self._asked_at = monotonic()
        try:
            return super().wait(gen, interval, self._longest())
        except _WaitTimeout:
            self.pgconn.finish()  # an answer that comes later must not be taken for another's
            raise psycopg.OperationalError("the database does not answer") from None
        finally:
            self._asked_at = None

    def _longest(self) -> float | None:
        given = (_patience.get(), self.patience)
        return min((each for each in given if each is not None), default=None)

    def waits_since(self) -> float:
        """Return for how many seconds an answer has been waited for, 0 if for none."""
        asked_at = self._asked_at
        return monotonic() - asked_at if asked_at is not None else 0.0

    def hang_up(self) -> None:
        """End the line from another thread: whoever waits there is told that it is lost."""
        with (
            suppress(OSError, psycopg.Error),
            socket.socket(fileno=os.dup(self.fileno())) as end,
        ):
            end.shutdown(socket.SHUT_RDWR)
