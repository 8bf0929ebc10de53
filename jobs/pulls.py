"""The job that pulls one source, within what its host and its owner allow."""

import time
from collections.abc import Iterator
from uuid import UUID

from app.connectors.base import Page
from app.connectors.registry import ReadOrder
from app.core import db
from app.core.errors import PermanentError, RejectedError, SimpulError, TransientError
from app.pulls import pulling, services
from app.runs.errors import LeaseLostError, PutOffError
from app.runs.ledger import Lease, StopRequestedError, TurnOverError
from app.sources import hosts
from app.sources.models import Source
from app.sources.services import approvable
from jobs.perform import current_reader
from jobs.runtime import current_settings

_NO_FAILURE = (LeaseLostError, PutOffError, StopRequestedError, TurnOverError)


def pull(lease: Lease) -> None:
    """Pull the source of ``lease.params`` into its dataset."""
    settings = current_settings()
    visit = _Visit(lease, settings.time_zone)
    failure: SimpulError | None = None
    try:
        pulling.pull(lease, visit.pages, settings.approved_hosts, settings.time_zone)
    except _NO_FAILURE:
        raise
    except SimpulError as error:
        failure = error
        raise
    finally:  # held and called off too: the next pull may come to this host
        visit.leave(failure)
        if failure is not None:
            _note_failure(lease, failure)
    with db.unit_of_work() as session:
        services.note_success(session, lease.params.source_id)


def _note_failure(lease: Lease, error: SimpulError) -> None:
    """Count a failure that ends the run; one that is tried again is none yet."""
    is_last = lease.attempt >= lease.max_attempts
    if isinstance(error, PermanentError | RejectedError) or is_last:
        with db.unit_of_work() as session:
            services.note_failure(session, lease.params.source_id, error)


class _Visit:
    """The time a pull spends at its host; none when it reads a kept answer."""

    def __init__(self, lease: Lease, time_zone: str) -> None:
        self._lease = lease
        self._time_zone = time_zone
        self._budget: hosts.Budget | None = None

    def pages(self, order: ReadOrder) -> Iterator[tuple[Page, dict[str, object]]]:
        """Yield the pages of an order, asked for no faster than the host allows.

        The reader is one request ahead of what is asked of it here.
        """
        run_id = self._lease.run_id
        with db.unit_of_work() as session:
            pair = _first_pair(session.get_one(Source, self._lease.params.source_id))
            budget = hosts.enter(session, pair, run_id, self._time_zone)
        self._budget = budget
        pages = current_reader().pages(order)
        renewed_at = time.monotonic()
        while True:
            if (
                budget.per_second
                or time.monotonic() - renewed_at > hosts.VISIT_SECONDS / 3
            ):
                self._wait(budget, run_id)
                renewed_at = time.monotonic()
            got = next(pages, None)
            if got is None:
                return
            yield got
            del got

    def _wait(self, budget: hosts.Budget, run_id: UUID) -> None:
        with db.unit_of_work() as session:
            seconds = hosts.pace(session, budget, run_id)
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self._lease.touched_at = time.monotonic()
            time.sleep(min(left, 1.0))

    def leave(self, error: SimpulError | None = None) -> None:
        """Free the place at the host and remember how it did."""
        budget, self._budget = self._budget, None
        if budget is None:
            return
        with db.unit_of_work() as session:
            hosts.leave(session, self._lease.run_id)
            if error is None:
                hosts.note_success(session, budget.pair)
            elif isinstance(error, TransientError):
                hosts.note_failure(session, budget.pair, error)


def _first_pair(source: Source) -> str:
    return approvable(source).partition(" ")[0] or "?"
