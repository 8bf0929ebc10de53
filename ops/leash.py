"""Starts one command so that it cannot outlive the supervisor, as an unprivileged user.

Called by its path as ``python -I -S ops/leash.py PARENT SIGNAL UID GID command …``. A small
program of its own, because code between fork and exec in the supervisor is not safe there.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1
KEEP_USER = -1


def ask_for_death_signal(number: int) -> None:
    """Have the kernel send this process a signal when its parent dies, however it dies."""
    prctl = getattr(ctypes.CDLL(None), "prctl", None)
    if prctl is not None:  # Linux only
        prctl(PR_SET_PDEATHSIG, number, 0, 0, 0)


def _become(uid: int, gid: int) -> None:
    if uid != KEEP_USER:
        os.setgroups([])
        os.setgid(gid)
        os.setuid(uid)


def main(arguments: list[str]) -> None:
    """Change user, tie this process to its parent, become the command."""
    parent, death_signal, uid, gid = (int(number) for number in arguments[:4])
    command = arguments[4:]
    _become(uid, gid)
    ask_for_death_signal(death_signal)  # after the change of user, which would clear it
    if os.getppid() != parent:  # it died before the kernel was asked
        return
    # Python ignores these two for itself; the command shall have the usual behaviour.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    try:
        os.execvp(command[0], command)  # noqa: S606
    except OSError as error:
        sys.exit(f"FATAL {command[0]}: {error.strerror}")


if __name__ == "__main__":
    main(sys.argv[1:])
