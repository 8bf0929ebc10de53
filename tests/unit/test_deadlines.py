"""The clock of a case: working days, what each step may take, gross and net, the forecast."""

from datetime import date, timedelta

import pytest
from hypothesis import given, strategies as st

from app.office.calendar import Calendar, months_after
from app.requests.deadlines import (
    Level,
    Moment,
    Plan,
    planned_days,
    read_clock,
    stretches,
)
from app.requests.procedure import Standing
from app.requests.states import DUTIES, Action, Party, Role, Step

EID = frozenset(date(2026, 3, day) for day in (19, 20, 21, 23, 24))
PLAN = Plan((3, 7, 8, 5, 10, 5, 2, 7, 4, 3, 4, 2), 3, Calendar(EID))
days = st.dates(date(2026, 1, 1), date(2027, 12, 31))
A = Action


def test_saturdays_sundays_and_holidays_are_no_working_days():
    calendar = PLAN.calendar
    assert calendar.count(date(2026, 3, 18), date(2026, 3, 25)) == 1
    assert calendar.after(date(2026, 3, 18), 1) == date(2026, 3, 25)
    assert calendar.after(date(2026, 3, 18), 0) == date(2026, 3, 18)
    assert calendar.count(date(2026, 3, 18), date(2026, 3, 1)) == 0


@given(days, st.integers(0, 200), st.frozensets(days, max_size=40))
def test_counting_and_going_on_agree(begin, number, holidays):
    calendar = Calendar(holidays)
    end = calendar.after(begin, number)
    assert calendar.count(begin, end) == number
    assert number == 0 or calendar.is_working(end)


def test_months_end_where_there_is_no_such_day():
    assert months_after(date(2026, 11, 30), 3) == date(2027, 2, 28)
    assert months_after(date(2026, 10, 15), 3) == date(2027, 1, 15)
    assert months_after(date(2027, 11, 30), 3) == date(2028, 2, 29)


def handed_in(on: date, *more: tuple[int, Action, Role, Step]) -> list[Moment]:
    """A case handed in on a day; the others so many days after the one before."""
    found = [Moment(on, A.HAND_IN, Role.OPD_OPERATOR, Step.FILE_CHECK)]
    for later, action, role, step in more:
        found.append(Moment(found[-1].on + timedelta(days=later), action, role, step))
    return found


ACCEPTED = (1, A.APPROVE, Role.TIM_TEKNIS, Step.COORDINATION)
COORDINATED = (
    (1, A.PROPOSE, Role.TIM_TEKNIS, Step.COORDINATION),
    (1, A.APPROVE, Role.PIMPINAN, Step.DATA_DEFINITION),
)
MONDAY = date(2026, 6, 1)


def clock(moments, after_days, plan=PLAN):
    today = moments[-1].on + timedelta(days=after_days)
    return read_clock(stretches(moments, has_producer=False), plan, today)


def test_the_three_months_begin_when_the_file_is_complete():
    before = clock(handed_in(MONDAY), 3)
    assert (before.gross, before.limit, before.forecast is None) == (None, None, False)

    begun = clock(handed_in(MONDAY, ACCEPTED), 6)

    assert (begun.gross, begun.net, begun.limit) == (6, 6, date(2026, 9, 2))
    assert (begun.used, begun.planned, begun.due) == (4, 3, date(2026, 6, 5))
    assert begun.level is Level.LATE


def test_what_the_agency_takes_beyond_its_days_is_not_in_the_net_clock():
    moments = handed_in(MONDAY, ACCEPTED, *COORDINATED)  # definition begins on the 4th
    found = clock(moments, 40)
    due = PLAN.calendar.after(moments[-1].on, 7)
    over = (moments[-1].on + timedelta(days=40) - due).days
    assert found.gross == 42
    assert found.net == 42 - over
    assert found.waits[Party.AGENCY] == 40


def test_a_case_that_rests_has_a_net_clock_that_stands():
    held = (2, A.HOLD, Role.PIMPINAN, Step.COORDINATION)
    resumed = (30, A.RESUME, Role.PIMPINAN, Step.COORDINATION)
    found = clock(handed_in(MONDAY, ACCEPTED, held, resumed), 1)
    assert (found.gross, found.net) == (33, 3)


def test_rounds_have_days_of_their_own():
    assert planned_days(Standing(Step.SCENARIO), PLAN) == 8
    assert planned_days(Standing(Step.SCENARIO, loops=(1, 0)), PLAN) == 3
    assert planned_days(Standing(Step.API, loops=(0, 1)), PLAN) == 4
    assert planned_days(Standing(Step.REPORT, loops=(0, 1)), PLAN) == 2
    again = [
        *handed_in(MONDAY, ACCEPTED, *COORDINATED),
        Moment(date(2026, 6, 10), A.PROPOSE, Role.OPD_OPERATOR, Step.DATA_DEFINITION),
        Moment(date(2026, 6, 11), A.APPROVE, Role.OPD_PIMPINAN, Step.SCENARIO),
        Moment(date(2026, 6, 15), A.PROPOSE, Role.TIM_TEKNIS, Step.SCENARIO),
        Moment(date(2026, 6, 16), A.DISAGREE, Role.OPD_PIMPINAN, Step.DATA_DEFINITION),
    ]
    found = clock(again, 1)
    assert (found.planned, found.used) == (3, 1)


def test_the_forecast_moves_with_what_is_late():
    on_time = clock(handed_in(MONDAY, ACCEPTED), 1)
    late = clock(handed_in(MONDAY, ACCEPTED), 31)
    assert on_time.forecast == PLAN.calendar.after(date(2026, 6, 5), 57)
    assert not on_time.is_endangered
    assert late.forecast == PLAN.calendar.after(date(2026, 7, 3), 57)
    assert late.is_endangered


@pytest.mark.parametrize(
    ("used", "level"),
    [(2, Level.CALM), (7, Level.SOON), (9, Level.NEAR), (11, Level.LATE)],
)
def test_a_step_warns_before_it_is_late(used, level):
    plan = PLAN._replace(step_days=(10,) * 12, calendar=Calendar())
    moments = handed_in(MONDAY, ACCEPTED)
    today = plan.calendar.after(moments[-1].on, used)
    found = read_clock(stretches(moments, has_producer=False), plan, today)
    assert found.level is level


def test_a_closed_case_has_a_clock_that_stands():
    closed = (5, A.REFUSE, Role.PIMPINAN, Step.REFUSED)
    found = clock(handed_in(MONDAY, ACCEPTED, closed), 200)
    assert (found.gross, found.due, found.level) == (5, None, Level.CALM)
    assert found.forecast == MONDAY + timedelta(days=6)


@given(
    st.lists(st.tuples(st.integers(0, 20), st.sampled_from(list(DUTIES))), max_size=12)
)
def test_net_is_never_more_than_gross_nor_less_than_nothing(steps):
    moments = handed_in(MONDAY, ACCEPTED)
    for later, step in steps:
        moments.append(
            Moment(
                moments[-1].on + timedelta(days=later), A.APPROVE, Role.TIM_TEKNIS, step
            )
        )
    found = clock(moments, 10)
    if found.gross is not None:
        assert 0 <= found.net <= found.gross
        assert (
            sum(found.waits.values())
            == (moments[-1].on + timedelta(days=10) - MONDAY).days
        )
