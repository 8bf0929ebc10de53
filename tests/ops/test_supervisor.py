"""Keeping processes alive, and ending them."""

import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ops import supervisor as supervision
from ops.logs import LARGEST_FILE, Console, Lines, LogFile
from ops.supervisor import GaveUp, ProcessSpec, Supervisor, session_members


def spec(name, code, folder, **more):
    return ProcessSpec(name, (sys.executable, "-c", code), os.environ, folder, **more)


@pytest.fixture
def supervisor(tmp_path, monkeypatch):
    monkeypatch.setattr(supervision, "GRACE_SECONDS", 0.5)
    with Supervisor(tmp_path / "log") as supervisor:
        yield supervisor


def test_what_dies_is_started_again_and_the_person_hears_of_it(
    supervisor, tmp_path, capfd
):
    child = supervisor.start(spec("fragile", "import time; time.sleep(60)", tmp_path))
    first = child.process.pid
    os.kill(first, signal.SIGKILL)
    assert supervisor.wait_until(lambda: child.alive and child.process.pid != first, 5.0)
    assert "fragile berhenti (-9)" in capfd.readouterr().err


def test_what_never_lives_is_given_up_with_its_last_words(
    supervisor, tmp_path, monkeypatch
):
    monkeypatch.setattr(supervision, "LONGEST_BACKOFF", 0.01)
    supervisor.start(spec("hopeless", "raise SystemExit('no such thing')", tmp_path))
    with pytest.raises(GaveUp) as failure:
        supervisor.wait_until(lambda: False, 10.0)
    assert failure.value.name == "hopeless"
    assert "no such thing" in failure.value.last_lines[-1]


def test_a_program_that_ends_gives_its_status_and_its_output(supervisor, tmp_path):
    assert (
        supervisor.run(
            spec("once", "print('half'); raise SystemExit(3)", tmp_path, keep=False)
        )
        == 3
    )
    assert supervisor.output_of("once")[-1].endswith("half")


def test_deaf_processes_and_their_hidden_children_are_killed(tmp_path, monkeypatch):
    monkeypatch.setattr(supervision, "GRACE_SECONDS", 0.3)
    code = (
        "import os, signal, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "if os.fork() == 0: os.setpgid(0, 0)\n"
        "print('up', flush=True); time.sleep(60)"
    )
    with Supervisor(tmp_path / "log") as supervisor:
        child = supervisor.start(spec("deaf", code, tmp_path))
        session = child.process.pid
        assert supervisor.wait_until(lambda: len(session_members(session)) == 2, 5.0)
    assert session_members(session) == []


def test_trouble_reaches_the_console_but_no_flood(capfd):
    console = Console("web")
    assert console.consider("INFO all is well") is None
    assert console.consider("ERROR it is not") == "[web] ERROR it is not"
    shown = [console.consider(f"ERROR {number}") for number in range(100)]
    assert sum(line is not None for line in shown) < 25


def test_logs_keep_to_their_size(tmp_path):
    log = LogFile(tmp_path / "log" / "web.log")
    line = "x" * 10_000
    for _ in range(3 * LARGEST_FILE // len(line)):
        log.write(line)
    log.close()
    sizes = [path.stat().st_size for path in (tmp_path / "log").iterdir()]
    assert len(sizes) == 2
    assert all(size < LARGEST_FILE + 20_000 for size in sizes)


def test_a_full_disk_costs_log_lines_and_nothing_else(tmp_path):
    log = LogFile(tmp_path / "log" / "web.log")
    log.close()
    for device, line in ((Path("/dev/full"), "lost"), (log.path, "kept")):
        with device.open("ab", buffering=0) as log._file:
            log.write(line)
    assert [line.split()[-1] for line in log.tail(5)] == ["kept"]


def test_lines_are_whole_however_they_arrive():
    lines = Lines()
    assert lines.feed(b"on") == []
    assert lines.feed(b"e\ntwo\nth") == ["one", "two"]
    assert lines.end() == ["th"]
    assert lines.end() == []


def test_orphans_end_with_a_killed_supervisor(tmp_path):
    code = (
        "import os, sys; from pathlib import Path\n"
        "from ops.supervisor import ProcessSpec, Supervisor\n"
        "here = Path(sys.argv[1])\n"
        "with Supervisor(here / 'log') as supervisor:\n"
        "    sleeper = (sys.executable, '-c', 'import time; time.sleep(60)')\n"
        "    child = supervisor.start(ProcessSpec('x', sleeper, os.environ, here))\n"
        "    print(child.process.pid, flush=True); supervisor.watch()\n"
    )
    reader, writer = os.pipe()
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    command = [sys.executable, "-c", code, str(tmp_path)]
    killed = os.posix_spawn(
        sys.executable,
        command,
        environment,
        file_actions=[(os.POSIX_SPAWN_DUP2, writer, 1)],
    )
    orphan = int(os.read(reader, 100))
    time.sleep(0.2)  # past the moment in which the leash is put on
    os.kill(killed, signal.SIGKILL)
    os.waitpid(killed, 0)
    deadline = time.monotonic() + 3.0
    while session_members(orphan) and time.monotonic() < deadline:
        time.sleep(0.02)
    os.close(reader)
    os.close(writer)
    assert session_members(orphan) == []


TALKER = (
    "import pathlib, sys\n"
    "for _ in range(200): print('ERROR', 'x' * 9_000, flush=True)\n"
    "pathlib.Path(sys.argv[1]).touch()\n"
    "import time; time.sleep(60)"
)


def test_a_quiet_one_need_not_be_watched(tmp_path):
    """A server would hang in the middle of a word when nobody empties its pipe."""
    said = tmp_path / "said"
    with Supervisor(tmp_path / "log", quiet=True) as supervisor:
        command = (sys.executable, "-c", TALKER, str(said))
        supervisor.start(ProcessSpec("talker", command, os.environ, tmp_path))
        deadline = time.monotonic() + 10.0
        while not said.exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        assert said.exists()
        assert "ERROR xxx" in supervisor.output_of("talker")[0]


@pytest.mark.parametrize("console", ["terminal after Ctrl-S", "pipe that nobody reads"])
def test_a_console_that_takes_nothing_stops_nobody(tmp_path, console):
    reader, writer = pty.openpty() if "Ctrl-S" in console else os.pipe()
    if "Ctrl-S" in console:
        os.write(reader, b"\x13")
    code = (
        "import os, sys; from pathlib import Path\n"
        "from ops.supervisor import ProcessSpec, Stopped, Supervisor\n"
        "here = Path(sys.argv[1])\n"
        "try:\n"
        "    with Supervisor(here / 'log') as supervisor:\n"
        "        for name in 'abcdefgh':\n"
        f"            talker = (sys.executable, '-c', {TALKER!r}, str(here / name))\n"
        "            supervisor.start(ProcessSpec(name, talker, os.environ, here))\n"
        "        supervisor.watch()\n"
        "except Stopped: (here / 'stopped').touch()\n"
    )
    supervisor = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])},
        stdout=writer, stderr=writer,
    )  # fmt: skip
    wanted = [tmp_path / name for name in "abcdefgh"]
    deadline = time.monotonic() + 20.0
    while not all(path.exists() for path in wanted) and time.monotonic() < deadline:
        time.sleep(0.05)
    missing = [path.name for path in wanted if not path.exists()]
    supervisor.terminate()
    try:
        supervisor.wait(15)
    finally:
        os.close(reader)
        os.close(writer)
        supervisor.kill()
        supervisor.wait()
    assert missing == []
    assert (tmp_path / "stopped").exists()
