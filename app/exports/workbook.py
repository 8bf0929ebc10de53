"""A dataset as an Excel file: sheets *Data*, *Kamus* and *Info*.

The file speaks Indonesian: agencies read it without us. Nothing in it is ever a formula;
nothing that Excel cannot hold is lost silently. All of it comes out of one snapshot of the
database, and is counted before it is handed on.
"""

import hashlib
import io
import re
import zipfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from pathlib import Path
from time import monotonic
from typing import Any
from uuid import UUID

import psycopg
import sqlalchemy as sa
from psycopg import sql as composing
from rustpy_xlsxwriter import FastExcel, Format
from sqlalchemy.orm import Session

from app.contracts.fields import FieldSpec
from app.contracts.models import ContractVersion
from app.contracts.states import FieldType
from app.contracts.workbook import WRITTEN
from app.core import clock, db
from app.core.errors import TransientError
from app.core.sql import quote, quote_all
from app.core.words import message_id
from app.datasets.ddl import Names
from app.datasets.models import Agreement, Dataset
from app.datasets.queries import reading_by
from app.datasets.reading import PERSONAL, Reading, whole
from app.exports.cells import (
    CUT_MARK,
    FIRST_DATE,
    MAX_CELL,
    MAX_DIGITS,
    Sheets,
    column_letters,
    fitting_text,
)
from app.exports.errors import CountMismatchError, NothingToExportError
from app.runs.ledger import Lease

MAX_DATA_ROWS = 1_048_575  # Excel's rows less the header
CHUNK_BYTES = 1 << 18  # rows are packed in pieces of this size
SAVE_SECONDS = 1.0
LOOK_EVERY = 1_000  # rows between two looks at the clock
# Rows repeat themselves so much that packing harder costs more than it saves.
COMPRESSION = 1
_LARGE_FILE = 1 << 31
_COLUMN = re.compile(r'<col min="(\d+)" max="(\d+)" [^>]*?style="(\d+)"')
_ZONES = {"Asia/Jakarta": "WIB", "Asia/Makassar": "WITA", "Asia/Jayapura": "WIT"}

_FORMATS = {
    FieldType.TEXT: "@",
    FieldType.INTEGER: "0",
    FieldType.DATE: "yyyy-mm-dd",
    FieldType.TIMESTAMP: "yyyy-mm-dd hh:mm:ss",
}
_WIDTHS = {
    FieldType.INTEGER: 16.0,
    FieldType.NUMBER: 18.0,
    FieldType.BOOLEAN: 12.0,
    FieldType.DATE: 12.0,
    FieldType.TIMESTAMP: 20.0,
}
CSV_DEFINITION = (
    "CSV kanonik: UTF-8 tanpa BOM, pemisah koma, akhir baris LF, baris pertama nama field"
    " tanpa tanda kutip dalam urutan kontrak. Setiap nilai diapit tanda kutip ganda; tanda"
    " kutip di dalamnya ditulis dua kali; nilai kosong (NULL) tidak ditulis sama sekali."
    " Benar/salah ditulis true/false; tanggal YYYY-MM-DD; waktu"
    " YYYY-MM-DD HH:MM:SS[.ffffff]+00 (UTC). Bilangan ditulis sebagaimana diterima. Baris"
    " diurutkan menurut kunci, teks dibandingkan per byte. Lalu SHA-256 atas seluruh isi."
)


class MovedError(TransientError):
    """The table does not hold what its register says: it is being changed right now."""

    code = "dataset_moved"

    def __init__(self, found: int, registered: int) -> None:
        super().__init__(
            "The table holds %(found)s rows where its register says %(registered)s; another"
            " attempt follows.",
            found=found,
            registered=registered,
        )


@dataclass(frozen=True, slots=True)
class Contents:
    """What a written file holds. ``as_of`` is the aware instant of the data's last publish."""

    slug: str
    title: str
    row_count: int
    csv_sha256: str
    as_of: datetime
    version_number: int
    run_id: UUID | None
    cut_count: int


