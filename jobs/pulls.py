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
from app.pulls.errors import RolledBackError
from app.pulls.plan import require_at_work
from app.runs.errors import LeaseLostError, PutOffError
from app.runs.ledger import Lease
from app.sources import hosts
from app.sources.models import Source
from app.sources.services import asked_pairs
from jobs.perform import current_reader
from jobs.runtime import current_settings

_NO_FAILURE = (LeaseLostError, PutOffError, RolledBackError)
# So often a pull at work looks whether its hosts may still be asked.
LOOK_SECONDS = 0.25


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
        self._pairs: tuple[str, ...] = ()
        self._rates: dict[str, float] = {}
        self._looked_at = 0.0
        self._put_off: PutOffError | None = None

    def pages(self, order: ReadOrder) -> Iterator[tuple[Page, dict[str, object]]]:
        """Yield the pages of an order, asked for no faster than the hosts allow.

        The reader is one request ahead of what is asked of it here, unless a host has a
        rate: then it asks for each turn. Raises ``PutOffError`` as soon as a host rests,
        whoever made it: the pull goes on later from the page it has come to.
        """
        run_id = self._lease.run_id
        with db.unit_of_work() as session:
            source = session.get_one(Source, self._lease.params.source_id)
            self._pairs = asked_pairs(source)
            self._rates = hosts.enter(session, self._pairs, run_id, self._time_zone)
        self._looked_at = time.monotonic()
        order = msgspec.structs.replace(order, paced=list(self._rates))
        yield from current_reader().pages(order, self._await_turn, self._may_go_on)
        if self._put_off is not None:
            raise self._put_off
        with db.unit_of_work() as session:
            hosts.note_success(session, self._pairs)
            hosts.leave(session, run_id)

    def _await_turn(self, pair: str) -> None:
        with db.unit_of_work() as session:
            seconds = hosts.pace(session, pair, self._rates[pair])
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self._lease.touched_at = time.monotonic()
            time.sleep(min(left, 1.0))
        self._look()  # the host may have begun to rest while we waited

    def _may_go_on(self) -> bool:
        try:
            self._look()
        except PutOffError as rest:
            self._put_off = rest  # raised when the page at hand is dealt with
        return self._put_off is None

    def _look(self) -> None:
        """Raise ``PutOffError`` when another pull's answers made a host rest meanwhile.

        A source that somebody let rest is not asked any more either: ``NotPullableError``.
        """
        if time.monotonic() - self._looked_at < LOOK_SECONDS:
            return
        with db.unit_of_work() as session:
            require_at_work(session, self._lease.params.source_id)
            hosts.require_open(session, self._pairs, self._time_zone)
        self._looked_at = time.monotonic()
