"""Contracts as a workbook in Indonesian, for who writes no programs.

Sheets *Kontrak* (the terms), *Kolom* (the fields), *Penerima* (who receives the data, told
only) and *Petunjuk* (how it is filled in). All cells are texts: no zero is lost, nothing is
a formula.
"""

import io
import re
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Any

from app.contracts.errors import UnfitTextError
from app.contracts.fields import FieldSpec
from app.contracts.rules import MAX_FIELDS
from app.contracts.states import (
    Classification,
    DatasetKind,
    FieldType,
    LoadMode,
    VersionStatus,
)
from app.contracts.terms import (
    MAX_DESCRIPTION,
    MAX_TEXT,
    MAX_TITLE,
    SEPARATOR,
    Around,
    Findings,
    Reader,
    Taken,
    Terms,
    Words,
    blame_twice,
    is_listable,
    words_for,
)
from app.core.words import message_id
from app.core.workbooks import Line

TERMS, FIELDS, RECEIVERS, GUIDE = "Kontrak", "Kolom", "Penerima", "Petunjuk"
LINE_HEIGHT, MOST_LINES = 15, 20  # in points; a cell that holds more is scrolled
HEAD_WITHIN = 20  # rows, for a title above the heads
WORDS = Words(
    types={
        "teks": FieldType.TEXT,
        "bilangan bulat": FieldType.INTEGER,
        "bilangan desimal": FieldType.NUMBER,
        "benar/salah": FieldType.BOOLEAN,
        "tanggal": FieldType.DATE,
        "waktu": FieldType.TIMESTAMP,
    },
    classes={
        "umum": Classification.PUBLIC,
        "terbatas": Classification.RESTRICTED,
        "data pribadi umum": Classification.PERSONAL,
        "data pribadi spesifik": Classification.SENSITIVE,
    },
    kinds={
        "data induk": DatasetKind.MASTER,
        "transaksi": DatasetKind.TRANSACTION,
        "data rujukan": DatasetKind.REFERENCE,
    },
    modes={
        "seluruh himpunan setiap kali": LoadMode.SNAPSHOT,
        "baris baru dan berubah": LoadMode.UPSERT,
    },
    states={
        "draf": VersionStatus.DRAFT,
        "aktif": VersionStatus.ACTIVE,
        "tidak berlaku lagi": VersionStatus.RETIRED,
    },
    flags={"ya": True, "tidak": False, "1": True, "0": False},
)
_YES, _NO = "ya", "tidak"
WRITTEN: Mapping[StrEnum, str] = {
    value: word
    for words in (WORDS.types, WORDS.classes, WORDS.kinds, WORDS.modes, WORDS.states)
    for value, word in words_for(words).items()
}
# What stands on *Kontrak*: the attribute of the terms, what it is called, what it is for.
_ROWS = (
    ("title", "Judul", "Nama kontrak yang dibaca orang."),
    ("slug", "Nama pendek", "Nama tabel dan alamat API; tidak pernah berubah."),
    ("agency", "Kode perangkat daerah", "Penyedia data."),
    ("agency_name", "Nama perangkat daerah", ""),
    ("kind", "Jenis data", "Pilih dari daftar."),
    ("load_mode", "Setiap penarikan membawa", "Pilih dari daftar."),
    ("description", "Uraian", ""),
    ("basis", "Dasar", "Permohonan yang melahirkannya."),
    ("number", "Versi", "Versi yang menjadi asal berkas ini."),
    ("status", "Status", "Yang diambil dari berkas selalu menjadi draf."),
    ("note", "Catatan", ""),
    ("max_rejected_percent", "Data ditolak paling banyak (%)", "0 sampai 100."),
    ("max_vanished_percent", "Baris hilang paling banyak (%)", "0 sampai 100."),
    ("ident", "ID kontrak", "Jangan diubah: menunjuk kontrak yang dimaksud."),
)
# What stands on *Kolom*: the column of a field, its head, its width.
_COLUMNS = (
    ("name", "Nama kolom", 24), ("source_path", "Jalur pada sumber", 24), ("label", "Label", 28),
    ("type", "Tipe", 18), ("required", "Wajib", 9), ("is_key", "Kunci", 9),
    ("min_length", "Panjang minimal", 12), ("max_length", "Panjang maksimal", 12),
    ("minimum", "Nilai terkecil", 18), ("maximum", "Nilai terbesar", 18),
    ("pattern", "Pola", 22), ("allowed_values", "Nilai yang diizinkan", 26),
    ("classification", "Klasifikasi", 22), ("definition", "Definisi", 44),
    ("unit", "Satuan", 14), ("example", "Contoh", 22),
)  # fmt: skip
_RECEIVER_HEADS = (
    "Kode perangkat daerah", "Nama perangkat daerah", "Nomor kesepakatan", "Tujuan", "Kolom", "Sampai dengan",
)  # fmt: skip
_GUIDE = (
    "Lembar “Kontrak” berisi ketentuan, lembar “Kolom” berisi satu baris untuk setiap kolom data.",
    (
        "Isi kolom “Isi” pada lembar “Kontrak”. Judul, nama pendek, perangkat daerah, jenis data, dan isi setiap"
        " penarikan hanya dipakai untuk kontrak baru."
    ),
    (
        "Pada lembar “Kolom”, tambahkan baris di bawah untuk kolom baru dan hapus baris untuk kolom"
        " yang dihilangkan. Urutan kolom lembar boleh ditukar; judulnya tidak diganti."
    ),
    (
        "Nama kolom: huruf kecil, angka, dan garis bawah, diawali huruf. Jalur pada sumber: nama isian"
        " pada layanan sumber, bertitik bila bertingkat (misalnya orang.nip); kosong berarti sama"
        " dengan nama kolom."
    ),
    (
        "Tipe, wajib, kunci, dan klasifikasi dipilih dari daftar. Kunci mengenali baris, jadi selalu"
        " wajib. Klasifikasi yang kosong dianggap terbatas."
    ),
    (
        "Nilai yang diizinkan ditulis dengan tanda | di antaranya, misalnya L | P. Pola adalah ekspresi"
        " reguler untuk seluruh isi, misalnya \\d{18}."
    ),
    "Tanggal ditulis 2026-11-23; waktu ditulis dengan zona, misalnya 2026-11-23T08:00:00+07:00.",
    "Nomor seperti NIP, NIK, dan kode wilayah bertipe teks agar nol di depan tidak hilang.",
    "Lembar “Penerima” hanya untuk dibaca: siapa menerima data diatur dengan kesepakatan.",
    (
        "Kirim berkas ini lewat tombol “Ambil dari berkas”. Perubahannya ditunjukkan dahulu; setelah"
        " disetujui menjadi draf dan belum berlaku."
    ),
)
_FROM_AGREEMENTS = message_id("Who receives the data stands in agreements alone.")
_UNFIT = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
_LOOKS_ESCAPED = re.compile(r"_(?=x[0-9A-Fa-f]{4}_)")
_MODIFIED = re.compile(rb"(<dcterms:(?:created|modified)[^>]*>)[^<]*")
_MOMENT = b"2000-01-01T00:00:00Z"


