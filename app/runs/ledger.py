"""The worker's side of the ledger: claim, prove ownership, checkpoint, finish.

A claim hands out a fencing token. Every transaction in which a worker writes begins with
``Lease.save`` (or ends the run): it updates the run's row *where the token is still the
claim's*, so a worker that was frozen past its lease can no longer change anything, and the
row's lock keeps anybody from taking the run over until that transaction is through.
Leases run on the database's clock. Source of the design: Kleppmann's fencing tokens.
"""

import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cache
from time import monotonic
from typing import Any
from uuid import UUID

import msgspec
import sqlalchemy as sa
from sqlalchemy.orm import Session

from app.core import db
from app.core.errors import PermanentError, SimpulError
from app.core.words import message_id
from app.notifications import notices
from app.notifications.states import NoticeKind
from app.runs.errors import HeldError, LeaseLostError, PutOffError
from app.runs.kinds import KINDS
from app.runs.models import CancelRequest, JobRun, RunLog
from app.runs.states import ACTIVE, LogLevel, RunStatus

MAX_BACKOFF_SECONDS = 900.0
_CLOCK = sa.func.clock_timestamp()
_DEFAULT_BACKOFF_SECONDS = 5.0
# A run's process ends itself sooner; one that cannot is killed from outside.
OVERDUE = timedelta(seconds=10)
WORKER_STOPS = message_id("The worker stops; the run goes on from its last checkpoint.")
TURN_IS_OVER = message_id(
    "The run has had its turn; it goes on from its last checkpoint after those that wait."
)


class UnknownKindError(PermanentError):
    """The run was requested by another version of the program."""

    code = "unknown_kind"

    def __init__(self, kind: str) -> None:
        super().__init__("This version knows no work of the kind %(kind)s.", kind=kind)


class BadParamsError(PermanentError):
    """The run's parameters do not fit its kind any more."""

    code = "bad_params"

    def __init__(self, problem: str) -> None:
        super().__init__("The run's parameters do not fit: %(problem)s", problem=problem)


class StopRequestedError(Exception):
    """The worker is asked to stop: the run goes back, and no attempt is counted."""


class CancelledError(Exception):
    """A person called the run off: it ends here, and what it had begun is undone."""


class TurnOverError(Exception):
    """The run has worked for as long as one run may: others are waiting too."""


