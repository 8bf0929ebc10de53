"""A case by its people: every step, both loops, the walls between agencies, the numbers."""

import hashlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

import pypdfium2
import pytest
import sqlalchemy as sa
from sqlalchemy.orm.exc import StaleDataError

from app.contracts.models import Contract
from app.core import db
from app.core.clock import utc_now
from app.core.policy import DISPATCHER, DbRole, Principal, acting_as
from app.core.scope import NotFoundError
from app.datasets.models import Dataset
from app.files.inspection import FileKind
from app.files.services import Kept, store_of
from app.identity.models import Agency, User
from app.identity.principals import principal_of
from app.notifications.models import Notice
from app.papers.typesetting import set_in_type
from app.requests import (
    errors,
    integration,
    papers,
    queries,
    reminders,
    services,
)
from app.requests.documents import DOCUMENTS, STEP_DOCUMENTS, DocumentKind
from app.requests.fields import Form
from app.requests.models import (
    DocumentFile,
    DocumentVersion,
    IntegrationRequest,
    RequestEvent,
    RequestNote,
)
from app.requests.papers import Press
from app.requests.procedure import Deed
from app.requests.states import Action, Party, Reason, Role, Step
from app.requests.wordings import PaperKind
from app.runs.states import RunStatus
from app.web import i18n
from tests import make

pytestmark = pytest.mark.usefixtures("bound")
WHY = {"reason": Reason.OTHER, "note": "karena belum lengkap"}
SAMPLES = {"date": "2026-11-23", "nip": "198001012005011001", "email": "a@riau.go.id",
           "phone": "0761-45505", "whole": "12", "yes": "1"}  # fmt: skip


@dataclass
class Town:
    """An agency that asks, one that owns data, an office; who acts in which role."""

    agency: Agency
    people: dict[Role, Principal]
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
            services.write_document(s, case, kind, content)

    def act(
        self, ident: UUID, action: Action, role: Role, who: Role | None = None, **more
    ):
        person = self.people[who or role]
        with make.session(person) as s:
            digest = queries.get_case(s, ident, person).digest
            as_role = role if action is Action.APPROVE else None
            return services.take_action(
                s, ident, Deed(action, as_role, digest, **more), self.press
            )

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
            who = "second" if role is Role.TIM_TEKNIS else role
            self.act(ident, Action.APPROVE, role, who)

    def build(self, ident: UUID) -> None:
        """Give a case what the steps 4 to 6 are for: contract, source, published rows."""
        if self.read(ident).contract_id is None:
            with make.session(self.people[Role.TIM_TEKNIS]) as s:
                services.draft_contract(s, s.get_one(IntegrationRequest, ident))
            return
        contract_id = self.read(ident).contract_id
        with make.session() as s:
            contract = s.get_one(Contract, contract_id)
            dataset = s.scalar(
                sa.select(Dataset).where(Dataset.contract_id == contract_id)
            )
        if dataset is None:
            make.activate(contract_id)
            make.make_source(contract, "http://127.0.0.1:9/")
        elif dataset.published_at is None:
            with make.session(make.WORKER_PRINCIPAL) as s:
                s.get_one(Dataset, dataset.id).published_at = utc_now()

    def read(self, ident: UUID) -> IntegrationRequest:
        with make.session() as s:
            return s.get_one(IntegrationRequest, ident)


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


@pytest.fixture
def town(bound) -> Town:
    agency = make.make_agency()
    people = {}
    with make.session():
        for role in Role:
            if role is Role.PRODUCER:
                continue
            of = agency if role.startswith("OPD") else None
            people[role] = person(role.value, agency=of)
        people["second"] = person("TIM_TEKNIS")
    press = Press(
        bound.home,
        "Asia/Jakarta",
        "https://simpul.test",
        "Kantor",
        i18n.compiled(bound.home),
    )
    return Town(agency, people, person("OPD_OPERATOR", agency=make.make_agency()), press)


def person(*roles: str, agency: Agency | None = None) -> Principal:
    user = make.make_user(*roles, agency=agency)
    with make.session() as s:
        return principal_of(s.get_one(User, user.id))