@dataclass(frozen=True, slots=True)
class Request:
    """Who asked for the file and how it is to be written."""

    requested_by: str
    time_zone: str
    office_name: str = ""
    rows_per_sheet: int = MAX_DATA_ROWS
    agreement_id: UUID | None = None


@dataclass(slots=True)
class _Job:
    """One file in the making. ``total`` is the count of the canonical CSV's pass."""

    dataset: Dataset
    reading: Reading
    request: Request
    lease: Lease
    exported_at: datetime
    sheets: Sheets
    csv_sha256: str = ""
    csv_bytes: int = 0
    total: int = 0
    written: int = 0

    @property
    def fields(self) -> tuple[FieldSpec, ...]:
        return self.reading.fields

    @property
    def source(self) -> str:
        names = Names(self.dataset.slug, self.dataset.version.number)
        return self.reading.source(names)

    @property
    def zone(self) -> str:
        return _ZONES.get(self.request.time_zone, self.request.time_zone)

    @property
    def as_of(self) -> datetime:
        if self.dataset.published_at is None:
            raise NothingToExportError
        return self.dataset.published_at


def write_workbook(
    part: Path,
    dataset_id: UUID,
    lease: Lease,
    *,
    requested_by: str,
    time_zone: str,
    office_name: str = "",
    agreement_id: UUID | None = None,
    rows_per_sheet: int = MAX_DATA_ROWS,
) -> Contents:
    """Write the living rows of a dataset to ``part`` and prove that all of them are there.

    ``agreement_id`` names what opens some of them alone. ``time_zone`` is an IANA name:
    times are written on its clock. Raises
    ``NothingToExportError``, ``MovedError`` (try again), ``CountMismatchError``, and what
    ``lease.save`` raises.
    """
    request = Request(requested_by, time_zone, office_name, rows_per_sheet, agreement_id)
    with db.unit_of_work() as session:
        job = _read_job(session, dataset_id, request, lease)
        connection = _connection_of(session)
        _sum_canonical_csv(connection, job)
        lease.log("The snapshot has %(rows)s rows; they are written now.", rows=job.total)
        _write(part, connection, job)
    return Contents(
        slug=job.dataset.slug,
        title=job.dataset.title,
        row_count=job.total,
        csv_sha256=job.csv_sha256,
        as_of=job.as_of,
        version_number=job.dataset.version.number,
        run_id=job.dataset.published_run_id,
        cut_count=sum(job.sheets.cuts.values()),
    )


def _read_job(session: Session, dataset_id: UUID, request: Request, lease: Lease) -> _Job:
    """Open the snapshot: everything read in this transaction is of one moment."""
    session.connection(
        execution_options={
            "isolation_level": "REPEATABLE READ",
            "postgresql_readonly": True,
        }
    )
    for setting in (
        "idle_in_transaction_session_timeout = 0",  # packing the file takes its time
        "timezone = 'UTC'",
        "datestyle = 'ISO, YMD'",
        "work_mem = '64MB'",
        "cursor_tuple_fraction = 1",  # every row is going to be read
    ):
        session.execute(sa.text(f"SET LOCAL {setting}"))
    dataset = session.get_one(Dataset, dataset_id)
    version = session.get_one(ContractVersion, dataset.version_id)
    reading = whole(version.specs())
    if request.agreement_id is not None:
        agreement = session.get_one(Agreement, request.agreement_id)
        reading = reading_by(agreement, version.specs())
    sheets = Sheets(
        reading.fields, reading.keys, (), request.time_zone, request.rows_per_sheet
    )
    job = _Job(dataset, reading, request, lease, db.now(session), sheets)
    _ = job.as_of  # refuses what was never published
    return job


def _connection_of(session: Session) -> psycopg.Connection[Any]:
    connection = session.connection().connection.driver_connection
    if not isinstance(connection, psycopg.Connection):
        raise TypeError("COPY needs a psycopg connection")
    return connection


