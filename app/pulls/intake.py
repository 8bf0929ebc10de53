"""From a page of records to what the stage takes: recognised, decoded, or set aside."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import compress, pairwise, repeat, starmap
from operator import add, itemgetter, lt, not_
from typing import Any

import msgspec

from app.connectors.base import Page
from app.contracts.decoder import Decoder, Rejected
from app.contracts.field_rules import UNREADABLE, FieldError
from app.contracts.fields import FieldSpec
from app.core import db
from app.core.words import message_id
from app.pulls.answers import FormerAnswer, without
from app.pulls.poison import poisoned, set_aside
from app.pulls.stage import ReadPage

# What a record and each of its values take as Python objects, roughly.
ROW_BYTES, VALUE_BYTES = 256, 64
# A record beyond this would weigh down every page, file and answer that it comes into. Of
# one that is set aside for it the beginning is kept; all of it is in the kept answer.
MAX_RECORD_BYTES, KEPT_OF_GIANT = 4 << 20, 64 << 10
MAX_KEY_CHARACTERS = 1_000
_TOO_LARGE = message_id(
    "The record has %(size)s MB; one of more than %(limit)s MB is not taken."
)
_split = msgspec.json.Decoder(list[msgspec.Raw]).decode


class PageReader:
    """Reads the pages of one pull, in order.

    ``former`` is the answer the central table stands at: what it has is not decoded.
    ``careful``: an attempt before may have died of a record; it is looked for and set aside.
    """

    def __init__(
        self,
        fields: Sequence[FieldSpec],
        time_zone: str,
        former: FormerAnswer,
        *,
        careful: bool = False,
    ) -> None:
        self._careful = careful
        self._decoder = Decoder(fields, time_zone)
        self._former = former
        key_at = [at for at, each in enumerate(fields) if each.is_key]
        self._key_of = itemgetter(*key_at)
        self._last_key: list[Any] = []  # of the page before, if there was one
        # Whether each record so far had a greater key than the one before: none twice.
        self.is_ordered = True

    def read(self, page: Page, first: int) -> ReadPage:
        """Return the page as the stage takes it; raises ``NotJsonError``.

        ``first`` records came before this page.
        """
        self._ask_for_room(page)
        if self._former.needs(page.index):
            with db.unit_of_work() as session:
                self._former.read(session, page.index)
        known = self._former.known(page.index, page.digests)
        places = range(first, first + page.row_count)
        if True not in known:
            read = self._decoded(page, page.rows_json, first, range(page.row_count))
            self._note_order(read.rows)
            return read
        self.is_ordered = False  # of known records nobody looks at the key
        if False not in known:
            keys = _with_ends(self._decoder.keys_of(page.rows_json), places)
            return ReadPage(page.index, (), keys, len(keys), (), page.digests)
        return self._sorted_out(page, known, first)

    def _note_order(self, rows: Sequence[tuple[Any, ...]]) -> None:
        if not rows or not self.is_ordered:
            return
        keys = [*self._last_key, *map(self._key_of, rows)]
        self.is_ordered = all(starmap(lt, pairwise(keys)))
        self._last_key = keys[-1:]

    def _ask_for_room(self, page: Page) -> None:
        """Raise ``MemoryError`` when the memory to decode the page is not to be had.

        The decoder's library does not survive a refusal in the middle. What is asked for
        here is not touched, and given back at once.
        """
        texts = 2 * len(page.rows_json)
        objects = page.row_count * (ROW_BYTES + VALUE_BYTES * len(self._decoder.columns))
        bytes(texts + objects)

    def _sorted_out(self, page: Page, known: list[bool], first: int) -> ReadPage:
        """Read a page of which some records are known."""
        records = _split(page.rows_json)
        fresh = [*map(not_, known)]
        positions = [*compress(range(len(fresh)), fresh)]
        read = self._decoded(page, _array(compress(records, fresh)), first, positions)
        keys = self._decoder.keys_of(_array(compress(records, known)))
        places = compress(range(first, first + len(known)), known)
        return replace(
            read,
            keys=[*read.keys, *_with_ends(keys, places)],
            known_count=len(keys),
        )

    def _decoded(
        self, page: Page, rows_json: bytes, first: int, positions: Sequence[int]
    ) -> ReadPage:
        """Decode records that stood at ``positions`` of the page."""
        if not self._careful and len(rows_json) <= MAX_RECORD_BYTES:
            return self._decoded_at_once(page, rows_json, first, positions)
        records = _split(rows_json)
        aside = self._not_to_decode(records, positions)
        if not aside:
            return self._decoded_at_once(page, rows_json, first, positions)
        harmless = [at not in aside for at in range(len(records))]
        read = self._decoded_at_once(
            page,
            _array(compress(records, harmless)),
            first,
            [*compress(positions, harmless)],
        )
        rejected = [*read.rejected, *aside.values()]
        return replace(
            read,
            keys=[*read.keys, *_marked(aside.values(), first)],
            rejected=rejected,
            digests=without(page.digests, [each.position for each in rejected]),
        )

    def _not_to_decode(
        self, records: Sequence[msgspec.Raw], positions: Sequence[int]
    ) -> dict[int, Rejected]:
        """Return what is set aside undecoded, by its place: giants, and poison if suspected."""
        sizes = [memoryview(record).nbytes for record in records]
        aside = {
            at: Rejected(
                positions[at],
                bytes(memoryview(records[at])[:KEPT_OF_GIANT]),
                (_too_large(size),),
                self._key_if_short(records[at]),
            )
            for at, size in enumerate(sizes)
            if size > MAX_RECORD_BYTES
        }
        if self._careful:
            left = [at for at in range(len(records)) if at not in aside]
            bad = poisoned(
                [records[at] for at in left],
                lambda some: self._decoder.decode(_array(some)),
            )
            for at in (left[number] for number in bad):
                aside[at] = set_aside(records[at], positions[at])
        return aside

    def _key_if_short(self, record: msgspec.Raw) -> tuple[Any, ...] | None:
        """Return the key of a record, so that its row does not count as vanished."""
        try:
            [key] = self._decoder.keys_of(_array([record]))
        except (*UNREADABLE, ValueError, OverflowError):
            return None
        words = "".join(part for part in key if isinstance(part, str))
        return None if "\0" in words or len(words) > MAX_KEY_CHARACTERS else key

    def _decoded_at_once(
        self, page: Page, rows_json: bytes, first: int, positions: Sequence[int]
    ) -> ReadPage:
        decoded = self._decoder.decode(rows_json, page=page.index)
        rejected = [
            replace(bad, position=positions[bad.position]) for bad in decoded.rejected
        ]
        stood = (
            positions
            if decoded.positions is None
            else [positions[at] for at in decoded.positions]
        )
        return ReadPage(
            index=page.index,
            rows=[*map(add, decoded.rows, zip(map(first.__add__, stood)))],
            keys=_marked(rejected, first),
            known_count=0,
            rejected=rejected,
            digests=without(page.digests, [bad.position for bad in rejected]),
        )


def _too_large(size: int) -> FieldError:
    params = {"size": size >> 20, "limit": MAX_RECORD_BYTES >> 20}
    return FieldError("", "record_too_large", _TOO_LARGE, params)


def _marked(rejected: Iterable[Rejected], first: int) -> list[tuple[Any, ...]]:
    """Return the keys of records that were set aside, as the stage takes them."""
    return [
        (*bad.key, first + bad.position, True, False)
        for bad in rejected
        if bad.key is not None
    ]


def _array(records: Iterable[msgspec.Raw]) -> bytes:
    return b"[%b]" % b",".join(records)


def _with_ends(
    keys: Sequence[tuple[Any, ...]], places: Iterable[int]
) -> list[tuple[Any, ...]]:
    """Return the keys of known records as the stage takes them."""
    return [*map(add, keys, zip(places, repeat(False), repeat(True)))]
