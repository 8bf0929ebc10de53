"""The first steps on a machine: .venv is made, repaired, left alone; failures are sentences."""

import ast
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from ops import bootstrap


def test_installs_once_and_hands_the_arguments_over(bare):
    status, first = bare.call("hello", "a b")
    assert (status, first.splitlines()[-1]) == (0, "cli 1.0 ['hello', 'a b']")
    status, second = bare.call("hello", "a b")
    assert (status, second) == (0, "cli 1.0 ['hello', 'a b']\n")


def test_runs_through_a_symbolic_link_from_elsewhere(bare, tmp_path):
    link = tmp_path / "simpul"
    link.symlink_to(bare.folder / "simpul")
    environment = {**os.environ, **bare.environment}
    said = subprocess.check_output([link, "x"], cwd=tmp_path, env=environment, text=True)
    assert said == "cli 1.0 ['x']\n"


def test_changed_requirements_are_installed(bare, pin_version):
    bare.call("x")
    pin_version(bare, "2.0")
    status, said = bare.call("x")
    assert (status, said.splitlines()[-1]) == (0, "cli 2.0 ['x']")


def test_development_tools_only_where_they_are_needed(bare):
    bare.call("run")
    assert not (bare.folder / ".venv" / "simpul-requirements-dev.txt").exists()
    assert bare.call("test")[0] == 0
    assert (bare.folder / ".venv" / "simpul-requirements-dev.txt").exists()


@pytest.mark.parametrize("harm", ["unfinished", "no python", "a file", "empty folder"])
def test_broken_environment_is_made_anew(bare, harm):
    venv = bare.folder / ".venv"
    if harm == "a file":
        venv.write_text("what?")
    elif harm == "empty folder":
        venv.mkdir()
    else:
        bare.call("x")
        broken = venv / "bin" / "python"
        broken.unlink()
        if harm == "unfinished":
            broken.symlink_to("python3")
            (venv / bootstrap.BUSY_MARK).touch()
            (venv / "lib" / "left-over").touch()
    status, said = bare.call("x")
    assert (status, said.splitlines()[-1]) == (0, "cli 1.0 ['x']")
    assert not (venv / "lib" / "left-over").exists()


def test_killed_installation_is_repaired(bare):
    busy = bare.folder / ".venv" / bootstrap.BUSY_MARK
    with bare.popen("x") as process:
        while not busy.exists():
            time.sleep(0.005)
        os.killpg(process.pid, signal.SIGKILL)
    status, said = bare.call("x")
    assert (status, said.splitlines()[-1]) == (0, "cli 1.0 ['x']")


def test_two_at_once_do_not_disturb_each_other(bare):
    both = [bare.popen(name) for name in ("one", "two")]
    said = [process.communicate(timeout=60)[0].splitlines()[-1] for process in both]
    assert said == ["cli 1.0 ['one']", "cli 1.0 ['two']"]


def test_missing_network_is_one_sentence(bare):
    bare.environment = {
        "PIP_INDEX_URL": "http://127.0.0.1:9/simple",
        "PIP_EXTRA_INDEX_URL": "",
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_NO_INDEX": "0",
        "PIP_FIND_LINKS": "",
        "PIP_RETRIES": "1",
    }
    status, said = bare.call("x")
    assert status == 1
    assert "Traceback" not in said
    assert bootstrap.NO_NETWORK[0] in said


def test_wrong_hash_is_one_sentence(bare):
    pinned = bare.folder / "requirements.txt"
    pinned.write_text(pinned.read_text()[:-6] + "00000\n")
    status, said = bare.call("x")
    assert status == 1
    assert "Traceback" not in said
    assert bootstrap.WRONG_PACKAGE[1] in said


@pytest.mark.parametrize(("options", "sentence"), [
    ("size=48k", bootstrap.DISK_FULL[1]),
    ("ro", bootstrap.NOT_WRITABLE[1]),
])  # fmt: skip
def test_full_or_read_only_disk_is_one_sentence(bare, options, sentence):
    venv = bare.folder / ".venv"
    venv.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(venv)]
    if subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("this machine lets us mount nothing")
    try:
        status, said = bare.call("x")
    finally:
        subprocess.run(["umount", str(venv)], check=True)
    assert status == 1
    assert "Traceback" not in said
    assert sentence in said


def test_old_python_can_read_the_bootstrap_and_is_told():
    source = Path(bootstrap.__file__).read_text()
    ast.parse(source, feature_version=(3, 8))
    with pytest.raises(bootstrap.Refusal) as refusal:
        bootstrap.refuse_old_python((3, 10, 4))
    assert all(
        "3.11" in sentence and "3.10" in sentence for sentence in refusal.value.sentences
    )


@pytest.mark.parametrize(("words", "sentence"), [
    ("OSError: [Errno 28] No space left on device", bootstrap.DISK_FULL),
    ("ERROR: No matching distribution found for x", bootstrap.NO_WHEEL),
    ("PermissionError: [Errno 13] Permission denied: '/x'", bootstrap.NOT_WRITABLE),
])  # fmt: skip
def test_what_pip_says_becomes_a_sentence(words, sentence):
    assert bootstrap.pip_failure(words).sentences[:2] == list(sentence)


def test_python_without_pip_uses_ensurepip(monkeypatch):
    monkeypatch.setattr(bootstrap, "_base_pip_runner", lambda: "")
    asked = []
    monkeypatch.setattr(
        bootstrap, "_succeeds", lambda c: asked.append(c) or "ensurepip" in c
    )
    assert bootstrap.pip_command(Path("/v/python")) == ["/v/python", "-m", "pip"]
    assert len(asked) == 2


def test_python_with_neither_is_one_sentence(monkeypatch):
    monkeypatch.setattr(bootstrap, "_base_pip_runner", lambda: "")
    monkeypatch.setattr(bootstrap, "_succeeds", lambda _command: False)
    with pytest.raises(bootstrap.Refusal, match="python3-pip"):
        bootstrap.pip_command(Path("/v/python"))