class _Progress:
    """Keeps the lease alive and the page's numbers moving, about once a second."""

    def __init__(self, lease: Lease, total: int | None = None) -> None:
        self._lease, self._total = lease, total
        self._next = monotonic() + SAVE_SECONDS

    def tell(self, done: int) -> None:
        if monotonic() < self._next:
            return
        # A transaction of its own: the snapshot's is read-only and stays as it is.
        with db.unit_of_work() as session:
            self._lease.save(
                session, done=done, total=self._total, unit=message_id("rows")
            )
        self._next = monotonic() + SAVE_SECONDS


def canonical_csv(source: str, reading: Reading) -> str:
    """Return the COPY that defines what ``csv_sha256`` is the digest of.

    Every value is quoted and NULL is not: the two cannot be mixed up, and no version's
    taste in quoting matters.
    """
    columns = ", ".join(
        f"{quote(each.name)}::text AS {quote(each.name)}"
        if each.type is FieldType.BOOLEAN
        else quote(each.name)
        for each in reading.fields
    )
    return (
        f"COPY (SELECT {columns} FROM {source} WHERE _deleted_at IS NULL"
        f" ORDER BY {quote_all([each.name for each in reading.keys])})"
        " TO STDOUT (FORMAT csv, HEADER true, FORCE_QUOTE *, ENCODING 'UTF8')"
    )


def _sum_canonical_csv(connection: psycopg.Connection[Any], job: _Job) -> None:
    """Digest the CSV as it streams by; the server's own count is the one to live up to."""
    digest = hashlib.sha256()
    progress = _Progress(job.lease)
    with connection.cursor() as cursor:
        with cursor.copy(canonical_csv(job.source, job.reading)) as copy:
            for position, chunk in enumerate(copy):
                digest.update(chunk)
                job.csv_bytes += len(chunk)
                if position % LOOK_EVERY == 0:
                    progress.tell(0)
        job.total = cursor.rowcount
    if job.reading.chosen is None and job.total != job.dataset.row_count:
        raise MovedError(job.total, job.dataset.row_count)
    job.csv_sha256 = digest.hexdigest()


# --- the file -----------------------------------------------------------------------------


def _write(part: Path, connection: psycopg.Connection[Any], job: _Job) -> None:
    """Write the file: what is around the rows by a library, the rows as they stream in.

    Raises ``CountMismatchError`` unless as many rows stand in the file as were counted.
    """
    frame = _frame(job, [])
    job.sheets.styles = column_styles(
        frame.read("xl/worksheets/sheet1.xml").decode(), len(job.fields)
    )
    sizes = sheet_sizes(job.total, job.request.rows_per_sheet)
    data = {f"xl/worksheets/sheet{n}.xml": rows for n, rows in enumerate(sizes, 1)}
    with (
        zipfile.ZipFile(
            part, "w", zipfile.ZIP_DEFLATED, compresslevel=COMPRESSION
        ) as book,
        connection.cursor() as cursor,
    ):
        rows = _rows(cursor, job)
        for name in frame.namelist():
            if name in data:
                _write_data(book, name, frame.read(name).decode(), rows, data[name], job)
            elif name == "xl/workbook.xml":
                book.writestr(name, _with_filters(frame.read(name).decode(), sizes))
            elif name == f"xl/worksheets/sheet{len(sizes) + 2}.xml":
                _finish(rows, cursor, job)
                # Only now is known what *Info* has to say.
                book.writestr(name, _frame(job, _information(job)).read(name))
            else:
                book.writestr(name, frame.read(name))


def _rows(cursor: psycopg.Cursor[Any], job: _Job) -> Iterator[bytes]:
    """Yield the XML of every row, in key order."""
    progress = _Progress(job.lease, job.total)
    statement = f"COPY ({job.sheets.select(job.source)}) TO STDOUT (ENCODING 'UTF8')"
    with cursor.copy(composing.SQL(statement)) as copy:
        for number, line in enumerate(copy):
            yield job.sheets.finished(bytes(line))
            if number % LOOK_EVERY == 0:
                progress.tell(number)


