"""Schedules: slots on the office's clock, one run for each, none piled up."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise, product
from zoneinfo import ZoneInfo

import pytest
import sqlalchemy as sa

from app.audit.models import AuditEvent
from app.core import db
from app.core.policy import DISPATCHER, acting_as
from app.runs import sweeps
from app.runs.errors import BadScheduleError
from app.runs.models import JobRun, Schedule
from app.runs.services import (
    coming_slots,
    next_slot,
    next_slots,
    save_schedule,
    set_days,
)
from app.runs.states import MissedPolicy, RunStatus
from tests import make

WIB = "Asia/Jakarta"


def at(*parts):
    return datetime(*parts, tzinfo=UTC)


@pytest.mark.parametrize(
    ("cron", "after", "slot"),
    [
        ("0 2 * * *", at(2026, 11, 23, 0), at(2026, 11, 23, 19)),  # two at night in WIB
        ("0 2 * * *", at(2026, 11, 23, 19), at(2026, 11, 24, 19)),  # strictly later
        ("0 2 * * *", at(2026, 11, 23, 18, 59, 59), at(2026, 11, 23, 19)),
        ("0 2 1 * *", at(2026, 11, 30, 18), at(2026, 11, 30, 19)),  # the 1st in WIB
        ("0 2 1 * *", at(2026, 11, 30, 19), at(2026, 12, 31, 19)),
        ("30 23 31 * *", at(2026, 2, 1), at(2026, 3, 31, 16, 30)),  # no 31st of February
        ("0 0 29 2 *", at(2026, 1, 1), at(2028, 2, 28, 17)),
        ("0 6 * * 1", at(2026, 11, 22, 23, 30), at(2026, 11, 29, 23)),  # Mondays
        ("*/15 * * * *", at(2026, 12, 31, 16, 59), at(2026, 12, 31, 17)),  # over the year
    ],
)
def test_next_slot_in_wib(cron, after, slot):
    assert next_slot(cron, WIB, after) == slot


def test_five_slots_over_the_end_of_a_month():
    slots = next_slots("0 1 * * *", WIB, at(2026, 2, 26), 5)
    assert [s.astimezone(UTC).day for s in slots] == [26, 27, 28, 1, 2]


@pytest.mark.parametrize(
    "cron", ["", "x", "* * * *", "61 * * * *", "0 0 31 2 *", "* * * * * *", "@daily"]
)
def test_bad_lines_are_refused(cron):
    with pytest.raises(BadScheduleError):
        next_slot(cron, WIB, at(2026, 1, 1))


def test_an_unknown_time_zone_is_refused():
    with pytest.raises(BadScheduleError):
        next_slot("0 2 * * *", "Asia/Pekanbaru", at(2026, 1, 1))


def make_schedule(cron="0 2 * * *", due_ago=timedelta(minutes=1), **values):
    with make.session() as s:
        schedule = Schedule(
            **{
                "name": make.word(),
                "kind": "housekeeping",
                "key": make.word("k"),
                "params": {},
                "cron": cron,
                "time_zone": WIB,
                "next_due_at": db.now(s) - due_ago,
            }
            | values
        )
        s.add(schedule)
    return schedule


def open_slots():
    with acting_as(DISPATCHER), db.unit_of_work() as session:
        return sweeps.open_due_slots(session)


def runs_of(schedule):
    with make.session() as s:
        return s.scalars(
            sa.select(JobRun)
            .where(JobRun.schedule_id == schedule.id)
            .order_by(JobRun.due_at)
        ).all()


def make_due_again(schedule, due_at):
    with make.session() as s:
        s.get_one(Schedule, schedule.id).next_due_at = due_at


pytestmark = pytest.mark.usefixtures("bound")


def test_a_due_slot_becomes_one_run_however_often_one_looks():
    schedule = make_schedule()
    for _ in range(3):
        open_slots()
    [run] = runs_of(schedule)
    assert run.status is RunStatus.QUEUED
    make_due_again(schedule, run.due_at)  # a clock put back, a restored row
    open_slots()
    assert [r.id for r in runs_of(schedule)] == [run.id]


def test_missed_slots_become_one_run_for_the_latest():
    schedule = make_schedule("* * * * *", timedelta(hours=5))
    open_slots()
    [run] = runs_of(schedule)
    with make.session() as s:
        assert db.now(s) - run.due_at < timedelta(minutes=1, seconds=5)
        assert s.get_one(Schedule, schedule.id).next_due_at > run.due_at


def test_a_slot_is_left_out_while_the_run_before_it_works():
    schedule = make_schedule("* * * * *", timedelta(hours=1))
    open_slots()
    [first] = runs_of(schedule)
    make.claim(first.id)
    make_due_again(schedule, first.due_at - timedelta(minutes=1))
    with make.session() as s:  # the slot of another minute
        s.get_one(JobRun, first.id).due_at = first.due_at - timedelta(minutes=5)
    open_slots()
    one, two = runs_of(schedule)
    assert (one.status, two.status) == (RunStatus.RUNNING, RunStatus.SKIPPED)
    assert two.error_code == "overlap"
    assert two.finished_at is not None


def test_what_is_switched_off_is_never_due():
    schedule = make_schedule(enabled=False)
    open_slots()
    assert runs_of(schedule) == []


@pytest.mark.parametrize(
    "values",
    [
        {"kind": "dari_masa_depan"},
        {"params": {"apa": 1}},
        {"cron": "rusak"},
        {"time_zone": "Tak/Ada"},
    ],
)
def test_a_broken_schedule_is_switched_off_and_stops_nobody(values):
    broken, sound = make_schedule(**values), make_schedule()
    open_slots()
    assert len(runs_of(sound)) == 1
    assert runs_of(broken) == []
    with make.session() as s:
        assert not s.get_one(Schedule, broken.id).enabled
        event = s.scalars(
            sa.select(AuditEvent).where(
                AuditEvent.object_id == str(broken.id), AuditEvent.action == "update"
            )
        ).one()
    assert event.after == {"enabled": False}
    assert event.reason


def test_saving_sets_the_next_slot_and_checks_the_line():
    schedule = make_schedule()
    with make.session() as s:
        kept = s.get_one(Schedule, schedule.id)
        kept.cron = "0 2 * * *"
        save_schedule(s, kept)
        assert kept.next_due_at > db.now(s)
        assert kept.next_due_at.astimezone(UTC).hour == 19
        kept.cron = "rusak"
        with pytest.raises(BadScheduleError):
            save_schedule(s, kept)
        s.rollback()


def finish(run_id):
    lease = make.claim(run_id)
    with make.session(make.WORKER_PRINCIPAL) as s:
        lease.succeed(s, {})


def test_missed_slots_are_made_up_for_one_after_the_other():
    schedule = make_schedule(
        "* * * * *", timedelta(minutes=3), missed=MissedPolicy.CATCH_UP
    )
    open_slots()
    open_slots()  # while one is at work no other begins
    for n in (1, 2, 3):
        runs = runs_of(schedule)
        assert [r.status for r in runs] == [RunStatus.SUCCEEDED] * (n - 1) + [
            RunStatus.QUEUED
        ]
        finish(runs[-1].id)
        open_slots()
    slots = [r.due_at for r in runs_of(schedule)]
    assert all(later - one == timedelta(minutes=1) for one, later in pairwise(slots[1:]))
    assert RunStatus.SKIPPED not in {r.status for r in runs_of(schedule)}


def test_missed_slots_are_left_out_and_that_is_noted():
    late = make_schedule("0 2 1 1 *", timedelta(days=3), missed=MissedPolicy.SKIP)
    due = make_schedule("* * * * *", timedelta(seconds=30), missed=MissedPolicy.SKIP)
    open_slots()
    [left_out] = runs_of(late)
    assert (left_out.status, left_out.error_code) == (RunStatus.SKIPPED, "missed")
    [opened] = runs_of(due)
    assert opened.status is RunStatus.QUEUED
    with make.session() as s:
        assert s.get_one(Schedule, late.id).next_due_at > db.now(s)


@pytest.mark.parametrize("missed", list(MissedPolicy))
def test_after_its_last_day_a_schedule_rests(missed):
    with make.session() as s:
        until = db.now(s) - timedelta(seconds=20)
    schedule = make_schedule(
        "* * * * *", timedelta(minutes=2), missed=missed, until=until
    )
    for _ in range(5):
        open_slots()
        for run in runs_of(schedule):
            if run.status is RunStatus.QUEUED:
                finish(run.id)
    assert all(run.due_at <= until for run in runs_of(schedule))
    assert runs_of(schedule)
    with make.session() as s:
        assert not s.get_one(Schedule, schedule.id).enabled


def test_a_schedule_that_would_never_be_due_is_refused():
    schedule = make_schedule()
    with make.session() as s:
        kept = s.get_one(Schedule, schedule.id)
        today = db.now(s).astimezone(ZoneInfo(WIB)).date()
        set_days(kept, MissedPolicy.SKIP, today - timedelta(days=2))
        with pytest.raises(BadScheduleError):
            save_schedule(s, kept)
        set_days(kept, MissedPolicy.SKIP, today + timedelta(days=2))
        save_schedule(s, kept)
        assert len(coming_slots(kept, db.now(s))) in {2, 3}


def all_slots(cron, first, end):
    """Every slot from ``first`` to ``end``, counted without the sweeps; [] with none."""
    slots, slot = [], first
    while slot <= end:
        slots.append(slot)
        slot = next_slot(cron, WIB, slot)
    return slots


CRONS = ["0 2 * * *", "0 0 29 2 *", "59 23 31 12 *", "0 0 1 1 *"]
# Each of 800 nights one by one takes half a minute.
ALL_NIGHTS = (MissedPolicy.CATCH_UP, 800, "0 2 * * *")


@pytest.mark.parametrize(
    ("missed", "days", "cron"),
    [
        pytest.param(*way, marks=pytest.mark.long if way == ALL_NIGHTS else ())
        for way in product(MissedPolicy, [0.3, 1, 20, 800], CRONS)
    ],
)
@pytest.mark.parametrize("ends_before", [None, timedelta(hours=11), timedelta(days=9)])
def test_missed_slots_over_leap_days_and_years_as_a_plain_model_has_them(
    missed, days, cron, ends_before, caplog
):
    with make.session() as s:
        now = db.now(s)
    first = next_slot(cron, WIB, now - timedelta(days=days))
    until = now - ends_before if ends_before else None
    schedule = make_schedule(cron, next_due_at=first, until=until, missed=missed)
    due = all_slots(cron, first, until or now)
    for _ in range(len(due) + 2 if missed is MissedPolicy.CATCH_UP else 2):
        open_slots()
        for run in runs_of(schedule):
            if run.status is RunStatus.QUEUED:
                finish(run.id)
    runs = runs_of(schedule)

    ran = [run.due_at for run in runs if run.status is RunStatus.SUCCEEDED]
    left = [run.due_at for run in runs if run.status is RunStatus.SKIPPED]
    is_late = bool(due) and now - due[-1] > sweeps.ON_TIME
    expected = {
        MissedPolicy.CATCH_UP: (due, []),
        MissedPolicy.COALESCE: (due[-1:], []),
        MissedPolicy.SKIP: ([], due[-1:]) if is_late else (due[-1:], []),
    }
    assert (ran, left) == expected[missed]
    assert len(runs) == len(ran) + len(left)
    with make.session() as s:
        after = s.get_one(Schedule, schedule.id)
    came = first <= now
    # An end that was asked for is noted, and alarms nobody.
    assert after.enabled is not (came and until is not None)
    assert [r for r in caplog.records if r.levelname == "ERROR"] == []
    behind = due[-1:] if missed is MissedPolicy.CATCH_UP else [now]
    assert after.next_due_at == (next_slot(cron, WIB, behind[0]) if due else first)
