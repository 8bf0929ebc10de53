"""The door of /api: one WSGI application in front of the pages, with a key or not at all.

It knows no session, form or template. Whatever has no route here is a 404 problem; each
route but those asks for a key first. What a key opens is remembered for at most a second.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any
from uuid import uuid4

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
from app.core.policy import DbRole, Principal, acting_as
from config import Settings

log = logging.getLogger("simpul.api")
REMEMBERED_SECONDS = 1.0
MOST_REMEMBERED = 10_000
FAILURES_PER_MINUTE = 60
_READER = Principal("sistem: pintu API", DbRole.SYSTEM)
Wsgi = Callable[[dict[str, Any], Any], Iterable[bytes]]


class Door:
    """Answers what is below /api and passes the rest on."""

    def __init__(self, beyond: Wsgi, settings: Settings, translations: Path) -> None:
        self._beyond = beyond
        connections = Connections(settings.database_url, DbRole.API)
        exchanges = Exchanges(connections)
        tokens = Tokens(settings.secret_key)
        self._meter = Meter(connections)
        self._records = Records(connections, exchanges, self._meter, tokens)
        self._words = Translations.load(str(translations), ["id"])
        self._known: dict[str, tuple[float, Access | None]] = {}
        self._recalling = [threading.Lock() for _ in range(64)]
        self._failures: dict[str, tuple[int, int]] = {}
        self._lock = threading.Lock()

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        path = environ.get("PATH_INFO", "")
        if path != "/api" and not path.startswith("/api/"):
            return self._beyond(environ, start_response)
        request = Request(
            method=environ["REQUEST_METHOD"],
            path=path,
            query=environ.get("QUERY_STRING", ""),
            ip=environ.get("REMOTE_ADDR", ""),
            ident=uuid4().hex,
            environ=environ,
        )
        return self._answer(request).send(request, start_response)

    def _answer(self, request: Request) -> Answer:
        try:
            return self._route(request)
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

    def _route(self, request: Request) -> Answer:
        parts = request.path.removeprefix("/api").strip("/").split("/")
        match parts:
            case ["v1", "openapi.json"]:
                return self._about(request, openapi.document)
            case ["v1", "datasets"]:
                return self._about(request, openapi.listing)
            case ["v1", "datasets", slug]:
                return self._about(
                    request, lambda access: openapi.dictionary(_opened(access, slug))
                )
            case ["v1", "datasets", slug, "records"]:
                access = self._enter(request)
                return self._records.answer(request, access, _opened(access, slug))
        raise Refused(
            404, "unknown_address", "There is nothing at this address; /api/v1/openapi.json lists what there is.",
        )  # fmt: skip

    def _about(self, request: Request, tell: Callable[[Access], Any]) -> Answer:
        """Answer with what a key may know about data; no data, so nothing is logged."""
        access = self._enter(request)
        limits = self._meter.take(access)
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

    def _enter(self, request: Request) -> Access:
        """Return what the request's key opens; raises ``Refused`` (400, 401, 403, 405)."""
        if request.method not in {"GET", "HEAD"}:
            raise Refused(
                405, "method", "This address answers GET only: data are read here, never written.",
                headers=(("Allow", "GET, HEAD"),),
            )  # fmt: skip
        if keys.ANYWHERE.search(request.query):
            asking.pairs_of(request.query)  # refuses it in words
        key = _key_of(request)
        access = self._recall(key) if keys.prefix_of(key) else None
        if access is None or not keys.is_same(access.key_hash, keys.hash_of(key)):
            raise self._stranger(request)
        if not keys.comes_from(request.ip, access.networks):
            raise Refused(
                403, "address", "This key may not be used from the address %(host)s.", host=request.ip,
            )  # fmt: skip
        return access

    def _recall(self, key: str) -> Access | None:
        known = self._known.get(key)
        if known is not None and known[0] > time.monotonic():
            return known[1]
        with self._recalling[hash(key) % len(self._recalling)]:
            known = self._known.get(key)  # another request may have asked meanwhile
            if known is not None and known[0] > time.monotonic():
                return known[1]
            return self._ask_what_opens(key)

    def _ask_what_opens(self, key: str) -> Access | None:
        asked = time.monotonic()
        with acting_as(_READER), db.unit_of_work(durable=False) as session:
            access = queries.access_by_prefix(session, keys.prefix_of(key))
            if access and keys.is_same(access.key_hash, keys.hash_of(key)):
                queries.note_use(session, access)
        if len(self._known) >= MOST_REMEMBERED:
            self._known.clear()
        # From before the question: what was true then is believed for one second.
        self._known[key] = (asked + REMEMBERED_SECONDS, access)
        return access

    def _stranger(self, request: Request) -> Refused:
        """Refuse a request without a good key; many from one address must wait."""
        minute = int(time.time() // 60)
        with self._lock:
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


def _key_of(request: Request) -> str:
    scheme, _, bearer = request.header("Authorization").partition(" ")
    if scheme.lower() == "bearer":
        return bearer.strip()
    return request.header("X-API-Key").strip()


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
