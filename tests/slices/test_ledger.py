"""The ledger: claims, fences, attempts, holds, and who may write what."""

import threading
from datetime import timedelta
from uuid import uuid4

import pytest
import sqlalchemy as sa

from app.core import db
from app.core.errors import PermanentError, TransientError
from app.core.policy import DISPATCHER, acting_as
from app.pulls.states import GateCode
from app.runs import ledger, services, sweeps
from app.runs.errors import (
    AlreadyActiveError,
    HeldError,
    LeaseLostError,
    NotRetryableError,
    ReasonMissingError,
    SupersededError,
)
from app.runs.kinds import HousekeepingParams
from app.runs.ledger import StopRequestedError
from app.runs.models import JobRun, RunLog
from app.runs.services import Order
from app.runs.states import QueueName, RunStatus
from tests import make

pytestmark = pytest.mark.usefixtures("bound")


def order(key="k", kind="housekeeping"):
    return Order(kind, key, HousekeepingParams(), "Uji", None)


def worker_session():
    return make.session(make.WORKER_PRINCIPAL)


def sweep(function, **values):
    with acting_as(DISPATCHER), db.unit_of_work() as session:
        return function(session, **values)


def logged(run_id):
    with make.session() as s:
        return s.scalars(sa.select(RunLog.message).where(RunLog.run_id == run_id)).all()


