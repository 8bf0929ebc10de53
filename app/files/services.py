"""Taking files in: looked at, then kept by their content; given out under their own names."""

import re
import unicodedata
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from app.core.store import Store
from app.files import inspection
from app.files.errors import MAX_BYTES, FileRefusedError
from app.files.inspection import FileKind

MAX_NAME = 120
_SAME = {"jpeg": "jpg", "jpe": "jpg"}


class Kept(NamedTuple):
    """A file in the store."""

    name: str
    kind: FileKind
    sha256: str
    byte_count: int
    pages: int


def store_of(home: Path) -> Store:
    """Return the store of what people sent and what was issued: nothing is ever removed."""
    return Store(home / "documents")


def path_of(home: Path, sha256: str) -> Path:
    """Return where a kept file stands; raises ``FileRefusedError`` when it is gone."""
    path = store_of(home).path(sha256)
    if not path.exists():
        raise FileRefusedError("gone")
    return path


def keep(home: Path, name: str, content: bytes) -> Kept:
    """Look at a file and keep it; raises ``FileRefusedError``."""
    if len(content) > MAX_BYTES:
        raise FileRefusedError("large")
    facts = inspection.look(content)
    tidy = tidy_name(name, facts.kind)
    stored = store_of(home).put(content)
    return Kept(tidy, facts.kind, stored.sha256, stored.byte_count, facts.pages)


def tidy_name(name: str, kind: FileKind) -> str:
    """Return a file's name without places, signs that steer, and a wrong ending.

    Raises ``FileRefusedError`` when its ending names another kind than its content is.
    """
    last = PurePosixPath(name.replace("\\", "/")).name
    plain = unicodedata.normalize("NFC", last)
    plain = "".join(
        c for c in plain if unicodedata.category(c)[0] != "C" and c not in '<>:"|?*%'
    )
    plain = plain.strip().rstrip(".")
    stem, dot, ending = plain.rpartition(".")
    if not dot:
        stem, ending = plain, kind.value
    ending = ending.lower()
    if _SAME.get(ending, ending) != kind.value:
        raise FileRefusedError("name", kind.value.upper())
    stem = re.sub(r"\s+", " ", stem).strip(" .")[:MAX_NAME] or "dokumen"
    return f"{stem}.{kind.value}"