def test_a_case_goes_from_the_letter_to_the_report(town):
    ident = town.begin()
    town.hand_in(ident)
    walked = []

    while (step := town.read(ident).step) is not Step.CLOSED:
        walked.append(step.number)
        town.pass_step(ident)

    case = town.read(ident)
    assert walked == list(range(13))
    assert case.number.startswith("PMH/")
    assert case.handed_in_at <= case.accepted_at < case.ended_at
    assert (case.ball, case.asked) == (Party.NOBODY, [])
    with make.session() as s:
        events = queries.events_of(s, case)
        assert next(e.to_step for e in events) is Step.CLOSED
        assert {e.from_step for e in events} == {
            s for s in Step if s.number is not None
        } | {Step.DRAFT}
        versions = s.scalars(
            sa.select(DocumentVersion).where(DocumentVersion.case_id == ident)
        ).all()
        assert len(versions) == 3 + 12


def test_both_loops_lead_back_and_are_counted(town):
    ident = town.begin()
    town.hand_in(ident)
    for _ in range(3):
        town.pass_step(ident)
    town.write(ident, DocumentKind.SCENARIO, Role.TIM_TEKNIS)
    town.act(ident, Action.PROPOSE, Role.TIM_TEKNIS)
    with pytest.raises(errors.NoReasonError):
        town.act(ident, Action.DISAGREE, Role.OPD_PIMPINAN)

    town.act(ident, Action.DISAGREE, Role.OPD_PIMPINAN, **WHY)

    assert (town.read(ident).step, town.read(ident).loops_a) == (Step.DATA_DEFINITION, 1)
    for _ in range(9):
        town.pass_step(ident)
    town.write(ident, DocumentKind.DASHBOARD, Role.TIM_TEKNIS)
    town.act(ident, Action.PROPOSE, Role.TIM_TEKNIS)
    town.act(ident, Action.NOT_FIT, Role.ADMINISTRATOR, **WHY)
    case = town.read(ident)
    assert (case.step, case.loops_b, case.accepted_at is not None) == (
        Step.SCENARIO,
        1,
        True,
    )


def test_what_is_lacking_is_named_and_a_malformed_field_is_refused(town):
    ident = town.begin()
    with pytest.raises(errors.DocumentsLackingError) as refused:
        town.act(ident, Action.HAND_IN, Role.OPD_OPERATOR)
    assert [len(group) for group in refused.value.groups] == [1, 1, 2]
    for kind in (
        DocumentKind.LETTER,
        DocumentKind.STAFF,
        DocumentKind.APPLICATION_DESIGN,
    ):
        town.write(ident, kind, Role.OPD_OPERATOR)
    wrong = filled(DOCUMENTS[DocumentKind.LETTER]) | {"signer_nip": "19"}
    town.write(ident, DocumentKind.LETTER, Role.OPD_OPERATOR, wrong)

    with pytest.raises(errors.MalformedError) as malformed:
        town.act(ident, Action.HAND_IN, Role.OPD_OPERATOR)

    assert list(malformed.value.problems) == ["signer_nip"]
    assert town.read(ident).number == ""


def test_a_returned_file_comes_back_with_remarks_and_a_second_version(town):
    ident = town.begin()
    town.hand_in(ident)
    number = town.read(ident).number
    with make.session(town.people[Role.TIM_TEKNIS]) as s:
        letter = queries.documents_of(s, s.get_one(IntegrationRequest, ident))[
            DocumentKind.LETTER
        ]
        services.remark(s, letter, {"subject": "Perihal belum jelas", "number": " "})
    town.act(ident, Action.RETURN, Role.TIM_TEKNIS, **WHY)
    with make.session(town.people[Role.OPD_OPERATOR]) as s:
        letter = queries.documents_of(s, s.get_one(IntegrationRequest, ident))[
            DocumentKind.LETTER
        ]
        assert letter.remarks == {"subject": "Perihal belum jelas"}
    better = filled(DOCUMENTS[DocumentKind.LETTER]) | {"subject": "Integrasi"}
    town.write(ident, DocumentKind.LETTER, Role.OPD_OPERATOR, better)

    town.act(ident, Action.HAND_IN, Role.OPD_OPERATOR)

    assert town.read(ident).number == number
    with make.session() as s:
        letter = queries.documents_of(s, town.read(ident))[DocumentKind.LETTER]
        assert letter.remarks == {}
        assert [v.number for v in queries.versions_of(s, letter)] == [2, 1]
        staff = queries.documents_of(s, town.read(ident))[DocumentKind.STAFF]
        assert [v.number for v in queries.versions_of(s, staff)] == [1]


