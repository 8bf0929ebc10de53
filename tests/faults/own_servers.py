"""A PostgreSQL and a Redis that a test may do anything to; dead ones are started again.

Run as a program: prints their addresses as one line of JSON, and ends with its input. They
sync to the disk, as in production: what is acknowledged must outlive a killed server.
"""

import dataclasses
import json
import os
import select
import sys
from pathlib import Path

from ops import supervisor as supervision
from ops.servers import throwaway_folder
from ops.supervisor import Supervisor


def main() -> None:
    supervision.MOST_DEATHS = 1_000  # here they die on purpose
    with (
        throwaway_folder() as (folder, pair),
        Supervisor(folder / "log", quiet=True) as supervisor,
    ):
        addresses = dataclasses.replace(pair, throwaway=False).start_both(supervisor)
        said = dataclasses.asdict(addresses) | {"data": str(folder / "postgres" / "data")}
        print(json.dumps(said), flush=True)
        while not select.select([sys.stdin], [], [], 0)[0]:
            supervisor.step(0.1)


def postmaster(data: str) -> int:
    """Return the process of the PostgreSQL server that lives in ``data``."""
    return int((Path(data) / "postmaster.pid").read_text().split("\n")[0])


if __name__ == "__main__":
    os.environ.pop("SIMPUL_FAULT_POINT", None)
    main()
