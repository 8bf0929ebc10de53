"""A case to be kept: a ZIP that is read and checked without this software; its report as a table.

In the ZIP stand the papers as they are in force, every version of every document, the files
that came with them, the contract and the whole course as JSON, a page that shows it all, and
``SHA256SUMS``, by which ``sha256sum -c`` tells whether any of it was changed.
"""

import hashlib
import io
import re
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import jinja2
import msgspec
import openpyxl
import sqlalchemy as sa
from openpyxl.styles import Alignment, Font
from openpyxl.utils import get_column_letter
from sqlalchemy.orm import Session

from app.core.clock import in_zone
from app.files import services as files
from app.requests.models import DocumentFile, IntegrationRequest
from app.requests.papers import Press
from app.requests.queries import papers_of
from app.requests.signing import Signing, signings
from app.requests.states import PaperState
from app.requests.story import Story, lines_of, read_out, story_of

TEMPLATES = Path(__file__).parent.parent / "templates" / "requests"
SUMS = "SHA256SUMS"
WIDEST, LINE = 70, 15  # characters of a column, points of a line
_PAGES = jinja2.Environment(
    loader=jinja2.FileSystemLoader(TEMPLATES), autoescape=True, undefined=jinja2.StrictUndefined
)  # fmt: skip


def write_archive(
    session: Session, press: Press, case: IntegrationRequest, out: IO[bytes]
) -> None:
    """Write a case that has ended as a ZIP; its entries bear the day of the end.

    Raises ``FileRefusedError`` when the store of this server lacks one of them.
    """
    story = story_of(session, press, case)
    ended = case.ended_at or case.created_at
    book = _Book(out, in_zone(ended, press.zone).timetuple()[:6])
    issued = list(reversed(papers_of(session, case)))
    found = signings(session, issued)
    for n, (paper, told) in enumerate(zip(issued, story["papers"], strict=True), 1):
        stem = f"naskah/{n:02d}-{_plain(f'{paper.title} {paper.number}')}"
        told["files"] = [
            book.add_file(f"{stem}{mark}.{ending}", press.home, sha256)
            for mark, ending, sha256 in _shapes(found[paper.id])
        ]
    for document in story["documents"]:
        for version in document["versions"]:
            name = f"dokumen/{document['kind']}-v{version['number']}.json"
            version["file"] = book.add(name, as_json(version))
    kept = session.scalars(
        sa.select(DocumentFile)
        .where(DocumentFile.case_id == case.id)
        .order_by(DocumentFile.at, DocumentFile.id)
    )
    names = {each.sha256: each.name for each in kept}
    story["files"] = [
        book.add_file(
            f"dokumen/berkas/{sha256[:12]}-{_plain_name(name)}", press.home, sha256
        )
        for sha256, name in names.items()
    ]
    book.add("laporan.xlsx", report_as_workbook(story))
    book.add("laporan.json", as_json(story))
    book.add("index.html", _page(story, book.sums))
    book.close()


def _shapes(signing: Signing) -> Sequence[tuple[str, str, str]]:
    """Return how a paper stands in the archive: as issued, and as it was signed."""
    shapes = [("", "pdf", signing.paper.sha256)]
    if signing.sha256 != signing.paper.sha256:
        shapes.append(("-bertanda-tangan", "pdf", signing.sha256))
    if signing.state is PaperState.SIGNED and signing.scan is not None:
        media = str(signing.scan.media or "pdf")
        shapes.append(("-pindaian", media, signing.scan.sha256))
    return shapes


class _Book:
    """A ZIP whose files are written down with their digests."""

    def __init__(self, out: IO[bytes], moment: Any) -> None:
        self._zip = zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED)
        self._moment = moment
        self.sums: dict[str, str] = {}

    def add(self, name: str, content: bytes) -> str:
        entry = zipfile.ZipInfo(name, self._moment)
        entry.compress_type = zipfile.ZIP_DEFLATED
        entry.external_attr = 0o644 << 16
        self._zip.writestr(entry, content)
        self.sums[name] = hashlib.sha256(content).hexdigest()
        return name

    def add_file(self, name: str, home: Path, sha256: str) -> str:
        return self.add(name, files.path_of(home, sha256).read_bytes())

    def close(self) -> None:
        lines = [f"{digest}  {name}\n" for name, digest in sorted(self.sums.items())]
        self.add(SUMS, "".join(lines).encode())
        self._zip.close()


def _page(story: Story, sums: Mapping[str, str]) -> bytes:
    page = _PAGES.get_template("archive.html")
    said = page.render(story=story, facts=lines_of(story), sums=sums, read_out=read_out)
    return said.encode()


def as_json(value: Any) -> bytes:
    """Return values as JSON that people can read as well."""
    return msgspec.json.format(msgspec.json.encode(value), indent=2)


def report_as_workbook(story: Story) -> bytes:
    """Return the report of a case as a workbook: facts, course, papers, fields."""
    book = openpyxl.Workbook()
    book.remove(book.worksheets[0])
    _sheet(book, "Laporan", ("Keterangan", "Isi"), lines_of(story))
    _sheet(
        book, "Kronologi",
        ("Waktu", "Langkah", "Tindakan", "Pelaku", "Sebagai", "Menuju", "Alasan", "Catatan"),
        [
            (read_out(e["at"]), e["step"], e["deed"], e["by"], e["as"], e["led_to"], e["reason"], e["note"])
            for e in story["events"]
        ],
    )  # fmt: skip
    _sheet(
        book, "Naskah", ("Naskah", "Nomor", "Terbit", "Kode", "SHA-256"),
        [(p["title"], p["number"], read_out(p["issued_at"]), p["code"], p["sha256"]) for p in story["papers"]],
    )  # fmt: skip
    versions = story["contract"]["versions"] if story["contract"] else []
    _sheet(
        book, "Data", ("Versi", "Elemen", "Nama", "Tipe", "Klasifikasi", "Definisi"),
        [
            (v["number"], f["label"], f["name"], f["type"], f["classification"], f["definition"])
            for v in versions for f in v["fields"]
        ],
    )  # fmt: skip
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


def _sheet(
    book: openpyxl.Workbook,
    name: str,
    head: Sequence[str],
    rows: Sequence[Sequence[Any]],
) -> None:
    sheet = book.create_sheet(name)
    widths = [len(each) for each in head]
    for number, row in enumerate([head, *rows], 1):
        for column, value in enumerate(row, 1):
            cell = sheet.cell(number, column)
            # Whatever somebody wrote is text, never a formula.
            cell.value = _fitting(value)
            if isinstance(value, str):
                cell.data_type = "s"
            cell.alignment = Alignment(wrap_text=True, vertical="top")
            cell.font = Font(bold=number == 1)
            widths[column - 1] = max(widths[column - 1], len(str(value)))
        lines = max(len(str(value)) // WIDEST + 1 for value in row)
        sheet.row_dimensions[number].height = LINE * min(lines, 25)
    for column, width in enumerate(widths, 1):
        letter = get_column_letter(column)
        sheet.column_dimensions[letter].width = min(width + 2, WIDEST)
    sheet.freeze_panes = "A2"
    sheet.page_setup.orientation = "landscape"
    sheet.page_setup.fitToHeight = 0
    sheet.sheet_properties.pageSetUpPr.fitToPage = True


def _fitting(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    return re.sub(r"[\x00-\x08\x0b\x0c\x0e-\x1f]", "", value)[:32_767]


def _plain(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9]+", "-", text).strip("-")


def _plain_name(name: str) -> str:
    stem, _, ending = name.rpartition(".")
    return f"{_plain(stem) or 'berkas'}.{ending}"
