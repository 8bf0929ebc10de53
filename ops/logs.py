"""What the supervised processes say: all of it into bounded files, trouble to the console."""

import contextlib
import os
import queue
import re
import threading
import time
from pathlib import Path
from typing import IO

STANDARD_OUTPUT, STANDARD_ERROR = 1, 2
# So many lines wait for a console that does not read; what comes then is dropped.
MOST_UNSAID = 500
LAST_WORDS_SECONDS = 1.0

LARGEST_FILE = 5_000_000
LONGEST_LINE = 16_000
# At most so many lines of one process reach the console in a window of seconds.
CONSOLE_LINES = 20
CONSOLE_WINDOW = 10.0
TROUBLE = re.compile(
    r"\b(warning|warn|error|critical|fatal|panic)\b|^Traceback", re.IGNORECASE
)

# True of every ordinary machine, and nothing that its user has to do.
HARMLESS = re.compile(r"Memory overcommit must be enabled|no usable system locales")


class LogFile:
    """One process's log: dated lines, kept in two files of bounded size.

    Where the disk is full, lines are lost: what is worth a log must not end for want of it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(mode=0o700, exist_ok=True)
        self._file = path.open("ab", buffering=0)

    def write(self, line: str) -> None:
        """Add a line; the file before the last is dropped when this one is full."""
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S%z")
        with contextlib.suppress(OSError):
            if self._file.tell() > LARGEST_FILE:
                self._begin_anew()
            self._file.write(f"{stamp} {line}\n".encode("utf-8", "replace"))

    def _begin_anew(self) -> None:
        self.path.replace(self.path.with_suffix(".log.1"))
        with self._file:
            self._file = self.path.open("wb", buffering=0)

    @property
    def file(self) -> IO[bytes]:
        """For a process that writes into it without us: without dates or a bound."""
        return self._file

    def tail(self, lines: int) -> list[str]:
        """The last lines, to show when the process cannot be kept alive."""
        return self.path.read_text("utf-8", "replace").splitlines()[-lines:]

    def close(self) -> None:
        self._file.close()


class Lines:
    """Bytes in, whole lines out; an endless line is cut."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[str]:
        """The lines that are complete now."""
        *whole, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > LONGEST_LINE:
            whole.append(self._rest)
            self._rest = b""
        return [line[:LONGEST_LINE].decode("utf-8", "replace").rstrip() for line in whole]

    def end(self) -> list[str]:
        """What was left without a line end."""
        return self.feed(b"\n") if self._rest else []


class Console:
    """Lets a process's trouble through to the person, not a flood of it."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._window_began = 0.0
        self._shown = 0

    def consider(self, line: str) -> str | None:
        """The line as it is to be shown, or nothing."""
        if not TROUBLE.search(line) or HARMLESS.search(line):
            return None
        now = time.monotonic()
        if now - self._window_began > CONSOLE_WINDOW:
            self._window_began, self._shown = now, 0
        self._shown += 1
        if self._shown > CONSOLE_LINES:
            return None
        if self._shown == CONSOLE_LINES:
            return f"[{self._name}] … selanjutnya di log / more in log/{self._name}.log"
        return f"[{self._name}] {line}"


class Voice:
    """Says lines to whoever started us, from a thread: who does not read must stop nobody.

    On a terminal stopped by Ctrl-S, or a full pipe, writing waits for ever. If the one who
    carries the output of a server waited along, the server would too, and all its clients.
    """

    def __init__(self) -> None:
        self._unsaid: queue.Queue[tuple[int, str] | None] = queue.Queue(MOST_UNSAID)
        self._thread = threading.Thread(target=self._speak, name="voice", daemon=True)
        self._thread.start()

    def say(self, *lines: str, to: int = STANDARD_ERROR) -> None:
        """Say lines soon, in order; dropped when too many are unsaid (files have them)."""
        for line in lines:
            with contextlib.suppress(queue.Full):
                self._unsaid.put_nowait((to, line))

    def close(self) -> None:
        """Say what is left, if somebody reads it within a second."""
        with contextlib.suppress(queue.Full):
            self._unsaid.put_nowait(None)
        self._thread.join(LAST_WORDS_SECONDS)

    def _speak(self) -> None:
        while (said := self._unsaid.get()) is not None:
            handle, line = said
            data = f"{line}\n".encode("utf-8", "replace")
            with contextlib.suppress(OSError):  # nobody is there any more
                while data:
                    data = data[os.write(handle, data) :]
