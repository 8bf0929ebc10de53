"""A dataset as an Excel file: sheets *Data*, *Kamus* and *Info*.

The file speaks Indonesian: agencies read it without us. Nothing in it is ever a formula;
nothing that Excel cannot hold is lost silently. All of it comes out of one snapshot of the
database, and is counted before it is handed on.
"""

import hashlib
import os
import re
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from pathlib import Path
from time import monotonic
from typing import Any
from uuid import UUID

import psycopg
import sqlalchemy as sa
from psycopg.adapt import Loader
from rustpy_xlsxwriter import FastExcel, Format
from sqlalchemy.orm import Session

from app.contracts.fields import FieldSpec
from app.contracts.models import ContractVersion
from app.contracts.states import Classification, FieldType
from app.core import clock, db
from app.core.errors import TransientError
from app.core.sql import literal, quote, quote_all
from app.core.words import message_id
from app.datasets.ddl import Names, keys_of
from app.datasets.models import Dataset
from app.exports.errors import CountMismatchError, NothingToExportError
from app.runs.ledger import Lease

MAX_DATA_ROWS = 1_048_575  # Excel's rows less the header
MAX_CELL = 32_767  # UTF-16 units in one cell
MAX_DIGITS = 15  # an Excel number is a binary64: more digits would come back changed
# Excel believes in 29 February 1900 and LibreOffice does not: dates before it are text.
FIRST_DATE = date(1900, 3, 1)
CUT_MARK = " … [DIPOTONG: lihat CSV]"
BATCH = 5_000
SAVE_SECONDS = 1.0
_PLAIN_LENGTH = MAX_DIGITS  # a number of so many bytes has no more digits than that
_DIMENSION = re.compile(rb'<dimension ref="[A-Z]+\d+(?::[A-Z]+(\d+))?"/>')
_ZONES = {"Asia/Jakarta": "WIB", "Asia/Makassar": "WITA", "Asia/Jayapura": "WIT"}

_TYPES = {
    FieldType.TEXT: "teks",
    FieldType.INTEGER: "bilangan bulat",
    FieldType.NUMBER: "bilangan desimal",
    FieldType.BOOLEAN: "benar/salah",
    FieldType.DATE: "tanggal",
    FieldType.TIMESTAMP: "waktu",
}
_CLASSES = {
    Classification.PUBLIC: "umum",
    Classification.RESTRICTED: "terbatas",
    Classification.PERSONAL: "data pribadi umum",
    Classification.SENSITIVE: "data pribadi spesifik",
}
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
    " Benar/salah ditulis true/false; tanggal YYYY-MM-DD; waktu YYYY-MM-DD HH:MM:SS[.ffffff]"
    " +00 tanpa spasi sebelum +00 (UTC). Bilangan ditulis sebagaimana diterima. Baris"
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


