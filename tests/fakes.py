"""Stand-ins with real sockets and real processes: an agency's service, and run processes."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self
from urllib.parse import parse_qsl, urlsplit
from uuid import UUID

from redis import Redis
from redis.exceptions import RedisError

from app.connectors.registry import ReadOrder, connector_for_order
from config import Settings
from ops import local_redis

ROOT = Path(__file__).resolve().parents[1]


class Upstream(ThreadingHTTPServer):
    """An agency's service: serves ``records`` in pages; ``answer`` may do otherwise.

    ``answer(handler, page)`` returns True when it has dealt with the request itself.
    """

    daemon_threads = True
    request_queue_size = 64

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.records: list[dict[str, Any]] = []
        self.answer: Callable[[Any, int], bool] = lambda _handler, _page: False
        self.asked: Counter[int] = Counter()
        self._thread = threading.Thread(
            target=self.serve_forever, args=(0.02,), daemon=True
        )

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/api/pegawai"

    def body(self, page: int, size: int) -> bytes:
        rows = self.records[(page - 1) * size : page * size]
        return json.dumps({"ok": True, "data": rows, "total": len(self.records)}).encode()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self._thread.join()
        self.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Upstream

    def do_GET(self) -> None:
        query = dict(parse_qsl(urlsplit(self.path).query))
        page, size = int(query.get("page", "1")), int(query.get("per_page", "10"))
        self.server.asked[page] += 1
        with contextlib.suppress(ConnectionError):
            if not self.server.answer(self, page):
                self.reply(self.server.body(page, size))

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", "0")))
        self.do_GET()

    def reply(
        self,
        body: bytes,
        status: int = 200,
        kind: str = "application/json",
        **headers: str,
    ) -> bool:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        return True

    def handle(self) -> None:
        with contextlib.suppress(ConnectionError):
            super().handle()

    def log_message(self, *_: object) -> None:
        pass


def environment(settings: Settings, **more: str) -> dict[str, str]:
    """The environment of a process that works with the test's servers."""
    dropped = ("SIMPUL_", "TEST_", "DATABASE_URL", "REDIS_URL")
    base = {k: v for k, v in os.environ.items() if not k.startswith(dropped)}
    return (
        base
        | {
            "SIMPUL_MODE": "test",
            "DATABASE_URL": settings.database_url.replace("+psycopg", ""),
            "MIGRATION_DATABASE_URL": settings.migration_database_url.replace(
                "+psycopg", ""
            ),
            "REDIS_URL": settings.redis_url,
            "SECRET_KEY": settings.secret_key,
            "FIELD_KEY": settings.field_key,
            "QUEUE_KEY": settings.queue_key,
            "SIMPUL_HOME": str(settings.home),
            "LEASE_SECONDS": str(settings.lease_seconds),
            "HEARTBEAT_SECONDS": str(settings.heartbeat_seconds),
            "RECONCILE_SECONDS": str(settings.reconcile_seconds),
            "POLL_SECONDS": str(settings.poll_seconds),
            "PYTHONWARNINGS": "error",
            "PYTHONUNBUFFERED": "1",
        }
        | more
    )


def pages_here(order: ReadOrder) -> Iterator[Any]:
    """The pages of an order, read by this very process."""
    return connector_for_order(order).pages(order.position)


class Yard:
    """Forks a process for each run, out of one that has imported everything."""

    def __init__(self, settings: Settings, **env: str) -> None:
        self._settings = settings
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.yard"],
            cwd=ROOT,
            env=environment(settings, **env),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def another(self) -> Self:
        """Return a second yard: the first answers nothing while one waits for its run."""
        return type(self)(self._settings)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.stdin.close()
        self._process.wait(20)
        self._process.stdout.close()

    def _ask(self, **order: Any) -> dict[str, Any]:
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        assert line, "the yard has ended"
        return json.loads(line)

    def start(self, run_id: UUID, fault: str = "", **env: str) -> int:
        """Start a process for a run; return its id."""
        env = {"SIMPUL_FAULT_POINT": fault} | env
        return self._ask(do="start", run=str(run_id), env=env)["pid"]

    def wait(self, pid: int) -> int:
        """Wait for a process; return its exit status, negative for a signal."""
        return self._ask(do="wait", pid=pid)["status"]

    def run(self, run_id: UUID, fault: str = "", **env: str) -> int:
        """Do one run to the end of its process; return the exit status."""
        return self.wait(self.start(run_id, fault, **env))


class Processes:
    """``jobs.worker`` and ``jobs.scheduler`` as an operator starts them."""

    def __init__(self, settings: Settings, log: Path) -> None:
        self._settings = settings
        self._log = log
        self._all: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._all:
            if process.poll() is None:
                with contextlib.suppress(ProcessLookupError):
                    process.send_signal(signal.SIGCONT)
                    process.kill()
            process.wait(10)

    def start(
        self, module: str, *arguments: str, env: Mapping[str, str] | None = None
    ) -> subprocess.Popen[bytes]:
        with self._log.open("ab") as file:
            process = subprocess.Popen(
                [sys.executable, "-m", module, *arguments],
                cwd=ROOT,
                env=environment(self._settings, **(env or {})),
                stdout=file,
                stderr=file,
            )
        self._all.append(process)
        return process

    def worker(self, *queues: str, **env: str) -> subprocess.Popen[bytes]:
        chosen = [f"--queue={queue}" for queue in queues or ("pulls",)]
        return self.start("jobs.worker", *chosen, env=env)

    def scheduler(self, **env: str) -> subprocess.Popen[bytes]:
        return self.start("jobs.scheduler", env=env)

    def said(self) -> str:
        return self._log.read_text(errors="replace")


class OwnRedis:
    """A Redis server that keeps nothing on disk: killed and started again, it is empty."""

    def __init__(self, folder: Path) -> None:
        self._socket = folder / "redis.sock"
        self._binary = str(local_redis.find_binary(None))
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"unix://{self._socket}?db=0"

    def start(self) -> None:
        self._process = subprocess.Popen(
            [
                self._binary,
                "--port",
                "0",
                "--unixsocket",
                str(self._socket),
                "--save",
                "",
                "--appendonly",
                "no",
                "--dir",
                str(self._socket.parent),
            ],
            stdout=subprocess.DEVNULL,
        )
        wait_until(self._answers, 10)

    def _answers(self) -> bool:
        with contextlib.suppress(RedisError), contextlib.closing(self.client()) as client:
            return bool(client.ping())
        return False

    def client(self) -> Redis:
        return Redis.from_url(self.url, retry=None)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()
        self._socket.unlink(missing_ok=True)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()


def wait_until(
    condition: Callable[[], Any], seconds: float, why: Callable[[], str] = str
) -> float:
    """Wait for a condition; return after how many seconds it came true."""
    start = time.monotonic()
    while not condition():
        assert time.monotonic() - start < seconds, (
            why() or "it did not come about in time"
        )
        time.sleep(0.05)
    return time.monotonic() - start
