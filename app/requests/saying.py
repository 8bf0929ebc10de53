"""How pages call what a case has."""

from collections.abc import Iterable

from flask_babel import gettext

from app.requests import names
from app.requests.states import Role, Step


def step_name(step: Step) -> str:
    """Name a step with its number, as the published service counts."""
    number, name = step.number, gettext(names.STEPS[step])
    return name if number is None else f"{number} · {name}"


def roles_named(roles: Iterable[Role]) -> str:
    """Name some roles in a line; a dash for none."""
    return ", ".join(gettext(names.ROLES[role]) for role in roles) or "–"
