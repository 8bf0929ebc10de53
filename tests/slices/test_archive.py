"""A case to be kept: its ZIP opened without us, its report as a workbook and as JSON."""

import io
import json
import subprocess
import zipfile

import openpyxl
import pytest

from app.files.inspection import FileKind
from app.files.services import Kept, store_of
from app.requests import archive, queries, services, signing, writing
from app.requests.documents import DocumentKind
from app.requests.models import IntegrationRequest, IssuedPaper
from app.requests.states import Action, Role, Step
from app.requests.story import story_of
from tests import make, pki
from tests.town import WHY

pytestmark = pytest.mark.usefixtures("bound")
NASTY = "=HYPERLINK(1) <script>alert(1)</script> {{ 7*7 }} \x07"


def archived(town, ident) -> bytes:
    out = io.BytesIO()
    with make.session(town.people[Role.OPD_OPERATOR]) as s:
        case = queries.get_case(s, ident, town.people[Role.OPD_OPERATOR])
        archive.write_archive(s, town.press, case, out)
    return out.getvalue()


@pytest.fixture
def closed(town):
    """A case that is closed, with a file, talk, a note of the office and a signed paper."""
    ident = town.begin()
    stored = store_of(town.press.home).put(b"%PDF-berkas")
    file = Kept("../surat asli.pdf", FileKind.PDF, stored.sha256, 11, 1)
    with make.session(town.people[Role.OPD_OPERATOR]) as s:
        case = queries.get_case(s, ident, town.people[Role.OPD_OPERATOR])
        writing.attach(s, case, DocumentKind.LETTER, file)
    town.hand_in(ident)
    with make.session(town.people[Role.TIM_TEKNIS]) as s:
        case = s.get_one(IntegrationRequest, ident)
        services.add_note(s, case, "catatan dapur kantor")
        services.send_message(s, case, NASTY)
    while town.read(ident).step is not Step.CLOSED:
        town.pass_step(ident)
    with make.session() as s:
        receipt = queries.papers_of(s, s.get_one(IntegrationRequest, ident))[-1]
    issued = store_of(town.press.home).path(receipt.sha256).read_bytes()
    signed = pki.person("Kepala", pki.authority()).sign(issued)
    with make.session(town.people[Role.TIM_TEKNIS]) as s:
        paper = s.get_one(IssuedPaper, receipt.id)
        if signing.signings(s, [paper])[paper.id].state == "for_initials":
            signing.initial(s, paper)
        signing.take_signed(s, town.press.home, signed, "")
    return ident


def test_the_archive_is_read_and_checked_on_its_own(town, closed, tmp_path):
    content = archived(town, closed)
    with zipfile.ZipFile(io.BytesIO(content)) as book:
        assert all(
            not n.startswith(("/", "..")) and "\\" not in n for n in book.namelist()
        )
        book.extractall(tmp_path)
    checked = subprocess.run(
        ["sha256sum", "-c", "SHA256SUMS"], cwd=tmp_path, capture_output=True, check=False
    )
    assert checked.returncode == 0, checked.stdout
    assert len(checked.stdout.splitlines()) == len(list(tmp_path.rglob("*.*")))
    papers = sorted(p.name for p in (tmp_path / "naskah").iterdir())
    assert len(papers) == 13 + 1
    assert sum(name.endswith("-bertanda-tangan.pdf") for name in papers) == 1
    page = (tmp_path / "index.html").read_text()
    for each in tmp_path.rglob("*.pdf"):
        assert f'href="{each.relative_to(tmp_path)}"' in page
    assert "<script>" not in page
    assert "49" not in page.partition("HYPERLINK")[2][:60]
    assert "catatan dapur" not in page
    assert "src=" not in page  # nothing is fetched from anywhere


def test_the_report_is_a_table_and_json(town, closed):
    who = town.people[Role.OPD_OPERATOR]
    with make.session(who) as s:
        story = story_of(s, town.press, queries.get_case(s, closed, who))
    told = json.loads(archive.as_json(story))
    assert told["number"].startswith("PMH/")
    assert [e["led_to"] for e in told["events"]][-1] == "selesai"
    assert len(told["papers"]) == 13
    assert told["contract"]["versions"][0]["fields"]
    assert "catatan dapur" not in json.dumps(told)
    story["events"][0]["note"] = NASTY
    book = openpyxl.load_workbook(io.BytesIO(archive.report_as_workbook(story)))
    assert book.sheetnames == ["Laporan", "Kronologi", "Naskah", "Data"]
    note = book["Kronologi"]["H2"]
    assert note.data_type == "s"
    assert note.value == NASTY.replace("\x07", "")
    assert book["Naskah"].max_row == 1 + 13


def test_a_refused_case_is_kept_too(town):
    ident = town.begin()
    town.hand_in(ident)
    town.act(ident, Action.REFUSE, Role.PIMPINAN, **WHY)
    with zipfile.ZipFile(io.BytesIO(archived(town, ident))) as book:
        assert "index.html" in book.namelist()