# Writing -------------------------------------------------------------------------------


def write(terms: Terms, around: Around = Around()) -> bytes:  # noqa: B008 - a plain empty tuple
    """Return a contract as a workbook; the same contract gives the same bytes.

    Raises ``UnfitTextError`` for a text that no workbook can hold.
    """
    import openpyxl

    book = openpyxl.Workbook()
    _write_terms(book.active, terms)
    _write_fields(book.create_sheet(FIELDS), terms.fields)
    if around.receivers:
        sheet = book.create_sheet(RECEIVERS)
        rows = [
            [*each[:4], ", ".join(each.fields), each.until] for each in around.receivers
        ]
        _write_table(sheet, _RECEIVER_HEADS, rows, [14, 34, 26, 44, 40, 16])
    sheet = book.create_sheet(GUIDE)
    _write_table(sheet, ["Cara mengisi"], [[each] for each in _GUIDE], [110])
    file = io.BytesIO()
    book.save(file)
    return _steady(file.getvalue())


def _write_terms(sheet: Any, terms: Terms) -> None:
    sheet.title = TERMS
    rows = [[head, _cell(getattr(terms, name)), help_] for name, head, help_ in _ROWS]
    _write_table(sheet, ["Keterangan", "Isi", "Petunjuk"], rows, [32, 70, 52])
    places = {name: f"B{at}" for at, (name, _head, _help) in enumerate(_ROWS, 2)}
    _offer(sheet, places["kind"], words_for(WORDS.kinds).values())
    _offer(sheet, places["load_mode"], words_for(WORDS.modes).values())


