"""How numbers, times and sizes are written for people; templates use these as filters."""

from datetime import date, datetime
from decimal import Decimal
from typing import Any

from babel.numbers import format_decimal as format_exactly
from flask import Flask
from flask_babel import (
    format_date,
    format_datetime,
    format_decimal,
    get_locale,
    gettext,
    to_user_timezone,
)
from markupsafe import Markup, escape

from app.core.clock import utc_now
from app.web.i18n import say

ZONE_NAMES = {"Asia/Jakarta": "WIB", "Asia/Makassar": "WITA", "Asia/Jayapura": "WIT"}


def moment(value: datetime | None, pattern: str = "d MMM y HH.mm") -> str:
    """Write an instant on the office's wall clock, with the zone's name; a day has none."""
    if value is None:
        return "–"
    if "H" not in pattern:
        return str(format_datetime(value, pattern))
    zone = to_user_timezone(value).tzinfo
    name = ZONE_NAMES.get(str(zone), to_user_timezone(value).tzname() or "")
    told = format_datetime(value, pattern)
    return f"{told} {name}" if "H" in pattern else str(told)


def person(label: str) -> str:
    """Return somebody's name out of what the audit calls them, without the address."""
    return label.partition(" <")[0]


def day(text: str) -> str:
    """Write a day that stands somewhere as 2026-11-23; anything else as it is."""
    try:
        return str(format_date(date.fromisoformat(text), "d MMMM y"))
    except ValueError:
        return text or "–"


def ago(value: datetime | None) -> str:
    """Write how long ago an instant was, in the largest unit that fits."""
    if value is None:
        return "–"
    seconds = int((utc_now() - value).total_seconds())
    if seconds < 0:
        return str(gettext("in %(time)s", time=duration(-seconds)))
    if seconds < 5:
        return str(gettext("just now"))
    return str(gettext("%(time)s ago", time=duration(seconds)))


def relative(value: datetime | None) -> Markup | str:
    """Write how long ago an instant was, with the instant itself for who points at it."""
    if value is None:
        return "–"
    return Markup('<time datetime="{}" title="{}">{}</time>').format(
        value.isoformat(), moment(value, "d MMM y HH.mm.ss"), ago(value)
    )


def duration(seconds: float | None) -> str:
    """Write a span of seconds in its two largest units."""
    if seconds is None:
        return "–"
    whole = int(seconds)
    days, rest = divmod(whole, 86_400)
    hours, rest = divmod(rest, 3600)
    minutes, secs = divmod(rest, 60)
    parts = [
        (days, gettext("d")), (hours, gettext("h")), (minutes, gettext("min")), (secs, gettext("s")),
    ]  # fmt: skip
    shown = [f"{n} {unit}" for n, unit in parts if n][:2]
    return " ".join(shown) or f"{format_decimal(round(seconds, 1))} {gettext('s')}"


def number(value: Any) -> str:
    return "–" if value is None else str(format_decimal(value))


def size(value: int | None) -> str:
    """Write a number of bytes in the unit that suits it."""
    if value is None:
        return "–"
    amount, unit = float(value), "B"
    for unit in ("B", "KB", "MB", "GB"):
        if amount < 1000 or unit == "GB":
            break
        amount /= 1000
    return f"{format_decimal(round(amount, 1))} {unit}"


def cell(value: Any) -> str | Markup:
    """Write a value of a central table: exact, with an empty one told from an empty text."""
    if value is None:
        return Markup('<span class="none">∅</span>')
    if isinstance(value, bool):
        return str(gettext("yes") if value else gettext("no"))
    if isinstance(value, datetime):
        return _moment_or_iso(value)
    if isinstance(value, date):
        return str(format_date(value, "d MMM y"))
    if isinstance(value, Decimal):
        exact: str = format_exactly(
            value, locale=get_locale(), decimal_quantization=False
        )
        return exact
    return escape(str(value))


def _moment_or_iso(value: datetime) -> str:
    try:
        return moment(value)
    except OverflowError:  # no clock of ours reaches it: others mean "for ever" by it
        return value.isoformat(" ")


def init_app(app: Flask) -> None:
    app.jinja_env.filters.update(
        moment=moment, ago=ago, relative=relative, duration=duration, number=number, size=size, cell=cell,
        say=say, day=day, person=person,
    )  # fmt: skip
