"""Doing one run: claim it, work, and write down how it ended."""

import errno
import importlib
import logging
import os
import socket
import threading
import time
from collections.abc import Callable
from contextlib import contextmanager
from time import monotonic
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import psycopg
import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.orm import Session

from app.core import db, faults
from app.core.errors import PermanentError, RejectedError, TransientError
from app.core.line import Line, answers_within
from app.core.policy import WORKER, acting_as, set_request_id
from app.runs import ledger
from app.runs.errors import HeldError, LeaseLostError, PutOffError
from app.runs.kinds import KINDS, HousekeepingParams, KindName
from app.runs.ledger import Lease, StopRequestedError, TurnOverError
from app.runs.services import Order, request_run
from jobs.reader import Reader
from jobs.runtime import current_settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from config import Settings

log = logging.getLogger("simpul.worker")
Job = Callable[[Lease], None]
# A run that is asked to stop and comes to no checkpoint for so long is given back as it is;
# shorter than the patience of whoever asked (ops.supervisor.GRACE_SECONDS).
STOP_SECONDS = 5.0
# A run that was called off ends at its next checkpoint. If it comes to none: the reading of
# the service is broken off, then what the database does for it, then its process.
CANCEL_READER_SECONDS, CANCEL_DATABASE_SECONDS, CANCEL_PROCESS_SECONDS = 2.0, 5.0, 8.0
# This part of the time limit is a run's turn: then it goes back, and on later.
TURN_SHARE = 0.8
# Waits before each try to write an ending; after the last the worker's parent tells it.
ENDING_WAITS = (0.0, 0.5, 2.0)
ENDING_SECONDS = 20.0  # longer than any wait for a lock
REHEARSAL_SECONDS = 5.0  # for each answer: the workers start behind it


class MemoryLimitError(TransientError):
    code = "memory_limit"


class DatabaseLostError(TransientError):
    code = "database_lost"


class TimeLimitError(TransientError):
    code = "time_limit"


class InternalError(TransientError):
    code = "internal"


class DiskFullError(TransientError):
    code = "disk_full"


class ScarcityError(TransientError):
    code = "no_resources"


class UnfinishedError(PermanentError):
    code = "unfinished"


class _Process:
    """The run this process is at, and since when it is asked to stop."""

    lease: Lease | None = None
    reader: Reader | None = None
    stop_asked_at: float | None = None
    called_off_at: float | None = None
    connections: set[Line] = set()  # in use, of any thread


@sa.event.listens_for(sa.pool.Pool, "checkout")
def _note_taken(connection: Any, _record: Any, _proxy: Any) -> None:
    _Process.connections.add(connection)


@sa.event.listens_for(sa.pool.Pool, "checkin")
def _note_returned(connection: Any, _record: Any) -> None:
    _Process.connections.discard(connection)


def prepare() -> None:
    """Import every job once, before any fork."""
    for kind in KINDS.values():
        job_function(kind.path)


def warm_up() -> None:
    """Rehearse a run in a transaction that is taken back: forks inherit how it is said.

    A database that does not answer yet costs nothing but the time it would have saved.
    """
    order = Order(KindName.HOUSEKEEPING, str(uuid4()), HousekeepingParams(), "", None)
    patience = answers_within(REHEARSAL_SECONDS)
    try:
        with acting_as(WORKER), patience, db.unit_of_work() as session:
            run_id = request_run(session, order)
            lease = ledger.claim(session, run_id, worker="", lease_seconds=60)
            if lease is not None:
                ledger.extend(session, run_id, lease.fence, lease_seconds=60)
                lease.save(session)
                lease.succeed(session, {})
            session.rollback()
    except DBAPIError as error:
        log.warning("the database cannot be asked yet: %s", type(error).__name__)
    finally:
        db.engine().dispose()  # nothing open when the next process is forked


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
    _Process.stop_asked_at = _Process.stop_asked_at or monotonic()
    if _Process.lease is not None:
        _Process.lease.stopping = True


def perform(run_id: str) -> None:
    """Do one run, if it is still to be done. Raises only when no ending can be written."""
    settings = current_settings()
    if _Process.stop_asked_at is not None:
        return
    with acting_as(WORKER):
        with answers_within(settings.lease_seconds), db.unit_of_work() as session:
            lease = ledger.claim(
                session,
                UUID(run_id),
                worker=worker_name(os.getpid()),
                lease_seconds=settings.lease_seconds,
            )
        if lease is None:
            return
        faults.point("claimed")
        set_request_id(f"run-{run_id}")
        _Process.lease = lease
        # The signal may have come while the claim was on its way.
        lease.stopping = _Process.stop_asked_at is not None
        lease.turn_ends_at = monotonic() + TURN_SHARE * settings.run_time_limit_seconds
        try:
            with _reader(lease), _heartbeat(lease, settings):
                _do(lease)
        except (OSError, RuntimeError) as error:  # no process or thread was to be had
            _write(lease, _fault_ending(error))
        finally:
            _Process.lease = None


