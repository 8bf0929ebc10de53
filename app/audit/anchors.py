"""Anchors: once a day the last seal is written to a file outside the database.

Who rewrites a log and its whole chain of seals cannot rewrite the files that were copied
elsewhere: copy the folder to another machine, or print the line.
"""

import json
import os
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple
from zoneinfo import ZoneInfo

from app.audit.models import SealBatch

FOLDER = "anchors"  # in the data folder


class Anchor(NamedTuple):
    """One file: its name, the seal's number and digest in hexadecimal digits."""

    name: str
    seal: int
    digest: str


def keep(folder: Path, now: datetime, zone: ZoneInfo, seal: SealBatch) -> None:
    """Write today's anchor unless it is written; a file is never written over."""
    path = folder / f"{now.astimezone(zone).date().isoformat()}.json"
    if path.exists():
        return
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    said = {
        "seal": seal.id,
        "digest": seal.digest.hex(),
        "sealed_at": seal.at.astimezone(UTC).isoformat(),
        "written_at": now.astimezone(UTC).isoformat(),
    }
    part = path.with_suffix(f".{os.getpid()}.part")
    part.write_text(json.dumps(said) + "\n")
    part.chmod(0o444)
    with suppress(FileExistsError):  # another scheduler was faster
        path.hardlink_to(part)
    part.unlink()


def kept(folder: Path) -> Iterator[Anchor]:
    """Yield the anchors of a folder, oldest first; one that cannot be read has no digest."""
    for path in sorted(folder.glob("*.json")):
        try:
            said = json.loads(path.read_text())
            yield Anchor(path.name, int(said["seal"]), str(said["digest"]))
        except (OSError, ValueError, KeyError, TypeError):
            yield Anchor(path.name, 0, "")
