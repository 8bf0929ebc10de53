"""The only place that asks what time it is; leases ask the database's clock instead."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo


def utc_now() -> datetime:
    """Return the aware instant of now, in UTC."""
    return datetime.now(tz=UTC)


def in_zone(instant: datetime, zone: str) -> datetime:
    """Return the same instant on the wall clock of an IANA zone."""
    return instant.astimezone(ZoneInfo(zone))