def current_reader() -> Reader:
    """Return the process that reads for the run at hand."""
    if _Process.reader is None:
        raise RuntimeError("this kind of run reads nothing")
    return _Process.reader


@contextmanager
def _reader(lease: Lease) -> "Iterator[None]":
    """Have a reading process while the block runs, if the kind wants one.

    Before the heartbeat: a process with a second thread must not fork.
    """
    if not KINDS[lease.kind].reads:
        yield
        return
    _Process.reader = Reader()
    try:
        yield
    finally:
        _Process.reader.close()
        _Process.reader = None


@contextmanager
def _heartbeat(lease: Lease, settings: "Settings") -> "Iterator[None]":
    """Prolong the lease from a thread until the block ends or the run stalls.

    A process whose lease went to somebody else ends at once: it may be asleep in a system
    call and must not wake up to send one more request.
    """
    over = threading.Event()
    thread = threading.Thread(
        target=_beat, args=(lease, settings, over), name="heartbeat", daemon=True
    )
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(timeout=5)


def _beat(lease: Lease, settings: "Settings", over: threading.Event) -> None:
    stall_seconds = KINDS[lease.kind].stall_seconds
    next_beat = monotonic() + settings.heartbeat_seconds
    # A dumb line must leave time for another try before the lease is over, and for a look
    # at the clock in any case: the run's own thread may wait on such a line for ever.
    patience = (settings.lease_seconds - settings.heartbeat_seconds) / 2
    with acting_as(WORKER), answers_within(patience):
        while not over.wait(min(settings.heartbeat_seconds, 1.0)):
            if monotonic() - lease.touched_at > stall_seconds:
                log.error("run %s stalls; its process ends", lease.run_id)
                os._exit(os.EX_SOFTWARE)
            _give_back_if_overdue(lease)
            _end_if_called_off(lease)
            if monotonic() < next_beat:
                continue
            next_beat = monotonic() + settings.heartbeat_seconds
            _end_dead_lines(settings)
            # What ended the run may still be on its way back: give it a moment.
            if _extended(lease, settings) is False and not over.wait(1.0):
                log.warning("run %s is somebody else's now", lease.run_id)
                os._exit(os.EX_TEMPFAIL)


def _end_dead_lines(settings: "Settings") -> None:
    """Let the run's own thread know when it waits for an answer that was lost on the way.

    While this thread has lines that work, the lease would be prolonged for ever. In less
    than the time after which the database ends a transaction that does nothing.
    """
    try:
        ended = db.hang_up_dead(list(_Process.connections), settings.lease_seconds / 2)
    except DBAPIError:
        return  # asked again at the next beat
    if ended:
        log.warning("the line to the database was dead; it is given up")


def _extended(lease: Lease, settings: "Settings") -> bool | None:
    """Return whether the lease is still ours; None when the database cannot say now."""
    try:
        with _impatient_session() as session:
            return ledger.extend(
                session, lease.run_id, lease.fence, lease_seconds=settings.lease_seconds
            )
    except DBAPIError:
        return None


def _give_back_if_overdue(lease: Lease) -> None:
    """Return a run that was asked to stop but does not come to a checkpoint."""
    asked_at = _Process.stop_asked_at
    if asked_at is None or monotonic() - asked_at < STOP_SECONDS:
        return
    try:
        with _impatient_session() as session:
            lease.give_back(session)
    except (DBAPIError, LeaseLostError):
        return  # a publish at work: it ends, or this is tried again
    os._exit(os.EX_TEMPFAIL)


def _end_if_called_off(lease: Lease) -> None:
    """Bring a run that was called off to its end, the longer it takes the harder."""
    if _Process.called_off_at is None and not _is_called_off(lease):
        return
    _Process.called_off_at = _Process.called_off_at or monotonic()
    lease.cancelled = True
    waited = monotonic() - _Process.called_off_at
    if waited >= CANCEL_READER_SECONDS and _Process.reader is not None:
        _Process.reader.break_off()
    if waited >= CANCEL_DATABASE_SECONDS:
        for connection in list(_Process.connections):
            connection.cancel_safe(timeout=1.0)
    if waited >= CANCEL_PROCESS_SECONDS:
        log.warning(
            "run %s was called off and did not end; its process ends", lease.run_id
        )
        os._exit(os.EX_TEMPFAIL)


