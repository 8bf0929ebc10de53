"""A run's process is killed at every point of a pull: nothing is lost or done twice."""

import signal

import pytest
import sqlalchemy as sa

from app.core import db
from app.core.policy import DISPATCHER, acting_as
from app.pulls import services
from app.pulls.models import PullRun
from app.runs import sweeps
from app.runs.states import RunStatus
from app.runs.sweeps import WorkerLostError
from jobs import perform
from jobs.worker import report_lost
from tests import make
from tests.faults.model import Agency, check_effects

PAGES = range(1, 7)
POINTS = [
    "claimed",
    "cleared",
    *(f"page_written:{n}" for n in PAGES),
    *(f"page_committed:{n}" for n in PAGES),
    "fetched",
    "settled_written",
    "settled",
    "publish_begun",
    "merged",
    "published_written",
    "published",
]


def reconcile():
    with acting_as(DISPATCHER), db.unit_of_work() as session:
        sweeps.reconcile(session)


@pytest.mark.parametrize("seed", [20261123])
def test_killed_at_every_point(yard, upstream, seed):
    agency = Agency(seed)
    contract = make.make_contract(max_vanished_percent=50)
    source = make.make_source(contract, upstream.url)
    done = []
    for number, point in enumerate(["", *POINTS]):
        upstream.records = agency.next_answer()
        upstream.asked.clear()
        run_id = make.request_pull(source)
        done.append(run_id)
        if point:
            pid = yard.start(run_id, point)
            assert yard.wait(pid) == -signal.SIGKILL, point
            if number % 2:  # the worker's parent lives and tells
                report_lost(run_id, perform.worker_name(pid), WorkerLostError())
            else:  # the whole machine is gone: the lease runs out
                if point != "published":
                    make.expire_lease(run_id)
                reconcile()
            make.make_due(run_id)
        assert yard.run(run_id) == 0
        run = make.run_of(run_id)
        assert run.status is RunStatus.SUCCEEDED, (point, run.error_code)
        assert run.attempt == (2 if point not in {"", "published"} else 1), point
        check_effects(agency, contract, done)
        # Read twice: at most the page being stored, the one in hand, the one fetched ahead.
        assert sum(upstream.asked.values()) <= len(PAGES) + 3, point
        for page in range(1, int(([*point.split(":"), "1"])[1])):
            assert upstream.asked[page] == 1, point


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", [7, 8])
def test_killed_before_every_statement(yard, upstream, seed):
    """Not at chosen points but before each thing a pull says to the database."""
    agency = Agency(seed)
    contract = make.make_contract(max_vanished_percent=50)
    source = make.make_source(contract, upstream.url)
    done, statement, status = [], 0, -signal.SIGKILL
    while status == -signal.SIGKILL:
        statement += 1
        upstream.records = agency.next_answer()
        run_id = make.request_pull(source)
        done.append(run_id)
        pid = yard.start(run_id, KILL_AT_STATEMENT=str(statement))
        status = yard.wait(pid)
        report_lost(run_id, perform.worker_name(pid), WorkerLostError())
        make.make_due(run_id)
        assert yard.run(run_id) == 0
        check_effects(agency, contract, done)
    assert statement > 50
    print(f"killed before each of {statement - 1} statements")


@pytest.mark.parametrize("point", ["restored", "restored_written", "rolled_back"])
def test_a_rollback_is_done_once_or_not_at_all(yard, upstream, point):
    contract = make.make_contract(max_vanished_percent=100)
    source = make.make_source(contract, upstream.url)
    runs = []
    for names in (("A", "B", "C"), ("A", "D")):
        upstream.records = [
            {"nip": f"{n:04}", "nama": name} for n, name in enumerate(names)
        ]
        runs.append(make.request_pull(source))
        assert yard.run(runs[-1]) == 0
    with make.session() as s:
        target = s.get_one(PullRun, runs[0])
        run_id = services.request_rollback(s, target.dataset, target, "salah kirim")
    pid = yard.start(run_id, point)
    assert yard.wait(pid) == -signal.SIGKILL
    report_lost(run_id, perform.worker_name(pid), WorkerLostError())
    make.make_due(run_id)
    assert yard.run(run_id) == 0
    assert make.run_of(run_id).status is RunStatus.SUCCEEDED
    table = f'data."{contract.slug}"'
    with make.session() as s:
        rows = s.scalars(
            sa.text(f"SELECT nama FROM {table} WHERE _deleted_at IS NULL ORDER BY nip")
        ).all()
        kept = s.scalar(sa.text(f'SELECT count(*) FROM data."{contract.slug}__history"'))
    assert rows == ["A", "B", "C"]
    assert kept == 4  # two of the second pull, two of the roll-back
