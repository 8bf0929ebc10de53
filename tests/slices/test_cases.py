"""A case by its people: every step, both loops, the walls between agencies, the numbers."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa
from sqlalchemy.orm.exc import StaleDataError

from app.core import db
from app.core.policy import DbRole, Principal, acting_as
from app.core.scope import NotFoundError
from app.files.inspection import FileKind
from app.files.services import Kept
from app.notifications.models import Notice
from app.office.models import Office
from app.requests import (
    errors,
    queries,
    services,
    writing,
)
from app.requests.documents import DOCUMENTS, DocumentKind
from app.requests.models import (
    DocumentFile,
    DocumentVersion,
    IntegrationRequest,
    RequestEvent,
    RequestNote,
)
from app.requests.procedure import Deed
from app.requests.states import Action, Party, Role, Step
from tests import make
from tests.town import WHY, filled, make_town, person

pytestmark = pytest.mark.usefixtures("bound")


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
    town.pass_steps(ident, 3)
    town.write(ident, DocumentKind.SCENARIO, Role.TIM_TEKNIS)
    town.act(ident, Action.PROPOSE, Role.TIM_TEKNIS)
    with pytest.raises(errors.NoReasonError):
        town.act(ident, Action.DISAGREE, Role.OPD_PIMPINAN)

    town.act(ident, Action.DISAGREE, Role.OPD_PIMPINAN, **WHY)

    assert (town.read(ident).step, town.read(ident).loops_a) == (Step.DATA_DEFINITION, 1)
    town.pass_steps(ident, 9)
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


def test_an_office_may_ask_for_design_and_server_both(town):
    ident = town.begin()
    for kind in (DocumentKind.LETTER, DocumentKind.STAFF, DocumentKind.SERVER):
        town.write(ident, kind, Role.OPD_OPERATOR)
    with make.session() as s:
        s.scalars(sa.select(Office)).one().asks_for_both = True
    try:
        with pytest.raises(errors.DocumentsLackingError) as refused:
            town.act(ident, Action.HAND_IN, Role.OPD_OPERATOR)
        assert refused.value.groups == [(DocumentKind.APPLICATION_DESIGN,)]
    finally:
        with make.session() as s:
            s.scalars(sa.select(Office)).one().asks_for_both = False
    town.act(ident, Action.HAND_IN, Role.OPD_OPERATOR)


def test_a_returned_file_comes_back_with_remarks_and_a_second_version(town):
    ident = town.begin()
    town.hand_in(ident)
    number = town.read(ident).number
    with make.session(town.people[Role.TIM_TEKNIS]) as s:
        case = s.get_one(IntegrationRequest, ident)
        remarks = {"subject": "Perihal belum jelas", "number": " ", "nonsense": "?"}
        writing.remark(s, case, DocumentKind.LETTER, remarks)
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
    town.pass_steps(ident, 2)
    with pytest.raises(errors.NotEditableError):
        town.name(ident, make.make_agency())
    town.write(ident, DocumentKind.DATA_DEFINITION, Role.OPD_OPERATOR)
    town.act(ident, Action.PROPOSE, Role.OPD_OPERATOR)
    town.act(ident, Action.APPROVE, Role.OPD_PIMPINAN)
    assert town.read(ident).asked == ["PRODUCER"]
    with pytest.raises(errors.NotYourMoveError):
        town.act(
            ident, Action.APPROVE, Role.PRODUCER, town.people[Role.OPD_PIMPINAN], **WHY
        )

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
        return [writing.attach(s, case, kind, file) for file in files]


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
        writing.detach(s, case, s.get_one(DocumentFile, file.id))
        letter = queries.documents_of(s, case)[DocumentKind.LETTER]
        assert queries.files_of(s, letter) == []
        assert [len(v.files) for v in queries.versions_of(s, letter)] == [1, 0]
        assert s.get_one(DocumentFile, file.id).sha256 == "a" * 64


def test_a_document_takes_ten_files(town):
    ident = town.begin()
    attach(town, ident, *[kept(sha256=f"{n:064d}") for n in range(10)])
    with pytest.raises(errors.TooManyFilesError):
        attach(town, ident, kept(sha256="c" * 64))


def again(town, ident, kind):
    operator = town.people[Role.OPD_OPERATOR]
    with make.session(operator) as s:
        writing.take_again(s, queries.get_case(s, ident, operator), kind)


def content_of(ident, kind):
    with make.session() as s:
        case = s.get_one(IntegrationRequest, ident)
        document = queries.documents_of(s, case).get(kind)
        return document.content if document else None


def test_what_an_agency_told_once_is_offered_again(town):
    first = town.begin()
    second = town.begin()
    town.write(first, DocumentKind.SERVER, Role.OPD_OPERATOR)
    with pytest.raises(errors.NothingToldError):  # a draft has told nothing yet
        again(town, second, DocumentKind.SERVER)
    town.hand_in(first)
    again(town, second, DocumentKind.SERVER)
    assert content_of(second, DocumentKind.SERVER) == content_of(
        first, DocumentKind.SERVER
    )
    with pytest.raises(errors.NotEditableError):  # nothing is written over
        again(town, second, DocumentKind.SERVER)
    with pytest.raises(errors.NothingToldError):  # a letter is of its own day
        again(town, second, DocumentKind.LETTER)


def test_what_another_agency_told_is_offered_to_nobody_else(town, bound):
    first = town.begin()
    town.hand_in(first)
    other = make_town(bound.home)
    with pytest.raises(errors.NothingToldError):
        again(other, other.begin(), DocumentKind.STAFF)
