"""The peak memory of a process and its children, as PSS: shared pages counted once."""

import re
import threading
from contextlib import suppress
from pathlib import Path
from typing import Self

EVERY_SECONDS = 0.1
_PSS = re.compile(r"^Pss:\s+(\d+) kB", re.MULTILINE)


def pss_mb(pid: int) -> float:
    """Return the proportional set size of a process and all below it, in MB (2**20 bytes)."""
    total = 0
    for each in _family(pid):
        with suppress(OSError):
            found = _PSS.search(Path(f"/proc/{each}/smaps_rollup").read_text())
            total += int(found[1]) if found else 0
    return total / 1024


def _family(pid: int) -> list[int]:
    found = [pid]
    for each in found:
        with suppress(OSError):
            for task in Path(f"/proc/{each}/task").iterdir():
                found += map(int, (task / "children").read_text().split())
    return found


class PeakMemory:
    """Samples a process family until the block ends; ``mb`` is the highest sum seen."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self.mb = 0.0

    def _sample(self) -> None:
        while not self._over.wait(EVERY_SECONDS):
            self.mb = max(self.mb, pss_mb(self._pid))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
