"""Serves ``wsgi:application`` by granian, for ``run`` and in production alike.

HTTP is read and written by threads that never hold Python's lock; the application runs in
``WEB_WORKERS`` processes of ``WEB_THREADS`` threads each.
"""

import gc
import multiprocessing
import os
import resource
import signal
import sys
from typing import Any

from granian import Granian
from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings
from granian.log import LogLevels

from ops.cut import cutting
from ops.leash import ask_for_death_signal

# Longer lines and headers are refused before they reach the application.
_LARGEST_HEAD = 64 * 1024
# Of one process, idle ones with them: whoever only holds a connection holds up nobody. What
# is beyond waits in the system's queue.
_MOST_CONNECTIONS = 4096
_OTHER_FILES = 256


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
        backpressure=_connections(),
        respawn_failed_workers=True,
        workers_kill_timeout=8,  # inside the supervisor's grace of ten seconds
    ).serve(target_loader=_load)


def _connections() -> int:
    """Return how many connections a process may hold, as far as it may open files."""
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if hard == resource.RLIM_INFINITY:
        return _MOST_CONNECTIONS
    return max(128, min(_MOST_CONNECTIONS, hard - _OTHER_FILES))


def _load(_target: str) -> Any:
    """Make the application in a worker process, which may not outlive its parent."""
    ask_for_death_signal(signal.SIGKILL)
    parent = multiprocessing.parent_process()
    if parent is not None and os.getppid() != parent.pid:
        sys.exit("the parent died before the kernel was asked to tell")
    from wsgi import application

    gc.collect()
    gc.freeze()  # what was made so far stays: the collector need not look at it again
    return cutting(application)


if __name__ == "__main__":
    main()