def test_nobody_writes_what_is_proposed_or_of_another_step(town):
    ident = town.begin()
    town.hand_in(ident)
    for kind, role in (
        (DocumentKind.LETTER, Role.OPD_OPERATOR),
        (DocumentKind.REPORT, Role.TIM_TEKNIS),
    ):
        with pytest.raises(errors.NotEditableError):
            town.write(ident, kind, role)


def test_an_approval_is_of_what_was_seen(town):
    ident = town.begin()
    town.hand_in(ident)
    with (
        make.session(town.people[Role.TIM_TEKNIS]) as s,
        pytest.raises(errors.ProposalChangedError),
    ):
        services.take_action(
            s, ident, Deed(Action.APPROVE, Role.TIM_TEKNIS, "0" * 64), town.press
        )


def test_a_draft_is_nobodys_but_its_agencys(town):
    ident = town.begin()
    for principal in (make.OFFICE, town.stranger):
        with make.session(principal) as s:
            assert ident not in [case.id for case in s.scalars(queries.cases(principal))]
            with pytest.raises(NotFoundError):
                queries.get_case(s, ident, principal)


def test_the_owner_of_the_data_consents_and_sees_the_case(town):
    producer = make.make_agency()
    owner = person("OPD_PIMPINAN", agency=producer)
    ident = town.begin()
    town.hand_in(ident)
    with make.session(owner) as s, pytest.raises(NotFoundError):
        queries.get_case(s, ident, owner)
    with pytest.raises(errors.OwnDataError):
        town.name(ident, town.agency)
    town.name(ident, producer)
    for _ in range(2):
        town.pass_step(ident)
    with pytest.raises(errors.NotEditableError):
        town.name(ident, make.make_agency())
    town.write(ident, DocumentKind.DATA_DEFINITION, Role.OPD_OPERATOR)
    town.act(ident, Action.PROPOSE, Role.OPD_OPERATOR)
    town.act(ident, Action.APPROVE, Role.OPD_PIMPINAN)
    assert town.read(ident).asked == ["PRODUCER"]
    with pytest.raises(errors.NotYourMoveError):
        town.act(ident, Action.APPROVE, Role.PRODUCER, Role.OPD_PIMPINAN, **WHY)

    with make.session(owner) as s:
        case = queries.get_case(s, ident, owner)
        assert case.agency.name == town.agency.name
        services.take_action(
            s, ident, Deed(Action.APPROVE, Role.PRODUCER, case.digest), town.press
        )

    assert town.read(ident).step is Step.SCENARIO


def test_another_agency_meets_nothing_of_a_case_in_page_or_sql(town):
    ident = town.begin()
    town.hand_in(ident)
    with make.session(town.people[Role.TIM_TEKNIS]) as s:
        services.add_note(s, s.get_one(IntegrationRequest, ident), "hanya kantor")
        services.send_message(s, s.get_one(IntegrationRequest, ident), "halo")
    tables = ("integration_request", "document", "document_version", "request_event",
              "request_message", "request_note")  # fmt: skip
    with make.session(town.stranger) as s:
        with pytest.raises(NotFoundError):
            services.take_action(s, ident, Deed(Action.WITHDRAW, **WHY), town.press)
        for table in tables[:-1]:
            column = "id" if table == "integration_request" else "case_id"
            found = s.scalar(
                sa.text(f"SELECT count(*) FROM {table} WHERE {column} = :id"),
                {"id": ident},
            )
            assert found == 0, table
    with make.session(town.people[Role.OPD_OPERATOR]) as s:
        assert len(queries.messages_of(s, s.get_one(IntegrationRequest, ident))) == 1
    with pytest.raises(sa.exc.ProgrammingError), make.session(town.stranger) as s:
        s.scalar(sa.select(sa.func.count()).select_from(RequestNote))


