"""Starts processes, keeps them alive, and leaves nothing behind when it ends.

One thread does everything but talk to the console: the kernel's "parent has died" signal is
tied to the thread that started a child, and one loop over pipes and clocks needs no locks.
"""

import os
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType, TracebackType
from typing import IO, Self

from ops.leash import KEEP_USER
from ops.logs import Console, Lines, LogFile, Voice
from ops.places import ServerUser

GRACE_SECONDS = 10.0
# A killed process may need a moment to be gone, on a machine with much to do.
KILL_SECONDS = 2.0
# So many deaths inside the window, and restarting is no help any more.
MOST_DEATHS = 6
DEATH_WINDOW = 60.0
LONGEST_BACKOFF = 8.0
LEASH = Path(__file__).with_name("leash.py")


class Stopped(Exception):  # noqa: N818 - asked for by a person, not an error
    """The person or the system asked us to end."""

    def __init__(self, number: int) -> None:
        self.number = number
        # What a shell expects of a program ended by Ctrl-C; an ordinary stop is a success.
        self.exit_status = 130 if number == signal.SIGINT else 0
        super().__init__(signal.Signals(number).name)


class GaveUp(Exception):  # noqa: N818
    """A process does not stay alive."""

    def __init__(self, name: str, last_lines: list[str]) -> None:
        self.name = name
        self.last_lines = last_lines
        super().__init__(name)


@dataclass(frozen=True, slots=True)
class ProcessSpec:
    """How one process is started and ended."""

    name: str
    command: tuple[str, ...]
    env: Mapping[str, str]
    folder: Path
    user: ServerUser | None = None
    standard_input: str = ""
    stop_signal: int = signal.SIGTERM
    kill_signal: int = signal.SIGKILL
    death_signal: int = signal.SIGKILL  # sent by the kernel when the supervisor dies
    stop_order: int = 0  # lower ones are stopped first: clients before their servers
    keep: bool = True  # start again when it dies
    on_terminal: bool = False  # shares our terminal, output and Ctrl-C


@dataclass(slots=True)
class Child:
    """One process under watch, through all its restarts."""

    spec: ProcessSpec
    log: LogFile
    console: Console
    keep: bool
    process: subprocess.Popen[bytes] | None = None
    lines: Lines = field(default_factory=Lines)
    exit_status: int | None = None
    deaths: list[float] = field(default_factory=list)
    restart_at: float | None = None

    @property
    def alive(self) -> bool:
        return self.process is not None


