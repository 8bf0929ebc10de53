"""The settings for a single command: those given, those of the running Simpul, or its own."""

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator
from pathlib import Path

from ops.keys import Keys
from ops.places import home_folder, server_base, server_user
from ops.run import STATE_FILE, RunOptions, given_addresses, run_lock
from ops.servers import ServerFolder
from ops.supervisor import Supervisor


@contextlib.contextmanager
def settings_for_command() -> Iterator[dict[str, str]]:
    """The environment for one command, with servers that are up while the block lasts."""
    if given_addresses() is not None:
        yield dict(os.environ)
        return
    home = home_folder()
    running = _running(home)
    if running is not None:
        yield {**os.environ, **running}
        return
    keys = Keys.kept_in(home)
    user = server_user()
    with (
        run_lock(home, RunOptions()),
        Supervisor(home / "log") as supervisor,
    ):
        servers = ServerFolder(server_base(home, user), user, keys)
        addresses = servers.start_both(supervisor)
        yield {
            **keys.application,
            "SIMPUL_MODE": "demo",
            **os.environ,
            "DATABASE_URL": addresses.application,
            "MIGRATION_DATABASE_URL": addresses.owner,
            "REDIS_URL": addresses.redis,
            "SIMPUL_HOME": str(home),
        }


def _running(home: Path) -> dict[str, str] | None:
    """The settings of the Simpul that runs from this data folder, if one does."""
    if not _is_locked(home / "run.lock"):
        return None
    try:
        found: dict[str, str] = json.loads((home / STATE_FILE).read_text())
    except (OSError, ValueError):
        return None
    return found


def _is_locked(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False
