"""A measured program in a process of its own that takes one line of JSON at a time.

It answers each with one line. Its memory is sampled from outside, while it is at work.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench.lab.memory import PeakMemory
from ops.places import PROJECT


class Program:
    """The parent's end of it."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process

    def ask(self, **question: Any) -> dict[str, Any]:
        """Return the answer, and ``rss_mb``: the peak PSS of its processes meanwhile."""
        with PeakMemory(self._process.pid) as peak:
            assert self._process.stdin
            assert self._process.stdout
            self._process.stdin.write(json.dumps(question) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        if not line:
            raise SystemExit("a measured program has died; its words are above")
        return {**json.loads(line), "rss_mb": peak.mb}


@contextmanager
def started(python: Path | str, module: str, env: Mapping[str, str]) -> Iterator[Program]:
    """Start ``python -m module`` and end it with the block."""
    process = subprocess.Popen(
        [str(python), "-m", module],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=PROJECT,
        env={**os.environ, **env},
    )
    try:
        yield Program(process)
    finally:
        assert process.stdin
        process.stdin.close()
        process.wait()
        assert process.stdout
        process.stdout.close()


def answer(reply: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    """Be the child's end: answer until nothing more is asked. Prints go to stderr."""
    out = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    for line in sys.stdin:
        out.write(json.dumps(reply(json.loads(line))) + "\n")
