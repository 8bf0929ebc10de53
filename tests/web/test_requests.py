"""Pages of cases, as an agency and the office press them."""

import io
import re
from dataclasses import replace
from datetime import timedelta
from types import SimpleNamespace

import pytest
import sqlalchemy as sa

from app.core.clock import utc_now
from app.identity.passwords import hash_of
from app.requests import papers, queries
from app.requests.documents import DOCUMENTS, DocumentKind
from app.requests.fields import flat_text
from app.requests.models import DocumentFile, IntegrationRequest, IssuedPaper
from app.requests.papers import Press
from app.requests.states import Step
from app.web import i18n
from tests import make
from tests.town import filled
from tests.unit.test_inspection import picture
from tests.web.conftest import PASSWORD, seen_in


@pytest.fixture
def desk(log_in, people):
    """An agency's operator with a draft of its own, and somebody of the technical team."""
    agency = make.make_agency()
    operator = make.make_user("OPD_OPERATOR", agency=agency, password=hash_of(PASSWORD))
    client = log_in(operator.email)
    answer = client.post(
        "/requests/new", data={"title": "Integrasi uji", "purpose": "Satu data"}
    )
    address = answer.headers["Location"]
    return SimpleNamespace(
        agency=agency, client=client, team=log_in(people["TIM_TEKNIS"]), address=address
    )


def text(answer) -> str:
    return answer.get_data(as_text=True)


def fill(desk, kind, **more):
    address = f"{desk.address}/documents/{kind}"
    form = DOCUMENTS[kind]
    data = flat_text(form, filled(form)) | more
    data["seen"] = seen_in(desk.client, address)
    return desk.client.post(address, data=data, follow_redirects=True)


def test_a_new_request_fills_in_what_was_told_before(desk):
    hand_in(desk)
    with make.session() as s:
        number = s.get_one(IntegrationRequest, desk.address.rsplit("/", 1)[1]).number
    new = desk.client.post("/requests/new", data={"title": "Lagi", "purpose": "x"})
    address = f"{new.headers['Location']}/documents/server"
    assert number in text(desk.client.get(address))
    filled_in = desk.client.post(f"{address}/again", follow_redirects=True)
    assert "Terisi" in text(filled_in)
    host = filled(DOCUMENTS[DocumentKind.SERVER])["servers"][0]["host"]
    assert f'value="{host}"' in text(desk.client.get(address))
    assert "/again" not in text(desk.client.get(address))


def hand_in(desk):
    for kind in (DocumentKind.LETTER, DocumentKind.STAFF, DocumentKind.SERVER):
        fill(desk, kind)
    return desk.client.post(
        f"{desk.address}/act", data={"action": "hand_in"}, follow_redirects=True
    )


def receipt(desk) -> IssuedPaper:
    """Have the file accepted; return the paper that this brings."""
    case = case_of(desk)
    data = {"action": "approve", "role": "TIM_TEKNIS", "digest": case.digest}
    desk.team.post(f"{desk.address}/act", data=data)
    with make.session() as s:
        of_case = sa.select(IssuedPaper).where(IssuedPaper.case_id == case.id)
        return s.scalars(of_case).one()


def case_of(desk) -> IntegrationRequest:
    with make.session() as s:
        return s.get_one(IntegrationRequest, desk.address.rpartition("/")[2])


def test_an_agency_begins_fills_in_and_hands_in(desk):
    page = text(desk.client.get(desk.address))
    assert "Konsep perangkat daerah" in page
    refused = desk.client.post(
        f"{desk.address}/act", data={"action": "hand_in"}, follow_redirects=True
    )
    assert "Surat permohonan integrasi; Daftar tenaga" in text(refused)
    assert desk.team.get(desk.address).status_code == 404

    assert "PMH/" in text(hand_in(desk))

    assert case_of(desk).step is Step.FILE_CHECK
    assert "Setujui sebagai tim teknis" in text(desk.team.get(desk.address))


