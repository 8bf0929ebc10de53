"""``./simpul bench api``: pages of 100 records out of a large table, beside Datasette.

Ours is the production server as ``run`` starts it, with key, scope, database role and the
exchange log's row committed to the disk before each answer. Datasette has none of these; it
reads the same rows from SQLite, with as many processes as we have, each asked in turn.
"""

import argparse
import contextlib
import json
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

from bench.lab.api_load import drain, load, one
from bench.lab.memory import PeakMemory, pss_mb
from bench.lab.program import started
from bench.lab.report import Report
from bench.lab.servers import rest, servers
from bench.lab.serving import free_port, process, simpul
from ops.places import PROJECT

WORKERS, CLIENTS, FAR = 2, 8, 10_000
GOAL = 3.0
Measured = dict[str, list[dict[str, Any]]]


def main(arguments: list[str]) -> int:
    options = parsed(arguments)
    report = Report("api", options.rows, options.rounds)
    with servers() as env, contextlib.ExitStack() as stack:
        with started(sys.executable, "bench.lab.ours", env) as ours:
            made = ours.ask(do="make_source", url="http://127.0.0.1:1/x")
            ours.ask(do="fill", slug=made["slug"], rows=options.rows)
            key = ours.ask(do="open_api", slug=made["slug"])["key"]
        port, pid = stack.enter_context(simpul(env, WORKERS))
        path = f"/api/v1/datasets/{made['slug']}/records"
        headers = {"Authorization": f"Bearer {key}"}
        peer = stack.enter_context(_datasette(options.rows)) if options.peer else None
        measured: Measured = defaultdict(list)
        cases = _cases(port, path, headers)
        for _ in range(options.rounds):
            rest(env)
            for name, (asked, more, status) in cases.items():
                measured[name].append(
                    load(port, asked, seconds=options.seconds, threads=CLIENTS,
                         headers=headers | more, status=status)
                )  # fmt: skip
            if peer:
                measured["datasette"].append(_ask_datasette(peer, options.seconds))
            before = pss_mb(pid)
            with PeakMemory(pid) as peak:
                csv = drain(port, f"{path}?format=csv", headers)
            measured["csv"].append({**csv, "mb": peak.mb, "more_mb": peak.mb - before})
    _tell(report, measured, options)
    return report.finish(options.json)


def parsed(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="./simpul bench api")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--seconds", type=float, default=8.0, help="of each case in a round"
    )
    parser.add_argument("--peer", action="store_true", help="measure Datasette too")
    parser.add_argument("--json", default="", metavar="FILE")
    return parser.parse_args(arguments)


def _cases(
    port: int, path: str, headers: dict[str, str]
) -> dict[str, tuple[str, dict[str, str], int]]:
    """Walk to page 10,000 in long strides; return what is asked in each case."""
    first = f"{path}?limit=100"
    token = ""
    for _ in range(FAR * 100 // 1000):
        body, _headers = one(port, f"{path}?limit=1000{token}", headers)
        following = json.loads(body)["page"]["next"]
        if following is None:
            break
        token = f"&after={following}"
    _body, known = one(port, first, headers)
    return {
        "page 1": (first, {}, 200),
        "page 10,000": (f"{first}{token}", {}, 200),
        "304": (first, {"If-None-Match": known["ETag"]}, 304),
    }


@contextlib.contextmanager
def _datasette(rows: int) -> Iterator[list[int]]:
    """Serve the same rows by Datasette, a process for each of our workers."""
    from bench.lab.peers import python_of_peers

    python = str(python_of_peers())
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        path = str(Path(folder) / "pegawai.db")
        fill = [python, "-m", "bench.lab.datasette_peer", path, str(rows)]
        subprocess.run(fill, cwd=PROJECT, check=True)
        ports = []
        for _ in range(WORKERS):
            port = free_port()
            command = [
                python, "-m", "datasette", "serve", path, "-p", str(port),
                "--setting", "allow_facet", "off", "--setting", "suggest_facets", "off",
            ]  # fmt: skip
            stack.enter_context(process(command, {}, port))
            ports.append(port)
        yield ports


def _ask_datasette(ports: list[int], seconds: float) -> dict[str, Any]:
    """Ask all processes at once, half of the clients each, for keyset pages of 100 rows."""
    import threading

    found: list[dict[str, Any]] = []
    path = "/pegawai/pegawai.json?_size=100&_nocount=1&_shape=objects"

    def work(port: int) -> None:
        found.append(
            load(port, path, seconds=seconds, threads=CLIENTS // len(ports), headers={})
        )

    threads = [threading.Thread(target=work, args=(port,)) for port in ports]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    if len(found) < len(ports):
        raise SystemExit("a Datasette did not answer")
    return {"per_s": sum(each["per_s"] for each in found)}


def _tell(report: Report, measured: Measured, options: argparse.Namespace) -> None:
    """``per_s`` is requests for pages and rows for CSV; ``seconds`` of one of them."""
    csv = measured.pop("csv")
    rates = {name: median(e["per_s"] for e in each) for name, each in measured.items()}
    for name, rate in rates.items():
        shown = {"seconds": round(1 / rate, 6), "per_s": round(rate), "rss_mb": 0.0}
        (report.peers if name == "datasette" else report.cases)[name] = shown
    seconds = median(each["seconds"] for each in csv)
    report.cases["csv, all rows"] = {
        "seconds": round(seconds, 2),
        "per_s": round(options.rows / seconds),
        "rss_mb": round(max(each["mb"] for each in csv), 1),
    }
    report.ours = report.cases["page 1"]
    if "datasette" in measured:
        pairs = zip(measured["page 1"], measured["datasette"], strict=True)
        report.ratios["datasette"] = round(
            median(a["per_s"] / b["per_s"] for a, b in pairs), 2
        )
        report.goals["datasette"] = GOAL
    report.check(
        "page 10,000 / page 1, time", rates["page 1"] / rates["page 10,000"], 1.2
    )
    report.check("304 / page, time", rates["page 1"] / rates["304"], 0.25)
    report.check("CSV, seconds", seconds, 10.0)
    report.check("CSV, memory MB beyond rest", max(e["more_mb"] for e in csv), 100.0)
    report.check("CSV, rows missing", max(abs(options.rows - e["rows"]) for e in csv), 0)
    report.notes = [
        f"{CLIENTS} clients, {WORKERS} processes each; 304s are logged too",
        "the CSV's MB are of the whole server: the master and both processes",
    ]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
