"""``./simpul bench queue``: from a request to its function's first line, beside plain RQ.

Ours is the product's whole way: the run is a row, committed and durable; the scheduler hears
of it and rings, signed; the worker forks, claims the row and takes a lease. RQ puts a pickled
call into Redis and forks; what it knows is gone with Redis. The workers are idle.
"""

import argparse
import contextlib
import subprocess
import sys
import time
from collections.abc import Iterator
from statistics import median, quantiles
from typing import Any

from bench.lab.program import Program, started
from bench.lab.report import Report, measure
from bench.lab.servers import servers
from ops.places import PROJECT

P50_GOAL_MS, P99_GOAL_MS = 50.0, 250.0
WORKERS = 2
WARM_UP = 5


def main(arguments: list[str]) -> int:
    options = parsed(arguments)
    report = Report("queue", options.requests, options.rounds)
    single: dict[str, list[float]] = {"ours": [], "rq": []}
    burst: dict[str, list[dict[str, Any]]] = {"ours": [], "rq": []}
    with servers() as env, contextlib.ExitStack() as stack:
        names = ("ours", "rq") if options.peer else ("ours",)
        for name in names:
            stack.enter_context(_at_work(name, env))
        askers = {
            name: stack.enter_context(
                started(sys.executable, f"bench.lab.queue_{name}", env)
            )
            for name in names
        }
        for asker in askers.values():
            for _ in range(WARM_UP):
                asker.ask(do="one")
        for _ in range(options.rounds):
            for name, asker in askers.items():
                single[name] += _singles(asker, options.requests)
            for name, asker in askers.items():
                burst[name].append(asker.ask(do="burst", count=options.requests))
    _tell(report, single, burst, options)
    return report.finish(options.json)


def parsed(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="./simpul bench queue")
    parser.add_argument("--rows", dest="requests", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--peer", action="store_true", help="measure plain RQ too")
    parser.add_argument("--json", default="", metavar="FILE")
    return parser.parse_args(arguments)


@contextlib.contextmanager
def _at_work(name: str, env: dict[str, str]) -> Iterator[None]:
    """Have two idle workers, and for ours the scheduler that rings for them."""
    import os

    worker = {
        "ours": ["-m", "bench.lab.noop_worker", "--queue", "notices"],
        "rq": ["-m", "rq.cli", "worker", "--quiet", "--url", env["REDIS_URL"], "plain"],
    }[name]
    commands = [worker] * WORKERS
    if name == "ours":
        commands = [*commands, ["-m", "jobs.scheduler"]]
    processes = [
        subprocess.Popen(
            [sys.executable, *command],
            cwd=PROJECT,
            env={**os.environ, **env, "PYTHONPATH": str(PROJECT)},
            stderr=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )
        for command in commands
    ]
    try:
        yield
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait()


def _singles(asker: Program, count: int) -> list[float]:
    """Ask one after the other, each when the one before is over and the workers idle."""
    seconds = []
    for number in range(count):
        time.sleep(0.005 + number % 7 / 1000)  # not in step with anybody's clock
        seconds.append(float(asker.ask(do="one")["seconds"]))
    return seconds


def _tell(
    report: Report,
    single: dict[str, list[float]],
    burst: dict[str, list[dict[str, Any]]],
    options: argparse.Namespace,
) -> None:
    report.ours = measure(options.requests, burst["ours"])
    report.cases = {"runs/s, 2 workers": report.ours}
    if burst["rq"]:
        report.peers["plain RQ, jobs/s, 2 workers"] = measure(
            options.requests, burst["rq"]
        )
    for name, seconds in single.items():
        if seconds:
            half, last = median(seconds), quantiles(seconds, n=100)[98]
            report.notes.append(
                f"{name}: p50 {half * 1000:.1f} ms, p99 {last * 1000:.1f} ms"
                " from request to the function's first line, an idle worker"
            )
    ours = single["ours"]
    report.check("p50 ms", median(ours) * 1000, P50_GOAL_MS)
    report.check("p99 ms", quantiles(ours, n=100)[98] * 1000, P99_GOAL_MS)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
