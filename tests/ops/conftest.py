"""Small projects that run the real ``simpul`` and ``ops`` with tiny stand-in processes."""

import contextlib
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
WSGI = """
def front(threads):
    async def answer(scope, receive, send):
        if scope["type"] == "lifespan":
            raise NotImplementedError
        status = 200 if scope["path"] == "/health/live" else 404
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": b"alive"})
    return answer
"""
SLEEPER = "import time\nprint('here', flush=True)\nwhile True:\n    time.sleep(1)\n"
SEED = """
import os, pathlib
home = pathlib.Path(os.environ["SIMPUL_HOME"])
home.joinpath("demo-accounts.txt").write_text("admin@example.test")
with home.joinpath("seeds").open("a") as file:
    file.write("once\\n")
"""
ALEMBIC = "[alembic]\nscript_location = %(here)s/migrations\n"
MIGRATION = """
import os, psycopg
with psycopg.connect(os.environ["MIGRATION_DATABASE_URL"]) as connection:
    connection.execute("CREATE TABLE IF NOT EXISTS kept (word text)")
    connection.execute("GRANT ALL ON kept TO simpul_app")
"""


def _clean_environment(**more: str) -> dict[str, str]:
    dropped = ("SIMPUL_", "TEST_", "PYTEST_", "COVERAGE", "DATABASE_URL", "REDIS_URL")
    return {k: v for k, v in os.environ.items() if not k.startswith(dropped)} | more


class Project:
    """A folder with ``simpul`` in it, and the processes that work inside of it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment: dict[str, str] = {}

    def write(self, name: str, text: str) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def popen(self, *arguments: str, **keywords: object) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [str(self.folder / "simpul"), *arguments],
            env=_clean_environment(**self.environment),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
            **keywords,  # type: ignore[call-overload]
        )

    def call(self, *arguments: str, **keywords: object) -> tuple[int, str]:
        with self.popen(*arguments, **keywords) as process:
            said, _ = process.communicate(timeout=60)
            return process.returncode, said

    def processes(self) -> dict[int, str]:
        """Everything that has its working folder in here, by process id."""
        found = {}
        for entry in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                cwd = (entry / "cwd").readlink()
                if cwd.is_relative_to(self.folder) or str(cwd).startswith(
                    str(self.folder)
                ):
                    command = (entry / "cmdline").read_bytes().replace(b"\0", b" ")
                    found[int(entry.name)] = command.decode("utf-8", "replace")
        return found

    def await_empty(self, seconds: float) -> dict[int, str]:
        deadline = time.monotonic() + seconds
        while self.processes() and time.monotonic() < deadline:
            time.sleep(0.05)
        return self.processes()


def _copy_of_simpul(folder: Path) -> Project:
    folder.mkdir()
    shutil.copy(ROOT / "simpul", folder)
    shutil.copytree(
        ROOT / "ops", folder / "ops", ignore=shutil.ignore_patterns("__pycache__")
    )
    return Project(folder)


@pytest.fixture
def short_folder() -> Iterator[Path]:
    """A folder with a short path that every user may pass, which pytest's are not."""
    import tempfile

    with tempfile.TemporaryDirectory(prefix="s-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder


@pytest.fixture
def office(short_folder: Path) -> Iterator[Project]:
    """Simpul's own ops in a path with a space, with stand-ins for what it runs."""
    project = _copy_of_simpul(short_folder / "a b")
    for name in ("requirements.txt", "requirements-dev.txt"):
        shutil.copy(ROOT / name, project.folder)
    (project.folder / ".venv").symlink_to(sys.prefix)
    project.write("wsgi.py", WSGI)
    for name in ("jobs/worker.py", "jobs/scheduler.py", "demo/agency_service.py"):
        project.write(name, SLEEPER)
    project.write("jobs/__init__.py", "")
    project.write("demo/__init__.py", "")
    project.write("demo/seed.py", SEED)
    project.write("alembic.ini", ALEMBIC)
    project.write("migrations/env.py", MIGRATION)
    (project.folder / "migrations" / "versions").mkdir()
    yield project
    for pid in project.processes():
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    project.await_empty(5.0)


@pytest.fixture
def start(office: Project) -> Callable[..., subprocess.Popen[str]]:
    """Start ``./simpul run`` and wait for the sentence with the address."""

    def start(*arguments: str) -> subprocess.Popen[str]:
        process = office.popen("run", *arguments)
        heard = []
        assert process.stdout is not None
        for line in process.stdout:
            heard.append(line)
            if "Ctrl-C" in line:
                return process
        process.wait()
        raise AssertionError("".join(heard))

    return start


@pytest.fixture
def bare(short_folder: Path) -> Project:
    """A project with nothing but ``simpul``, the bootstrap and one tiny requirement."""
    folder = short_folder / "bare one"
    (folder / "ops").mkdir(parents=True)
    shutil.copy(ROOT / "simpul", folder)
    shutil.copy(ROOT / "ops" / "bootstrap.py", folder / "ops")
    project = Project(folder)
    project.write("ops/__init__.py", "")
    project.write(
        "ops/cli.py", "import sys, tiny\nprint('cli', tiny.VERSION, sys.argv[1:])\n"
    )
    project.write("requirements-dev.txt", "")
    wheels = short_folder / "wheels"
    wheels.mkdir()
    pin(project, wheels, "1.0")
    project.environment = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(wheels)}
    return project


def pin(project: Project, wheels: Path, version: str) -> None:
    """Make a wheel and pin it with its hash, as requirements.txt does."""
    wheel = wheels / f"tiny-{version}-py3-none-any.whl"
    info = f"tiny-{version}.dist-info"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("tiny.py", f"VERSION = {version!r}\n")
        metadata = f"Metadata-Version: 2.1\nName: tiny\nVersion: {version}\n"
        archive.writestr(f"{info}/METADATA", metadata)
        tag = "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        archive.writestr(f"{info}/WHEEL", tag)
        archive.writestr(f"{info}/RECORD", "")
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    project.write("requirements.txt", f"tiny=={version} --hash=sha256:{digest}\n")


@pytest.fixture
def pin_version() -> Callable[[Project, str], None]:
    return lambda project, version: pin(
        project, project.folder.parent / "wheels", version
    )
