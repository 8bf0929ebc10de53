"""Named points at which a test lets a process die or freeze; nothing at all elsewhere.

``SIMPUL_FAULT_POINT`` is ``name:n`` or ``name:n:stop``: at the n-th passing of the point the
process is killed, or frozen. ``SIMPUL_FAULT_MARK`` names a file that is made when that
happens; while it exists nothing more happens, so that the next attempt gets through.
"""

import os
import signal
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(slots=True)
class _Fault:
    name: str
    passings_left: int
    signal_number: signal.Signals
    mark: Path | None


class _Armed:
    fault: _Fault | None = None


def arm(env: Mapping[str, str]) -> None:
    """Read the fault to make; only ever called in test mode."""
    name, _, rest = env.get("SIMPUL_FAULT_POINT", "").partition(":")
    number, _, how = rest.partition(":")
    mark = env.get("SIMPUL_FAULT_MARK", "")
    stop = signal.SIGSTOP if how == "stop" else signal.SIGKILL
    _Armed.fault = (
        _Fault(name, int(number or 1), stop, Path(mark) if mark else None)
        if name
        else None
    )


def point(name: str) -> None:
    """Pass a point; here a test may have this process end or freeze."""
    fault = _Armed.fault
    if fault is None or fault.name != name:
        return
    fault.passings_left -= 1
    if fault.passings_left == 0 and _first_time(fault):
        os.kill(os.getpid(), fault.signal_number)


def _first_time(fault: _Fault) -> bool:
    if fault.mark is None:
        return True
    try:
        fault.mark.touch(exist_ok=False)
    except FileExistsError:
        return False
    return True
