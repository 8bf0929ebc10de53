"""Limits of hosts, kept by real runs: processes of the worker, PostgreSQL, Redis and HTTP."""

import json
import os
import signal
import threading
import time
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import psutil
import pytest
import sqlalchemy as sa

from app.core.policy import DISPATCHER
from app.pulls.models import PullRun
from app.runs import services as run_services
from app.runs.models import JobRun, RunLog
from app.runs.states import TERMINAL, RunStatus
from app.sources import hosts
from app.sources.models import Host, HostVisit, Source
from tests import fakes, make

OFFICE_CLOCK = ZoneInfo("Asia/Jakarta")


@pytest.fixture
def upstream(upstream):
    upstream.records = make.people(*range(40))
    return upstream


def pair_of(server):
    return server.url.split("/")[2]


def configure(server, **values):
    """Set what is kept about a server's host."""
    with make.session() as s:
        host = s.scalars(
            sa.select(Host).where(Host.pair == pair_of(server))
        ).one_or_none()
        host = host or Host(pair=pair_of(server))
        for name, value in values.items():
            setattr(host, name, value)
        s.add(host)


def host_now(server):
    with make.session() as s:
        return s.scalars(sa.select(Host).where(Host.pair == pair_of(server))).one()


def make_source(server, **settings):
    waits = {"read_seconds": 20.0, "page_seconds": 20.0}
    return make.make_source(make.make_contract(), server.url, **waits | settings)


def with_token_of(source, token_host):
    """Let a source log in at another host first."""
    with make.session() as s:
        own = s.get_one(Source, source.id)
        own.settings = own.settings | {
            "auth": "login", "auth_name": "X-Token", "auth_fields": {"kunci": "{key}"},
            "auth_url": token_host.url, "auth_token_path": "token",
        }  # fmt: skip
        own.secrets = {"auth_secret": "k"}
        own.approved_host = f"{own.approved_host} {pair_of(token_host)}"
    return source


def note_times(server):
    """Remember when a server is asked, and for which page."""
    asked = []
    server.answer = lambda _handler, page: bool(asked.append((time.monotonic(), page)))
    return asked


def gaps(asked):
    moments = sorted(moment for moment, _ in asked)
    return [after - before for before, after in pairwise(moments)]


def await_all(processes, runs, seconds=40):
    def over():
        return all(make.run_of(run).status in TERMINAL for run in runs)

    fakes.wait_until(over, seconds, processes.said)
    assert {make.run_of(run).status for run in runs} == {RunStatus.SUCCEEDED}


def test_two_workers_together_ask_no_faster_than_the_host_allows(processes, upstream):
    configure(upstream, per_second=5.0)
    asked = note_times(upstream)
    runs = [make.request_pull(make_source(upstream)) for _ in range(2)]
    processes.scheduler()
    for _ in range(2):
        processes.worker()

    await_all(processes, runs)

    assert len(asked) == 8
    # Turns are given in the database; on the way to the service one may lag behind.
    assert sum(gaps(asked)) > 7 * 0.2 - 0.15
    assert sum(gap > 0.1 for gap in gaps(asked)) >= 5


def test_the_host_of_a_token_has_limits_of_its_own(processes, upstream):
    with fakes.Upstream() as token_host:
        asked = []

        def answer(handler, _page):
            asked.append((time.monotonic(), 0))
            return handler.reply(json.dumps({"token": "t"}).encode())

        token_host.answer = answer
        configure(token_host, per_second=0.5)
        runs = [
            make.request_pull(with_token_of(make_source(upstream), token_host))
            for _ in range(2)
        ]
        processes.scheduler()
        for _ in range(2):
            processes.worker()

        await_all(processes, runs)

    assert len(asked) == 2
    assert gaps(asked)[0] > 1.8


def test_nobody_asks_before_the_time_a_host_asked_for(processes, upstream):
    refused = []

    def answer(handler, page):
        asked.append((time.monotonic(), page))
        if page == 2 and not refused:
            refused.append(time.monotonic())
            return handler.reply(b"{}", 429, Retry_After="4")
        return False

    asked = []
    upstream.answer = answer
    processes.scheduler()
    processes.worker()
    first = make.request_pull(make_source(upstream))
    fakes.wait_until(lambda: refused, 20, processes.said)
    fakes.wait_until(lambda: host_now(upstream).wait_until, 10, processes.said)
    second = make.request_pull(make_source(upstream))

    await_all(processes, [first, second])

    later = [moment for moment, _ in asked if moment > refused[0]]
    assert min(later) - refused[0] > 3.9
    assert make.run_of(second).attempt == 1