def test_what_is_malformed_is_kept_and_marked_and_not_handed_in(desk):
    page = text(fill(desk, DocumentKind.LETTER, signer_nip="123"))
    assert 'href="#signer_nip"' in page
    assert 'value="123"' in page
    for kind in (DocumentKind.STAFF, DocumentKind.SERVER):
        fill(desk, kind)
    said = desk.client.post(
        f"{desk.address}/act", data={"action": "hand_in"}, follow_redirects=True
    )
    assert "Ada isian yang belum benar" in text(said)
    assert case_of(desk).number == ""


def test_a_remark_reaches_the_field_it_is_about(desk):
    hand_in(desk)
    address = f"{desk.address}/documents/letter"
    data = {
        "remark-subject": "Sebutkan sistemnya",
        "remark-_": "Lengkapi",
        "remark-x": "?",
    }
    desk.team.post(f"{address}/remarks", data=data)
    reason = {"reason": "field_wrong", "note": "Lihat catatan"}
    digest = case_of(desk).digest
    desk.team.post(
        f"{desk.address}/act", data={"action": "return", "digest": digest} | reason
    )

    page = text(desk.client.get(address))

    assert "Sebutkan sistemnya" in page
    assert "Lengkapi" in page
    assert "1 catatan" not in text(desk.client.get(desk.address))
    assert "2 catatan" in text(desk.client.get(desk.address))
    assert desk.client.post(f"{address}/remarks", data=data).status_code == 409


def test_a_file_is_sent_looked_at_and_fetched(desk, app):
    address = f"{desk.address}/documents/letter"
    content = picture("PDF", pages=2)
    sent = {"file": (io.BytesIO(content), "../surat.pdf")}
    page = text(desk.client.post(f"{address}/files", data=sent, follow_redirects=True))
    assert "surat.pdf" in page
    link = re.search(r'href="(/requests/files/[0-9a-f-]+)"', page)[1]

    with desk.client.get(link) as fetched:
        assert fetched.data == content
        assert fetched.headers["Content-Disposition"].startswith("attachment")
        assert fetched.headers["X-Content-Type-Options"] == "nosniff"
    painted = desk.client.get(f"{link}/pages/1")
    assert painted.data.startswith(b"\x89PNG")
    for nasty in ("2", "-1", "x", "01", "9" * 30):
        assert desk.client.get(f"{link}/pages/{nasty}").status_code == 404
    assert desk.team.get(link).status_code == 404  # of a draft of the agency's


@pytest.mark.parametrize(
    ("content", "name", "said"),
    [
        (b"<html>", "surat.pdf", "Hanya PDF"),
        (b"", "surat.pdf", "Berkas kosong"),
        (picture(), "surat.pdf", "yaitu PNG"),
        (picture("PDF") + b"<script>", "surat.pdf", "di belakang akhir berkas"),
    ],
)
def test_a_file_that_is_none_of_ours_is_refused_in_words(desk, content, name, said):
    sent = {"file": (io.BytesIO(content), name)}
    answer = desk.client.post(
        f"{desk.address}/documents/letter/files", data=sent, follow_redirects=True
    )
    assert said in text(answer)
    with make.session() as s:
        found = sa.select(sa.func.count()).where(DocumentFile.case_id == case_of(desk).id)
        assert s.scalar(found) == 0


def test_two_who_write_one_document_are_merged(desk):
    fill(desk, DocumentKind.LETTER)
    address = f"{desk.address}/documents/letter"
    first, second = seen_in(desk.client, address), seen_in(desk.client, address)
    data = flat_text(
        DOCUMENTS[DocumentKind.LETTER], filled(DOCUMENTS[DocumentKind.LETTER])
    )
    desk.client.post(address, data=data | {"subject": "Satu", "seen": first})

    answer = desk.client.post(address, data=data | {"subject": "Dua", "seen": second})

    assert answer.status_code == 409
    page = text(answer)
    assert "Satu" in page
    assert "Dua" in page
    assert 'name="take-subject"' in page