class Supervisor:
    """Use as a context manager; leaving it stops every child.

    A quiet one lets the processes write into their files themselves, so that it need not be
    watched: what nobody reads out of a pipe would stop a server in the middle of a word.
    """

    def __init__(self, log_folder: Path, *, quiet: bool = False) -> None:
        self._log_folder = log_folder
        self._quiet = quiet
        self._children: dict[str, Child] = {}
        self._selector = selectors.DefaultSelector()
        self._signals: list[int] = []
        self._stopping = False
        self._handlers: dict[int, object] = {}
        self._bell, self._bell_rope = socket.socketpair()
        self._voice = Voice()
        self.say = self._voice.say

    def __enter__(self) -> Self:
        self._bell.setblocking(False)
        self._bell_rope.setblocking(False)
        self._selector.register(self._bell, selectors.EVENT_READ)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD):
            self._handlers[number] = signal.signal(number, self._note_signal)
        signal.set_wakeup_fd(self._bell_rope.fileno(), warn_on_full_buffer=False)
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        self._stop_all(
            from_terminal=isinstance(error, Stopped) and error.exit_status == 130
        )
        signal.set_wakeup_fd(-1)
        for number, handler in self._handlers.items():
            signal.signal(number, handler)  # type: ignore[arg-type]
        self._selector.close()
        self._bell.close()
        self._bell_rope.close()
        for child in self._children.values():
            child.log.close()
        self._voice.close()

    def _note_signal(self, number: int, _frame: FrameType | None) -> None:
        if number != signal.SIGCHLD:
            self._signals.append(number)

    # --- what a caller does ---------------------------------------------------------------

    def start(self, spec: ProcessSpec) -> Child:
        """Start a process; its name must be free or its bearer dead."""
        before = self._children.get(spec.name)
        log = before.log if before else LogFile(self._log_folder / f"{spec.name}.log")
        child = Child(spec, log, Console(spec.name), keep=spec.keep)
        self._children[spec.name] = child
        self._spawn(child)
        return child

    def run(self, spec: ProcessSpec) -> int:
        """Start a process that ends by itself, and wait for its exit status."""
        child = self.start(spec)
        while child.alive:
            self.step()
        return child.exit_status or 0

    def output_of(self, name: str, lines: int = 5) -> list[str]:
        """The last lines that a process wrote."""
        return self._children[name].log.tail(lines)

    def wait_until(self, ready: Callable[[], bool], seconds: float) -> bool:
        """Watch everything until ``ready`` says yes; no after so many seconds."""
        deadline = time.monotonic() + seconds
        while not ready():
            if time.monotonic() > deadline:
                return False
            self.step(0.02)
        return True

    def watch(self) -> None:
        """Keep everything alive until somebody asks for the end (raises ``Stopped``)."""
        while True:
            self.step()

    def step(self, longest: float = 0.5) -> None:
        """One turn: carry output, bury the dead, start again what is due."""
        self._turn(longest)
        if self._signals and not self._stopping:
            raise Stopped(self._signals[0])
        for child in self._children.values():
            if child.restart_at is not None and time.monotonic() >= child.restart_at:
                child.restart_at = None
                self._spawn(child)

    # --- the loop -------------------------------------------------------------------------

    def _turn(self, longest: float) -> None:
        for key, _events in self._selector.select(longest):
            if key.fileobj is self._bell:
                self._bell.recv(4096)
            else:
                self._carry(key.data, key.fileobj)  # type: ignore[arg-type]
        for child in self._children.values():
            if child.process is not None and child.process.poll() is not None:
                self._bury(child, child.process)

    def _spawn(self, child: Child) -> None:
        spec = child.spec
        uid, gid = (spec.user.uid, spec.user.gid) if spec.user else (KEEP_USER, KEEP_USER)
        leash = [sys.executable, "-I", "-S", str(LEASH)]
        ties = [str(number) for number in (os.getpid(), int(spec.death_signal), uid, gid)]
        piped = None if spec.on_terminal else subprocess.PIPE
        output = child.log.file if self._quiet and not spec.on_terminal else piped
        child.process = subprocess.Popen(
            [*leash, *ties, *spec.command],
            env=dict(spec.env),
            cwd=spec.folder,
            stdin=piped,
            stdout=output,
            stderr=None if spec.on_terminal else subprocess.STDOUT,
            start_new_session=not spec.on_terminal,
            umask=-1 if spec.on_terminal else 0o077,
        )
        child.lines = Lines()
        if child.process.stdin is not None:
            with suppress(BrokenPipeError):  # it died at once; that is noticed later
                child.process.stdin.write(spec.standard_input.encode())
                child.process.stdin.close()
        if child.process.stdout is not None:
            os.set_blocking(child.process.stdout.fileno(), False)
            self._selector.register(child.process.stdout, selectors.EVENT_READ, child)

    def _carry(self, child: Child, pipe: IO[bytes]) -> None:
        data = os.read(pipe.fileno(), 65_536)
        if data:
            self._record(child, child.lines.feed(data))
        else:
            self._selector.unregister(pipe)
            pipe.close()

    def _record(self, child: Child, lines: list[str]) -> None:
        for line in lines:
            child.log.write(line)
            shown = child.console.consider(line)
            if shown:
                self.say(shown)

    def _bury(self, child: Child, process: subprocess.Popen[bytes]) -> None:
        self._drain(child, process)
        if not child.spec.on_terminal:
            kill_session(process.pid)  # whatever it has left behind
        child.process = None
        child.exit_status = process.returncode
        if child.keep and not self._stopping:
            self._plan_restart(child)

    def _drain(self, child: Child, process: subprocess.Popen[bytes]) -> None:
        pipe = process.stdout
        while pipe is not None and not pipe.closed:
            try:
                self._carry(child, pipe)
            except BlockingIOError:  # an orphan holds the other end; nothing more to read
                self._selector.unregister(pipe)
                pipe.close()
        self._record(child, child.lines.end())

    def _plan_restart(self, child: Child) -> None:
        now = time.monotonic()
        child.deaths = [moment for moment in child.deaths if now - moment < DEATH_WINDOW]
        child.deaths.append(now)
        name = child.spec.name
        if len(child.deaths) >= MOST_DEATHS:
            raise GaveUp(name, child.log.tail(5))
        delay = min(0.25 * 2 ** len(child.deaths), LONGEST_BACKOFF)
        child.restart_at = now + delay
        self.say(
            f"{name} berhenti ({child.exit_status}); dimulai lagi dalam {delay:g} detik. / "
            f"{name} ended ({child.exit_status}); starting again in {delay:g} s."
        )

    # --- the end --------------------------------------------------------------------------

    def _stop_all(self, *, from_terminal: bool) -> None:
        self._stopping = True
        self._signals.clear()
        if from_terminal:  # Ctrl-C reached those on our terminal already: let them finish
            self._await_end([c for c in self._alive() if c.spec.on_terminal], 5.0)
        for order in sorted({child.spec.stop_order for child in self._alive()}):
            group = [c for c in self._alive() if c.spec.stop_order == order]
            self._stop(group)

    def _alive(self) -> list[Child]:
        return [child for child in self._children.values() if child.alive]

    def _stop(self, group: list[Child]) -> None:
        # The word goes to each leader alone, which passes it on: RQ takes a second SIGTERM,
        # sent to its whole group, as "drop everything".
        self._signal_all(group, "stop_signal")
        self._await_end(group, GRACE_SECONDS)
        self._signal_all(group, "kill_signal")
        self._await_end(group, 3.0)
        for child in group:
            if child.process is not None:
                child.process.kill()
        self._await_end(group, 3.0)

    def _await_end(self, group: list[Child], seconds: float) -> None:
        """Wait; a second Ctrl-C ends the waiting at once."""
        deadline = time.monotonic() + seconds
        while any(child.alive for child in group) and time.monotonic() < deadline:
            self._turn(0.05)
            if self._signals:
                return

    def _signal_all(self, group: list[Child], kind: str) -> None:
        for child in group:
            if child.process is not None:
                child.process.send_signal(getattr(child.spec, kind))


def end_session(session: int, number: int) -> None:
    """Send a signal to every process of a session, also those in groups of their own."""
    for pid in session_members(session):
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            continue


def kill_session(session: int) -> None:
    """Kill every process of a session and wait until none is left, but not for ever."""
    end = time.monotonic() + KILL_SECONDS
    while session_members(session) and time.monotonic() < end:
        end_session(session, signal.SIGKILL)
        time.sleep(0.01)


def session_members(session: int) -> list[int]:
    """The living processes of a session, read from /proc where there is one."""
    members = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            # Behind the name, which may hold anything: state, parent, group, session.
            state, _parent, _group, found = (
                (entry / "stat").read_text().rpartition(")")[2].split()[:4]
            )
        except (OSError, ValueError):
            continue
        if int(found) == session and state not in "ZX":
            members.append(int(entry.name))
    return members
