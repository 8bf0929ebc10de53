"""Runs that are frozen past their lease, cut off from the database, or overtaken."""

import os
import signal
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest
import sqlalchemy as sa

from app.core import db
from app.core.policy import DISPATCHER, acting_as
from app.runs import sweeps
from app.runs.models import RunLog
from app.runs.states import RunStatus
from tests import fakes, make
from tests.faults.model import Agency, check_effects

SEED = 4711


def is_frozen(pid):
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"


def reconcile(run_id):
    """Sweep once; tell whether this run is waiting again. Other tests' runs may be swept too."""
    with acting_as(DISPATCHER), db.unit_of_work() as session:
        sweeps.reconcile(session)
    return make.run_of(run_id).status is RunStatus.QUEUED


def everything(contract, run_id):
    """Return all that a woken worker could have changed."""
    slug = contract.slug
    tables = (
        f'data."{slug}"',
        f'data."{slug}__history"',
        "pull_run",
        "quarantined_record",
    )
    with make.session() as s:
        found = [
            sorted(map(str, s.execute(sa.text(f"SELECT t.*, t.xmin FROM {table} t"))))
            for table in tables
        ]
        found.append(s.scalars(sa.select(RunLog.id).where(RunLog.run_id == run_id)).all())
        run = sa.text("SELECT t.*, t.xmin FROM job_run t WHERE id = :id")
        found.append([str(row) for row in s.execute(run, {"id": run_id})])
    return found


@pytest.fixture
def still_yard(bound):
    """Processes whose heartbeat does not fall into a test: frozen in the middle of one they
    hold the run's row until PostgreSQL ends it, which is a proof of its own.
    """
    calm = replace(bound, lease_seconds=120.0, heartbeat_seconds=60.0)
    with fakes.Yard(calm) as made:
        yield made


@pytest.fixture
def pulled(upstream):
    """An agency, its contract and its source, ready to be pulled."""
    agency = Agency(SEED)
    contract = make.make_contract(max_vanished_percent=50)
    source = make.make_source(contract, upstream.url)
    upstream.records = agency.next_answer()
    return agency, contract, source


@pytest.mark.parametrize(
    "point", ["claimed", "cleared", "page_committed:2", "fetched", "settled"]
)
def test_woken_worker_changes_nothing(still_yard, pulled, point):
    yard = still_yard
    agency, contract, source = pulled
    run_id = make.request_pull(source)
    frozen = yard.start(
        run_id, f"{point}:1:stop" if ":" not in point else f"{point}:stop"
    )
    fakes.wait_until(lambda: is_frozen(frozen), 10)
    make.expire_lease(run_id)
    assert reconcile(run_id)
    make.make_due(run_id)
    assert yard.run(run_id) == 0
    check_effects(agency, contract, [run_id])
    before = everything(contract, run_id)
    os.kill(frozen, signal.SIGCONT)
    yard.wait(frozen)
    assert everything(contract, run_id) == before
    assert make.run_of(run_id).attempt == 2


def test_woken_worker_while_the_other_is_at_work(still_yard, pulled):
    yard = still_yard
    agency, contract, source = pulled
    run_id = make.request_pull(source)
    first = yard.start(run_id, "page_committed:2:stop")
    fakes.wait_until(lambda: is_frozen(first), 10)
    make.expire_lease(run_id)
    assert reconcile(run_id)
    make.make_due(run_id)
    second = yard.start(run_id, "page_committed:2:stop")
    fakes.wait_until(lambda: is_frozen(second), 10)
    os.kill(first, signal.SIGCONT)
    yard.wait(first)  # meets the fence and ends
    assert make.run_of(run_id).status is RunStatus.RUNNING
    os.kill(second, signal.SIGCONT)
    assert yard.wait(second) == 0
    check_effects(agency, contract, [run_id])


@pytest.mark.long
@pytest.mark.parametrize("point", ["page_written:2", "merged", "published_written"])
def test_frozen_inside_a_transaction(yard, pulled, point):
    """PostgreSQL ends a transaction that stays idle for 30 seconds, and with it the locks."""
    agency, contract, source = pulled
    run_id = make.request_pull(source)
    frozen = yard.start(run_id, f"{point}:stop" if ":" in point else f"{point}:1:stop")
    fakes.wait_until(lambda: is_frozen(frozen), 10)
    make_expire = f"UPDATE job_run SET lease_until = now() WHERE id = '{run_id}'"
    admin = (
        os.environ["TEST_PG_ADMIN_URL"].rpartition("/")[0]
        + f"/{db.engine().url.database}"
    )

    def taken_over():
        with psycopg.connect(admin, autocommit=True) as connection:
            connection.execute("SET lock_timeout = '500ms'")
            try:
                connection.execute(make_expire)
            except psycopg.errors.LockNotAvailable:
                return False
        return reconcile(run_id)

    fakes.wait_until(taken_over, 60)
    make.make_due(run_id)
    assert yard.run(run_id) == 0
    check_effects(agency, contract, [run_id])
    before = everything(contract, run_id)
    os.kill(frozen, signal.SIGCONT)
    yard.wait(frozen)
    assert everything(contract, run_id) == before


@pytest.mark.parametrize("page", [1, 3, 6])
def test_backends_terminated_in_mid_run(yard, upstream, pulled, page):
    agency, contract, source = pulled
    cut = []

    def cut_off(_handler, asked):
        if asked == page and not cut:
            cut.append(asked)
            admin = os.environ["TEST_PG_ADMIN_URL"]
            with psycopg.connect(admin) as connection:
                connection.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE datname = %s",
                    [db.engine().url.database],
                )
        return False

    upstream.answer = cut_off
    run_id = make.request_pull(source)
    yard.run(run_id)
    db.engine().dispose()
    assert cut
    run = make.run_of(run_id)
    if (
        run.status is RunStatus.QUEUED
    ):  # else the pool had noticed before anything was lost
        assert run.error_code == "database_lost"
        make.make_due(run_id)
        assert yard.run(run_id) == 0
    check_effects(agency, contract, [run_id])


@pytest.mark.parametrize("page", [1, 3, 6])
def test_a_new_version_is_activated_under_a_run(yard, upstream, pulled, page):
    agency, contract, source = pulled
    done = []

    def activate(_handler, asked):
        if asked == page and not done:
            done.append(asked)
            wider = [*make.PERSON, make.field("catatan")]
            make.next_version(contract.id, wider, max_vanished_percent=50)
            make.activate(contract.id)
        return False

    upstream.answer = activate
    run_id = make.request_pull(source)
    yard.run(run_id)
    run = make.run_of(run_id)
    assert done
    assert (run.status, run.error_code) == (RunStatus.QUEUED, "version_changed")
    make.make_due(run_id)
    assert yard.run(run_id) == 0
    check_effects(agency, contract, [run_id], version=2)
