"""The real worker and scheduler, as an operator starts them, with faults around them."""

import os
import signal
import time
from contextlib import contextmanager, nullcontext, suppress
from uuid import uuid4

import psutil
import psycopg
import pytest
import sqlalchemy as sa

from app.core import db
from app.pulls.models import QuarantinedRecord
from app.runs import services
from app.runs.models import JobRun, WorkerHeartbeat
from app.runs.states import TERMINAL, RunStatus
from tests import fakes, make
from tests.faults.model import Agency, check_effects

SEED = 20261124


def is_over(run_id):
    return make.run_of(run_id).status in TERMINAL


def is_running(run_id):
    return make.run_of(run_id).status is RunStatus.RUNNING


@pytest.fixture
def pulled(upstream):
    agency = Agency(SEED)
    contract = make.make_contract(max_vanished_percent=50)
    source = make.make_source(
        contract, upstream.url, page_seconds=20.0, read_seconds=20.0
    )
    upstream.records = agency.next_answer()
    return agency, contract, source


@pytest.fixture
def slow(upstream):
    """Let the third page take its time, once."""
    seen = []

    def answer(_handler, page):
        if page == 3 and not seen:
            seen.append(page)
            time.sleep(2)
        return False

    upstream.answer = answer


def await_end(processes, run_id, seconds=40):
    took = fakes.wait_until(lambda: is_over(run_id), seconds, processes.said)
    run = make.run_of(run_id)
    assert run.status is RunStatus.SUCCEEDED, (run.error_code, processes.said())
    return took


def run_process(worker):
    """Return the process of the run at hand: a worker has queues' processes, these runs'."""
    [horse] = [
        grandchild
        for child in psutil.Process(worker.pid).children()
        for grandchild in child.children()
    ]
    return horse


def test_a_request_is_done_within_moments(processes, pulled, own_redis):
    agency, _contract, source = pulled
    processes.scheduler()
    processes.worker()
    first = make.request_pull(source)
    await_end(processes, first)
    second = make.request_pull(source)
    took = await_end(processes, second)
    assert took < 3, processes.said()
    client = own_redis.client()
    # Of these two runs: other tests' waiting runs are rung here too.
    ours = (str(first).encode(), str(second).encode())
    left = [key for key in client.keys("rq:*") if any(run in key for run in ours)]
    client.close()
    assert left == []
    time.sleep(6)  # longer than a client waits for an answer
    third = make.request_pull(source)
    assert await_end(processes, third) < 3, processes.said()
    assert "ERROR" not in processes.said(), processes.said()
    assert "WARNING" not in processes.said()
    assert make.run_of(second).result["unchanged_count"] == len(agency.rows)


@pytest.mark.parametrize("victim", ["tree", "run", "queue"])
def test_killed_in_mid_run(processes, pulled, slow, victim):
    agency, contract, source = pulled
    processes.scheduler()
    worker = processes.worker()
    run_id = make.request_pull(source)
    fakes.wait_until(lambda: is_running(run_id), 20, processes.said)
    horse = run_process(worker)
    killed = {"tree": worker.pid, "run": horse.pid, "queue": horse.ppid()}[victim]
    os.kill(killed, signal.SIGKILL)
    psutil.wait_procs([horse], timeout=5)
    assert not horse.is_running()  # nobody goes on as an orphan
    if victim == "tree":
        worker.wait()
        processes.worker()
    took = await_end(processes, run_id)
    print(f"recovered from the death of the {victim} in {took:.1f} s")
    check_effects(agency, contract, [run_id])


@pytest.mark.parametrize("told", ["the worker", "every process"])
def test_stop_gives_the_run_back_without_counting(processes, pulled, slow, told):
    """systemd tells every process of a service to stop, and the worker tells them as well."""
    agency, contract, source = pulled
    processes.scheduler()
    worker = processes.worker()
    run_id = make.request_pull(source)
    fakes.wait_until(lambda: is_running(run_id), 20, processes.said)
    family = psutil.Process(worker.pid).children(recursive=True)
    worker.send_signal(signal.SIGTERM)
    for each in family if told == "every process" else []:
        with suppress(psutil.NoSuchProcess):
            each.terminate()
    assert worker.wait(10) == 0
    assert not any(each.is_running() for each in family)
    run = make.run_of(run_id)
    assert (run.status, run.attempt) == (RunStatus.QUEUED, 0), processes.said()
    processes.worker()
    await_end(processes, run_id)
    assert make.run_of(run_id).attempt == 1
    check_effects(agency, contract, [run_id])


