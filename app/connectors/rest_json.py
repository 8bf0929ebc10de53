"""Services that answer GET requests with JSON, in one piece or in numbered pages."""

import base64
import time
from collections.abc import Iterator, Mapping
from typing import ClassVar, Literal
from urllib.parse import urlencode

import msgspec

from app.connectors import errors
from app.connectors.addresses import ApprovedHosts
from app.connectors.base import Page, Param, Position, digests_of
from app.connectors.envelope import Envelope
from app.connectors.guard import (
    Budgets,
    GuardedClient,
    header_fields,
    tls_context,
)
from app.connectors.transport import Resolver, resolve

MAX_PAGE_SIZE = 1_000_000


class RestJsonSettings(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True
):
    """How one service is read. Checked when made; secrets are given to the connector apart.

    Paths into the answer are dotted (``data.items``); an empty ``rows_path`` means that the
    answer is the list itself. ``success_value`` is compared as text: ``true``, ``200``.
    """

    base_url: str
    headers: dict[str, str] = msgspec.field(default_factory=dict)
    query: dict[str, str] = msgspec.field(default_factory=dict)
    auth: Literal["none", "header", "bearer", "basic", "query"] = "none"
    auth_name: str = "X-API-Key"  # header or query parameter; the user name for basic
    paging: Literal["none", "page", "offset"] = "none"
    page_param: str = "page"
    size_param: str = "per_page"
    first_page: int = 1
    offset_param: str = "offset"
    limit_param: str = "limit"
    page_size: int = 1_000
    until_empty: bool = False  # go on after a short page: for services that cap silently
    rows_path: str = ""
    total_path: str = ""
    success_path: str = ""
    success_value: str = ""
    connect_seconds: float = 5.0
    read_seconds: float = 30.0
    page_seconds: float = 60.0
    page_bytes: int = 64 * 1024 * 1024
    max_pages: int = 10_000
    rate_per_second: float = 0.0  # 0: as fast as they answer
    extra_ca_pem: str = ""

    def __post_init__(self) -> None:
        numbers = (
            (1 <= self.page_size <= MAX_PAGE_SIZE, "page_size"),
            (0 <= self.first_page <= 1_000_000, "first_page"),
            (0 < self.connect_seconds <= 60, "connect_seconds"),
            (0 < self.read_seconds <= 600, "read_seconds"),
            (0 < self.page_seconds <= 3_600, "page_seconds"),
            (1 <= self.page_bytes <= 1 << 30, "page_bytes"),
            (1 <= self.max_pages <= 1_000_000, "max_pages"),
            (0 <= self.rate_per_second <= 1_000, "rate_per_second"),
        )
        for fine, name in numbers:
            if not fine:
                raise errors.SourceSettingsError("%(name)s is out of bounds", name=name)
        if bool(self.success_path) != bool(self.success_value):
            raise errors.SourceSettingsError("A success rule needs a path and a value")

    def budgets(self) -> Budgets:
        return Budgets(
            self.connect_seconds, self.read_seconds, self.page_seconds, self.page_bytes
        )

    def envelope(self) -> Envelope:
        return Envelope(
            self.rows_path,
            total_path=self.total_path,
            success_path=self.success_path,
            success_value=self.success_value,
        )

    def paging_query(self, position: Position) -> dict[str, str]:
        """The part of the query that names the page at ``position``."""
        if self.paging == "page":
            page = str(self.first_page + position.page)
            return {self.page_param: page, self.size_param: str(self.page_size)}
        if self.paging == "offset":
            # By rows received, not pages asked: a service that caps its pages loses nothing.
            return {
                self.offset_param: str(position.rows),
                self.limit_param: str(self.page_size),
            }
        return {}