def _write_data(
    book: zipfile.ZipFile,
    name: str,
    frame: str,
    rows: Iterator[bytes],
    count: int,
    job: _Job,
) -> None:
    before, end, after = _with_references(frame, count, job).partition("</sheetData>")
    is_large = (job.csv_bytes * 2 + job.total * len(job.fields) * 64) > _LARGE_FILE
    with (
        book.open(name, "w", force_zip64=is_large) as sheet,
        ThreadPoolExecutor(1, "packer") as packer,
    ):
        # One piece is packed while the next one is read: the database need not wait.
        packing = packer.submit(sheet.write, before.encode())
        for chunk in _chunks(islice(rows, count)):
            # Counted in the bytes themselves: what is not in the file is not counted.
            job.written += chunk.count(b"</row>")
            packing.result()
            packing = packer.submit(sheet.write, chunk)
        packing.result()
        sheet.write((end + after).encode())


def _chunks(rows: Iterator[bytes]) -> Iterator[bytes]:
    gathered: list[bytes] = []
    size = 0
    for row in rows:
        gathered.append(row)
        size += len(row)
        if size >= CHUNK_BYTES:
            yield b"".join(gathered)
            gathered, size = [], 0
    yield b"".join(gathered)


def _finish(rows: Iterator[bytes], cursor: psycopg.Cursor[Any], job: _Job) -> None:
    """Compare three counts: of the CSV, of the rows sent, of the rows in the file."""
    surplus = sum(1 for _ in rows)
    for found in (job.written + surplus, cursor.rowcount, job.written):
        if found != job.total:
            raise CountMismatchError(found, job.total)
    job.lease.log("All rows are written; the file is closed.")


def _frame(job: _Job, information: Sequence[tuple[str, str]]) -> zipfile.ZipFile:
    """Return the workbook without its rows: styles, headers, *Kamus* and *Info*."""
    headers = headers_of(job.fields, job.zone)
    header_format = (
        Format()
        .set_bold()
        .set_background_color("#DCE6F1")
        .set_border_bottom("thin")
        .set_text_wrap()
        .set_align("top")
    )
    buffer = io.BytesIO()
    book = FastExcel(buffer, output_format="xlsx").freeze(row=1)
    for name in data_sheets(job.total, job.request.rows_per_sheet):
        book.sheet(
            name,
            iter([dict.fromkeys(headers)]),
            column_formats=_column_formats(headers, job.fields),
            column_widths=_column_widths(headers, job.fields),
            header_format=header_format,
            autofilter=True,
            # Codes are text on purpose: no green corner in every cell.
            ignore_errors=headers,
        )
    book.sheet(
        "Kamus",
        _dictionary(job),
        column_formats=_wrapped(_DICTIONARY_WIDTHS),
        column_widths=_DICTIONARY_WIDTHS,
        header_format=header_format,
        autofilter=True,
    )
    book.sheet(
        "Info",
        (
            {"Keterangan": name, "Isi": fitting_text(value)}
            for name, value in information or [("", "")]
        ),
        column_formats=_wrapped(_INFO_WIDTHS),
        column_widths=_INFO_WIDTHS,
        header_format=header_format,
    )
    book.save()
    return zipfile.ZipFile(buffer)


def column_styles(sheet: str, count: int) -> tuple[int | None, ...]:
    """Return the styles that a sheet's columns have: its cells are to have the same."""
    styles: list[int | None] = [None] * count
    for first, last, style in _COLUMN.findall(sheet):
        for index in range(int(first) - 1, int(last)):
            styles[index] = int(style)
    return tuple(styles)


def _with_references(sheet: str, count: int, job: _Job) -> str:
    """Return a sheet whose filter, size and marks reach to the last of ``count`` rows."""
    last = column_letters(len(job.fields) - 1)
    below = max(count, 1) + 1
    sheet = re.sub(
        r'<dimension ref="[^"]*"', f'<dimension ref="A1:{last}{count + 1}"', sheet
    )
    sheet = re.sub(
        r'<autoFilter ref="[^"]*"', f'<autoFilter ref="A1:{last}{below}"', sheet
    )
    return re.sub(
        r'<ignoredError sqref="[^"]*"', f'<ignoredError sqref="A2:{last}{below}"', sheet
    )


