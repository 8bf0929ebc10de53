"""Laws of background work, read out of the code itself."""

import ast
import inspect
from pathlib import Path
from typing import get_type_hints

import msgspec
import pytest

from app.runs.kinds import KINDS, KindName
from app.runs.ledger import Lease
from app.runs.states import QueueName
from jobs import perform
from jobs.bell import PERFORM

ROOT = Path(__file__).resolve().parents[2]
# Places that may catch everything, each with its reason.
CATCHES_ALL = {
    ("app/api/door.py", "_answer"): "the door's own 500, as a problem in words",
    ("jobs/perform.py", "_do"): "the one place where a run's failure becomes its ending",
    ("jobs/reader.py", "_serve"): "an error is told to the process that waits for a page",
    ("jobs/reader.py", "_be_reader"): "the last word of a forked child",
    ("jobs/worker.py", "run_in_this_process"): "the last word of a forked child",
    ("jobs/worker.py", "_be_worker_of"): "the last word of a forked child",
}


@pytest.mark.parametrize("kind", KINDS.values(), ids=lambda kind: kind.name)
def test_every_kind_names_a_function_that_takes_a_lease(kind):
    function = perform.job_function(kind.path)
    assert inspect.isfunction(function)
    assert list(get_type_hints(function).values()) == [Lease, type(None)]
    assert kind.path.startswith("jobs.")
    assert issubclass(kind.params, msgspec.Struct)
    assert kind.params.__struct_config__.forbid_unknown_fields
    assert kind.max_attempts >= 1


def test_kinds_are_complete():
    assert set(KINDS) == set(KindName)


def test_the_worker_serves_every_queue_by_default():
    source = (ROOT / "jobs/worker.py").read_text()
    assert "else list(QueueName)" in source
    assert {kind.queue for kind in KINDS.values()} <= set(QueueName)


def test_what_redis_names_is_the_function_that_claims():
    assert perform.job_function(PERFORM) is perform.perform


def catchers(path):
    """Yield the function around each handler that catches everything."""
    tree = ast.parse(path.read_text())
    for function in ast.walk(tree):
        if not isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        for node in ast.walk(function):
            if isinstance(node, ast.ExceptHandler) and catches_all(node.type):
                yield function.name


def catches_all(kind):
    if kind is None:
        return True
    names = {n.id for n in ast.walk(kind) if isinstance(n, ast.Name)}
    return bool(names & {"Exception", "BaseException"})


def test_nobody_swallows_every_error():
    found = {
        (str(path.relative_to(ROOT)), name)
        for folder in ("app", "jobs")
        for path in (ROOT / folder).rglob("*.py")
        for name in catchers(path)
    }
    assert found == set(CATCHES_ALL)


def test_the_application_never_touches_redis_or_jobs():
    health = ROOT / "app/web/health.py"  # asks whether Redis is there, and nothing more
    for path in set((ROOT / "app").rglob("*.py")) - {health}:
        for node in ast.walk(ast.parse(path.read_text())):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            roots = {name.partition(".")[0] for name in names}
            assert not roots & {"redis", "rq", "jobs"}, path
