"""A bad day: fault after fault, by chance, under pulls at work. Each storm names its seed.

An office of its own, with a PostgreSQL and a Redis that may be killed, and lines to them
that may be cut. After each fault nothing is lost, nothing done twice, nothing stuck, and the
run is over within a minute of the healing.
"""

import contextlib
import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import psutil
import psycopg
import pytest
import redis
from sqlalchemy.engine import make_url

from app.core import db
from app.core.policy import acting_as
from app.runs.states import TERMINAL, RunStatus
from ops import verify
from tests import fakes, make
from tests.faults.model import Agency, check_effects
from tests.faults.own_servers import postmaster
from tests.faults.proxy import Proxy

ROOT = Path(__file__).resolve().parents[2]
RECOVERY_SECONDS = 60.0


def _redis_socket(url):
    plain = url.removeprefix("unix://").partition("?")[0]
    return plain.rpartition("@")[2]


def _connect_unix(path):
    line = socket.socket(socket.AF_UNIX)
    line.connect(path)
    return line


class Office:
    """Servers, lines, worker and scheduler; what dies of the latter two is started again."""

    def __init__(self, settings, servers, lines, log):
        self.settings = settings
        self.servers = servers
        self.postgres_line, self.redis_line = lines
        self.processes = fakes.Processes(settings, log)
        self._started = {}
        self._env = {}
        self._over = threading.Event()
        self._keeper = threading.Thread(target=self._keep, daemon=True)

    def __enter__(self):
        self._start("worker")
        self._start("scheduler")
        self._keeper.start()
        return self

    def __exit__(self, *_):
        self._over.set()
        self._keeper.join()
        self.processes.__exit__()

    def _start(self, name):
        self._started[name] = getattr(self.processes, name)(**self._env)

    def restart(self, **env):
        """Let both be started again, with more in their environment from now on."""
        self._env = env
        for process in list(self._started.values()):
            process.kill()

    def _keep(self):
        while not self._over.wait(0.2):
            for name, process in list(self._started.items()):
                if process.poll() is not None:
                    self._start(name)

    def process(self, name):
        return psutil.Process(self._started[name].pid)

    def run_process(self):
        """The run's own process, or the worker where none is at work just now."""
        worker = self.process("worker")
        runs = [run for queue in worker.children() for run in queue.children()]
        return runs[0] if runs else worker

    def reader(self):
        """The process that reads the service for the run."""
        readers = self.run_process().children()
        return readers[0] if readers else self.run_process()

    def admin(self):
        name = make_url(self.settings.database_url).database
        address = self.servers.admin.rpartition("/")[0]
        return psycopg.connect(f"{address}/{name}", autocommit=True, connect_timeout=5)

    def redis(self):
        return redis.Redis.from_url(self.servers.redis, retry=None, socket_timeout=5)


@pytest.fixture(scope="module")
def servers():
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.faults.own_servers"],
        cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    made = SimpleNamespace(**json.loads(process.stdout.readline()))
    env = os.environ | {
        "DATABASE_URL": made.application, "MIGRATION_DATABASE_URL": made.owner,
    }  # fmt: skip
    command = [sys.executable, "-m", "alembic", "upgrade", "head"]
    subprocess.run(command, cwd=ROOT, env=env, check=True, capture_output=True)
    yield made
    process.stdin.close()
    process.stdout.close()
    process.wait(30)


@pytest.fixture
def office(servers, settings, tmp_path):
    direct = make_url(servers.application)
    with (
        Proxy(lambda: socket.create_connection((direct.host, direct.port), 5)) as pg,
        Proxy(lambda: _connect_unix(_redis_socket(servers.redis))) as bell,
    ):
        password = servers.redis.partition("://:")[2].partition("@")[0]
        mine = replace(
            settings,
            database_url="postgresql+psycopg"
            + servers.application.removeprefix("postgresql"),
            migration_database_url="postgresql+psycopg"
            + servers.owner.removeprefix("postgresql"),
        )
        db.bind(mine)
        theirs = replace(
            mine,
            database_url=make_url(mine.database_url)
            .set(port=pg.port)
            .render_as_string(hide_password=False),
            redis_url=f"redis://:{password}@127.0.0.1:{bell.port}/0",
        )
        with Office(theirs, servers, (pg, bell), tmp_path / "log") as made:
            yield made
        for engine in (db.engine(), db._Engines.owner):
            engine.dispose()
    db.bind(settings)


def kill(name):
    def fault(office, _chance):
        victim = (
            getattr(office, name)() if hasattr(office, name) else office.process(name)
        )
        with contextlib.suppress(psutil.NoSuchProcess):
            victim.kill()

    return fault


def kill_queue(office, _chance):
    for queue in office.process("worker").children():
        queue.kill()


