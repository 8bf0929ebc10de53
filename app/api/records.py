"""Answers for records: a JSON page, a page of changes, a stream, or "as you know it"."""

import hashlib
import threading
import time
from collections.abc import Generator
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import msgspec
import psycopg

from app.api import statements
from app.api.access import SAMPLE_ROWS, Access, Opened
from app.api.ask import DEFAULT_LIMIT, Ask, Asks
from app.api.connections import Connections, together
from app.api.errors import Refused, bad_token, not_found
from app.api.exchanges import Exchanges
from app.api.meter import Meter
from app.api.tokens import Tokens
from app.api.wire import MEDIA, Answer, Headers, Packer, Primed, Request

COUNT_MS, STREAM_SECONDS = "3000", 600.0  # a page: the connection's own 5 seconds
STREAMS = 4  # of one process: the rest of its threads stay free for pages
_FORMATS = {
    "application/json": "json",
    "application/x-ndjson": "ndjson",
    "text/csv": "csv",
}
_BEGIN = "BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY"
NO_PLACE = "SA429"  # what simpul_api_slot raises


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
        self._streams = threading.BoundedSemaphore(STREAMS)

    def answer(self, request: Request, access: Access, opened: Opened) -> Answer:
        """Answer a request for one dataset's records; raises ``Refused`` or psycopg's."""
        limits = self._meter.take(access)
        ask, after = self._asks.read(request.query, opened, self._accepted(request))
        etag = _etag(request, access, opened, ask)
        log = _log(request, access, opened, ask, etag)
        headers: Headers = (
            ("Content-Type", MEDIA[ask.format]), ("ETag", etag), *limits,
        )  # fmt: skip
        if request.knows(etag):
            self._exchanges.count({**log, "status": "304"})
            return Answer(304, headers, b"")
        if ask.format == "json":
            return Answer(200, headers, self._page(access, opened, ask, after, log))
        disposition = ""
        if ask.format.startswith("csv"):
            disposition = f'attachment; filename="{opened.slug}.csv"'
        more = (("Content-Disposition", disposition),) if disposition else ()
        if request.method == "HEAD":
            return Answer(200, headers + more, None)
        chunks = self._stream(access, opened, ask, log, packs=request.packs)
        return Answer(200, headers + more, Primed(chunks))

    @staticmethod
    def _accepted(request: Request) -> str:
        if "format=" in request.query:
            return "json"  # said outright, so the header is not asked
        return _FORMATS[request.accepted()]

    # --- pages --------------------------------------------------------------------------

    def _page(
        self, access: Access, opened: Opened, ask: Ask, after: str, log: dict[str, Any]
    ) -> bytes:
        limit = ask.limit or DEFAULT_LIMIT
        if ask.since:
            page = self._changes(access, opened, ask, limit, log)
        else:
            page = self._rows(access, opened, ask, limit, after, log)
        self._meter.book(access, len(page.records))
        envelope = {
            "dataset": opened.slug,
            "published_at": opened.published_at,
            "page": {"limit": limit, **page.about},
        }
        if ask.count:
            envelope["count"] = self._count(access, opened, ask)
        records = b",".join(page.records)
        return b'{"data":[' + records + b"]," + msgspec.json.encode(envelope)[1:]

    def _rows(
        self,
        access: Access,
        opened: Opened,
        ask: Ask,
        limit: int,
        after: str,
        log: dict[str, Any],
    ) -> "_Page":
        """Read a page of rows; ``since`` is what a walk began with, or begins with now.

        That is asked before the page: what is published in between is told twice, by the
        page and by the change feed, rather than never.
        """
        newest, place = self._place(ask, after) if after else (None, None)
        if newest is None:
            newest = self._newest(access, opened)
        statement = statements.page(ask, opened, limit, place)
        cursor = self._read(access, opened, statement, log)
        records = _column(cursor, limit)
        following = None
        if cursor.rowcount > limit:
            last = range(1, len(cursor.description or ()))
            following = self._tokens.make(
                ask.context, [newest, [_text(cursor, limit - 1, n) for n in last]]
            )
        since = self._since_token(opened, newest)
        return _Page(records, {"next": following, "since": since})

    def _newest(self, access: Access, opened: Opened) -> int:
        """Return the number of the newest change as of a moment ago: a run adds no more."""
        known = self._newest_of.get(opened.dataset_id)
        if known is not None and known[0] == opened.run_id:
            return known[1]
        with self._connections.one(str(access.client_id)) as connection:
            cursor = connection.execute(statements.newest(opened))
        newest = int(_text(cursor, 0, 0) or 0)
        if newest:  # a client without a grant sees no rows: its answer is not for others
            self._newest_of[opened.dataset_id] = opened.run_id, newest
        return newest

    def _read(
        self,
        access: Access,
        opened: Opened,
        statement: statements.Statement,
        log: dict[str, Any],
    ) -> psycopg.Cursor[Any]:
        """Read a page. An empty one must not be that of a grant that ended this second."""
        with self._connections.one(str(access.client_id)) as connection:
            cursor = connection.execute(
                statement.sql, {**log, **_entering(access), **statement.params}
            )
            if cursor.rowcount == 0:
                _require_grant(connection.execute(statements.MAY, (opened.slug,)))
            return cursor

    def _changes(
        self, access: Access, opened: Opened, ask: Ask, limit: int, log: dict[str, Any]
    ) -> "_Page":
        newest = self._since(opened, ask.since)
        statement = statements.changes(ask, opened, limit, newest)
        cursor = self._read(access, opened, statement, log)
        records = _column(cursor, limit)
        if records:
            newest = int(_text(cursor, len(records) - 1, 1) or 0)
        since = self._since_token(opened, newest)
        return _Page(records, {"more": cursor.rowcount > limit, "since": since})

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
        return self._tokens.make(f"since {opened.dataset_id}", [opened.version, seq])

    def _place(self, ask: Ask, after: str) -> tuple[int, list[Any]]:
        values = self._tokens.read(ask.context, after)
        if len(values) != 2:
            raise bad_token()
        known, place = values
        if not isinstance(known, int) or not isinstance(place, list):
            raise bad_token()
        return known, place

    def _count(self, access: Access, opened: Opened, ask: Ask) -> dict[str, Any]:
        """Count rows: as the last publish or the planner knows it, or one by one."""
        if ask.count == "estimated" and not ask.filters:
            rows = (
                min(opened.row_count, SAMPLE_ROWS) if opened.sample else opened.row_count
            )
            return {"kind": "estimated", "rows": rows}
        statement = statements.count(ask, opened)
        sql = statement.sql
        if ask.count == "estimated":
            sql = f"EXPLAIN (FORMAT JSON) {sql.replace('count(*)', '1', 1)}"
        with self._connections.one(str(access.client_id)) as connection:
            row = together(
                connection,
                (statements.LIMIT_TIME, (COUNT_MS,)),
                (statements.ENTER, _entering(access)),
                (sql, statement.params),
            )[-1].fetchone()
        found: Any = row[0] if row else 0
        if ask.count == "estimated":
            plan = found if isinstance(found, list) else msgspec.json.decode(found)
            found = int(plan[0]["Plan"]["Plan Rows"])
        return {"kind": ask.count, "rows": found}

    # --- streams ------------------------------------------------------------------------

    def _stream(
        self,
        access: Access,
        opened: Opened,
        ask: Ask,
        log: dict[str, Any],
        *,
        packs: bool,
    ) -> Generator[bytes]:
        """Yield a whole answer in chunks: its begin is logged first, its end before the last."""
        if not self._streams.acquire(blocking=False):
            raise Refused(
                503, "streams_busy", "Many whole datasets are being sent just now. Try again in a moment.",
                retry_after_seconds=10,
            )  # fmt: skip
        begun, tally = time.monotonic(), [0, 0]
        phase = "broken"
        try:
            with self._connections.one(
                str(access.client_id), STREAM_SECONDS
            ) as connection:
                granted = together(
                    connection,
                    (_BEGIN, None),
                    (statements.LIMIT_TIME, (f"{STREAM_SECONDS:.0f}s",)),
                    (statements.ENTER, _entering(access)),
                    (statements.MAY, (opened.slug,)),
                )[-1]
                _require_grant(granted)
                self._exchanges.write({**log, "phase": "begin"})
                packer = Packer(packs=packs)
                yield packer.add("\ufeff".encode() if ask.format == "csv-excel" else b"")
                yield from _copied(connection, ask, opened, packer, tally)
                connection.commit()
            phase = "end"
        finally:
            self._streams.release()
            spent = (time.monotonic() - begun) * 1000
            if tally[0] or phase == "end":
                self._exchanges.write(
                    {**log, "phase": phase, "rows": tally[0],
                     "bytes": tally[1], "milliseconds": spent}
                )  # fmt: skip
                self._meter.book(access, tally[0])
        yield packer.finish()


