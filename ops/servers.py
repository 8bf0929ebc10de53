"""The embedded servers together, and the addresses that the application reads."""

import contextlib
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ops import local_postgres, local_redis
from ops.keys import Keys
from ops.local_postgres import APPLICATION, OWNER, SUPERUSER, LocalPostgres
from ops.local_redis import LocalRedis
from ops.places import ServerUser, server_user
from ops.supervisor import Supervisor


@dataclass(frozen=True, slots=True)
class Addresses:
    """How to reach PostgreSQL in three roles, and Redis."""

    admin: str
    owner: str
    application: str
    redis: str


@dataclass(frozen=True, slots=True)
class ServerFolder:
    """Where a pair of embedded servers lives and who runs it."""

    base: Path
    user: ServerUser | None
    keys: Keys
    throwaway: bool = False

    def start_both(self, supervisor: Supervisor) -> Addresses:
        """Start PostgreSQL and Redis side by side."""
        redis, child = self.redis().launch(supervisor)
        postgres = self.postgres().start(supervisor)
        redis.await_ready(supervisor, child)
        return Addresses(
            admin=postgres.url(SUPERUSER, "postgres"),
            owner=postgres.url(OWNER),
            application=postgres.url(APPLICATION),
            redis=redis.url,
        )

    def postgres(self) -> LocalPostgres:
        binaries = local_postgres.find_binaries(self.user)
        folder = self.base / "postgres"
        passwords = self.keys.postgres
        return LocalPostgres(binaries, folder, self.user, passwords, self.throwaway)

    def redis(self) -> LocalRedis:
        binary = local_redis.find_binary(self.user)
        folder = self.base / "redis"
        password = self.keys["redis"]
        return LocalRedis(binary, folder, self.user, password, self.throwaway)


@contextlib.contextmanager
def throwaway_folder() -> Iterator[tuple[Path, ServerFolder]]:
    """A temporary folder for servers that forget: for tests, checks and benchmarks."""
    with tempfile.TemporaryDirectory(
        prefix="simpul-", ignore_cleanup_errors=True
    ) as name:
        folder = Path(name)
        folder.chmod(0o711 if os.geteuid() == 0 else 0o700)
        user = server_user()
        yield folder, ServerFolder(folder, user, Keys.made(), throwaway=True)


@contextlib.contextmanager
def throwaway_servers() -> Iterator[tuple[Supervisor, Addresses, Path]]:
    """Both servers for the length of a block, with an empty database ``simpul``."""
    with (
        throwaway_folder() as (folder, servers),
        Supervisor(folder / "log", quiet=True) as supervisor,
    ):
        yield supervisor, servers.start_both(supervisor), folder
