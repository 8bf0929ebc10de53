"""The rehearsal before a worker's forks: it leaves nothing behind, and needs no database."""

import socket
import time

import psycopg
import pytest
import sqlalchemy as sa
from sqlalchemy.engine import make_url

from app.core import db
from app.runs import ledger
from app.runs.models import CancelRequest
from app.runs.services import BELL
from jobs import perform
from tests import make
from tests.faults.proxy import Proxy


@pytest.fixture
def elsewhere(bound):
    """Point sessions at another engine for the length of a test."""
    yield lambda engine: db.bind(bound, app_engine=engine)
    db.bind(bound)


def rows_of_all_tables():
    with db.owner_unit_of_work() as s:
        names = s.scalars(
            sa.text(
                "SELECT quote_ident(tablename) FROM pg_tables WHERE schemaname = 'public'"
            )
        ).all()
        return {name: s.scalar(sa.text(f"SELECT count(*) FROM {name}")) for name in names}


def test_it_leaves_nothing_behind_and_wakes_nobody(bound, caplog):
    before = rows_of_all_tables()
    with psycopg.connect(
        bound.database_url.replace("+psycopg", ""), autocommit=True
    ) as listener:
        listener.execute(f"LISTEN {BELL}")
        perform.warm_up()
        perform.warm_up()
        assert list(listener.notifies(timeout=0.3)) == []
    assert caplog.text == ""  # both came to their end
    assert rows_of_all_tables() == before


def test_after_it_a_claim_still_refuses_what_is_not_to_be_done(bound):
    perform.warm_up()
    taken, called_off = make.make_run(), make.make_run()
    early = make.make_run(not_before=sa.text("clock_timestamp() + interval '1 hour'"))
    over = make.make_run(status="failed", finished_at=sa.func.now())
    make.claim(taken)
    with make.session() as s:
        s.add(CancelRequest(run_id=called_off, requested_by="uji"))

    with make.session(make.WORKER_PRINCIPAL) as s:
        granted = [
            ledger.claim(s, each, worker="uji:2", lease_seconds=5)
            for each in (taken, called_off, early, over)
        ]
    assert granted == [None] * 4


def test_a_database_that_takes_no_writes_or_is_away_is_done_without(
    bound, elsewhere, caplog
):
    read_only = {"options": "-c default_transaction_read_only=on"}
    elsewhere(sa.create_engine(bound.database_url, connect_args=read_only))
    perform.warm_up()
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    elsewhere(db.make_engine(f"postgresql+psycopg://x:y@127.0.0.1:{port}/x"))
    perform.warm_up()
    assert caplog.text.count("the database cannot be asked yet") == 2


def test_a_database_that_falls_silent_does_not_keep_the_workers_from_starting(
    bound, elsewhere, caplog, monkeypatch
):
    monkeypatch.setattr(perform, "REHEARSAL_SECONDS", 0.5)
    there = make_url(bound.database_url)
    with Proxy(lambda: socket.create_connection((there.host, there.port))) as relay:
        engine = db.make_engine(there.set(port=relay.port))
        sa.event.listen(engine, "checkout", lambda *_: relay.strand())
        elsewhere(engine)
        began = time.monotonic()
        perform.warm_up()
        took = time.monotonic() - began
    assert took < 5
    assert "the database cannot be asked yet" in caplog.text