@pytest.mark.parametrize("per_second", [0.0, 25.0])
def test_a_pull_at_work_heeds_what_a_host_asked_another_pull_for(
    processes, upstream, per_second
):
    """One pull is told to wait four seconds; the other, in the middle, waits with it."""
    configure(upstream, per_second=per_second)
    upstream.records = make.people(*range(400))
    asked, refused = [], []

    def answer(handler, page):
        who = "teguran" if "siapa=teguran" in handler.path else "lain"
        asked.append((time.monotonic(), who, page))
        if who == "teguran" and not refused:
            refused.append(time.monotonic())
            return handler.reply(b"{}", 429, Retry_After="4")
        time.sleep(0.15)
        return False

    upstream.answer = answer
    other, scolded = (
        make_source(upstream, query={"siapa": who}) for who in ("lain", "teguran")
    )
    processes.scheduler()
    for _ in range(2):
        processes.worker()
    at_work = make.request_pull(other)
    fakes.wait_until(lambda: len(asked) > 3, 20, processes.said)
    told = make.request_pull(scolded)

    await_all(processes, [at_work, told], 60)

    [since] = refused
    in_the_rest = [each for each in asked if since + 0.5 < each[0] < since + 3.9]
    assert in_the_rest == []
    before = [page for moment, who, page in asked if who == "lain" and moment < since]
    assert 3 < len(before) < 40  # it was in the middle
    pages = [page for _moment, who, page in asked if who == "lain"]
    assert sorted(pages) == list(range(1, 41))  # none left out, none asked for twice
    assert make.run_of(at_work).attempt == 1
    with make.session() as s:
        assert s.get_one(PullRun, at_work).inserted_count == 400
    assert "429" in " ".join(_log_of(at_work))


def _log_of(run_id):
    with make.session() as s:
        rows = s.scalars(sa.select(RunLog).where(RunLog.run_id == run_id))
        return [f"{row.message} {row.params}" for row in rows]


def test_a_pull_at_work_stops_when_maintenance_hours_begin(yard, upstream):
    now = datetime.now(OFFICE_CLOCK)
    end = (now + timedelta(hours=2)).replace(second=0, microsecond=0)
    upstream.records = make.people(*range(200))

    def answer(_handler, page):
        if page == 3:
            start = (now - timedelta(minutes=1)).time()
            configure(upstream, quiet_from=start, quiet_until=end.time())
        time.sleep(0.1)
        return False

    upstream.answer = answer
    run_id = make.request_pull(make_source(upstream))
    yard.run(run_id)

    run = make.run_of(run_id)
    assert (run.status, run.attempt) == (RunStatus.QUEUED, 0)
    assert abs((run.not_before - end).total_seconds()) < 2
    assert 3 <= sum(upstream.asked.values()) <= 8

    configure(upstream, quiet_from=None, quiet_until=None)
    make.make_due(run_id)
    yard.run(run_id)
    assert make.run_of(run_id).status is RunStatus.SUCCEEDED
    assert set(upstream.asked.values()) == {1}


def test_the_breaker_opens_and_the_first_success_closes_it(yard, upstream):
    first, second = make_source(upstream), make_source(upstream)
    upstream.answer = lambda handler, _page: handler.reply(b"{}", 503)
    for number in range(hosts.BREAKER_FAILURES):
        run = make.request_pull((first, second)[number % 2])
        yard.run(run)
        make_over(run)
    count = sum(upstream.asked.values())
    assert count == hosts.BREAKER_FAILURES

    waiting = make.request_pull(first)
    yard.run(waiting)

    run = make.run_of(waiting)
    assert sum(upstream.asked.values()) == count  # nobody was sent there
    assert (run.status, run.attempt) == (RunStatus.QUEUED, 0)
    assert 50 < (run.not_before - datetime.now(UTC)).total_seconds() <= 60

    upstream.answer = lambda _handler, _page: False
    configure(upstream, wait_until=datetime.now(UTC) - timedelta(seconds=1))
    make.make_due(waiting)
    yard.run(waiting)

    now = host_now(upstream)
    assert make.run_of(waiting).status is RunStatus.SUCCEEDED
    assert (now.failure_count, now.wait_until) == (0, None)


