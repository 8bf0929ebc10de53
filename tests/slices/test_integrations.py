"""The register of integrations: what enters it, how they do, what comes to an end."""

from datetime import UTC, date, datetime, timedelta

import pytest
import sqlalchemy as sa
from sqlalchemy import event

from app.contracts.models import Contract
from app.core import clock
from app.core.policy import DbRole, Permission, Principal, acting_as
from app.integrations import expiring, services, states
from app.integrations.expiring import endings
from app.integrations.expiring_pages import OVER, stretch_of
from app.integrations.models import Integration
from app.integrations.queries import parts_of
from app.integrations.states import Facts, Health, health_of
from app.requests import queries, services as services_of_cases
from app.requests.clocks import clocks_of
from app.requests.documents import DocumentKind
from app.requests.errors import (
    DocumentsLackingError,
    NothingRunsError,
    StepNotDoneError,
)
from app.requests.integration import DRAFT_WAITS
from app.requests.models import IntegrationRequest
from app.requests.registering import enter
from app.requests.states import AMENDMENT, Action, Role, Step
from app.runs.states import RunStatus
from tests import make
from tests.town import sign

pytestmark = pytest.mark.usefixtures("bound")

NOW = datetime(2026, 11, 27, 3, tzinfo=UTC)
TODAY = NOW.date()
WELL = Facts(
    is_active=True,
    has_source=True,
    next_due_at=NOW + timedelta(hours=2),
    published_at=NOW - timedelta(hours=2),
    review_on=TODAY,
)
READER = Principal(
    "uji", DbRole.OFFICE, permissions=frozenset({Permission.CONTRACT_READ})
)


def registered(**values):
    ident = make.make_contract().id
    with make.session() as s:
        contract = s.get_one(Contract, ident)
        contract.title = make.word("Data ")  # others of the run are called alike
        entry = Integration(
            contract_id=contract.id,
            agency_id=contract.agency_id,
            **{
                "system": "SIMPEG",
                "document": "PMH/2026/0001",
                "running_since": TODAY,
                **values,
            },
        )
        s.add(entry)
        s.flush()
        return contract, entry.id


@pytest.mark.parametrize(
    ("change", "health", "reason"),
    [
        ({}, Health.HEALTHY, None),
        ({"is_active": False}, Health.STOPPED, states.NO_VERSION),
        ({"has_source": False}, Health.STOPPED, states.NO_SOURCE),
        ({"is_resting": True}, Health.STOPPED, states.RESTING),
        ({"has_failed": True}, Health.NEEDS_LOOK, states.FAILED),
        ({"published_at": None}, Health.NEEDS_LOOK, states.NO_DATA),
        ({"next_due_at": None}, Health.NEEDS_LOOK, states.NO_SCHEDULE),
        ({"next_due_at": NOW - timedelta(hours=2)}, Health.NEEDS_LOOK, states.LATE),
        ({"next_due_at": NOW - timedelta(minutes=30)}, Health.HEALTHY, None),
        ({"review_on": TODAY - timedelta(days=1)}, Health.NEEDS_LOOK, states.REVIEW_DUE),
        ({"review_on": None}, Health.HEALTHY, None),
    ],
)
def test_health_is_the_worst_of_what_is_wrong(change, health, reason):
    values = {name: getattr(WELL, name) for name in Facts.__slots__} | change
    facts = Facts(**values)
    assert health_of(facts, NOW, TODAY) is health
    reasons = [message for _health, message in states.reasons_of(facts, NOW, TODAY)]
    assert reasons == ([reason] if reason else [])


def test_what_is_wrong_is_told_with_the_worst_first():
    facts = Facts(has_source=True, has_failed=True)
    healths = [health for health, _message in states.reasons_of(facts, NOW, TODAY)]
    assert healths == sorted(healths, key=[Health.STOPPED, Health.NEEDS_LOOK].index)
    assert healths[0] is Health.STOPPED


