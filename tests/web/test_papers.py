"""Pages of signing, as the office and the head press them."""

import io
import zipfile

import pypdfium2
import pytest
from PIL import Image

from app.files import inspection
from app.identity.passwords import hash_of
from app.requests import queries
from app.requests.models import IntegrationRequest
from tests import make, pki
from tests.unit.test_inspection import picture
from tests.web.conftest import PASSWORD
from tests.web.test_requests import case_of, desk, hand_in, text

__all__ = ["desk"]  # a fixture of the neighbour


@pytest.fixture
def head(log_in, people):
    return log_in(people["PIMPINAN"])


@pytest.fixture
def refusals(desk, head):
    """Two letters that the head signs: a return and a refusal are of different hands."""
    hand_in(desk)
    sent = {"reason": "other", "note": "belum lengkap"}
    head.post(f"{desk.address}/act", data={"action": "refuse"} | sent)
    with make.session() as s:
        return queries.papers_of(s, s.get_one(IntegrationRequest, case_of(desk).id))


def zipped(files: dict[str, bytes]) -> io.BytesIO:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as book:
        for name, content in files.items():
            book.writestr(name, content)
    packed.seek(0)
    return packed


def test_papers_go_out_as_a_zip_and_come_back_signed(desk, head, refusals):
    (paper,) = refusals
    assert paper.number in text(desk.team.get("/papers/"))
    said = desk.team.post(
        "/papers/initial", data={"paper": str(paper.id)}, follow_redirects=True
    )
    assert "Diparaf: 1" in text(said)
    packed = head.post("/papers/zip", data={"paper": str(paper.id)})
    with zipfile.ZipFile(io.BytesIO(packed.data)) as book:
        (name,) = book.namelist()
        issued = book.read(name)
    chief = pki.person("Kepala Dinas", pki.authority("CA <Uji>"))
    back = zipped({"a/b.pdf": chief.sign(issued), "../c.txt": b"x"})

    said = head.post(
        "/papers/signed",
        data={"files": [(back, "kembali.zip"), (io.BytesIO(b"%PDF-"), "<b>x</b>.pdf")]},
        follow_redirects=True,
    )

    page = text(said)
    assert "yang diterima: 1" in page
    assert "../c.txt: Ini bukan naskah kami" in page
    assert "<b>x" not in page
    shown = text(desk.client.get(f"/papers/{paper.id}"))
    assert "CA &lt;Uji&gt;" in shown
    assert "penerbit belum terverifikasi" in shown
    with desk.client.get(f"/papers/{paper.id}/file") as fetched:
        assert fetched.data.startswith(issued)
        assert len(fetched.data) > len(issued)
    assert paper.number not in text(head.get("/papers/"))
    verified = text(head.get(f"/verify/?code={paper.code}"))
    assert "sudah ditandatangani" in verified
    assert "Kepala Dinas" in verified


def test_what_the_agency_takes_along_in_a_zip_is_opened_as_well(desk, refusals):
    (paper,) = refusals
    assert "belum dibuka" in text(desk.team.get(desk.address))
    desk.client.post("/papers/zip", data={"paper": str(paper.id)})
    assert "belum dibuka" not in text(desk.team.get(desk.address))


def test_the_pen_is_attested_on_the_paper_page(desk, log_in, people, refusals):
    (paper,) = refusals
    address = f"/papers/{paper.id}"
    desk.team.post("/papers/initial", data={"paper": str(paper.id)})
    wrong = {"file": (io.BytesIO(b"<html>"), "a.pdf")}
    answer = desk.team.post(f"{address}/scan", data=wrong, follow_redirects=True)
    assert "Hanya PDF" in text(answer)
    right = {"file": (io.BytesIO(picture()), "pindaian.png")}
    answer = desk.team.post(f"{address}/scan", data=right, follow_redirects=True)
    assert "Orang kedua mengesahkannya" in text(answer)
    assert desk.team.get(f"{address}/scan/picture").data.startswith(b"\x89PNG")
    data = log_in(people["PENGAWAS_DATA"])
    seen = text(data.get(address)).partition('name="seen" value="')[2][:64]

    answer = data.post(f"{address}/attest", data={"seen": seen}, follow_redirects=True)

    assert "Disahkan" in text(answer)
    with desk.client.get(f"{address}/file") as fetched:
        assert fetched.data == picture()
        assert fetched.mimetype == "image/png"


def test_a_paper_sent_back_is_issued_anew_and_compared(desk, head, refusals):
    (paper,) = refusals
    answer = head.post(
        f"/papers/{paper.id}/send-back", data={"note": "Salah"}, follow_redirects=True
    )
    assert "tidak berlaku lagi" in text(answer)
    assert "dicabut" in text(head.get(f"/verify/?code={paper.code}"))
    again = desk.team.post(f"/papers/{paper.id}/anew", follow_redirects=True)
    assert "Yang berbeda dari naskah sebelumnya" in text(again)
    assert paper.number in text(again)


@pytest.mark.parametrize("path", ["pages/9", "pages/-1", "pages/x", "scan/picture"])
def test_what_a_paper_has_not_is_not_there(desk, refusals, path):
    assert desk.team.get(f"/papers/{refusals[0].id}/{path}").status_code == 404


