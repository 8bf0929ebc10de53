"""What a person may do in a case now: pure, so that a page shows what the procedure will take."""

from typing import NamedTuple

from app.requests.procedure import Actor, Standing
from app.requests.states import (
    AGENCIES,
    DECISIONS,
    HEADS,
    OPD,
    PROPOSALS,
    TRANSITIONS,
    Action,
    Party,
    Role,
    actions_open_to,
)

OFFICE = frozenset(Role) - AGENCIES


class Opening(NamedTuple):
    """One deed that somebody may do now; ``role`` is what they approve as."""

    action: Action
    role: Role | None = None
    needs_reason: bool = False


def openings(case: Standing, actor: Actor) -> list[Opening]:
    """Return the deeds that a person may do, in the order of the procedure.

    Whatever is not among them the procedure refuses, and it takes what is.
    """
    found: list[Opening] = []
    for action in actions_open_to(case.step, actor.roles | _in_place_of(actor)):
        if not _is_due(case, action):
            continue
        arrow = TRANSITIONS[case.step, action]
        if action is Action.APPROVE:
            found += _approvals(case, actor)
        elif arrow.roles & actor.roles:
            found.append(Opening(action, None, arrow.needs_reason))
    return found


def _is_due(case: Standing, action: Action) -> bool:
    if case.is_held or action is Action.RESUME:
        return case.is_held and action is Action.RESUME
    if action in PROPOSALS:
        return case.proposal is None
    return case.proposal is not None or action not in DECISIONS


def _in_place_of(actor: Actor) -> frozenset[Role]:
    """Return the roles in whose place a person may approve as their side's head."""
    sides = ((Party.AGENCY, OPD), (Party.OFFICE, OFFICE))
    return frozenset(
        role for party, roles in sides if HEADS[party] in actor.roles for role in roles
    )


def _approvals(case: Standing, actor: Actor) -> list[Opening]:
    if case.proposal is None:
        return []
    is_own = case.proposal.person == actor.person
    in_place_of = _in_place_of(actor)
    return [
        Opening(Action.APPROVE, role, alone)
        for role in case.missing
        if not (alone := role not in actor.roles or is_own) or role in in_place_of
    ]
