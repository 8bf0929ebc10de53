"""The clock of a case: what each step may take, what it took, and when it is going to end.

All of it is worked out of the events each time it is asked for, so that a changed calendar
or plan counts at once. Days are those of the office's wall clock.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date
from enum import StrEnum
from typing import NamedTuple
from uuid import UUID

from app.office.calendar import Calendar, months_after
from app.requests.procedure import Proposal, Standing, followed
from app.requests.states import DUTIES, TERMINAL, Action, Party, Role, Step, path_of

FILE_CHECK_DAYS = 2  # before the three months begin
LOOP_A_DAYS = 3  # of each step that is gone through again after a disagreement
# Of the steps that are gone through again after the dashboard did not fit.
LOOP_B_DAYS = {
    Step.SCENARIO: 3, Step.INTERCHANGE_DOCUMENT: 2, Step.API: 4, Step.CENTRAL_DATABASE: 2,
    Step.RESULT_DELIVERY: 1, Step.AGENCY_CHECK: 3, Step.FINAL_DATA: 2,
    Step.RESULT_DOCUMENT: 1, Step.DASHBOARD: 1,
}  # fmt: skip
_SOMETHING = Proposal(UUID(int=0), "")


class Level(StrEnum):
    """How far the time of a step is used up."""

    CALM = "calm"
    SOON = "soon"  # 70 %
    NEAR = "near"  # 90 %
    LATE = "late"  # more than was planned


class Plan(NamedTuple):
    """What the office plans: working days of the twelve steps, months of the whole."""

    step_days: Sequence[int]
    months: int
    calendar: Calendar


class Moment(NamedTuple):
    """One event as the clock needs it; ``on`` is the day on the office's wall clock."""

    on: date
    action: Action
    role: Role
    to_step: Step


@dataclass(frozen=True, slots=True)
class Stretch:
    """Days during which one thing was waited for; ``end`` is None while it still is."""

    standing: Standing
    begin: date
    end: date | None


@dataclass(frozen=True, slots=True)
class Clock:
    """The clock of one case, on one day.

    ``gross`` counts calendar days since the file was complete, ``net`` leaves out those that
    were waited for the agency beyond the plan, or rested. ``limit`` is when the months are
    over, ``forecast`` when the case ends if every step from here keeps to its plan. ``used``
    and ``planned`` are working days of the step, ``due`` is its last day. ``waits`` counts
    the calendar days by who was waited for.
    """

    gross: int | None
    net: int | None
    limit: date | None
    forecast: date | None
    due: date | None
    used: int
    planned: int
    waits: dict[Party, int]

    @property
    def level(self) -> Level:
        if self.due is None:
            return Level.CALM
        if self.used > self.planned:
            return Level.LATE
        share = self.used / self.planned if self.planned else 0.0
        return Level.NEAR if share >= 0.9 else Level.SOON if share >= 0.7 else Level.CALM

    @property
    def is_endangered(self) -> bool:
        """Whether the whole will take longer than was promised, as it looks now."""
        if self.limit is None or self.forecast is None:
            return False
        return self.forecast > self.limit


def stretches(
    moments: Sequence[Moment], *, has_producer: bool, is_amendment: bool = False
) -> list[Stretch]:
    """Return what a case waited for, from its being handed in until now, in order of time."""
    found: list[Stretch] = []
    standing = Standing(has_producer=has_producer, is_amendment=is_amendment)
    for moment in moments:
        if found:
            found[-1] = replace(found[-1], end=moment.on)
        # Who proposed it and what does not count here: only that something waits.
        standing = followed(
            standing, moment.action, moment.role, moment.to_step, _SOMETHING
        )
        found.append(Stretch(standing, moment.on, None))
    return found


def planned_days(standing: Standing, plan: Plan) -> int:
    """Return the working days that a step may take in this round of a case."""
    step = standing.step
    number = step.number
    if number is None:
        return 0
    if number == 0:
        return FILE_CHECK_DAYS
    a, b = standing.loops
    if b and step in LOOP_B_DAYS:
        return LOOP_B_DAYS[step]
    if a and step in {Step.DATA_DEFINITION, Step.SCENARIO}:
        return LOOP_A_DAYS
    return plan.step_days[number - 1]


def read_clock(found: Sequence[Stretch], plan: Plan, today: date) -> Clock:
    """Return the clock of a case that went through these stretches, as of a day."""
    if not found:
        return Clock(None, None, None, None, None, 0, 0, {})
    now = found[-1].standing
    ended = found[-1].begin if now.step in TERMINAL else None
    last_day = ended or today
    accepted = _accepted(found)
    gross = (last_day - accepted).days if accepted else None
    net = (
        gross - _paused(found, plan, accepted, last_day)
        if accepted and gross is not None
        else None
    )
    limit = months_after(accepted, plan.months) if accepted else None
    begin = _step_begin(found)
    planned = planned_days(now, plan)
    used = plan.calendar.count(begin, today) if now.step in DUTIES else 0
    due = plan.calendar.after(begin, planned) if now.step in DUTIES else None
    return Clock(
        gross, net, limit, ended or _forecast(now, due, plan, today), due, used, planned,
        _waits(found, last_day),
    )  # fmt: skip


def _accepted(found: Sequence[Stretch]) -> date | None:
    """Return when the file was complete: the last time that the case came out of the check."""
    accepted = None
    for stretch in found:
        number = stretch.standing.step.number
        if stretch.standing.step is Step.DRAFT:
            accepted = None
        elif number and accepted is None:
            accepted = stretch.begin
    return accepted


def _step_begin(found: Sequence[Stretch]) -> date:
    begin, step, loops = (
        found[-1].begin,
        found[-1].standing.step,
        found[-1].standing.loops,
    )
    for stretch in reversed(found):
        if (stretch.standing.step, stretch.standing.loops) != (step, loops):
            break
        begin = stretch.begin
    return begin


def _paused(found: Sequence[Stretch], plan: Plan, accepted: date, last_day: date) -> int:
    """Return the calendar days that the net clock leaves out.

    While a case rests, and what the agency took of a step beyond its planned working days.
    """
    paused = 0
    agency: dict[tuple[Step, tuple[int, int]], date] = {}
    for stretch in found:
        if stretch.begin < accepted:
            continue
        end, standing = stretch.end or last_day, stretch.standing
        if standing.is_held:
            paused += (end - stretch.begin).days
        elif standing.ball is Party.AGENCY:
            round_ = (standing.step, standing.loops)
            since = agency.setdefault(round_, stretch.begin)
            due = plan.calendar.after(since, planned_days(standing, plan))
            paused += max((end - max(due, stretch.begin)).days, 0)
    return paused


def _forecast(now: Standing, due: date | None, plan: Plan, today: date) -> date | None:
    if due is None:
        return None
    order = path_of(is_amendment=now.is_amendment)
    rest = order[order.index(now.step) + 1 :]
    days = sum(planned_days(now.at(step), plan) for step in rest)
    return plan.calendar.after(max(due, today), days)


def _waits(found: Sequence[Stretch], last_day: date) -> dict[Party, int]:
    waits = dict.fromkeys(Party, 0)
    for stretch in found:
        waits[stretch.standing.ball] += ((stretch.end or last_day) - stretch.begin).days
    return waits
