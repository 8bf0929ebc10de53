"""Which addresses a request may go to: URLs read strictly, host and port on a list."""

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import quote, urlsplit

import idna

from app.connectors import errors
from app.core.words import message_id

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
DEFAULT_PORTS = {"http": 80, "https": 443}
MAX_URL_LENGTH = 8_192
_NETLOC = re.compile(
    r"(?P<host>\[[0-9A-Fa-f:.]+\]|[^\[\]:/?#@%\\]+)(?::(?P<port>[0-9]{1,5}))?"
)
_LABEL = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)")
# What getaddrinfo would read as a number in some base: 2130706433, 0x7f.1, 0177.0.0.1.
_NUMERIC_LABEL = re.compile(r"[0-9]+|0x[0-9a-f]*")
_CONTROL_OR_TRICK = re.compile(r"[\x00-\x20\x7f\\\u0080-\u00a0\u2028\u2029\ud800-\udfff]")
_SAFE_IN_TARGET = "%/:?&=+,;@!$'()*~-._[]"
_METADATA = frozenset(
    ipaddress.ip_address(text)
    for text in ("100.100.100.200", "fd00:ec2::254", "168.63.129.16")
)
_NOWHERE = tuple(
    ipaddress.ip_network(text)
    for text in ("0.0.0.0/8", "240.0.0.0/4", "2001::/32", "100::/64")
)
_NAT64 = ipaddress.ip_network("64:ff9b::/96")


@dataclass(frozen=True, slots=True)
class Target:
    """Where one request goes. ``host`` is canonical: lower case, A-labels, no brackets."""

    scheme: str
    host: str
    port: int
    path: str  # path and query as sent, at least "/"
    literal: Address | None  # set when the host is an address and no name

    @property
    def pair(self) -> tuple[str, int]:
        return self.host, self.port

    @property
    def pair_name(self) -> str:
        """``host:port`` as lists and limits name it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    @property
    def host_header(self) -> str:
        if self.port != DEFAULT_PORTS[self.scheme]:
            return self.pair_name
        return self.pair_name.rpartition(":")[0]


def parse_url(url: str) -> Target:
    """Read an http(s) URL strictly, or raise ``unreadable_address`` with the reason.

    Strict because whatever two parsers read differently is a way around the list: one
    spelling for an address, no user, no fragment, no control character, no backslash.
    """
    if len(url) > MAX_URL_LENGTH or _CONTROL_OR_TRICK.search(url):
        raise errors.unreadable_address(
            message_id("the address holds forbidden characters")
        )
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise errors.unreadable_address(
            message_id("the address cannot be read")
        ) from error
    if parts.scheme not in DEFAULT_PORTS:
        raise errors.unreadable_address(message_id("only http and https are allowed"))
    if "@" in parts.netloc or "#" in url:
        raise errors.unreadable_address(
            message_id("the address holds a user or a fragment")
        )
    host, port, literal = _read_netloc(parts.netloc, DEFAULT_PORTS[parts.scheme])
    path = quote(parts.path or "/", safe=_SAFE_IN_TARGET)
    if parts.query:
        path += "?" + quote(parts.query, safe=_SAFE_IN_TARGET)
    return Target(parts.scheme, host, port, path, literal)


def _read_netloc(netloc: str, default_port: int) -> tuple[str, int, Address | None]:
    match = _NETLOC.fullmatch(netloc)
    if match is None:
        raise errors.unreadable_address(message_id("host and port cannot be read"))
    port = int(match["port"] or default_port)
    if not 1 <= port <= 65_535:
        raise errors.unreadable_address(message_id("there is no such port"))
    host, literal = canonical_host(match["host"])
    return host, port, literal


def canonical_host(raw: str) -> tuple[str, Address | None]:
    """The one spelling of a host, and its address when it is no name."""
    if raw.startswith("["):
        return _ipv6_literal(raw.strip("[]"))
    host = _a_labels(raw)
    labels = host.split(".")
    if len(host) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        raise errors.unreadable_address(message_id("this is no host name"))
    if not _NUMERIC_LABEL.fullmatch(labels[-1]):
        return host, None
    try:
        literal = ipaddress.IPv4Address(host)
    except ValueError as error:
        raise errors.unreadable_address(
            message_id("an address is written as four decimal numbers")
        ) from error
    if not raw.isascii():
        raise errors.unreadable_address(
            message_id("an address is written in plain digits")
        )
    return host, literal


def _a_labels(raw: str) -> str:
    host = raw.lower()
    if not host.isascii():
        try:
            host = idna.encode(host, uts46=True).decode("ascii")
        except idna.IDNAError as error:
            raise errors.unreadable_address(message_id("this is no host name")) from error
    return host.removesuffix(".")


def _ipv6_literal(text: str) -> tuple[str, Address]:
    try:
        literal = ipaddress.IPv6Address(text)
    except ValueError as error:
        raise errors.unreadable_address(message_id("this is no IPv6 address")) from error
    if _embedded(literal) is not literal:
        raise errors.unreadable_address(message_id("an IPv4 address is written as such"))
    return str(literal), literal


def _embedded(address: Address) -> Address:
    """The IPv4 address that an IPv6 address of a transition scheme really leads to."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    inner = address.ipv4_mapped or address.sixtofour
    if inner is None and address in _NAT64:
        inner = ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)
    if inner is None and int(address) >> 32 == 0 and int(address) > 1:
        inner = ipaddress.IPv4Address(int(address))  # the old "compatible" form ::a.b.c.d
    return inner or address