def _write_fields(sheet: Any, fields: Sequence[FieldSpec]) -> None:
    from openpyxl.utils import get_column_letter

    rows = [[_of_field(each, name) for name, _h, _w in _COLUMNS] for each in fields]
    widths = [width for _name, _head, width in _COLUMNS]
    _write_table(sheet, [head for _name, head, _width in _COLUMNS], rows, widths)
    lists = {
        "type": words_for(WORDS.types).values(),
        "classification": words_for(WORDS.classes).values(),
        "required": (_YES, _NO),
        "is_key": (_YES, _NO),
    }
    for at, (name, _head, _width) in enumerate(_COLUMNS, 1):
        if name in lists:
            letter = get_column_letter(at)
            _offer(sheet, f"{letter}2:{letter}{MAX_FIELDS + 1}", lists[name])


def _of_field(spec: FieldSpec, name: str) -> str:
    if name != "allowed_values":
        return _cell(getattr(spec, name))
    for each in spec.allowed_values:
        if not is_listable(each):
            raise UnfitTextError(each)
    return f" {SEPARATOR} ".join(spec.allowed_values)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return _YES if value else _NO
    return WRITTEN[value] if isinstance(value, StrEnum) else str(value)


def _write_table(
    sheet: Any,
    heads: Sequence[str],
    rows: Sequence[Sequence[str]],
    widths: Sequence[int],
) -> None:
    from openpyxl.styles import Alignment, Font, PatternFill
    from openpyxl.utils import get_column_letter

    for number, cells in enumerate([heads, *rows], 1):
        for column, text in enumerate(cells, 1):
            cell = sheet.cell(number, column)
            cell.number_format = "@"  # also of an empty one: what is typed there is text
            cell.alignment = Alignment(wrap_text=True, vertical="top")
            if text:
                cell.value = _fit(text)
                cell.data_type = "s"  # whatever it begins with, it is no formula
            if number == 1:
                cell.font = Font(name="Calibri", size=11, bold=True)
                cell.fill = PatternFill("solid", start_color="FFDCE6F1")
        lines = max(map(_lines_in, cells, widths), default=1)
        if lines > 1:  # not every program finds the height by itself
            sheet.row_dimensions[number].height = LINE_HEIGHT * min(lines, MOST_LINES)
    for column, width in enumerate(widths, 1):
        dimension = sheet.column_dimensions[get_column_letter(column)]
        dimension.width = width
        dimension.number_format = "@"  # what is typed further below is text as well
    sheet.freeze_panes = "A2"
    _fit_page(sheet)


