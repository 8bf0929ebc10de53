"""How pages call what a case has."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from flask_babel import gettext

from app.requests import names
from app.requests.models import IntegrationRequest, RequestEvent
from app.requests.states import TERMINAL, Role, Step, path_of


def step_name(step: Step) -> str:
    """Name a step with its number, as the published service counts."""
    number, name = step.number, gettext(names.STEPS[step])
    return name if number is None else f"{number} · {name}"


def roles_named(roles: Iterable[Role]) -> str:
    """Name some roles in a line; a dash for none."""
    return ", ".join(gettext(names.ROLES[role]) for role in roles) or "–"


class Line(NamedTuple):
    """One of the twelve steps on the line: ``place`` is done, here or later."""

    step: Step
    place: str


def line_of(case: IntegrationRequest, events: Sequence[RequestEvent]) -> list[Line]:
    """Return the steps of a case, with the check of the file in front, as it stands.

    ``events`` come newest first: what was refused or withdrawn stands where that was.
    """
    stopped = case.step in TERMINAL and case.step is not Step.CLOSED
    step = events[0].from_step if stopped and events else case.step
    order = list(Step)
    here = order.index(step)
    path = path_of(is_amendment=case.is_amendment)
    return [
        Line(each, "done" if at < here else "here" if at == here else "later")
        for at, each in ((order.index(each), each) for each in path)
    ]
