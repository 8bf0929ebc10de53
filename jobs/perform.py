"""The one function that RQ calls: claim a run, do it, and write down how it ended."""

import importlib
import logging
import os
import resource
import signal
import socket
import threading
from collections.abc import Callable
from contextlib import contextmanager
from time import monotonic
from typing import TYPE_CHECKING, Any
from uuid import UUID

from sqlalchemy.exc import DBAPIError

from app.core import db
from app.core.errors import PermanentError, RejectedError, SimpulError, TransientError
from app.core.policy import WORKER, acting_as, set_request_id
from app.runs import ledger
from app.runs.errors import HeldError, LeaseLostError
from app.runs.kinds import KINDS
from app.runs.ledger import Lease, StopRequestedError
from jobs.runtime import current_settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from config import Settings

log = logging.getLogger("simpul.worker")
Job = Callable[[Lease], None]


class MemoryLimitError(TransientError):
    code = "memory_limit"


class DatabaseLostError(TransientError):
    code = "database_lost"


class InternalError(TransientError):
    code = "internal"


class UnfinishedError(PermanentError):
    code = "unfinished"


class _Process:
    """The run this process is at."""

    lease: Lease | None = None


def prepare() -> None:
    """Import every job once, before any fork."""
    for kind in KINDS.values():
        job_function(kind.path)


def job_function(path: str) -> Job:
    """Return the function of a dotted path out of ``app.runs.kinds``."""
    module, _, name = path.rpartition(".")
    function: Job = getattr(importlib.import_module(module), name)
    return function


def worker_name(pid: int) -> str:
    """Return the name under which the process ``pid`` of this host claims runs."""
    return f"{socket.gethostname()}:{pid}"


def request_stop() -> None:
    """Ask the run at hand to stop at its next checkpoint; called by a signal."""
    if _Process.lease is not None:
        _Process.lease.stopping = True
    else:
        os._exit(0)


def perform(run_id: str) -> None:
    """Do one run, if it is still to be done."""
    settings = current_settings()
    with acting_as(WORKER):
        with db.unit_of_work() as session:
            lease = ledger.claim(
                session,
                UUID(run_id),
                worker=worker_name(os.getpid()),
                lease_seconds=settings.lease_seconds,
            )
        if lease is None:
            return
        set_request_id(f"run-{run_id}")
        _Process.lease = lease
        _limit(settings)
        with _heartbeat(lease, settings):
            _do(lease)
        signal.setitimer(signal.ITIMER_REAL, 0)
        _Process.lease = None


def _limit(settings: "Settings") -> None:
    """Bound the process: the kernel ends it at the time limit, whatever the code catches."""
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, settings.run_time_limit_seconds)
    limit = settings.run_memory_limit_mb * 1024 * 1024
    resource.setrlimit(resource.RLIMIT_AS, (limit, resource.RLIM_INFINITY))


@contextmanager
def _heartbeat(lease: Lease, settings: "Settings") -> "Iterator[None]":
    """Prolong the lease from a thread until the block ends or the run stalls.

    A process whose lease went to somebody else ends at once: it may be asleep in a system
    call and must not wake up to send one more request.
    """
    over = threading.Event()
    stall_seconds = KINDS[lease.kind].stall_seconds

    def beat() -> None:
        with acting_as(WORKER):
            while not over.wait(settings.heartbeat_seconds):
                if monotonic() - lease.touched_at > stall_seconds:
                    log.error("run %s stalls; its lease is let go", lease.run_id)
                    return
                if _extended(lease, settings) is False and not over.is_set():
                    log.warning("run %s is somebody else's now", lease.run_id)
                    os._exit(os.EX_TEMPFAIL)

    thread = threading.Thread(target=beat, name="heartbeat", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(timeout=5)


def _extended(lease: Lease, settings: "Settings") -> bool | None:
    """Return whether the lease is still ours; None when the database cannot say now."""
    try:
        with db.unit_of_work() as session:
            # Our own publish may hold the row for longer than a beat.
            session.connection().exec_driver_sql("SET LOCAL lock_timeout = '1s'")
            return ledger.extend(
                session, lease.run_id, lease.fence, lease_seconds=settings.lease_seconds
            )
    except DBAPIError:
        return None


def _do(lease: Lease) -> None:
    """Run the kind's function and write its ending; an ending nobody can write is left
    to the reconciler.
    """
    try:
        job_function(KINDS[lease.kind].path)(lease)
    except BaseException as error:  # noqa: BLE001 - the one place where a run's failure ends
        ending = _ending(error)
        if ending is None:
            return
    else:
        ending = _unfinished
    try:
        with db.unit_of_work() as session:
            ending(lease, session)
    except LeaseLostError:
        log.info("run %s has been ended already or is somebody else's", lease.run_id)


Ending = Callable[[Lease, Any], None]


def _ending(error: BaseException) -> Ending | None:
    """Return what to write for an error; None when nothing may be written any more."""
    if isinstance(error, LeaseLostError):
        return None
    if isinstance(error, StopRequestedError):
        return lambda lease, session: lease.give_back(session)
    if isinstance(error, HeldError):
        return lambda lease, session: lease.hold(session, error)
    if isinstance(error, PermanentError | RejectedError):
        return lambda lease, session: lease.fail(session, error)
    transient = _as_transient(error)
    seconds = transient.retry_after_seconds
    return lambda lease, session: lease.try_later(session, transient, seconds=seconds)


def _as_transient(error: BaseException) -> TransientError:
    if isinstance(error, TransientError):
        return error
    if isinstance(error, MemoryError):
        return MemoryLimitError("The run needed more memory than it may use.")
    if isinstance(error, DBAPIError) and error.connection_invalidated:
        return DatabaseLostError("The connection to the database was lost.")
    # The text of an unknown error may hold a person's data: it goes to the log file alone.
    log.error("a run failed by an error of ours", exc_info=error)
    return InternalError(
        "An error of Simpul itself: %(kind)s. The log file has the details.",
        kind=type(error).__name__,
    )


def _unfinished(lease: Lease, session: Any) -> None:
    """Close a run whose function returned without ending it; ended runs refuse this."""
    error: SimpulError = UnfinishedError("The job ended without a result.")
    lease.fail(session, error)
