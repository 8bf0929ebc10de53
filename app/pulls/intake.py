"""From a page of records to what the stage takes: recognised, decoded, or set aside."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import compress
from operator import not_

import msgspec

from app.connectors.base import Page
from app.contracts.decoder import Decoder
from app.contracts.fields import FieldSpec
from app.core import db
from app.pulls.answers import FormerAnswer, without
from app.pulls.stage import ReadPage

# What a record and each of its values take as Python objects, roughly.
ROW_BYTES, VALUE_BYTES = 256, 64
_split = msgspec.json.Decoder(list[msgspec.Raw]).decode


class PageReader:
    """Reads the pages of one pull, in order.

    ``former`` is the answer the central table stands at: what it has is not decoded.
    """

    def __init__(
        self, fields: Sequence[FieldSpec], time_zone: str, former: FormerAnswer
    ) -> None:
        self._decoder = Decoder(fields, time_zone)
        self._former = former

    def read(self, page: Page, first: int) -> ReadPage:
        """Return the page as the stage takes it; raises ``NotJsonError``.

        ``first`` records came before this page.
        """
        self._ask_for_room(page)
        if self._former.needs(page.index):
            with db.unit_of_work() as session:
                self._former.read(session, page.index)
        known = self._former.known(page.index, page.digests)
        if True not in known:
            return self._decoded(page, first, page.rows_json, range(page.row_count))
        if False not in known:
            keys = self._decoder.keys_of(page.rows_json)
            places = range(page.row_count)
            return ReadPage(page.index, first, (), (), (), keys, places, page.digests)
        return self._sorted_out(page, first, known)

    def _ask_for_room(self, page: Page) -> None:
        """Raise ``MemoryError`` when the memory to decode the page is not to be had.

        The decoder's library does not survive a refusal in the middle. What is asked for
        here is not touched, and given back at once.
        """
        texts = 2 * len(page.rows_json)
        objects = page.row_count * (ROW_BYTES + VALUE_BYTES * len(self._decoder.columns))
        bytes(texts + objects)

    def _sorted_out(self, page: Page, first: int, known: list[bool]) -> ReadPage:
        """Read a page of which some records are known."""
        records = _split(page.rows_json)
        fresh = [*map(not_, known)]
        rows_json = b"[%b]" % b",".join(compress(records, fresh))
        places = [*compress(range(len(fresh)), fresh)]
        read = self._decoded(page, first, rows_json, places)
        return replace(
            read,
            known=self._decoder.keys_of(b"[%b]" % b",".join(compress(records, known))),
            known_positions=[*compress(range(len(known)), known)],
        )

    def _decoded(
        self, page: Page, first: int, rows_json: bytes, places: Sequence[int]
    ) -> ReadPage:
        """Decode records that stood at ``places``; blank the digests of broken ones."""
        decoded = self._decoder.decode(rows_json, page=page.index)
        positions = (
            places
            if decoded.positions is None
            else [places[position] for position in decoded.positions]
        )
        rejected = [
            replace(bad, position=places[bad.position]) for bad in decoded.rejected
        ]
        digests = page.digests
        if rejected:
            digests = without(digests, [bad.position for bad in rejected])
        rows = decoded.rows
        return ReadPage(page.index, first, rows, positions, rejected, (), (), digests)
