"""Makes .venv with the pinned requirements, then becomes ops.cli.

Runs on a bare Python before anything is installed: standard library only, and a syntax that
Python 3.8 can read, so that an old Python gets a sentence instead of a traceback.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

OLDEST_PYTHON = (3, 11)
# Commands that need the tools of requirements-dev.txt too.
DEV_COMMANDS = frozenset({"test", "check", "bench", "shots"})
# Present while an installation is under way: whoever finds it knows that it never ended.
BUSY_MARK = "simpul-busy"
# pip's settings that would send the packages somewhere else than into .venv.
MISLEADING_PIP_SETTINGS = ("PIP_TARGET", "PIP_PREFIX", "PIP_ROOT", "PIP_PYTHON")

# What a person can do (Indonesian, English), by what is wrong.
DISK_FULL = (
    "Disk penuh: kosongkan ruang (sekitar 1 GB), lalu jalankan lagi.",
    "The disk is full: free about 1 GB, then run this again.",
)
WRONG_PACKAGE = (
    "Paket yang diunduh bukan yang dicatat di requirements.txt: periksa indeks paket.",
    "A downloaded package is not the one in requirements.txt: check the package index.",
)
NO_NETWORK = (
    "Indeks paket Python tidak terjangkau: periksa jaringan atau proxy, lalu ulangi.",
    "The Python package index cannot be reached: check network or proxy, then try again.",
)
NO_WHEEL = (
    "Indeks paket tidak punya paket itu untuk komputer ini (perlu: Linux x86_64).",
    "The package index lacks that package for this machine (needed: Linux x86_64).",
)
NOT_WRITABLE = (
    "Folder Simpul tidak dapat ditulis: beri izin tulis, atau salin ke folder lain.",
    "Simpul's folder cannot be written: allow writing, or copy it elsewhere.",
)
# Signs in pip's own words; the first that is found decides.
PIP_FAILURES = (
    (("No space left on device", "Errno 28", "Disk quota exceeded"), DISK_FULL),
    (("DO NOT MATCH THE HASHES",), WRONG_PACKAGE),
    (
        (
            "NewConnectionError",
            "NameResolutionError",
            "Max retries exceeded",
            "ConnectTimeoutError",
            "ReadTimeoutError",
            "ProxyError",
            "SSLError",
            "Network is unreachable",
            "Connection refused",
        ),
        NO_NETWORK,
    ),
    (("No matching distribution found",), NO_WHEEL),
    (("Permission denied", "Read-only file system"), NOT_WRITABLE),
)
OS_FAILURES = {
    errno.ENOSPC: DISK_FULL,
    errno.EDQUOT: DISK_FULL,
    errno.EROFS: NOT_WRITABLE,
    errno.EACCES: NOT_WRITABLE,
    errno.EPERM: NOT_WRITABLE,
}


class Refusal(Exception):  # noqa: N818 - a sentence for a person, no defect
    """Something a person has to put right first; carries both sentences."""

    def __init__(self, indonesian: str, english: str, detail: str = "") -> None:
        self.sentences = [part for part in (indonesian, english, detail) if part]
        super().__init__(english)


def say(*sentences: str) -> None:
    """Tell the person at the terminal; standard output stays the command's own."""
    for sentence in sentences:
        print(sentence, file=sys.stderr, flush=True)