def test_nothing_chosen_is_said(desk, refusals):
    for address in ("/papers/initial", "/papers/zip"):
        answer = desk.team.post(address, follow_redirects=True)
        assert "Pilih naskah dahulu" in text(answer)
    answer = desk.team.post("/papers/signed", follow_redirects=True)
    assert "Pilih berkas dahulu" in text(answer)


def test_what_is_too_much_for_one_upload_is_said(desk, refusals):
    many = zipped({f"{n}.pdf": b"%PDF-" for n in range(60)})
    answer = desk.team.post(
        "/papers/signed", data={"files": (many, "banyak.zip")}, follow_redirects=True
    )
    assert "50 berkas pertama" in text(answer)


@pytest.mark.parametrize(
    "content", [b"PK\x03\x04", b"PK\x03\x04" + b"x" * 500, b"", b"\0" * 9]
)
def test_a_zip_that_is_none_is_refused_in_words(desk, refusals, content):
    sent = {"files": (io.BytesIO(content), "naskah.zip")}
    answer = desk.team.post("/papers/signed", data=sent, follow_redirects=True)
    assert answer.status_code == 200
    assert "naskah.zip: " in text(answer)


@pytest.mark.parametrize("at", [40, 6])
def test_a_damaged_zip_is_told_of_and_does_not_hide_what_was_taken(desk, refusals, at):
    packed = bytearray(zipped({"naskah.pdf": b"%PDF-" + bytes(range(256)) * 40}).read())
    for n in range(at, at + 20):
        packed[n] ^= 0xFF
    sent = {"files": (io.BytesIO(bytes(packed)), "rusak.zip")}
    answer = desk.team.post("/papers/signed", data=sent, follow_redirects=True)
    assert answer.status_code == 200
    said = text(answer)
    assert "rusak.zip: " in said or "naskah.pdf: " in said


def test_many_refused_files_are_told_of_within_a_cookie(desk, refusals):
    many = zipped({f"{n:02d}-{'nama' * 20}.pdf": b"%PDF-" for n in range(40)})
    answer = desk.team.post("/papers/signed", data={"files": (many, "a.zip")})
    assert len(answer.headers["Set-Cookie"]) < 4_000
    assert "32 berkas lainnya ditolak" in text(desk.team.get("/papers/"))


def file_of(desk, paper) -> bytes:
    with desk.team.get(f"/papers/{paper.id}/file") as answer:
        return answer.data


def scanned(issued: bytes, form: str) -> bytes:
    """Return the first page of a paper as an office's scanner would, a little askew."""
    page = Image.open(io.BytesIO(inspection.picture(issued, 0))).convert("RGB")
    page = page.resize((1654, 2339)).rotate(1.5, fillcolor="white")
    out = io.BytesIO()
    page.save(out, form, quality=70)
    return out.getvalue()


@pytest.mark.parametrize("form", ["PDF", "JPEG"])
def test_what_was_signed_by_pen_finds_its_paper_by_its_code(desk, head, refusals, form):
    (paper,) = refusals
    issued = file_of(desk, paper)
    desk.team.post("/papers/initial", data={"paper": str(paper.id)})
    back = zipped({"pindai 1": scanned(issued, form), "lain.png": picture("PNG")})
    said = desk.team.post(
        "/papers/signed", data={"files": (back, "a.zip")}, follow_redirects=True
    )
    assert "lain.png" in text(said)
    page = text(head.get(f"/papers/{paper.id}"))
    assert "scan/picture" in page  # a second person compares
    again = desk.team.post(
        "/papers/signed",
        data={"files": (io.BytesIO(scanned(issued, form)), "b")},
        follow_redirects=True,
    )
    assert "Pindaian yang harus disahkan" not in text(again)  # one is waited for already


def test_a_pdf_with_our_code_that_is_no_scan_is_refused(desk, head, refusals):
    """It may read otherwise than our paper: only what is a picture was signed by pen."""
    (paper,) = refusals
    desk.team.post("/papers/initial", data={"paper": str(paper.id)})
    issued = file_of(desk, paper)
    written = pypdfium2.PdfDocument(issued)
    out = io.BytesIO()
    written.save(out)  # the same page, not our bytes
    said = head.post(
        "/papers/signed",
        data={"files": (io.BytesIO(out.getvalue()), "palsu.pdf")},
        follow_redirects=True,
    )
    assert "palsu.pdf" in text(said)
    assert "scan/picture" not in text(head.get(f"/papers/{paper.id}"))


def test_the_code_of_another_agencys_paper_leads_nowhere(desk, head, refusals, log_in):
    (paper,) = refusals
    issued = file_of(desk, paper)
    desk.team.post("/papers/initial", data={"paper": str(paper.id)})
    stranger = make.make_user(
        "OPD_PIMPINAN", agency=make.make_agency(), password=hash_of(PASSWORD)
    )
    sent = {"files": (io.BytesIO(scanned(issued, "JPEG")), "x.jpg")}
    log_in(stranger.email).post("/papers/signed", data=sent)
    assert "scan/picture" not in text(head.get(f"/papers/{paper.id}"))
