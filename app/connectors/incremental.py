"""Asking only for what changed: from which mark, in which windows, and the mark after it."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from functools import partial
from typing import Any

import msgspec

from app.connectors import errors
from app.connectors.settings import RestJsonSettings

Window = tuple[str, str]
"""From and to as they are sent; "" for an open end."""


def windows_of(settings: RestJsonSettings, since: str, until: str) -> list[Window]:
    """The windows of one pull: from ``since`` (or the first start) up to ``until``.

    ``since`` is the mark of the last publish; the overlap goes back behind it, so that
    what was written late on their side is read again.
    """
    if not settings.since_param:
        return [("", "")]
    first = _first(settings, since)
    if not settings.window or not first:
        return [(first, until if settings.until_param else "")]
    windows: list[Window] = []
    while not windows or _number(settings, first) <= _number(settings, until):
        after = _moved(settings, first, settings.window)
        windows.append((first, after))
        first = after
        if len(windows) > settings.max_pages:
            raise errors.SourceSettingsError("The windows are too narrow for this span")
    return windows


def until_now(settings: RestJsonSettings, today: date) -> str:
    """The end of the last window, as it stands when a pull begins."""
    if settings.since_format == "year":
        return str(today.year)
    if settings.since_format == "number":
        return settings.since_start or "0"
    return today.isoformat()


def _first(settings: RestJsonSettings, since: str) -> str:
    if not since:
        return settings.since_start
    return _moved(settings, since, -settings.since_overlap)


def _moved(settings: RestJsonSettings, mark: str, step: int) -> str:
    try:
        if settings.since_format in {"number", "year"}:
            return str(int(mark) + step)
        if settings.since_format == "date":
            return (date.fromisoformat(mark[:10]) + timedelta(days=step)).isoformat()
        moved = datetime.fromisoformat(mark) + timedelta(days=step)
        return moved.isoformat(timespec="seconds")
    except (ValueError, OverflowError) as error:
        raise errors.SourceSettingsError(
            "%(mark)s is no start for asking what changed", mark=mark[:40]
        ) from error


def _number(settings: RestJsonSettings, mark: str) -> float:
    if settings.since_format in {"number", "year"}:
        return int(mark)
    return date.fromisoformat(mark[:10]).toordinal()


class HighWater:
    """Finds the highest mark in a page's records; decodes nothing else of them."""

    def __init__(self, settings: RestJsonSettings) -> None:
        self._format = settings.since_format
        self._parts = settings.since_field.split(".") if settings.since_field else []
        kind: Any = Any
        for part in reversed(self._parts):
            kind = msgspec.defstruct(
                "Record", [("inner", kind, msgspec.UNSET)], rename={"inner": part}
            )
        self._decoder = msgspec.json.Decoder(kind)

    def of(self, records: Sequence[msgspec.Raw], before: str, until: str = "") -> str:
        """The highest of ``before`` and the records' own marks.

        ``until`` is the end of the last window. What claims to have changed later is no
        mark: with one slip of a pen nothing that changes before it would be asked for.
        """
        if not self._parts:
            return before
        last = _last(self._format, until)
        marks = [mark for record in records if (mark := self._mark(record))]
        past = [mark for mark in marks if not last or _order(self._format, mark) <= last]
        ordered = filter(None, [before, *past])
        return max(ordered, key=partial(_order, self._format), default="")

    def _mark(self, record: msgspec.Raw) -> str:
        try:
            value = self._decoder.decode(record)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return ""  # the contract will say what is wrong with it
        for _ in self._parts:
            value = getattr(value, "inner", None)
        return _readable(self._format, value)


def _readable(kind: str, value: object) -> str:
    """A mark as kept, or "" for what is none."""
    text = str(value) if isinstance(value, str | int) else ""
    try:
        if kind in {"number", "year"}:
            return str(int(text))
        if kind == "date":
            return date.fromisoformat(text[:10]).isoformat()
        return datetime.fromisoformat(text).isoformat(timespec="seconds")
    except ValueError:
        return ""


def _last(kind: str, until: str) -> Any:
    """The highest mark that can be, as ``_order`` has it; None when any can.

    With a day more: their clocks may be ahead of this one, and zones differ.
    """
    if kind == "number" or not until:
        return None
    if kind == "datetime":
        end = datetime.fromisoformat(until).replace(tzinfo=UTC)
        return end + timedelta(days=2)
    if kind == "year":
        return int(until)
    return (date.fromisoformat(until) + timedelta(days=1)).isoformat()


def _order(kind: str, mark: str) -> Any:
    """What marks are compared by."""
    if kind in {"number", "year"}:
        return int(mark)
    if kind == "date":
        return mark
    moment = datetime.fromisoformat(mark)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
