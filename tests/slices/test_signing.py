"""Papers from issued to signed: initials, certificates, the pen, and everything that is neither."""

import io
from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa
from pyhanko.pdf_utils import generic
from pyhanko.pdf_utils.incremental_writer import IncrementalPdfFileWriter

from app.core.errors import RejectedError
from app.core.policy import DISPATCHER
from app.files.errors import FileRefusedError
from app.files.inspection import FileKind
from app.files.services import Kept, path_of
from app.notifications.models import Notice
from app.requests import errors, papers, queries, receipts, signing
from app.requests.models import IntegrationRequest, IssuedPaper
from app.requests.states import Action, MarkKind, PaperState, Role
from tests import make, pki
from tests.town import WHY

pytestmark = pytest.mark.usefixtures("bound")
HEAD, TEAM, OPD = Role.PIMPINAN, Role.TIM_TEKNIS, Role.OPD_PIMPINAN


@pytest.fixture(scope="module")
def chief() -> pki.Identity:
    return pki.person("Drs. Kepala Dinas", pki.authority())


@pytest.fixture
def letter(town) -> IssuedPaper:
    """A refusal: the head signs it."""
    ident = town.begin()
    town.hand_in(ident)
    town.act(ident, Action.REFUSE, HEAD, **WHY)
    return newest(ident)


@pytest.fixture
def minutes(town) -> IssuedPaper:
    """The scenario: several sign it."""
    ident = town.begin()
    town.hand_in(ident)
    town.pass_steps(ident, 4)
    return newest(ident)


def newest(ident) -> IssuedPaper:
    with make.session() as s:
        return queries.papers_of(s, s.get_one(IntegrationRequest, ident))[0]


def standing(paper) -> signing.Signing:
    with make.session() as s:
        return signing.signings(s, [paper])[paper.id]


def content(town, paper, sha256="") -> bytes:
    return path_of(town.press.home, sha256 or paper.sha256).read_bytes()


def told_of(path: str) -> list[tuple]:
    """Return whom notices that lead there are for; only the dispatcher reads them."""
    with make.session(DISPATCHER) as s:
        found = s.scalars(
            sa.select(Notice).where(Notice.path == path).order_by(Notice.at)
        )
        return [(each.agency_id, each.roles) for each in found]


def initial(town, paper, role=TEAM):
    with make.session(town.people[role]) as s:
        signing.initial(s, s.get_one(IssuedPaper, paper.id))


def send(town, pdf, role=TEAM, anchors=""):
    with make.session(town.people[role]) as s:
        return signing.take_signed(s, town.press.home, pdf, anchors)


def test_a_letter_is_initialled_and_signed_and_finds_its_way_back(town, letter, chief):
    signed = chief.sign(content(town, letter))
    assert standing(letter).state is PaperState.FOR_INITIALS
    with pytest.raises(errors.InitialsFirstError):
        send(town, signed)
    initial(town, letter)
    assert standing(letter).state is PaperState.FOR_SIGNATURE

    paper, mark = send(town, signed)

    assert paper.id == letter.id
    assert (mark.signer, mark.issuer) == ("Drs. Kepala Dinas", "CA Uji")
    assert (mark.is_trusted, mark.completes, mark.roles) == (False, True, [HEAD])
    assert standing(letter).state is PaperState.SIGNED
    assert content(town, letter, standing(letter).sha256) == signed
    assert content(town, letter) != signed  # the issued copy never changes
    with make.session() as s:
        assert queries.paper_by_mark(s, mark.sha256).id == letter.id
    with pytest.raises(errors.NotYourMarkError):
        send(town, signed)


def test_who_is_trusted_is_a_setting(town, letter, chief, tmp_path):
    initial(town, letter)
    signed = chief.sign(content(town, letter))
    ours, theirs = tmp_path / "ours.pem", tmp_path / "theirs.pem"
    ours.write_bytes(chief.issuer.pem + pki.authority("Lain").pem)
    theirs.write_bytes(pki.authority("CA Lain").pem)
    with pytest.raises(FileRefusedError) as refused:
        send(town, signed, anchors=str(theirs))
    assert refused.value.why == "untrusted"
    assert send(town, signed, anchors=str(ours))[1].is_trusted


