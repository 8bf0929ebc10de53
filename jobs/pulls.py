"""The job that pulls one source, within what its host and its owner allow."""

import time
from collections.abc import Iterator

import msgspec

from app.connectors.base import Page
from app.connectors.errors import SourceUnavailableError
from app.connectors.registry import ReadOrder
from app.core import db
from app.core.errors import PermanentError, RejectedError, SimpulError
from app.pulls import pulling, services
from app.runs.errors import LeaseLostError, PutOffError
from app.runs.ledger import Lease
from app.sources import hosts
from app.sources.models import Source
from app.sources.services import asked_pairs
from jobs.perform import current_reader
from jobs.runtime import current_settings

_NO_FAILURE = (LeaseLostError, PutOffError)


def pull(lease: Lease) -> None:
    """Pull the source of ``lease.params`` into its dataset."""
    settings = current_settings()
    visit = _Visit(lease, settings.time_zone)
    try:
        pulling.pull(lease, visit.pages, settings.approved_hosts, settings.time_zone)
    except _NO_FAILURE:
        raise
    except SimpulError as error:
        _note_failure(lease, error)
        raise
    with db.unit_of_work() as session:
        services.note_success(session, lease.params.source_id)


def _note_failure(lease: Lease, error: SimpulError) -> None:
    """Remember which host failed, and count a failure that ends the run.

    One that is tried again is none of the source's yet.
    """
    is_last = lease.attempt >= lease.max_attempts
    with db.unit_of_work() as session:
        if isinstance(error, SourceUnavailableError):
            hosts.note_failure(session, error)
        if isinstance(error, PermanentError | RejectedError) or is_last:
            services.note_failure(session, lease.params.source_id, error)


class _Visit:
    """The time a pull spends at its hosts; none when it reads a kept answer.

    A place at a host is the run's for as long as it has its lease: only leaving early, when
    everything was read, has to be said.
    """

    def __init__(self, lease: Lease, time_zone: str) -> None:
        self._lease = lease
        self._time_zone = time_zone
        self._rates: dict[str, float] = {}

    def pages(self, order: ReadOrder) -> Iterator[tuple[Page, dict[str, object]]]:
        """Yield the pages of an order, asked for no faster than the hosts allow.

        The reader is one request ahead of what is asked of it here, unless a host has a
        rate: then it asks for each turn.
        """
        run_id = self._lease.run_id
        with db.unit_of_work() as session:
            pairs = asked_pairs(session.get_one(Source, self._lease.params.source_id))
            self._rates = hosts.enter(session, pairs, run_id, self._time_zone)
        order = msgspec.structs.replace(order, paced=list(self._rates))
        yield from current_reader().pages(order, self._await_turn)
        with db.unit_of_work() as session:
            hosts.note_success(session, pairs)
            hosts.leave(session, run_id)

    def _await_turn(self, pair: str) -> None:
        with db.unit_of_work() as session:
            seconds = hosts.pace(session, pair, self._rates[pair])
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self._lease.touched_at = time.monotonic()
            time.sleep(min(left, 1.0))
