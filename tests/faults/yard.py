"""Forks one process for each run, as the worker does; orders and answers are JSON lines.

A process of its own, without threads: pytest's has some, and forking those is unsafe.
"""

import itertools
import json
import os
import signal
import sys

import sqlalchemy as sa

from app.core import faults
from jobs import perform, runtime, worker
from tests.faults import guards


def kill_at_statement(number: int) -> None:
    """Die right before the n-th thing that this process says to the database."""
    said = itertools.count(1)

    def say(*_: object) -> None:
        if next(said) == number:
            os.kill(os.getpid(), signal.SIGKILL)

    for event in ("before_cursor_execute", "commit", "rollback"):
        sa.event.listen(sa.Engine, event, say)


def main() -> None:
    runtime.start()
    perform.prepare()
    if os.environ.get("GUARD_OFF"):
        guards.switch_off(os.environ["GUARD_OFF"])
    statuses: dict[int, int] = {}
    for line in sys.stdin:
        order = json.loads(line)
        if order["do"] == "start":
            parent = os.getpid()
            pid = os.fork()
            if pid == 0:
                os.environ.update(order["env"])
                os.close(0)
                faults.arm(order["env"])
                if "KILL_AT_STATEMENT" in order["env"]:
                    kill_at_statement(int(order["env"]["KILL_AT_STATEMENT"]))
                worker.run_in_this_process(order["run"], parent)
            answer = {"pid": pid}
        else:
            pid, status = os.waitpid(order["pid"], 0)
            statuses[pid] = status
            answer = {"status": os.waitstatus_to_exitcode(status)}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