def test_old_and_new_together(processes, pulled, slow):
    """As a deploy does it: new ones start, the old ones give back what they are at and go."""
    agency, contract, source = pulled
    old = [processes.scheduler(), processes.worker()]
    run_id = make.request_pull(source)
    fakes.wait_until(lambda: is_running(run_id), 20, processes.said)
    processes.scheduler()
    processes.worker()
    for each in old:
        each.send_signal(signal.SIGTERM)
    assert [each.wait(10) for each in old] == [0, 0]
    await_end(processes, run_id)
    assert make.run_of(run_id).attempt == 1
    check_effects(agency, contract, [run_id])
    assert "ERROR" not in processes.said()


def test_stop_does_not_wait_for_a_silent_upstream(processes, pulled, upstream):
    _agency, _contract, source = pulled
    silent = []
    upstream.answer = lambda _handler, page: silent.append(page) or time.sleep(15) or True
    processes.scheduler()
    worker = processes.worker()
    run_id = make.request_pull(source)
    fakes.wait_until(lambda: silent, 20, processes.said)
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(9.5) == 0  # less than the supervisor's patience
    run = make.run_of(run_id)
    assert (run.status, run.attempt) == (RunStatus.QUEUED, 0), processes.said()


def test_flushed_redis(processes, pulled, slow, own_redis):
    """One run at work, one queued behind it: both end, once."""
    agency, _contract, source = pulled
    processes.scheduler()
    processes.worker()
    run_id = make.request_pull(source)
    fakes.wait_until(lambda: is_running(run_id), 20, processes.said)
    behind = make.make_run("pull", params={"source_id": str(source.id)})
    fakes.wait_until(lambda: make.run_of(behind).rung_at is not None, 10, processes.said)
    client = own_redis.client()
    client.flushall()
    client.close()
    await_end(processes, run_id)
    took = await_end(processes, behind)
    print(f"the flushed run ended {took:.1f} s after the one before it")
    assert make.run_of(behind).result["unchanged_count"] == len(agency.rows)
    assert make.run_of(behind).attempt == make.run_of(run_id).attempt == 1


def test_redis_killed_and_started_empty(processes, pulled, slow, own_redis):
    agency, contract, source = pulled
    processes.scheduler()
    processes.worker()
    run_id = make.request_pull(source)
    fakes.wait_until(lambda: is_running(run_id), 20, processes.said)
    own_redis.kill()
    await_end(processes, run_id)  # the run at work does not need Redis
    assert make.run_of(run_id).attempt == 1
    check_effects(agency, contract, [run_id])
    behind = make.request_pull(source)  # a request needs no Redis either
    time.sleep(1.5)
    assert not is_over(behind)
    own_redis.start()
    took = await_end(processes, behind)
    print(f"ended {took:.1f} s after Redis came back")
    assert make.run_of(behind).attempt == 1


def test_idle_worker_outlives_redis(processes, pulled, own_redis):
    _agency, _contract, source = pulled
    processes.scheduler()
    worker = processes.worker()
    await_end(processes, make.request_pull(source))
    for _ in range(2):
        own_redis.kill()
        time.sleep(1)
        own_redis.start()
        run_id = make.request_pull(source)
        took = await_end(processes, run_id)
        print(f"ended {took:.1f} s after Redis came back")
    assert worker.poll() is None


