"""The worker on a machine that gives no more processes to some of it.

While the file that NO_FORK_MARK names holds a generation's number, forks of that generation
fail: 0 is the worker, 1 a queue's process, 2 a run's. Limits of the system cannot do that for
a test: the superuser, as which it may run, is free of them.
"""

import errno
import os
from pathlib import Path

from jobs import worker

MARK = Path(os.environ["NO_FORK_MARK"])
_real_fork = os.fork


class _Generation:
    number = 0


def fork() -> int:
    if MARK.exists() and MARK.read_text() == str(_Generation.number):
        raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))
    pid = _real_fork()
    if pid == 0:
        _Generation.number += 1
    return pid


if __name__ == "__main__":
    os.fork = fork
    worker.main()
