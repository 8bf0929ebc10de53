"""Two agencies and all roles at one desk: whatever they press, no case goes astray.

A hypothesis state machine over the services and a real database. What a person is shown may
be old by the time they press: digests of earlier proposals, buttons of earlier steps.
"""

import functools

import hypothesis
import pytest
import sqlalchemy as sa
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from app.contracts.models import Contract
from app.core.clock import utc_now
from app.core.errors import RejectedError
from app.core.policy import Principal
from app.datasets.models import Dataset
from app.identity.models import Agency
from app.integrations.services import register
from app.requests import queries, services, writing
from app.requests.documents import DOCUMENTS, STEP_DOCUMENTS
from app.requests.models import DocumentVersion, IntegrationRequest
from app.requests.openings import openings
from app.requests.procedure import Actor, Deed
from app.requests.states import (
    TERMINAL,
    TRANSITIONS,
    Action,
    Reason,
    Role,
    Step,
    led_to,
    path_of,
)
from app.requests.wordings import issued_by
from tests import make
from tests.town import build_on, filled, person, press_of

pytestmark = [pytest.mark.usefixtures("bound"), pytest.mark.timeout(900)]
STEPS_IN_CI, STEPS_LONG = (42, 50), (250, 80)  # examples, steps of each
BUILT_ON = {Step.INTERCHANGE_DOCUMENT, Step.API, Step.CENTRAL_DATABASE}

PEOPLE = (  # roles, and whose: "own" agency, an "other" one, or the office
    (("OPD_OPERATOR",), "own"),
    (("OPD_PIMPINAN",), "own"),
    (("OPD_OPERATOR", "OPD_PIMPINAN"), "other"),
    *(((role,), "office") for role in Role if not role.startswith(("OPD", "PRODUCER"))),
    (("TIM_TEKNIS", "PENGAWAS_DATA"), "office"),
    (("PIMPINAN", "ADMINISTRATOR", "TIM_TEKNIS"), "office"),
    (("AUDITOR",), "office"),
)
SOMEBODY = st.integers(0, len(PEOPLE) - 1)


class Town:
    """People of two agencies and the office, made once: a case belongs to the first."""

    def __init__(self, home) -> None:
        agencies = {
            "own": make.make_agency(), "other": make.make_agency(), "office": None
        }  # fmt: skip
        self.people = [person(*roles, agency=agencies[of]) for roles, of in PEOPLE]
        self.press = press_of(home)
        self.running = _running(agencies["own"])

    def of_case(self, role: str) -> list[Principal]:
        """Return who may act in a role on the case."""
        return [
            who
            for who, (_, of) in zip(self.people, PEOPLE, strict=True)
            if of != "other" and role in who.roles
        ]


def _running(agency: Agency) -> Contract:
    """Return the contract of an integration of an agency that runs already."""
    contract = make.make_contract(agency=agency)
    make.make_source(contract, "http://127.0.0.1:9/")
    with make.session(make.WORKER_PRINCIPAL) as s:
        dataset = s.scalars(
            sa.select(Dataset).where(Dataset.contract_id == contract.id)
        ).one()
        dataset.published_at = utc_now()
    with make.session() as s:
        register(s, s.get_one(Contract, contract.id), utc_now().date(), {})
    return contract