def forbidden_because(address: Address) -> str | None:
    """Why no *name* may lead to ``address``; None when it may.

    Private networks (10.x, 172.16.x, 192.168.x, fc00::) are fine: agencies sit there, and
    the list of approved pairs is what guards them.
    """
    inner = _embedded(address)
    if inner.is_loopback:
        return message_id("it leads back to this machine")
    if inner in _METADATA or inner.is_link_local:
        return message_id("it leads to a link-local or metadata address")
    if inner.is_multicast or inner.is_unspecified:
        return message_id("it leads to no single machine")
    if any(inner in network for network in _NOWHERE if network.version == inner.version):
        return message_id("it leads nowhere")
    return None


class ApprovedHosts:
    """The exact ``host:port`` pairs that requests may go to.

    A pair whose host is a loopback *address* (``127.0.0.1:8081``) approves exactly that
    address: this is how the demo's own service is reached. Link-local, metadata, multicast
    and unspecified addresses cannot be approved at all.
    """

    def __init__(self, pairs: Iterable[str] = (), intranet: Iterable[str] = ()) -> None:
        """``intranet`` names the pairs that may not lie in the public internet."""
        self._pairs = frozenset(read_pair(pair) for pair in pairs)
        self._intranet = frozenset(read_pair(pair) for pair in intranet)

    def target(self, url: str) -> Target:
        """Read ``url`` and return where it leads, or raise ``not_approved``."""
        target = parse_url(url)
        if target.pair not in self._pairs:
            raise errors.not_approved(
                f"{target.host}:{target.port}", message_id("it is not on the list")
            )
        return target

    def __contains__(self, pair: object) -> bool:
        return pair in self._pairs

    def require_intranet(
        self, pair: tuple[str, int], addresses: Iterable[Address]
    ) -> None:
        """Raise ``not_approved`` for a public address of a pair that may have none."""
        if pair in self._intranet and any(each.is_global for each in addresses):
            raise errors.not_approved(
                f"{pair[0]}:{pair[1]}",
                message_id("it is asked without encryption and is no intranet address"),
            )


def read_pair(text: str) -> tuple[str, int]:
    """``host:port`` in canonical form, or ``SourceSettingsError``."""
    match = _NETLOC.fullmatch(text.strip())
    port = int(match["port"] or 0) if match else 0
    if match is None or not 1 <= port <= 65_535:
        raise errors.SourceSettingsError(
            "%(pair)s is not of the form host:port", pair=text
        )
    try:
        host, literal = canonical_host(match["host"])
    except errors.SourceRefusedError as error:
        raise errors.SourceSettingsError("%(pair)s names no host", pair=text) from error
    if literal is not None and not literal.is_loopback and forbidden_because(literal):
        raise errors.SourceSettingsError("%(pair)s can never be approved", pair=text)
    return host, port


def pinned(
    target_host: str, port: int, answers: Iterable[str], approved: ApprovedHosts
) -> list[str]:
    """The addresses to connect to, out of the name service's ``answers``.

    One forbidden address among the answers refuses them all: a name that leads to a public
    and to a loopback address at once is an attack, not an accident.
    """
    host, literal = canonical_host(
        f"[{target_host}]" if ":" in target_host else target_host
    )
    if (host, port) not in approved:
        raise errors.not_approved(f"{host}:{port}", message_id("it is not on the list"))
    if literal is not None:
        approved.require_intranet((host, port), [literal])
        return [str(literal)]
    found = [ipaddress.ip_address(answer.partition("%")[0]) for answer in answers]
    for address in found:
        why = forbidden_because(address)
        if why is not None:
            raise errors.not_approved(f"{host}:{port}", why)
    approved.require_intranet((host, port), found)
    return [str(address) for address in found]
