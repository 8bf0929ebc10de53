"""Papers that a case brings: which, with whose number, what stands in them."""

import hashlib

import pypdfium2
import pytest

from app.files.services import store_of
from app.papers.typesetting import set_in_type
from app.requests import (
    errors,
    papers,
    queries,
    services,
)
from app.requests.documents import DOCUMENTS, DocumentKind
from app.requests.models import (
    IntegrationRequest,
)
from app.requests.procedure import Deed
from app.requests.states import Action, Role, Step
from app.requests.wordings import PaperKind
from tests import make
from tests.town import WHY, filled, make_town

pytestmark = pytest.mark.usefixtures("bound")


def papers_of(ident):
    with make.session() as s:
        return list(reversed(queries.papers_of(s, s.get_one(IntegrationRequest, ident))))


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

    accept(town, first, f"  {number} ")
    assert papers_of(first)[0].number == number
    with pytest.raises(errors.PaperNumberTakenError):
        accept(town, second, number)
    with pytest.raises(errors.BadPaperNumberError):
        accept(town, second, "<b>1</b>")
    assert town.read(second).step is Step.FILE_CHECK


def accept(town, ident, number, role=Role.TIM_TEKNIS, who=None):
    with make.session(who or town.second) as s:
        digest = s.get_one(IntegrationRequest, ident).digest
        deed = Deed(Action.APPROVE, role, digest)
        services.take_action(s, ident, deed, town.press, number)


def test_a_number_typed_for_another_agencys_case_is_passed_over(town):
    """The register's next number is taken by a paper that the agency may not even see."""
    other, ident = make_town(town.press.home), town.begin()
    town.hand_in(ident)
    town.pass_steps(ident, 3)
    town.write(ident, DocumentKind.SCENARIO, Role.TIM_TEKNIS)
    town.act(ident, Action.PROPOSE, Role.TIM_TEKNIS)
    town.act(ident, Action.APPROVE, Role.TIM_TEKNIS, town.second)
    last = papers_of(ident)[-1].number
    theirs = other.begin()
    other.hand_in(theirs)
    head, _, counted = last.rpartition("/")
    typed = f"{head}/{int(counted) + 1:0{len(counted)}d}"
    accept(other, theirs, typed)

    town.act(ident, Action.APPROVE, Role.OPD_PIMPINAN)

    assert town.read(ident).step is Step.INTERCHANGE_DOCUMENT
    assert papers_of(ident)[-1].number not in {last, typed}


def test_an_agency_types_no_number(town):
    ident = town.begin()
    town.hand_in(ident)
    town.pass_steps(ident, 2)
    town.write(ident, DocumentKind.DATA_DEFINITION, Role.OPD_OPERATOR)
    town.act(ident, Action.PROPOSE, Role.OPD_OPERATOR)
    head = town.people[Role.OPD_PIMPINAN]
    with pytest.raises(errors.NotYourMoveError):
        accept(town, ident, make.word("9/"), Role.OPD_PIMPINAN, head)


def test_five_hundred_elements_are_kept_and_printed(town):
    ident = town.begin()
    town.hand_in(ident)
    town.pass_steps(ident, 2)
    element = {"type": "text", "classification": "umum"}
    many = [element | {"name": f"kolom_{n:03d}"} for n in range(500)]
    definition = filled(DOCUMENTS[DocumentKind.DATA_DEFINITION]) | {"elements": many}
    town.write(ident, DocumentKind.DATA_DEFINITION, Role.OPD_OPERATOR, definition)
    town.act(ident, Action.PROPOSE, Role.OPD_OPERATOR)
    for role in town.read(ident).standing.missing:
        town.act(ident, Action.APPROVE, role)

    text = text_of(town, papers_of(ident)[-1])

    assert [n for n in range(500) if f"kolom_{n:03d}" not in text] == []


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
            assert queries.paper_by_mark(s, mark).id == paper.id
        for mark in ("", "x", "e" * 64, paper.code[:-1], paper.number):
            assert queries.paper_by_mark(s, mark) is None


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
