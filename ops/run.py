"""``./simpul run``: the whole of Simpul on one machine, until Ctrl-C."""

import contextlib
import errno
import fcntl
import hashlib
import http.client
import json
import os
import socket
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from ops.bootstrap import Refusal, say
from ops.keys import Keys
from ops.local_postgres import free_port
from ops.logs import STANDARD_OUTPUT
from ops.places import PROJECT, home_folder, server_base, server_user
from ops.servers import Addresses, ServerFolder
from ops.supervisor import GaveUp, ProcessSpec, Stopped, Supervisor

READY_SECONDS = 120.0
STATE_FILE = "run.json"
SECRET_NAMES = frozenset(
    {
        "DATABASE_URL",
        "MIGRATION_DATABASE_URL",
        "REDIS_URL",
        "SECRET_KEY",
        "FIELD_KEY",
        "QUEUE_KEY",
    }
)
# What another command needs to work on the running system.
ATTACH_NAMES = (
    *sorted(SECRET_NAMES),
    "SIMPUL_MODE",
    "SIMPUL_HOME",
    "DEMO_AGENCY_URL",
    "APPROVED_HOSTS",
)


@dataclass(frozen=True, slots=True)
class RunOptions:
    """What the command line chose."""

    host: str = "127.0.0.1"
    port: int = 8000
    demo: bool = True


def run(options: RunOptions) -> int:
    """Start everything, say where it is, watch it; the exit status."""
    began = time.monotonic()
    refuse_used_port(options.host, options.port)
    home = home_folder()
    try:
        with run_lock(home, options), Supervisor(home / "log") as supervisor:
            try:
                Office(options, home, supervisor).open(began)
                supervisor.watch()
            finally:
                (home / STATE_FILE).unlink(missing_ok=True)
    except Stopped as end:
        say("Simpul berhenti. / Simpul has stopped.")
        return end.exit_status
    except GaveUp as failure:
        say(
            f"{failure.name} terus berhenti; Simpul dihentikan. Lihat log/{failure.name}.log:",
            f"{failure.name} keeps dying; Simpul has stopped. See log/{failure.name}.log:",
            *failure.last_lines,
        )
    return 1


class Office:
    """One running Simpul: its servers, its database, its processes."""

    def __init__(self, options: RunOptions, home: Path, supervisor: Supervisor) -> None:
        self._options = options
        self._home = home
        self._supervisor = supervisor
        self._keys = Keys.kept_in(home)
        self._agency_port = kept_port(home / "demo-agency.port")
        self._marks = home

    def open(self, began: float) -> None:
        """Bring everything up and tell the person."""
        env = self.environment(self._addresses())
        attachable = {name: env[name] for name in ATTACH_NAMES if name in env}
        write_private(self._home / STATE_FILE, json.dumps(attachable, indent=2))
        self._migrate(env)
        if self._options.demo:
            self._seed(env)
        for spec in self.processes(env):
            self._supervisor.start(spec)
        self._await_answer()
        self._tell(time.monotonic() - began)

    def _addresses(self) -> Addresses:
        given = given_addresses()
        if given is not None:
            return given
        user = server_user()
        base = server_base(self._home, user)
        self._marks = base / "postgres"
        return ServerFolder(base, user, self._keys).start_both(self._supervisor)

    def environment(self, addresses: Addresses) -> dict[str, str]:
        """The variables every process of ours gets."""
        agency = f"127.0.0.1:{self._agency_port}"
        env = {**self._keys.application, "SIMPUL_MODE": "demo", **os.environ}
        env |= {
            "DATABASE_URL": addresses.application,
            "MIGRATION_DATABASE_URL": addresses.owner,
            "REDIS_URL": addresses.redis,
            "SIMPUL_HOME": str(self._home),
            "WEB_HOST": self._options.host,
            "WEB_PORT": str(self._options.port),
            "PYTHONUNBUFFERED": "1",
        }
        if self._options.demo:
            env["DEMO_AGENCY_URL"] = f"http://{agency}"
            approved = [part for part in (env.get("APPROVED_HOSTS", ""), agency) if part]
            env["APPROVED_HOSTS"] = ",".join(approved)
        return env

    def processes(self, env: dict[str, str]) -> list[ProcessSpec]:
        """What runs beside the servers."""
        specs = [
            _python("web", env, "-m", "ops.serve"),
            _python("worker", env, "-m", "jobs.worker"),
            _python("scheduler", env, "-m", "jobs.scheduler"),
        ]
        if self._options.demo:
            # It plays somebody else's system, so it knows nothing of ours.
            stranger = {k: v for k, v in env.items() if k not in SECRET_NAMES}
            port = str(self._agency_port)
            service = ("-m", "demo.agency_service", "--port", port)
            specs.append(_python("demo-agency", stranger, *service))
        return specs

    # --- the database ---------------------------------------------------------------------

    def _migrate(self, env: dict[str, str]) -> None:
        mark = folder_mark(PROJECT / "migrations" / "versions", env["DATABASE_URL"])
        if self._is_marked("migrated", mark):
            return
        self._supervisor.say("Menyiapkan basis data … / Preparing the database …")
        self._once(_python("migrate", env, "-m", "alembic", "upgrade", "head"))
        self._set_mark("migrated", mark)

    def _seed(self, env: dict[str, str]) -> None:
        mark = folder_mark(PROJECT / "demo", env["DATABASE_URL"])
        if self._is_marked("seeded", mark):
            return
        self._supervisor.say("Mengisi kantor contoh … / Filling the demo office …")
        self._once(_python("seed", env, "-m", "demo.seed"))
        self._set_mark("seeded", mark)

    def _once(self, spec: ProcessSpec) -> None:
        if self._supervisor.run(replace(spec, keep=False)) != 0:
            raise Refusal(
                f"Langkah '{spec.name}' gagal; lihat {self._home}/log/{spec.name}.log:",
                f"The step '{spec.name}' failed; see {self._home}/log/{spec.name}.log:",
                "\n".join(self._supervisor.output_of(spec.name, 8)),
            )

    def _is_marked(self, name: str, mark: str) -> bool:
        # Only our own servers: nobody else changes the database behind the mark's back.
        path = self._marks / f"{name}.mark"
        return given_addresses() is None and path.is_file() and path.read_text() == mark

    def _set_mark(self, name: str, mark: str) -> None:
        (self._marks / f"{name}.mark").write_text(mark)

    # --- telling --------------------------------------------------------------------------

    def _await_answer(self) -> None:
        port, host = self._options.port, self._options.host
        if not self._supervisor.wait_until(
            lambda: is_answering(host, port), READY_SECONDS
        ):
            raise Refusal(
                f"Simpul tidak menjawab setelah {READY_SECONDS:g} detik; lihat "
                f"{self._home}/log/web.log.",
                f"Simpul does not answer after {READY_SECONDS:g} seconds; see "
                f"{self._home}/log/web.log.",
            )

    def _tell(self, seconds: float) -> None:
        host = _near(self._options.host)
        accounts = self._home / "demo-accounts.txt"
        lines = [
            f"Simpul siap / is ready ({seconds:.1f} s): http://{host}:{self._options.port}"
        ]
        if self._options.demo and accounts.is_file():
            lines += ["", accounts.read_text().rstrip(), ""]
        lines.append("Ctrl-C menghentikan semuanya. / Ctrl-C stops all of it.")
        self._supervisor.say(*lines, to=STANDARD_OUTPUT)