def end(name):
    def fault(office, _chance):
        office.process(name).terminate()

    return fault


def freeze(name, seconds=3.0):
    """Past the lease of two seconds: somebody else takes over, and the sleeper wakes."""

    def fault(office, _chance):
        victim = (
            getattr(office, name)() if hasattr(office, name) else office.process(name)
        )
        with contextlib.suppress(psutil.NoSuchProcess):
            victim.suspend()
            time.sleep(seconds)
            victim.resume()

    return fault


def tell_redis(*words):
    def fault(office, _chance):
        with office.redis() as client:
            client.execute_command(*words)

    return fault


def starve_redis(office, _chance):
    """No memory for anything new, for two seconds."""
    with office.redis() as client:
        client.config_set("maxmemory", 1)
        time.sleep(2)
        client.config_set("maxmemory", 0)


def other_password(office, _chance):
    with office.redis() as client:
        before = client.config_get("requirepass")["requirepass"]
        client.config_set("requirepass", "lain")
        client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        time.sleep(2)
        client.config_set("requirepass", before)


def kill_redis(office, _chance):
    with office.redis() as client:
        number = client.info("server")["process_id"]
    os.kill(number, signal.SIGKILL)


def stop_redis(office, _chance):
    with office.redis() as client:
        number = client.info("server")["process_id"]
    os.kill(number, signal.SIGSTOP)
    time.sleep(4)
    os.kill(number, signal.SIGCONT)


def terminate_backends(office, _chance):
    for _ in range(5):
        with office.admin() as admin:
            admin.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE usename = 'simpul_app' AND pid <> pg_backend_pid()"
            )
        time.sleep(0.2)


def kill_backend(office, _chance):
    """PostgreSQL restarts all of itself when one of its processes is killed."""
    with office.admin() as admin:
        row = admin.execute(
            "SELECT pid FROM pg_stat_activity WHERE usename = 'simpul_app' LIMIT 1"
        ).fetchone()
    if row:
        os.kill(row[0], signal.SIGKILL)
    _await_postgres(office)


def signal_postgres(number):
    def fault(office, _chance):
        os.kill(postmaster(office.servers.data), number)
        _await_postgres(office, gone_first=True)

    return fault


def _await_postgres(office, *, gone_first=False):
    def answers():
        try:
            with office.admin() as admin:
                admin.execute("SELECT 1")
        except psycopg.Error:
            return False
        return True

    if gone_first:
        with contextlib.suppress(AssertionError):
            fakes.wait_until(lambda: not answers(), 5)
    fakes.wait_until(answers, 60)


def freeze_postgres(office, _chance):
    main = psutil.Process(postmaster(office.servers.data))
    everyone = [main, *main.children(recursive=True)]
    for each in everyone:
        with contextlib.suppress(psutil.NoSuchProcess):
            each.suspend()
    time.sleep(4)
    for each in everyone:
        with contextlib.suppress(psutil.NoSuchProcess):
            each.resume()


def exhaust_connections(office, _chance):
    held = []
    with contextlib.suppress(psycopg.Error):
        while len(held) < 300:
            held.append(psycopg.connect(office.servers.application, connect_timeout=2))
    time.sleep(2)
    for each in held:
        each.close()


def hold_a_lock(office, _chance):
    with office.admin() as admin, admin.transaction():
        admin.execute("LOCK TABLE job_run, dataset IN ACCESS EXCLUSIVE MODE")
        time.sleep(3)


def read_only(office, _chance):
    with office.admin() as admin:
        admin.execute("ALTER SYSTEM SET default_transaction_read_only = on")
        admin.execute("SELECT pg_reload_conf()")
        time.sleep(2)
        admin.execute("SET default_transaction_read_only = off")
        admin.execute("ALTER SYSTEM RESET default_transaction_read_only")
        admin.execute("SELECT pg_reload_conf()")


def line(which, mood, seconds=2.0):
    def fault(office, _chance):
        chosen = getattr(office, f"{which}_line")
        chosen.mood = mood
        time.sleep(seconds)
        chosen.mood = "pass"

    return fault


def cut(which):
    def fault(office, chance):
        for _ in range(6):
            getattr(office, f"{which}_line").cut()
            time.sleep(chance.random() * 0.3)

    return fault


FAKETIME = Path("/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1")


def other_clock(shift):
    """From now on worker and scheduler have another idea of the time."""

    def fault(office, _chance):
        office.restart(LD_PRELOAD=str(FAKETIME), FAKETIME=shift)

    return fault


def second_scheduler(office, _chance):
    """A second one beside the first, from now on."""
    office.processes.scheduler()