def _lines_in(text: str, width: int) -> int:
    """Return about how many lines a text takes in a column."""
    return sum(-(-len(line) // width) or 1 for line in text.split("\n"))


def _fit_page(sheet: Any) -> None:
    """Let a sheet be printed as wide as the paper, its heads on each page."""
    sheet.page_setup.orientation = "landscape"
    sheet.page_setup.paperSize = sheet.PAPERSIZE_A4
    sheet.sheet_properties.pageSetUpPr.fitToPage = True
    sheet.page_setup.fitToHeight = 0  # as many pages down as it takes
    sheet.print_title_rows = "1:1"


def _fit(text: str) -> str:
    """Return a text as a cell holds it; raises ``UnfitTextError`` for one that none can."""
    if _UNFIT.search(text):
        raise UnfitTextError(_UNFIT.sub("?", text))
    return _LOOKS_ESCAPED.sub("_x005F_", text)


def _offer(sheet: Any, cells: str, words: Iterable[str]) -> None:
    """Let cells be chosen from a list."""
    from openpyxl.worksheet.datavalidation import DataValidation

    choices = DataValidation(
        type="list", formula1=f'"{",".join(words)}"', allow_blank=True
    )
    choices.showErrorMessage = True
    sheet.add_data_validation(choices)
    choices.add(cells)


def _steady(content: bytes) -> bytes:
    """Return a workbook without the moment at which it was written."""
    file = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(content)) as old,
        zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as new,
    ):
        for name in old.namelist():
            part = old.read(name)
            if name == "docProps/core.xml":
                part = _MODIFIED.sub(rb"\g<1>" + _MOMENT, part)
            info = zipfile.ZipInfo(name)
            info.compress_type = zipfile.ZIP_DEFLATED
            new.writestr(info, part)
    return file.getvalue()


# Reading -------------------------------------------------------------------------------


def read(sheets: Mapping[str, Sequence[Line]]) -> Taken:
    """Return what a workbook says; ``sheets``: the lines of each, by its title."""
    found = Findings()
    reader = Reader(WORDS, found)
    by_title = {title.strip().casefold(): title for title in sheets}
    for title in (TERMS, FIELDS):
        if title.casefold() not in by_title:
            found.blame(title, "The sheet %(what)s is missing.", what=title)
    for folded, title in by_title.items():
        if folded == RECEIVERS.casefold():
            found.leave(title, _FROM_AGREEMENTS)
        elif folded not in {TERMS.casefold(), FIELDS.casefold(), GUIDE.casefold()}:
            found.leave(title)
    given = {
        wanted: _Sheet(title, sheets[title], found)
        for wanted in (TERMS, FIELDS)
        for title in sheets
        if title.strip().casefold() == wanted.casefold()
    }
    specs = _fields(given[FIELDS], reader, found) if FIELDS in given else ()
    terms = Terms(fields=specs)
    if TERMS in given:
        terms = _terms(given[TERMS], reader, found, specs)
    return Taken(terms, found.wrong, found.left)


class _Sheet:
    """A sheet as a table: its heads, found in one of its first rows, and the lines below."""

    def __init__(self, title: str, lines: Sequence[Line], found: Findings) -> None:
        self.title, self._found = title, found
        head = next(
            (
                n
                for n, each in enumerate(lines[:HEAD_WITHIN])
                if sum(map(bool, each.cells)) > 1
            ),
            0,
        )
        self._heads: dict[str, int] = {}
        for column, text in enumerate(lines[head].cells if lines else ()):
            if text and _plain(text) in self._heads:
                found.blame(
                    self.place(lines[head].number, column),
                    "Two columns are called “%(what)s”.",
                    what=text[:80],
                )
            self._heads.setdefault(_plain(text), column)
        self._heads.pop("", None)
        self._names = lines[head].cells if lines else []
        self.lines = lines[head + 1 :]

    def place(self, number: int, column: int) -> str:
        from openpyxl.utils import get_column_letter

        return f"{self.title}!{get_column_letter(column + 1)}{number}"

    def column(self, head: str) -> int | None:
        return self._heads.get(_plain(head))

    def cell(self, line: Line, head: str) -> str | None:
        """Return a cell by its column's head; None where there is no such column."""
        column = self.column(head)
        if column is None or column >= len(line.cells):
            return None
        if column in line.faults:
            self._found.blame(
                self.place(line.number, column),
                "The cell holds an error of Excel's, or a formula without its value: write"
                " the value itself.",
            )
        return line.cells[column].replace("_x005F_", "_")

    def leave_unknown(self, known: Iterable[str]) -> None:
        """Name the columns with something in them that nothing is read from."""
        plain = set(map(_plain, known))
        for name, column in self._heads.items():
            if name not in plain and any(
                column < len(each.cells) and each.cells[column] for each in self.lines
            ):
                self._found.leave(f"{self.title}: {self._names[column][:80]}")


