"""Answers for records: a JSON page, a page of changes, a stream, or "as you know it"."""

import asyncio
import hashlib
import time
from collections.abc import AsyncGenerator, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, NamedTuple
from uuid import UUID

import msgspec

from app.api import statements
from app.api.access import SAMPLE_ROWS, Access, Opened
from app.api.ask import DEFAULT_LIMIT, Ask, Asks
from app.api.connections import Connections
from app.api.errors import Refused, bad_token, not_found
from app.api.exchanges import Exchanges
from app.api.meter import Meter
from app.api.tokens import Tokens
from app.api.wire import MEDIA, Answer, Headers, Packer, Primed, Request

STREAM_SECONDS = 600.0  # a page: the connection's own 5 seconds
STREAMS = 4  # of one process: each of them holds a connection and a thread of its own
_FORMATS = {
    "application/json": "json",
    "application/x-ndjson": "ndjson",
    "text/csv": "csv",
}
_BEGIN = "BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY"
NO_PLACE = "SA429"  # what simpul_api_enter raises


class Records:
    """Hands out rows; every answer of it has its row in the exchange log before it leaves."""

    def __init__(
        self, connections: Connections, exchanges: Exchanges, meter: Meter, tokens: Tokens
    ) -> None:
        self._connections = connections
        self._exchanges = exchanges
        self._meter = meter
        self._tokens = tokens
        self._asks = Asks()
        self._newest_of: dict[UUID, tuple[UUID | None, int]] = {}
        self._since_of: dict[UUID, tuple[tuple[int, int], str]] = {}
        self._streams = 0

    async def answer(self, request: Request, access: Access, opened: Opened) -> Answer:
        """Answer a request for one dataset's records; raises ``Refused`` or psycopg's."""
        limits = await self._meter.take(access)
        ask, after = self._asks.read(request.query, opened, self._accepted(request))
        etag = _etag(request, access, opened, ask)
        log = _log(request, access, opened, ask, etag)
        headers: Headers = (
            ("Content-Type", MEDIA[ask.format]), ("ETag", etag), *limits,
        )  # fmt: skip
        if request.knows(etag):
            await self._exchanges.count({**log, "status": "304"})
            return Answer(304, headers, b"")
        if ask.format == "json":
            return Answer(200, headers, await self._page(access, opened, ask, after, log))
        disposition = ""
        if ask.format.startswith("csv"):
            disposition = f'attachment; filename="{opened.slug}.csv"'
        more = (("Content-Disposition", disposition),) if disposition else ()
        if request.method == "HEAD":
            return Answer(200, headers + more, None)
        chunks = self._stream(access, opened, ask, log, packs=request.packs)
        return Answer(200, headers + more, await Primed.of(chunks))

    @staticmethod
    def _accepted(request: Request) -> str:
        if "format=" in request.query:
            return "json"  # said outright, so the header is not asked
        return _FORMATS[request.accepted()]

    # --- pages --------------------------------------------------------------------------

    async def _page(
        self, access: Access, opened: Opened, ask: Ask, after: str, log: dict[str, Any]
    ) -> bytes:
        limit = ask.limit or DEFAULT_LIMIT
        if ask.since:
            page, about = await self._changes(access, opened, ask, limit, log)
        else:
            page, about = await self._rows(access, opened, ask, limit, after, log)
        await self._meter.book(access, page.rows)
        envelope = {
            "dataset": opened.slug,
            "published_at": opened.published_at,
            "page": {"limit": limit, **about},
        }
        if ask.count:
            envelope["count"] = await self._count(access, opened, ask)
        return b'{"data":[' + page.records + b"]," + msgspec.json.encode(envelope)[1:]

    async def _rows(
        self,
        access: Access,
        opened: Opened,
        ask: Ask,
        limit: int,
        after: str,
        log: dict[str, Any],
    ) -> "tuple[_Page, dict[str, Any]]":
        """Read a page of rows; ``since`` is what a walk began with, or begins with now.

        That is asked before the page: what is published in between is told twice, by the
        page and by the change feed, rather than never.
        """
        newest, place = self._place(ask, after) if after else (None, None)
        if newest is None:
            newest = await self._newest(access, opened)
        statement = statements.page(ask, opened, limit, place)
        page = await self._read(access, statement, log)
        following, since = None, None
        if page.goes_on:
            following = self._tokens.make(ask.context, [newest, page.last])
        if opened.chosen is None:
            since = self._since_token(opened, newest)
        return page, {"next": following, "since": since}

    async def _newest(self, access: Access, opened: Opened) -> int:
        """Return the number of the newest change as of a moment ago: a run adds no more."""
        known = self._newest_of.get(opened.dataset_id)
        if known is not None and known[0] == opened.run_id:
            return known[1]
        async with self._connections.one(str(access.client_id)) as connection:
            found = await connection.ask(statements.newest(opened), {})
        newest = int(found.get_value(0, 0) or 0)
        if newest:  # a client without a grant sees no rows: its answer is not for others
            self._newest_of[opened.dataset_id] = opened.run_id, newest
        return newest

    async def _read(
        self,
        access: Access,
        statement: statements.Statement,
        log: dict[str, Any],
    ) -> "_Page":
        """Read a page; raises ``Refused`` (404) for one of a grant that ended this second."""
        params = {**log, **statement.params}
        async with self._connections.one(str(access.client_id)) as connection:
            found = await connection.ask(statement.sql, params)
        if found.get_value(0, 0) != b"t":
            raise not_found()
        last = [found.get_value(0, n) for n in range(4, found.nfields)]
        return _Page(
            records=found.get_value(0, 1) or b"",
            rows=int(found.get_value(0, 2) or 0),
            goes_on=found.get_value(0, 3) == b"t",
            last=[None if value is None else value.decode() for value in last],
        )

    async def _changes(
        self, access: Access, opened: Opened, ask: Ask, limit: int, log: dict[str, Any]
    ) -> "tuple[_Page, dict[str, Any]]":
        if opened.chosen is not None:
            raise Refused(
                409,
                "no_change_feed",
                "The agreement opens some rows alone: a row that leaves them would vanish from"
                " the changes unseen. Read the dataset whole; its ETag says whether it changed.",
            )
        newest = self._since(opened, ask.since)
        statement = statements.changes(ask, opened, limit, newest)
        page = await self._read(access, statement, log)
        if page.rows:
            newest = int(page.last[0] or 0)
        return page, {"more": page.goes_on, "since": self._since_token(opened, newest)}

    def _since(self, opened: Opened, token: str) -> int:
        """Return the change that a client has last seen."""
        values = self._tokens.read(f"since {opened.dataset_id}", token)
        version, seq = values if len(values) == 2 else (0, 0)
        if version != opened.version:
            raise Refused(
                410,
                "version_changed",
                "The dataset has a new contract version since then: read it whole once more,"
                " then go on with the new token.",
            )
        if not isinstance(seq, int):
            raise bad_token()
        return seq

    def _since_token(self, opened: Opened, seq: int) -> str:
        """Return the token of a change; the pages of a walk all end with the same one."""
        known = self._since_of.get(opened.dataset_id)
        if known is None or known[0] != (opened.version, seq):
            values = [opened.version, seq]
            token = self._tokens.make(f"since {opened.dataset_id}", values)
            known = (opened.version, seq), token
            self._since_of[opened.dataset_id] = known
        return known[1]

    def _place(self, ask: Ask, after: str) -> tuple[int, list[Any]]:
        values = self._tokens.read(ask.context, after)
        if len(values) != 2:
            raise bad_token()
        known, place = values
        if not isinstance(known, int) or not isinstance(place, list):
            raise bad_token()
        return known, place

    async def _count(self, access: Access, opened: Opened, ask: Ask) -> dict[str, Any]:
        """Count rows: as the last publish or the planner knows it, or one by one."""
        if ask.count == "estimated" and not ask.filters and opened.chosen is None:
            rows = (
                min(opened.row_count, SAMPLE_ROWS) if opened.sample else opened.row_count
            )
            return {"kind": "estimated", "rows": rows}
        statement = statements.count(ask, opened)
        sql, params = statement.sql, {**access.said, **statement.params}
        if ask.count == "estimated":
            sql = f"EXPLAIN (FORMAT JSON) {sql.replace('count(*)', '1', 1)}"
        async with self._connections.one(str(access.client_id)) as connection:
            found = (await connection.ask(sql, params)).get_value(0, 0) or b""
        if ask.count == "exact":
            return {"kind": "exact", "rows": int(found)}
        plan = msgspec.json.decode(found)
        return {"kind": "estimated", "rows": int(plan[0]["Plan"]["Plan Rows"])}

    # --- streams ------------------------------------------------------------------------

    async def _stream(
        self,
        access: Access,
        opened: Opened,
        ask: Ask,
        log: dict[str, Any],
        *,
        packs: bool,
    ) -> AsyncGenerator[bytes]:
        """Yield a whole answer in chunks: its begin is logged first, its end before the last."""
        if self._streams >= STREAMS:
            raise Refused(
                503, "streams_busy", "Many whole datasets are being sent just now. Try again in a moment.",
                retry_after_seconds=10,
            )  # fmt: skip
        self._streams += 1
        begun, tally = time.monotonic(), _Tally()
        phase = "broken"
        packer = Packer(packs=packs)
        try:
            copied = self._copied(access, opened, ask, packer, tally)
            async with aclosing(_in_thread(copied)) as chunks:
                await anext(chunks)  # the grant stands
                await self._exchanges.write({**log, "phase": "begin"})
                yield packer.add("\ufeff".encode() if ask.format == "csv-excel" else b"")
                async for chunk in chunks:
                    yield chunk
            phase = "end"
        finally:
            self._streams -= 1
            spent = (time.monotonic() - begun) * 1000
            if tally.rows > 0 or phase == "end":
                await self._exchanges.write(
                    {**log, "phase": phase, "rows": tally.rows,
                     "bytes": tally.size, "milliseconds": spent}
                )  # fmt: skip
                await self._meter.book(access, tally.rows)
        yield packer.finish()

    def _copied(
        self, access: Access, opened: Opened, ask: Ask, packer: Packer, tally: "_Tally"
    ) -> Generator[bytes]:
        """Yield nothing once the grant is seen to stand, then chunks of COPY's lines."""
        statement = statements.stream(ask, opened)
        client = str(access.client_id)
        with self._connections.for_stream(client, STREAM_SECONDS) as connection:
            with connection.pipeline():
                connection.execute(_BEGIN)
                connection.execute(statements.LIMIT_TIME, (f"{STREAM_SECONDS:.0f}s",))
                connection.execute(statements.ENTER, access.said)
                granted = connection.execute(statements.MAY, (opened.slug,))
            if granted.fetchone() != (True,):
                raise not_found()
            yield b""
            tally.rows = -1 if ask.format.startswith("csv") else 0  # without the headings
            with connection.cursor().copy(statement.sql, statement.params) as copy:
                for line in copy:
                    tally.rows += 1
                    tally.size += len(line)
                    chunk = packer.add(bytes(line))
                    if chunk:
                        yield chunk
            connection.commit()


