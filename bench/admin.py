"""``./simpul bench admin``: a list of a million people, beside stock Flask-Admin 2.2.

Ours is the production server as ``run`` starts it, with log-in, policies, database roles and
row-level security. Flask-Admin reads the same table as a superuser, under gunicorn with as
many processes and threads; the same rows, columns, order and indexes. Both are asked in turn.
"""

import argparse
import contextlib
import html
import http.client
import random
import re
import secrets
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from statistics import median
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlencode

import psycopg

from app.core.lists import Order
from app.identity.models import User
from bench.lab.api_load import Kept, load, percentiles
from bench.lab.program import started
from bench.lab.report import Report
from bench.lab.servers import rest, servers
from bench.lab.serving import free_port, process, simpul

WORKERS, CLIENTS = 2, 2
PAGE, FAR = 25, 20_000
ADMINS, THINK = 50, 3.0  # people at work, and seconds that one looks at a page on average
SLOWEST, CROWD, DEEP, STOCK = 150.0, 400.0, 1.3, 10.0
FILL = """
INSERT INTO agency (id, code, name, short_name, email, phone, address, active)
SELECT gen_random_uuid(), 'OPD-' || i, 'Dinas ' || i, '', '', '', '', true
FROM generate_series(1, 40) AS i;
INSERT INTO "user" (id, email, name, job_title, active, fs_uniquifier, agency_id, last_login_at,
    must_change_password, former_passwords, language, nip)
SELECT gen_random_uuid(), 'orang' || i || '@contoh.go.id',
    (ARRAY['Budi','Siti','Agus','Dewi','Rina','Joko','Putri','Hendra'])[1 + i % 8] || ' '
    || (ARRAY['Santoso','Wijaya','Siregar','Lubis','Harahap','Hidayat'])[1 + (i / 8) % 6]
    || ' ' || lpad(i::text, 7, '0'), 'Analis ' || i % 50, i % 9 > 0, md5(i::text),
    (SELECT id FROM agency WHERE code = 'OPD-' || 1 + i % 40),
    CASE WHEN i % 3 > 0 THEN now() - make_interval(secs => hashint4(i)::bigint % 10000000) END,
    false, '{{}}', 'id', ''
FROM generate_series(1, {rows}) AS i;
"""
Measured = dict[str, list[dict[str, Any]]]


def main(arguments: list[str]) -> int:
    options = parsed(arguments)
    report = Report("admin", options.rows, options.rounds)
    with servers() as env, contextlib.ExitStack() as stack:
        email, password = "tolok@ukur.test", f"Aa1-{secrets.token_hex(12)}"
        with started(sys.executable, "bench.lab.ours", env) as ours:
            ours.ask(do="make_person", email=email, password=password)
        _fill(env, options.rows)
        port, _pid = stack.enter_context(simpul(env, WORKERS))
        cookie = {"Cookie": _log_in(port, email, password)}
        cases, stock = _cases(env, options.rows), _stock_cases(env, options.rows)
        peer = stack.enter_context(_flask_admin(env)) if options.peer else 0
        measured: Measured = defaultdict(list)
        for _ in range(options.rounds):
            rest(env)
            for name, path in cases.items():
                measured[name].append(_ask(port, path, options.seconds, cookie))
                if peer and name in stock:
                    found = _ask(peer, stock[name], options.seconds, {})
                    measured[f"flask-admin {name}"].append(found)
            crowd = _crowd(port, list(cases.values()), options.crowd, cookie)
            measured[f"{ADMINS} administrators"].append(crowd)
    _tell(report, measured)
    return report.finish(options.json)


def parsed(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="./simpul bench admin")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--seconds", type=float, default=5.0, help="of each case in a round"
    )
    parser.add_argument("--crowd", type=float, default=30.0, help="seconds of the crowd")
    parser.add_argument("--peer", action="store_true", help="measure Flask-Admin too")
    parser.add_argument("--json", default="", metavar="FILE")
    return parser.parse_args(arguments)


