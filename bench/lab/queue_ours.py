"""Asks our ledger for work that does nothing and looks when it began."""

import time
from typing import Any
from uuid import UUID, uuid4

import sqlalchemy as sa

from app.core import db
from app.core.policy import COMMAND_LINE, acting_as
from bench.lab import noop
from bench.lab.program import answer


def reply(question: dict[str, Any]) -> dict[str, Any]:
    with acting_as(COMMAND_LINE):
        if question["do"] == "one":
            asked = time.time()
            run_id = _request()
            return {"seconds": _began(run_id) - asked}
        return _burst(question["count"])


def _request() -> UUID:
    with db.unit_of_work() as session:
        return _order(session)


def _order(session: Any) -> UUID:
    from app.runs.services import Order, request_run

    key = str(uuid4())
    return request_run(session, Order(noop.NAME, key, noop.NoopParams(), "noop", None))


def _began(run_id: UUID) -> float:
    """Wait for the end of a run; return when it began, by this machine's clock."""
    from app.runs.models import JobRun

    while True:
        with db.unit_of_work() as session:
            result = session.scalar(sa.select(JobRun.result).where(JobRun.id == run_id))
        if result:
            return float(result["began"])
        time.sleep(0.01)  # when it began, it says itself


def _burst(count: int) -> dict[str, Any]:
    """Ask for many at once; return the seconds until the last of them is done."""
    from app.runs.models import JobRun

    began = time.perf_counter()
    with db.unit_of_work() as session:
        ids = [_order(session) for _ in range(count)]
    waiting = sa.select(sa.func.count()).where(
        JobRun.id.in_(ids), JobRun.finished_at.is_(None)
    )
    left = count
    while left:
        time.sleep(0.02)
        with db.unit_of_work() as session:
            left = session.scalar(waiting) or 0
    return {"seconds": time.perf_counter() - began}


if __name__ == "__main__":
    noop.register()
    from jobs import runtime

    runtime.start()
    answer(reply)