async def _in_thread(chunks: Generator[bytes]) -> AsyncGenerator[bytes]:
    """Yield what a generator yields that waits; it has a thread of its own to the end."""
    loop = asyncio.get_running_loop()
    thread = ThreadPoolExecutor(1, "stream")
    try:
        while (
            chunk := await loop.run_in_executor(thread, next, chunks, None)
        ) is not None:
            yield chunk
    finally:
        ending = loop.run_in_executor(thread, chunks.close)
        thread.shutdown(wait=False)
        await ending


@dataclass(slots=True)
class _Tally:
    """What was copied until now."""

    rows: int = 0
    size: int = 0


class _Page(NamedTuple):
    """Records as PostgreSQL wrote them, and where the last of them stands."""

    records: bytes
    rows: int
    goes_on: bool
    last: list[str | None]


def _etag(request: Request, access: Access, opened: Opened, ask: Ask) -> str:
    """Return what changes with the published run, the query, the format and the grant."""
    client, run = access.said["client"], opened.said["run"]
    parts = f"{client} {run} {opened.mark} {ask.format} {request.query}"
    return f'W/"{hashlib.sha256(parts.encode()).hexdigest()[:32]}"'


def _log(
    request: Request, access: Access, opened: Opened, ask: Ask, etag: str
) -> dict[str, Any]:
    """Return the parameters of the log's row, and of ``ENTER``, as texts."""
    return {
        **access.said,
        **opened.said,
        "query": request.query,
        "fields": ask.names,
        "etag": etag,
        "request": request.ident,
        "ip": request.ip,
        "phase": "whole",
        "status": "200",
        "times": "1",
        "rows": 0,
        "bytes": 0,
        "milliseconds": 0.0,
    }
