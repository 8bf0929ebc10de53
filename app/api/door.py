"""The door of /api: an ASGI application beside the pages, with a key or not at all.

It knows no session, form or template. Whatever has no route here is a 404 problem; each
route but those asks for a key first. What a key opens is remembered for at most a second.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import psycopg
from babel.support import Translations
from sqlalchemy.exc import DBAPIError

from app.api import ask as asking, keys, openapi, queries
from app.api.access import Access
from app.api.connections import Connections
from app.api.errors import TITLES, Refused, not_found, unavailable
from app.api.exchanges import Exchanges
from app.api.meter import Meter
from app.api.records import NO_PLACE, Records
from app.api.tokens import Tokens
from app.api.wire import Answer, Request
from app.core import db
from app.core.asgi import Receive, Scope, Send
from app.core.policy import DbRole, Principal, acting_as
from config import Settings

log = logging.getLogger("simpul.api")
REMEMBERED_SECONDS = 1.0
MOST_REMEMBERED = 10_000
FAILURES_PER_MINUTE = 60
ENDING_SECONDS = 2.0
_READER = Principal("sistem: pintu API", DbRole.SYSTEM)


class Door:
    """Answers what is below /api, on one event loop."""

    def __init__(self, settings: Settings, translations: Path) -> None:
        self._proxies = settings.trusted_proxies
        self._connections = Connections(settings.database_url)
        self._exchanges = Exchanges(self._connections)
        tokens = Tokens(settings.secret_key)
        self._meter = Meter(self._connections)
        self._records = Records(self._connections, self._exchanges, self._meter, tokens)
        self._words = Translations.load(str(translations), ["id"])
        self._known: dict[str, tuple[float, Access | None]] = {}
        self._asking: dict[str, asyncio.Task[Access | None]] = {}
        self._failures: dict[str, tuple[int, int]] = {}
        self._at_work = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._at_work += 1
        try:
            request = Request.of(scope, self._proxies)
            answer = await self._answer(request)
            await answer.send(request, receive, send)
        finally:
            self._at_work -= 1

    async def close(self) -> None:
        """End what the process leaves open, once nobody is answered any more.

        A stream that was broken off still writes down how far it came.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(ENDING_SECONDS):
                while self._at_work:  # noqa: ASYNC110 - or each request would pay an event
                    await asyncio.sleep(0.01)
        await self._exchanges.finish()
        self._connections.forget()

    async def _answer(self, request: Request) -> Answer:
        try:
            return await self._route(request)
        except Refused as refusal:
            return self._problem(request, refusal)
        except (psycopg.Error, DBAPIError) as error:
            return self._problem(request, _of_database(request, error))
        except Exception:
            log.exception("request %s failed", request.ident)
            words = (
                "Something went wrong inside Simpul. It has been noted; try again later."
            )
            return self._problem(request, Refused(500, "internal", words))

    async def _route(self, request: Request) -> Answer:
        parts = request.path.removeprefix("/api").strip("/").split("/")
        match parts:
            case ["v1", "openapi.json"]:
                return await self._about(request, openapi.document)
            case ["v1", "datasets"]:
                return await self._about(request, openapi.listing)
            case ["v1", "datasets", slug]:
                return await self._about(
                    request, lambda access: openapi.dictionary(_opened(access, slug))
                )
            case ["v1", "datasets", slug, "records"]:
                access = await self._enter(request)
                return await self._records.answer(request, access, _opened(access, slug))
        raise Refused(
            404, "unknown_address", "There is nothing at this address; /api/v1/openapi.json lists what there is.",
        )  # fmt: skip

    async def _about(self, request: Request, tell: Callable[[Access], Any]) -> Answer:
        """Answer with what a key may know about data; no data, so nothing is logged."""
        access = await self._enter(request)
        limits = await self._meter.take(access)
        request.accepted(("application/json",))
        pairs = asking.pairs_of(request.query)
        if pairs:
            raise Refused(
                400, "unknown_field", "There is no parameter or field %(name)s for this key; the dictionary lists them.",
                name=pairs[0][0][:60],
            )  # fmt: skip
        body = msgspec.json.encode(tell(access))
        return Answer(200, (("Content-Type", "application/json"), *limits), body)

    # --- who is it ------------------------------------------------------------------------

    async def _enter(self, request: Request) -> Access:
        """Return what the request's key opens; raises ``Refused`` (400, 401, 403, 405)."""
        if request.method not in {"GET", "HEAD"}:
            raise Refused(
                405, "method", "This address answers GET only: data are read here, never written.",
                headers=(("Allow", "GET, HEAD"),),
            )  # fmt: skip
        if keys.ANYWHERE.search(request.query):
            asking.pairs_of(request.query)  # refuses it in words
        key = _key_of(request)
        access = await self._recall(key) if keys.prefix_of(key) else None
        if access is None:
            raise self._stranger(request)
        if not keys.comes_from(request.ip, access.networks):
            raise Refused(
                403, "address", "This key may not be used from the address %(host)s.", host=request.ip,
            )  # fmt: skip
        return access

    async def _recall(self, key: str) -> Access | None:
        known = self._known.get(key)
        if known is not None and known[0] > time.monotonic():
            return known[1]
        asking = self._asking.get(key)
        if asking is None:  # one question for all that wait for the same answer
            asking = asyncio.create_task(self._ask_what_opens(key))
            self._asking[key] = asking
            asking.add_done_callback(lambda _: self._asking.pop(key))
        return await asyncio.shield(asking)

    async def _ask_what_opens(self, key: str) -> Access | None:
        asked = time.monotonic()
        access = await asyncio.to_thread(_what_opens, key)
        if len(self._known) >= MOST_REMEMBERED:
            self._known.clear()
        # From before the question: what was true then is believed for one second.
        self._known[key] = (asked + REMEMBERED_SECONDS, access)
        return access

    def _stranger(self, request: Request) -> Refused:
        """Refuse a request without a good key; many from one address must wait."""
        minute = int(time.time() // 60)
        if len(self._failures) >= MOST_REMEMBERED:
            self._failures.clear()
        then, count = self._failures.get(request.ip, (minute, 0))
        count = count + 1 if then == minute else 1
        self._failures[request.ip] = (minute, count)
        if count > FAILURES_PER_MINUTE:
            return Refused(
                429, "too_many_failures", "Too many requests without a good key from this address. Wait a minute.",
                retry_after_seconds=60,
            )  # fmt: skip
        return Refused(
            401,
            "no_key",
            "Send a working key in the header Authorization: Bearer … or X-API-Key. This one"
            " is missing, unknown, expired, revoked, or its client is shut off.",
            headers=(("WWW-Authenticate", 'Bearer realm="Simpul"'),),
        )

    # --- what went wrong ------------------------------------------------------------------

    def _problem(self, request: Request, refusal: Refused) -> Answer:
        title = TITLES.get(refusal.status, TITLES[400])
        body = {
            "type": f"urn:simpul:problem:{refusal.code}",
            "status": refusal.status,
            "code": refusal.code,
            "title": self._words.gettext(title),
            "title_en": title,
            "detail": self._say(refusal),
            "detail_en": str(refusal),
            "request_id": request.ident,
        }
        headers = (("Content-Type", "application/problem+json"), *refusal.headers)
        return Answer(refusal.status, headers, msgspec.json.encode(body))

    def _say(self, refusal: Refused) -> str:
        params = dict(refusal.params)
        if "wanted" in params:
            params["wanted"] = self._words.gettext(str(params["wanted"]))
        text: str = self._words.gettext(refusal.message)
        return text % params if params else text


def _what_opens(key: str) -> Access | None:
    """Ask the database what a good key opens, and note that it was used."""
    with acting_as(_READER), db.unit_of_work(durable=False) as session:
        access = queries.access_by_prefix(session, keys.prefix_of(key))
        if access is None or not keys.is_same(access.key_hash, keys.hash_of(key)):
            return None
        queries.note_use(session, access)
        return access


def _key_of(request: Request) -> str:
    scheme, _, bearer = request.header("authorization").partition(" ")
    if scheme.lower() == "bearer":
        return bearer.strip()
    return request.header("x-api-key").strip()


def _opened(access: Access, slug: str) -> Any:
    opened = access.opened.get(slug)
    if opened is None:
        raise not_found()
    return opened


def _of_database(request: Request, error: Exception) -> Refused:
    """Say in words what the database refused; no log, no exchange: most of it is a 503."""
    cause = error.orig if isinstance(error, DBAPIError) else error
    if getattr(cause, "sqlstate", None) == NO_PLACE:
        return Refused(
            429, "concurrency", "This client has as many requests at work as it may have. Wait for one to end.",
            retry_after_seconds=1,
        )  # fmt: skip
    if isinstance(cause, psycopg.errors.QueryCanceled):
        return Refused(
            422, "too_slow", "The query takes too long: use fewer filters, sort by the key, or leave the exact count out.",
        )  # fmt: skip
    if isinstance(cause, psycopg.DataError):
        return Refused(
            400, "unstorable", "A value in the query is beyond what the database knows."
        )
    log.error("request %s: database: %s", request.ident, type(cause).__name__)
    return unavailable()
