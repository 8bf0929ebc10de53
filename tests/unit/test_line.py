"""Lines to PostgreSQL: what the kernel and the clock are told, and what comes of it."""

import socket
import threading
import time
from contextlib import nullcontext

import psycopg
import pytest
import sqlalchemy as sa

from app.core import db
from app.core.line import PARAMETERS, Line, answers_within
from app.core.policy import acting_as
from tests import fakes, make
from tests.faults.proxy import Proxy


@pytest.mark.parametrize("engine", ["app", "owner"])
def test_the_kernel_is_told_to_look_after_every_line(bound, engine):
    del bound
    with getattr(db._Engines, engine).connect() as connection:
        line = connection.connection.driver_connection
        with socket.socket(fileno=socket.dup(line.fileno())) as end:

            def told(level, name):
                return end.getsockopt(level, name)

            assert told(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
            seconds = [
                told(socket.IPPROTO_TCP, name)
                for name in (
                    socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT,
                )
            ]  # fmt: skip
            assert seconds == [15, 5, 3]
            assert told(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 30_000
        # And the server's end, which holds the locks.
        asked = ("tcp_keepalives_idle", "tcp_keepalives_interval", "tcp_user_timeout")
        said = [connection.scalar(sa.text(f"SHOW {name}")) for name in asked]
    assert said == ["15", "5", "30000"]


def test_a_late_answer_ends_the_connection_and_not_the_caller(bound):
    del bound
    with acting_as(make.WORKER_PRINCIPAL):
        began = time.monotonic()
        with (
            pytest.raises(sa.exc.OperationalError, match="does not answer") as failure,
            answers_within(0.5),
            db.unit_of_work() as session,
        ):
            session.execute(sa.text("SELECT pg_sleep(20)"))
        assert time.monotonic() - began < 3
        assert failure.value.connection_invalidated
        with answers_within(0.5), db.unit_of_work() as session:
            assert session.scalar(sa.text("SELECT 1")) == 1


def test_outside_of_the_block_a_statement_may_take_its_time(bound):
    url = bound.database_url.replace("+psycopg", "")
    with Line.connect(url, **PARAMETERS) as line:
        with answers_within(5.0):
            line.execute("SELECT 1")
        line.execute("SELECT pg_sleep(0.3)")
        line.patience = 0.2
        # The shorter of both: a line that rested is asked whether it lives.
        with pytest.raises(psycopg.OperationalError), answers_within(20.0):
            line.execute("SELECT pg_sleep(5)")
        assert line.closed


@pytest.mark.parametrize(
    ("does", "dead"), [("SELECT pg_sleep(1.5)", False), ("lost on the way", True)]
)
def test_a_lost_word_is_told_from_a_long_work(bound, does, dead):
    """Through a relay that goes deaf, and by a statement that only takes its time."""
    plain = sa.engine.make_url(bound.database_url.replace("+psycopg", ""))
    there = (plain.host, plain.port)
    ended = []
    with Proxy(lambda: socket.create_connection(there)) as relay:
        url = plain.set(host="127.0.0.1", port=relay.port)
        with Line.connect(url.render_as_string(hide_password=False)) as line:
            line.execute("SELECT 1")
            if dead:
                relay.strand()

            def look():
                fakes.wait_until(lambda: line.waits_since() > 0.5, 5)
                ended.append(db.hang_up_dead([line], 0.5))

            looking = threading.Thread(target=look)
            looking.start()
            with pytest.raises(psycopg.OperationalError) if dead else nullcontext():
                line.execute("SELECT 2" if dead else does)
            looking.join()
    assert ended == [int(dead)]
