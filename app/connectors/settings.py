"""How one JSON web service is read: every setting, checked when it is made."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import msgspec

from app.connectors import errors
from app.connectors.envelope import Envelope
from app.connectors.guard import Budgets
from app.core.words import message_id

MAX_PAGE_SIZE = 1_000_000
Way = Literal[
    "none",
    "header",
    "bearer",
    "basic",
    "query",
    "path",
    "cookie",
    "body",
    "oauth2",
    "login",
]
# Ways that first ask another address for a token.
TOKEN_WAYS = frozenset({"oauth2", "login"})


@dataclass(frozen=True, slots=True)
class SignRule:
    """One way of signing in. ``key`` is what its secret is called among the secrets."""

    way: str
    key: str
    name: str  # header, parameter, cookie or field
    prefix: str
    user: str
    token_url: str
    fields: dict[str, str]
    as_json: bool
    token_path: str
    scope: str


class RestJsonSettings(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True
):
    """How one service is read. Checked when made; secrets are given to the connector apart.

    Paths into the answer are dotted (``data.items``); an empty ``rows_path`` means that the
    answer is the list itself. ``success_value`` is compared as text: ``true``, ``200``.
    ``also*`` is a second way of signing in, used together with the first. ``{key}``,
    ``{page}``, ``{size}`` and ``{offset}`` in ``base_url`` are filled in for each request.
    """

    base_url: str
    method: Literal["GET", "POST"] = "GET"
    body_kind: Literal["json", "form"] = "json"
    body: dict[str, Any] = msgspec.field(default_factory=dict)
    headers: dict[str, str] = msgspec.field(default_factory=dict)
    query: dict[str, str] = msgspec.field(default_factory=dict)
    auth: Way = "none"
    auth_name: str = "X-API-Key"  # the user name for basic
    auth_prefix: str = ""
    auth_user: str = ""  # client id of oauth2, user of a log-in
    auth_url: str = ""
    auth_fields: dict[str, str] = msgspec.field(default_factory=dict)
    auth_fields_kind: Literal["json", "form"] = "json"
    auth_token_path: str = "access_token"  # noqa: S105 - a path
    auth_scope: str = ""
    also: Way = "none"
    also_name: str = "Apikey"
    also_prefix: str = ""
    also_user: str = ""
    also_url: str = ""
    also_fields: dict[str, str] = msgspec.field(default_factory=dict)
    also_fields_kind: Literal["json", "form"] = "json"
    also_token_path: str = "access_token"  # noqa: S105 - a path
    also_scope: str = ""
    paging: Literal["none", "page", "offset", "cursor", "next_url", "link"] = "none"
    paging_in: Literal["query", "path", "body"] = "query"
    page_param: str = "page"
    size_param: str = "per_page"
    first_page: int = 1
    offset_param: str = "offset"
    limit_param: str = "limit"
    cursor_param: str = "cursor"
    cursor_path: str = ""
    cursor_header: str = ""
    next_path: str = ""
    page_size: int = 1_000
    until_empty: bool = False  # go on after a short page: for services that cap silently
    inner_path: str = (
        ""  # where a JSON text lies that holds the answer proper; $: everywhere
    )
    rows_path: str = ""
    total_path: str = ""
    success_path: str = ""
    success_value: str = ""
    failure_path: str = ""
    failure_text: str = ""
    blank_is_empty: bool = False  # "" or null where the records should be: no records
    since_param: str = ""
    since_field: str = ""
    since_format: Literal["date", "datetime", "number", "year"] = "date"
    since_start: str = ""
    since_overlap: int = 1  # days, or the unit of a number
    until_param: str = ""
    window: int = 0  # days, years or numbers a request; 0: all at once
    connect_seconds: float = 5.0
    read_seconds: float = 30.0
    page_seconds: float = 60.0
    page_bytes: int = 64 * 1024 * 1024
    max_pages: int = 10_000
    rate_per_second: float = 0.0  # 0: as fast as they answer
    extra_ca_pem: str = ""
    pin_sha256: str = ""
    proxy: str = ""
    user_agent: str = ""

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
            (0 <= self.since_overlap <= 100_000, "since_overlap"),
            (0 <= self.window <= 1_000_000, "window"),
        )
        for fine, name in numbers:
            if not fine:
                raise errors.SourceSettingsError("%(name)s is out of bounds", name=name)
        for rule in self._broken_rules():
            raise errors.SourceSettingsError(rule)

    def _broken_rules(self) -> Iterator[str]:
        """Say which settings do not go together, as message ids."""
        if bool(self.success_path) != bool(self.success_value):
            yield message_id("A success rule needs a path and a value")
        if bool(self.failure_path) != bool(self.failure_text):
            yield message_id("A failure rule needs a path and a text")
        if "body" in (self.auth, self.also, self.paging_in) and self.method != "POST":
            yield message_id("A field of the body needs the method POST")
        if self.since_format == "number" and (self.window or self.until_param):
            yield message_id(
                "Numbers have no last one that is known: only dates and years have windows"
            )
        yield from self._broken_paging()

    def _broken_paging(self) -> Iterator[str]:
        if self.paging == "cursor" and not (self.cursor_path or self.cursor_header):
            yield message_id(
                "Paging by cursor needs the place of the cursor in the answer"
            )
        if self.paging == "next_url" and not self.next_path:
            yield message_id("Paging by next address needs its place in the answer")
        if self.paging_in == "path" and not self._has_place():
            yield message_id("Paging in the address needs {page} or {offset} in it")

    def _has_place(self) -> bool:
        place = {"page": "{page}", "offset": "{offset}"}.get(self.paging, "")
        return place in self.base_url

    def sign_rules(self) -> tuple[SignRule, ...]:
        """The ways of signing in that are used, first and second."""
        ways = [(self.auth, "auth"), (self.also, "also")]
        return tuple(self._rule(way, prefix) for way, prefix in ways if way != "none")

    def _rule(self, way: str, prefix: str) -> SignRule:
        def of(name: str) -> Any:
            return getattr(self, f"{prefix}_{name}")

        return SignRule(
            way=way,
            key=f"{prefix}_secret",
            name=of("name"),
            prefix=of("prefix"),
            user=of("user"),
            token_url=of("url"),
            fields=of("fields"),
            as_json=of("fields_kind") == "json",
            token_path=of("token_path"),
            scope=of("scope"),
        )

    def asked(self) -> tuple[str, ...]:
        """Every address that is asked: the service's, and those that give tokens."""
        tokens = [rule.token_url for rule in self.sign_rules() if rule.way in TOKEN_WAYS]
        return (self.base_url, *tokens)

    def addresses(self) -> tuple[str, ...]:
        """Every address that connections may go to: those asked, and the proxy."""
        return (*self.asked(), *filter(None, [self.proxy]))

    def budgets(self) -> Budgets:
        return Budgets(
            self.connect_seconds, self.read_seconds, self.page_seconds, self.page_bytes
        )

    def envelope(self) -> Envelope:
        more = {"cursor": self.cursor_path, "next_url": self.next_path}
        return Envelope(
            self.rows_path,
            total_path=self.total_path,
            success_path=self.success_path,
            success_value=self.success_value,
            failure=(self.failure_path, self.failure_text),
            next_path=more.get(self.paging, ""),
            inner_path=self.inner_path,
            blank_is_empty=self.blank_is_empty,
        )
