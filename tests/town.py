"""A town for cases: an agency that asks, an office, and a person in every role."""

from dataclasses import dataclass
from uuid import UUID

import sqlalchemy as sa

from app.contracts.models import Contract
from app.core.clock import utc_now
from app.core.policy import Principal
from app.datasets.models import Dataset
from app.identity.models import Agency, User
from app.identity.principals import principal_of
from app.requests import queries, services, writing
from app.requests.documents import DOCUMENTS, STEP_DOCUMENTS, DocumentKind
from app.requests.fields import Form
from app.requests.models import IntegrationRequest, PaperMark
from app.requests.papers import Press
from app.requests.procedure import Deed
from app.requests.states import Action, MarkKind, Reason, Role, Step
from app.requests.wordings import PAPERS, PaperKind
from app.web import i18n
from tests import make

WHY = {"reason": Reason.OTHER, "note": "karena belum lengkap"}
SAMPLES = {"date": "2026-11-23", "nip": "198001012005011001", "email": "a@riau.go.id",
           "phone": "0761-45505", "whole": "12", "yes": "1"}  # fmt: skip


@dataclass
class Town:
    """An agency that asks, one that owns data, an office; who acts in which role."""

    agency: Agency
    people: dict[Role, Principal]
    second: Principal  # another of the technical team
    stranger: Principal
    press: Press

    def begin(self) -> UUID:
        with make.session(self.people[Role.OPD_OPERATOR]) as s:
            return services.begin(s, "Integrasi kepegawaian", "Satu data").id

    def name(self, ident: UUID, producer: Agency) -> None:
        with make.session(self.people[Role.TIM_TEKNIS]) as s:
            case = queries.get_case(s, ident, self.people[Role.TIM_TEKNIS])
            services.name_producer(s, case, producer)

    def write(self, ident: UUID, kind: DocumentKind, role: Role, values=None) -> None:
        with make.session(self.people[role]) as s:
            case = queries.get_case(s, ident, self.people[role])
            content = filled(DOCUMENTS[kind]) if values is None else values
            writing.write_document(s, case, kind, content)

    def act(
        self,
        ident: UUID,
        action: Action,
        role: Role,
        who: Principal | None = None,
        **more,
    ):
        person = who or self.people[role]
        with make.session(person) as s:
            digest = queries.get_case(s, ident, person).digest
            as_role = role if action is Action.APPROVE else None
            return services.take_action(
                s, ident, Deed(action, as_role, digest, **more), self.press
            )

    def pass_steps(self, ident: UUID, count: int) -> None:
        for _ in range(count):
            self.pass_step(ident)

    def hand_in(self, ident: UUID) -> None:
        for kind in (DocumentKind.LETTER, DocumentKind.STAFF, DocumentKind.SERVER):
            self.write(ident, kind, Role.OPD_OPERATOR)
        self.act(ident, Action.HAND_IN, Role.OPD_OPERATOR)

    def pass_step(self, ident: UUID) -> None:
        """Have the step's document written, submitted and approved by whom it takes."""
        case = self.read(ident)
        step = case.step
        if step in {Step.INTERCHANGE_DOCUMENT, Step.API, Step.CENTRAL_DATABASE}:
            self.build(ident)
        if step is not Step.FILE_CHECK:
            (kind,) = STEP_DOCUMENTS[step]
            proposer = Role(min(case.asked))
            self.write(ident, kind, proposer)
            self.act(ident, Action.PROPOSE, proposer)
        for role in self.read(ident).standing.missing:
            who = self.second if role is Role.TIM_TEKNIS else self.people[role]
            self.act(ident, Action.APPROVE, role, who)

    def build(self, ident: UUID) -> None:
        """Give a case one more of what steps 4 to 6 are for."""
        build_on(self.read(ident), self.people[Role.TIM_TEKNIS])

    def read(self, ident: UUID) -> IntegrationRequest:
        with make.session() as s:
            return s.get_one(IntegrationRequest, ident)


def sign(case: IntegrationRequest) -> None:
    """Have the newest interchange document of a case signed by all sides."""
    with make.session() as s:
        papers = queries.papers_of(s, case)
        paper = next((p for p in papers if p.kind is PaperKind.INTERCHANGE), None)
        if paper is None:
            return
        s.add(
            PaperMark(
                case_id=case.id, paper_id=paper.id, kind=MarkKind.SIGNATURE, by="uji", sha256=paper.sha256,
                roles=[str(role) for role in PAPERS[paper.kind].signers], completes=True,
            )
        )  # fmt: skip


def build_on(case: IntegrationRequest, who: Principal) -> None:
    """Give a case the next of: a contract, an active one with a source, published rows.

    And the signatures that step 5 waits for.
    """
    if case.step is Step.API:
        sign(case)
    if case.contract_id is None:
        with make.session(who) as s:
            services.draft_contract(s, s.get_one(IntegrationRequest, case.id))
        return
    with make.session() as s:
        contract = s.get_one(Contract, case.contract_id)
        dataset = s.scalar(sa.select(Dataset).where(Dataset.contract_id == contract.id))
    if dataset is None:
        make.activate(contract.id)
        make.make_source(contract, "http://127.0.0.1:9/")
    elif dataset.published_at is None:
        with make.session(make.WORKER_PRINCIPAL) as s:
            s.get_one(Dataset, dataset.id).published_at = utc_now()


def make_town(home) -> Town:
    """Return a town of its own; ``home`` is where its files and words lie."""
    agency = make.make_agency()
    people = {
        role: person(role, agency=agency if role.startswith("OPD") else None)
        for role in Role
        if role is not Role.PRODUCER
    }
    stranger = person("OPD_OPERATOR", agency=make.make_agency())
    return Town(agency, people, person("TIM_TEKNIS"), stranger, press_of(home))


def press_of(home) -> Press:
    words = i18n.compiled(home)
    return Press(home, "Asia/Jakarta", "https://simpul.test", "Kantor", words)


def person(*roles: str, agency: Agency | None = None) -> Principal:
    user = make.make_user(*roles, agency=agency)
    with make.session() as s:
        return principal_of(s.get_one(User, user.id))


def filled(form: Form):
    def fill(fields):
        return {
            f.name: next(iter(f.choices))
            if f.choices
            else SAMPLES.get(f.kind, f"Isi {f.name}")
            for f in fields
        }

    values = {}
    for part in form.parts:
        values |= {part.name: [fill(part.fields)]} if part.is_many else fill(part.fields)
    return values
