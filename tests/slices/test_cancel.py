"""Calling runs off, and runs whose turn is over."""

from time import monotonic

import pytest
import sqlalchemy as sa

from app.audit.models import AuditEvent
from app.core import db
from app.core.errors import TransientError
from app.core.policy import DISPATCHER, acting_as
from app.runs import ledger, services, sweeps
from app.runs.errors import NotCancellableError
from app.runs.ledger import CancelledError, TurnOverError
from app.runs.models import JobRun
from app.runs.states import RunStatus
from tests import make

pytestmark = pytest.mark.usefixtures("bound")


def call_off(run_id):
    with make.session() as s:
        services.cancel(s, s.get_one(JobRun, run_id))


def reconcile():
    with acting_as(DISPATCHER), db.unit_of_work() as session:
        sweeps.reconcile(session)


def test_a_waiting_run_ends_at_once():
    run_id = make.make_run()
    call_off(run_id)
    run = make.run_of(run_id)
    assert run.status is RunStatus.CANCELLED
    assert run.error_params == {"who": "penguji"}
    with make.session(make.WORKER_PRINCIPAL) as s:
        assert ledger.claim(s, run_id, worker="uji:1", lease_seconds=30) is None
        event = s.scalars(
            sa.select(AuditEvent).where(AuditEvent.object_id == str(run_id))
        ).all()[-1]
    assert (event.action, event.actor) == ("cancel", "penguji")


def test_what_is_over_cannot_be_called_off():
    run_id = make.make_run()
    lease = make.claim(run_id)
    with make.session(make.WORKER_PRINCIPAL) as s:
        lease.succeed(s, {})
    with pytest.raises(NotCancellableError):
        call_off(run_id)
    assert make.run_of(run_id).status is RunStatus.SUCCEEDED


def test_a_run_that_holds_its_row_can_be_called_off_meanwhile():
    run_id = make.make_run()
    lease = make.claim(run_id)
    with make.session(make.WORKER_PRINCIPAL) as publish:
        lease.save(publish)
        call_off(run_id)  # does not wait for the transaction that holds the run's row
        call_off(run_id)
    lease.cancelled = True
    with pytest.raises(CancelledError), make.session(make.WORKER_PRINCIPAL) as s:
        lease.save(s)
    with make.session(make.WORKER_PRINCIPAL) as s:
        lease.cancel(s)
    run = make.run_of(run_id)
    assert (run.status, run.error_code) == (RunStatus.CANCELLED, "cancelled")
    assert run.lease_until is None


def test_a_lost_run_that_was_called_off_does_not_come_back():
    run_id = make.make_run()
    make.claim(run_id)
    call_off(run_id)
    make.expire_lease(run_id)
    reconcile()
    assert make.run_of(run_id).status is RunStatus.CANCELLED


@pytest.mark.parametrize("how", ["given back", "failed"])
def test_a_run_called_off_while_it_returns_to_the_queue(how):
    run_id = make.make_run()
    lease = make.claim(run_id)
    if how == "given back":
        with make.session(make.WORKER_PRINCIPAL) as s:
            call_off(run_id)
            lease.give_back(s)
        with make.session(make.WORKER_PRINCIPAL) as s:
            assert ledger.claim(s, run_id, worker="uji:2", lease_seconds=30) is None
        reconcile()
    else:
        call_off(run_id)
        with make.session(make.WORKER_PRINCIPAL) as s:
            lease.try_later(s, TransientError("x"))
    assert make.run_of(run_id).status is RunStatus.CANCELLED


def test_a_cancelled_run_can_be_tried_again():
    run_id = make.make_run()
    call_off(run_id)
    with make.session() as s:
        again = services.retry(s, s.get_one(JobRun, run_id))
    assert make.run_of(again).status is RunStatus.QUEUED


def test_a_turn_ends_at_a_checkpoint_and_costs_no_attempt():
    lease = make.claim(make.make_run())
    with make.session(make.WORKER_PRINCIPAL) as s:
        lease.save(s, checkpoint={"page": 1})
    lease.turn_ends_at = monotonic() - 1
    with pytest.raises(TurnOverError), make.session(make.WORKER_PRINCIPAL) as s:
        lease.save(s, checkpoint={"page": 2})
    with make.session(make.WORKER_PRINCIPAL) as s:
        lease.give_back(s, ledger.TURN_IS_OVER)
    run = make.run_of(lease.run_id)
    assert (run.status, run.attempt) == (RunStatus.QUEUED, 0)
    assert run.checkpoint == {"page": 1}
