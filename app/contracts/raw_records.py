"""What the bytes of records tell before their fields are looked at."""

import json
import re
from collections.abc import Sequence
from typing import Any

from app.contracts.field_rules import FieldError
from app.core.words import message_id

# Escapes that spell a letter, digit, dot, underscore or hyphen: a key could hide in them.
_HIDDEN_NAME = re.compile(
    rb"\\u00(?:2[dDeE]|3\d|4[1-9a-fA-F]|5[\daAfF]|6[1-9a-fA-F]|7[\daA])"
)
_PLAIN_NAME = re.compile(r"[A-Za-z0-9._-]+", re.ASCII)
_LONE = re.compile(
    rb"\\u[dD][89abAB]..(?!\\u[dD][c-fC-F])|(?<!\\u[dD][89abAB]..)\\u[dD][c-fC-F]"
)
_BLANK = frozenset(" \t\r\n")


def is_plain_name(name: str) -> bool:
    """Tell whether ``has_bad_escape`` would see this name written with an escape."""
    return _PLAIN_NAME.fullmatch(name) is not None


def has_bad_escape(data: bytes) -> bool:
    """Tell whether the page holds a NUL, half a surrogate pair, or a name in disguise."""
    # One byte is looked for much faster than two.
    if b"\\" not in data or b"\\u" not in data:
        return False
    return (
        b"\\u0000" in data
        or _HIDDEN_NAME.search(data) is not None
        or (
            re.search(rb"\\u[dD][89a-fA-F]", data) is not None
            and _LONE.search(data) is not None
        )
    )


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _after_blank(text: str, at: int) -> int:
    """Return the place of the next character that is no white space."""
    while text[at : at + 1] in _BLANK and at < len(text):
        at += 1
    return at


def split_leniently(data: bytes) -> list[bytes] | None:
    """Split an array by Python's own reader, which lets bad characters inside texts pass."""
    text = data.decode("utf-8", "surrogateescape").strip(" \t\r\n")
    if not text.startswith("[") or not text.endswith("]"):
        return None
    reader = json.JSONDecoder(parse_constant=_refuse_constant)
    raws: list[bytes] = []
    at = _after_blank(text, 1)
    while text[at] != "]" or (not raws and at < len(text) - 1):
        try:
            _value, end = reader.raw_decode(text, at)
        except (ValueError, RecursionError):
            return None
        raws.append(text[at:end].encode("utf-8", "surrogateescape"))
        at = _after_blank(text, end)
        if text[at] == ",":
            at = _after_blank(text, at + 1)
        elif text[at] != "]":
            return None
    return raws if at == len(text) - 1 else None


class TwiceError(Exception):
    def __init__(self, name: str) -> None:
        self.name = name


def refuse_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise TwiceError(name)
        found[name] = value
    return found


def record_errors(
    raw: bytes, columns: Sequence[str], paths: Sequence[tuple[str, ...]]
) -> list[FieldError]:
    """Return what makes a record unreadable as a whole, if anything does."""
    text = raw.decode("utf-8", "surrogateescape")
    try:
        parsed = json.loads(text, object_pairs_hook=refuse_twice)
    except TwiceError as error:
        message = message_id("Stands more than once in the same record.")
        return [FieldError(error.name, "key_twice", message, {})]
    except (ValueError, RecursionError):
        return [FieldError("", "unreadable", "The record cannot be read as JSON.", {})]
    if not isinstance(parsed, dict):
        return [FieldError("", "not_a_record", "Is no record with named fields.", {})]
    if not _is_whole_text(json.dumps(parsed, ensure_ascii=False)):
        halves = [
            name
            for name, path in zip(columns, paths, strict=True)
            if not _is_whole_text(str(_value_at(parsed, path)))
        ]
        message = message_id("Holds half of a character.")
        return [
            FieldError(name, "half_character", message, {}) for name in halves or [""]
        ]
    return []


def _is_whole_text(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _value_at(parsed: Any, path: tuple[str, ...]) -> Any:
    for part in path:
        parsed = parsed.get(part) if isinstance(parsed, dict) else None
    return parsed


def text_errors(name: str, raw: bytes) -> list[FieldError]:
    """Return what a text may never hold, whatever its rules say."""
    if raw.startswith(b'"') and b"\\u0000" in raw and "\0" in json.loads(raw):
        return [FieldError(name, "nul", "Holds a NUL, which no text may.", {})]
    return []
