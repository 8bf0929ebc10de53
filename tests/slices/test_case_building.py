"""What steps 4 to 6 build: the contract, the source, the rows in the central database."""

import pytest
import sqlalchemy as sa

from app.contracts.models import Contract
from app.core.clock import utc_now
from app.core.scope import NotFoundError
from app.datasets.models import Dataset
from app.requests import errors, integration, queries, services
from app.requests.documents import DocumentKind
from app.requests.models import (
    IntegrationRequest,
)
from app.requests.states import Action, Role, Step
from app.runs.states import RunStatus
from tests import make
from tests.town import person

pytestmark = pytest.mark.usefixtures("bound")


def test_a_step_does_not_close_while_what_it_is_for_is_not_there(town):
    ident = town.begin()
    town.hand_in(ident)
    town.pass_steps(ident, 4)
    town.write(ident, DocumentKind.INTERCHANGE, Role.TIM_TEKNIS)

    def refused():
        with pytest.raises(errors.StepNotDoneError) as error:
            town.act(ident, Action.PROPOSE, Role.TIM_TEKNIS)
        return error.value.obstacles

    assert refused() == [integration.NO_CONTRACT]
    town.pass_step(ident)
    town.write(ident, DocumentKind.CONNECTION_TEST, Role.TIM_TEKNIS)
    assert refused() == [
        integration.UNSIGNED, integration.NOT_ACTIVE, integration.NO_SOURCE,
    ]  # fmt: skip
    town.pass_step(ident)
    town.write(ident, DocumentKind.STORAGE, Role.TIM_TEKNIS)
    assert refused() == [integration.NOT_PUBLISHED]
    town.build(ident)
    contract = town.read(ident).contract_id
    ended = {"key": f"contract:{contract}", "finished_at": utc_now()}
    make.make_run("pull", status=RunStatus.HELD, **ended)
    assert refused() == [integration.RED]
    make.make_run("pull", status=RunStatus.SUCCEEDED, **ended)
    town.pass_step(ident)
    assert town.read(ident).step is Step.RESULT_DELIVERY


def test_the_contract_is_drafted_out_of_the_definition_and_says_what_it_rests_on(town):
    ident = town.begin()
    town.hand_in(ident)
    town.pass_steps(ident, 4)
    with make.session() as s:
        case = s.get_one(IntegrationRequest, ident)
        document = queries.documents_of(s, case)[DocumentKind.DATA_DEFINITION]
        document.content = document.content | {
            "dataset": "Pegawai ASN!",
            "elements": [
                {
                    "name": "NIP",
                    "type": "text",
                    "is_key": "1",
                    "classification": "pribadi_umum",
                },
                {"name": "Gaji Pokok (Rp)", "type": "number", "unit": "rupiah"},
                {"name": "nip", "type": "text"},
                {"name": "2 huruf", "type": "text"},
            ],
        }
    town.build(ident)
    with make.session() as s:
        case = s.get_one(IntegrationRequest, ident)
        contract = s.get_one(Contract, case.contract_id)
        specs = make.draft_of(s, contract.id).specs()
    assert contract.basis == str(case)
    assert contract.slug.startswith("pegawai_asn")
    assert [(f.name, f.is_key, f.required) for f in specs] == [
        ("nip", True, True), ("gaji_pokok_rp", False, False), ("f_2_huruf", False, False),
    ]  # fmt: skip
    with (
        make.session(town.people[Role.TIM_TEKNIS]) as s,
        pytest.raises(errors.NotEditableError),
    ):
        services.draft_contract(s, s.get_one(IntegrationRequest, ident))


def test_a_contract_of_another_agency_is_not_chosen(town):
    ident = town.begin()
    town.hand_in(ident)
    town.pass_steps(ident, 4)
    other = make.make_contract(active=False)
    own = make.make_contract(active=False, agency=town.agency)
    who = town.people[Role.TIM_TEKNIS]
    with make.session(who) as s:
        case = queries.get_case(s, ident, who)
        with pytest.raises(NotFoundError):
            services.choose_contract(s, case, s.get_one(Contract, other.id))
        services.choose_contract(s, case, s.get_one(Contract, own.id))
    assert town.read(ident).contract_id == own.id


def test_another_agencys_data_is_delivered_under_an_agreement_alone(town):
    producer = make.make_agency()
    head = person("OPD_PIMPINAN", agency=producer)
    town.people[Role.PRODUCER] = head
    ident = town.begin()
    town.hand_in(ident)
    town.name(ident, producer)
    while town.read(ident).step is not Step.RESULT_DELIVERY:
        town.pass_step(ident)
    town.build(ident)
    town.write(ident, DocumentKind.RESULT_LETTER, Role.TIM_TEKNIS)
    with pytest.raises(errors.StepNotDoneError) as refused:
        town.act(ident, Action.PROPOSE, Role.TIM_TEKNIS)
    assert refused.value.obstacles == [integration.NOT_AGREED]
    contract_id = town.read(ident).contract_id
    with make.session() as s:
        dataset = s.scalars(
            sa.select(Dataset).where(Dataset.contract_id == contract_id)
        ).one()
    make.make_agreement(dataset.id, town.agency.id)

    town.act(ident, Action.PROPOSE, Role.TIM_TEKNIS)

    assert town.read(ident).proposer_id is not None
