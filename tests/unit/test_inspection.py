"""Files that people send: told apart by content, the hostile ones refused in words."""

import io
import zipfile
import zlib

import openpyxl
import pytest
from PIL import Image

from app.core.store import Store
from app.files import inspection, services
from app.files.errors import MAX_BYTES, FileRefusedError
from app.files.inspection import FileKind
from app.files.services import tidy_name


def picture(kind: str = "PNG", size=(40, 30), pages: int = 1) -> bytes:
    out = io.BytesIO()
    image = Image.new("RGB", size, "white")
    more = (
        {"save_all": True, "append_images": [image] * (pages - 1)}
        if kind == "PDF"
        else {}
    )
    image.save(out, kind, **more)
    return out.getvalue()


def archive(**parts: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in ({"[Content_Types].xml": b"<Types/>"} | parts).items():
            file.writestr(name, content)
    return out.getvalue()


def document(content: bytes = b"<document/>", **parts: bytes) -> bytes:
    return archive(**{"word/document.xml": content}, **parts)


def workbook() -> bytes:
    out = io.BytesIO()
    openpyxl.Workbook().save(out)
    return out.getvalue()


def pdf(catalog: str = "", trailer: str = "", objects: str = "") -> bytes:
    """A PDF of one empty page, put together by hand."""
    parts = [
        f"1 0 obj<</Type/Catalog/Pages 2 0 R{catalog}>>endobj\n",
        "2 0 obj<</Type/Pages/Kids[3 0 R]/Count 1>>endobj\n",
        "3 0 obj<</Type/Page/Parent 2 0 R/MediaBox[0 0 200 200]>>endobj\n",
        objects,
    ]
    text, places = "%PDF-1.7\n", []
    for each in filter(None, parts):
        places.append(len(text))
        text += each
    table = "".join(f"{place:010d} 00000 n \n" for place in places)
    count = len(places) + 1
    text += f"xref\n0 {count}\n0000000000 65535 f \n{table}trailer<</Size {count}/Root 1 0 R{trailer}>>\nstartxref\n{text.__len__()}\n%%EOF\n"
    return text.encode("latin-1")


def giant() -> bytes:
    """A PNG whose head says that it has ten thousand million points."""
    whole = picture()
    head = b"IHDR" + (100_000).to_bytes(4, "big") * 2 + whole[24:29]
    return whole[:12] + head + zlib.crc32(head).to_bytes(4, "big") + whole[33:]


SCRIPT = pdf("/Names<</JavaScript<</Names[(a) 4 0 R]>>>>",
             objects="4 0 obj<</S/JavaScript/JS(app.alert\\(1\\))>>endobj\n")  # fmt: skip
EMBEDDED = pdf("/Names<</EmbeddedFiles<</Names[(a.exe) 4 0 R]>>>>",
               objects="4 0 obj<</Type/Filespec/F(a.exe)/EF<</F 3 0 R>>>>endobj\n")  # fmt: skip
LOCKED = pdf(trailer=f"/ID[<{'00' * 16}><{'00' * 16}>]/Encrypt<</Filter/Standard/V 1/R 2/Length 40/P -4"
             f"/O<{'11' * 32}>/U<{'22' * 32}>>>")  # fmt: skip

GOOD = {
    "a letter": (picture("PDF", pages=3), FileKind.PDF, 3),
    "made by hand": (pdf(), FileKind.PDF, 1),
    "a scan": (picture("JPEG"), FileKind.JPEG, 1),
    "a screenshot": (picture(), FileKind.PNG, 1),
    "Word": (document(), FileKind.DOCX, 0),
    "Excel": (workbook(), FileKind.XLSX, 0),
    "line ends behind": (picture("PDF") + b"\r\n\r\n", FileKind.PDF, 1),
}
BAD = {
    "nothing": (b"", "empty"),
    "HTML": (b"<html><script>alert(1)</script></html>", "kind"),
    "SVG": (b'<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"/>', "kind"),
    "GIF with a program": (b"GIF89a/*\x00\x00*/=1;alert(1)//", "kind"),
    "a program": (b"MZ\x90\x00" + b"\0" * 500, "kind"),
    "text": (b"Surat permohonan", "kind"),
    "old Word": (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 600, "old"),
    "any archive": (archive(**{"a.txt": b"a"}), "kind"),
    "both at once": (document(**{"xl/workbook.xml": b"<workbook/>"}), "kind"),
    "no types": (document().replace(b"[Content_Types].xml", b"[Content_Typez].xml"), "kind"),
    "half a PDF": (picture("PDF")[:300], "broken"),
    "PDF in name alone": (b"%PDF-1.7\nhalo\n%%EOF\n", "broken"),
    "HTML before PDF": (b"<html>" + picture("PDF"), "kind"),
    "HTML behind PDF": (picture("PDF") + b"<html><script>alert(1)</script>", "behind"),
    "an archive behind PDF": (picture("PDF") + archive(), "behind"),
    "an archive behind PNG": (picture() + archive(), "behind"),
    "a page behind JPEG": (picture("JPEG") + b"<html>" + b"x" * 2000, "behind"),
    "half a PNG": (picture(size=(400, 300))[:60], "broken"),
    "a PNG that claims the world": (giant(), "pixels"),
    "a PDF with a program": (SCRIPT, "script"),
    "a PDF with a file in it": (EMBEDDED, "script"),
    "a PDF with a password": (LOCKED, "old"),
    "macros": (document(**{"word/vbaProject.bin": b"x"}), "macros"),
    "a bomb": (document(b" " * (20 << 20)), "bomb"),
    "entities": (document(b'<!DOCTYPE a [<!ENTITY b "c">]><document/>'), "entities"),
    "a part outside": (document(**{"../../etc/passwd": b"x"}), "places"),
    "a part at the root": (document(**{"/etc/passwd": b"x"}), "places"),
    "a part on a drive": (document(**{"C:/windows/x": b"x"}), "places"),
    "a damaged archive": (document()[:-30], "broken"),
}  # fmt: skip


@pytest.mark.parametrize("name", GOOD)
def test_what_offices_send_is_taken(name):
    content, kind, pages = GOOD[name]
    assert inspection.look(content) == (kind, pages)


@pytest.mark.parametrize("name", BAD)
def test_what_is_something_else_is_refused_in_words(name):
    content, why = BAD[name]
    with pytest.raises(FileRefusedError) as refused:
        inspection.look(content)
    assert refused.value.why == why
    assert str(refused.value).endswith(".")


@pytest.mark.parametrize("name", ["a letter", "a scan", "a screenshot"])
def test_pages_are_painted_as_pictures(name):
    painted = Image.open(io.BytesIO(inspection.picture(GOOD[name][0], 0)))
    assert painted.format == "PNG"
    assert 0 < painted.width <= inspection.WIDTH * 4


def test_a_page_that_is_not_there_is_refused():
    for content, page in ((picture("PDF"), 1), (picture(), 1), (picture("PDF"), -1)):
        with pytest.raises(FileRefusedError) as refused:
            inspection.picture(content, page)
        assert refused.value.why == "page"


NAMES = {
    "surat.pdf": "surat.pdf",
    "SURAT PERMOHONAN.PDF": "SURAT PERMOHONAN.pdf",
    "../../etc/passwd.pdf": "passwd.pdf",
    "..\\..\\windows\\surat.pdf": "surat.pdf",
    "C:\\surat.pdf": "surat.pdf",
    "%2e%2e%2fsurat.pdf": "2e2e2fsurat.pdf",
    "/etc/cron.d/surat.pdf": "surat.pdf",
    "surat\0.pdf": "surat.pdf",
    "surat\u202efdp.pdf": "suratfdp.pdf",
    "surat": "surat.pdf",
    ".pdf": "dokumen.pdf",
    "": "dokumen.pdf",
    "x" * 300 + ".pdf": "x" * 120 + ".pdf",
    'sur"at<b>.pdf': "suratb.pdf",
    "laporan.xlsx.pdf": "laporan.xlsx.pdf",
}


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_a_name_and_no_place(name):
    assert tidy_name(name, FileKind.PDF) == NAMES[name]


@pytest.mark.parametrize(
    "name", ["surat.png", "surat.pdf.exe", "surat.html", "surat.docx"]
)
def test_a_name_that_lies_is_refused(name):
    with pytest.raises(FileRefusedError, match="PDF"):
        tidy_name(name, FileKind.PDF)


def test_jpeg_has_two_endings():
    assert (
        tidy_name("scan.jpeg", FileKind.JPEG)
        == tidy_name("scan.JPG", FileKind.JPEG)
        == "scan.jpg"
    )


def test_a_file_is_kept_by_its_content(tmp_path):
    content = picture("PDF")
    kept = services.keep(tmp_path, "Surat.pdf", content)
    again = services.keep(tmp_path, "Lain.pdf", content)
    assert kept.sha256 == again.sha256
    store: Store = services.store_of(tmp_path)
    assert store.path(kept.sha256).read_bytes() == content
    with pytest.raises(FileRefusedError, match="7 MB"):
        services.keep(tmp_path, "besar.pdf", b"%PDF-" + b"x" * MAX_BYTES)