def test_a_closed_case_enters_what_it_has_built(town):
    ident = town.begin()
    town.hand_in(ident)
    while town.read(ident).step is not Step.CLOSED:
        town.pass_step(ident)
    case = town.read(ident)
    with make.session() as s:
        entry = s.scalars(
            sa.select(Integration).where(Integration.contract_id == case.contract_id)
        ).one()
        assert entry.agency_id == case.agency_id
        assert entry.document == s.get_one(Contract, case.contract_id).basis
        assert entry.document.startswith(case.number)
        assert entry.review_on > entry.running_since + timedelta(days=364)
        assert entry.reason == ""
        told = {
            kind: document.content
            for kind, document in queries.documents_of(s, case).items()
        }
        assert entry.system == told[DocumentKind.LETTER]["system"]
        assert entry.contact_email == told[DocumentKind.LETTER]["technician_email"]
        server = told[DocumentKind.SERVER]["servers"][0]
        assert entry.server == server["host"]
        assert entry.tls_until == date.fromisoformat(server["tls_until"])


def test_a_case_that_is_closed_again_changes_the_entry_and_adds_none():
    contract = make.make_contract()
    with make.session() as s:
        contract = s.get_one(Contract, contract.id)
        services.register(s, contract, TODAY, {"system": "SIMPEG", "server": "a"})
        s.flush()
        later = TODAY + timedelta(days=9)
        entry = services.register(s, contract, later, {"system": "", "server": "b"})
        s.flush()
        assert (entry.system, entry.server, entry.running_since) == ("SIMPEG", "b", TODAY)
        count = sa.select(sa.func.count()).where(Integration.contract_id == contract.id)
        assert s.scalar(count) == 1


def test_a_case_without_a_contract_enters_nothing(town):
    ident = town.begin()
    with make.session() as s:
        assert enter(s, s.get_one(IntegrationRequest, ident), TODAY) is None


def test_the_applicants_server_is_not_taken_for_that_of_the_agency_whose_data_it_is(town):
    ident = town.begin()
    contract = make.make_contract()
    with make.session() as s:
        case = s.get_one(IntegrationRequest, ident)
        case.contract_id = contract.id
        entry = enter(s, case, date(2024, 2, 29))
        assert entry.agency_id == contract.agency_id
        assert (entry.server, entry.contact) == ("", "")
        assert entry.review_on == date(2025, 2, 28)


@pytest.fixture
def statements():
    said = []

    def hear(*args):
        said.append(args[2])

    event.listen(sa.Engine, "before_cursor_execute", hear)
    yield said
    event.remove(sa.Engine, "before_cursor_execute", hear)


def test_the_parts_of_many_are_read_with_one_statement_each(statements):
    made = [registered() for _ in range(3)]
    source = make.make_source(made[0][0], "http://127.0.0.1:9")
    make.make_run(
        "pull",
        key=f"contract:{made[1][0].id}",
        status=RunStatus.DEAD,
        finished_at=clock.utc_now(),
    )
    with make.session() as s:
        rows = [s.get_one(Integration, ident) for _contract, ident in made]
        statements.clear()
        parts = parts_of(s, READER, rows)
        assert len(statements) == 7  # and the version of the dataset
        first, second, third = (parts[row.id] for row in rows)
        assert [each.id for each in first.sources] == [source.id]
        assert second.facts(rows[1]).has_failed
        assert not third.facts(rows[2]).has_failed
        assert not third.sources


def test_what_ends_is_told_by_its_day_to_whom_may_see_it():
    day = clock.utc_now().date()
    contract, _ident = registered(
        review_on=day + timedelta(days=3),
        tls_until=day - timedelta(days=2),
        staff_until=day + timedelta(days=900),
    )

    def told(principal):
        with acting_as(principal), make.session(principal) as s:
            found = endings(s, principal, clock.utc_now(), "Asia/Jakarta")
        return [
            (each.day, each.kind) for each in found.rows if each.label == contract.title
        ]

    assert told(READER) == [
        (day - timedelta(days=2), "Certificate of a server"),
        (day + timedelta(days=3), "Review of an integration"),
    ]
    own = make.agency_principal(contract.agency_id, permissions=READER.permissions)
    other = make.agency_principal(make.make_agency().id, permissions=READER.permissions)
    assert len(told(own)) == 2
    assert told(other) == []
    assert told(Principal("uji", DbRole.OFFICE)) == []