class Environment:
    """The virtual environment of one project folder."""

    def __init__(self, project: Path) -> None:
        self.project = project
        self.folder = project / ".venv"
        self.python = self.folder / "bin" / "python"

    def ensure(self, requirement_files: tuple[str, ...]) -> None:
        """Bring .venv up to date, or do nothing, quickly, when it is."""
        if not self.missing(requirement_files):
            return
        lock = self._lock()
        try:
            # Another ./simpul may have done the work while this one waited.
            for name in self.missing(requirement_files):
                self._install(name, lock)
        finally:
            os.close(lock)

    def missing(self, requirement_files: tuple[str, ...]) -> list[str]:
        """Which of the files are not installed as they stand now."""
        sound = self.is_sound()
        return [name for name in requirement_files if not sound or not self._has(name)]

    def is_sound(self) -> bool:
        """Whether .venv was finished and its Python still stands where it stood."""
        busy = (self.folder / BUSY_MARK).exists()
        return not busy and os.access(str(self.python), os.X_OK)

    def _has(self, name: str) -> bool:
        try:
            return self._stamp(name).read_text() == self._digest(name)
        except OSError:
            return False

    def _stamp(self, name: str) -> Path:
        return self.folder / ("simpul-" + name)

    def _digest(self, name: str) -> str:
        return hashlib.sha256((self.project / name).read_bytes()).hexdigest()

    def _lock(self) -> int:
        """Hold the project folder itself: no lock file that a killed run could leave."""
        descriptor = os.open(str(self.project), os.O_RDONLY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            say(
                "Menunggu ./simpul lain yang sedang memasang paket …",
                "Waiting for another ./simpul that is installing packages …",
            )
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        return descriptor

    def _install(self, name: str, lock: int) -> None:
        if not self.is_sound():
            self._create()
        say(
            "Memasang paket dari " + name + " (sekali saja, 1-2 menit) …",
            "Installing the packages of " + name + " (once only, 1-2 minutes) …",
        )
        digest = self._digest(name)
        busy = self.folder / BUSY_MARK
        busy.touch()
        self._pip_install(name, lock)
        partial = self.folder / "simpul-stamp.partial"
        partial.write_text(digest)
        partial.replace(self._stamp(name))
        busy.unlink()

    def _create(self) -> None:
        import venv

        if self.folder.is_symlink() or self.folder.is_file():
            self.folder.unlink()
        shutil.rmtree(str(self.folder), ignore_errors=True)
        self.folder.mkdir(exist_ok=True)
        (self.folder / BUSY_MARK).touch()
        venv.EnvBuilder(symlinks=True, with_pip=False).create(str(self.folder))

    def _pip_install(self, name: str, lock: int) -> None:
        command = [
            *pip_command(self.python),
            "install",
            "--require-hashes",
            "--no-input",
            "--no-warn-script-location",
            "--disable-pip-version-check",
            "--no-compile",  # Python compiles what is used; all of it would take seconds
            "--requirement",
            name,
        ]
        # The child keeps the lock: if this process is killed, nobody starts on a folder
        # that the orphan still writes to.
        done = subprocess.run(
            command,
            cwd=str(self.project),
            env=pip_environment(),
            pass_fds=(lock,),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
        )
        if done.returncode != 0:
            raise pip_failure(done.stdout.decode("utf-8", "replace"))


def pip_command(python: Path) -> list[str]:
    """A pip that works for ``python``: the base Python's, or one of its own from ensurepip.

    The base Python's pip is run *by* the environment's interpreter, so that nothing has to
    be installed first; Debian has a pip but leaves ensurepip out.
    """
    runner = _base_pip_runner()
    if runner:
        return [str(python), runner]
    own = [str(python), "-m", "pip"]
    if _succeeds([*own, "--version"]):
        return own
    if _succeeds([str(python), "-m", "ensurepip"]):
        return own
    raise Refusal(
        "Python ini tidak punya pip maupun ensurepip: pasang, mis. "
        "'apt install python3-pip', lalu jalankan lagi.",
        "This Python has neither pip nor ensurepip: install one, e.g. "
        "'apt install python3-pip', then run this again.",
    )


def _base_pip_runner() -> str:
    question = "import os, pip; print(os.path.dirname(pip.__file__))"
    answer = subprocess.run(
        [base_python(), "-c", question],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        check=False,
    )
    runner = os.path.join(answer.stdout.decode().strip(), "__pip-runner__.py")  # noqa: PTH118
    return runner if answer.returncode == 0 and os.path.isfile(runner) else ""  # noqa: PTH113


def _succeeds(command: list[str]) -> bool:
    quiet = subprocess.DEVNULL
    return (
        subprocess.run(command, stdout=quiet, stderr=quiet, check=False).returncode == 0
    )


def pip_environment() -> dict[str, str]:
    """The person's own pip settings, less those that would miss .venv."""
    kept = {k: v for k, v in os.environ.items() if k not in MISLEADING_PIP_SETTINGS}
    kept.pop("PYTHONPATH", None)
    kept["PIP_USER"] = "0"
    return kept


def pip_failure(output: str) -> Refusal:
    """Say in a sentence why pip failed, with its own last word as the detail."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("ERROR:")] or lines
    detail = "pip: " + errors[-1][:300] if errors else ""
    for signs, sentences in PIP_FAILURES:
        if any(sign in output for sign in signs):
            return Refusal(*sentences, detail)
    return Refusal(
        "Paket tidak dapat dipasang; pesan dari pip ada di bawah ini.",
        "The packages could not be installed; what pip said is below.",
        detail,
    )


def base_python() -> str:
    """The Python outside any virtual environment."""
    return str(getattr(sys, "_base_executable", "") or sys.executable)


def os_failure(error: OSError) -> Refusal | None:
    """Both sentences for a failure of the machine, where there are any."""
    sentences = OS_FAILURES.get(error.errno or 0)
    if sentences is None:
        return None
    return Refusal(*sentences, str(error.filename or ""))


def refuse_old_python(version: tuple[int, ...]) -> None:
    """Say so where the Python cannot run Simpul."""
    if version[:2] >= OLDEST_PYTHON:
        return
    have = ".".join(str(number) for number in version[:2])
    raise Refusal(
        "Simpul memerlukan Python 3.11 atau lebih baru, ini "
        + have
        + ": pasang yang baru.",
        "Simpul needs Python 3.11 or newer, this is " + have + ": install a newer one.",
    )


def run(arguments: list[str], project: Path) -> None:
    """Prepare .venv and become ``ops.cli``; returns only by an exception."""
    refuse_old_python(sys.version_info[:3])
    environment = Environment(project)
    needed: tuple[str, ...] = ("requirements.txt",)
    if arguments and arguments[0] in DEV_COMMANDS:
        needed = (*needed, "requirements-dev.txt")
    if environment.missing(needed) and _runs_inside(environment.folder):
        # .venv may be about to be removed: the Python that made it has to do that.
        os.execv(base_python(), [base_python(), "-I", __file__, *arguments])  # noqa: S606
    environment.ensure(needed)
    os.chdir(str(project))
    python = str(environment.python)
    os.execv(python, [python, "-m", "ops.cli", *arguments])  # noqa: S606


def _runs_inside(folder: Path) -> bool:
    return Path(sys.prefix).resolve() == folder.resolve()


def main() -> int:
    """Run, and turn what a person can put right into sentences."""
    project = Path(__file__).resolve().parent.parent
    try:
        run(sys.argv[1:], project)
    except Refusal as problem:
        say(*problem.sentences)
    except KeyboardInterrupt:
        say("Dibatalkan.", "Cancelled.")
        return 130
    except OSError as error:
        failure = os_failure(error)
        if failure is None:
            raise
        say(*failure.sentences)
    return 1


if __name__ == "__main__":
    sys.exit(main())
