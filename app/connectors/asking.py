"""One request as it is put together: address, query, headers and body, before it is sent."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, unquote_plus, urlencode

import msgspec

from app.connectors import errors


@dataclass(slots=True)
class Asking:
    """A request in the making. Signing and paging add their parts; ``sent`` closes it."""

    url: str
    method: str = "GET"
    body_kind: str = "json"
    query: dict[str, str] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    places: dict[str, str] = field(default_factory=dict)  # {name} in the address
    body: dict[str, Any] = field(default_factory=dict)
    cookie: str = ""

    def address(self) -> str:
        url = self.url
        for name, value in self.places.items():
            url = url.replace("{" + name + "}", quote(value, safe=""))
        base, _, own = url.partition("?")
        # What pages and windows set replaces what was pasted with the address.
        kept = [each for each in own.split("&") if each and _name(each) not in self.query]
        query = "&".join([*kept, *filter(None, [urlencode(self.query)])])
        return f"{base}?{query}" if query else url

    def content(self) -> tuple[bytes, str]:
        """The body and its media type; both empty for a GET."""
        if self.method != "POST":
            return b"", ""
        if self.body_kind == "form":
            flat = {name: _as_text(value) for name, value in self.body.items()}
            return urlencode(flat).encode("ascii"), "application/x-www-form-urlencoded"
        return msgspec.json.encode(self.body), "application/json"


def _name(part: str) -> str:
    """The name of one name=value of a query."""
    return unquote_plus(part.partition("=")[0])


def put(body: dict[str, Any], path: str, value: object) -> dict[str, Any]:
    """``body`` with ``value`` at the dotted ``path``; what is on the way is copied."""
    name, _, rest = path.partition(".")
    if not rest:
        return {**body, name: value}
    inner = body.get(name, {})
    if not isinstance(inner, Mapping):
        raise errors.SourceSettingsError("%(path)s is no place in the body", path=path)
    return {**body, name: put(dict(inner), rest, value)}


def _as_text(value: object) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()