def stamped(pdf: bytes) -> bytes:
    """Return a PDF to which somebody added something, without a trace in its first bytes."""
    writer = IncrementalPdfFileWriter(io.BytesIO(pdf))
    page = writer.root["/Pages"]["/Kids"][0].get_object()
    stream = generic.StreamObject(stream_data=b"BT (Lunas) Tj ET")
    page["/Contents"] = writer.add_object(stream)
    writer.update_container(page)
    out = io.BytesIO()
    writer.write(out)
    return out.getvalue()


def test_what_is_not_our_paper_and_signatures_is_refused(town, letter, minutes, chief):
    initial(town, letter)
    issued = content(town, letter)
    signed = chief.sign(issued)
    bent = bytearray(signed)
    bent[-200] ^= 1
    cases = {
        "other": [b"", b"%PDF-1.7", issued[:-1], b"x" + issued, b"\0" * 100],
        "unsigned": [issued, stamped(issued)],
        "altered": [chief.sign(stamped(issued)), stamped(signed)],
    }  # fmt: skip
    for why, contents in cases.items():
        for pdf in contents:
            with pytest.raises(FileRefusedError) as refused:
                send(town, pdf)
            assert refused.value.why == why, (why, len(pdf))
    for broken in (bytes(bent), signed[:-50], issued + b"%%EOF", issued + b"\0" * 5000):
        with pytest.raises(FileRefusedError):
            send(town, broken)
    marks = [m.kind for m in standing(letter).marks]
    assert marks == [MarkKind.DELIVER, MarkKind.INITIAL]


def test_all_sides_sign_one_file_each_upon_the_last(town, minutes, chief):
    assert set(standing(minutes).missing) == {OPD, TEAM}
    issued = content(town, minutes)
    office, agency = chief.sign(issued, "A"), chief.sign(issued, "B")
    if standing(minutes).state is PaperState.FOR_INITIALS:
        initial(town, minutes)
    send(town, office)
    with pytest.raises(errors.SignedMeanwhileError):
        send(town, agency, Role.OPD_OPERATOR)
    still = standing(minutes)
    assert (still.state, still.missing) == (PaperState.FOR_SIGNATURE, (OPD,))
    assert MarkKind.SIGNATURE not in signing.may(still, town.people[TEAM])

    both = chief.sign(content(town, minutes, still.sha256), "B")
    send(town, both, Role.OPD_OPERATOR)

    done = standing(minutes)
    assert (done.state, done.signatures) == (PaperState.SIGNED, 2)
    assert content(town, minutes, done.sha256) == both


def test_two_who_send_at_once_are_taken_once(town, letter, chief):
    initial(town, letter)
    issued = content(town, letter)
    files = [chief.sign(issued, f"F{n}") for n in range(4)]

    def press(pdf):
        try:
            send(town, pdf)
        except RejectedError:
            return 0
        return 1

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(press, files)) == 1
    assert len([m for m in standing(letter).marks if m.kind is MarkKind.SIGNATURE]) == 1


def test_the_pen_counts_once_a_second_person_has_seen_it(town, letter):
    initial(town, letter)
    scan = Kept("pindaian.png", FileKind.PNG, "b" * 64, 10, 1)
    with make.session(town.people[TEAM]) as s:
        signing.take_scan(s, s.get_one(IssuedPaper, letter.id), scan)
    assert standing(letter).state is PaperState.FOR_ATTEST

    def attest(person, seen="b" * 64):
        with make.session(person) as s:
            signing.attest(s, s.get_one(IssuedPaper, letter.id), seen)

    with pytest.raises(errors.SameHandError):
        attest(town.people[TEAM])
    with pytest.raises(errors.NotYourMarkError):
        attest(town.people[Role.OPD_OPERATOR])
    with pytest.raises(errors.SignedMeanwhileError):
        attest(town.second, "c" * 64)
    attest(town.second)
    assert standing(letter).state is PaperState.SIGNED


