"""Writes what a page does not log by itself: streams, and answers that are known already.

That a client knows an answer already (304) hands out nothing: it is counted, and written
down a second later, one row for all times.
"""

import asyncio
import logging
import time
from typing import Any

import psycopg

from app.api.connections import Connections
from app.api.errors import Refused
from app.api.statements import LOG

log = logging.getLogger("simpul.api")
COUNTED_SECONDS = 1.0
MOST_COUNTED = 1000
Row = dict[str, Any]
Key = tuple[str, str, str]


class Exchanges:
    """The exchange log as one process writes it."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections
        self._counted: dict[Key, Row] = {}
        self._counting_since = 0.0
        self._writer: asyncio.Task[None] | None = None
        self._writing = asyncio.Lock()  # the writer's

    async def write(self, row: Row) -> None:
        """Return when the row is on the disk; raises psycopg's errors."""
        async with self._connections.one(row["client"]) as connection:
            await connection.ask(LOG, row)

    async def count(self, row: Row) -> None:
        """Count an answer that hands out nothing; it is written down in a second.

        Raises psycopg's errors while what was counted cannot be written.
        """
        if not self._counted:
            self._counting_since = time.monotonic()
        self._add(row, 1)
        if self._writer is None or self._writer.done():
            self._writer = asyncio.create_task(self._write_in_time())
        late = time.monotonic() - self._counting_since > 2 * COUNTED_SECONDS
        if late or len(self._counted) >= MOST_COUNTED:
            await self._write_counted()

    async def finish(self) -> None:
        """Write what was counted, at the end of the process."""
        try:
            async with (
                self._writing
            ):  # broken off, what it writes might be lost, or twice
                if self._writer is not None:
                    self._writer.cancel()
                await self._write_counted()
        except (psycopg.Error, Refused):
            times = sum(row["times"] for row in self._counted.values())
            log.error("%s known answers (304) end unlogged", times)  # noqa: TRY400 - no trace

    def _add(self, row: Row, times: int) -> None:
        key = (row["prefix"], row["etag"], row["ip"])
        self._counted.setdefault(key, row | {"times": 0})["times"] += times

    async def _write_in_time(self) -> None:
        while self._counted:
            await asyncio.sleep(COUNTED_SECONDS)
            try:
                async with self._writing:
                    await self._write_counted()
            except (psycopg.Error, Refused) as error:
                log.warning("exchanges wait to be logged: %s", type(error).__name__)

    async def _write_counted(self) -> None:
        """Write what was counted until now; what cannot be written yet is kept."""
        counted, self._counted = self._counted, {}
        since = self._counting_since
        try:
            while counted:
                key, row = next(iter(counted.items()))
                await self.write(row)
                del counted[key]
        finally:
            if counted:
                self._counting_since = since
            for row in counted.values():
                self._add(row, row["times"])