@pytest.mark.parametrize(
    "table", ["request_event", "document_version", "request_message"]
)
def test_what_was_written_down_is_never_changed(town, table):
    ident = town.begin()
    town.hand_in(ident)
    for principal in (town.people[Role.OPD_OPERATOR], town.people[Role.TIM_TEKNIS]):
        for statement in (
            f"UPDATE {table} SET case_id = case_id",
            f"DELETE FROM {table}",
        ):
            with pytest.raises(sa.exc.ProgrammingError), make.session(principal) as s:
                s.execute(sa.text(statement))


def test_two_hands_at_one_case_do_each_thing_once(town):
    ident = town.begin()
    for kind in (DocumentKind.LETTER, DocumentKind.STAFF, DocumentKind.SERVER):
        town.write(ident, kind, Role.OPD_OPERATOR)

    def press(_):
        try:
            town.act(ident, Action.HAND_IN, Role.OPD_OPERATOR)
        except (errors.ProposedAlreadyError, errors.NoSuchActionError, StaleDataError):
            return 0
        return 1

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(press, range(4))) == 1
    with make.session() as s:
        events = sa.select(sa.func.count()).where(RequestEvent.case_id == ident)
        assert s.scalar(events) == 1


def test_no_number_is_given_twice():
    series = make.word("S")

    def take(_):
        with make.session() as s:
            return services.next_number(s, series, 2026)

    with ThreadPoolExecutor(4) as pool:
        given = list(pool.map(take, range(40)))
    assert sorted(given) == [f"{series}/2026/{n:04d}" for n in range(1, 41)]


def test_whose_move_it_is_is_told_to_them_alone(town):
    ident = town.begin()
    town.hand_in(ident)
    path = f"/requests/{ident}"
    with acting_as(Principal("sistem", DbRole.SYSTEM)), db.unit_of_work() as s:
        notice = s.scalars(sa.select(Notice).where(Notice.path == path)).one()
        assert (notice.agency_id, notice.roles) == (None, ["TIM_TEKNIS"])


def kept(name="surat.pdf", sha256="a" * 64) -> Kept:
    return Kept(name, FileKind.PDF, sha256, 1000, 2)


def attach(town, ident, *files, kind=DocumentKind.LETTER):
    who = town.people[Role.OPD_OPERATOR]
    with make.session(who) as s:
        case = queries.get_case(s, ident, who)
        return [services.attach(s, case, kind, file) for file in files]


def test_files_alone_make_a_request(town):
    ident = town.begin()
    for kind in (DocumentKind.LETTER, DocumentKind.STAFF, DocumentKind.SERVER):
        attach(town, ident, kept(), kept("lagi.pdf"), kind=kind)
    town.act(ident, Action.HAND_IN, Role.OPD_OPERATOR)

    with make.session() as s:
        versions = s.scalars(
            sa.select(DocumentVersion).where(DocumentVersion.case_id == ident)
        ).all()
        assert [[f["name"] for f in v.files] for v in versions] == [["surat.pdf"]] * 3
    with pytest.raises(errors.NotEditableError):
        attach(town, ident, kept(sha256="b" * 64))


def test_a_file_taken_away_stays_in_its_version(town):
    ident = town.begin()
    town.hand_in(ident)
    town.act(ident, Action.RETURN, Role.TIM_TEKNIS, **WHY)
    (file,) = attach(town, ident, kept())
    town.act(ident, Action.HAND_IN, Role.OPD_OPERATOR)
    town.act(ident, Action.RETURN, Role.TIM_TEKNIS, **WHY)
    who = town.people[Role.OPD_OPERATOR]
    with make.session(who) as s:
        case = queries.get_case(s, ident, who)
        services.detach(s, case, s.get_one(DocumentFile, file.id))
        letter = queries.documents_of(s, case)[DocumentKind.LETTER]
        assert queries.files_of(s, letter) == []
        assert [len(v.files) for v in queries.versions_of(s, letter)] == [1, 0]
        assert s.get_one(DocumentFile, file.id).sha256 == "a" * 64


