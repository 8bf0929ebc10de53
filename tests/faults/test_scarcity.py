"""Too few processes, too few descriptors: runs wait or fail in words, the worker lives."""

import psutil
import pytest

from app.runs.states import RunStatus
from tests import fakes, make
from tests.faults.model import Agency, check_effects

SEED = 64


@pytest.fixture
def pulled(upstream):
    agency = Agency(SEED)
    contract = make.make_contract(max_vanished_percent=50)
    source = make.make_source(contract, upstream.url)
    upstream.records = agency.next_answer()
    return agency, contract, source


def await_success(processes, run_id):
    fakes.wait_until(
        lambda: make.run_of(run_id).status is RunStatus.SUCCEEDED, 60, processes.said
    )


@pytest.mark.parametrize(
    ("generation", "said"),
    [
        ("0", "queue pulls: no process to be had"),
        ("1", ": no process to be had"),
        ("2", ""),
    ],
)
def test_no_process_to_be_had(processes, pulled, tmp_path, generation, said):
    agency, contract, source = pulled
    mark = tmp_path / "mark"
    if generation == "0":
        mark.write_text(generation)
    processes.scheduler()
    worker = processes.start(
        "tests.faults.forkless", "--queue=pulls", env={"NO_FORK_MARK": str(mark)}
    )
    if generation != "0":
        fakes.wait_until(lambda: psutil.Process(worker.pid).children(), 20)
        mark.write_text(generation)
    run_id = make.request_pull(source)
    if said:
        fakes.wait_until(lambda: said in processes.said(), 20, processes.said)
        assert make.run_of(run_id).attempt == 0
    else:
        fakes.wait_until(lambda: make.run_of(run_id).error_code, 20, processes.said)
        assert make.run_of(run_id).error_code == "no_resources"
    assert worker.poll() is None
    mark.unlink()
    await_success(processes, run_id)
    check_effects(agency, contract, [run_id])
    assert worker.poll() is None
    assert "Traceback" not in processes.said()


def listening(worker):
    """The child of a worker that has dialled: one that only passes by on the way has not."""
    for child in psutil.Process(worker.pid).children():
        try:
            if child.net_connections("unix"):
                return child
        except psutil.NoSuchProcess:
            continue
    return None


def test_no_descriptor_to_be_had(processes, pulled):
    agency, contract, source = pulled
    processes.scheduler()
    worker = processes.worker()
    fakes.wait_until(lambda: listening(worker), 20, processes.said)
    queue = listening(worker)
    before = queue.rlimit(psutil.RLIMIT_NOFILE)
    # Two are left: for the run's line to the database (and the dialling), not for its reader.
    queue.rlimit(psutil.RLIMIT_NOFILE, (queue.num_fds() + 2, before[1]))
    run_id = make.request_pull(source)
    fakes.wait_until(lambda: make.run_of(run_id).error_code, 20, processes.said)
    assert make.run_of(run_id).error_code == "no_resources"
    queue.rlimit(psutil.RLIMIT_NOFILE, before)
    await_success(processes, run_id)
    check_effects(agency, contract, [run_id])
    assert queue.is_running()
    assert worker.poll() is None