def test_of_many_claims_one_is_granted():
    run_id = make.make_run()
    barrier, got = threading.Barrier(4), []

    def claim():
        barrier.wait()
        with worker_session() as s:
            got.append(ledger.claim(s, run_id, worker="uji:1", lease_seconds=30))

    threads = [threading.Thread(target=claim) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(lease is not None for lease in got) == 1
    assert make.run_of(run_id).attempt == 1


def test_a_run_is_not_claimed_before_its_time():
    run_id = make.make_run(
        not_before=sa.func.clock_timestamp() + sa.text("interval '1 h'")
    )
    with worker_session() as s:
        assert ledger.claim(s, run_id, worker="uji:1", lease_seconds=30) is None


@pytest.mark.parametrize(
    "write",
    [
        lambda lease, s: lease.save(s, checkpoint={"page": 9}),
        lambda lease, s: lease.succeed(s, {}),
        lambda lease, s: lease.fail(s, PermanentError("x")),
        lambda lease, s: lease.hold(s, HeldError("x", "x")),
        lambda lease, s: lease.give_back(s),
        lambda lease, s: lease.try_later(s, TransientError("x")),
        lambda lease, _s: lease.log("x"),
    ],
)
@pytest.mark.parametrize("taken_over", [True, False])
def test_without_the_lease_nothing_is_written(write, taken_over):
    run_id = make.make_run()
    old = make.claim(run_id)
    make.expire_lease(run_id)
    sweep(sweeps.reconcile)
    if taken_over:
        make.make_due(run_id)
        make.claim(run_id)
    before, lines = make.run_of(run_id), logged(run_id)
    with pytest.raises(LeaseLostError), worker_session() as s:
        write(old, s)
    after = make.run_of(run_id)
    columns = sa.inspect(JobRun).columns.keys()
    assert [getattr(after, c) for c in columns] == [getattr(before, c) for c in columns]
    assert logged(run_id) == lines
    with worker_session() as s:
        assert not ledger.extend(s, run_id, old.fence, lease_seconds=30)


def test_one_active_run_for_a_key():
    key = make.word()
    with make.session() as s:
        first = services.request_run(s, order(key))
    with pytest.raises(AlreadyActiveError), make.session() as s:
        services.request_run(s, order(key))
    lease = make.claim(first)
    with pytest.raises(AlreadyActiveError), make.session() as s:
        services.request_run(s, order(key))
    with worker_session() as s:
        lease.succeed(s, {})
    with make.session() as s:
        services.request_run(s, order(key))


def test_simultaneous_requests_for_a_key_make_one_run():
    key, barrier, outcomes = make.word(), threading.Barrier(4), []

    def request():
        barrier.wait()
        try:
            with make.session() as s:
                services.request_run(s, order(key))
        except AlreadyActiveError:
            outcomes.append("refused")
        else:
            outcomes.append("made")

    threads = [threading.Thread(target=request) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["made", "refused", "refused", "refused"]


def test_attempts_back_off_and_end():
    run_id = make.make_run(max_attempts=3)
    for attempt in (1, 2, 3):
        lease = make.claim(run_id)
        assert lease.attempt == attempt
        with worker_session() as s:
            lease.try_later(s, TransientError("Gagal %(n)s", code="uji", n=attempt))
            now = db.now(s)
        run = make.run_of(run_id)
        assert run.error_code == "uji"
        if attempt < 3:
            assert run.status is RunStatus.QUEUED
            wait = (run.not_before - now).total_seconds()
            full = 5 * 2 ** (attempt - 1)
            assert full / 2 - 1 <= wait <= full
            make.make_due(run_id)
    assert run.status is RunStatus.DEAD
    assert run.finished_at is not None
    assert logged(run_id).count("Gagal %(n)s") == 3


def test_a_lost_worker_uses_up_attempts_too():
    run_id = make.make_run(max_attempts=2)
    for _ in range(2):
        make.claim(run_id)
        make.expire_lease(run_id)
        sweep(sweeps.reconcile)  # other tests' lost runs may be among those it counts
        assert make.run_of(run_id).status is not RunStatus.RUNNING
        make.make_due(run_id)
    run = make.run_of(run_id)
    assert (run.status, run.error_code) == (RunStatus.DEAD, "worker_lost")


def test_wait_that_the_service_asked_for_is_kept():
    lease = make.claim(make.make_run())
    with worker_session() as s:
        lease.try_later(s, TransientError("x"), seconds=120)
        now = db.now(s)
    assert 118 < (make.run_of(lease.run_id).not_before - now).total_seconds() <= 120


@pytest.mark.parametrize(
    ("values", "code"),
    [
        ({"kind": "dari_masa_depan"}, "unknown_kind"),
        ({"kind": "pull", "params": {"source_id": "bukan"}}, "bad_params"),
        ({"kind": "pull", "params": {}}, "bad_params"),
        ({"kind": "housekeeping", "params": {"apa": 1}}, "bad_params"),
    ],
)
def test_what_this_version_cannot_do_ends_as_failed(values, code):
    run_id = make.make_run(**values)
    with worker_session() as s:
        assert ledger.claim(s, run_id, worker="uji:1", lease_seconds=30) is None
    run = make.run_of(run_id)
    assert (run.status, run.error_code) == (RunStatus.FAILED, code)


def test_a_run_of_an_unknown_kind_does_not_stop_the_reconciler():
    run_id = make.make_run()
    make.claim(run_id)
    with make.session() as s:
        s.execute(sa.update(JobRun).where(JobRun.id == run_id).values(kind="baru"))
    make.expire_lease(run_id)
    sweep(sweeps.reconcile)
    assert make.run_of(run_id).status is RunStatus.QUEUED


def test_given_back_runs_keep_their_attempts_and_checkpoint():
    lease = make.claim(make.make_run())
    with worker_session() as s:
        lease.save(s, checkpoint={"page": 7}, done=70)
    lease.stopping = True
    with pytest.raises(StopRequestedError), worker_session() as s:
        lease.save(s, checkpoint={"page": 8})
    with worker_session() as s:
        lease.give_back(s)
    run = make.run_of(lease.run_id)
    assert (run.status, run.attempt, run.checkpoint) == (RunStatus.QUEUED, 0, {"page": 7})
    assert make.claim(lease.run_id).checkpoint == {"page": 7}


def held_run(kind="pull", **values):
    contract = make.make_contract()
    source = make.make_source(contract, "http://127.0.0.1:9/x")
    run_id = make.make_run(kind, params={"source_id": str(source.id)}, **values)
    lease = make.claim(run_id)
    with worker_session() as s:
        lease.hold(s, HeldError(GateCode.VANISHED, "Terlalu banyak: %(n)s", n=9))
    return run_id


def test_a_held_run_goes_on_when_a_person_accepts_it():
    run_id = held_run()
    with make.session() as s:
        run = s.get_one(JobRun, run_id)
        with pytest.raises(ReasonMissingError):
            services.accept_held(s, run, "")
        new_id = services.accept_held(s, run, "Sudah dicek dengan OPD")
    assert make.run_of(run_id).status is RunStatus.HELD
    again = make.run_of(new_id)
    assert again.params["accepted"] == [GateCode.VANISHED]
    assert again.retry_of_id == run_id


def test_a_held_run_is_accepted_once_and_only_while_it_is_the_newest():
    """Or a word given about yesterday's answer would open the gate for tomorrow's."""
    run_id = held_run()
    with make.session() as s:
        new_id = services.accept_held(s, s.get_one(JobRun, run_id), "Sudah dicek")
    lease = make.claim(new_id)
    with worker_session() as s:
        lease.succeed(s, {})

    with make.session() as s, pytest.raises(SupersededError):
        services.accept_held(s, s.get_one(JobRun, run_id), "Sekali lagi")


def test_only_what_failed_or_is_held_is_retried():
    lease = make.claim(make.make_run())
    for end in (None, "succeed"):
        if end:
            with worker_session() as s:
                lease.succeed(s, {})
        with make.session() as s:
            run = s.get_one(JobRun, lease.run_id)
            with pytest.raises(NotRetryableError):
                services.retry(s, run)
            with pytest.raises(NotRetryableError):
                services.accept_held(s, run, "alasan")


def test_every_queue_gets_its_turn_and_early_runs_come_first():
    late = make.make_run(not_before=sa.func.clock_timestamp() - sa.text("interval '1 s'"))
    early = make.make_run(
        not_before=sa.func.clock_timestamp() - sa.text("interval '1 min'")
    )
    exports = make.make_run("export")
    taken = sweep(sweeps.take_waiting, again_after_seconds=30)
    ids = [w.run_id for w in taken]
    assert ids.index(early) < ids.index(late)
    assert {w.queue for w in taken if w.run_id == exports} == {QueueName.EXPORTS}
    assert not {late, early} & {
        w.run_id for w in sweep(sweeps.take_waiting, again_after_seconds=30)
    }
    again = sweep(sweeps.take_waiting, again_after_seconds=0)
    assert {w.again for w in again if w.run_id in {late, early}} == {True}
    sweep(sweeps.unring, run_ids=[late])
    assert late in {w.run_id for w in sweep(sweeps.take_waiting, again_after_seconds=30)}


def test_leases_run_on_the_databases_clock():
    lease = make.claim(make.make_run(), seconds=30)
    with make.session() as s:
        left = s.get_one(JobRun, lease.run_id).lease_until - db.now(s)
    assert timedelta(seconds=28) < left <= timedelta(seconds=30)
    sweep(sweeps.reconcile)
    assert make.run_of(lease.run_id).status is RunStatus.RUNNING


def test_a_plain_retry_lets_nothing_pass_that_somebody_let_pass_before(office):
    source_id = str(uuid4())
    run_id = make.make_run(
        "pull",
        status="failed",
        finished_at=sa.func.now(),
        params={"source_id": source_id, "accepted": ["too_many_vanished"]},
    )

    with make.session() as s:
        again = services.retry(s, s.get_one(JobRun, run_id))

    assert make.run_of(again).params == {
        "source_id": source_id, "accepted": [], "replay_of": None,
    }  # fmt: skip
