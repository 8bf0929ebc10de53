"""Two agencies and all roles at one desk: whatever they press, no case goes astray.

A hypothesis state machine over the services and a real database. What a person is shown may
be old by the time they press: digests of earlier proposals, buttons of earlier steps.
"""

import hypothesis
import pytest
import sqlalchemy as sa
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    rule,
    run_state_machine_as_test,
)

from app.core.errors import RejectedError
from app.requests import papers, queries, services
from app.requests.documents import DOCUMENTS, STEP_DOCUMENTS
from app.requests.models import (
    DocumentVersion,
    IntegrationRequest,
    IssuedPaper,
    RequestEvent,
)
from app.requests.openings import openings
from app.requests.procedure import Actor, Deed, Standing
from app.requests.states import DUTIES, TERMINAL, TRANSITIONS, Action, Reason, Role, Step
from app.requests.wordings import issued_by
from app.web import i18n
from tests import make
from tests.slices.test_cases import filled, person

pytestmark = [pytest.mark.usefixtures("bound"), pytest.mark.timeout(900)]
STEPS_IN_CI, STEPS_LONG = (42, 50), (250, 80)  # examples, steps of each


class Town:
    """People of two agencies and the office, made once: a case belongs to the first."""

    def __init__(self, home) -> None:
        self.own, self.other = make.make_agency(), make.make_agency()
        self.people = [
            person("OPD_OPERATOR", agency=self.own),
            person("OPD_PIMPINAN", agency=self.own),
            person("OPD_OPERATOR", "OPD_PIMPINAN", agency=self.other),
            *(
                person(role)
                for role in Role
                if not role.startswith("OPD") and role != "PRODUCER"
            ),
            person("TIM_TEKNIS", "PENGAWAS_DATA"),
            person("PIMPINAN", "ADMINISTRATOR", "TIM_TEKNIS"),
            person("AUDITOR"),
        ]
        self.strangers = {self.people[2].user_id}
        self.press = papers.Press(
            home, "Asia/Jakarta", "https://simpul.test", "Kantor", i18n.compiled(home)
        )


