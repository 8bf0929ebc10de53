"""A PostgreSQL and a Redis for the length of a benchmark, set as in production."""

import dataclasses
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from ops.places import PROJECT
from ops.servers import throwaway_folder
from ops.supervisor import Supervisor

WAL_FILES = 60  # of 16 MB: as many as ``min_wal_size`` keeps


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
        _age(env)
        yield env


def _age(env: dict[str, str]) -> None:
    """Make the server one that has run for a day: it has log files to use again.

    A young one makes each anew, 16 MB of zeros that must reach the disk before they are
    used, and whoever writes most in the shortest time waits for that the most.
    """
    with psycopg.connect(env["BENCH_ADMIN_URL"], autocommit=True) as admin:
        for _ in range(WAL_FILES):
            admin.execute("SELECT pg_current_xact_id(), pg_switch_wal()")
    rest(env)


def rest(env: dict[str, str]) -> None:
    """Write down what is in memory: nobody's measurement pays for what another has left."""
    with psycopg.connect(env["BENCH_ADMIN_URL"], autocommit=True) as admin:
        admin.execute("CHECKPOINT")