def _plain(text: str) -> str:
    return "".join(sign for sign in text.casefold() if sign.isalnum() or sign == "%")


def _fields(sheet: _Sheet, reader: Reader, found: Findings) -> tuple[FieldSpec, ...]:
    for name, head, _width in _COLUMNS:
        if name in {"name", "type"} and sheet.column(head) is None:
            found.blame(sheet.title, "The column %(what)s is missing.", what=head)
    sheet.leave_unknown(head for _name, head, _width in _COLUMNS)
    lines = [
        line
        for line in sheet.lines
        if any(sheet.cell(line, head) for _name, head, _width in _COLUMNS)
    ]
    if len(lines) > MAX_FIELDS:
        found.blame(sheet.title, "A contract has at most %(n)s fields.", n=MAX_FIELDS)
    specs = tuple(_field(sheet, line, reader) for line in lines[:MAX_FIELDS])
    column = sheet.column(_COLUMNS[0][1]) or 0
    blame_twice(specs, lambda at: sheet.place(lines[at].number, column), found)
    return specs


def _field(sheet: _Sheet, line: Line, reader: Reader) -> FieldSpec:
    texts = {name: sheet.cell(line, head) for name, head, _width in _COLUMNS}
    columns = {name: sheet.column(head) or 0 for name, head, _width in _COLUMNS}
    allowed = (texts.pop("allowed_values") or "").split(SEPARATOR)
    return reader.spec(
        texts,
        [each.strip() for each in allowed if each.strip()],
        lambda name: sheet.place(line.number, columns[name]),
    )


def _terms(
    sheet: _Sheet, reader: Reader, found: Findings, specs: tuple[FieldSpec, ...]
) -> Terms:
    values: dict[str, str] = {}
    places: dict[str, str] = {}
    names: Mapping[str, str] = {_plain(head): name for name, head, _help in _ROWS}
    column = sheet.column("Isi")
    if column is None:
        found.blame(sheet.title, "The column %(what)s is missing.", what="Isi")
    for line in sheet.lines:
        head, value = line.cells[0], sheet.cell(line, "Isi") or ""
        name = names.get(_plain(head), "")
        place = sheet.place(line.number, column or 0)
        if not name:
            if value:
                found.leave(f"{place} ({head[:80]})")
            continue
        if name in places:
            found.blame(place, "“%(what)s” stands here twice.", what=head[:80])
        values[name], places[name] = value, place
    return _typed(values, places, reader, specs)


def _typed(
    values: Mapping[str, str],
    places: Mapping[str, str],
    reader: Reader,
    specs: tuple[FieldSpec, ...],
) -> Terms:
    longest = {"title": MAX_TITLE, "description": MAX_DESCRIPTION}
    texts = {
        name: reader.text(places[name], values[name], longest.get(name, MAX_TEXT))
        for name in (
            "ident", "title", "slug", "agency", "agency_name", "description", "basis", "note",
        )
        if name in values
    }  # fmt: skip
    counts = {
        name: reader.count(places[name], values[name], most)
        for name, most in (
            ("number", 999_999),
            ("max_vanished_percent", 100),
            ("max_rejected_percent", 100),
        )
        if name in values
    }
    return Terms(
        fields=specs,
        **texts,  # type: ignore[arg-type]
        **counts,  # type: ignore[arg-type]
        kind=reader.choice(places.get("kind", ""), values.get("kind"), WORDS.kinds),
        load_mode=reader.choice(
            places.get("load_mode", ""), values.get("load_mode"), WORDS.modes
        ),
        status=reader.choice(
            places.get("status", ""), values.get("status"), WORDS.states
        ),
    )