def test_a_document_takes_ten_files(town):
    ident = town.begin()
    attach(town, ident, *[kept(sha256=f"{n:064d}") for n in range(10)])
    with pytest.raises(errors.TooManyFilesError):
        attach(town, ident, kept(sha256="c" * 64))


# --- papers -----------------------------------------------------------------------------


def papers_of(ident):
    with make.session() as s:
        return list(reversed(papers.papers_of(s, s.get_one(IntegrationRequest, ident))))


def text_of(town, paper) -> str:
    content = store_of(town.press.home).path(paper.sha256).read_bytes()
    pages = pypdfium2.PdfDocument(content)
    return " ".join(
        " ".join(page.get_textpage().get_text_range().split()) for page in pages
    )


def test_each_step_brings_its_paper(town):
    ident = town.begin()
    town.hand_in(ident)
    while town.read(ident).step is not Step.CLOSED:
        town.pass_step(ident)

    issued = papers_of(ident)

    assert [p.kind for p in issued] == [
        "receipt", "disposition", "data_definition", "scenario", "interchange",
        "connection_test", "storage", "result_letter", "check_result", "reconciliation",
        "result_document", "dashboard", "report",
    ]  # fmt: skip
    assert len({p.number for p in issued}) == len({p.code for p in issued}) == 13
    case = town.read(ident)
    for paper in issued:
        text = text_of(town, paper)
        assert paper.number in text
        assert paper.code in text
        assert case.number in text
        assert "{" not in text
    assert "tidak dipungut biaya" in text_of(town, issued[0])
    assert "Isi summary" in text_of(town, issued[-1])


def test_returns_and_refusals_are_letters_with_their_reason(town):
    ident = town.begin()
    town.hand_in(ident)
    town.act(ident, Action.RETURN, Role.TIM_TEKNIS, **WHY)
    town.act(ident, Action.HAND_IN, Role.OPD_OPERATOR)
    town.act(ident, Action.REFUSE, Role.PIMPINAN, **WHY)
    returned, refused = papers_of(ident)
    assert (returned.kind, refused.kind) == ("return_letter", "refusal_letter")
    assert WHY["note"] in text_of(town, returned)
    assert "alasan lain" in text_of(town, refused)


def test_a_number_of_the_letter_system_is_taken_and_none_twice(town):
    first, second = town.begin(), town.begin()
    number = make.word("000.8-1/")
    for ident in (first, second):
        town.hand_in(ident)

    def accept(ident, number):
        with make.session(town.people["second"]) as s:
            digest = s.get_one(IntegrationRequest, ident).digest
            deed = Deed(Action.APPROVE, Role.TIM_TEKNIS, digest)
            services.take_action(s, ident, deed, town.press, number)

    accept(first, f"  {number} ")
    assert papers_of(first)[0].number == number
    with pytest.raises(errors.PaperNumberTakenError):
        accept(second, number)
    with pytest.raises(errors.BadPaperNumberError):
        accept(second, "<b>1</b>")
    assert town.read(second).step is Step.FILE_CHECK


def test_what_people_write_is_never_markup(town):
    ident = town.begin()
    town.write(ident, DocumentKind.LETTER, Role.OPD_OPERATOR)
    nasty = "#panic() $x$ *tebal* \\ `kode` @ref <label> {tanggal} ☃ ﷽"
    with make.session() as s:
        s.get_one(IntegrationRequest, ident).title = nasty
    for kind in (DocumentKind.STAFF, DocumentKind.SERVER):
        town.write(ident, kind, Role.OPD_OPERATOR)
    town.act(ident, Action.HAND_IN, Role.OPD_OPERATOR)
    town.pass_step(ident)
    assert "#panic() $x$ *tebal*" in text_of(town, papers_of(ident)[0])


