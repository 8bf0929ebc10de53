"""From a page of records to what the stage takes: recognised, decoded, or set aside."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import compress
from operator import not_
from uuid import UUID

from app.connectors.base import Page
from app.contracts.decoder import Decoder
from app.contracts.fields import FieldSpec
from app.core import db
from app.pulls.answers import BLANK, FormerAnswer, digester
from app.pulls.stage import ReadPage


class PageReader:
    """Reads the pages of one pull, in order.

    ``former_run_id`` is the run whose answer the central table stands at; with None no
    record is recognised and all are decoded.
    """

    def __init__(
        self,
        fields: Sequence[FieldSpec],
        version_id: UUID,
        time_zone: str,
        former_run_id: UUID | None,
    ) -> None:
        self._decoder = Decoder(fields, time_zone)
        self._digests_of = digester(version_id, time_zone)
        self._former = FormerAnswer(former_run_id)

    def read(self, page: Page) -> ReadPage:
        """Return the page as the stage takes it; raises ``NotJsonError``."""
        if self._former.needs(page.index):
            with db.unit_of_work() as session:
                self._former.read(session, page.index)
        digests = self._digests_of(page.records)
        known = self._former.known(page.index, digests)
        places = range(page.row_count)
        if True not in known:
            return self._decoded(page.index, page.rows_json, places, digests)
        fresh = [*map(not_, known)]
        rows_json = b"[%b]" % b",".join(compress(page.records, fresh))
        read = self._decoded(page.index, rows_json, [*compress(places, fresh)], digests)
        keys = self._decoder.keys_of(b"[%b]" % b",".join(compress(page.records, known)))
        return replace(read, known=keys, known_positions=[*compress(places, known)])

    def _decoded(
        self, index: int, rows_json: bytes, places: Sequence[int], digests: list[bytes]
    ) -> ReadPage:
        """Decode records that stood at ``places``; blank the digests of broken ones."""
        decoded = self._decoder.decode(rows_json, page=index)
        positions = (
            places
            if decoded.positions is None
            else [places[position] for position in decoded.positions]
        )
        rejected = [
            replace(bad, position=places[bad.position]) for bad in decoded.rejected
        ]
        for bad in rejected:
            digests[bad.position] = BLANK
        return ReadPage(index, decoded.rows, positions, rejected, (), (), digests)