def test_what_is_not_shown_of_what_ends_is_said(monkeypatch):
    for _ in range(2):
        registered(review_on=clock.utc_now().date())
    now = clock.utc_now()
    with make.session(READER) as s:
        assert not endings(s, READER, now, "Asia/Jakarta").is_cut
        monkeypatch.setattr(expiring, "MOST", 1)
        cut = endings(s, READER, now, "Asia/Jakarta")
    assert cut.is_cut
    kinds = [each.kind for each in cut.rows]
    assert len(kinds) == len(set(kinds))


@pytest.mark.parametrize(
    ("days", "name"),
    [
        (-1, OVER),
        (0, "In the next 30 days"),
        (29, "In the next 30 days"),
        (30, "In the next 90 days"),
        (90, "Later this year"),
    ],
)
def test_days_are_gathered_in_stretches(days, name):
    assert stretch_of(TODAY + timedelta(days=days), TODAY) == name


# --- a small change of what runs -----------------------------------------------------------------


@pytest.fixture
def running(town):
    """A closed case of the town, with its integration; returns its contract."""
    ident = town.begin()
    town.hand_in(ident)
    while town.read(ident).step is not Step.CLOSED:
        town.pass_step(ident)
    with make.session() as s:
        return s.get_one(Contract, town.read(ident).contract_id)


def amended(town, contract):
    operator = town.people[Role.OPD_OPERATOR]
    with make.session(operator) as s:
        return services_of_cases.begin(s, "Ubah golongan", "Lebih panjang", contract).id


def test_a_small_change_asks_for_the_letter_and_goes_its_short_way(town, running):
    ident = amended(town, running)
    with pytest.raises(DocumentsLackingError):
        town.act(ident, Action.HAND_IN, Role.OPD_OPERATOR)
    town.write(ident, DocumentKind.LETTER, Role.OPD_OPERATOR)
    town.act(ident, Action.HAND_IN, Role.OPD_OPERATOR)
    way = []
    while (step := town.read(ident).step) is not Step.CLOSED:
        way.append(step)
        town.pass_step(ident)
    assert tuple(way) == AMENDMENT
    case = town.read(ident)
    assert case.number
    assert case.accepted_at is not None
    assert case.contract_id == running.id


def test_a_small_change_does_not_go_on_while_its_version_is_not_active(town, running):
    ident = amended(town, running)
    town.write(ident, DocumentKind.LETTER, Role.OPD_OPERATOR)
    town.act(ident, Action.HAND_IN, Role.OPD_OPERATOR)
    town.pass_steps(ident, 2)
    sign(town.read(ident))
    make.next_version(running.id, make.active_fields(running.id))
    town.write(ident, DocumentKind.CONNECTION_TEST, Role.TIM_TEKNIS)
    with pytest.raises(StepNotDoneError) as error:
        town.act(ident, Action.PROPOSE, Role.TIM_TEKNIS)
    assert error.value.obstacles == [DRAFT_WAITS]
    make.activate(running.id)
    town.act(ident, Action.PROPOSE, Role.TIM_TEKNIS)


def test_a_small_change_is_of_ones_own_running_integration_alone(town, running):
    del running
    theirs, _ident = registered()
    own = make.make_contract(agency=town.agency)
    operator = town.people[Role.OPD_OPERATOR]
    for contract in (theirs, own):  # of another agency; nothing runs by it
        with make.session(operator) as s, pytest.raises(NothingRunsError):
            services_of_cases.begin(s, "Ubah", "", contract)


def test_a_small_change_keeps_its_contract_and_names_no_other_owner(town, running):
    ident = amended(town, running)
    with make.session() as s:
        case = s.get_one(IntegrationRequest, ident)
        for step in Step:
            case.step = step
            assert not services_of_cases.may_build(case, frozenset(Role))
            assert not services_of_cases.may_name_producer(case, frozenset(Role))
        s.rollback()


def test_the_clock_of_a_small_change_plans_for_its_own_steps(town, running):
    ident = amended(town, running)
    town.write(ident, DocumentKind.LETTER, Role.OPD_OPERATOR)
    town.act(ident, Action.HAND_IN, Role.OPD_OPERATOR)
    other = town.begin()
    town.hand_in(other)
    with make.session() as s:
        cases = [s.get_one(IntegrationRequest, each) for each in (ident, other)]
        clocks = clocks_of(s, cases, "Asia/Jakarta")
    assert clocks[ident].forecast < clocks[other].forecast
