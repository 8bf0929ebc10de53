"""A PostgreSQL and a Redis for the length of a benchmark, set as in production."""

import dataclasses
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from ops.places import PROJECT
from ops.servers import throwaway_folder
from ops.supervisor import Supervisor


@contextmanager
def servers() -> Iterator[dict[str, str]]:
    """Yield the environment of our processes; the database is migrated.

    Only the folder is thrown away: unlike the tests' servers these sync to the disk.
    """
    with (
        throwaway_folder() as (folder, pair),
        Supervisor(folder / "log", quiet=True) as supervisor,
    ):
        addresses = dataclasses.replace(pair, throwaway=False).start_both(supervisor)
        env = {
            "DATABASE_URL": addresses.application,
            "MIGRATION_DATABASE_URL": addresses.owner,
            "REDIS_URL": addresses.redis,
            "BENCH_ADMIN_URL": addresses.admin.rsplit("/", 1)[0] + "/simpul",
            "SIMPUL_MODE": "demo",
            "SECRET_KEY": "bench-1",
            "FIELD_KEY": "bench-2",
            "QUEUE_KEY": "bench-3",
            "OFFICE_NAME": "Kantor",
            "SIMPUL_HOME": str(folder / "home"),
        }
        command = [sys.executable, "-m", "alembic", "upgrade", "head"]
        subprocess.run(command, cwd=PROJECT, env={**os.environ, **env}, check=True)
        yield env
