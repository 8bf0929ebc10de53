"""The embedded servers by themselves."""

import socket
from dataclasses import replace

import psycopg
import pytest
import redis

from app.runs.states import QueueName
from jobs.bell import RunQueue, SignedSerializer
from jobs.worker import RunWorker
from ops.keys import Keys
from ops.local_postgres import processes_in
from ops.places import server_user
from ops.servers import ServerFolder, throwaway_servers
from ops.supervisor import Supervisor


def test_path_too_long_for_a_socket_gets_a_loopback_port(short_folder):
    base = short_folder / ("l" * 90)
    base.mkdir(mode=0o755)
    folder = ServerFolder(base, server_user(), Keys.made(), throwaway=True)
    with Supervisor(base / "log", quiet=True) as supervisor:
        server, child = folder.redis().launch(supervisor)
        server.await_ready(supervisor, child)
        assert server.url.startswith("redis://:")
        with redis.from_url(server.url) as client:
            assert client.ping()
        guess = server.url.replace(server.password, "guess")
        with redis.from_url(guess) as client, pytest.raises(redis.AuthenticationError):
            client.ping()


def test_a_worker_gets_on_with_a_socket_whose_path_has_a_space(short_folder):
    base = short_folder / "dua kata"
    base.mkdir(mode=0o755)
    folder = ServerFolder(base, server_user(), Keys.made(), throwaway=True)
    with Supervisor(base / "log", quiet=True) as supervisor:
        server, child = folder.redis().launch(supervisor)
        server.await_ready(supervisor, child)
        with redis.from_url(server.url) as client:
            queue = RunQueue(
                QueueName.PULLS, connection=client, serializer=SignedSerializer("k" * 32)
            )
            worker = RunWorker([queue], connection=client, queue_class=RunQueue)
            worker.register_birth()
            assert client.scard("rq:workers") == 1


def test_postgres_answers_on_loopback_with_passwords_only():
    with throwaway_servers() as (_supervisor, addresses, folder):
        with psycopg.connect(addresses.owner) as connection:
            row = connection.execute(
                "SELECT current_setting('listen_addresses'), current_setting('fsync'), "
                "(SELECT datcollate FROM pg_database WHERE datname = 'simpul'), "
                "(SELECT rolbypassrls OR rolsuper OR rolinherit FROM pg_roles "
                " WHERE rolname = 'simpul_app')"
            ).fetchone()
        assert row == ("127.0.0.1", "off", "C.UTF-8", False)
        with pytest.raises(psycopg.OperationalError):
            psycopg.connect(addresses.owner.replace("simpul_owner:", "simpul_owner:x"))
        data = folder / "postgres" / "data"
        assert processes_in(data)
    assert not processes_in(data)


def test_taken_port_is_left_for_another(short_folder, monkeypatch):
    folder = ServerFolder(short_folder, server_user(), Keys.made(), throwaway=True)
    with (
        socket.socket() as taken,
        Supervisor(short_folder / "log", quiet=True) as supervisor,
    ):
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        from ops import local_postgres

        free = local_postgres.free_port
        answers = iter([taken.getsockname()[1]])
        monkeypatch.setattr(
            local_postgres, "free_port", lambda: next(answers, None) or free()
        )
        server = replace(folder.postgres()).start(supervisor)
        with psycopg.connect(server.url("simpul_app")) as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)


@pytest.mark.parametrize(("version", "rounds"), [(18, 32), (15, 4096)])
def test_our_long_passwords_cost_few_rounds_where_that_can_be_said(
    monkeypatch, version, rounds
):
    from ops import local_postgres

    found = local_postgres.major_version
    monkeypatch.setattr(
        local_postgres, "major_version", lambda where: min(found(where), version)
    )
    with throwaway_servers() as (_supervisor, addresses, _folder):
        with psycopg.connect(addresses.admin) as connection:
            told = connection.execute(
                "SELECT split_part(split_part(rolpassword, '$', 2), ':', 1)::int"
                " FROM pg_authid WHERE rolpassword IS NOT NULL"
            ).fetchall()
            other = connection.execute("SHOW scram_iterations").fetchone()
        assert told == [(rounds,)] * 3
        assert other == ("4096",)  # what version 15 does not know is not said to a server
