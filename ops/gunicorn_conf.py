"""How gunicorn serves ``wsgi:application``, for ``run`` and in production alike."""

import os
import signal
from pathlib import Path
from typing import Any

from ops.leash import ask_for_death_signal

bind = f"{os.environ.get('WEB_HOST', '127.0.0.1')}:{os.environ.get('WEB_PORT', '8000')}"
worker_class = "gthread"
workers = int(os.environ.get("WEB_WORKERS", "2"))
threads = int(os.environ.get("WEB_THREADS", "8"))
preload_app = True  # imported once, shared by the workers
timeout = 120
graceful_timeout = 8  # inside the supervisor's grace of ten seconds
errorlog = "-"
loglevel = "info"
control_socket_disable = True  # it would be written into the user's own folder
_memory = Path("/dev/shm")  # noqa: S108 - heartbeat files: no disk may delay them
worker_tmp_dir = str(_memory) if os.access(_memory, os.W_OK) else None


def post_fork(_server: Any, _worker: Any) -> None:
    """A worker may not outlive the process that restarts it."""
    ask_for_death_signal(signal.SIGKILL)
