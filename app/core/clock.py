"""The only place that asks what time it is; leases ask the database's clock instead."""

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from app.core.errors import RejectedError

LAST_YEAR = 2999


class TooFarError(RejectedError):
    """A day that no calendar here goes to."""

    code = "day_too_far"

    def __init__(self) -> None:
        super().__init__("Choose a day up to the year %(year)s.", year=LAST_YEAR)


def utc_now() -> datetime:
    """Return the aware instant of now, in UTC."""
    return datetime.now(tz=UTC)


def in_zone(instant: datetime, zone: str) -> datetime:
    """Return the same instant on the wall clock of an IANA zone."""
    return instant.astimezone(ZoneInfo(zone))


def end_of(day: date, zone: str) -> datetime:
    """Return the instant at which a day is over on the clock of an IANA zone.

    Raises ``TooFarError``.
    """
    if day.year > LAST_YEAR:
        raise TooFarError
    return datetime.combine(day + timedelta(days=1), time(), ZoneInfo(zone))
