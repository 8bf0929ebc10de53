"""What is kept about hosts: who is there, how fast they are asked, and when they rest.

One row for each host:port in the database, so that all sources and all processes keep to
the same budget. Each function is one short step of the caller's transaction.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from app.connectors.errors import SourceUnavailableError
from app.core import db
from app.runs.errors import PutOffError
from app.runs.models import JobRun
from app.sources.models import Host, HostVisit

# So many failures in a row open the breaker; each one more doubles the rest.
BREAKER_FAILURES = 5
REST_SECONDS, MAX_REST_SECONDS = 60.0, 3_600.0
BUSY_SECONDS = 15.0
# Failures of the way to a host or of the host itself; not of one address on it.
_HOST_TROUBLE = frozenset(
    {"refused", "unreachable", "timeout", "too_slow", "connection_lost", "http_5xx",
     "name_service_failed", "truncated_body"}
)  # fmt: skip
_SILENT: dict[str, Any] = {"audited": True, "synchronize_session": False}


def enter(
    session: Session, pairs: Iterable[str], run_id: UUID, time_zone: str
) -> dict[str, float]:
    """Begin a visit to all of these pairs; return requests a second of those with a limit.

    Raises ``PutOffError`` with the seconds after which to ask again.
    """
    leave(session, run_id)
    # In order: two runs that want the same two hosts must not wait for each other.
    hosts = [_locked(session, pair) for pair in sorted(set(pairs))]
    now = db.now(session)
    for host in hosts:
        _refuse_rest(host, now.astimezone(ZoneInfo(time_zone)))
        _take_place(session, host, run_id, now)
    return {host.pair: host.per_second for host in hosts if host.per_second}


def require_open(session: Session, pairs: Iterable[str], time_zone: str) -> None:
    """Raise ``PutOffError`` when one of the pairs must not be asked just now."""
    hosts = session.scalars(sa.select(Host).where(Host.pair.in_(pairs)))
    now = db.now(session).astimezone(ZoneInfo(time_zone))
    for host in hosts:
        _refuse_rest(host, now)


def _refuse_rest(host: Host, now: datetime) -> None:
    if host.wait_until is not None and host.wait_until > now:
        raise PutOffError(
            "%(host)s is left alone for now (%(reason)s).",
            seconds=(host.wait_until - now).total_seconds(),
            host=host.pair,
            reason=host.wait_code,
        )
    quiet = quiet_seconds(host, now)
    if quiet:
        raise PutOffError(
            "%(host)s is in its maintenance hours.", seconds=quiet, host=host.pair
        )


def _locked(session: Session, pair: str) -> Host:
    session.execute(
        insert(Host)
        .values(
            pair=pair, per_second=0, at_once=0, note="", wait_code="", failure_count=0
        )
        .on_conflict_do_nothing()
        .execution_options(audited=True)
    )
    return session.scalars(
        sa.select(Host).where(Host.pair == pair).with_for_update()
    ).one()


def _take_place(session: Session, host: Host, run_id: UUID, now: datetime) -> None:
    at_host = HostVisit.pair == host.pair
    # A run that ended, however it did, or whose worker died holds no place.
    working = sa.select(JobRun.id).where(JobRun.lease_until > now)
    session.execute(sa.delete(HostVisit).where(at_host, HostVisit.run_id.not_in(working)))
    others = session.scalar(
        sa.select(sa.func.count()).select_from(HostVisit).where(at_host)
    )
    if host.at_once and (others or 0) >= host.at_once:
        raise PutOffError(
            "%(host)s is being asked by as many pulls at once as it may be.",
            seconds=BUSY_SECONDS,
            host=host.pair,
        )
    session.add(HostVisit(run_id=run_id, pair=host.pair))
    session.flush()


def quiet_seconds(host: Host, local: datetime) -> float:
    """Return how long the host's maintenance hours still last; 0 outside them."""
    start, end = host.quiet_from, host.quiet_until
    if start is None or end is None or start == end:
        return 0.0
    clock = local.time()
    inside = start <= clock < end if start < end else clock >= start or clock < end
    if not inside:
        return 0.0
    over = local.replace(hour=end.hour, minute=end.minute, second=0, microsecond=0)
    if over <= local:
        over += timedelta(days=1)
    return (over - local).total_seconds()


def pace(session: Session, pair: str, per_second: float) -> float:
    """Reserve the next request to a host; return the seconds to wait before it."""
    begin = sa.func.greatest(Host.next_at, sa.func.clock_timestamp())
    gap = timedelta(seconds=1 / per_second)
    row = session.execute(
        sa.update(Host)
        .where(Host.pair == pair)
        .values(next_at=begin + gap)
        .returning(Host.next_at, sa.func.clock_timestamp())
        .execution_options(**_SILENT)
    ).one()
    wait: timedelta = row[0] - gap - row[1]
    return max(wait.total_seconds(), 0.0)


def leave(session: Session, run_id: UUID) -> None:
    """End a visit."""
    session.execute(sa.delete(HostVisit).where(HostVisit.run_id == run_id))


def note_success(session: Session, pairs: Iterable[str]) -> None:
    """Hosts did their part: failures are counted anew.

    A rest that lasts stays: a pull that was through with its last page says nothing against
    what the host asked another one for.
    """
    lasts = Host.wait_until > sa.func.clock_timestamp()
    session.execute(
        sa.update(Host)
        .where(Host.pair.in_(pairs), Host.failure_count > 0)
        .values(
            failure_count=0,
            wait_until=sa.case((lasts, Host.wait_until)),
            wait_code=sa.case((lasts, Host.wait_code), else_=""),
        )
        .execution_options(**_SILENT)
    )


def note_failure(session: Session, error: SourceUnavailableError) -> None:
    """Rest a host that asks for it (Retry-After), or that failed too often in a row."""
    asked, is_trouble = error.retry_after_seconds, error.code in _HOST_TROUBLE
    if not error.pair or not (asked or is_trouble):
        return
    host = _locked(session, error.pair)
    failures = host.failure_count + is_trouble
    values: dict[str, Any] = {"failure_count": failures}
    seconds = max(asked or 0.0, _rest(failures))
    until = db.now(session) + timedelta(seconds=seconds)
    # A shorter rest, or none, takes nothing from one that was asked for before.
    if seconds and (host.wait_until is None or host.wait_until < until):
        values |= {"wait_until": until, "wait_code": error.code}
    session.execute(
        sa.update(Host)
        .where(Host.id == host.id)
        .values(values)
        .execution_options(**_SILENT)
    )


def _rest(failures: int) -> float:
    if failures < BREAKER_FAILURES:
        return 0.0
    doubled: float = REST_SECONDS * 2 ** min(failures - BREAKER_FAILURES, 10)
    return min(doubled, MAX_REST_SECONDS)
