"""Files behind one door: written whole or not at all, named by their content."""

import hashlib
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class Stored:
    """A file in the store: ``key`` finds it again, ``byte_count`` is its size."""

    key: str
    sha256: str
    byte_count: int


class Store:
    """A folder of immutable files. A key is the SHA-256 of the content, in hexadecimal."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @contextmanager
    def part(self) -> Iterator[Path]:
        """Yield a path to write to; what is not ``keep``-ed is gone when the block ends."""
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        path = self._folder / f"{secrets.token_hex(16)}.part"
        try:
            yield path
        finally:
            path.unlink(missing_ok=True)

    def keep(self, part: Path) -> Stored:
        """Take a written part into the store: on the disk before it has its name."""
        digest = hashlib.sha256()
        with part.open("rb") as file:
            while chunk := file.read(CHUNK):
                digest.update(chunk)
            os.fsync(file.fileno())
            size = file.tell()
        key = digest.hexdigest()
        target = self.path(key)
        target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        part.chmod(0o600)
        part.replace(target)
        _sync_folder(target.parent)
        return Stored(key, key, size)

    def put(self, content: bytes) -> Stored:
        """Take some bytes into the store."""
        with self.part() as part:
            part.write_bytes(content)
            return self.keep(part)

    def path(self, key: str) -> Path:
        """Return where a key's file stands; raises ``ValueError`` for what is no key."""
        if len(key) != 64 or not set(key) <= set("0123456789abcdef"):
            raise ValueError("not a key of the store")
        return self._folder / key[:2] / key

    def remove(self, key: str) -> None:
        self.path(key).unlink(missing_ok=True)

    def old_keys(self, *, older_than_seconds: float, now: float) -> Iterator[str]:
        """Yield keys of files written at least so long ago: whose row, if any, is committed."""
        for path in self._folder.glob("??/*"):
            if _is_older(path, older_than_seconds, now):
                yield path.name

    def old_parts(self, *, older_than_seconds: float, now: float) -> Iterator[Path]:
        """Yield parts that nobody has written to for so long: their writer is gone."""
        for path in self._folder.glob("*.part"):
            if _is_older(path, older_than_seconds, now):
                yield path


def _is_older(path: Path, seconds: float, now: float) -> bool:
    """Tell whether a file was last written so long before ``now`` (Unix time); not if gone."""
    try:
        return now - path.stat().st_mtime > seconds
    except FileNotFoundError:
        return False


def _sync_folder(folder: Path) -> None:
    """Bring a folder's list of names to the disk: a power cut must not take a file's name."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