FAULTS = {
    "worker killed": kill("worker"),
    "queue's process killed": kill_queue,
    "run's process killed": kill("run_process"),
    "reader killed": kill("reader"),
    "scheduler killed": kill("scheduler"),
    "worker told to stop": end("worker"),
    "scheduler told to stop": end("scheduler"),
    "worker frozen": freeze("worker"),
    "run's process frozen": freeze("run_process"),
    "reader frozen": freeze("reader"),
    "scheduler frozen": freeze("scheduler"),
    "second scheduler": second_scheduler,
    "Redis flushed": tell_redis("FLUSHALL"),
    "Redis' scripts flushed": tell_redis("SCRIPT", "FLUSH"),
    "Redis' clients killed": tell_redis("CLIENT", "KILL", "TYPE", "normal"),
    "Redis killed": kill_redis,
    "Redis frozen": stop_redis,
    "Redis without memory": starve_redis,
    "Redis with another password": other_password,
    "line to Redis cut": cut("redis"),
    "line to Redis slow": line("redis", "slow"),
    "line to Redis silent": line("redis", "hold", 7.0),
    "answers of Redis lost": line("redis", "lose"),
    "backends terminated": terminate_backends,
    "backend killed": kill_backend,
    "PostgreSQL killed": signal_postgres(signal.SIGKILL),
    "PostgreSQL restarted fast": signal_postgres(signal.SIGINT),
    "PostgreSQL stopped at once": signal_postgres(signal.SIGQUIT),
    "PostgreSQL frozen": freeze_postgres,
    "no connection left": exhaust_connections,
    "tables locked": hold_a_lock,
    "PostgreSQL read only": read_only,
    "clocks an hour ahead": other_clock("+1h"),
    "clocks an hour behind": other_clock("-1h"),
    "clocks 400 days ahead": other_clock("+400d"),
    "line to PostgreSQL cut": cut("postgres"),
    "line to PostgreSQL slow": line("postgres", "slow"),
    "line to PostgreSQL silent": line("postgres", "hold"),
    "answers of PostgreSQL lost": line("postgres", "lose"),
}
SHORT = (
    "PostgreSQL killed", "answers of PostgreSQL lost", "run's process frozen",
    "Redis killed", "answers of Redis lost", "worker killed", "clocks 400 days ahead",
)  # fmt: skip


def possible(names):
    """Leave out what cannot be made here, and say so."""
    missing = {name for name in names if "clock" in name and not FAKETIME.exists()}
    for name in sorted(missing):
        print(f"not possible here: {name}")
    return [name for name in names if name not in missing]


def storm(office, upstream, names, seed):
    """Let faults come one by one, each under a pull; return the seconds of each recovery."""
    chance = random.Random(seed)
    agency = Agency(seed)
    contract = make.make_contract(max_vanished_percent=50)
    source = make.make_source(
        contract, upstream.url, page_seconds=20.0, read_seconds=20.0
    )
    upstream.answer = lambda _handler, _page: time.sleep(0.15) or False
    done, took = [], {}
    for name in possible(names):
        upstream.records = agency.next_answer()
        run_id = make.request_pull(source)
        done.append(run_id)
        fakes.wait_until(
            lambda r=run_id: make.run_of(r).status is not RunStatus.QUEUED,
            RECOVERY_SECONDS,
            office.processes.said,
        )
        time.sleep(chance.random() * 0.8)
        FAULTS[name](office, chance)
        took[name] = fakes.wait_until(
            lambda r=run_id: _is_over(r),
            RECOVERY_SECONDS,
            lambda n=name, r=run_id: (
                f"{n}: {make.run_of(r).status} {office.processes.said()[-3000:]}"
            ),
        )
        run = make.run_of(run_id)
        assert run.status is RunStatus.SUCCEEDED, (name, run.error_code, seed)
        check_effects(agency, contract, done)
    return took


def _is_over(run_id):
    try:
        return make.run_of(run_id).status in TERMINAL
    except Exception:  # noqa: BLE001 - our own connection may have been cut as well
        return False


def everything_holds(tmp_path):
    with acting_as(make.OFFICE):
        for check in verify.CHECKS:
            with db.unit_of_work() as session:
                faults = list(check.faults(session, tmp_path))
            assert faults == [], check.name


@pytest.mark.timeout(300)
@pytest.mark.parametrize("seed", [20261124])
def test_a_short_storm(office, upstream, tmp_path, seed):
    took = storm(office, upstream, SHORT, seed)
    print({name: round(seconds, 1) for name, seconds in took.items()})
    everything_holds(tmp_path)


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_every_fault_in_some_order(office, upstream, tmp_path, seed):
    names = random.Random(seed).sample(sorted(FAULTS), len(FAULTS))
    took = storm(office, upstream, names, seed)
    for name, seconds in sorted(took.items(), key=lambda each: -each[1]):
        print(f"{seconds:5.1f} s  {name}")
    everything_holds(tmp_path)