def machine_of(town: Town) -> type[RuleBasedStateMachine]:  # noqa: C901 - one class of rules
    who = st.sampled_from(town.people)

    class Desk(RuleBasedStateMachine):
        def __init__(self) -> None:
            super().__init__()
            self.digests = ["", "0" * 64]
            with make.session(town.people[0]) as s:
                self.ident = services.begin(s, "Integrasi", "uji").id
            self.done: list[tuple[Step, Action, Step]] = []

        def case(self) -> IntegrationRequest:
            with make.session() as s:
                return s.get_one(IntegrationRequest, self.ident)

        @rule(who=who, at=st.integers(0, 15))
        def write(self, who, at):
            case = self.case()
            kinds = [k for some in STEP_DOCUMENTS.values() for k in some]
            near = STEP_DOCUMENTS.get(case.step, ()) or kinds
            kind = near[at % len(near)] if at < 12 else kinds[at % len(kinds)]
            try:
                with make.session(who) as s:
                    case = queries.get_case(s, self.ident, who)
                    services.write_document(s, case, kind, filled(DOCUMENTS[kind]))
            except RejectedError:
                return
            assert who.user_id not in town.strangers

        @rule(who=who)
        def build(self, who):
            try:
                with make.session(who) as s:
                    case = queries.get_case(s, self.ident, who)
                    services.draft_contract(s, case)
            except RejectedError:
                return
            assert "TIM_TEKNIS" in who.roles

        @rule(
            who=who,
            action=st.sampled_from(
                [*Action, *[Action.APPROVE] * 6, *[Action.PROPOSE] * 3]
            ),
            role=st.sampled_from([None, *Role]),
            newest=st.booleans(),
            explained=st.booleans(),
        )
        def press(self, who, action, role, newest, explained):
            before = self.case()
            digest = before.digest if newest else self.digests[-2]
            if action is Action.APPROVE and role is None and before.standing.missing:
                role = before.standing.missing[0]
            why = (Reason.OTHER, "karena") if explained else (None, "")
            deed = Deed(action, role, digest, *why)
            try:
                with make.session(who) as s:
                    moved = services.take_action(s, self.ident, deed, town.press)
            except RejectedError:
                assert self.case().standing == before.standing
                return
            assert who.user_id not in town.strangers
            actor = Actor(who.user_id, frozenset(r for r in Role if r in who.roles))
            allowed = {(o.action, o.role) for o in openings(before.standing, actor)}
            assert (action, role if action is Action.APPROVE else None) in allowed
            after = self.case()
            assert after.standing == moved.standing
            self.digests.append(after.digest)
            self.done.append((before.step, action, after.step))

        @rule(ahead=st.integers(1, 3))
        def go_on(self, ahead):
            """Have the right people bring the case on, so that late steps are reached."""
            for _ in range(ahead):
                case = self.case()
                if case.step in TERMINAL or case.is_held or case.step in DEEP:
                    return
                self._bring_on(case)

        def _bring_on(self, case):
            if case.step is Step.INTERCHANGE_DOCUMENT and case.contract_id is None:
                with make.session(town.people[-2]) as s:
                    services.draft_contract(
                        s, queries.get_case(s, self.ident, town.people[-2])
                    )
            if case.proposer_id is None:
                proposer = next(
                    p for p in town.people[:-1]
                    if set(case.asked) & p.roles and p.user_id not in town.strangers
                )  # fmt: skip
                for kind in STEP_DOCUMENTS[case.step]:
                    with make.session(proposer) as s:
                        there = queries.get_case(s, self.ident, proposer)
                        services.write_document(s, there, kind, filled(DOCUMENTS[kind]))
                action = Action.HAND_IN if case.step is Step.DRAFT else Action.PROPOSE
                self._do(proposer, Deed(action), case.step)
            case = self.case()
            for role in case.standing.missing:
                second = next(
                    p for p in town.people
                    if role in p.roles and p.user_id != case.proposer_id
                    and p.user_id not in town.strangers
                )  # fmt: skip
                self._do(second, Deed(Action.APPROVE, role, case.digest), case.step)

        def _do(self, who, deed, step):
            with make.session(who) as s:
                services.take_action(s, self.ident, deed, town.press)
            self.done.append((step, deed.action, self.case().step))

        @invariant()
        def nothing_is_lost_and_nothing_twice(self):
            with make.session() as s:
                case = s.get_one(IntegrationRequest, self.ident)
                events = list(reversed(queries.events_of(s, case)))
                issued = papers.papers_of(s, case)
                versions = s.scalars(
                    sa.select(DocumentVersion).where(DocumentVersion.case_id == case.id)
                ).all()
            assert [(e.from_step, e.action, e.to_step) for e in events] == self.done
            place = Step.DRAFT
            for event in events:
                assert event.from_step is place
                arrow = TRANSITIONS[event.from_step, event.action]
                assert event.role in arrow.roles
                assert event.to_step in {arrow.target, event.from_step}
                place = event.to_step
            assert case.step is place
            expected = [k for k in (issued_by(*one) for one in self.done) if k]
            assert sorted(p.kind for p in issued) == sorted(expected)
            assert len({p.number for p in issued}) == len(issued)
            assert len({(v.document_id, v.number) for v in versions}) == len(versions)
            handed_in = any(e.action is Action.HAND_IN for e in events)
            assert (case.number != "") == handed_in
            assert (case.ended_at is not None) == (case.step in TERMINAL)
            assert isinstance(case.standing, Standing)

    return Desk


DEEP = {Step.API, Step.CENTRAL_DATABASE} | {
    step for step in DUTIES if step.number and step.number > 6
}  # beyond a real source, which a machine has not


def play(bound, examples: int, steps: int) -> None:
    town = Town(bound.home)
    settings = hypothesis.settings(
        max_examples=examples,
        stateful_step_count=steps,
        deadline=None,
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    run_state_machine_as_test(machine_of(town), settings=settings)


def test_whatever_they_press_no_case_goes_astray(bound):
    play(bound, *STEPS_IN_CI)


@pytest.mark.long
def test_however_long_they_press(bound):
    play(bound, *STEPS_LONG)


def test_no_paper_has_anothers_number(bound):
    """After whatever the machines did: the whole office's papers."""
    with make.session() as s:
        numbers = s.scalars(sa.select(IssuedPaper.number)).all()
        events = s.scalar(sa.select(sa.func.count()).select_from(RequestEvent))
    assert len(set(numbers)) == len(numbers)
    assert events is not None