class RestJsonConnector:
    """Reads a REST service page by page."""

    kind: ClassVar[str] = "rest_json"
    label: ClassVar[str] = "JSON web service (REST)"
    params: ClassVar[tuple[Param, ...]] = (
        Param("base_url", "Address of the service", required=True),
        Param("headers", "Fixed headers"),
        Param("query", "Fixed query parameters"),
        Param(
            "auth",
            "Authentication",
            choices=("none", "header", "bearer", "basic", "query"),
        ),
        Param("auth_name", "Name of the key's header, query parameter, or the user name"),
        Param("auth_secret", "Key or password", secret=True),
        Param("paging", "Paging", choices=("none", "page", "offset")),
        Param("page_param", "Parameter of the page number"),
        Param("size_param", "Parameter of the page size"),
        Param("first_page", "Number of the first page"),
        Param("offset_param", "Parameter of the offset"),
        Param("limit_param", "Parameter of the limit"),
        Param("page_size", "Records per page"),
        Param("until_empty", "Read on until an empty page"),
        Param("rows_path", "Where the records are in the answer", hint="data.items"),
        Param("total_path", "Where the total is in the answer", hint="data.total"),
        Param("success_path", "Where the answer says that it succeeded", hint="status"),
        Param("success_value", "What it says then", hint="success"),
        Param("connect_seconds", "Seconds to wait for a connection"),
        Param("read_seconds", "Seconds to wait for data"),
        Param("page_seconds", "Seconds for one whole page"),
        Param("page_bytes", "Largest page in bytes"),
        Param("max_pages", "Largest number of pages"),
        Param("rate_per_second", "Requests per second at most (0: no limit)"),
        Param("extra_ca_pem", "Certificate of a private authority (PEM)"),
    )

    def __init__(
        self,
        settings: RestJsonSettings,
        *,
        approved: ApprovedHosts,
        auth_secret: str = "",
        resolver: Resolver = resolve,
        digest_salt: bytes = b"",
    ) -> None:
        """Check everything that needs no network; raise settings errors or not_approved."""
        self._settings = settings
        self._approved = approved
        self._resolver = resolver
        self._digest_salt = digest_salt
        self._host = approved.target(settings.base_url).host
        self._envelope = settings.envelope()
        try:
            self._headers, secret_query = _credentials(settings, auth_secret)
            self._query = {**settings.query, **secret_query}
            approved.target(self._url(Position()))
        except UnicodeEncodeError as error:
            raise errors.SourceSettingsError("The settings hold broken text") from error
        header_fields(self._headers)
        if settings.extra_ca_pem:
            tls_context(settings.extra_ca_pem)

    def pages(
        self, start: Mapping[str, object] | None = None
    ) -> Iterator[tuple[Page, dict[str, object]]]:
        """See ``Connector.pages``. Each call has its own connection."""
        position = Position.read(start, self._host)
        self._check_position(position)
        pace = _Pace(self._settings.rate_per_second)
        with self._client() as client:
            while not position.done:
                got = self._step(client, pace, position)
                if got is None:
                    return
                position = got[1]
                yield got[0], position.stored()
                del got  # a page is large, and the next is on its way

    def _client(self) -> GuardedClient:
        return GuardedClient(
            self._approved,
            budgets=self._settings.budgets(),
            resolver=self._resolver,
            extra_ca_pem=self._settings.extra_ca_pem,
        )

    def _check_position(self, position: Position) -> None:
        other_size = position.page > 0 and position.page_size != self._settings.page_size
        if other_size or min(position.page, position.rows) < 0:
            raise errors.position_mismatch(self._host)

    def _step(
        self, client: GuardedClient, pace: "_Pace", position: Position
    ) -> tuple[Page, Position] | None:
        """Fetch the page at ``position``; None when it is empty and all was read before."""
        if position.page >= self._settings.max_pages:
            raise errors.too_many_pages(self._host, self._settings.max_pages)
        pace.wait()
        answer = client.get(self._url(position), self._headers)
        opened = self._envelope.open(
            answer.body,
            host=self._host,
            content_type=answer.headers.get("content-type", ""),
        )
        if not opened.records:
            self._check_end(position, opened.total)
            return None
        page = Page(
            index=position.page,
            rows_json=opened.rows_json(),
            row_count=len(opened.records),
            declared_total=opened.total,
            digests=digests_of(opened.records, self._digest_salt),
        )
        if page.fingerprint == position.fingerprint:
            raise errors.repeated_page(self._host, position.page + 1)
        return page, self._next(position, page)

    def _check_end(self, position: Position, total: int | None) -> None:
        if not position.rows:
            raise errors.empty_answer(self._host)
        self._check_total(position.rows, total if total is not None else position.total)

    def _next(self, position: Position, page: Page) -> Position:
        rows = position.rows + page.row_count
        done = self._is_last(page, rows)
        if done:
            self._check_total(rows, page.declared_total)
        return Position(
            page=position.page + 1,
            rows=rows,
            fingerprint=page.fingerprint,
            total=page.declared_total,
            page_size=self._settings.page_size,
            done=done,
        )

    def _is_last(self, page: Page, rows: int) -> bool:
        if self._settings.paging == "none":
            return True
        if page.declared_total is not None:
            return rows >= page.declared_total
        return (
            page.row_count < self._settings.page_size and not self._settings.until_empty
        )

    def _check_total(self, rows: int, total: int | None) -> None:
        if total is not None and rows < total:
            raise errors.short_total(self._host, rows, total)

    def _url(self, position: Position) -> str:
        query = urlencode({**self._query, **self._settings.paging_query(position)})
        url = self._settings.base_url
        return f"{url}{'&' if '?' in url else '?'}{query}" if query else url


def _credentials(
    settings: RestJsonSettings, secret: str
) -> tuple[dict[str, str], dict[str, str]]:
    """All headers and the secret part of the query. Errors name the setting, no value."""
    headers = dict(settings.headers)
    if settings.auth == "none":
        return headers, {}
    if not secret:
        raise errors.SourceSettingsError("The key of the service is missing")
    if settings.auth == "query":
        return headers, {settings.auth_name: secret}
    if settings.auth == "bearer":
        headers["Authorization"] = f"Bearer {secret}"
    elif settings.auth == "basic":
        pair = f"{settings.auth_name}:{secret}".encode()
        headers["Authorization"] = "Basic " + base64.b64encode(pair).decode("ascii")
    else:
        headers[settings.auth_name] = secret
    return headers, {}


class _Pace:
    """At most so many requests per second, evenly spaced."""

    def __init__(self, per_second: float) -> None:
        self._gap = 1 / per_second if per_second else 0.0
        self._next_at = 0.0

    def wait(self) -> None:
        time.sleep(max(self._next_at - time.monotonic(), 0.0))
        self._next_at = time.monotonic() + self._gap
