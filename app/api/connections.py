"""The API's own connections: plain psycopg, one role each, statements prepared."""

import os
import select
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg.pq import TransactionStatus

from app.core.line import PARAMETERS, SERVER_OPTIONS, Line
from app.core.policy import DbRole

_OPTIONS = (
    "-c statement_timeout=5000 -c lock_timeout=5000 -c timezone=UTC"
    f" -c idle_in_transaction_session_timeout=120000 {SERVER_OPTIONS}"
)
PATIENCE_SECONDS = 10.0  # with an answer: twice what a statement may take
# Makes a connection ready for a client; the database then shows what that one may see.
BIND = "SELECT set_config('simpul.client_id', %s, false)"
Params = Mapping[str, Any] | tuple[Any, ...] | None
Row = tuple[Any, ...]


class Connections:
    """A few connections of one process and role, the last used first. Safe among threads."""

    def __init__(self, url: str, role: DbRole) -> None:
        self._url = url.replace("+psycopg", "")
        self._options = f"{_OPTIONS} -c role={role}"
        self._idle: list[Ready] = []
        self._lock = threading.Lock()
        self._process = os.getpid()

    @contextmanager
    def one(
        self, client: str, patience: float = PATIENCE_SECONDS
    ) -> Iterator[psycopg.Connection[Row]]:
        """Lend a connection, ready for a client; one that failed is not lent again.

        It waits ``patience`` seconds for an answer, then it is taken for dead.
        """
        ready = self._take(client)
        ready.connection.patience = patience
        try:
            yield ready.connection
        except BaseException as error:
            with suppress(psycopg.Error):
                ready.connection.rollback()
            if ready.connection.closed and isinstance(error, psycopg.OperationalError):
                self.forget()
            if isinstance(error, GeneratorExit):
                ready.connection.close()
            self._take_back(ready)
            raise
        self._take_back(ready)

    def _take_back(self, ready: "Ready") -> None:
        """Keep a connection for the next one, unless something is left open on it."""
        if ready.connection.info.transaction_status is TransactionStatus.IDLE:
            with self._lock:  # or it would be added to a list that ``forget`` has let go
                self._idle.append(ready)
        else:
            ready.connection.close()

    def _take(self, client: str) -> "Ready":
        if self._process != os.getpid():  # forked: the parent's are the parent's
            self._idle, self._process = [], os.getpid()
        while kept := self._pop(client):
            if not _was_ended(kept.connection):
                return _made_ready(kept, client)
            kept.connection.close()
        connection = Line.connect(
            self._url,
            autocommit=True,
            prepare_threshold=0,
            options=self._options,
            **PARAMETERS,
        )
        return _made_ready(Ready(connection, ""), client)

    def _pop(self, client: str) -> "Ready | None":
        """Return the last one used by this client, or by anybody."""
        with self._lock:
            if not self._idle:
                return None
            places = reversed(range(len(self._idle)))
            own = (n for n in places if self._idle[n].client == client)
            return self._idle.pop(next(own, -1))

    def forget(self) -> None:
        """Close those that are not lent: where one has failed, they may have too."""
        with self._lock:
            idle, self._idle = self._idle, []
        for each in idle:
            each.connection.close()


@dataclass(slots=True)
class Ready:
    """A connection and the client whose rows the database shows on it."""

    connection: Line
    client: str


def _made_ready(kept: Ready, client: str) -> Ready:
    if kept.client != client:
        try:
            kept.connection.execute(BIND, (client,))
        except psycopg.Error:
            kept.connection.close()
            raise
        kept.client = client
    return kept


def _was_ended(connection: psycopg.Connection[Row]) -> bool:
    """Tell whether the server has ended a kept connection: nothing else is unasked for."""
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLIN)
    return bool(poll.poll(0))


def together(
    connection: psycopg.Connection[Row], *statements: tuple[str, Params]
) -> list[psycopg.Cursor[Row]]:
    """Run statements as one transaction in one trip; return a cursor for each.

    A pipeline without BEGIN is one transaction up to its end; it is committed, to the disk,
    when this returns, and undone when it raises.
    """
    with connection.pipeline():
        return [connection.cursor().execute(*each) for each in statements]
