"""``./simpul bench export``: a central table into an Excel file, beside openpyxl and XlsxWriter.

Ours is the whole export run: claimed in a forked process, rights asked for, one snapshot,
canonical CSV digested, rows written, counted, stored and put on the disk. The peers write
the bare rows, fewer of them: they are compared by rows per second.
"""

import argparse
import contextlib
import sys
from collections import defaultdict
from statistics import median
from typing import Any

from bench.lab.program import Program, started
from bench.lab.report import Report, measure
from bench.lab.servers import servers

GOALS = {"openpyxl write-only": 10.0, "xlsxwriter constant-memory": 5.0}
MEMORY_GOAL_MB = 150.0


def main(arguments: list[str]) -> int:
    options = parsed(arguments)
    report = Report("export", options.rows, options.rounds)
    with servers() as env, contextlib.ExitStack() as stack:
        ours = stack.enter_context(started(sys.executable, "bench.lab.ours", env))
        slug = ours.ask(do="make_source", url="http://127.0.0.1:1/x")["slug"]
        ours.ask(do="fill", slug=slug, rows=options.rows)
        peers = _peers(stack, env) if options.peer else None
        own: list[dict[str, Any]] = []
        others: dict[str, list[dict[str, Any]]] = defaultdict(list)
        for _ in range(options.rounds):
            own.append(ours.ask(do="export", slug=slug))
            for name in GOALS if peers else ():
                others[name].append(
                    peers.ask(name=name, slug=slug, rows=options.peer_rows)
                    if peers
                    else {}
                )
    _tell(report, own, others, options)
    return report.finish(options.json)


def parsed(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="./simpul bench export")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--peer-rows", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--peer", action="store_true", help="measure the peers too")
    parser.add_argument("--json", default="", metavar="FILE")
    options = parser.parse_args(arguments)
    options.peer_rows = min(options.peer_rows, options.rows)
    return options


def _peers(stack: contextlib.ExitStack, env: dict[str, str]) -> Program:
    from bench.lab.peers import python_of_peers

    return stack.enter_context(started(python_of_peers(), "bench.lab.excel_peers", env))


def _tell(
    report: Report,
    own: list[dict[str, Any]],
    others: dict[str, list[dict[str, Any]]],
    options: argparse.Namespace,
) -> None:
    report.ours = measure(options.rows, own)
    for name, answers in others.items():
        report.peers[name] = measure(options.peer_rows, answers)
        rates = [
            (options.rows / mine["seconds"]) / (options.peer_rows / other["seconds"])
            for mine, other in zip(own, answers, strict=True)
        ]
        report.ratios[name] = round(median(rates), 2)
        report.goals[name] = GOALS[name]
    report.check("peak memory MB", report.ours["rss_mb"], MEMORY_GOAL_MB)
    missing = max(options.rows - each["rows"] for each in own)
    report.check("rows missing in the file", missing, 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
