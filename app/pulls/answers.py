"""The last published answer of a source, remembered as one digest for each record.

A record that comes byte for byte as it was published last time is neither decoded nor
compared again: its key is enough to know that its row lives on. What may have changed is
judged in full. A digest is the 128-bit BLAKE2b of the record's bytes, salted with what they
were judged by, so another version or other rules recognise nothing.
"""

import hashlib
import struct
from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate, compress
from operator import eq, not_
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Session

from app.connectors.base import DIGEST_BYTES
from app.contracts.decoder import RULES_REVISION
from app.pulls.models import AnswerPage

# The place of a record that was not published: it is always judged anew.
BLANK = bytes(DIGEST_BYTES)
# Former pages are read in pieces of about this size.
_PIECE_BYTES = 512 * 1024


def digest_salt(version_id: UUID, time_zone: str) -> bytes:
    """Return the salt of digests of records that are judged by this version."""
    judged_by = f"{RULES_REVISION} {version_id} {time_zone}".encode()
    return hashlib.sha256(judged_by).digest()[: hashlib.blake2b.SALT_SIZE]


class FormerAnswer:
    """The digests of one published run, page by page; no run, no digests.

    Each is recognised once: of a record that comes twice the second is judged like any
    other, so recognised records have different keys. ``run_id`` is the pull at hand, whose
    own pages say what an earlier attempt has recognised already.
    """

    def __init__(self, former_run_id: UUID | None, run_id: UUID) -> None:
        self._former_run_id = former_run_id
        self._run_id = run_id
        self._pages: dict[int, bytes] = {}
        self._sets: dict[int, set[bytes]] = {}
        self._touched: set[int] = set()  # pages of which a record has been recognised
        self._read_up_to = 0  # pages before this one have been read
        self._is_over = former_run_id is None

    def needs(self, page: int) -> bool:
        """Tell whether ``read`` must come before ``known`` can judge this page."""
        return not self._is_over and page + 1 >= self._read_up_to

    def read(self, session: Session, page: int) -> None:
        """Read the next former pages, as many as this page and some after it need."""
        first = max(self._read_up_to, page - 1)
        size = session.scalar(
            sa.select(sa.func.length(AnswerPage.digests)).where(
                AnswerPage.run_id == self._former_run_id, AnswerPage.page == first
            )
        )
        if size is None:
            self._is_over = True
            return
        last = page + 1 + _PIECE_BYTES // max(size, 1)
        self._pages.update(_pages_of(session, self._former_run_id, first, last))
        if page and not self._read_up_to:
            self._forget_recognised(session, page)
        self._read_up_to = last + 1

    def _forget_recognised(self, session: Session, page: int) -> None:
        """Take away what the pages before this one, of an earlier attempt, recognised."""
        own = _pages_of(session, self._run_id, page - 2, page - 1)
        for near in (page - 1, page):
            self._left(near).difference_update(*map(unpacked, own.values()))
            self._touched.add(near)

    def known(self, page: int, digests: bytes) -> list[bool]:
        """Tell of each record whether the former answer had it on this page or beside it.

        Beside it: what was added or removed before a record moves it, rarely by a page.
        """
        fresh = unpacked(digests)
        if self._is_over and not self._pages:
            return [False] * len(fresh)
        flags = self._at_same_places(page, fresh)
        for at in [at for at, flag in enumerate(flags) if not flag]:
            flags[at] = self._take(fresh[at], page)
        for kept in (self._pages, self._sets):
            kept.pop(page - 1, None)
        return flags

    def _at_same_places(self, page: int, fresh: Sequence[bytes]) -> list[bool]:
        """Tell of each record whether it stands where it stood; most pages are such."""
        former = unpacked(self._pages.get(page, b""))
        if page in self._touched or len(former) != len(fresh):
            return [False] * len(fresh)
        flags = [*map(eq, fresh, former)]
        self._sets[page] = {*compress(former, map(not_, flags))} - {BLANK}
        return flags

    def _take(self, digest: bytes, page: int) -> bool:
        """Recognise a record that moved, once."""
        for near in (page, page - 1, page + 1):
            left = self._left(near)
            if digest in left:
                left.remove(digest)
                self._touched.add(near)
                return True
        return False

    def _left(self, page: int) -> set[bytes]:
        """Return those digests of a former page that were not recognised yet."""
        if page not in self._sets:
            self._sets[page] = set(unpacked(self._pages.get(page, b""))) - {BLANK}
        return self._sets[page]


def _pages_of(
    session: Session, run_id: UUID | None, first: int, last: int
) -> dict[int, bytes]:
    rows = session.execute(
        sa.select(AnswerPage.page, AnswerPage.digests).where(
            AnswerPage.run_id == run_id, AnswerPage.page.between(first, last)
        )
    )
    return {row.page: row.digests for row in rows}


def unpacked(digests: bytes) -> tuple[bytes, ...]:
    return struct.unpack(f"{DIGEST_BYTES}s" * (len(digests) // DIGEST_BYTES), digests)


def without(digests: bytes, positions: Sequence[int]) -> bytes:
    """Return a page's digests with those of some records blanked."""
    if not positions:
        return digests
    changed = bytearray(digests)
    for position in positions:
        at = position * DIGEST_BYTES
        changed[at : at + DIGEST_BYTES] = BLANK
    return bytes(changed)


def page_starts(session: Session, run_id: UUID) -> list[int]:
    """Return the place of each page's first record: how many records came before it."""
    sizes = session.scalars(
        sa.select(sa.func.length(AnswerPage.digests, type_=sa.Integer) // DIGEST_BYTES)
        .where(AnswerPage.run_id == run_id)
        .order_by(AnswerPage.page)
    )
    return [0, *accumulate(sizes)][:-1]


def forget_records(
    session: Session, run_id: UUID, positions: Mapping[int, Sequence[int]]
) -> None:
    """Blank records, given by page, that turned out not to be published."""
    for page, places in positions.items():
        where = (AnswerPage.run_id == run_id, AnswerPage.page == page)
        digests = session.scalars(sa.select(AnswerPage.digests).where(*where)).one()
        changed = without(digests, places)
        session.execute(sa.update(AnswerPage).where(*where).values(digests=changed))


def forget_others(session: Session, source_id: UUID, kept: Iterable[UUID]) -> None:
    """Remove all digests of a source but those of the runs named."""
    session.execute(
        sa.delete(AnswerPage).where(
            AnswerPage.source_id == source_id, AnswerPage.run_id.not_in(list(kept))
        )
    )
