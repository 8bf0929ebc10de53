"""The chain of seals: every committed row within it once, every change of one seen."""

import contextlib
import os
from contextlib import contextmanager
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import psycopg
import pytest
import sqlalchemy as sa

from app.audit import anchors, sealer
from app.audit.models import AuditEvent, SealBatch
from app.core import db
from app.core.policy import DISPATCHER, acting_as
from tests import make

pytestmark = pytest.mark.usefixtures("bound")


def seal():
    with acting_as(DISPATCHER), db.unit_of_work() as session:
        return sealer.seal(session)


def breaks():
    with make.session() as s:
        return list(sealer.breaks_of(s))


def sealed_ids(log="audit_event"):
    with make.session() as s:
        batches = s.scalars(sa.select(SealBatch.ids).where(SealBatch.log == log))
        return [number for ids in batches for number in ids]


def audit_ids():
    with make.session() as s:
        return set(s.scalars(sa.select(AuditEvent.id)))


@contextmanager
def as_owner():
    """The database's superuser, whom no grant stops."""
    admin = os.environ["TEST_PG_ADMIN_URL"].rpartition("/")[0]
    with psycopg.connect(f"{admin}/{db.engine().url.database}") as connection:
        yield connection


def test_every_row_is_sealed_once():
    for _ in range(3):
        make.make_agency()
        seal()
    assert seal() == 0
    ids = sealed_ids()
    assert len(ids) == len(set(ids))
    assert set(ids) == audit_ids()
    assert breaks() == []


def test_a_transaction_that_takes_long_is_sealed_when_it_is_through():
    seal()
    with make.session() as slow:
        slow.add(make.Agency(code=make.word(), name="Lama"))
        slow.flush()  # it has the lower number
        make.make_agency()
        assert seal() >= 1
        assert audit_ids() == set(sealed_ids())
    assert audit_ids() - set(sealed_ids())
    assert seal() == 1
    assert audit_ids() == set(sealed_ids())
    assert breaks() == []


@pytest.mark.parametrize(
    ("deed", "what"),
    [
        ("UPDATE audit_event SET actor = 'orang lain' WHERE id = %(id)s", "rows_changed"),
        ("DELETE FROM audit_event WHERE id = %(id)s", "rows_changed"),
        ("UPDATE seal_batch SET ids = ids || 1::bigint WHERE id = 1", "chain_broken"),
        ("UPDATE seal_batch SET at = at + interval '1 h' WHERE id = 1", "chain_broken"),
        ("UPDATE seal_batch SET digest = rows_digest WHERE id = 1", "chain_broken"),
        ("DELETE FROM seal_batch WHERE id = 1", "seal_missing"),
    ],
)
def test_what_the_owner_of_the_database_changes_is_seen(deed, what):
    make.make_agency()
    seal()
    make.make_agency()
    seal()
    number = max(sealed_ids())
    found = []
    with contextlib.suppress(UndoneError), db.owner_unit_of_work() as session:
        done = session.execute(sa.text(deed.replace("%(id)s", str(number))))
        assert done.rowcount == 1
        found += sealer.breaks_of(session)
        raise UndoneError
    assert what in {each.what for each in found}
    assert breaks() == []


class UndoneError(Exception):
    """Leaves no trace of what a test did."""


def test_the_application_cannot_change_what_is_sealed():
    make.make_agency()
    seal()
    for statement in (
        "UPDATE seal_batch SET log = log",
        "DELETE FROM seal_batch",
        "UPDATE audit_event SET actor = actor",
        "DELETE FROM exchange_log",
    ):
        for principal in (make.OFFICE, make.WORKER_PRINCIPAL, DISPATCHER):
            with pytest.raises(sa.exc.ProgrammingError), make.session(principal) as s:
                s.execute(sa.text(statement))


def test_after_a_restore_elsewhere_rows_are_neither_sealed_twice_nor_forgotten():
    make.make_agency()
    seal()
    with (
        as_owner() as connection
    ):  # the seals are another server's, its rows from its future
        connection.execute("UPDATE seal_batch SET epoch = 'lain'")
        connection.execute("UPDATE audit_event SET txid = txid + 1000000000")
        connection.commit()
    make.make_agency()
    seal()
    make.make_agency()
    seal()
    ids = sealed_ids()
    assert len(ids) == len(set(ids))
    assert set(ids) == audit_ids()
    with as_owner() as connection:
        connection.execute(
            "UPDATE audit_event SET txid = txid - 1000000000 WHERE txid > 1000000000"
        )
        connection.commit()
    assert breaks() == []


def test_an_anchor_is_written_once_a_day_and_tells_another_chain_apart(tmp_path):
    make.make_agency()
    seal()
    zone = ZoneInfo("Asia/Jakarta")
    with make.session() as s:
        last = sealer.last_seal(s)
    late = datetime(2026, 11, 23, 18, 30, tzinfo=UTC)  # past midnight in Pekanbaru
    anchors.keep(tmp_path, late, zone, last)
    first = (tmp_path / "2026-11-24.json").read_text()
    make.make_agency()
    seal()
    with make.session() as s:
        newer = sealer.last_seal(s)
        anchors.keep(tmp_path, late, zone, newer)
        assert newer.id > last.id
        assert (tmp_path / "2026-11-24.json").read_text() == first
        [anchor] = anchors.kept(tmp_path)
        assert sealer.digest_of(s, anchor.seal).hex() == anchor.digest
    (tmp_path / "2026-11-25.json").write_text("bukan json")
    assert [each.digest for each in anchors.kept(tmp_path)][1] == ""
    assert list(tmp_path.glob("*.part")) == []


def test_rows_that_wait_for_long_are_noticed():
    make.make_agency()
    seal()
    with make.session() as s:
        assert not sealer.is_late(s)
    found = []
    with contextlib.suppress(UndoneError), db.owner_unit_of_work() as session:
        session.execute(sa.text("UPDATE seal_batch SET at = at - interval '1 h';"))
        session.execute(sa.text("UPDATE audit_event SET at = at - interval '2 minutes'"))
        found.append(sealer.is_late(session))
        raise UndoneError
    assert found == [True]
