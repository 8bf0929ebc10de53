"""The last published answer of a source, remembered as one digest for each record.

A record that comes byte for byte as it was published last time is neither decoded nor
compared again: its key is enough to know that its row lives on. What may have changed is
judged in full. A digest is the 128-bit BLAKE2b of the record's bytes, salted with what they
were judged by, so another version or other rules recognise nothing.
"""

import hashlib
import struct
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Session

from app.contracts.decoder import RULES_REVISION
from app.pulls.models import AnswerPage

DIGEST_BYTES = 16
# The place of a record that was not published: it is always judged anew.
BLANK = bytes(DIGEST_BYTES)
# Former pages are read in pieces of about this size.
_PIECE_BYTES = 512 * 1024

Digester = Callable[[Iterable[bytes]], list[bytes]]


def digester(version_id: UUID, time_zone: str) -> Digester:
    """Return the function that makes digests of records judged by this version."""
    judged_by = f"{RULES_REVISION} {version_id} {time_zone}".encode()
    salt = hashlib.sha256(judged_by).digest()[: hashlib.blake2b.SALT_SIZE]
    blake = partial(hashlib.blake2b, digest_size=DIGEST_BYTES, salt=salt)
    return lambda records: [blake(record).digest() for record in records]


class FormerAnswer:
    """The digests of one published run, page by page; no run, no digests."""

    def __init__(self, run_id: UUID | None) -> None:
        self._run_id = run_id
        self._pages: dict[int, frozenset[bytes]] = {}
        self._read_up_to = 0  # pages before this one have been read
        self._is_over = run_id is None

    def needs(self, page: int) -> bool:
        """Tell whether ``read`` must come before ``known`` can judge this page."""
        return not self._is_over and page + 1 >= self._read_up_to

    def read(self, session: Session, page: int) -> None:
        """Read the next former pages, as many as this page and some after it need."""
        first = max(self._read_up_to, page - 1)
        size = session.scalar(
            sa.select(sa.func.length(AnswerPage.digests)).where(
                AnswerPage.run_id == self._run_id, AnswerPage.page == first
            )
        )
        if size is None:
            self._is_over = True
            return
        last = page + 1 + _PIECE_BYTES // max(size, 1)
        rows = session.execute(
            sa.select(AnswerPage.page, AnswerPage.digests).where(
                AnswerPage.run_id == self._run_id, AnswerPage.page.between(first, last)
            )
        )
        for number, digests in rows:
            self._pages[number] = frozenset(unpacked(digests)) - {BLANK}
        self._read_up_to = last + 1

    def known(self, page: int, digests: Sequence[bytes]) -> list[bool]:
        """Tell of each record whether the former answer had it on this page or beside it.

        Beside it: what was added or removed before a record moves it, rarely by a page.
        """
        before, here, after = (
            self._pages.get(number, frozenset()) for number in (page - 1, page, page + 1)
        )
        self._pages.pop(page - 2, None)
        return [each in here or each in before or each in after for each in digests]


def unpacked(digests: bytes) -> tuple[bytes, ...]:
    return struct.unpack(f"{DIGEST_BYTES}s" * (len(digests) // DIGEST_BYTES), digests)


def remember_page(
    session: Session, run_id: UUID, source_id: UUID, page: int, digests: Sequence[bytes]
) -> None:
    """Keep a page's digests, those of records that were not accepted as ``BLANK``."""
    session.execute(
        sa.insert(AnswerPage),
        {
            "run_id": run_id,
            "source_id": source_id,
            "page": page,
            "digests": b"".join(digests),
        },
    )


def forget_records(session: Session, run_id: UUID, places: dict[int, list[int]]) -> None:
    """Blank records, given as positions by page, that turned out not to be published."""
    for page, positions in places.items():
        where = (AnswerPage.run_id == run_id, AnswerPage.page == page)
        digests = bytearray(
            session.scalars(sa.select(AnswerPage.digests).where(*where)).one()
        )
        for position in positions:
            at = position * DIGEST_BYTES
            digests[at : at + DIGEST_BYTES] = BLANK
        session.execute(
            sa.update(AnswerPage).where(*where).values(digests=bytes(digests))
        )


def forget_others(session: Session, source_id: UUID, kept: Iterable[UUID]) -> None:
    """Remove all digests of a source but those of the runs named."""
    session.execute(
        sa.delete(AnswerPage).where(
            AnswerPage.source_id == source_id, AnswerPage.run_id.not_in(list(kept))
        )
    )
