"""Which page comes next: what to ask for it, and where a service leads on by itself."""

import re
from collections.abc import Mapping
from urllib.parse import parse_qsl, urlencode, urljoin, urlsplit, urlunsplit

from app.connectors import errors
from app.connectors.addresses import parse_url
from app.connectors.asking import Asking, put
from app.connectors.base import Position
from app.connectors.errors import SourceRefusedError
from app.connectors.settings import RestJsonSettings

_LINK = re.compile(r"<([^<>]*)>((?:\s*;\s*[^,;\"=]+(?:=(?:\"[^\"]*\"|[^,;]*))?)*)")
_REL_NEXT = re.compile(r"rel\s*=\s*\"?([^\";]*)", re.IGNORECASE)
_MAX_CURSOR = 4_000
LEADS_ON = frozenset({"cursor", "next_url", "link"})
"""Kinds of paging in which the answer says what comes next."""


def ask_for(settings: RestJsonSettings, position: Position, asking: Asking) -> None:
    """Put into ``asking`` what names the page at ``position``."""
    if settings.paging in {"next_url", "link"} and position.cursor:
        asking.url, asking.query = position.cursor, {}
        return
    parts = _parts(settings, position)
    if settings.paging_in == "path":
        asking.places |= {_PLACES[name]: value for name, value in parts.items()}
        return
    named = {getattr(settings, name): value for name, value in parts.items()}
    for name, value in named.items():
        if not name:
            continue
        if settings.paging_in == "body":
            number = int(value) if value.isdecimal() else value
            asking.body = put(asking.body, name, number)
        else:
            asking.query[name] = value


_PLACES = {
    "page_param": "page",
    "size_param": "size",
    "offset_param": "offset",
    "limit_param": "size",
    "cursor_param": "cursor",
}


def _parts(settings: RestJsonSettings, position: Position) -> dict[str, str]:
    """What names a page, by the setting that says how it is called."""
    size = str(settings.page_size)
    if settings.paging == "page":
        page = str(settings.first_page + position.page - position.base_page)
        return {"page_param": page, "size_param": size}
    if settings.paging == "offset":
        # By rows received, not pages asked: a service that caps its pages loses nothing.
        return {
            "offset_param": str(position.rows - position.base_rows),
            "limit_param": size,
        }
    if settings.paging == "cursor":
        parts = {"size_param": size}
        if position.cursor:
            parts["cursor_param"] = position.cursor
        return parts
    return {}


def next_cursor(
    settings: RestJsonSettings, found: object, headers: Mapping[str, str], asked: str
) -> str:
    """What leads to the next page, "" at the end. ``found`` stood in the answer's body.

    A next address always stays with the host that was asked: the key goes nowhere else.
    """
    host = parse_url(asked).host
    if settings.paging == "link":
        found = _link_next(headers.get("link", ""))
    elif settings.paging == "cursor" and settings.cursor_header:
        found = headers.get(settings.cursor_header.lower(), "")
    if found is None or found is False or found == "":
        return ""
    if isinstance(found, bool) or not isinstance(found, str | int):
        raise errors.wrong_shape(host, settings.cursor_path or settings.next_path)
    text = str(found)
    if len(text) > _MAX_CURSOR:
        raise errors.wrong_shape(host, settings.cursor_path or settings.next_path)
    return text if settings.paging == "cursor" else _same_host(asked, text)


def _link_next(header: str) -> str:
    for url, params in _LINK.findall(header[:16_384]):
        relation = _REL_NEXT.search(params)
        if relation and "next" in relation[1].lower().split():
            return str(url)
    return ""


def _same_host(asked: str, found: str) -> str:
    """The next address, on the host, port and scheme that were asked.

    Applications behind a proxy often write http:// or an inner port into their own links;
    another *name* would carry the key elsewhere and is refused.
    """
    host = parse_url(asked).host
    here = urlsplit(asked)
    try:
        there = urlsplit(urljoin(asked, found))
        name = parse_url(urlunsplit(there._replace(fragment=""))).host
    except (ValueError, SourceRefusedError) as error:
        raise errors.foreign_next(host) from error
    if name != host:
        raise errors.foreign_next(host)
    return urlunsplit((here.scheme, here.netloc, there.path, there.query, ""))


def without(url: str, names: frozenset[str]) -> str:
    """``url`` without the query parameters of these names."""
    parts = urlsplit(url)
    kept = [
        (name, value)
        for name, value in parse_qsl(parts.query, keep_blank_values=True)
        if name not in names
    ]
    return urlunsplit(parts._replace(query=urlencode(kept)))