def test_messages_go_over_and_notes_stay(desk):
    hand_in(desk)
    desk.team.post(f"{desk.address}/messages", data={"text": "Mohon dilengkapi"})
    desk.team.post(f"{desk.address}/notes", data={"text": "Rahasia dapur"})
    page = text(desk.client.get(desk.address))
    assert "Mohon dilengkapi" in page
    assert "Rahasia dapur" not in page
    assert "Rahasia dapur" in text(desk.team.get(desk.address))
    said = desk.client.post(
        f"{desk.address}/notes", data={"text": "x"}, follow_redirects=True
    )
    assert said.status_code == 200
    assert "Rahasia dapur" not in text(said)
    empty = desk.client.post(
        f"{desk.address}/messages", data={"text": " \0 "}, follow_redirects=True
    )
    assert "Belum ada yang tertulis" in text(empty)


@pytest.mark.parametrize(
    "sent",
    [
        {}, {"action": "x"}, {"action": "approve", "role": "DEWA"}, {"action": "return", "reason": "x"},
        {"action": ["approve", "return"]}, {"action": "\0"},
    ],
)  # fmt: skip
def test_nonsense_is_no_deed(desk, sent):
    hand_in(desk)
    assert desk.team.post(f"{desk.address}/act", data=sent).status_code in {302, 404}
    assert case_of(desk).step is Step.FILE_CHECK


def test_what_waits_is_on_my_page_and_the_board(desk):
    hand_in(desk)
    number = case_of(desk).number
    mine, theirs = (text(who.get("/requests/mine")) for who in (desk.team, desk.client))
    assert number in mine.partition('id="due"')[0]
    assert number not in theirs.partition('id="due"')[0]
    assert number in theirs.partition('id="due"')[2]
    assert number in text(desk.team.get("/requests/board"))
    assert number in text(desk.client.get("/requests/board"))


@pytest.mark.parametrize("way", ["/papers/{}", "/papers/{}/file", "/requests/papers/{}"])
def test_the_office_sees_whether_the_agency_has_opened_its_paper(desk, way):
    hand_in(desk)
    paper = receipt(desk)
    assert "disampaikan, belum dibuka" in text(desk.team.get(desk.address))
    with desk.client.get(way.format(paper.id)) as opened:
        assert opened.status_code == 200
    assert "dibuka perangkat daerah" in text(desk.team.get(desk.address))


def test_everybody_may_verify_a_paper_and_reads_nothing_of_it(desk, app):
    hand_in(desk)
    paper = receipt(desk)
    anybody = app.test_client()

    for mark in (paper.code, paper.sha256):
        page = text(anybody.get("/verify/", query_string={"code": mark}))
        assert paper.number in page
        assert "Integrasi uji" not in page
    assert anybody.get("/verify/?code=x").status_code == 404
    assert anybody.get("/verify/?code=%00").status_code == 200
    assert anybody.get("/verify/").status_code == 200
    assert anybody.get(f"/requests/papers/{paper.id}").status_code == 302
    with desk.client.get(f"/requests/papers/{paper.id}") as fetched:
        assert fetched.data.startswith(b"%PDF-")


def test_the_office_words_its_papers(log_in, people):
    client = log_in(people["ADMINISTRATOR"])
    data = {"title": "Tanda Terima", "opening": "Diterima {tanggal}.", "closing": ""}
    wrong = client.post("/wordings/dashboard", data=data | {"opening": "{gaji}"})
    assert "gaji" in text(wrong)
    assert client.post("/wordings/dashboard", data=data).status_code == 302
    assert "Diterima {tanggal}." in text(client.get("/wordings/dashboard"))
    assert client.get("/wordings/x").status_code == 404


def test_a_holiday_moves_the_deadline(desk, log_in, people):
    hand_in(desk)
    page = text(desk.team.get(desk.address))
    before = re.search(r"Tenggat langkah</dt><dd><span[^>]*>([^<]+)<", page)[1]
    client = log_in(people["ADMINISTRATOR"])
    day = utc_now().date()

    for later in range(1, 8):
        date = (day + timedelta(days=later)).isoformat()
        client.post(
            "/holidays/new/", data={"day": date, "name": "Libur", "kind": "national"}
        )
    page = text(desk.team.get(desk.address))
    after = re.search(r"Tenggat langkah</dt><dd><span[^>]*>([^<]+)<", page)[1]
    assert before != after


