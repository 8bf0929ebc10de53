"""``./simpul run`` as a person meets it: starts, refuses, stops, survives the worst."""

import contextlib
import json
import os
import signal
import socket
import stat
import time
import urllib.request

import psycopg
import pytest
import redis


def state(office):
    return json.loads((office.folder / "var" / "run.json").read_text())


def stop(process, number=signal.SIGINT):
    process.send_signal(number)
    process.communicate(timeout=20)
    return process.returncode


def pid_of(office, name):
    return next(pid for pid, command in office.processes().items() if name in command)


def test_from_the_first_start_to_the_second(office, start):
    process = start("--port", str(free_port()))
    env = state(office)
    with psycopg.connect(env["DATABASE_URL"]) as connection:
        role = connection.execute(
            "SELECT current_user, inet_server_addr()::text"
        ).fetchone()
        connection.execute("INSERT INTO kept VALUES ('safe')")
    assert role == ("simpul_app", "127.0.0.1/32")
    with redis.from_url(env["REDIS_URL"]) as client:
        assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
        client.set("kept", "safe")
    secret = (office.folder / "var" / "secrets.json").stat()
    assert stat.S_IMODE(secret.st_mode) == 0o600
    assert stop(process) == 130
    assert office.await_empty(1.0) == {}

    began = time.monotonic()
    process = start("--port", str(free_port()))
    assert time.monotonic() - began < 5.0
    env = state(office)
    with psycopg.connect(env["DATABASE_URL"]) as connection:
        assert connection.execute("SELECT word FROM kept").fetchall() == [("safe",)]
    with redis.from_url(env["REDIS_URL"]) as client:
        assert client.get("kept") == b"safe"
    assert (office.folder / "var" / "seeds").read_text() == "once\n"
    assert stop(process, signal.SIGTERM) == 0
    assert office.await_empty(1.0) == {}
    assert not (office.folder / "var" / "run.json").exists()


def test_killed_supervisor_leaves_nothing_and_loses_nothing(office, start):
    process = start("--port", str(free_port()))
    with psycopg.connect(state(office)["DATABASE_URL"], autocommit=True) as connection:
        connection.execute("INSERT INTO kept VALUES ('safe')")
        process.kill()  # with a client still connected
        process.communicate(timeout=10)
        assert office.await_empty(5.0) == {}
    process = start("--port", str(free_port()))
    with psycopg.connect(state(office)["DATABASE_URL"]) as connection:
        assert connection.execute("SELECT word FROM kept").fetchall() == [("safe",)]
    stop(process)


def test_killed_servers_come_back_with_their_data(office, start):
    process = start("--port", str(free_port()))
    env = state(office)
    with psycopg.connect(env["DATABASE_URL"]) as connection:
        connection.execute("INSERT INTO kept VALUES ('safe')")
    with redis.from_url(env["REDIS_URL"]) as client:
        client.set("kept", "safe")
        time.sleep(1.2)  # Redis writes to disk every second
    for name in ("/bin/postgres", "redis-server"):
        os.kill(pid_of(office, name), signal.SIGKILL)

    def words():
        with psycopg.connect(env["DATABASE_URL"]) as connection:
            return connection.execute("SELECT word FROM kept").fetchall()

    assert eventually(words) == [("safe",)]
    with redis.from_url(env["REDIS_URL"]) as client:
        assert eventually(lambda: client.get("kept")) == b"safe"
    stop(process)


def test_everything_killed_at_once_is_repaired_by_the_next_run(office, start):
    process = start("--port", str(free_port()))
    with psycopg.connect(state(office)["DATABASE_URL"]) as connection:
        connection.execute("INSERT INTO kept VALUES ('safe')")
    for pid in [process.pid, *office.processes()]:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    process.communicate(timeout=10)
    process = start("--port", str(free_port()))
    with psycopg.connect(state(office)["DATABASE_URL"]) as connection:
        assert connection.execute("SELECT word FROM kept").fetchall() == [("safe",)]
    stop(process)


def test_used_port_and_second_run_are_sentences(office, start):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        status, said = office.call("run", "--port", str(port))
    assert status == 1
    assert f"--port {port + 1}" in said
    process = start("--port", str(free_port()), "--no-demo")
    status, said = office.call("run", "--port", str(free_port()))
    assert status == 1
    assert "is running from this folder already" in said
    assert not any("agency_service" in command for command in office.processes().values())
    assert stop(process) == 130


def test_web_server_is_started_again(office, start):
    port = free_port()
    process = start("--port", str(port))
    os.kill(pid_of(office, "ops.serve"), signal.SIGKILL)
    assert eventually(
        lambda: urllib.request.urlopen(f"http://127.0.0.1:{port}/health/live").read()
    )
    stop(process)


def test_lost_passwords_are_replaced(office, start):
    stop(start("--port", str(free_port())))
    (office.folder / "var" / "secrets.json").unlink()
    process = start("--port", str(free_port()))
    with psycopg.connect(state(office)["DATABASE_URL"]) as connection:
        assert connection.execute("SELECT count(*) FROM kept").fetchone() == (0,)
    stop(process)


def test_failing_step_is_named_with_its_words(office):
    office.write("demo/seed.py", "raise SystemExit('no seed today')")
    status, said = office.call("run", "--port", str(free_port()))
    assert status == 1
    assert "no seed today" in said
    assert "Traceback" not in said
    assert office.await_empty(1.0) == {}


def test_servers_of_the_environment_are_used(office, start):
    office.environment = {
        "DATABASE_URL": os.environ["TEST_APP_URL"],
        "MIGRATION_DATABASE_URL": os.environ["TEST_OWNER_URL"],
        "REDIS_URL": os.environ["TEST_REDIS_URL"],
    }
    office.write("migrations/env.py", "")
    process = start("--port", str(free_port()))
    assert not any("postgres" in command for command in office.processes().values())
    stop(process)
    del office.environment["REDIS_URL"]
    assert office.call("run")[0] == 1


@pytest.mark.long
def test_hopeless_process_ends_the_run(office, start):
    office.write("jobs/worker.py", "raise SystemExit('cannot')")
    process = start("--port", str(free_port()))
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "worker keeps dying" in said
    assert office.await_empty(1.0) == {}


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def eventually(question, seconds=10.0):
    deadline = time.monotonic() + seconds
    while True:
        try:
            return question()
        except (OSError, psycopg.OperationalError, redis.RedisError):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
