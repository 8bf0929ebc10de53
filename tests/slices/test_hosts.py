"""What is kept about hosts: places, rates, rests and maintenance hours."""

from datetime import datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
import sqlalchemy as sa

from app.connectors import errors
from app.core import db
from app.runs.errors import PutOffError
from app.sources import hosts
from app.sources.models import Host
from tests import make

pytestmark = pytest.mark.usefixtures("bound")
JAKARTA = "Asia/Jakarta"


@pytest.fixture
def pair():
    return f"{make.word('h')}.example:443"


def enter(*pairs, run=None):
    run = run or make.claim(make.make_run()).run_id
    with make.session(make.WORKER_PRINCIPAL) as s:
        return hosts.enter(s, pairs, run, JAKARTA), run


def at(pair, error):
    error.pair = pair
    return error


def configure(pair, **values):
    with make.session() as s:
        values = {"pair": pair} | values
        s.add(Host(**values))


def test_no_more_pulls_at_once_than_allowed(pair):
    configure(pair, at_once=1)
    _, first = enter(pair)

    with pytest.raises(PutOffError):
        enter(pair)
    enter(pair, run=first)  # its own place
    with make.session(make.WORKER_PRINCIPAL) as s:
        hosts.leave(s, first)
    enter(pair)


def test_the_rate_is_one_for_all_who_ask(pair):
    configure(pair, per_second=10.0)
    rates, _ = enter(pair)
    waits = []
    for _ in range(4):
        with make.session(make.WORKER_PRINCIPAL) as s:
            waits.append(hosts.pace(s, pair, rates[pair]))

    assert waits[0] == 0
    assert 0.2 < waits[3] <= 0.31


def test_a_host_that_fails_again_and_again_is_left_alone(pair):
    for _ in range(hosts.BREAKER_FAILURES):
        enter(pair)
        with make.session(make.WORKER_PRINCIPAL) as s:
            hosts.note_failure(s, at(pair, errors.refused("h", 443)))

    with pytest.raises(PutOffError) as caught:
        enter(pair)
    assert 50 < caught.value.seconds <= 60


def test_a_success_ends_no_rest_and_counts_failures_anew(pair):
    """A pull that was reading its last page says nothing against what another was told."""
    _, run = enter(pair)
    with make.session(make.WORKER_PRINCIPAL) as s:
        hosts.note_failure(s, at(pair, errors.for_status("h", 503, 90.0)))
        hosts.note_success(s, [pair])
        host = s.scalars(sa.select(Host).where(Host.pair == pair)).one()
        assert (host.failure_count, host.wait_code) == (0, "http_5xx")
    with pytest.raises(PutOffError):
        enter(pair)

    with make.session() as s:
        host = s.scalars(sa.select(Host).where(Host.pair == pair)).one()
        host.failure_count, host.wait_until = 1, db.now(s) - timedelta(seconds=1)
    with make.session(make.WORKER_PRINCIPAL) as s:
        hosts.note_success(s, [pair])
    with make.session() as s:
        host = s.scalars(sa.select(Host).where(Host.pair == pair)).one()
        assert (host.failure_count, host.wait_until, host.wait_code) == (0, None, "")
    enter(pair, run=run)


def test_a_host_that_asks_for_time_gets_it_from_all(pair):
    enter(pair)
    with make.session(make.WORKER_PRINCIPAL) as s:
        hosts.note_failure(s, at(pair, errors.for_status("h", 429, 90.0)))

    with pytest.raises(PutOffError) as caught:
        enter(pair)
    assert 80 < caught.value.seconds <= 90


@pytest.mark.parametrize(
    ("clock", "start", "end", "minutes"),
    [("23:30", "22:00", "04:00", 270), ("03:00", "22:00", "04:00", 60), ("12:00", "22:00", "04:00", 0),
     ("12:00", "11:00", "12:30", 30), ("12:30", "11:00", "12:30", 0)],
)  # fmt: skip
def test_maintenance_hours_are_kept_over_midnight(clock, start, end, minutes):
    host = Host(quiet_from=time.fromisoformat(start), quiet_until=time.fromisoformat(end))
    hour = time.fromisoformat(clock)
    local = datetime(2024, 5, 1, hour.hour, hour.minute, tzinfo=ZoneInfo(JAKARTA))

    assert hosts.quiet_seconds(host, local) == timedelta(minutes=minutes).total_seconds()


def test_all_hosts_of_a_visit_are_entered_or_none(pair):
    other = f"a{pair}"
    configure(other, at_once=1)
    enter(other)

    with pytest.raises(PutOffError):
        enter(pair, other)

    configure(pair, at_once=1)
    enter(pair)


@pytest.fixture(params=["ended", "expired"])
def gone(request):
    """Let a run be over, by its own word or by its lease's."""

    def end(lease):
        if request.param == "expired":
            make.expire_lease(lease.run_id)
            return
        with make.session(make.WORKER_PRINCIPAL) as s:
            lease.succeed(s, {})

    return end


def test_a_run_without_a_lease_holds_no_place(pair, gone):
    configure(pair, at_once=1)
    lease = make.claim(make.make_run())
    enter(pair, run=lease.run_id)

    gone(lease)

    enter(pair)


def test_a_failure_does_not_cut_short_what_a_host_asked_for(pair):
    enter(pair)
    with make.session(make.WORKER_PRINCIPAL) as s:
        hosts.note_failure(s, at(pair, errors.for_status("h", 429, 90.0)))
        hosts.note_failure(s, at(pair, errors.refused("h", 443)))
        hosts.note_failure(s, at(pair, errors.for_status("h", 503, 5.0)))

    with pytest.raises(PutOffError) as caught:
        enter(pair)
    assert 80 < caught.value.seconds <= 90
    assert caught.value.params["reason"] == "http_429"
