"""Answers for records: a JSON page, a page of changes, a stream, or "as you know it"."""

import hashlib
import threading
import time
from collections.abc import Generator
from typing import Any

import msgspec
import psycopg

from app.api import ask as asking, statements
from app.api.access import SAMPLE_ROWS, Access, Opened
from app.api.ask import DEFAULT_LIMIT, Ask
from app.api.connections import Connections, together
from app.api.errors import Refused, bad_token
from app.api.meter import Meter
from app.api.tokens import Tokens
from app.api.wire import MEDIA, Answer, Headers, Packer, Primed, Request

PAGE_MS, COUNT_MS, STREAM_MS = "5000", "3000", "600000"
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

    def __init__(self, connections: Connections, meter: Meter, tokens: Tokens) -> None:
        self._connections = connections
        self._meter = meter
        self._tokens = tokens
        self._streams = threading.BoundedSemaphore(STREAMS)

    def answer(self, request: Request, access: Access, opened: Opened) -> Answer:
        """Answer a request for one dataset's records; raises ``Refused`` or psycopg's."""
        limits = self._meter.take(access)
        ask = asking.read(request.query, opened, self._accepted(request))
        etag = _etag(request, access, opened, ask)
        log = _log(request, access, opened, ask, etag)
        headers: Headers = (
            ("Content-Type", MEDIA[ask.format]), ("ETag", etag), *limits,
        )  # fmt: skip
        if etag in request.header("If-None-Match"):
            self._write(access, {**log, "status": 304})
            return Answer(304, headers, b"")
        if ask.format == "json":
            return Answer(200, headers, self._page(access, opened, ask, log))
        disposition = ""
        if ask.format.startswith("csv"):
            disposition = f'attachment; filename="{opened.slug}.csv"'
        more = (("Content-Disposition", disposition),) if disposition else ()
        if request.method == "HEAD":
            return Answer(200, headers + more, b"")
        chunks = self._stream(access, opened, ask, log, packs=request.packs)
        return Answer(200, headers + more, Primed(chunks))

    @staticmethod
    def _accepted(request: Request) -> str:
        if "format=" in request.query:
            return "json"  # said outright, so the header is not asked
        return _FORMATS[request.accepted()]

    # --- pages --------------------------------------------------------------------------

    def _page(
        self, access: Access, opened: Opened, ask: Ask, log: dict[str, Any]
    ) -> bytes:
        limit = ask.limit or DEFAULT_LIMIT
        known, place = None, None
        if ask.since:
            since = self._since(opened, ask.since)
            statement = statements.changes(ask, opened, limit, since)
        else:
            if ask.after:
                known, place = self._place(ask)
            statement = statements.page(ask, opened, limit, place)
        with self._connections.one() as connection:
            row = together(
                connection,
                (statements.TAKE_WITH_PLACE, _taking(access, PAGE_MS)),
                (statement.sql, {**statement.params, **log}),
            )
        if row is None:
            raise RuntimeError("a page answers one row")
        text, found, last, newest = row
        self._meter.book(access, min(found, limit))
        more = found > limit
        if ask.since:
            if last is not None:
                newest = int(last)
            rest = {
                "limit": limit,
                "more": more,
                "since": self._since_token(opened, newest),
            }
        else:
            newest = newest if known is None else known
            token = (
                self._tokens.make(ask.context, [newest, msgspec.json.decode(last)])
                if more
                else None
            )
            rest = {
                "limit": limit,
                "next": token,
                "since": self._since_token(opened, newest),
            }
        envelope = {
            "dataset": opened.slug,
            "published_at": opened.published_at,
            "page": rest,
        }
        if ask.count:
            envelope["count"] = self._count(access, opened, ask)
        body: bytes = b'{"data":[' + text + b"]," + msgspec.json.encode(envelope)[1:]
        return body

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

    def _place(self, ask: Ask) -> tuple[int, list[Any]]:
        values = self._tokens.read(ask.context, ask.after)
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
        with self._connections.one() as connection:
            row = together(
                connection,
                (statements.TAKE, (str(access.client_id), COUNT_MS)),
                (sql, statement.params),
            )
        found: Any = row[0] if row else 0
        if ask.count == "estimated":
            plan = found if isinstance(found, list) else msgspec.json.decode(found)
            found = int(plan[0]["Plan"]["Plan Rows"])
        return {"kind": ask.count, "rows": found}

    # --- the log ------------------------------------------------------------------------

    def _write(self, access: Access, log: dict[str, Any], **more: Any) -> None:
        """Write one row of the exchange log, in a transaction of its own."""
        values = {"rows": 0, "bytes": 0, "milliseconds": 0.0, **log, **more}
        with self._connections.one() as connection:
            together(
                connection,
                (statements.TAKE, (str(access.client_id), PAGE_MS)),
                (statements.LOG, values),
            )

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
            with self._connections.one() as connection:
                together(
                    connection,
                    (_BEGIN, None),
                    (statements.TAKE_WITH_PLACE, _taking(access, STREAM_MS)),
                )
                self._write(access, {**log, "phase": "begin"})
                packer = Packer(packs=packs)
                yield packer.add("\ufeff".encode() if ask.format == "csv-excel" else b"")
                yield from _copied(connection, ask, opened, packer, tally)
                connection.commit()
            phase = "end"
        finally:
            self._streams.release()
            spent = (time.monotonic() - begun) * 1000
            if tally[0] or phase == "end":
                self._write(
                    access, {**log, "phase": phase}, rows=tally[0], bytes=tally[1],
                    milliseconds=spent,
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


def _taking(access: Access, milliseconds: str) -> tuple[Any, ...]:
    place = int.from_bytes(access.client_id.bytes[:4], signed=True)
    return str(access.client_id), milliseconds, place, access.concurrency


def _etag(request: Request, access: Access, opened: Opened, ask: Ask) -> str:
    """Return what changes with the published run, the query, the format and the grant."""
    parts = (opened.run_id, opened.mark, request.query, ask.format, access.client_id)
    return f'W/"{hashlib.sha256(repr(parts).encode()).hexdigest()[:32]}"'


def _log(
    request: Request, access: Access, opened: Opened, ask: Ask, etag: str
) -> dict[str, Any]:
    return {
        "agency": access.agency_id,
        "producer": opened.producer_id,
        "dataset": opened.dataset_id,
        "client": access.client_id,
        "prefix": access.prefix,
        "agreement": opened.agreement,
        "query": request.query[:4000],
        "fields": [each.name for each in ask.fields],
        "etag": etag,
        "request": request.ident,
        "ip": request.ip,
        "phase": "whole",
        "status": 200,
        "run": opened.run_id,
    }
