"""An office of a test's own: servers that may be killed, lines that may be cut."""

import contextlib
import json
import os
import random
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import psutil
import psycopg
import redis
from sqlalchemy.engine import make_url

from app.core import db
from tests import fakes
from tests.faults.proxy import Proxy

ROOT = Path(__file__).resolve().parents[2]
WORKERS = ("worker", "other worker")


class Office:
    """Servers, lines, two workers, a scheduler; what dies of the latter is started again.

    ``desk`` is where requests come from: an engine that reaches the database by the same
    line as the workers, as the web server's does.
    """

    def __init__(self, settings, servers, lines, log):
        self.settings = settings
        self.servers = servers
        self.postgres_line, self.redis_line = lines
        self.processes = fakes.Processes(settings, log)
        self.desk = db.make_engine(settings.database_url, statement_timeout_seconds=15)
        self._started = {}
        self._env = {}
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._keeper = threading.Thread(target=self._keep, daemon=True)

    def __enter__(self):
        for name in (*WORKERS, "scheduler"):
            self._started[name] = self._start(name)
        self._keeper.start()
        return self

    def __exit__(self, *_):
        self._over.set()
        self._keeper.join()
        self.processes.__exit__()
        self.desk.dispose()

    def _start(self, name):
        if name == "scheduler":
            return self.processes.scheduler(**self._env)
        return self.processes.worker("pulls", "exports", **self._env)

    def restart(self, **env):
        """Let all be started again, with more in their environment from now on."""
        self._env = env
        for process in list(self._started.values()):
            process.kill()

    def renew(self, name):
        """Start a new one beside the old one; return the old one, which nobody keeps."""
        new = self._start(name)
        with self._lock:
            old, self._started[name] = self._started[name], new
        return old

    def _keep(self):
        while not self._over.wait(0.2):
            with self._lock:
                for name, process in list(self._started.items()):
                    if process.poll() is not None:
                        self._started[name] = self._start(name)

    def process(self, name, chance=random):
        """The scheduler, or one of the workers."""
        chosen = chance.choice(WORKERS) if name == "worker" else name
        return psutil.Process(self._started[chosen].pid)

    def workers(self):
        return [psutil.Process(self._started[name].pid) for name in WORKERS]

    def queues(self):
        """The processes of all queues of both workers."""
        return [child for each in self.workers() for child in _children(each.pid)]

    def run_process(self, chance=random):
        """A run's own process, or a worker where none is at work just now."""
        runs = [run for queue in self.queues() for run in _children(queue.pid)]
        return chance.choice(runs) if runs else self.process("worker", chance)

    def reader(self, chance=random):
        """A process that reads a service for a run."""
        run = self.run_process(chance)
        return next(iter(_children(run.pid)), run)

    def admin(self):
        name = make_url(self.settings.database_url).database
        address = self.servers.admin.rpartition("/")[0]
        return psycopg.connect(f"{address}/{name}", autocommit=True, connect_timeout=5)

    def redis(self):
        return redis.Redis.from_url(self.servers.redis, retry=None, socket_timeout=8)


def _children(pid):
    with contextlib.suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).children()
    return []


@contextlib.contextmanager
def own_servers(megabytes: int = 0) -> Iterator[SimpleNamespace]:
    """Addresses of servers for a test alone, with the newest tables."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.faults.own_servers", str(megabytes)],
        cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        made = SimpleNamespace(**json.loads(process.stdout.readline()))
        env = os.environ | {
            "DATABASE_URL": made.application, "MIGRATION_DATABASE_URL": made.owner,
        }  # fmt: skip
        command = [sys.executable, "-m", "alembic", "upgrade", "head"]
        subprocess.run(command, cwd=ROOT, env=env, check=True, capture_output=True)
        yield made
    finally:
        process.stdin.close()
        process.stdout.close()
        process.wait(60)


def _driven(url):
    return "postgresql+psycopg" + url.removeprefix("postgresql")


def _connect_unix(path):
    line = socket.socket(socket.AF_UNIX)
    try:
        line.connect(path)
    except OSError:
        line.close()
        raise
    return line


def _redis_socket(url):
    plain = url.removeprefix("unix://").partition("?")[0]
    return plain.rpartition("@")[2]


@contextlib.contextmanager
def opened(settings, servers, folder: Path) -> Iterator[Office]:
    """An office at work; this process reaches its database past the line that may be cut."""
    direct = make_url(servers.application)
    with (
        Proxy(lambda: socket.create_connection((direct.host, direct.port), 5)) as pg,
        Proxy(lambda: _connect_unix(_redis_socket(servers.redis))) as bell,
    ):
        password = servers.redis.partition("://:")[2].partition("@")[0]
        mine = replace(
            settings,
            database_url=_driven(servers.application),
            migration_database_url=_driven(servers.owner),
            home=folder / "home",
        )
        db.bind(mine)
        theirs = replace(
            mine,
            database_url=make_url(mine.database_url)
            .set(port=pg.port)
            .render_as_string(hide_password=False),
            redis_url=f"redis://:{password}@127.0.0.1:{bell.port}/0",
        )
        try:
            with Office(theirs, servers, (pg, bell), folder / "log") as made:
                yield made
        finally:
            for engine in (db.engine(), db._Engines.owner):
                engine.dispose()
            db.bind(settings)
