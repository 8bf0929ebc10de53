"""The trial call of step 3: asked of the real service, masked, written into the minutes."""

import pytest

from app.contracts.models import Contract
from app.core.errors import RejectedError
from app.core.policy import acting_as
from app.core.scope import NotFoundError
from app.requests import errors, integration, queries, trials
from app.requests.documents import DocumentKind
from app.requests.models import IntegrationRequest
from app.requests.states import Action, Role
from tests import make

pytestmark = pytest.mark.usefixtures("bound")
TEAM = Role.TIM_TEKNIS
NIK = "1471010203800012"


@pytest.fixture
def scenario(town, upstream):
    """A case in step 3 with a contract and the source that answers for it."""
    upstream.records = make.people(*range(10, 30), nik="14710102038000{n}")
    contract = make.make_contract(agency=town.agency, active=False)
    source = make.make_source(contract, upstream.url)
    ident = town.begin()
    town.hand_in(ident)
    town.pass_steps(ident, 3)
    with make.session() as s:
        case = s.get_one(IntegrationRequest, ident)
        integration.join(s, case, s.get_one(Contract, contract.id))
    return town, ident, source


def call(scenario, role=TEAM, source_id=None):
    town, ident, source = scenario
    who = town.people[role]
    with acting_as(who):
        return trials.try_call(ident, source_id or source.id, who, town.press, ())


def minutes(scenario) -> str:
    _, ident, _ = scenario
    with make.session() as s:
        case = s.get_one(IntegrationRequest, ident)
        document = queries.documents_of(s, case).get(DocumentKind.SCENARIO)
        return document.content.get("trial", "") if document else ""


def test_what_came_stands_in_the_minutes_without_a_persons_number(scenario):
    told = call(scenario)
    assert "HTTP 200" in told
    assert "nip" in told
    assert NIK not in told
    assert minutes(scenario) == told
    again = call(scenario)
    assert minutes(scenario) == f"{told}\n\n{again}"


def test_a_service_that_does_not_answer_is_written_down_as_that(scenario, upstream):
    upstream.shutdown()
    upstream.server_close()
    assert "tidak ada jawaban" in call(scenario)


def test_who_does_not_write_the_minutes_calls_nobody(scenario, upstream):
    town, ident, _ = scenario
    for role in (Role.PENGAWAS_TI, Role.OPD_OPERATOR):
        with pytest.raises(errors.NotEditableError):
            call(scenario, role)
    other = make.make_source(make.make_contract(), upstream.url)
    with pytest.raises(NotFoundError):
        call(scenario, source_id=other.id)
    town.write(ident, DocumentKind.SCENARIO, TEAM)
    town.act(ident, Action.PROPOSE, TEAM)
    with pytest.raises(errors.NotEditableError):
        call(scenario)
    assert minutes(scenario) == "Isi trial"


def test_minutes_that_are_full_lose_nothing(scenario):
    town, ident, _ = scenario
    town.write(ident, DocumentKind.SCENARIO, TEAM, {"trial": "x" * 4_990})
    with pytest.raises(RejectedError):
        call(scenario)
    assert minutes(scenario) == "x" * 4_990
