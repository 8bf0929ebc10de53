"""A disk without room: work waits or fails in words, nothing is lost, it goes on with room."""

import contextlib
import random
import time
from pathlib import Path

import openpyxl
import psycopg
import pytest
import redis
import sqlalchemy as sa

from app.core import db
from app.core.policy import DbRole, Permission, Principal, acting_as
from app.datasets.models import Dataset
from app.exports import services as exports
from app.exports.models import ExportRun
from app.runs.states import RunStatus
from ops import verify
from tests import fakes, make
from tests.faults import mischief, office
from tests.faults.model import Agency, check_effects
from tests.faults.own_servers import NO_MOUNT, full, may_mount, small_disk

SEED = 28
MEGABYTES = 400  # a new cluster has 50, and each log file 16


@pytest.fixture(scope="module")
def disk(tmp_path_factory):
    """Servers whose PostgreSQL has a small disk of its own."""
    if not may_mount(tmp_path_factory.mktemp("mount")):
        pytest.skip(NO_MOUNT)
    with office.own_servers(MEGABYTES) as made:
        yield made


@pytest.fixture
def small(disk, settings, tmp_path):
    """An office with a small disk for the database, another one for its files."""
    with (
        small_disk(tmp_path / "home", 8),
        office.opened(settings, disk, tmp_path) as made,
    ):
        yield made


@pytest.fixture
def pulled(small, upstream):
    """An agency whose data were pulled once while there was room."""
    agency = Agency(SEED)
    contract = make.make_contract(max_vanished_percent=50)
    source = make.make_source(contract, upstream.url)
    upstream.records = agency.next_answer()
    first = make.request_pull(source)
    await_status(small, first, RunStatus.SUCCEEDED)
    upstream.records = agency.next_answer()
    return agency, contract, source, first


def await_status(small, run_id, status):
    return fakes.wait_until(
        lambda: make.run_of(run_id).status is status,
        60,
        lambda: f"{make.run_of(run_id).error_code} {small.processes.said()[-3000:]}",
    )


def everything_holds(home):
    with acting_as(make.OFFICE):
        for check in verify.CHECKS:
            with db.unit_of_work() as session:
                assert list(check.faults(session, home)) == [], check.name


def failed_in_words(run_id):
    """Tell whether an attempt of the run has ended for want of room, and is to be repeated."""
    run = make.run_of(run_id)
    return (run.status, run.error_code) == (RunStatus.QUEUED, "disk_full")


def use_up_the_log(small):
    """Want one log file after the other: there is no room for the next one."""
    with contextlib.suppress(psycopg.Error), small.admin() as admin:
        for _ in range(MEGABYTES // 16):
            admin.execute("SELECT txid_current(), pg_switch_wal()")


@pytest.mark.long
@pytest.mark.parametrize("for_its_log", [False, True])
def test_no_byte_left_for_postgresql(small, pulled, disk, for_its_log):
    """Not even the ledger can be written: all waits. Without a log PostgreSQL itself ends."""
    agency, contract, source, first = pulled
    run_id = make.request_pull(source)
    with full(Path(disk.data).parent):
        if for_its_log:
            use_up_the_log(small)
            assert "PANIC" in Path(disk.log).read_text()
        time.sleep(6)
    healed = time.monotonic()
    mischief.await_postgres(small)
    await_status(small, run_id, RunStatus.SUCCEEDED)
    print(f"recovered in {time.monotonic() - healed:.1f} s")
    check_effects(agency, contract, [first, run_id])
    everything_holds(small.settings.home)


@pytest.mark.long
def test_no_byte_left_for_redis(small, pulled, disk):
    """It takes no word any more; what is asked for meanwhile waits in the ledger."""
    agency, contract, source, first = pulled
    with full(Path(disk.data).parents[1] / "redis"), small.redis() as client:

        def refuses():
            with contextlib.suppress(redis.RedisError):
                client.set("ballast", bytes(65_536))
            return client.info("persistence")["aof_last_write_status"] == "err"

        fakes.wait_until(refuses, 20)
        run_id = make.request_pull(source)
        time.sleep(4)
        assert make.run_of(run_id).status is RunStatus.QUEUED
    healed = time.monotonic()
    await_status(small, run_id, RunStatus.SUCCEEDED)
    print(f"recovered in {time.monotonic() - healed:.1f} s")
    check_effects(agency, contract, [first, run_id])


def test_a_pull_that_is_too_large_for_the_disk(small, upstream, disk):
    """The ledger's few bytes find their place: the run says why it failed, and is repeated."""
    contract = make.make_contract([make.PERSON[0], make.field("nama")])
    source = make.make_source(
        contract, upstream.url, page_size=500, page_bytes=2_000_000, page_seconds=20.0
    )
    chance = random.Random(SEED)
    upstream.records = [
        {"nip": f"{n:04}", "nama": chance.randbytes(900).hex()} for n in range(3_000)
    ]
    with full(Path(disk.data).parent, spare=2_000_000):
        run_id = make.request_pull(source)
        fakes.wait_until(lambda: failed_in_words(run_id), 30, small.processes.said)
    await_status(small, run_id, RunStatus.SUCCEEDED)
    with make.session() as s:
        table = f'data."{contract.slug}"'
        found = sa.text(f"SELECT count(*), count(DISTINCT nip) FROM {table}")
        assert s.execute(found).one() == (3_000, 3_000)
    assert make.run_of(run_id).result["inserted_count"] == 3_000
    everything_holds(small.settings.home)


def person():
    user = make.make_user("ADMINISTRATOR")
    may = frozenset({Permission.DATASET_EXPORT})
    return Principal(user.email, DbRole.OFFICE, user_id=user.id, permissions=may)


def test_no_room_for_a_file(small, pulled):
    _agency, contract, _source, _first = pulled
    who, folder = person(), small.settings.home / "exports"
    folder.mkdir()
    with full(small.settings.home):
        with acting_as(who), db.unit_of_work() as session:
            wanted = sa.select(Dataset).where(Dataset.contract_id == contract.id)
            asked = exports.request_export(session, session.scalars(wanted).one())
        fakes.wait_until(lambda: failed_in_words(asked.run_id), 20, small.processes.said)
        fakes.wait_until(lambda: list(folder.iterdir()) == [], 5)  # no half of it stays
    await_status(small, asked.run_id, RunStatus.SUCCEEDED)
    with make.session(make.WORKER_PRINCIPAL) as s:
        made = s.get_one(ExportRun, asked.id)
    path = exports.store_of(small.settings.home).path(made.file_key)
    with path.open("rb") as file:
        book = openpyxl.load_workbook(file, read_only=True)
        counts = [sum(1 for _ in sheet.iter_rows()) for sheet in book.worksheets]
    assert made.row_count + 1 in counts
    everything_holds(small.settings.home)
