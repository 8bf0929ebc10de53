"""Servers of a benchmark: ours as ``run`` starts it, and any other by its command."""

import contextlib
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from typing import Any

from ops.places import PROJECT


@contextlib.contextmanager
def simpul(env: dict[str, str], workers: int) -> Iterator[tuple[int, int]]:
    """Serve the product as ``run`` does; yield its port and its process."""
    port = free_port()
    own = {**env, "WEB_PORT": str(port), "WEB_WORKERS": str(workers)}
    with process([sys.executable, "-m", "ops.serve"], own, port) as pid:
        yield port, pid


@contextlib.contextmanager
def process(command: list[str], env: dict[str, str], port: int) -> Iterator[int]:
    """Run a server until the block ends; yield its process once its port answers."""
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            command, cwd=PROJECT, env={**os.environ, **env}, stdout=log, stderr=log
        )
        try:
            _await(process, port, log)
            yield process.pid
        finally:
            process.terminate()
            process.wait()


def _await(process: "subprocess.Popen[bytes]", port: int, log: Any) -> None:
    for _ in range(600):
        with (
            contextlib.suppress(OSError),
            socket.create_connection(("127.0.0.1", port), 1),
        ):
            return
        if process.poll() is not None:
            break
        time.sleep(0.1)
    log.seek(0)
    raise SystemExit(f"a server did not start:\n{log.read().decode()[-2000:]}")


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
