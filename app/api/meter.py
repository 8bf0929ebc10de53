"""Counts requests and rows of each client, in PostgreSQL, a block of requests at a time.

A web process draws a block (a sixtieth of the minute's limit, at least one) in one short
transaction and spends it by itself: the limit is never exceeded, however many processes
there are; what a process has not spent by the end of a minute it gives back.
"""

import asyncio
import time
from dataclasses import dataclass, field
from uuid import UUID

import psycopg

from app.api.access import Access
from app.api.connections import Connections
from app.api.errors import Refused, unavailable
from app.api.statements import DRAW

MAX_BLOCK = 100


@dataclass
class _Purse:
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    left: int = 0
    minute_left: int = 0
    rows_left: int = 1
    unbooked: int = 0
    until: float = 0.0
    failed_at: float = 0.0

    def is_spent(self) -> bool:
        return self.left <= 0 or self.rows_left <= 0 or time.monotonic() >= self.until


class Meter:
    """The purses of one process."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections
        self._purses: dict[UUID, _Purse] = {}

    async def take(self, access: Access) -> tuple[tuple[str, str], ...]:
        """Spend one request; return the headers that tell what is left.

        Raises ``Refused`` (429) when a minute's or a day's limit is reached, psycopg's errors
        and ``Refused`` (503) when the database does not tell.
        """
        purse = self._purses.setdefault(access.client_id, _Purse())
        if purse.is_spent():
            asked = time.monotonic()
            async with purse.lock:
                if purse.failed_at > asked:  # or each would wait as long as all before it
                    raise unavailable()
                if purse.is_spent():  # another request may have drawn meanwhile
                    await self._draw(access, purse)
        purse.left -= 1
        rest = max(int(purse.until - time.monotonic()), 1)
        return (
            ("RateLimit-Limit", str(access.requests_per_minute)),
            ("RateLimit-Remaining", str(purse.minute_left + purse.left)),
            ("RateLimit-Reset", str(rest)),
        )

    async def book(self, access: Access, rows: int) -> None:
        """Count rows that were handed out; many at once are written down at once."""
        purse = self._purses[access.client_id]
        purse.unbooked += rows
        purse.rows_left -= rows
        if rows > 1000:
            async with purse.lock:
                await self._draw(access, purse, block=0)

    async def _draw(
        self, access: Access, purse: _Purse, block: int | None = None
    ) -> None:
        if block is None:
            block = max(1, min(access.requests_per_minute // 60, MAX_BLOCK))
        back = purse.left if time.monotonic() >= purse.until else 0
        booked, purse.unbooked = purse.unbooked, 0
        try:
            drawn = await self._drawn(access, block=block, rows=booked, back=back)
            booked = 0
        except (psycopg.Error, Refused):
            purse.failed_at = time.monotonic()
            raise
        finally:
            purse.unbooked += booked  # what could not be written down
        granted, purse.minute_left, day_left, rows_left, seconds, _ = drawn
        purse.rows_left = rows_left - purse.unbooked
        purse.left += granted - back
        purse.until = time.monotonic() + seconds
        if block and (granted == 0 or purse.rows_left <= 0):
            raise _reached(day_left, purse, seconds)

    async def _drawn(self, access: Access, **given: int) -> list[int]:
        async with self._connections.one(str(access.client_id)) as connection:
            answer = await connection.ask(DRAW, given)
        return [int(answer.get_value(0, n) or 0) for n in range(answer.nfields)]


def _reached(day_left: int, purse: _Purse, seconds: int) -> Refused:
    if purse.rows_left <= 0:
        return Refused(
            429, "rows_per_day", "Today's rows of this client are used up; they come back at midnight UTC.",
            retry_after_seconds=seconds,
        )  # fmt: skip
    if day_left <= 0:
        return Refused(
            429, "requests_per_day", "Today's requests of this client are used up; they come back at midnight UTC.",
            retry_after_seconds=seconds,
        )  # fmt: skip
    return Refused(
        429, "requests_per_minute", "Too many requests in this minute. Wait, then go on.",
        retry_after_seconds=seconds,
    )  # fmt: skip
