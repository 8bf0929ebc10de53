"""YAML as plain values: maps, lists and scalars as they were written; only when confined.

YAML itself can be a program: tags make objects, aliases make gigabytes of a few lines, and
``no`` becomes a boolean. So only the events of the parser are listened to: no tag, no anchor,
no alias, one document, and no scalar is anything but its text (or None for null).
"""

from collections.abc import Iterator
from typing import Any

import yaml

from app.core.confined import RefusedHereError

MAX_DEPTH = 20
MAX_NODES = 100_000
_NULLS = frozenset({"", "~", "null", "Null", "NULL"})
_LOADER = yaml.CSafeLoader if yaml.__with_libyaml__ else yaml.SafeLoader


def tree_of(content: bytes) -> Any:
    """Return what a document says.

    Raises ``RefusedHereError``: ``letters``, ``sign`` for a character that no text may have,
    ``syntax``, ``anchor``, ``tag``, ``twice`` for a key that stands in a map twice, ``key``
    for one that is no text, ``deep``, ``many``, ``documents``, ``empty``; with the line where
    it is, if there is one.
    """
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise RefusedHereError("letters") from None
    if not text.strip():
        raise RefusedHereError("empty")
    builder = _Builder()
    try:
        for event in _events(text):
            builder.hear(event)
    except yaml.reader.ReaderError:
        raise RefusedHereError("sign") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        raise RefusedHereError("syntax", str(mark.line + 1) if mark else "?") from None
    if not builder.documents:
        raise RefusedHereError("empty")
    return builder.root


def _events(text: str) -> Iterator[Any]:
    return yaml.parse(text, Loader=_LOADER)


class _Builder:
    """Puts values together out of events, one level on another, without recursion."""

    def __init__(self) -> None:
        self.documents = 0
        self.root: Any = None
        self._open: list[Any] = []
        self._keys: list[str | None] = []  # of each open map: the key that waits
        self._nodes = 0

    def hear(self, event: Any) -> None:
        """Take one event; raises ``RefusedHereError``."""
        line = str(event.start_mark.line + 1) if event.start_mark else "?"
        if isinstance(event, yaml.DocumentStartEvent):
            self.documents += 1
            if self.documents > 1:
                raise RefusedHereError("documents", line)
        elif isinstance(event, yaml.CollectionEndEvent):
            self._open.pop()
            self._keys.pop()
        elif isinstance(event, yaml.NodeEvent):
            self._take(event, line)

    def _take(self, event: Any, line: str) -> None:
        if isinstance(event, yaml.AliasEvent) or event.anchor is not None:
            raise RefusedHereError("anchor", line)
        if event.tag is not None:
            raise RefusedHereError("tag", line)
        self._nodes += 1
        if self._nodes > MAX_NODES:
            raise RefusedHereError("many")
        if isinstance(event, yaml.ScalarEvent):
            self._place(_scalar(event, line), line)
            return
        value: Any = {} if isinstance(event, yaml.MappingStartEvent) else []
        self._place(value, line)
        self._open.append(value)
        self._keys.append(None)
        if len(self._open) > MAX_DEPTH:
            raise RefusedHereError("deep", line)

    def _place(self, value: Any, line: str) -> None:
        """Put a value where it belongs: as the root, into a list, as a key, or to its key."""
        if not self._open:
            self.root = value
        elif isinstance(self._open[-1], list):
            self._open[-1].append(value)
        elif self._keys[-1] is not None:
            self._open[-1][self._keys[-1]] = value
            self._keys[-1] = None
        elif not isinstance(value, str):
            raise RefusedHereError("key", line)
        elif value in self._open[-1]:
            raise RefusedHereError("twice", f"{value[:80]} ({line})")
        else:
            self._keys[-1] = value


def _scalar(event: Any, line: str) -> str | None:
    """Return a scalar as it was written; escapes may spell what no text may hold."""
    text: str = event.value
    if "\0" in text or any("\ud800" <= sign <= "\udfff" for sign in text):
        raise RefusedHereError("sign", line)
    is_plain = not event.style
    return None if is_plain and text in _NULLS else text
