"""Finds the records, the declared total and the verdict in an answer without decoding records.

A ``msgspec`` type is built from the three paths once. Its leaf for the records is a list of
``msgspec.Raw``: one pass checks the syntax, counts the records and keeps their bytes.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from app.connectors import errors

_BOM = b"\xef\xbb\xbf"
_MAX_PATH_PARTS = 8
_ESCAPE = re.compile(
    rb"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"  # a proper pair
    rb"|\\u([dD][89a-fA-F][0-9a-fA-F]{2})"  # one half alone
    rb"|\\."
)


@dataclass(frozen=True, slots=True)
class Opened:
    """What one answer holds. ``total`` is None when no path for it is set."""

    records: list[msgspec.Raw]
    total: int | None
    next: Any = None  # what stands where the next page is named

    def rows_json(self) -> bytes:
        """The records (one at least) as a JSON array, without white space between them."""
        parts: list[bytes | msgspec.Raw] = list(self.records)
        # The brackets travel with the outer parts: adding them to the whole would copy it.
        parts[0] = b"[" + parts[0]
        parts[-1] = bytes(parts[-1]) + b"]"
        return b",".join(parts)


class Envelope:
    """Reads answers of one shape. Paths are dotted; a number is a place in an array."""

    def __init__(
        self,
        rows_path: str = "",
        *,
        total_path: str = "",
        success_path: str = "",
        success_value: str = "",
        failure: tuple[str, str] = ("", ""),
        next_path: str = "",
        inner_path: str = "",
        blank_is_empty: bool = False,
    ) -> None:
        self._rows = _parts(rows_path)
        self._total = _parts(total_path)
        self._success = _parts(success_path)
        self._success_value = success_value
        self._failure = _parts(failure[0])
        self._failure_text = failure[1]
        self._next = _parts(next_path)
        self._is_inside = bool(inner_path)
        self._inner = _parts("" if inner_path == "$" else inner_path)
        self._blank_is_empty = blank_is_empty
        leaves: list[tuple[tuple[str, ...], Any]] = [(self._rows, list[msgspec.Raw])]
        others = dict.fromkeys((self._total, self._success, self._failure, self._next))
        leaves += [(path, Any) for path in others if path]
        self._decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(
            _type_of(leaves, 0)
        )
        self._getters = {path: _getter(path) for path, _ in leaves}

    def open(self, body: bytes, *, host: str, content_type: str) -> Opened:
        """Take one answer apart, or raise not_json, success_rule or wrong_shape."""
        body = body.removeprefix(_BOM)
        if self._is_inside:
            body = self._unwrapped(body, host, content_type)
        try:
            whole = self._decode(body)
        except msgspec.ValidationError as error:
            if body.lstrip()[:1] not in {b"{", b"["}:
                raise errors.not_json(host, safe_type(content_type), len(body)) from error
            if self._is_blank(body, host):
                return Opened([], None)
            raise self._explained(body, host) from error
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
            raise errors.not_json(host, safe_type(content_type), len(body)) from error
        if (
            self._success
            and _words(self._at(whole, self._success)) != self._success_value
        ):
            raise errors.success_rule(host, ".".join(self._success))
        if self._failure and self._says_failure(self._at(whole, self._failure)):
            raise errors.success_rule(host, ".".join(self._failure))
        return Opened(
            self._at(whole, self._rows),
            self._count(whole, host),
            self._at(whole, self._next) if self._next else None,
        )

    def _unwrapped(self, body: bytes, host: str, content_type: str) -> bytes:
        """The JSON text that lies inside the answer, as old services wrap it."""
        found = _dig(body, self._inner)
        if not isinstance(found, str):
            if body.lstrip()[:1] not in {b"{", b"[", b'"'}:
                raise errors.not_json(host, safe_type(content_type), len(body))
            raise errors.wrong_shape(host, ".".join(self._inner) or "$")
        return found.encode("utf-8", "surrogatepass").removeprefix(_BOM)

    def _says_failure(self, value: Any) -> bool:
        """Whether the failure's text stands in a text or in one of a list of texts."""
        texts = value if isinstance(value, list) else [value]
        return any(self._failure_text in _words(text) for text in texts)

    def _is_blank(self, body: bytes, host: str) -> bool:
        """Whether the place of the records, or one above it, is there and holds nothing."""
        if not self._blank_is_empty:
            return False
        if self._success and _words(_dig(body, self._success)) != self._success_value:
            return False
        if self._failure and self._says_failure(_dig(body, self._failure)):
            raise errors.success_rule(host, ".".join(self._failure))
        ways = [self._rows[:depth] for depth in range(len(self._rows) + 1)]
        return any(_is_nothing(_dig(body, way)) for way in ways)

    def _decode(self, body: bytes) -> Any:
        """Decode; one record with half a character must not cost the whole page."""
        try:
            return self._decoder.decode(body)
        except msgspec.ValidationError:
            raise
        except msgspec.DecodeError:
            mended = _ESCAPE.sub(_lone_surrogate_as_bytes, body)
            if mended == body:
                raise
            return self._decoder.decode(mended)

    def _at(self, whole: Any, path: tuple[str, ...]) -> Any:
        for name in self._getters[path]:
            whole = getattr(whole, name, msgspec.UNSET)
        return whole

    def _count(self, whole: Any, host: str) -> int | None:
        if not self._total:
            return None
        value = self._at(whole, self._total)
        if (
            isinstance(value, str)
            and value.isascii()
            and value.isdecimal()
            and len(value) < 16
        ):
            value = int(value)  # PHP services send their counts as text
        if type(value) is not int or not 0 <= value < 2**63:
            raise errors.wrong_shape(host, ".".join(self._total))
        return value

    def _explained(self, body: bytes, host: str) -> errors.SourceAnswerError:
        """Why a readable answer has no records: their own verdict first, then the shape."""
        if self._success and _words(_dig(body, self._success)) != self._success_value:
            return errors.success_rule(host, ".".join(self._success))
        if self._rows and not isinstance(_dig(body, self._rows), list):
            return errors.wrong_shape(host, ".".join(self._rows))
        # The records are fine or the answer itself should be the list: only a branch
        # towards the total is left to be missing.
        return errors.wrong_shape(host, ".".join(self._total) or "$")