def _is_called_off(lease: Lease) -> bool:
    try:
        with _impatient_session() as session:
            return ledger.was_called_off(session, lease.run_id)
    except DBAPIError:
        return False  # asked again in a second


@contextmanager
def _impatient_session() -> "Iterator[Session]":
    """A session of the heartbeat: our own publish may hold the run's row for long."""
    with db.unit_of_work() as session:
        session.connection().exec_driver_sql("SET LOCAL lock_timeout = '1s'")
        yield session


def _do(lease: Lease) -> None:
    """Run the kind's function and write its ending."""
    try:
        job_function(KINDS[lease.kind].path)(lease)
    except BaseException as error:  # noqa: BLE001 - the one place where a run's failure ends
        ending = _ending(error, lease)
    else:
        ending = _unfinished
    if ending is not None:
        _write(lease, ending)


Ending = Callable[[Lease, Session], None]


def _write(lease: Lease, ending: Ending) -> None:
    """Write how a run ended; the fence makes a second try of the same ending harmless."""
    for tries_left, wait in zip(
        reversed(range(len(ENDING_WAITS))), ENDING_WAITS, strict=True
    ):
        time.sleep(wait)
        try:
            with answers_within(ENDING_SECONDS), db.unit_of_work() as session:
                ending(lease, session)
        except LeaseLostError:
            log.debug("run %s has its ending already", lease.run_id)
        except DBAPIError:
            if not tries_left:
                raise
            continue
        return


def _ending(error: BaseException, lease: Lease) -> Ending | None:
    """Return what to write for an error; None when nothing may be written any more."""
    if isinstance(error, LeaseLostError):
        log.info("the run is somebody else's now")
        return None
    if lease.cancelled:  # whatever it was: it came of our breaking off, or comes too late
        return Lease.cancel
    if isinstance(error, StopRequestedError):
        return Lease.give_back
    if isinstance(error, TurnOverError):
        return _turn_over(lease)
    if isinstance(error, PutOffError):
        return lambda lease, session: lease.put_off(session, error)
    return _fault_ending(error)


def _turn_over(lease: Lease) -> Ending:
    """Give the run back; one that came no further in its whole turn has used up an attempt."""
    if lease.progressed:
        return lambda lease, session: lease.give_back(session, ledger.TURN_IS_OVER)
    error = TimeLimitError("The run took longer than it may.")
    return lambda lease, session: lease.try_later(session, error)


def _fault_ending(error: BaseException) -> Ending:
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
    if _is_full_disk(error):
        return DiskFullError("A disk of the server is full: make room, then try again.")
    if _is_scarcity(error):
        return ScarcityError(
            "The server can start no more processes or open no more files."
        )
    # COPY goes straight to the driver, whose errors SQLAlchemy does not wrap.
    if isinstance(error, OperationalError | psycopg.OperationalError) or (
        isinstance(error, DBAPIError) and error.connection_invalidated
    ):
        log.warning("the database failed a run: %s", error)
        return DatabaseLostError("The database did not answer or broke off.")
    # The text of an unknown error may hold a person's data: it goes to the log file alone.
    log.error("a run failed by an error of ours", exc_info=error)
    return InternalError(
        "An error of Simpul itself: %(kind)s. The log file has the details.",
        kind=type(error).__name__,
    )


def _is_full_disk(error: BaseException) -> bool:
    """Tell whether there was no room to write, for us or for the database."""
    cause = getattr(error, "orig", error)
    no_room = isinstance(cause, OSError) and cause.errno in {errno.ENOSPC, errno.EDQUOT}
    return no_room or isinstance(cause, psycopg.errors.DiskFull)


def _is_scarcity(error: BaseException) -> bool:
    """Tell whether the system had no process, thread or file left for us."""
    cause = getattr(error, "orig", error).__cause__ or error
    if isinstance(cause, OSError):
        return cause.errno in {errno.EAGAIN, errno.EMFILE, errno.ENFILE}
    return isinstance(error, RuntimeError) and "start new thread" in str(error)


def _unfinished(lease: Lease, session: Any) -> None:
    """Close a run whose function returned without ending it; ended runs refuse this."""
    lease.fail(session, UnfinishedError("The job ended without a result."))