@dataclass(slots=True)
class Lease:
    """One worker's hold on one run. ``checkpoint`` is where an earlier attempt came to.

    ``params`` is of the kind's type. ``former_error`` is the code that ended the attempt
    before, "" if there was none. ``stopping`` is set by the worker's signal handler,
    ``cancelled`` by its heartbeat; ``turn_ends_at`` is on the monotonic clock. Each of them
    takes effect at the next ``save``. ``progressed``: a checkpoint was saved in this attempt.
    """

    run_id: UUID
    fence: int
    attempt: int
    max_attempts: int
    kind: str
    label: str
    params: Any
    agency_id: UUID | None
    requested_by: str
    requested_by_id: UUID | None
    checkpoint: dict[str, Any] | None
    touched_at: float = field(default_factory=monotonic)
    former_error: str = ""
    stopping: bool = False
    cancelled: bool = False
    turn_ends_at: float = float("inf")
    progressed: bool = False

    def save(
        self,
        session: Session,
        *,
        checkpoint: Mapping[str, Any] | None = None,
        done: int | None = None,
        total: int | None = None,
        unit: str | None = None,
    ) -> None:
        """Prove ownership in this transaction and store how far the run has come.

        Raises ``LeaseLostError`` when the run is somebody else's, ``StopRequestedError``
        when the worker shall stop, ``CancelledError`` when the run was called off and
        ``TurnOverError`` when its time is up: all roll the caller's transaction back.
        """
        self._heed_wishes()
        given = {
            "checkpoint": checkpoint,
            "progress_done": done,
            "progress_total": total,
            "progress_unit": unit,
        }
        values: dict[str, Any] = {k: v for k, v in given.items() if v is not None}
        self._update(session, worker=JobRun.worker, **values)
        self.touched_at = monotonic()
        self.progressed = self.progressed or checkpoint is not None

    def _heed_wishes(self) -> None:
        if self.cancelled:
            raise CancelledError
        if self.stopping:
            raise StopRequestedError
        if monotonic() > self.turn_ends_at:
            raise TurnOverError

    def log(
        self, message: str, *, level: LogLevel = LogLevel.INFO, **params: object
    ) -> None:
        """Write a line of the run's log at once, in a transaction of its own.

        Raises ``LeaseLostError`` when the run is somebody else's.
        """
        with db.unit_of_work() as session:
            if session.scalar(sa.select(JobRun.id).where(*self._still_ours())) is None:
                raise LeaseLostError
            self.log_in(session, message, level=level, **params)
        self.touched_at = monotonic()

    def log_in(
        self,
        session: Session,
        message: str,
        *,
        level: LogLevel = LogLevel.INFO,
        **params: object,
    ) -> None:
        """Write a line of the run's log as part of the caller's transaction."""
        write_log(
            session, self.run_id, self.agency_id, self.attempt, message, level, params
        )

    def succeed(self, session: Session, result: Mapping[str, Any]) -> None:
        """End the run in the transaction that holds its effect."""
        self._end(session, RunStatus.SUCCEEDED, result=dict(result))

    def fail(self, session: Session, error: SimpulError) -> None:
        """End the run: the same call would fail again."""
        self._end(session, RunStatus.FAILED, **_error_values(error))
        _tell_given_up(session, self.run_id, self.kind, self.label, self.agency_id)
        self.log_in(session, error.message, level=LogLevel.ERROR, **error.params)

    def hold(self, session: Session, held: HeldError) -> None:
        """End the run before its effect: a person decides whether it may go on."""
        self._end(session, RunStatus.HELD, **_error_values(held))
        notices.tell(
            session,
            NoticeKind.PULL_HELD,
            message_id("The pull of %(name)s is held: somebody has to look at it."),
            {"name": self.label},
            path=f"/runs/{self.run_id}",
            agency_id=self.agency_id,
        )
        self.log_in(session, held.message, level=LogLevel.WARNING, **held.params)

    def cancel(self, session: Session) -> None:
        """End the run as called off."""
        self._end(session, RunStatus.CANCELLED, **_cancel_values(session, self.run_id))

    def give_back(self, session: Session, why: str = WORKER_STOPS) -> None:
        """Return the run unfinished, without counting the attempt. ``why``: a message id."""
        self._update(
            session,
            status=RunStatus.QUEUED,
            lease_until=None,
            rung_at=None,
            not_before=_CLOCK,
            attempt=JobRun.attempt - 1,
        )
        self.log_in(session, why)

    def put_off(self, session: Session, reason: PutOffError) -> None:
        """Return the run unfinished until its time has come; no attempt is counted."""
        self._update(
            session,
            status=RunStatus.QUEUED,
            lease_until=None,
            rung_at=None,
            not_before=_CLOCK + timedelta(seconds=max(reason.seconds, 1.0)),
            attempt=JobRun.attempt - 1,
        )
        self.log_in(session, reason.message, level=LogLevel.INFO, **reason.params)

    def try_later(
        self, session: Session, error: SimpulError, *, seconds: float | None = None
    ) -> None:
        """Put the run back with backoff, or end it as dead when no attempt is left."""
        ok = requeue_or_bury(session, self.run_id, self.fence, error, seconds=seconds)
        if not ok:
            raise LeaseLostError

    def _end(self, session: Session, status: RunStatus, **values: Any) -> None:
        self._update(
            session, status=status, lease_until=None, finished_at=_CLOCK, **values
        )

    def _update(self, session: Session, **values: Any) -> None:
        updated = session.execute(
            sa.update(JobRun)
            .where(*self._still_ours())
            .values(**values)
            .returning(JobRun.id)
            # Nobody holds the row as an object here: there is nothing to bring up to date.
            .execution_options(synchronize_session=False)
        ).first()
        if updated is None:
            raise LeaseLostError

    def _still_ours(self) -> tuple[sa.ColumnElement[bool], ...]:
        return _held_by(self.run_id, self.fence)


def _held_by(run_id: UUID, fence: int) -> tuple[sa.ColumnElement[bool], ...]:
    """Return the conditions under which a claim still holds its run."""
    return (
        JobRun.id == run_id,
        JobRun.fence == fence,
        JobRun.status == RunStatus.RUNNING,
    )