@dataclass(slots=True)
class _Job:
    """One file in the making. ``total`` is the count of the canonical CSV's pass."""

    dataset: Dataset
    fields: tuple[FieldSpec, ...]
    request: Request
    lease: Lease
    exported_at: datetime
    csv_sha256: str = ""
    total: int = 0
    written: int = 0
    cuts: dict[str, int] = field(default_factory=dict)

    @property
    def table(self) -> str:
        return Names(self.dataset.slug, self.dataset.version.number).table

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
    rows_per_sheet: int = MAX_DATA_ROWS,
) -> Contents:
    """Write the living rows of a dataset to ``part`` and prove that all of them are there.

    ``time_zone`` is an IANA name: times are written on its clock. Raises
    ``NothingToExportError``, ``MovedError`` (try again), ``CountMismatchError``, and what
    ``lease.save`` raises.
    """
    request = Request(requested_by, time_zone, office_name, rows_per_sheet)
    with db.unit_of_work() as session:
        job = _read_job(session, dataset_id, request, lease)
        connection = _connection_of(session)
        _sum_canonical_csv(connection, job)
        lease.log("The snapshot has %(rows)s rows; they are written now.", rows=job.total)
        with _temporary_files_in(part.parent):
            _write(part, connection, job)
    _check_counts(part, job)
    return Contents(
        slug=job.dataset.slug,
        title=job.dataset.title,
        row_count=job.total,
        csv_sha256=job.csv_sha256,
        as_of=job.as_of,
        version_number=job.dataset.version.number,
        run_id=job.dataset.published_run_id,
        cut_count=sum(job.cuts.values()),
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
    job = _Job(dataset, version.specs(), request, lease, db.now(session))
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


def canonical_csv(table: str, fields: Sequence[FieldSpec]) -> str:
    """Return the COPY that defines what ``csv_sha256`` is the digest of.

    Every value is quoted and NULL is not: the two cannot be mixed up, and no version's
    taste in quoting matters.
    """
    columns = ", ".join(
        f"{quote(each.name)}::text AS {quote(each.name)}"
        if each.type is FieldType.BOOLEAN
        else quote(each.name)
        for each in fields
    )
    return (
        f"COPY (SELECT {columns} FROM {table} WHERE _deleted_at IS NULL"
        f" ORDER BY {quote_all(keys_of(fields))})"
        " TO STDOUT (FORMAT csv, HEADER true, FORCE_QUOTE *, ENCODING 'UTF8')"
    )


def _sum_canonical_csv(connection: psycopg.Connection[Any], job: _Job) -> None:
    """Digest the CSV as it streams by; the server's own count is the one to live up to."""
    digest = hashlib.sha256()
    progress = _Progress(job.lease)
    with connection.cursor() as cursor:
        with cursor.copy(canonical_csv(job.table, job.fields)) as copy:
            for position, chunk in enumerate(copy):
                digest.update(chunk)
                if position % BATCH == 0:
                    progress.tell(0)
        job.total = cursor.rowcount
    if job.total != job.dataset.row_count:
        raise MovedError(job.total, job.dataset.row_count)
    job.csv_sha256 = digest.hexdigest()


# --- rows ---------------------------------------------------------------------------------


class _NumberLoader(Loader):
    """Numbers as Excel can hold them: to 15 digits a number, beyond that text."""

    def load(self, data: Any) -> float | str:
        if len(data) <= _PLAIN_LENGTH:
            return float(data)
        text = bytes(data).decode("ascii")
        digits = text.lstrip("-").replace(".", "").strip("0")
        return float(text) if len(digits) <= MAX_DIGITS else text


def _select(job: _Job) -> str:
    """Return the SELECT of the rows as cells, and last whether a row needs a closer look."""
    columns = [
        f"timezone({literal(job.request.time_zone)}, {quote(each.name)})"
        if each.type is FieldType.TIMESTAMP
        else quote(each.name)
        for each in job.fields
    ]
    return (
        f"SELECT {', '.join(columns)}, {_is_special(job)} FROM {job.table}"
        f" WHERE _deleted_at IS NULL ORDER BY {quote_all(keys_of(job.fields))}"
    )


def _is_special(job: _Job) -> str:
    """Return the condition under which a row has a cell that Excel cannot hold as it is.

    A text of so few bytes cannot have more UTF-16 units; asking its bytes costs nothing.
    """
    # A day more than is needed: which day an instant falls on depends on the clock.
    first = literal((FIRST_DATE + timedelta(days=1)).isoformat())
    dated = {FieldType.DATE, FieldType.TIMESTAMP}
    texts = [quote(f.name) for f in job.fields if f.type is FieldType.TEXT]
    conditions = [f"{quote(f.name)} <= {first}" for f in job.fields if f.type in dated]
    conditions += [f"octet_length({name}) > {MAX_CELL}" for name in texts]
    # greatest() of conditions passes NULLs by, where OR would not.
    return f"greatest({', '.join(conditions)}, false)" if conditions else "false"


def _rows(cursor: Any, job: _Job, limit: int) -> Iterator[tuple[Any, ...]]:
    """Yield up to ``limit`` rows of cells from an open cursor."""
    progress = _Progress(job.lease, job.total)
    while limit > 0:
        batch = cursor.fetchmany(min(BATCH, limit))
        if not batch:
            return
        for row in batch:
            yield _mended(row, job) if row[-1] else row
        limit -= len(batch)
        job.written += len(batch)
        progress.tell(job.written)


def _mended(row: tuple[Any, ...], job: _Job) -> tuple[Any, ...]:
    """Return the row with what Excel cannot hold cut or written as text."""
    cells = []
    for each, value in zip(job.fields, row, strict=False):
        cell = value
        if isinstance(value, str) and _units(value) > MAX_CELL:
            cell = fitting(value)
            job.cuts[each.name] = job.cuts.get(each.name, 0) + 1
        elif isinstance(value, datetime):
            cell = value if value.date() >= FIRST_DATE else str(value)
        elif isinstance(value, date) and value < FIRST_DATE:
            cell = value.isoformat()
        cells.append(cell)
    return tuple(cells)


def _units(text: str) -> int:
    return len(text.encode("utf-16-le")) // 2


def fitting(text: str) -> str:
    """Return a text that fits into a cell, with a clear mark where it was cut."""
    if _units(text) <= MAX_CELL:
        return text
    room = (MAX_CELL - len(CUT_MARK)) * 2
    kept = text.encode("utf-16-le")[:room].decode("utf-16-le", "ignore")
    return kept + CUT_MARK


# --- the file -----------------------------------------------------------------------------


@contextmanager
def _temporary_files_in(folder: Path) -> Iterator[None]:
    """Let the writer keep its unpacked sheets beside the file: data stays in our folder."""
    before = os.environ.get("TMPDIR")
    os.environ["TMPDIR"] = str(folder)
    try:
        yield
    finally:
        if before is None:
            del os.environ["TMPDIR"]
        else:
            os.environ["TMPDIR"] = before


def _write(part: Path, connection: psycopg.Connection[Any], job: _Job) -> None:
    headers = headers_of(job.fields, job.zone)
    header_format = (
        Format()
        .set_bold()
        .set_background_color("#DCE6F1")
        .set_border_bottom("thin")
        .set_text_wrap()
        .set_align("top")
    )
    book = FastExcel(part, output_format="xlsx").freeze(row=1)
    with connection.cursor(name="workbook") as cursor:
        for kind in ("int8", "numeric"):
            cursor.adapters.register_loader(kind, _NumberLoader)
        cursor.execute(_select(job))
        for name in data_sheets(job.total, job.request.rows_per_sheet):
            book.sheet(
                name,
                _records(cursor, job, headers),
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
            _information(job),
            column_formats=_wrapped(_INFO_WIDTHS),
            column_widths=_INFO_WIDTHS,
            header_format=header_format,
        )
        book.save()


def data_sheets(total: int, rows_per_sheet: int) -> list[str]:
    """Return the names of the sheets that so many rows need: Data, Data 2 and so on."""
    count = max(-(-total // rows_per_sheet), 1)
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


def _records(cursor: Any, job: _Job, headers: Sequence[str]) -> Iterator[dict[str, Any]]:
    if job.total == 0:
        yield dict.fromkeys(headers)  # a row without cells: the header needs a record
    for row in _rows(cursor, job, job.request.rows_per_sheet):
        yield dict(zip(headers, row, strict=False))


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
            _CLASSES[each.classification],
            ", ".join(each.allowed_values) or _bounds(each),
            each.example,
        )
        yield dict(zip(_DICTIONARY_WIDTHS, map(fitting, cells), strict=True))


def _type_words(each: FieldSpec, zone: str) -> str:
    words = _TYPES[each.type]
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


def _information(job: _Job) -> Iterator[dict[str, str]]:
    """Yield the lines of *Info*; asked for last, when all rows have gone by."""
    job.lease.log("All rows are written; the file is packed.")
    lines: list[tuple[str, str]] = []
    for make in (_origin_lines, _proof_lines, _note_lines):
        lines += make(job)
    for name, value in lines:
        yield {"Keterangan": name, "Isi": fitting(value)}


def _origin_lines(job: _Job) -> list[tuple[str, str]]:
    dataset, version = job.dataset, job.dataset.version
    return [
        ("Dataset", f"{dataset.title} ({dataset.slug})"),
        ("Perangkat daerah", dataset.agency.name),
        ("Kontrak data", f"{dataset.contract.title}, versi {version.number}"),
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
        ("Saringan", "tidak ada: semua baris yang berlaku"),
        ("SHA-256 CSV kanonik", job.csv_sha256),
        ("Cara menghitung SHA-256", CSV_DEFINITION),
    ]


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
    if job.cuts:
        named = ", ".join(f"{name}: {count}" for name, count in job.cuts.items())
        notes.append(
            (
                "PERHATIAN: sel dipotong",
                (
                    f"{sum(job.cuts.values())} sel lebih panjang dari {MAX_CELL} karakter, batas"
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
    personal = {Classification.PERSONAL, Classification.SENSITIVE}
    return [each.name for each in fields if each.classification in personal]


def _moment(job: _Job, instant: datetime) -> str:
    local = clock.in_zone(instant, job.request.time_zone)
    return f"{local:%Y-%m-%d %H:%M:%S} {job.zone}"


# --- proof --------------------------------------------------------------------------------


def _check_counts(part: Path, job: _Job) -> None:
    """Compare three counts: the server's, the rows handed to the writer, the file's own."""
    sheets = data_sheets(job.total, job.request.rows_per_sheet)
    in_file = rows_in_file(part, len(sheets))
    for found in (job.written, in_file):
        if found != job.total:
            raise CountMismatchError(found, job.total)


def rows_in_file(part: Path, sheet_count: int) -> int:
    """Return how many rows below their headers the first sheets of a workbook declare."""
    with zipfile.ZipFile(part) as book:
        names = [f"xl/worksheets/sheet{n}.xml" for n in range(1, sheet_count + 1)]
        return sum(_declared_rows(book, name) for name in names)


def _declared_rows(book: zipfile.ZipFile, name: str) -> int:
    with book.open(name) as sheet:
        found = _DIMENSION.search(sheet.read(2_000))
    return int(found[1] or 1) - 1 if found else 0
