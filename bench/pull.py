"""``./simpul bench pull``: an agency's pages into the central table, beside dlt.

Ours is the product's whole way: a run claimed from the ledger in a forked process, guarded
HTTP, contract checks, quarantine, provenance, history, checkpoints, gate and atomic publish.
"""

import argparse
import contextlib
import sys
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from bench.lab.pages import page_server
from bench.lab.program import Program, started
from bench.lab.records import VARIANTS
from bench.lab.report import Report, measure, ratio
from bench.lab.servers import rest, servers

# Each case pulls a variant into what the case before it has left.
CASES = (("first", "base"), ("changed", "changed"), ("unchanged", "changed"))
GOALS = {"first": 6.0, "changed": 8.0, "unchanged": 10.0}
LIMIT_GOAL, MEMORY_GOAL_MB, GROWTH_GOAL = 0.5, 150.0, 1.1
LARGE = 1_000_000
Answers = dict[str, list[dict[str, Any]]]


def main(arguments: list[str]) -> int:
    options = parsed(arguments)
    report = Report("pull", options.rows, options.rounds)
    with (
        servers() as env,
        page_server(options.rows, VARIANTS) as port,
        contextlib.ExitStack() as stack,
    ):
        env["APPROVED_HOSTS"] = f"127.0.0.1:{port}"
        url = f"http://127.0.0.1:{port}"
        ours = stack.enter_context(started(sys.executable, "bench.lab.ours", env))
        dlt = stack.enter_context(_dlt(env)) if options.peer else None
        own, peer, limits = _rounds((ours, dlt), url, env, options, report)
        _tell(report, own, peer, limits)
        if not options.no_large:
            _check_flatness(report, env)
    return report.finish(options.json)


def parsed(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="./simpul bench pull")
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--peer", action="store_true", help="measure dlt too")
    parser.add_argument(
        "--no-large", action="store_true", help="leave 1,000,000 rows out"
    )
    parser.add_argument("--json", default="", metavar="FILE")
    return parser.parse_args(arguments)


@contextlib.contextmanager
def _dlt(env: dict[str, str]) -> Iterator[Program]:
    from bench.lab.peers import python_of_peers

    with started(python_of_peers(), "bench.lab.dlt_peer", env) as program:
        yield program


def _rounds(
    programs: tuple[Program, Program | None],
    url: str,
    env: dict[str, str],
    options: argparse.Namespace,
    report: Report,
) -> tuple[Answers, Answers, list[dict[str, Any]]]:
    ours, dlt = programs
    own: Answers = defaultdict(list)
    peer: Answers = defaultdict(list)
    limits = []
    for _ in range(options.rounds):
        for bad in ("", "-bad"):
            rest(env)
            source = ours.ask(do="make_source", url=f"{url}/base{bad}")
            names = {"source": source["source"], "slug": source["slug"]}
            if dlt is not None:
                report.notes = [dlt.ask(do="begin")["settings"]]
            for case, variant in CASES:
                address = f"{url}/{variant}{bad}"
                own[case + bad].append(ours.ask(do="pull", url=address, **names))
                if dlt is not None:
                    peer[case + bad].append(dlt.ask(do="pull", url=address))
        rest(env)
        # In a process of its own: the rows it keeps in memory are not a worker's.
        with started(sys.executable, "bench.lab.ours", env) as apart:
            empty = apart.ask(do="make_source", url=f"{url}/base")
            limits.append(apart.ask(do="limit", slug=empty["slug"], rows=options.rows))
    return own, peer, limits


def _tell(
    report: Report, own: Answers, peer: Answers, limits: list[dict[str, Any]]
) -> None:
    report.cases = {case: measure(report.rows, each) for case, each in own.items()}
    report.ours = report.cases["first"]
    report.peers = {f"dlt {c}": measure(report.rows, each) for c, each in peer.items()}
    report.peers["limit (COPY and merge alone)"] = measure(report.rows, limits)
    for case, answers in peer.items():
        report.ratios[f"dlt {case}"] = ratio(own[case], answers)
        report.goals[f"dlt {case}"] = GOALS[case.removesuffix("-bad")]
        _require_rows(case, report.rows, answers)
    share = ratio(own["first"], limits)
    report.check("first load, share of the limit", share, LIMIT_GOAL, at_least=True)
    peak = max(each["rss_mb"] for each in report.cases.values())
    report.check("peak memory MB", peak, MEMORY_GOAL_MB)
    written = max(e["written"] for e in [*own["unchanged"], *own["unchanged-bad"]])
    report.check("rows written when unchanged", written, 0)


def _require_rows(case: str, rows: int, answers: list[dict[str, Any]]) -> None:
    """Stop when the peer did not load what it was to load: its time would mean nothing."""
    bad = rows // 100 if case.endswith("-bad") else 0
    for each in answers:
        if each["rows"] != rows - bad:
            raise SystemExit(f"dlt {case}: {each['rows']} rows, not {rows - bad}")


def _check_flatness(report: Report, env: dict[str, str]) -> None:
    """Pull once more and 1,000,000 rows, each with a fresh worker: memory must not follow."""
    small, large = (_first_pull(rows, env) for rows in (report.rows, LARGE))
    report.cases["first, 1,000,000 rows"] = measure(LARGE, [large])
    growth = large["rss_mb"] / small["rss_mb"]
    report.check("memory at 1,000,000 / at fewer", growth, GROWTH_GOAL)
    report.check("peak memory MB at 1,000,000", large["rss_mb"], MEMORY_GOAL_MB)


def _first_pull(rows: int, env: dict[str, str]) -> dict[str, Any]:
    with page_server(rows, ("base",)) as port:
        own_env = {**env, "APPROVED_HOSTS": f"127.0.0.1:{port}"}
        with started(sys.executable, "bench.lab.ours", own_env) as ours:
            url = f"http://127.0.0.1:{port}/base"
            made = ours.ask(do="make_source", url=url)
            return ours.ask(do="pull", url=url, source=made["source"], slug=made["slug"])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
