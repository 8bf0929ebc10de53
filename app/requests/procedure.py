"""How a case moves: pure, so that every combination of people can be tried.

``move`` takes a case as it stands and what somebody does, and returns the case as it stands
then with the event that happened, or refuses by a named error. The service around it locks
the row and writes both.
"""

from dataclasses import dataclass, replace
from typing import NamedTuple
from uuid import UUID

from app.requests.errors import (
    ApprovedAlreadyError,
    NoReasonError,
    NoSuchActionError,
    NothingProposedError,
    NotOnHoldError,
    NotYourMoveError,
    OnHoldError,
    OwnWorkError,
    ProposalChangedError,
    ProposedAlreadyError,
)
from app.requests.states import (
    AGENCIES,
    CONSENT_STEPS,
    DECISIONS,
    DUTIES,
    HEADS,
    OPD,
    PROPOSALS,
    TERMINAL,
    TRANSITIONS,
    Action,
    Party,
    Reason,
    Role,
    Step,
    led_to,
)


class Actor(NamedTuple):
    """Who acts, and what they may act as in this case: an agency's roles only in its own."""

    person: UUID
    roles: frozenset[Role]


class Proposal(NamedTuple):
    """What waits for approval: who proposed it, and the digest of what they proposed."""

    person: UUID
    digest: str


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a case stands. ``loops`` counts the returns by loop A and by loop B.

    ``has_producer``: the data is another agency's than the applicant's. ``is_amendment``: a
    small change of what runs already.
    """

    step: Step = Step.DRAFT
    is_held: bool = False
    proposal: Proposal | None = None
    approved: frozenset[Role] = frozenset()
    loops: tuple[int, int] = (0, 0)
    has_producer: bool = False
    is_amendment: bool = False

    @property
    def needed(self) -> tuple[Role, ...]:
        """The approvals that the step needs in this case."""
        duty = DUTIES.get(self.step)
        if duty is None:
            return ()
        consents = self.has_producer and self.step in CONSENT_STEPS
        return (*duty.approved_by, *((Role.PRODUCER,) if consents else ()))

    @property
    def missing(self) -> tuple[Role, ...]:
        """The approvals that the step still needs."""
        return tuple(role for role in self.needed if role not in self.approved)

    def at(self, step: Step) -> "Standing":
        """Return the case at the beginning of a step."""
        return Standing(
            step,
            loops=self.loops,
            has_producer=self.has_producer,
            is_amendment=self.is_amendment,
        )

    @property
    def asked(self) -> frozenset[Role]:
        """The roles whose move it is."""
        if self.step in TERMINAL:
            return frozenset()
        if self.is_held:
            return TRANSITIONS[self.step, Action.RESUME].roles
        if self.step is Step.DRAFT:
            return OPD
        return frozenset(self.missing) if self.proposal else DUTIES[self.step].proposed_by

    @property
    def ball(self) -> Party:
        """Whose move it is: of several, the office's counts."""
        if not self.asked:
            return Party.NOBODY
        return Party.AGENCY if self.asked <= AGENCIES else Party.OFFICE


@dataclass(frozen=True, slots=True)
class Deed:
    """What somebody does.

    ``role``: what they approve as. ``digest``: of what is proposed, or was seen when it is
    approved. ``reason`` and ``note`` where the arrow asks for them, and for who acts alone.
    """

    action: Action
    role: Role | None = None
    digest: str = ""
    reason: Reason | None = None
    note: str = ""

    @property
    def is_explained(self) -> bool:
        return self.reason is not None and bool(self.note.strip())


class Moved(NamedTuple):
    """The case after a deed. ``alone``: a head approved by themselves, for review."""

    standing: Standing
    role: Role
    alone: bool = False


def move(case: Standing, deed: Deed, actor: Actor) -> Moved:
    """Return the case after a deed; raises one of the errors of ``app.requests.errors``."""
    arrow = TRANSITIONS.get((case.step, deed.action))
    if arrow is None:
        raise NoSuchActionError
    if case.is_held and deed.action is not Action.RESUME:
        raise OnHoldError
    if arrow.needs_reason and not deed.is_explained:
        raise NoReasonError
    if deed.action is Action.APPROVE:
        return _approved(case, deed, actor)
    mine = [role for role in Role if role in actor.roles & arrow.roles]
    if not mine:
        raise NotYourMoveError
    target = led_to(arrow.target, is_amendment=case.is_amendment)
    return Moved(_after(case, deed, actor, target), mine[0])


def _after(case: Standing, deed: Deed, actor: Actor, target: Step) -> Standing:
    if deed.action in PROPOSALS and case.proposal is not None:
        raise ProposedAlreadyError
    if deed.action in DECISIONS and case.proposal is None:
        raise NothingProposedError
    if deed.action is Action.RESUME and not case.is_held:
        raise NotOnHoldError
    proposal = Proposal(actor.person, deed.digest)
    return followed(case, deed.action, None, target, proposal)


def followed(
    case: Standing, action: Action, role: Role | None, target: Step, proposal: Proposal
) -> Standing:
    """Return a case after a deed that was found right, now or when it was recorded.

    ``role`` is what was approved as, ``target`` where it led; ``proposal`` is what stands
    there afterwards, if the deed proposes.
    """
    if action in PROPOSALS:
        return replace(case, step=target, proposal=proposal, approved=frozenset())
    if action in {Action.HOLD, Action.RESUME}:
        return replace(case, is_held=action is Action.HOLD)
    if action is Action.APPROVE and target is case.step and role is not None:
        return replace(case, approved=case.approved | {role})
    a, b = case.loops
    loops = (a + (action is Action.DISAGREE), b + (action is Action.NOT_FIT))
    return replace(case.at(target), loops=loops)


def _approved(case: Standing, deed: Deed, actor: Actor) -> Moved:
    """Give one approval; the last one that a step needs leads to the next step."""
    if case.proposal is None:
        raise NothingProposedError
    if deed.digest != case.proposal.digest:
        raise ProposalChangedError
    if deed.role is None or deed.role not in case.needed:
        raise NotYourMoveError
    if deed.role in case.approved:
        raise ApprovedAlreadyError
    alone = _is_alone(deed, deed.role, case.proposal, actor)
    is_last = case.missing == (deed.role,)
    target = case.step
    if is_last:
        arrow = TRANSITIONS[case.step, Action.APPROVE]
        target = led_to(arrow.target, is_amendment=case.is_amendment)
    after = followed(case, deed.action, deed.role, target, case.proposal)
    return Moved(after, deed.role, alone)


def _is_alone(deed: Deed, role: Role, proposal: Proposal, actor: Actor) -> bool:
    """Tell whether a head approves in another's place or what they proposed themselves."""
    # Nobody stands in for the agency whose data it is: its head is of another agency.
    head = role
    if role is not Role.PRODUCER:
        head = HEADS[Party.AGENCY if role in OPD else Party.OFFICE]
    if not actor.roles & {role, head}:
        raise NotYourMoveError
    alone = role not in actor.roles or actor.person == proposal.person
    if alone and head not in actor.roles:
        raise OwnWorkError
    if alone and not deed.is_explained:
        raise NoReasonError
    return alone
