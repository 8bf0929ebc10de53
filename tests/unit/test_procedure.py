"""The procedure: its table, its people, and that no case ever stands still for good."""

from dataclasses import replace
from itertools import combinations_with_replacement
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from hypothesis import given, settings, strategies as st

from app.requests import errors
from app.requests.procedure import Actor, Deed, Proposal, Standing, move
from app.requests.states import (
    AMENDMENT,
    CONSENT_STEPS,
    DUTIES,
    TERMINAL,
    TRANSITIONS,
    Action,
    Party,
    Reason,
    Role,
    Step,
    as_markdown,
    led_to,
)

DOCUMENT = Path(__file__).parents[2] / "docs" / "procedure.md"
OPD = frozenset({Role.OPD_OPERATOR, Role.OPD_PIMPINAN})
OFFICE = frozenset(Role) - OPD - {Role.PRODUCER}
WHY = {"reason": Reason.OTHER, "note": "karena"}


def actor(*roles: Role, person: UUID | None = None) -> Actor:
    return Actor(person or uuid4(), frozenset(roles))


def test_the_document_is_the_table():
    """After a change of the table: DOCUMENT.write_text(as_markdown())."""
    assert DOCUMENT.read_text() == as_markdown()


def test_the_steps_have_the_numbers_of_the_published_service():
    assert [step.number for step in DUTIES] == list(range(13))
    assert [step.number for step in (Step.DRAFT, *TERMINAL)] == [None] * 4


def test_a_small_change_goes_through_its_own_steps_and_back_to_the_first_of_them():
    case, team = Standing(Step.DRAFT, is_amendment=True), actor(*Role)
    way = [case.step]
    while case.step is not Step.CLOSED:
        if case.step is Step.DRAFT:
            case = move(case, Deed(Action.HAND_IN, digest="abc"), team).standing
        elif case.proposal is None:
            case = move(case, Deed(Action.PROPOSE, digest="abc"), team).standing
        elif case.step is Step.DASHBOARD and case.loops == (0, 0):
            case = move(case, Deed(Action.NOT_FIT, **WHY), team).standing
        else:
            role = case.missing[0]
            digest = case.proposal.digest
            case = move(case, Deed(Action.APPROVE, role, digest, **WHY), team).standing
        if case.step is not way[-1]:
            way.append(case.step)
        assert case.is_amendment
    again = [step for step in AMENDMENT if step is not Step.FILE_CHECK]
    assert way == [Step.DRAFT, *AMENDMENT, *again, Step.CLOSED]
    assert case.loops == (0, 1)


@pytest.mark.parametrize("step", list(Step))
def test_arrows_of_other_cases_lead_where_the_table_says(step):
    assert led_to(step, is_amendment=False) is step
    assert led_to(step, is_amendment=True) not in set(DUTIES) - set(AMENDMENT)


def test_every_step_is_reached_and_only_ends_have_no_way_on():
    reached, waiting = {Step.DRAFT}, [Step.DRAFT]
    while waiting:
        here = waiting.pop()
        for (step, _action), arrow in TRANSITIONS.items():
            if step is here and arrow.target not in reached:
                reached.add(arrow.target)
                waiting.append(arrow.target)
    assert reached == set(Step)
    for step in set(Step) - TERMINAL:
        assert any(
            arrow.target is not step
            for (at, _), arrow in TRANSITIONS.items()
            if at is step
        )
    for step in TERMINAL:
        assert [action for at, action in TRANSITIONS if at is step] == [Action.REOPEN]


@pytest.mark.parametrize(("step", "action"), list(TRANSITIONS), ids="-".join)
@pytest.mark.parametrize("role", list(Role))
def test_each_arrow_is_open_to_its_roles_and_to_no_other(step, action, role):
    arrow = TRANSITIONS[step, action]
    case = Standing(step, is_held=action is Action.RESUME, has_producer=True)
    if action not in {Action.PROPOSE, Action.HAND_IN}:
        case = proposed(case)
    as_role = DUTIES[step].approved_by[0] if action is Action.APPROVE else None
    deed = Deed(action, role if role in arrow.roles else as_role, "abc", **WHY)
    if role in arrow.roles:
        assert move(case, deed, actor(role)).role is role
    elif action is Action.APPROVE and role in {Role.PIMPINAN, Role.OPD_PIMPINAN}:
        pass  # a head may stand in; told apart below
    else:
        with pytest.raises(errors.NotYourMoveError):
            move(case, deed, actor(role))