def test_forged_messages_are_refused(processes, pulled, own_redis, bound):
    """Without our key nobody makes a worker run anything, and the worker goes on."""
    _agency, _contract, source = pulled
    processes.worker()
    client = own_redis.client()
    fakes.wait_until(lambda: client.smembers("rq:workers"), 20, processes.said)
    [child] = client.smembers("rq:workers")
    forged = f"run-{source.id}-0"
    client.hset(
        f"rq:job:{forged}",
        mapping={
            "data": b"\x00" * 32 + b'["os.system", null, ["touch /tmp/forged"], {}]',
            "created_at": "nonsense",
            "success_callback_name": "os.system",
            "meta": b"\x80\x04nonsense",
        },
    )
    other = f"run-{source.agency_id}-0"
    client.set(f"rq:job:{other}", "not even a hash")
    for message in (forged, other, b"\xff\xfe", "run-x", "", "a" * 10_000):
        client.rpush("rq:queue:pulls", message)
    processes.scheduler()
    run_id = make.request_pull(source)
    await_end(processes, run_id)
    assert client.smembers("rq:workers") == {child}  # the same process all along
    # Nothing stays behind; what other tests left waiting may be passing through.
    fakes.wait_until(lambda: client.llen("rq:queue:pulls:intermediate") == 0, 10)
    assert not client.exists(f"rq:job:{forged}")
    assert "refused" in processes.said()
    client.close()


def test_time_limit_is_kept_by_the_kernel(processes, pulled, upstream):
    _agency, _contract, source = pulled
    upstream.answer = lambda _handler, page: time.sleep(6) or False
    processes.scheduler()
    processes.worker(RUN_TIME_LIMIT_SECONDS="1")
    run_id = make.make_run("pull", params={"source_id": str(source.id)}, max_attempts=1)
    took = fakes.wait_until(lambda: is_over(run_id), 30, processes.said)
    run = make.run_of(run_id)
    assert (run.status, run.error_code) == (RunStatus.DEAD, "time_limit")
    assert took < 10


def test_pulse_tells_who_lives(processes):
    with make.session(make.WORKER_PRINCIPAL) as s:
        s.execute(sa.delete(WorkerHeartbeat))  # of those that other tests killed
    worker = processes.worker("pulls", "exports")
    scheduler = processes.scheduler()

    def seen():
        with make.session() as s:
            return sorted((b.role, b.queue) for b in s.query(WorkerHeartbeat))

    fakes.wait_until(lambda: len(seen()) == 3, 20, processes.said)
    assert seen() == [("scheduler", ""), ("worker", "exports"), ("worker", "pulls")]
    for process in (worker, scheduler):
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0, processes.said()
    assert seen() == []


def test_memory_limit_ends_the_run_and_not_the_worker(processes, pulled, upstream):
    _agency, _contract, pulled_source = pulled
    record = b'{"nip": "0001", "nama": "' + b"x" * 1000 + b'"}'
    body = (
        b'{"ok": true, "total": 150000, "data": [' + b",".join([record] * 150_000) + b"]}"
    )

    def answer(handler, _page):
        handler.send_response(200)
        handler.send_header("Content-Type", "application/json")
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)
        return True

    upstream.answer = answer
    with make.session() as s:
        source = s.get_one(type(pulled_source), pulled_source.id)
        source.settings = source.settings | {
            "page_bytes": 1 << 29, "page_seconds": 30.0, "read_seconds": 10.0,
        }  # fmt: skip
    processes.scheduler()
    processes.worker(RUN_MEMORY_LIMIT_MB="512")
    run_id = make.make_run("pull", params={"source_id": str(source.id)}, max_attempts=1)
    fakes.wait_until(lambda: is_over(run_id), 30, processes.said)
    run = make.run_of(run_id)
    assert (run.status, run.error_code) == (RunStatus.DEAD, "memory_limit")

    upstream.answer = lambda _handler, _page: False
    again = make.make_run("pull", params={"source_id": str(source.id)}, max_attempts=1)
    fakes.wait_until(lambda: is_over(again), 30, processes.said)
    assert make.run_of(again).status is RunStatus.SUCCEEDED


@contextmanager
def locked(table):
    """Hold a table so that nobody else comes to it."""
    admin = os.environ["TEST_PG_ADMIN_URL"].rpartition("/")[0]
    with psycopg.connect(f"{admin}/{db.engine().url.database}") as connection:
        connection.execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE")
        yield
        connection.rollback()


