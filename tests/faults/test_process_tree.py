"""The real worker and scheduler, as an operator starts them."""

import pytest

from app.pulls.services import request_pull
from app.runs.states import TERMINAL, RunStatus
from tests import fakes, make


@pytest.fixture
def processes(bound, redis_server, tmp_path):
    with fakes.Processes(bound, tmp_path / "log") as made:
        yield made


def people(count):
    return [
        {"nip": f"{i:04}", "nama": "a", "gaji": i, "lahir": "2000-01-01"}
        for i in range(count)
    ]


def ended(run_id):
    return make.run_of(run_id).status in TERMINAL


def test_a_pull_goes_through_worker_and_scheduler(processes, upstream):
    contract = make.make_contract()
    source = make.make_source(contract, upstream.url)
    upstream.records = people(55)
    processes.worker()
    processes.scheduler()
    with make.session() as s:
        run_id = request_pull(s, source)
    fakes.wait_until(lambda: ended(run_id), 20, processes.said)
    print(processes.said)
    assert make.run_of(run_id).status is RunStatus.SUCCEEDED
