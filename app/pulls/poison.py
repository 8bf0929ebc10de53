"""Finding the records that bring the program down: by halves, each tried in a child process.

A pull does this when an attempt before ended without a word: killed, out of memory or out
of time. One record that crashes the decoder, or makes it think for ever, must not keep the
others from being published.
"""

import os
import signal
from collections.abc import Callable, Sequence
from typing import NoReturn

import msgspec

from app.contracts.decoder import Rejected
from app.contracts.field_rules import FieldError
from app.core.words import message_id

POISON = FieldError(
    "",
    "poison",
    message_id("The program cannot work on this record: it crashes or takes too long."),
    {},
)
# After an end like these it may be a record's fault that nothing was said.
SUSPICIOUS = frozenset({"worker_lost", "time_limit", "memory_limit", "internal"})
BASE_SECONDS, SECONDS_PER_RECORD = 2.0, 0.002

Records = Sequence[msgspec.Raw]


def poisoned(records: Records, work: Callable[[Records], object]) -> list[int]:
    """Return the positions of records that ``work`` alone does not survive."""
    if survives(records, work):
        return []
    return _within(records, work, 0)


def _within(records: Records, work: Callable[[Records], object], first: int) -> list[int]:
    """Look into records that together do not survive; ``first`` came before them."""
    if len(records) == 1:
        return [first]
    middle = len(records) // 2
    found = []
    for start, half in ((0, records[:middle]), (middle, records[middle:])):
        if not survives(half, work):
            found += _within(half, work, first + start)
    return found


def survives(records: Records, work: Callable[[Records], object]) -> bool:
    """Do the work in a child process that may crash or be out of time; tell how it went."""
    pid = os.fork()
    if not pid:
        _try(records, work)
    _pid, status = os.waitpid(pid, 0)
    return status == os.EX_OK


def _try(records: Records, work: Callable[[Records], object]) -> NoReturn:
    """Be the child. It says nothing and touches nothing that its parent has open."""
    status = os.EX_SOFTWARE
    try:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        seconds = BASE_SECONDS + SECONDS_PER_RECORD * len(records)
        signal.setitimer(signal.ITIMER_REAL, seconds)
        work(records)
        status = os.EX_OK
    finally:
        os._exit(status)


def set_aside(record: msgspec.Raw, position: int) -> Rejected:
    """Return a poisonous record as the quarantine takes it; nobody reads its key."""
    return Rejected(position, bytes(record), (POISON,), None)