def test_what_has_ended_is_taken_away_whole_and_not_before(desk, log_in, people):
    hand_in(desk)
    ways = ("archive", "report.xlsx", "report.json")
    for way in ways:
        assert desk.client.get(f"{desk.address}/{way}").status_code == 404
    head = log_in(people["PIMPINAN"])
    sent = {"action": "refuse", "reason": "other", "note": "=1+1"}
    head.post(f"{desk.address}/act", data=sent)

    page = text(desk.client.get(desk.address))
    for way, begin in zip(ways, (b"PK", b"PK", b"{"), strict=True):
        assert f"{desk.address}/{way}" in page
        with desk.client.get(f"{desk.address}/{way}") as fetched:
            assert fetched.data.startswith(begin)
            assert fetched.headers["Content-Disposition"].startswith("attachment")
    assert desk.client.get(f"{desk.address}/report.exe").status_code == 404


def test_the_public_reads_the_service_and_follows_a_request(desk, app):
    hand_in(desk)
    anybody = app.test_client()
    page = text(anybody.get("/service/"))
    assert "tidak dipungut biaya" in page
    assert "12 · Laporan akhir" in page
    assert case_of(desk).number not in page
    case = case_of(desk)
    paper = receipt(desk)
    right = {"number": case.number.lower(), "code": paper.code.lower()}

    shown = text(anybody.get("/service/status", query_string=right))

    assert "1 · Koordinasi" in shown
    assert "Integrasi uji" not in shown
    for wrong in ({"code": "ABCDE-23456"}, {"number": "PMH/2026/9999"}, {"number": "\0"}):
        answer = anybody.get("/service/status", query_string=right | wrong)
        assert answer.status_code == 404
        assert "Tidak ada permohonan dengan nomor" in text(answer)
    assert anybody.get("/service/status").status_code == 200


def test_a_refused_request_stands_where_it_was_refused(desk, log_in, people):
    hand_in(desk)
    head = log_in(people["PIMPINAN"])
    head.post(
        f"{desk.address}/act", data={"action": "refuse", "reason": "other", "note": "x"}
    )
    page = text(desk.client.get(desk.address))
    line = page.partition('<ol class="steps-line"')[2].partition("</ol>")[0]
    assert line.count('class="done"') == 0
    assert line.count('class="here"') == 1


def test_returns_and_what_was_done_alone_are_figures(desk, log_in, people):
    hand_in(desk)
    sent = {"action": "return", "reason": "legal_basis_missing", "note": "Belum ada"}
    digest = {"digest": case_of(desk).digest}
    desk.team.post(f"{desk.address}/act", data=sent | digest)
    desk.client.post(f"{desk.address}/act", data={"action": "hand_in"})
    head = log_in(people["PIMPINAN"])
    alone = {
        "action": "approve", "role": "TIM_TEKNIS", "digest": case_of(desk).digest,
        "reason": "other", "note": "Tim sedang dinas luar",
    }  # fmt: skip
    head.post(f"{desk.address}/act", data=alone)
    assert case_of(desk).step is Step.COORDINATION

    page = text(head.get("/requests/review"))

    assert case_of(desk).number in page
    assert "Tim sedang dinas luar" in page
    own = text(desk.client.get("/requests/review"))
    assert own.count("dasar hukum") == 1
    stranger = make.make_user(
        "OPD_OPERATOR", agency=make.make_agency(), password=hash_of(PASSWORD)
    )
    assert case_of(desk).number not in text(
        log_in(stranger.email).get("/requests/review")
    )


def test_what_is_printed_on_a_paper_leads_anybody_to_its_check(desk, app):
    hand_in(desk)
    case = case_of(desk)
    paper = receipt(desk)
    with make.session() as s:
        press = Press(
            app.extensions["simpul_settings"].home, "Asia/Jakarta", "", "K", None
        )
        event = queries.events_of(s, s.get_one(IntegrationRequest, case.id))[0]
        sheet = papers.sheet_of(
            s, replace(press, translations=i18n.compiled(press.home)),
            s.get_one(IntegrationRequest, case.id), paper.kind, event, (paper.number, paper.code),
        )  # fmt: skip
    printed = f"{sheet.verify}?code={sheet.code}"  # what the QR picture says
    answer = app.test_client().get(printed, follow_redirects=True)
    assert paper.number in text(answer)