@pytest.mark.parametrize(
    "at", ["between pages", "in a page", "in the database", "frozen"]
)
def test_a_run_that_is_called_off_ends(processes, pulled, upstream, at):
    """Between pages it ends by itself; what does not is broken off, harder and harder."""
    agency, contract, source = pulled
    first = make.request_pull(source)
    seen = []
    waits = {"between pages": 0.4, "in a page": 18.0}.get(at, 0.0)

    def answer(_handler, page):
        seen.append(page)
        if len(seen) > 2:
            time.sleep(waits)
        return False

    upstream.answer = answer
    processes.scheduler()
    blocker = (
        locked(f'data."{contract.slug}"') if at == "in the database" else nullcontext()
    )
    worker = processes.worker()
    with blocker:
        fakes.wait_until(lambda: is_running(first) and len(seen) > 2, 20, processes.said)
        if at == "frozen":
            os.kill(run_process(worker).pid, signal.SIGSTOP)
        elif at == "in the database":
            fakes.wait_until(lambda: "settled" in make.run_of(first).checkpoint, 20)
            time.sleep(1.0)
        asked_before = len(seen)
        with make.session() as s:
            services.cancel(s, s.get_one(JobRun, first))
        took = fakes.wait_until(lambda: is_over(first), 40, processes.said)
    run = make.run_of(first)
    print(f"called off {at}: ended after {took:.1f} s")
    assert run.status is RunStatus.CANCELLED, processes.said()
    assert took < {"between pages": 5, "in a page": 5, "in the database": 10}.get(at, 25)
    assert len(seen) <= asked_before + 2
    with make.session() as s:
        assert s.scalar(sa.text(f'SELECT count(*) FROM data."{contract.slug}"')) == 0
    upstream.answer = lambda _handler, _page: False
    with make.session() as s:  # and the next one is not harmed
        again = services.retry(s, s.get_one(JobRun, first))
    await_end(processes, again)
    check_effects(agency, contract, [again])


def test_a_record_that_takes_for_ever_is_set_aside(processes, upstream):
    """Its pattern has exponential patience: the first attempt dies of it, the second looks."""
    fields = [*make.PERSON[:1], make.field("nama", pattern="(a+)+b?")]
    contract = make.make_contract(fields, max_rejected_percent=50)
    source = make.make_source(contract, upstream.url)
    upstream.records = [{"nip": f"{n:04}", "nama": "aaa"} for n in range(35)]
    upstream.records[17]["nama"] = "a" * 40 + "!"
    processes.scheduler()
    hasty = processes.worker(RUN_TIME_LIMIT_SECONDS="4")
    run_id = make.make_run(
        "pull", params={"source_id": str(source.id)}, key=f"contract:{contract.id}"
    )
    fakes.wait_until(lambda: make.run_of(run_id).attempt == 1, 20, processes.said)
    fakes.wait_until(lambda: make.run_of(run_id).error_code == "time_limit", 20)
    hasty.send_signal(signal.SIGTERM)
    hasty.wait(10)
    make.make_due(run_id)
    processes.worker(RUN_TIME_LIMIT_SECONDS="60")
    await_end(processes, run_id, 100)
    run = make.run_of(run_id)
    assert (run.result["rejected_count"], run.result["inserted_count"]) == (1, 34)
    with make.session() as s:
        [aside] = s.scalars(
            sa.select(QuarantinedRecord).where(QuarantinedRecord.run_id == run_id)
        )
    assert aside.errors[0]["code"] == "poison"
    assert b'"0017"' in aside.raw


def test_a_pull_of_a_source_that_is_gone_fails_in_words(processes):
    processes.scheduler()
    processes.worker()
    run_id = make.make_run("pull", params={"source_id": str(uuid4())})
    fakes.wait_until(lambda: is_over(run_id), 20, processes.said)
    run = make.run_of(run_id)
    assert (run.status, run.error_code) == (RunStatus.FAILED, "not_pullable")
    assert "ERROR" not in processes.said(), processes.said()