def proposed(case: Standing, person: UUID | None = None) -> Standing:
    return replace(case, proposal=Proposal(person or uuid4(), "abc"))


@pytest.mark.parametrize("step", [s for s in DUTIES if s in CONSENT_STEPS])
def test_the_agency_whose_data_it_is_consents_and_nobody_in_its_place(step):
    case = proposed(Standing(step, has_producer=True))
    everybody_else = actor(*OPD, *OFFICE)
    assert case.missing[-1] is Role.PRODUCER
    with pytest.raises(errors.NotYourMoveError):
        move(case, Deed(Action.APPROVE, Role.PRODUCER, "abc", **WHY), everybody_else)

    moved = move(case, Deed(Action.APPROVE, Role.PRODUCER, "abc"), actor(Role.PRODUCER))

    assert (moved.role, moved.alone) == (Role.PRODUCER, False)
    assert moved.standing.step is step
    assert Role.PRODUCER not in replace(case, has_producer=False).needed


def pass_step(case: Standing, people: list[Actor]) -> tuple[Standing, int]:
    """Have some people bring a case through its step; return it and who acted alone."""
    step, alone = case.step, 0
    while case.step is step:
        for person in people:
            for deed in deeds_of(case):
                try:
                    moved = move(case, deed, person)
                except errors.RejectedError:
                    continue
                case, alone = moved.standing, alone + moved.alone
                break
            else:
                continue
            break
        else:
            pytest.fail(f"{step} stands still for {people}")
    return case, alone


def deeds_of(case: Standing):
    if case.step is Step.DRAFT:
        return [Deed(Action.HAND_IN, digest="abc")]
    if case.proposal is None:
        return [Deed(Action.PROPOSE, digest="abc")]
    plain = [Deed(Action.APPROVE, role, "abc") for role in case.missing]
    return plain + [Deed(Action.APPROVE, role, "abc", **WHY) for role in case.missing]


def test_no_four_people_of_the_office_stand_still():
    """All roles of the office, dealt out to four persons in every way that leaves a head."""
    others = sorted(OFFICE - {Role.PIMPINAN})
    agency = [actor(Role.OPD_OPERATOR), actor(Role.OPD_PIMPINAN)]
    for dealt in combinations_with_replacement(range(4), len(others)):
        hands: list[set[Role]] = [{Role.PIMPINAN}, set(), set(), set()]
        for role, person in zip(others, dealt, strict=True):
            hands[person].add(role)
        people = [*agency, *(actor(*hand) for hand in hands)]
        case = Standing()
        while case.step not in TERMINAL:
            case, _alone = pass_step(case, people)
        assert case == Standing(Step.CLOSED)


def test_one_person_of_an_agency_and_one_of_the_office_are_enough_and_it_is_told():
    people = [actor(*OPD), actor(*OFFICE)]
    case, alone = Standing(), 0
    while case.step not in TERMINAL:
        case, more = pass_step(case, people)
        alone += more
    assert alone > 10


def test_nobody_approves_what_they_proposed_unless_they_are_the_head_and_say_why():
    person = uuid4()
    case = proposed(Standing(Step.API), person)
    deed = Deed(Action.APPROVE, Role.PENGAWAS_TI, "abc")
    with pytest.raises(errors.OwnWorkError):
        move(case, deed, actor(Role.TIM_TEKNIS, Role.PENGAWAS_TI, person=person))
    head = actor(*OFFICE, person=person)
    with pytest.raises(errors.NoReasonError):
        move(case, deed, head)
    explained = Deed(Action.APPROVE, Role.PENGAWAS_TI, "abc", **WHY)
    assert move(case, explained, head).alone
    assert not move(case, deed, actor(Role.PENGAWAS_TI)).alone


def test_an_approval_is_of_what_was_seen_once_and_after_a_proposal():
    approve = Deed(Action.APPROVE, Role.PENGAWAS_DATA, "abc")
    one = actor(Role.PENGAWAS_DATA)
    document = Standing(Step.INTERCHANGE_DOCUMENT)
    with pytest.raises(errors.NothingProposedError):
        move(document, approve, one)
    case = proposed(document)
    with pytest.raises(errors.ProposalChangedError):
        move(case, Deed(Action.APPROVE, Role.PENGAWAS_DATA, "abd"), one)
    case = move(case, approve, one).standing
    assert case.missing == (Role.OPD_PIMPINAN, Role.PENGAWAS_TI)
    with pytest.raises(errors.ApprovedAlreadyError):
        move(case, approve, one)
    with pytest.raises(errors.NotYourMoveError):  # no approval of this step
        move(case, Deed(Action.APPROVE, Role.ADMINISTRATOR, "abc"), actor(*OFFICE))


