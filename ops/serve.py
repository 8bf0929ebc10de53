"""Serves ``wsgi:application`` by granian, for ``run`` and in production alike.

HTTP is read and written by threads that never hold Python's lock; the application runs in
``WEB_WORKERS`` processes of ``WEB_THREADS`` threads each.
"""

import gc
import os
import signal
from typing import Any

from granian import Granian
from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings
from granian.log import LogLevels

from ops.leash import ask_for_death_signal

# Longer lines and headers are refused before they reach the application.
_LARGEST_HEAD = 64 * 1024


def main() -> None:
    Granian(
        "wsgi:application",
        address=os.environ.get("WEB_HOST", "127.0.0.1"),
        port=int(os.environ.get("WEB_PORT", "8000")),
        interface=Interfaces.WSGI,
        http=HTTPModes.http1,
        http1_settings=HTTP1Settings(max_buffer_size=_LARGEST_HEAD),
        websockets=False,
        log_level=LogLevels.error,  # it warns of more threads than cores: they wait for data
        workers=int(os.environ.get("WEB_WORKERS", "2")),
        blocking_threads=int(os.environ.get("WEB_THREADS", "8")),
        backpressure=128,  # more wait in the system's queue, not in ours
        respawn_failed_workers=True,
        workers_kill_timeout=8,  # inside the supervisor's grace of ten seconds
    ).serve(target_loader=_load)


def _load(_target: str) -> Any:
    """Make the application in a worker process, which may not outlive its parent."""
    ask_for_death_signal(signal.SIGKILL)
    from wsgi import application

    gc.collect()
    gc.freeze()  # what was made so far stays: the collector need not look at it again
    return application


if __name__ == "__main__":
    main()
