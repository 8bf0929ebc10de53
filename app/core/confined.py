"""What others send is opened by a process of its own, with little memory and time.

A file of a few kilobytes can unpack to gigabytes, and its parser must not take the server
along. The process is a module with a ``main`` that calls ``confine`` first; it answers on its
output, refuses with a reason there and ``REFUSED`` as its exit status, or dies.
"""

import json
import resource
import subprocess
import sys
from collections.abc import Sequence

MEMORY = 512 * 1024 * 1024
CPU_SECONDS, WAIT_SECONDS = 20, 40
REFUSED = 3


class RefusedHereError(Exception):
    """The process has a reason: ``why`` is its code, ``what`` names what it is about."""

    def __init__(self, why: str, what: str = "") -> None:
        super().__init__(why)
        self.why, self.what = why, what


def run(module: str, arguments: Sequence[str], sent: bytes) -> bytes:
    """Return what a module makes of some bytes, in a process of its own.

    Raises ``RefusedHereError``: with its reason, with ``giant`` when it needed more than it
    may have, or with ``broken`` when its parser could not make anything of them.
    """
    command = [sys.executable, "-m", module, *arguments]
    try:
        done = subprocess.run(
            command, input=sent, capture_output=True, timeout=WAIT_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        raise RefusedHereError("giant") from None
    if done.returncode == 0:
        return done.stdout
    if done.returncode < 0:
        raise RefusedHereError("giant")  # killed by its limits
    if done.returncode != REFUSED:
        # Parsers raise whatever they happen to meet in a file that is none of theirs.
        raise RefusedHereError("broken")
    refused = json.loads(done.stdout)
    raise RefusedHereError(refused["why"], refused["what"])


def confine() -> None:
    """Limit this very process; to be called before anything of others is looked at."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def refuse(error: RefusedHereError) -> int:
    """Write a reason down; return the exit status that says so."""
    sys.stdout.write(json.dumps({"why": error.why, "what": error.what}))
    return REFUSED