def is_called_off() -> sa.ColumnElement[bool]:
    """Return the condition that somebody wants a run cancelled.

    Of tables, not of classes: the ORM marks these when it first writes them, and a statement
    that was built once would be written twice.
    """
    wishes, runs = CancelRequest.__table__, JobRun.__table__
    return sa.exists().where(wishes.c.run_id == runs.c.id)


@cache
def _claiming() -> Any:
    """Return the statement of a claim, built once.

    A run's process has just been forked, and whatever it builds costs it double.
    """
    return (
        sa.update(JobRun)
        .where(
            JobRun.id == sa.bindparam("run"),
            JobRun.status == RunStatus.QUEUED,
            JobRun.not_before <= _CLOCK,
            ~is_called_off(),
        )
        .values(
            status=RunStatus.RUNNING,
            fence=JobRun.fence + 1,
            attempt=JobRun.attempt + 1,
            lease_until=_CLOCK + sa.bindparam("lease", type_=sa.Interval),
            worker=sa.bindparam("by"),
            started_at=sa.func.coalesce(JobRun.started_at, _CLOCK),
        )
        .returning(
            JobRun.id.label("run_id"),
            JobRun.fence,
            JobRun.attempt,
            JobRun.max_attempts,
            JobRun.kind,
            JobRun.label,
            JobRun.params,
            JobRun.agency_id,
            JobRun.requested_by,
            JobRun.requested_by_id,
            JobRun.checkpoint,
            JobRun.error_code.label("former_error"),
        )
        .execution_options(synchronize_session=False)
    )


def claim(
    session: Session, run_id: UUID, *, worker: str, lease_seconds: float
) -> Lease | None:
    """Take a waiting run; None when it is somebody else's, over, or not due yet.

    A run that this version of the program cannot do is ended as failed.
    """
    given = {"run": run_id, "by": worker, "lease": timedelta(seconds=lease_seconds)}
    row = session.execute(_claiming(), given).first()
    if row is None:
        return None
    lease = Lease(**row._asdict())
    try:
        lease.params = _typed_params(lease.kind, lease.params)
    except PermanentError as error:
        lease.fail(session, error)
        return None
    lease.log_in(session, "Attempt %(attempt)s begins.", attempt=lease.attempt)
    return lease


def _typed_params(kind: str, params: Mapping[str, Any]) -> msgspec.Struct:
    definition = KINDS.get(kind)
    if definition is None:
        raise UnknownKindError(kind)
    try:
        return msgspec.convert(params, definition.params, strict=False)
    except msgspec.ValidationError as error:
        raise BadParamsError(str(error)) from None


def was_called_off(session: Session, run_id: UUID) -> bool:
    """Tell whether somebody wants the run cancelled."""
    wish = sa.exists().where(CancelRequest.run_id == run_id)
    return bool(session.scalar(sa.select(wish)))


def has_no_business(session: Session, run_id: UUID, worker: str) -> bool:
    """Tell whether a process that began on a run should have ended by now.

    The run is over, given back or somebody else's, or it was called off long ago. A process
    that sleeps does not notice that itself.
    """
    ours, running = JobRun.worker == worker, JobRun.status == RunStatus.RUNNING
    overdue = sa.exists().where(
        CancelRequest.run_id == JobRun.id, CancelRequest.requested_at < _CLOCK - OVERDUE
    )
    over = sa.or_(ours & ~running, ~ours & running, ours & overdue)
    return (
        session.scalar(sa.select(JobRun.id).where(JobRun.id == run_id, over)) is not None
    )


def _cancel_values(session: Session, run_id: UUID) -> dict[str, Any]:
    who = session.scalar(
        sa.select(CancelRequest.requested_by).where(CancelRequest.run_id == run_id)
    )
    return {
        "error_code": "cancelled",
        "error_message": message_id("Cancelled by %(who)s."),
        "error_params": {"who": who or ""},
    }


def end_called_off(session: Session, run_id: UUID, fence: int) -> bool:
    """End a run that nobody works on any more if it was called off; tell whether it was."""
    ended = session.execute(
        sa.update(JobRun)
        .where(
            JobRun.id == run_id,
            JobRun.fence == fence,
            JobRun.status.in_(ACTIVE),
            is_called_off(),
        )
        .values(
            status=RunStatus.CANCELLED,
            lease_until=None,
            finished_at=_CLOCK,
            **_cancel_values(session, run_id),
        )
        .returning(JobRun.id)
        .execution_options(synchronize_session=False)
    ).first()
    return ended is not None


