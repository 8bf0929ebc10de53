"""The form of a connector: a kind, its parameters, and pages that can be resumed."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import ClassVar, Protocol

import msgspec

from app.connectors import errors


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

    ``records`` are the records one by one, each byte for byte as received, ``rows_json`` is
    the JSON array of them; the syntax has been checked, the text encoding has not: decoding
    a record may raise ``UnicodeDecodeError``. (The escape of a lone surrogate comes as its
    three bytes, see ``envelope``.) ``fingerprint`` (32 bytes) is the SHA-256 of the array.
    """

    index: int  # from 0, counted over the whole pull, also after a resume
    records: Sequence[msgspec.Raw]
    rows_json: bytes
    declared_total: int | None
    fingerprint: bytes

    @property
    def row_count(self) -> int:
        return len(self.records)


@dataclass(frozen=True, slots=True)
class Position:
    """Where to go on after a page has been committed; kept as JSON by the caller."""

    page: int = 0  # the next page, from 0
    rows: int = 0  # records in the pages before it
    fingerprint: str = ""  # of the page before it, hexadecimal
    total: int | None = None  # as declared last
    page_size: int = 0  # as asked; another one makes the position worthless
    done: bool = False

    @classmethod
    def read(cls, stored: Mapping[str, object] | None, host: str) -> "Position":
        """The position in a stored mapping, or ``position_mismatch``."""
        try:
            return msgspec.convert(dict(stored or {}), cls)
        except msgspec.ValidationError as error:
            raise errors.position_mismatch(host) from error

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
        leaving early (``contextlib.closing``): it may hold a thread and a connection.
        """
        ...