def test_a_paper_sent_back_holds_no_more_and_is_issued_anew(town, letter, chief):
    initial(town, letter)
    with make.session(town.people[HEAD]) as s, pytest.raises(errors.NoReasonError):
        signing.send_back(s, s.get_one(IssuedPaper, letter.id), " \0 ")
    with make.session(town.people[HEAD]) as s:
        signing.send_back(s, s.get_one(IssuedPaper, letter.id), "Perihalnya keliru")
    assert standing(letter).state is PaperState.SENT_BACK
    with pytest.raises(errors.NotYourMarkError):
        send(town, chief.sign(content(town, letter)))

    with make.session(town.people[TEAM]) as s:
        found = signing.signings(s, [s.get_one(IssuedPaper, letter.id)])[letter.id]
        again = papers.issue_anew(s, town.press, found)
        assert queries.paper_before(s, again).id == letter.id
        assert queries.paper_before(s, s.get_one(IssuedPaper, letter.id)) is None
        with pytest.raises(errors.NotYourMarkError):  # pressed twice: one takes its place
            papers.issue_anew(s, town.press, found)

    assert again.number != letter.number
    assert again.kind is letter.kind
    with make.session() as s:
        waiting = {each.paper.id for each in signing.on_their_way(s, make.OFFICE)}
    assert again.id in waiting
    assert letter.id not in waiting


def test_the_head_of_the_agency_sends_back_what_waits_for_their_hand(
    town, letter, minutes
):
    with make.session(town.people[OPD]) as s, pytest.raises(errors.NotYourMarkError):
        signing.send_back(s, s.get_one(IssuedPaper, letter.id), "Tidak setuju")
    with make.session(town.people[OPD]) as s:
        signing.send_back(s, s.get_one(IssuedPaper, minutes.id), "Nama dinas keliru")
    assert standing(minutes).state is PaperState.SENT_BACK
    assert told_of(f"/papers/{minutes.id}") == [(None, [str(TEAM)])]


def test_another_agency_finds_no_paper_by_its_bytes(town, letter, chief):
    initial(town, letter)
    signed = chief.sign(content(town, letter))
    with (
        make.session(town.stranger) as s,
        pytest.raises(FileRefusedError),
    ):
        signing.take_signed(s, town.press.home, signed, "")
    with make.session(town.stranger) as s:
        assert signing.on_their_way(s, town.stranger) == []


def test_a_delivered_paper_has_a_receipt_once_the_agency_opens_it(town):
    ident = town.begin()
    town.hand_in(ident)
    town.pass_step(ident)
    paper = newest(ident)  # the receipt of the file

    def look(who):
        with make.session(who) as s:
            receipts.note_opened(s, s.get_one(IssuedPaper, paper.id), who)

    assert told_of(f"/papers/{paper.id}") == [
        (town.agency.id, ["OPD_OPERATOR", "OPD_PIMPINAN"])
    ]
    look(town.people[TEAM])
    assert standing(paper).when(MarkKind.OPEN) is None
    look(town.people[OPD])
    opened = standing(paper).when(MarkKind.OPEN)
    assert opened >= standing(paper).when(MarkKind.DELIVER)
    look(town.people[Role.OPD_OPERATOR])
    assert standing(paper).when(MarkKind.OPEN) == opened
    assert [m.kind for m in standing(paper).marks] == [MarkKind.DELIVER, MarkKind.OPEN]


def test_a_paper_among_the_office_has_no_receipt(town, minutes):
    assert standing(minutes).when(MarkKind.DELIVER) is None
    with make.session(town.people[OPD]) as s:
        paper = s.get_one(IssuedPaper, minutes.id)
        receipts.note_opened(s, paper, town.people[OPD])
    assert standing(minutes).marks == ()
