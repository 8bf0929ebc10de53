"""Lines to PostgreSQL, and how a dead or dumb one is noticed in time.

Two ways to be left without an answer: packets are lost on the way, or the other host is gone,
which the kernel tells when it is asked to; and the other end takes what is said and never
answers (a frozen server, a relay with nobody behind it), which only a clock tells.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

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
    """A connection that keeps to ``answers_within``, else to a patience of its own."""

    patience: float | None = None

    def wait(
        self, gen: PQGen[RV], interval: float = 0.1, timeout: float | None = None
    ) -> RV:
        if timeout is not None:  # the caller knows what to do when it is over
            return super().wait(gen, interval, timeout)
        try:
            return super().wait(gen, interval, _patience.get() or self.patience)
        except _WaitTimeout:
            self.pgconn.finish()  # an answer that comes later must not be taken for another's
            raise psycopg.OperationalError("the database does not answer") from None