def _with_filters(workbook: str, sizes: Sequence[int]) -> str:
    """Return the workbook part whose hidden filter names reach as far as the filters."""
    for index, count in enumerate(sizes):
        pattern = rf'(localSheetId="{index}" hidden="1">[^<]*\$)\d+(?=<)'
        workbook = re.sub(pattern, rf"\g<1>{max(count, 1) + 1}", workbook)
    return workbook


def sheet_sizes(total: int, rows_per_sheet: int) -> list[int]:
    """Return how many rows stand on each data sheet; one sheet at least."""
    full, rest = divmod(total, rows_per_sheet)
    return [rows_per_sheet] * full + ([rest] if rest or not full else [])


def data_sheets(total: int, rows_per_sheet: int) -> list[str]:
    """Return the names of the sheets that so many rows need: Data, Data 2 and so on."""
    count = len(sheet_sizes(total, rows_per_sheet))
    return ["Data", *(f"Data {number}" for number in range(2, count + 1))]


def headers_of(fields: Sequence[FieldSpec], zone: str) -> list[str]:
    """Return one unlike header for each field: its label, and the field where labels repeat."""
    labels = [_header(each, zone) for each in fields]
    twice = {label for label in labels if labels.count(label) > 1}
    headers = [
        f"{label} [{each.name}]" if label in twice else label
        for label, each in zip(labels, fields, strict=True)
    ]
    if len(set(headers)) == len(headers):
        return headers
    return [f"{label} [{each.name}]" for label, each in zip(labels, fields, strict=True)]


def _header(each: FieldSpec, zone: str) -> str:
    label = (each.label.strip() or each.name)[:200]
    return f"{label} ({zone})" if each.type is FieldType.TIMESTAMP else label


def _column_formats(
    headers: Sequence[str], fields: Sequence[FieldSpec]
) -> dict[str, Format]:
    made = {kind: Format().set_num_format(text) for kind, text in _FORMATS.items()}
    return {
        header: made[each.type]
        for header, each in zip(headers, fields, strict=True)
        if each.type in made
    }


def _column_widths(
    headers: Sequence[str], fields: Sequence[FieldSpec]
) -> dict[str, float]:
    return {
        header: max(_width(each), min(len(header) + 3.0, 40.0))
        for header, each in zip(headers, fields, strict=True)
    }


def _width(each: FieldSpec) -> float:
    return _WIDTHS.get(each.type) or min(max(each.max_length or 20, 10), 40) + 2.0


def _wrapped(widths: dict[str, float]) -> dict[str, Format]:
    wrapped = Format().set_num_format("@").set_text_wrap().set_align("top")
    return dict.fromkeys(widths, wrapped)


_DICTIONARY_WIDTHS = {
    "Nama field": 24.0,
    "Label": 28.0,
    "Tipe": 16.0,
    "Kunci": 8.0,
    "Wajib": 8.0,
    "Definisi": 50.0,
    "Satuan": 14.0,
    "Klasifikasi": 20.0,
    "Nilai yang diperbolehkan": 40.0,
    "Contoh": 24.0,
}


def _dictionary(job: _Job) -> Iterator[dict[str, str]]:
    for each in job.fields:
        cells = (
            each.name,
            each.label,
            _type_words(each, job.zone),
            _yes(each.is_key),
            _yes(each.required),
            each.definition,
            each.unit,
            WRITTEN[each.classification],
            ", ".join(each.allowed_values) or _bounds(each),
            each.example,
        )
        yield dict(zip(_DICTIONARY_WIDTHS, map(fitting_text, cells), strict=True))


def _type_words(each: FieldSpec, zone: str) -> str:
    words = WRITTEN[each.type]
    return f"{words} ({zone})" if each.type is FieldType.TIMESTAMP else words


def _yes(value: bool) -> str:  # noqa: FBT001 - it is what is turned into a word
    return "Ya" if value else "Tidak"