def _copied(
    connection: psycopg.Connection[Any],
    ask: Ask,
    opened: Opened,
    packer: Packer,
    tally: list[int],
) -> Generator[bytes]:
    """Yield chunks of COPY's lines; ``tally`` counts rows and bytes as they come."""
    statement = statements.stream(ask, opened)
    headings = 1 if ask.format.startswith("csv") else 0
    messages = size = 0
    try:
        with connection.cursor().copy(statement.sql, statement.params) as copy:
            for line in copy:
                messages += 1
                size += len(line)
                chunk = packer.add(bytes(line))
                if chunk:
                    yield chunk
    finally:
        tally[0], tally[1] = max(messages - headings, 0), size


@dataclass(frozen=True, slots=True)
class _Page:
    """Records as JSON, and what is told about the way on."""

    records: list[bytes]
    about: dict[str, Any]


def _require_grant(answered: psycopg.Cursor[Any]) -> None:
    """Refuse when the database knows of no grant; it asks for each answer."""
    if answered.fetchone() != (True,):
        raise not_found()


def _column(cursor: psycopg.Cursor[Any], most: int) -> list[bytes]:
    """Return the first column as PostgreSQL wrote it: nothing is decoded to be encoded."""
    found = cursor.pgresult
    if found is None:
        return []
    return [found.get_value(n, 0) or b"" for n in range(min(found.ntuples, most))]


