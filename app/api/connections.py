"""The API's own connections: its database role, statements prepared, one client at a time."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from app.api.errors import unavailable
from app.api.line import ApiLine
from app.core.line import PARAMETERS, SERVER_OPTIONS, Line
from app.core.policy import DbRole

_OPTIONS = (
    "-c statement_timeout=5000 -c lock_timeout=5000 -c timezone=UTC"
    f" -c idle_in_transaction_session_timeout=120000 -c role={DbRole.API} {SERVER_OPTIONS}"
)
MOST = 8  # connections at work at once, of one process
WAIT_SECONDS = 5.0  # for one of them
# Makes a connection ready for a client; the database then shows what that one may see.
BIND = "SELECT set_config('simpul.client_id', %(client)s, false)"


class Connections:
    """A few connections of one process and event loop, the last used first."""

    def __init__(self, url: str) -> None:
        self._url = url.replace("+psycopg", "")
        self._idle: list[Ready] = []
        self._places = asyncio.Semaphore(MOST)

    def one(self, client: str) -> "_Loan":
        """Lend a connection, ready for a client; one that failed is not lent again.

        Raises ``Refused`` (503) when all of them stay lent, psycopg's errors otherwise.
        """
        return _Loan(self, client)

    async def lend(self, client: str) -> "Ready":
        """Return a connection that is ready for a client; it has to be taken back."""
        await self._find_place()
        ready: Ready | None = None
        try:
            ready = await self._take(client)
        finally:
            if ready is None:
                self._places.release()
        return ready

    def take_back(self, ready: "Ready") -> None:
        """Keep a connection for the next one, unless something is left open on it."""
        self._places.release()
        if ready.line.is_usable():
            self._idle.append(ready)
            return
        if ready.line.is_ended():
            self.forget()  # where one has failed, others may have too
        ready.line.close()

    async def _find_place(self) -> None:
        try:
            if self._places.locked():  # or no clock is needed
                async with asyncio.timeout(WAIT_SECONDS):
                    await self._places.acquire()
            else:
                await self._places.acquire()
        except TimeoutError:
            raise unavailable() from None

    async def _take(self, client: str) -> "Ready":
        while kept := self._pop(client):
            if not kept.line.is_ended():
                return await _made_ready(kept, client)
        line = await ApiLine.connect(self._url, _OPTIONS)
        return await _made_ready(Ready(line, ""), client)

    def _pop(self, client: str) -> "Ready | None":
        """Return the last one used by this client, or by anybody."""
        if not self._idle:
            return None
        places = reversed(range(len(self._idle)))
        own = (n for n in places if self._idle[n].client == client)
        return self._idle.pop(next(own, -1))

    def forget(self) -> None:
        """Close those that are not lent."""
        idle, self._idle = self._idle, []
        for each in idle:
            each.line.close()

    @contextmanager
    def for_stream(self, client: str, patience: float) -> Iterator[Line]:
        """Open a connection for a thread that copies a whole dataset; it waits so long."""
        with Line.connect(
            self._url, autocommit=True, options=_OPTIONS, **PARAMETERS
        ) as connection:
            connection.patience = patience
            connection.execute(BIND, {"client": client})
            yield connection


class _Loan:
    """A connection for the length of a block; a class, as each page borrows one or two."""

    __slots__ = ("_client", "_connections", "_ready")

    def __init__(self, connections: Connections, client: str) -> None:
        self._connections = connections
        self._client = client

    async def __aenter__(self) -> ApiLine:
        self._ready = await self._connections.lend(self._client)
        return self._ready.line

    async def __aexit__(self, *_: object) -> None:
        self._connections.take_back(self._ready)


@dataclass(slots=True)
class Ready:
    """A connection and the client whose rows the database shows on it."""

    line: ApiLine
    client: str


async def _made_ready(kept: Ready, client: str) -> Ready:
    if kept.client != client:
        try:
            await kept.line.ask(BIND, {"client": client})
            kept.client = client
        finally:
            if kept.client != client:
                kept.line.close()
    return kept