def extend(session: Session, run_id: UUID, fence: int, *, lease_seconds: float) -> bool:
    """Prolong the lease; False when the run is no longer this claim's."""
    row = session.execute(
        sa.update(JobRun)
        .where(*_held_by(run_id, fence))
        .values(lease_until=_CLOCK + timedelta(seconds=lease_seconds))
        .returning(JobRun.id)
    ).first()
    return row is not None


def requeue_or_bury(
    session: Session,
    run_id: UUID,
    fence: int,
    error: SimpulError,
    *,
    seconds: float | None = None,
) -> bool:
    """End a failed attempt: back in the queue with backoff, or dead. False if not ours.

    A run that was called off meanwhile ends as cancelled instead.
    """
    if end_called_off(session, run_id, fence):
        return True
    run = session.scalar(
        sa.select(JobRun).where(*_held_by(run_id, fence)).with_for_update()
    )
    if run is None:
        return False
    wait = seconds if seconds is not None else backoff(run.kind, run.attempt)
    write_log(
        session,
        run.id,
        run.agency_id,
        run.attempt,
        error.message,
        LogLevel.ERROR,
        error.params,
    )
    now = db.now(session)  # asked first: a query in between would write half the change
    for name, value in _error_values(error).items():
        setattr(run, name, value)
    run.lease_until = None
    run.rung_at = None
    if run.attempt >= run.max_attempts:
        run.status = RunStatus.DEAD
        run.finished_at = now
        _tell_given_up(session, run.id, run.kind, run.label, run.agency_id)
        closing = message_id(
            "All %(max_attempts)s attempts are used up; the run is given up."
        )
    else:
        run.status = RunStatus.QUEUED
        run.not_before = now + timedelta(seconds=wait)
        closing = message_id("The next attempt follows in %(seconds)s seconds.")
    write_log(
        session,
        run.id,
        run.agency_id,
        run.attempt,
        closing,
        LogLevel.WARNING,
        {"max_attempts": run.max_attempts, "seconds": round(wait)},
    )
    session.flush()  # so that the caller's next statement sees the state, not the ORM's cache
    return True


def _tell_given_up(
    session: Session, run_id: UUID, kind: str, label: str, agency_id: UUID | None
) -> None:
    """Tell who may try it again that a run failed for good."""
    known = KINDS.get(kind)
    notices.tell(
        session,
        NoticeKind.RUN_GIVEN_UP,
        message_id("%(kind)s failed for good: %(name)s"),
        {"kind": known.label if known else kind, "name": label or "–"},
        path=f"/runs/{run_id}",
        agency_id=agency_id,
    )


def backoff(kind: str, attempt: int) -> float:
    """Return seconds until the next attempt: doubling, with half of it left to chance."""
    known = KINDS.get(kind)  # the reconciler of an older version meets newer kinds
    first = known.backoff_seconds if known else _DEFAULT_BACKOFF_SECONDS
    full = min(first * 2 ** min(max(attempt - 1, 0), 20), MAX_BACKOFF_SECONDS)
    return float(full) * (0.5 + random.random() / 2)  # noqa: S311 - spreads load, guards nothing


def write_log(
    session: Session,
    run_id: UUID,
    agency_id: UUID | None,
    attempt: int,
    message: str,
    level: LogLevel,
    params: Mapping[str, object],
) -> None:
    session.execute(
        sa.insert(RunLog).values(
            run_id=run_id,
            agency_id=agency_id,
            attempt=attempt,
            level=level,
            message=message,
            params=_jsonable(params),
        )
    )


def _error_values(error: SimpulError | HeldError) -> dict[str, Any]:
    return {
        "error_code": error.code,
        "error_message": error.message,
        "error_params": _jsonable(error.params),
    }


def _jsonable(params: Mapping[str, object]) -> dict[str, Any]:
    return {
        key: value
        if isinstance(value, int | float | bool) or value is None
        else str(value)
        for key, value in params.items()
    }