class Desk(RuleBasedStateMachine):
    """One case of the first agency, and everybody's hands."""

    def __init__(self, town: Town) -> None:
        super().__init__()
        self.town = town
        self.digests = ["", "0" * 64]
        self.done: list[tuple[Step, Action, Step]] = []
        self.ident = None

    @initialize(is_amendment=st.booleans())
    def begin(self, is_amendment):
        who, runs = self.town.people[0], self.town.running if is_amendment else None
        with make.session(who) as s:
            self.ident = services.begin(s, "Integrasi", "uji", runs).id

    def case(self) -> IntegrationRequest:
        with make.session() as s:
            return s.get_one(IntegrationRequest, self.ident)

    def is_stranger(self, at: int) -> bool:
        return PEOPLE[at][1] == "other"

    @rule(at=SOMEBODY, which=st.integers(0, 15))
    def write(self, at, which):
        who, case = self.town.people[at], self.case()
        kinds = [k for some in STEP_DOCUMENTS.values() for k in some]
        near = STEP_DOCUMENTS.get(case.step, ()) or kinds
        kind = near[which % len(near)] if which < 12 else kinds[which % len(kinds)]
        try:
            self._write(who, kind)
        except RejectedError:
            return
        assert not self.is_stranger(at)

    @rule(at=SOMEBODY)
    def draft_the_contract(self, at):
        who = self.town.people[at]
        try:
            with make.session(who) as s:
                services.draft_contract(s, queries.get_case(s, self.ident, who))
        except RejectedError:
            return
        assert "TIM_TEKNIS" in who.roles

    @rule(
        at=SOMEBODY,
        action=st.sampled_from([*Action, *[Action.APPROVE] * 6, *[Action.PROPOSE] * 3]),
        role=st.sampled_from([None, *Role]),
        newest=st.booleans(),
        explained=st.booleans(),
    )
    def press(self, at, action, role, newest, explained):
        who, before = self.town.people[at], self.case()
        digest = before.digest if newest else self.digests[-2]
        if action is Action.APPROVE and role is None and before.standing.missing:
            role = before.standing.missing[0]
        why = (Reason.OTHER, "karena") if explained else (None, "")
        try:
            self._act(who, Deed(action, role, digest, *why))
        except RejectedError:
            assert self.case().standing == before.standing
            return
        assert not self.is_stranger(at)
        actor = Actor(who.user_id, frozenset(r for r in Role if r in who.roles))
        allowed = {(o.action, o.role) for o in openings(before.standing, actor)}
        assert (action, role if action is Action.APPROVE else None) in allowed

    @rule(ahead=st.integers(1, 4))
    def go_on(self, ahead):
        """Have the right people bring the case on, so that late steps are reached."""
        for _ in range(ahead):
            case = self.case()
            if case.step in TERMINAL or case.is_held:
                return
            self._bring_on(case)

    def _bring_on(self, case):
        if case.step in BUILT_ON:
            build_on(case, self.town.of_case("TIM_TEKNIS")[0])
        if case.proposer_id is None:
            proposer = self.town.of_case(min(case.asked))[0]
            for kind in STEP_DOCUMENTS[case.step]:
                self._write(proposer, kind)
            is_draft = case.step is Step.DRAFT
            self._act(proposer, Deed(Action.HAND_IN if is_draft else Action.PROPOSE))
        case = self.case()
        for role in case.standing.missing:
            others = [p for p in self.town.of_case(role) if p.user_id != case.proposer_id]
            self._act(others[0], Deed(Action.APPROVE, role, case.digest))

    def _write(self, who, kind):
        with make.session(who) as s:
            case = queries.get_case(s, self.ident, who)
            writing.write_document(s, case, kind, filled(DOCUMENTS[kind]))

    def _act(self, who, deed):
        before = self.case().step
        with make.session(who) as s:
            moved = services.take_action(s, self.ident, deed, self.town.press)
        after = self.case()
        assert after.standing == moved.standing
        self.digests.append(after.digest)
        self.done.append((before, deed.action, after.step))

    @invariant()
    def nothing_is_lost_and_nothing_twice(self):
        if self.ident is None:
            return
        with make.session() as s:
            case = s.get_one(IntegrationRequest, self.ident)
            events = list(reversed(queries.events_of(s, case)))
            issued = queries.papers_of(s, case)
            versions = s.scalars(
                sa.select(DocumentVersion).where(DocumentVersion.case_id == case.id)
            ).all()
        assert [(e.from_step, e.action, e.to_step) for e in events] == self.done
        place = Step.DRAFT
        for event in events:
            assert event.from_step is place
            arrow = TRANSITIONS[event.from_step, event.action]
            assert event.role in arrow.roles
            target = led_to(arrow.target, is_amendment=case.is_amendment)
            assert event.to_step in {target, event.from_step}
            place = event.to_step
        assert case.step is place
        expected = [kind for kind in (issued_by(*one) for one in self.done) if kind]
        assert sorted(p.kind for p in issued) == sorted(expected)
        assert len({p.number for p in issued}) == len(issued)
        assert len({(v.document_id, v.number) for v in versions}) == len(versions)
        handed_in = any(e.action is Action.HAND_IN for e in events)
        assert (case.number != "") == handed_in
        assert (case.ended_at is not None) == (case.step in TERMINAL)
        REACHED.update((case.is_amendment, event.to_step) for event in events)


REACHED: set[tuple[bool, Step]] = set()


def play(bound, examples: int, steps: int) -> None:
    settings = hypothesis.settings(
        max_examples=examples,
        stateful_step_count=steps,
        deadline=None,
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    desk = functools.partial(Desk, Town(bound.home))
    run_state_machine_as_test(desk, settings=settings)


def test_whatever_they_press_no_case_goes_astray(bound):
    play(bound, *STEPS_IN_CI)
    # A machine that reaches little proves little.
    for is_amendment in (False, True):
        way = (*path_of(is_amendment=is_amendment), Step.CLOSED)
        assert {(is_amendment, step) for step in way} <= REACHED


@pytest.mark.long
def test_however_long_they_press(bound):
    play(bound, *STEPS_LONG)