def make_over(run_id):
    """End a run that waits for its next attempt."""
    with make.session() as s:
        run_services.cancel(s, s.get_one(JobRun, run_id))


def test_a_host_of_tokens_that_fails_is_the_one_left_alone(yard, upstream):
    with fakes.Upstream() as token_host:
        token_host.answer = lambda handler, _page: handler.reply(b"{}", 503)
        yard.run(make.request_pull(with_token_of(make_source(upstream), token_host)))

        assert host_now(token_host).failure_count == 1
        assert host_now(upstream).failure_count == 0
        assert not upstream.asked


def test_in_its_maintenance_hours_a_host_is_not_asked(yard, upstream):
    now = datetime.now(OFFICE_CLOCK)
    end = (now + timedelta(hours=2)).replace(second=0, microsecond=0)
    configure(
        upstream, quiet_from=(now - timedelta(hours=1)).time(), quiet_until=end.time()
    )
    run_id = make.request_pull(make_source(upstream))
    yard.run(run_id)

    run = make.run_of(run_id)
    assert not upstream.asked
    assert (run.status, run.attempt) == (RunStatus.QUEUED, 0)
    assert abs((run.not_before - end).total_seconds()) < 2

    configure(upstream, quiet_until=(now - timedelta(minutes=1)).time())
    make.make_due(run_id)
    yard.run(run_id)
    assert make.run_of(run_id).status is RunStatus.SUCCEEDED


# --- places -------------------------------------------------------------------------


@pytest.fixture
def busy(upstream):
    """A host that takes one pull at a time; its second page waits for ``let_go``."""
    configure(upstream, at_once=1)
    reached, let_go = threading.Event(), threading.Event()

    def answer(_handler, page):
        if page == 2 and not let_go.is_set():
            reached.set()
            let_go.wait(20)
        return False

    upstream.answer = answer
    yield reached, let_go
    let_go.set()


def ended(run_id, _pid, let_go):
    let_go.set()


def cancelled(run_id, _pid, _let_go):
    with make.session() as s:
        run_services.cancel(s, s.get_one(JobRun, run_id))


def killed(_run_id, pid, _let_go):
    """The whole machine is gone: nobody tells of it, the lease runs out."""
    psutil.Process(pid).suspend()  # no last word
    os.kill(pid, signal.SIGKILL)


def stopped(_run_id, pid, let_go):
    os.kill(pid, signal.SIGTERM)
    time.sleep(0.2)
    let_go.set()


@pytest.mark.parametrize("over", [ended, cancelled, killed, stopped])
def test_a_place_is_free_when_its_run_is_over(yard, upstream, busy, over):
    reached, let_go = busy
    first, second = (make.request_pull(make_source(upstream)) for _ in range(2))
    pid = yard.start(first)
    assert reached.wait(20)

    yard.run(second)
    run = make.run_of(second)
    assert (run.status, run.attempt) == (RunStatus.QUEUED, 0)
    wait = (run.not_before - datetime.now(UTC)).total_seconds()
    assert 0 < wait <= hosts.BUSY_SECONDS

    over(first, pid, let_go)
    yard.wait(pid)
    let_go.set()
    if over is killed:
        fakes.wait_until(lambda: _lease_is_over(first), 10)
    make.make_due(second)
    yard.run(second)

    assert make.run_of(second).status is RunStatus.SUCCEEDED
    assert not _visits_of(second)


def _lease_is_over(run_id):
    with make.session(DISPATCHER) as s:
        until = sa.select(JobRun.lease_until < sa.func.clock_timestamp())
        return s.scalar(until.where(JobRun.id == run_id))


def _visits_of(run_id):
    with make.session() as s:
        return s.scalars(sa.select(HostVisit).where(HostVisit.run_id == run_id)).all()


def test_a_run_that_is_held_frees_its_place(yard, upstream):
    configure(upstream, at_once=1)
    upstream.records[0]["nip"] = "rusak"
    held = make.request_pull(
        make.make_source(make.make_contract(max_rejected_percent=1), upstream.url)
    )
    yard.run(held)
    assert make.run_of(held).status is RunStatus.HELD

    upstream.records[0]["nip"] = "9999"
    following = make.request_pull(make_source(upstream))
    yard.run(following)
    assert make.run_of(following).status is RunStatus.SUCCEEDED