def _fill(env: Mapping[str, str], rows: int) -> None:
    with psycopg.connect(env["BENCH_ADMIN_URL"], autocommit=True) as admin:
        for statement in FILL.format(rows=rows).split(";"):
            admin.execute(statement)
        admin.execute("VACUUM ANALYZE")


def _log_in(port: int, email: str, password: str) -> str:
    """Log in as a person does; return the cookie."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("GET", "/login")
    answer = connection.getresponse()
    page, cookie = answer.read().decode(), _cookie(answer)
    token = re.search(r'name="csrf_token"[^>]*value="([^"]+)"', page)
    if token is None:
        raise SystemExit("the log-in page has no token")
    form = {"email": email, "password": password, "csrf_token": html.unescape(token[1])}
    headers = {"Cookie": cookie, "Content-Type": "application/x-www-form-urlencoded"}
    connection.request("POST", "/login", urlencode(form), headers)
    answer = connection.getresponse()
    answer.read()
    if answer.status != 302:
        raise SystemExit(f"nobody was logged in: {answer.status}")
    return _cookie(answer)


def _cookie(answer: http.client.HTTPResponse) -> str:
    return (answer.getheader("Set-Cookie") or "").split(";", 1)[0]


def _place(env: Mapping[str, str], rows: int, column: str, *, down: bool) -> str:
    """Return the place of the row before page 20,000, or halfway in a smaller table."""
    at = min(FAR * PAGE, rows // 2)
    way = "DESC" if down else "ASC"
    with psycopg.connect(env["BENCH_ADMIN_URL"]) as admin:
        found = admin.execute(
            f'SELECT {column}, id FROM "user" WHERE {column} IS NOT NULL'
            f" ORDER BY {column} {way}, id {way} OFFSET {at} LIMIT 1"
        ).fetchone()
    if found is None:
        raise SystemExit("there is no such page")
    row = SimpleNamespace(**{column: found[0], "id": found[1]})
    return Order(getattr(User, column), User.id, down).place_of(row)


def _one(env: Mapping[str, str]) -> str:
    with psycopg.connect(env["BENCH_ADMIN_URL"]) as admin:
        found = admin.execute("SELECT id FROM \"user\" WHERE name LIKE 'Siti%' LIMIT 1")
        return str(found.fetchall()[0][0])


def _cases(env: Mapping[str, str], rows: int) -> dict[str, str]:
    by_login = "/users/?sort=last_login_at&desc=1"
    return {
        "first page": "/users/",
        "page 20,000": f"/users/?after={_place(env, rows, 'name', down=False)}",
        "first page, by log-in": by_login,
        "page 20,000, by log-in": (
            f"{by_login}&after={_place(env, rows, 'last_login_at', down=True)}"
        ),
        "search, a number": f"/users/?search={rows // 4}",
        "search, a common name": "/users/?search=siti",
        "search, a name nobody has": "/users/?search=zzyzx",
        "filter + sort": f"{by_login}&where=active:is:0&where=name:has:lubis",
        "edit form": f"/users/edit/?id={_one(env)}",
    }


def _stock_cases(env: Mapping[str, str], rows: int) -> dict[str, str]:
    page = min(FAR * PAGE, rows // 2) // PAGE
    return {
        "first page": "/people/",
        "page 20,000": f"/people/?page={page}",
        "first page, by log-in": "/people/?sort=4&desc=1",
        "page 20,000, by log-in": f"/people/?sort=4&desc=1&page={page}",
        "search, a number": f"/people/?search={rows // 4}",
        "search, a common name": "/people/?search=siti",
        "search, a name nobody has": "/people/?search=zzyzx",
        "filter + sort": "/people/?sort=4&desc=1&search=lubis&flt0_active_equals=0",
        "edit form": f"/people/edit/?id={_one(env)}",
    }


@contextlib.contextmanager
def _flask_admin(env: Mapping[str, str]) -> Iterator[int]:
    """Serve stock Flask-Admin on the same table; yield its port."""
    from bench.lab.peers import python_of_peers

    port = free_port()
    url = env["BENCH_ADMIN_URL"].replace("postgresql://", "postgresql+psycopg://")
    command = [
        str(python_of_peers()), "-m", "gunicorn", "bench.lab.flask_admin_peer:make()",
        "--bind", f"127.0.0.1:{port}", "--workers", str(WORKERS), "--threads", "8",
        "--keep-alive", "75", "--timeout", "120",
    ]  # fmt: skip
    with process(command, {"PEER_DATABASE_URL": url}, port):
        yield port


def _ask(
    port: int, path: str, seconds: float, headers: Mapping[str, str]
) -> dict[str, Any]:
    # What a page costs when it is there, not when it is first compiled.
    load(port, path, seconds=0.5, threads=CLIENTS * 2, headers=headers)
    return load(port, path, seconds=seconds, threads=CLIENTS, headers=headers)


def _crowd(
    port: int, paths: list[str], seconds: float, headers: Mapping[str, str]
) -> dict[str, Any]:
    """Have many people ask for pages, each looking at one for a while before the next."""
    times: list[float] = []
    end = time.perf_counter() + seconds

    def work(seed: int) -> None:
        dice = random.Random(seed)
        time.sleep(dice.uniform(0, THINK))
        while time.perf_counter() < end:
            kept = Kept(port, dice.choice(paths), headers)
            asked = time.perf_counter()
            if b" 200 " not in kept.ask()[:20]:
                raise SystemExit("a page did not come")
            times.append(time.perf_counter() - asked)
            kept.close()
            time.sleep(dice.expovariate(1 / THINK))

    people = [threading.Thread(target=work, args=(n,)) for n in range(ADMINS)]
    for each in people:
        each.start()
    for each in people:
        each.join()
    return {"per_s": len(times) / seconds, **percentiles(times)}


def _tell(report: Report, measured: Measured) -> None:
    """``seconds`` is the median of a page, ``per_s`` pages of a server with two clients."""
    shown = {name: _shown(each) for name, each in measured.items()}
    for name, figures in shown.items():
        kind = report.peers if name.startswith("flask-admin") else report.cases
        kind[name] = {
            "seconds": round(figures["p50"] / 1000, 4),
            "per_s": figures["per_s"],
            "rss_mb": 0,
        }
    report.ours = report.cases["first page"]
    for name, figures in shown.items():
        if not name.startswith(("flask-admin", str(ADMINS))):
            report.check(f"{name}, p95 ms", figures["p95"], SLOWEST)
    report.check(
        f"{ADMINS} administrators, p95 ms",
        shown[f"{ADMINS} administrators"]["p95"],
        CROWD,
    )
    for more in ("", ", by log-in"):
        deep, first = measured[f"page 20,000{more}"], measured[f"first page{more}"]
        flat = median(a["p50"] / b["p50"] for a, b in zip(deep, first, strict=True))
        report.check(f"page 20,000{more} / first page, time", flat, DEEP)
    for name, each in measured.items():
        peer = measured.get(f"flask-admin {name}")
        if peer:
            pairs = zip(each, peer, strict=True)
            report.ratios[name] = round(median(b["p50"] / a["p50"] for a, b in pairs), 2)
    report.goals["page 20,000, by log-in"] = STOCK
    report.notes = [
        f"{CLIENTS} clients, {WORKERS} processes each; ratios are of the medians of a page",
        "p95 of Flask-Admin: "
        + ", ".join(
            f"{name.removeprefix('flask-admin ')} {figures['p95']:.0f}"
            for name, figures in shown.items()
            if name.startswith("flask-admin")
        ),
    ]


def _shown(rounds: list[dict[str, Any]]) -> dict[str, float]:
    return {
        name: round(median(each[name] for each in rounds), 1)
        for name in ("p50", "p95", "per_s")
    }


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
