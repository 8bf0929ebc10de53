"""Looks at an archive before anything is made of it: counts what it really unpacks to."""

import io
import zipfile
from collections.abc import Iterator
from pathlib import PurePosixPath

from app.core.confined import RefusedHereError

MAX_PARTS = 2_000
MAX_UNPACKED = 200 * 1024 * 1024
MAX_RATIO = 100
SMALL = 1024 * 1024  # what unpacks to so little may be packed as well as it likes
_CHUNK = 1 << 16
_SYMLINK = 0o120000


def names_in(content: bytes) -> frozenset[str]:
    """Return the names of an archive's parts, all of them unpacked once, in pieces.

    Raises ``RefusedHereError``: ``broken``, ``old`` for one with a password, ``bomb`` for one
    that unpacks to far more than it should, ``entities`` for XML with a language of its own,
    ``places`` for a part that lies outside of it.
    """
    try:
        archive = zipfile.ZipFile(io.BytesIO(content))
        parts = archive.infolist()
        if len(parts) > MAX_PARTS:
            raise RefusedHereError("bomb")
        unpacked = 0
        for part in parts:
            if part.flag_bits & 0x1:
                raise RefusedHereError("old")
            _require_inside(part)
            for size in _unpacking(archive, part):
                unpacked += size
                too_dense = unpacked > SMALL and unpacked > MAX_RATIO * len(content)
                if unpacked > MAX_UNPACKED or too_dense:
                    raise RefusedHereError("bomb")
    # What ``zipfile`` raises for a damaged archive, an unknown way of packing, one that ends
    # too early, and one whose numbers lead nowhere.
    except (zipfile.BadZipFile, NotImplementedError, EOFError, OSError, ValueError):
        raise RefusedHereError("broken") from None
    return frozenset(archive.namelist())


def _require_inside(part: zipfile.ZipInfo) -> None:
    path = PurePosixPath(part.filename.replace("\\", "/"))
    is_link = part.external_attr >> 16 & 0o170000 == _SYMLINK
    if path.is_absolute() or ".." in path.parts or ":" in part.filename or is_link:
        raise RefusedHereError("places")


def _unpacking(archive: zipfile.ZipFile, part: zipfile.ZipInfo) -> Iterator[int]:
    """Unpack a part in pieces; yield their sizes. No part may define a language of its own."""
    with archive.open(part) as file:
        begin = file.read(4096)
        if b"<!DOCTYPE" in begin or b"<!ENTITY" in begin:
            raise RefusedHereError("entities")
        yield len(begin)
        while chunk := file.read(_CHUNK):
            yield len(chunk)