def _text(cursor: psycopg.Cursor[Any], row: int, column: int) -> str | None:
    value = cursor.pgresult.get_value(row, column) if cursor.pgresult else None
    return None if value is None else value.decode()


def _entering(access: Access) -> dict[str, str]:
    return {"client": str(access.client_id), "places": str(access.concurrency)}


def _etag(request: Request, access: Access, opened: Opened, ask: Ask) -> str:
    """Return what changes with the published run, the query, the format and the grant."""
    parts = (opened.run_id, opened.mark, request.query, ask.format, access.client_id)
    return f'W/"{hashlib.sha256(repr(parts).encode()).hexdigest()[:32]}"'


def _log(
    request: Request, access: Access, opened: Opened, ask: Ask, etag: str
) -> dict[str, Any]:
    """Return the parameters of the log's row, as texts: cheaper than their types here."""
    return {
        "agency": str(access.agency_id),
        "producer": str(opened.producer_id),
        "dataset": str(opened.dataset_id),
        "client": str(access.client_id),
        "prefix": access.prefix,
        "agreement": opened.agreement,
        "query": request.query,
        "fields": ask.names,
        "etag": etag,
        "request": request.ident,
        "ip": request.ip,
        "phase": "whole",
        "status": "200",
        "run": opened.run_id and str(opened.run_id),
        "times": "1",
        "rows": 0,
        "bytes": 0,
        "milliseconds": 0.0,
    }