def test_both_loops_lead_back_with_a_reason_and_are_counted():
    no = Deed(Action.DISAGREE, **WHY)
    case = move(proposed(Standing(Step.SCENARIO)), no, actor(Role.OPD_PIMPINAN)).standing
    assert case == Standing(Step.DATA_DEFINITION, loops=(1, 0))
    with pytest.raises(errors.NoReasonError):
        move(proposed(Standing(Step.SCENARIO)), Deed(Action.DISAGREE), actor(*OFFICE))
    unfit = Deed(Action.NOT_FIT, **WHY)
    case = proposed(Standing(Step.DASHBOARD, loops=(1, 0)))
    assert move(case, unfit, actor(Role.ADMINISTRATOR)).standing == Standing(
        Step.SCENARIO, loops=(1, 1)
    )


def test_a_case_on_hold_waits_for_the_head_alone():
    head = actor(Role.PIMPINAN)
    case = move(proposed(Standing(Step.API)), Deed(Action.HOLD, **WHY), head).standing
    assert (case.is_held, case.ball) == (True, Party.OFFICE)
    for action in set(Action) - {Action.RESUME}:
        with pytest.raises((errors.OnHoldError, errors.NoSuchActionError)):
            move(case, Deed(action, Role.PENGAWAS_TI, "abc", **WHY), actor(*Role))
    again = move(case, Deed(Action.RESUME), head).standing
    assert again == proposed(Standing(Step.API), again.proposal.person)
    with pytest.raises(errors.NotOnHoldError):
        move(again, Deed(Action.RESUME), head)


def test_the_ball_is_where_the_next_move_is():
    assert Standing().ball is Party.AGENCY
    assert proposed(Standing(Step.FILE_CHECK)).ball is Party.OFFICE
    assert Standing(Step.DATA_DEFINITION).ball is Party.AGENCY
    assert Standing(Step.AGENCY_CHECK).ball is Party.AGENCY
    assert proposed(Standing(Step.INTERCHANGE_DOCUMENT)).ball is Party.OFFICE
    signed = Standing(
        Step.INTERCHANGE_DOCUMENT, False, proposed(Standing()).proposal,
        frozenset({Role.PENGAWAS_DATA, Role.PENGAWAS_TI}),
    )  # fmt: skip
    assert signed.ball is Party.AGENCY
    assert Standing(Step.CLOSED).ball is Party.NOBODY


@given(
    st.lists(
        st.tuples(
            st.sampled_from(Action), st.integers(0, 5), st.none() | st.sampled_from(Role),
            st.sampled_from(["abc", "x"]), st.booleans(),
        ),
        max_size=120,
    )
)  # fmt: skip
@settings(max_examples=150, deadline=None)
def test_whatever_anybody_does_a_case_stands_where_the_table_allows(deeds):
    people = [
        actor(Role.OPD_OPERATOR), actor(Role.OPD_PIMPINAN), actor(Role.TIM_TEKNIS),
        actor(Role.PENGAWAS_DATA, Role.PENGAWAS_TI, Role.TIM_TEKNIS), actor(Role.ADMINISTRATOR),
        actor(Role.PIMPINAN),
    ]  # fmt: skip
    case = Standing()
    for action, who, role, digest, explained in deeds:
        deed = Deed(action, role, digest, **(WHY if explained else {}))
        before = case
        try:
            case, acted_as, alone = move(case, deed, people[who])
        except errors.RejectedError:
            continue
        arrow = TRANSITIONS[before.step, action]
        assert case.step in {before.step, arrow.target}
        assert acted_as in arrow.roles
        assert not alone or explained
        assert explained or not arrow.needs_reason
        if case.step is not before.step:
            is_proposal = action is Action.HAND_IN
            assert (case.proposal is not None) is is_proposal
            assert not case.approved
            if action is Action.APPROVE:
                assert len(before.missing) == 1
        assert case.loops[0] >= before.loops[0]
        assert case.loops[1] >= before.loops[1]
        assert set(case.approved) <= set(
            DUTIES[case.step].approved_by if case.step in DUTIES else ()
        )
