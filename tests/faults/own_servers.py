"""A PostgreSQL and a Redis that a test may do anything to; dead ones are started again.

Run as a program: prints their addresses as one line of JSON, and ends with its input. They
sync to the disk, as in production: what is acknowledged must outlive a killed server. With an
argument, PostgreSQL lives on a disk of its own of so many megabytes, and so does Redis.
"""

import dataclasses
import json
import os
import select
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path

from ops import supervisor as supervision
from ops.servers import throwaway_folder
from ops.supervisor import Supervisor

NO_MOUNT = "a disk of its own cannot be mounted here"


def main(megabytes: int) -> None:
    supervision.MOST_DEATHS = 1_000  # here they die on purpose
    with (
        throwaway_folder() as (folder, pair),
        small_disk(folder / "postgres", megabytes) if megabytes else nullcontext(),
        small_disk(folder / "redis", 8) if megabytes else nullcontext(),
        Supervisor(folder / "log", quiet=True) as supervisor,
    ):
        addresses = dataclasses.replace(pair, throwaway=False).start_both(supervisor)
        said = dataclasses.asdict(addresses) | {
            "data": str(folder / "postgres" / "data"),
            "log": str(folder / "log" / "postgres.log"),
        }
        print(json.dumps(said), flush=True)
        while not select.select([sys.stdin], [], [], 0)[0]:
            supervisor.step(0.1)


def postmaster(data: str) -> int:
    """Return the process of the PostgreSQL server that lives in ``data``."""
    return int((Path(data) / "postmaster.pid").read_text().split("\n")[0])


@contextmanager
def small_disk(folder: Path, megabytes: int) -> Iterator[None]:
    """Put a file system in memory on ``folder``; raises ``OSError`` where that is not allowed."""
    folder.mkdir(parents=True, exist_ok=True)
    options = f"size={megabytes}m,mode=0711"
    mount = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        raise OSError(NO_MOUNT)
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def may_mount(folder: Path) -> bool:
    """Tell whether ``small_disk`` works here."""
    with suppress(OSError), small_disk(folder, 1):
        return True
    return False


@contextmanager
def full(folder: Path, spare: int = 0) -> Iterator[None]:
    """Leave only ``spare`` bytes on the disk of ``folder`` while the block runs."""
    ballast = folder / "ballast"
    with ballast.open("wb", buffering=0) as file, suppress(OSError):
        while file.write(bytes(65_536)):
            pass
    os.truncate(ballast, max(ballast.stat().st_size - spare, 0))
    try:
        yield
    finally:
        ballast.unlink()


if __name__ == "__main__":
    os.environ.pop("SIMPUL_FAULT_POINT", None)
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 0)