def _python(name: str, env: dict[str, str], *arguments: str) -> ProcessSpec:
    return ProcessSpec(name, (sys.executable, *arguments), env, PROJECT)


def given_addresses() -> Addresses | None:
    """Servers named in the environment; both or none."""
    database, redis = os.environ.get("DATABASE_URL"), os.environ.get("REDIS_URL")
    if not database and not redis:
        return None
    if not database or not redis:
        raise Refusal(
            "DATABASE_URL dan REDIS_URL harus diisi dua-duanya, atau tidak satu pun.",
            "Set both DATABASE_URL and REDIS_URL, or neither.",
        )
    owner = os.environ.get("MIGRATION_DATABASE_URL") or database
    return Addresses(admin="", owner=owner, application=database, redis=redis)


def kept_port(path: Path) -> int:
    """The demo agency's port: the same at every start, for sources keep its address."""
    if path.is_file() and path.read_text().strip().isdecimal():
        port = int(path.read_text())
        refuse_used_port("127.0.0.1", port)
        return port
    port = free_port()
    path.write_text(f"{port}\n")
    return port


def folder_mark(folder: Path, address: str) -> str:
    """Changes when a file of the folder changes, or the database is another one."""
    digest = hashlib.sha256(
        address.rpartition("@")[0].encode()
    )  # ports differ every time
    for path in sorted(folder.glob("*.py")):
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()


def write_private(path: Path, text: str) -> None:
    """Write a file that only we may read, whole or not at all."""
    partial = path.with_name(f"{path.name}.{os.getpid()}")
    partial.touch(mode=0o600)
    partial.write_text(text)
    partial.replace(path)


@contextlib.contextmanager
def run_lock(home: Path, options: RunOptions) -> Iterator[None]:
    """One run per data folder. The kernel lets go of the lock, however we end."""
    path = home / "run.lock"
    path.touch(mode=0o600)
    with path.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise Refusal(
                f"Simpul sudah berjalan dari folder ini ({file.read().strip()}): pakai itu, "
                "atau hentikan dulu dengan Ctrl-C.",
                "Simpul is running from this folder already: use that one, or stop it first "
                "with Ctrl-C.",
            ) from None
        file.truncate(0)
        file.write(f"http://{options.host}:{options.port}, pid {os.getpid()}\n")
        file.flush()
        yield


def refuse_used_port(host: str, port: int) -> None:
    """Say at once, not after a minute of restarts, that the port is taken."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise _port_refusal(host, port, error) from None


def _port_refusal(host: str, port: int, error: OSError) -> Refusal:
    if error.errno == errno.EADDRINUSE:
        return Refusal(
            f"Port {port} sudah dipakai program lain: coba --port {port + 1}.",
            f"Port {port} is in use by another program: try --port {port + 1}.",
        )
    return Refusal(
        f"Alamat {host}:{port} tidak dapat dipakai di komputer ini: pilih --host/--port lain.",
        f"The address {host}:{port} cannot be used on this machine: choose another "
        "--host/--port.",
        os.strerror(error.errno or 0),
    )


def is_answering(host: str, port: int) -> bool:
    """Whether the web server says that it is ready."""
    status = _status(_near(host), port, "/health/ready")
    if status == http.client.NOT_FOUND:
        status = _status(_near(host), port, "/health/live")
    return status == http.client.OK


def _near(host: str) -> str:
    """Where a server that listens everywhere is reached from this machine."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104


def _status(host: str, port: int, path: str) -> int:
    connection = http.client.HTTPConnection(host, port, timeout=5.0)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return 0
    finally:
        connection.close()
