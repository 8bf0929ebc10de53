"""Services that answer with JSON: asked page by page, in every way that is common."""

import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, date, datetime
from typing import ClassVar
from urllib.parse import quote

from app.connectors import errors
from app.connectors.addresses import ApprovedHosts
from app.connectors.asking import Asking
from app.connectors.base import Page, Param, Position, digests_of
from app.connectors.envelope import Opened
from app.connectors.guard import (
    Answer,
    Exchange,
    GuardedClient,
    Way,
    header_fields,
    read_pin,
    tls_context,
)
from app.connectors.incremental import HighWater, until_now, windows_of
from app.connectors.paging import LEADS_ON, ask_for, next_cursor, without
from app.connectors.settings import RestJsonSettings
from app.connectors.settings_words import PARAMS
from app.connectors.signing import Signer
from app.connectors.transport import Resolver, resolve

__all__ = ["RestJsonConnector", "RestJsonSettings"]


class RestJsonConnector:
    """Reads a REST service page by page."""

    kind: ClassVar[str] = "rest_json"
    label: ClassVar[str] = "JSON web service (REST)"
    params: ClassVar[tuple[Param, ...]] = PARAMS

    def __init__(
        self,
        settings: RestJsonSettings,
        *,
        approved: ApprovedHosts,
        secrets: Mapping[str, str] | None = None,
        resolver: Resolver = resolve,
        digest_salt: bytes = b"",
        since: str = "",
        watch: Callable[[Exchange], None] | None = None,
        before: Callable[[str], None] | None = None,
    ) -> None:
        """Check everything that needs no network; raise settings errors or not_approved.

        ``since`` is the mark of the last publish, for services that are asked what changed.
        """
        self._settings = settings
        self._approved = approved
        self._resolver = resolver
        self._digest_salt = digest_salt
        self._since = since
        self._watch = watch
        self._before = before
        self._envelope = settings.envelope()
        self._high_water = HighWater(settings)
        self._secrets = dict(secrets or {})
        self._key_names = frozenset(
            rule.name for rule in settings.sign_rules() if rule.way == "query"
        )
        self._check()

    def _check(self) -> None:
        settings = self._settings
        try:
            signer = self._signer = Signer(settings.sign_rules(), self._secrets)
            asking = self._asking(Position(until=until_now(settings, _today())))
            signer.sign(asking)
            self._host = self._approved.target(asking.address()).host
            asking.content()
        except UnicodeEncodeError as error:
            raise errors.SourceSettingsError("The settings hold broken text") from error
        for address in settings.addresses()[1:]:
            self._approved.target(address)
        header_fields(asking.headers)
        header_fields({"User-Agent": settings.user_agent or "-"})
        read_pin(settings.pin_sha256)
        if settings.extra_ca_pem:
            tls_context(settings.extra_ca_pem)

    def pages(
        self, start: Mapping[str, object] | None = None
    ) -> Iterator[tuple[Page, dict[str, object]]]:
        """See ``Connector.pages``. Each call has its own connection and its own tokens."""
        position = Position.read(start, self._host)
        self._check_position(position)
        if not position.until:
            position = position.with_(until=until_now(self._settings, _today()))
        pace = _Pace(self._settings.rate_per_second)
        signer = Signer(self._settings.sign_rules(), self._secrets)
        with self._client() as client:
            while not position.done:
                page, position = self._step(client, pace, signer, position)
                if page is not None:
                    yield page, position.stored()
                del page  # it is large, and the next is on its way

    def first_answer(self) -> Answer:
        """Ask for the first page and return the answer as it came; for a preview."""
        self._signer = Signer(self._settings.sign_rules(), self._secrets)
        position = Position(until=until_now(self._settings, _today()))
        with self._client() as client:
            return self._ask(client, self._signer, position)[0]

    def hidden(self, text: str) -> str:
        """``text`` without the keys and the token of ``first_answer``."""
        return self._signer.hidden(text)

    def _client(self) -> GuardedClient:
        settings = self._settings
        return GuardedClient(
            self._approved,
            budgets=settings.budgets(),
            resolver=self._resolver,
            way=Way(
                settings.extra_ca_pem,
                settings.pin_sha256,
                settings.proxy,
                settings.user_agent,
            ),
            watch=self._watch,
            before=self._before,
        )

    def _check_position(self, position: Position) -> None:
        other_size = position.page > 0 and position.page_size != self._settings.page_size
        if other_size or min(position.page, position.rows) < 0:
            raise errors.position_mismatch(self._host)

    def _step(
        self, client: GuardedClient, pace: "_Pace", signer: Signer, position: Position
    ) -> tuple[Page | None, Position]:
        """Fetch the page at ``position``; no page when it is empty and ends its window."""
        if position.page + position.empty >= self._settings.max_pages:
            raise errors.too_many_pages(self._host, self._settings.max_pages)
        pace.wait()
        answer, asked = self._ask(client, signer, position)
        opened = self._envelope.open(
            answer.body,
            host=self._host,
            content_type=answer.headers.get("content-type", ""),
        )
        cursor = self._cursor_after(opened, answer, asked, position)
        if not opened.records and not cursor:
            self._check_end(position, opened.total)
            return None, self._window_over(position)
        if not opened.records:  # a page that was filtered empty, with more behind it
            return None, self._passed(position, cursor)
        page = Page(
            index=position.page,
            rows_json=opened.rows_json(),
            row_count=len(opened.records),
            declared_total=opened.total,
            digests=digests_of(opened.records, self._digest_salt),
        )
        self._refuse_circle(position, page)
        high = self._high_water.of(opened.records, position.high, position.until)
        return page, self._next(position.with_(high=high, cursor=cursor), page)

    def _ask(
        self, client: GuardedClient, signer: Signer, position: Position
    ) -> tuple[Answer, str]:
        """Send the request; once more with fresh tokens or the next keys after a 401."""
        while True:
            signer.prepare(client)
            asking = self._asking(position)
            signer.sign(asking)
            address = asking.address()
            content, kind = asking.content()
            if kind:
                asking.headers["Content-Type"] = kind
            try:
                answer = client.send(
                    asking.method, address, asking.headers, content, cookie=asking.cookie
                )
            except errors.SourceRefusedError as error:
                if error.code != "http_401" or not signer.renew():
                    raise
                continue
            signer.accepted()
            return answer, self._storable(signer, address)

    def _asking(self, position: Position) -> Asking:
        settings = self._settings
        asking = Asking(
            settings.base_url,
            settings.method,
            settings.body_kind,
            query=dict(settings.query),
            headers=dict(settings.headers),
            body=dict(settings.body),
        )
        if settings.since_param:
            self._put_window(asking, position)
        ask_for(settings, position, asking)
        return asking

    def _put_window(self, asking: Asking, position: Position) -> None:
        settings = self._settings
        windows = windows_of(settings, self._since, position.until)
        start, end = windows[min(position.window, len(windows) - 1)]
        for name, value in ((settings.since_param, start), (settings.until_param, end)):
            if name and value:
                asking.query[name] = value

    def _storable(self, signer: Signer, address: str) -> str:
        """An address that was asked, without its keys."""
        return (
            signer.hidden(without(address, self._key_names))
            if self._key_names
            else (signer.hidden(address))
        )

    def _cursor_after(
        self, opened: Opened, answer: Answer, asked: str, position: Position
    ) -> str:
        if self._settings.paging not in LEADS_ON:
            return ""
        cursor = next_cursor(self._settings, opened.next, answer.headers, asked)
        if self._key_names and "://" in cursor:
            cursor = without(cursor, self._key_names)
        for key in filter(None, self._secrets.values()):
            cursor = cursor.replace(quote(key, safe=""), "{key}")
        if cursor and cursor == position.cursor:
            raise errors.page_loop(self._host, position.page + 1)
        return cursor

    def _refuse_circle(self, position: Position, page: Page) -> None:
        """Refuse a page that came before: the one before it, or by Brent's method any.

        One former page is remembered, and replaced at every power of two: a circle of any
        length is met within three times its length, with one fingerprint to keep.
        """
        if page.fingerprint == position.fingerprint:
            raise errors.repeated_page(self._host, position.page + 1)
        if page.fingerprint == position.mark:
            raise errors.page_loop(self._host, position.page + 1)

    def _check_end(self, position: Position, total: int | None) -> None:
        if not position.rows and not self._settings.since_param:
            raise errors.empty_answer(self._host)
        rows = position.rows - position.base_rows
        self._check_total(rows, total if total is not None else position.total)

    def _passed(self, position: Position, cursor: str) -> Position:
        return position.with_(empty=position.empty + 1, cursor=cursor)

    def _next(self, position: Position, page: Page) -> Position:
        rows = position.rows + page.row_count
        window_rows = rows - position.base_rows
        last = self._is_last(page, window_rows, position.cursor)
        if last:
            self._check_total(window_rows, page.declared_total)
        number = position.page - position.base_page + 1
        is_mark = number & (number - 1) == 0
        after = position.with_(
            page=position.page + 1,
            rows=rows,
            fingerprint=page.fingerprint,
            total=page.declared_total,
            page_size=self._settings.page_size,
            mark=page.fingerprint if is_mark else position.mark,
        )
        return self._window_over(after) if last else after

    def _window_over(self, position: Position) -> Position:
        """Go to the next window, or to the end after the last one."""
        windows = windows_of(self._settings, self._since, position.until)
        if position.window + 1 >= len(windows):
            return position.with_(done=True)
        return position.with_(
            window=position.window + 1,
            base_page=position.page,
            base_rows=position.rows,
            fingerprint="",
            mark="",
            cursor="",
            total=None,
        )

    def _is_last(self, page: Page, rows: int, cursor: str) -> bool:
        if self._settings.paging == "none":
            return True
        if self._settings.paging in LEADS_ON:
            return not cursor
        total = page.declared_total
        if total is not None:
            # One that is smaller than what came counts something else, or fell since: it
            # says nothing of the end, and only an empty page does.
            return rows == total
        return (
            page.row_count < self._settings.page_size and not self._settings.until_empty
        )

    def _check_total(self, rows: int, total: int | None) -> None:
        if total is not None and rows < total:
            raise errors.short_total(self._host, rows, total)


def _today() -> date:
    return datetime.now(UTC).date()


class _Pace:
    """At most so many requests per second, evenly spaced."""

    def __init__(self, per_second: float) -> None:
        self._gap = 1 / per_second if per_second else 0.0
        self._next_at = 0.0

    def wait(self) -> None:
        time.sleep(max(self._next_at - time.monotonic(), 0.0))
        self._next_at = time.monotonic() + self._gap