def _bounds(each: FieldSpec) -> str:
    parts = [
        f"pola: {each.pattern}" if each.pattern else "",
        f"paling kecil {each.minimum}" if each.minimum else "",
        f"paling besar {each.maximum}" if each.maximum else "",
    ]
    return "; ".join(part for part in parts if part)


_INFO_WIDTHS = {"Keterangan": 30.0, "Isi": 100.0}


def _information(job: _Job) -> list[tuple[str, str]]:
    """Return the lines of *Info*."""
    return [*_origin_lines(job), *_proof_lines(job), *_note_lines(job)]


def _origin_lines(job: _Job) -> list[tuple[str, str]]:
    dataset, version = job.dataset, job.dataset.version
    return [
        ("Dataset", f"{dataset.title} ({dataset.slug})"),
        ("Perangkat daerah", dataset.agency.name),
        ("Kontrak data", f"{dataset.contract.title}, versi {version.number}"),
        ("Dasar", dataset.contract.basis or "tanpa permohonan di sistem ini"),
        *([("Kesepakatan", job.reading.basis)] if not job.reading.is_whole else []),
        ("Data per", _moment(job, job.as_of)),
        ("Nomor penarikan", str(dataset.published_run_id or "")),
        ("Diunduh pada", _moment(job, job.exported_at)),
        ("Diunduh oleh", job.request.requested_by),
        ("Nomor proses unduhan", str(job.lease.run_id)),
        *([("Kantor", job.request.office_name)] if job.request.office_name else []),
    ]


def _proof_lines(job: _Job) -> list[tuple[str, str]]:
    sheets = data_sheets(job.total, job.request.rows_per_sheet)
    return [
        ("Jumlah baris", str(job.total)),
        ("Lembar data", ", ".join(sheets)),
        ("Saringan", _choice(job.reading)),
        ("SHA-256 CSV kanonik", job.csv_sha256),
        ("Cara menghitung SHA-256", CSV_DEFINITION),
    ]


def _choice(reading: Reading) -> str:
    if reading.chosen is None:
        return "tidak ada: semua baris yang berlaku"
    values = ", ".join(reading.chosen.values)
    return f"hanya baris dengan {reading.chosen.field}: {values}"


def _note_lines(job: _Job) -> list[tuple[str, str]]:
    notes = [
        (
            "Catatan isi sel",
            (
                "Kode dan teks disimpan sebagai teks. Bilangan dengan lebih dari"
                f" {MAX_DIGITS} angka dan tanggal sebelum {FIRST_DATE.isoformat()} ditulis sebagai"
                " teks agar tidak berubah. Waktu dibulatkan ke milidetik. Teks kosong dan nilai"
                " kosong sama-sama menjadi sel kosong; CSV kanonik membedakannya. Tidak ada"
                " rumus di dalam berkas ini."
            ),
        )
    ]
    if job.sheets.cuts:
        named = ", ".join(f"{name}: {count}" for name, count in job.sheets.cuts.items())
        notes.append(
            (
                "PERHATIAN: sel dipotong",
                (
                    f"{sum(job.sheets.cuts.values())} sel lebih panjang dari {MAX_CELL} karakter, batas"
                    f" Excel, dan dipotong dengan tanda \u201c{CUT_MARK.strip()}\u201d ({named})."
                    " Isi lengkapnya ada di bentuk CSV."
                ),
            )
        )
    personal = _personal_fields(job.fields)
    if personal:
        notes.append(
            (
                "Klasifikasi",
                (
                    f"Berkas ini memuat data pribadi ({', '.join(personal)}). Gunakan hanya untuk"
                    " keperluan yang disetujui, jangan diteruskan kepada pihak lain, dan hapus"
                    " bila tidak diperlukan lagi (UU Nomor 27 Tahun 2022)."
                ),
            )
        )
    return notes


def _personal_fields(fields: Sequence[FieldSpec]) -> list[str]:
    return [each.name for each in fields if each.classification in PERSONAL]


def _moment(job: _Job, instant: datetime) -> str:
    local = clock.in_zone(instant, job.request.time_zone)
    return f"{local:%Y-%m-%d %H:%M:%S} {job.zone}"