def test_a_paper_is_found_by_code_and_digest_alone(town):
    ident = town.begin()
    town.hand_in(ident)
    town.pass_step(ident)
    (paper,) = papers_of(ident)
    with make.session() as s:
        for mark in (
            paper.code,
            paper.code.lower(),
            paper.sha256,
            f" {paper.sha256.upper()} ",
        ):
            assert papers.found_by(s, mark).id == paper.id
        for mark in ("", "x", "0" * 64, paper.code[:-1], paper.number):
            assert papers.found_by(s, mark) is None


def test_the_same_paper_is_the_same_bytes(town):
    ident = town.begin()
    town.hand_in(ident)
    town.pass_step(ident)
    (paper,) = papers_of(ident)
    with make.session() as s:
        case = s.get_one(IntegrationRequest, ident)
        deed = queries.events_of(s, case)[0]
        marks = (paper.number, paper.code)
        sheet = papers.sheet_of(s, town.press, case, PaperKind.RECEIPT, deed, marks)
    made = set_in_type(sheet, deed.at, town.press.zone)
    assert hashlib.sha256(made).hexdigest() == paper.sha256


# --- what is built ----------------------------------------------------------------------


def test_a_step_does_not_close_while_what_it_is_for_is_not_there(town):
    ident = town.begin()
    town.hand_in(ident)
    for _ in range(4):
        town.pass_step(ident)
    town.write(ident, DocumentKind.INTERCHANGE, Role.TIM_TEKNIS)

    def refused():
        with pytest.raises(errors.StepNotDoneError) as error:
            town.act(ident, Action.PROPOSE, Role.TIM_TEKNIS)
        return error.value.obstacles

    assert refused() == [integration.NO_CONTRACT]
    town.pass_step(ident)
    town.write(ident, DocumentKind.CONNECTION_TEST, Role.TIM_TEKNIS)
    assert refused() == [integration.NOT_ACTIVE, integration.NO_SOURCE]
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
    for _ in range(4):
        town.pass_step(ident)
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
    for _ in range(4):
        town.pass_step(ident)
    other = make.make_contract(active=False)
    own = make.make_contract(active=False, agency=town.agency)
    who = town.people[Role.TIM_TEKNIS]
    with make.session(who) as s:
        case = queries.get_case(s, ident, who)
        with pytest.raises(NotFoundError):
            services.choose_contract(s, case, s.get_one(Contract, other.id))
        services.choose_contract(s, case, s.get_one(Contract, own.id))
    assert town.read(ident).contract_id == own.id


# --- warnings ---------------------------------------------------------------------------


def remind(days: int, ident: UUID) -> list[tuple]:
    """Look at the clocks so many days later; return what is to be told, of this case."""
    with make.session(DISPATCHER) as s:
        s.execute(sa.delete(Notice))
    with make.session(DISPATCHER) as s:
        reminders.remind(s, "Asia/Jakarta", utc_now() + timedelta(days=days))
        told = s.scalars(
            sa.select(Notice)
            .where(Notice.path == f"/requests/{ident}")
            .order_by(Notice.id)
        ).all()
    return [(n.kind, n.agency_id is not None, n.roles) for n in told]


def test_a_step_warns_once_at_each_level_and_tells_higher_up(town):
    ident = town.begin()
    town.hand_in(ident)
    town.pass_step(ident)  # coordination: three working days of the office
    team, data, head = "TIM_TEKNIS", "PENGAWAS_DATA", "ADMINISTRATOR"

    assert remind(0, ident) == []
    late = remind(30, ident)
    assert late == [("request_late", False, sorted([team, data, head]))] or late == [
        ("request_late", False, sorted([team, data, head, "PIMPINAN"]))
    ]
    assert remind(31, ident) == []


def test_what_is_the_agencys_move_is_told_to_the_agency(town):
    ident = town.begin()
    town.hand_in(ident)
    for _ in range(2):
        town.pass_step(ident)
    told = remind(60, ident)
    assert ("request_late", True, ["OPD_OPERATOR"]) in told
    assert any(not of_agency and "ADMINISTRATOR" in roles for _, of_agency, roles in told)


def test_what_rests_warns_nobody(town):
    ident = town.begin()
    town.hand_in(ident)
    town.act(ident, Action.HOLD, Role.PIMPINAN, **WHY)
    assert remind(60, ident) == []