def _is_nothing(value: Any) -> bool:
    return value is None or value in ("", [])


def safe_type(content_type: str) -> str:
    """The media type without parameters, or "?" when it looks like anything else."""
    media = content_type.partition(";")[0].strip().lower()
    plain = media.replace("/", "").replace("+", "").replace("-", "").replace(".", "")
    return media if plain.isascii() and plain.isalnum() and len(media) <= 60 else "?"


def _lone_surrogate_as_bytes(match: re.Match[bytes]) -> bytes:
    """The escape of half a character as the three bytes UTF-8 would give it.

    Nothing is lost, and decoding that one record as text fails (UnicodeDecodeError), while
    the escape itself would make ``msgspec`` refuse everything around it too.
    """
    if match[1] is None:
        return match[0]
    return chr(int(match[1], 16)).encode("utf-8", "surrogatepass")


def _parts(path: str) -> tuple[str, ...]:
    parts = tuple(path.split(".")) if path else ()
    plain = path.isprintable() and '"' not in path and "\\" not in path
    if len(parts) > _MAX_PATH_PARTS or not all(parts) or not plain:
        raise errors.SourceSettingsError(
            "%(path)s is no path into an answer", path=path[:100]
        )
    return parts


def _is_place(part: str) -> bool:
    return part.isascii() and part.isdecimal() and len(part) <= 2


def _getter(path: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(_field(part) for part in path)


def _field(part: str) -> str:
    """A Python name for any key: keys may hold hyphens, blanks or letters of any script."""
    return "f_" + part.encode("utf-8").hex()


def _type_of(leaves: Sequence[tuple[tuple[str, ...], Any]], depth: int) -> Any:
    """The type for all ``leaves`` whose first ``depth`` parts agree."""
    here = [kind for path, kind in leaves if len(path) == depth]
    if here:
        if len(leaves) > 1:
            raise errors.SourceSettingsError("One path of the answer lies inside another")
        return here[0]
    parts = list(dict.fromkeys(path[depth] for path, _ in leaves))
    groups = {
        part: _type_of([leaf for leaf in leaves if leaf[0][depth] == part], depth + 1)
        for part in parts
    }
    places = [_is_place(part) for part in parts]
    if all(places):
        return _array_type(groups)
    if any(places):
        raise errors.SourceSettingsError(
            "One place of the answer is an array and an object"
        )
    return _object_type(groups)


def _object_type(groups: dict[str, Any]) -> Any:
    fields = [_struct_field(part, kind) for part, kind in groups.items()]
    names = {_field(part): part for part in groups}
    return msgspec.defstruct("Node", fields, rename=names, kw_only=True)


def _struct_field(part: str, kind: Any) -> Any:
    """Verdict and total may be absent (the verdict is then "no"); records may not."""
    if kind is Any:
        return (_field(part), Any, msgspec.UNSET)
    return (_field(part), kind)


def _array_type(groups: dict[str, Any]) -> Any:
    last = max(int(part) for part in groups)
    names = [str(place) for place in range(last + 1)]
    by_place = {str(int(part)): (part, kind) for part, kind in groups.items()}
    fields = [
        (_field(by_place[name][0]), by_place[name][1])
        if name in by_place
        else (f"skip_{name}", msgspec.Raw)
        for name in names
    ]
    return msgspec.defstruct("Places", fields, array_like=True)


def _words(value: Any) -> str:
    """A JSON scalar as a person types it: true, 200, success."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None:
        return "null"
    return str(value) if isinstance(value, str | int | float) else "\0"


def _dig(body: bytes, path: tuple[str, ...]) -> Any:
    """The value at ``path``, level by level, or UNSET. Slow; for explanations only.

    The records are not decoded: a list at the end of the path comes back as raw parts.
    """
    raw: Any = body
    try:
        for part in path:
            if _is_place(part):
                raw = msgspec.json.decode(raw, type=list[msgspec.Raw])[int(part)]
            else:
                raw = msgspec.json.decode(raw, type=dict[str, msgspec.Raw])[part]
        if bytes(memoryview(raw)[:1]) == b"[":
            return msgspec.json.decode(raw, type=list[msgspec.Raw])
        return msgspec.json.decode(raw)
    except (msgspec.DecodeError, KeyError, IndexError, RecursionError):
        return msgspec.UNSET
