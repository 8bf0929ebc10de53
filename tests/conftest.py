"""The ground that tests stand on: a migrated database and a Redis for each test process.

A template database is migrated once; each xdist worker gets a copy of it, so no test sees
another worker's rows. Tests of one worker keep apart by making agencies of their own.
"""

import fcntl
import hashlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest
import sqlalchemy as sa
from psycopg import sql
from sqlalchemy.engine import make_url

from app import models  # noqa: F401 - all tables must be known before the first query
from app.core import crypto, db
from app.identity import passwords
from config import Settings
from jobs import bell
from tests import fakes, make
from tests.faults import guards

ROOT = Path(__file__).resolve().parents[1]
VARIABLES = ("TEST_PG_ADMIN_URL", "TEST_OWNER_URL", "TEST_APP_URL", "TEST_REDIS_URL")


# Files of few tests that take minutes: begun last, they would leave a processor idle.
SLOW = ("tests/browser/test_every_page", "tests/faults", "tests/browser", "tests/ops")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the slow files first; the order within a file stays as it is written."""

    def place(item: pytest.Item) -> int:
        slow = (n for n, start in enumerate(SLOW) if item.nodeid.startswith(start))
        return next(slow, len(SLOW))

    items.sort(key=place)


@contextmanager
def _one_at_a_time(name: str) -> Iterator[None]:
    path = Path(tempfile.gettempdir()) / f"simpul-test-{os.getuid()}-{name}.lock"
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _plain(url: str) -> str:
    return url.replace("+psycopg", "")


def _for_database(url: str, name: str) -> str:
    return make_url(url).set(database=name).render_as_string(hide_password=False)


def _migrations_digest() -> str:
    digest = hashlib.sha256()
    for path in sorted((ROOT / "migrations").rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


def _make_template(admin_url: str, name: str) -> None:
    """Migrate an empty database once per server; roles belong to the whole server."""
    with psycopg.connect(_plain(admin_url), autocommit=True) as admin:
        found = admin.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name])
        if found.fetchone():
            return
        owner = make_url(os.environ["TEST_OWNER_URL"]).username
        half_made = f"{name}_half"
        admin.execute(
            sql.SQL("DROP DATABASE IF EXISTS {}").format(sql.Identifier(half_made))
        )
        admin.execute(
            sql.SQL("CREATE DATABASE {} OWNER {}").format(
                sql.Identifier(half_made), sql.Identifier(owner)
            )
        )
        env = {
            **os.environ,
            "DATABASE_URL": _for_database(os.environ["TEST_APP_URL"], half_made),
            "MIGRATION_DATABASE_URL": _for_database(
                os.environ["TEST_OWNER_URL"], half_made
            ),
        }
        done = subprocess.run(
            [sys.executable, "-m", "alembic", "upgrade", "head"],
            cwd=ROOT, env=env, check=False, capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-2000:]
        admin.execute(
            sql.SQL("ALTER DATABASE {} RENAME TO {}").format(
                sql.Identifier(half_made), sql.Identifier(name)
            )
        )


@contextmanager
def _copy_of_template(name: str) -> Iterator[None]:
    admin_url = os.environ["TEST_PG_ADMIN_URL"]
    template = f"simpul_template_{_migrations_digest()}"
    with _one_at_a_time(hashlib.sha256(admin_url.encode()).hexdigest()[:12]):
        _make_template(admin_url, template)
        with psycopg.connect(_plain(admin_url), autocommit=True) as admin:
            drop = sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(
                sql.Identifier(name)
            )
            admin.execute(drop)
            admin.execute(
                sql.SQL("CREATE DATABASE {} TEMPLATE {} OWNER {}").format(
                    sql.Identifier(name),
                    sql.Identifier(template),
                    sql.Identifier(make_url(os.environ["TEST_OWNER_URL"]).username),
                )
            )
    yield
    with psycopg.connect(_plain(admin_url), autocommit=True) as admin:
        admin.execute(drop)


def _redis_for(worker: str) -> str:
    """Return the address of a database number of this worker's own."""
    number = int(worker.removeprefix("gw") or 0) + 1 if worker != "master" else 0
    url = os.environ["TEST_REDIS_URL"]
    if url.startswith("unix:"):
        return url.partition("?")[0] + f"?db={number}"
    return url.rpartition("/")[0] + f"/{number}"


if os.environ.get("GUARD_OFF"):  # see tests.faults.guards
    guards.switch_off(os.environ["GUARD_OFF"])


@pytest.fixture(scope="session")
def settings(worker_id: str, tmp_path_factory) -> Iterator[Settings]:
    """Settings in test mode, bound: sessions of this process reach the test's database."""
    missing = [name for name in VARIABLES if not os.environ.get(name)]
    if missing:
        pytest.exit(
            f"{', '.join(missing)} missing: run the tests by ./simpul test", returncode=2
        )
    name = f"simpul_test_{worker_id}"
    with _copy_of_template(name):
        made = Settings.from_env(
            {
                "SIMPUL_MODE": "test",
                "DATABASE_URL": _for_database(os.environ["TEST_APP_URL"], name),
                "MIGRATION_DATABASE_URL": _for_database(
                    os.environ["TEST_OWNER_URL"], name
                ),
                "REDIS_URL": _redis_for(worker_id),
                "SECRET_KEY": "kunci-sesi", "FIELD_KEY": "kunci-kolom",
                "QUEUE_KEY": "kunci-antrean",
                "SIMPUL_HOME": str(tmp_path_factory.mktemp("home")),
                "LEASE_SECONDS": "2", "HEARTBEAT_SECONDS": "0.5",
                "RECONCILE_SECONDS": "0.5", "POLL_SECONDS": "0.2",
            }
        )  # fmt: skip
        db.bind(made)
        crypto.bind(made.field_key)
        passwords.bind(made)
        yield made
        for engine in (db.engine(), db._Engines.owner):
            engine.dispose()


@pytest.fixture
def bound(settings: Settings) -> Settings:
    """The settings, with sessions pointed here again: building a web app moves them."""
    if db.engine().url != sa.engine.make_url(settings.database_url):
        db.bind(settings)
    crypto.bind(settings.field_key)
    return settings


@pytest.fixture
def redis_server(bound: Settings):
    """This worker's own, empty Redis database."""
    client = bell.connect(bound.redis_url)
    client.flushdb()
    yield client
    client.close()


@pytest.fixture
def office(bound: Settings) -> Iterator[None]:
    """Act as a person of the office for the length of a test."""
    with make.acting_as_office():
        yield


@pytest.fixture
def upstream() -> Iterator[fakes.Upstream]:
    """An agency's service on a port of its own."""
    with fakes.Upstream() as server:
        yield server


@pytest.fixture
def yard(bound: Settings) -> Iterator[fakes.Yard]:
    """Processes that do one run each, as the worker's do."""
    with fakes.Yard(bound) as made:
        yield made


@pytest.fixture
def own_redis(tmp_path_factory) -> Iterator[fakes.OwnRedis]:
    """A Redis server of the test's own, which it may kill."""
    with fakes.OwnRedis(tmp_path_factory.mktemp("r")) as server:
        yield server


@pytest.fixture
def processes(bound: Settings, own_redis, tmp_path) -> Iterator[fakes.Processes]:
    """The real worker and scheduler, with a Redis that may be killed."""
    settings = replace(bound, redis_url=own_redis.url)
    with fakes.Processes(settings, tmp_path / "log") as made:
        yield made
