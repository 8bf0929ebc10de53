"""The form of a connector: a kind, its parameters, and pages that can be resumed."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any, ClassVar, Protocol

import msgspec

from app.connectors import errors

DIGEST_BYTES = 16


@dataclass(frozen=True, slots=True)
class Param:
    """One setting of a kind, as the form of a source shows it. Labels are message ids."""

    name: str
    label: str
    required: bool = False
    secret: bool = False
    choices: tuple[str, ...] = ()
    hint: str = ""


@dataclass(frozen=True, slots=True)
class Page:
    """One page of records, not decoded.

    ``rows_json`` is a JSON array of ``row_count`` records, each byte for byte as received;
    its syntax has been checked, its text encoding has not: decoding a record may raise
    ``UnicodeDecodeError``. (The escape of a lone surrogate comes as its three bytes, see
    ``envelope``.) ``digests`` has ``DIGEST_BYTES`` for each record, in their order.
    """

    index: int  # from 0, counted over the whole pull, also after a resume
    rows_json: bytes
    row_count: int
    declared_total: int | None
    digests: bytes

    @property
    def fingerprint(self) -> str:
        """Equal for pages with the same records in the same order; 64 hexadecimal digits."""
        return hashlib.sha256(self.digests).hexdigest()


def digests_of(records: Iterable[msgspec.Raw], salt: bytes) -> bytes:
    """Return the 128-bit BLAKE2b digest of each record's bytes, one after the other.

    ``salt`` (16 bytes at most) keeps digests of different purposes apart.
    """
    blake = partial(hashlib.blake2b, digest_size=DIGEST_BYTES, salt=salt)
    return b"".join([blake(record).digest() for record in records])


@dataclass(frozen=True, slots=True)
class Position:
    """Where to go on after a page has been committed; kept as JSON by the caller."""

    page: int = 0  # the next page, from 0
    rows: int = 0  # records in the pages before it
    fingerprint: str = ""  # of the page before it, hexadecimal
    total: int | None = None  # as declared last
    page_size: int = 0  # as asked; another one makes the position worthless
    done: bool = False
    cursor: str = ""  # what leads to the next page, or its address, without any key
    mark: str = ""  # the fingerprint of one earlier page: see ``rest_json``
    window: int = 0  # of a reading in windows: which, and what was read before it
    base_page: int = 0
    base_rows: int = 0
    empty: int = 0  # pages without a record that had others behind them
    until: str = ""  # the end of the last window, fixed when the reading began
    high: str = ""  # the highest mark among the records

    @classmethod
    def read(cls, stored: Mapping[str, object] | None, host: str) -> "Position":
        """The position in a stored mapping, or ``position_mismatch``."""
        try:
            return msgspec.convert(dict(stored or {}), cls)
        except msgspec.ValidationError as error:
            raise errors.position_mismatch(host) from error

    def with_(self, **changed: Any) -> "Position":
        return replace(self, **changed)

    def stored(self) -> dict[str, object]:
        """As a mapping of JSON values."""
        return asdict(self)


class Connector(Protocol):
    """A reader of one kind of service."""

    kind: ClassVar[str]
    label: ClassVar[str]
    params: ClassVar[tuple[Param, ...]]

    def pages(
        self, start: Mapping[str, object] | None = None
    ) -> Iterator[tuple[Page, dict[str, object]]]:
        """Each page with the position to store *with* it; ``start`` is such a position.

        Ends only when everything was read; raises the errors of ``app.connectors``
        otherwise. A position with ``done`` yields nothing more. Close the generator when
        leaving early (``contextlib.closing``): it may hold a connection.
        """
        ...
