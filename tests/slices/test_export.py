"""Exports from request to download, on a real PostgreSQL; the file opened by openpyxl."""

import csv
import dataclasses
import hashlib
import io
import os
import subprocess
import sys
import zipfile
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from uuid import UUID, uuid4
from zoneinfo import ZoneInfo

import openpyxl
import psycopg
import pytest
import sqlalchemy as sa

from app.contracts import services as contracts
from app.contracts.fields import FieldSpec
from app.contracts.models import ContractVersion
from app.contracts.states import Classification, DatasetKind, FieldType, LoadMode
from app.core import db
from app.core.policy import WORKER, DbRole, Permission, Principal, acting_as
from app.core.scope import NotFoundError
from app.core.sql import quote
from app.datasets import activation
from app.datasets.models import Dataset
from app.exports import cells as cells_module, services, workbook
from app.exports.errors import ExpiredError
from app.exports.models import ExchangeLog, ExportRun
from app.identity.models import Agency, Role, User
from app.runs.kinds import HousekeepingParams, KindName
from app.runs.models import JobRun, RunLog
from app.runs.services import Order, request_run
from app.runs.states import RunStatus
from jobs import perform, runtime

pytestmark = pytest.mark.skipif(
    "TEST_PG_ADMIN_URL" not in os.environ, reason="needs PostgreSQL: ./simpul test"
)
OFFICE = Principal("uji", DbRole.OFFICE)
PROJECT = Path(__file__).parents[2]
WIB = ZoneInfo("Asia/Jakarta")
T = FieldType
MONOSPACE = "x" * 40_000
EMOJI = "😀" * 20_000  # 20,000 characters are 40,000 of Excel's


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    """A migrated database of our own, and the process's settings pointing at it."""
    name = f"export_{uuid4().hex[:12]}"
    admin = os.environ["TEST_PG_ADMIN_URL"]
    with psycopg.connect(admin, autocommit=True) as server:
        server.execute(f"CREATE DATABASE {name} OWNER simpul_owner")

    def url(variable):
        return os.environ[variable].rsplit("/", 1)[0] + f"/{name}"

    env = {
        "MIGRATION_DATABASE_URL": url("TEST_OWNER_URL"),
        "DATABASE_URL": url("TEST_APP_URL"),
        "REDIS_URL": os.environ["TEST_REDIS_URL"],
        "SIMPUL_MODE": "test",
        "SECRET_KEY": "s", "FIELD_KEY": "f", "QUEUE_KEY": "q",
        "SIMPUL_HOME": str(tmp_path_factory.mktemp("home")),
        "OFFICE_NAME": "Diskominfotik",
    }  # fmt: skip
    command = [sys.executable, "-m", "alembic", "upgrade", "head"]
    subprocess.run(command, cwd=PROJECT, env={**os.environ, **env}, check=True)
    patch = pytest.MonkeyPatch()
    for key, value in env.items():
        patch.setenv(key, value)
    runtime.start()
    perform.prepare()
    yield runtime.current_settings()
    patch.undo()
    db.engine().dispose()


@dataclasses.dataclass
class Exporter:
    """One dataset, its people, and short words for what they do."""

    settings: object
    slug: str
    dataset_id: UUID
    fields: list[FieldSpec]
    agency_id: UUID

    def person(self, *, agency=True, permissions=(Permission.DATASET_EXPORT,)):
        with acting_as(OFFICE), db.unit_of_work() as session:
            role = Role(name=uuid4().hex, label="Uji", permissions=list(permissions))
            user = User(
                email=f"{uuid4().hex}@uji.example",
                name="Siti",
                fs_uniquifier=uuid4().hex,
                agency_id=self.agency_id if agency else None,
                roles=[role],
            )
            session.add(user)
            session.flush()
            return Principal(
                f"{user.name} <{user.email}>",
                DbRole.AGENCY if agency else DbRole.OFFICE,
                user.id,
                user.agency_id,
                frozenset(permissions),
            )

    def fill(self, rows):
        """Put rows into the central table, as a publish would leave them."""
        columns = ", ".join(quote(each.name) for each in self.fields)
        run = uuid4()
        with self.owner() as owner:
            owner.execute(f"TRUNCATE data.{quote(self.slug)}")
            sql = (
                f"COPY data.{quote(self.slug)} ({columns}, _run_id, _first_seen_at,"
                " _changed_at) FROM STDIN"
            )
            with owner.cursor().copy(sql) as copy:
                for row in rows:
                    copy.write_row((*row, run, *[datetime.now(tz=UTC)] * 2))
            owner.execute(
                "UPDATE dataset SET row_count = %s, published_at = clock_timestamp()"
                " WHERE id = %s",
                (len(rows), self.dataset_id),
            )

    def owner(self):
        url = self.settings.migration_database_url
        # Its owner meets the policies of its own tables, unless it says who it is.
        return psycopg.connect(url.replace("+psycopg", ""), options="-c simpul.owner=on")

    def owner_sql(self, sql, *values):
        with self.owner() as owner:
            owner.execute(sql, values)

    def ask(self, who):
        with acting_as(who), db.unit_of_work() as session:
            export = services.request_export(
                session, session.get_one(Dataset, self.dataset_id)
            )
            return export.id, export.run_id

    def run(self, run_id):
        perform.perform(str(run_id))
        with acting_as(OFFICE), db.unit_of_work() as session:
            return session.get_one(JobRun, run_id)

    def fetch(self, who, export_id):
        with acting_as(who), db.unit_of_work() as session:
            return services.hand_out(session, str(export_id), self.settings.home)

    def make(self, who=None):
        """Ask, run and fetch; return the export's row and the file."""
        who = who or self.person()
        export_id, run_id = self.ask(who)
        run = self.run(run_id)
        assert run.status is RunStatus.SUCCEEDED, (run.error_code, run.error_params)
        return self.fetch(who, export_id)


FIELDS = [
    FieldSpec(
        name="nip", source_path="nip", label="NIP", type=T.TEXT, required=True,
        is_key=True, pattern=r"\d{18}", classification=Classification.PERSONAL,
        definition='=HYPERLINK("http://x")', example="0123",
    ),
    FieldSpec(name="order", source_path="order", label="Urutan", type=T.INTEGER, unit="ke"),
    FieldSpec(name="gaji", source_path="gaji", label="Nilai", type=T.NUMBER),
    FieldSpec(name="bonus", source_path="bonus", label="Nilai", type=T.NUMBER),
    FieldSpec(name="aktif", source_path="aktif", label="", type=T.BOOLEAN),
    FieldSpec(name="lahir", source_path="lahir", label="Lahir", type=T.DATE),
    FieldSpec(name="waktu", source_path="waktu", label="Waktu", type=T.TIMESTAMP),
    FieldSpec(
        name="ket", source_path="ket", label="Keterangan", type=T.TEXT,
        allowed_values=(),
    ),
]  # fmt: skip


@pytest.fixture
def exporter(settings):
    slug = f"t{uuid4().hex[:10]}"
    with acting_as(OFFICE), db.unit_of_work() as session:
        agency = Agency(code=slug, name=f"Dinas {slug}")
        session.add(agency)
        session.flush()
        contract = contracts.create_contract(
            session,
            agency_id=agency.id,
            slug=slug,
            title="Pegawai",
            kind=DatasetKind.MASTER,
            load_mode=LoadMode.SNAPSHOT,
        )
        session.flush()
        version = session.scalar(
            sa.select(ContractVersion).where(ContractVersion.contract_id == contract.id)
        )
        assert contracts.save_fields(session, version, FIELDS) == []
        plan = activation.plan_for(session, version)
        run_id = activation.request_activation(session, version, plan.digest)
        agency_id = agency.id
    perform.perform(str(run_id))
    with acting_as(OFFICE), db.unit_of_work() as session:
        dataset_id = session.scalar(sa.select(Dataset.id).where(Dataset.slug == slug))
    return Exporter(settings, slug, dataset_id, FIELDS, agency_id)


def row(number, **values):
    """One row in the order of FIELDS, empty but for its key."""
    empty = dict.fromkeys(each.name for each in FIELDS)
    return tuple((empty | {"nip": f"{number:018d}"} | values).values())


def local(*parts):
    """A wall clock's time, as a sheet has it."""
    return datetime(*parts, tzinfo=UTC).replace(tzinfo=None)


def opened(path):
    return openpyxl.load_workbook(io.BytesIO(path.read_bytes()))


def cells(path, sheet="Data"):
    return [list(each) for each in opened(path)[sheet].iter_rows(values_only=True)]


def information(path):
    return dict(each[:2] for each in cells(path, "Info"))


INJECTIONS = [
    "=1+1", "+1", "-1", "@SUM(A1)", "\tx", "|x", "%x", "＝1+1", " =1", "\u00a0=1",
    "\ufeff=1", "=cmd|' /C calc'!A0", '=HYPERLINK("http://x")', "http://x.example/",
    "mailto:x@x", "internal:Data!A1", "{=1}", "TRUE", "1e5", "2020-01-01",
]  # fmt: skip


def test_codes_and_formula_like_texts_stay_text(exporter):
    rows = [row(i, ket=text) for i, text in enumerate(INJECTIONS, 1)]
    exporter.fill([row(0, nip="000000000000000000"), *rows])

    _, path = exporter.make()

    header, first, *others = cells(path)
    assert header == [
        "NIP", "Urutan", "Nilai [gaji]", "Nilai [bonus]", "aktif", "Lahir",
        "Waktu (WIB)", "Keterangan",
    ]  # fmt: skip
    assert first[0] == "000000000000000000"
    assert [each[-1] for each in others] == INJECTIONS
    with zipfile.ZipFile(path) as book:
        for name in book.namelist():
            content = book.read(name)
            assert b"<f>" not in content, name
            assert b"<f " not in content, name
            assert b"<hyperlink" not in content, name
    sheet = opened(path)["Data"]
    assert sheet["A2"].number_format == "@"
    assert sheet["A2"].data_type != "n"
    assert sheet["A1"].font.bold
    assert sheet.freeze_panes == "A2"
    assert sheet.auto_filter.ref == f"A1:H{len(INJECTIONS) + 2}"


def test_numbers_lose_no_digit(exporter):
    numbers = [
        "0", "1.10", "-4500000.25", "123456789012345", "0.123456789012345",
        "-99999.9999999999", "0.0000000000000000000001", "100000000000000000000",
    ]  # fmt: skip
    long = ["1234567890123456", "12345678901234567890.123", "0.1234567890123456"]
    integers = [0, -(10**15) + 1, 10**15 - 1]
    exporter.fill(
        [row(i, gaji=Decimal(text)) for i, text in enumerate(numbers + long)]
        + [row(100 + i, order=each) for i, each in enumerate(integers)]
        + [row(200 + i, order=each) for i, each in enumerate([2**63 - 1, -(2**63)])]
    )

    _, path = exporter.make()

    found = cells(path)[1:]
    for text, each in zip(numbers, found, strict=False):
        assert not isinstance(each[2], str)
        assert Decimal(repr(each[2])) == Decimal(text)
    assert [each[2] for each in found[len(numbers) :][:3]] == long
    assert [each[1] for each in found[-5:-2]] == integers
    assert [each[1] for each in found[-2:]] == [str(2**63 - 1), str(-(2**63))]


def test_rows_of_every_kind_stand_in_order_side_by_side(exporter):
    """Rows written by the database and rows written by us, in turn, on two sheets."""
    texts = [
        "polos",
        "a & b",
        "x\\y",
        "baris\nbaru",
        "_x0041_",
        " tepi",
        '"kutip"',
        "é😀",
    ]
    exporter.fill(
        [
            row(
                i, order=i, gaji=Decimal("1.5") if i % 2 else Decimal(10) ** 20 + 1,
                aktif=i % 3 == 0, lahir=date(1899 + i, 1, 1), ket=texts[i % len(texts)],
                waktu=datetime(2024, 1, 1, 7, 0, i, tzinfo=WIB),
            )
            for i in range(40)
        ]
    )  # fmt: skip

    _, path = exporter.make()

    for i, each in enumerate(cells(path)[1:]):
        old = i < 2  # before Excel's calendar
        assert each[:3] == [f"{i:018d}", i, 1.5 if i % 2 else str(10**20 + 1)]
        assert each[4] is (i % 3 == 0)
        assert each[5] == (f"{1899 + i}-01-01" if old else local(1899 + i, 1, 1))
        assert each[6] == local(2024, 1, 1, 7, 0, i)
        assert each[7] == texts[i % len(texts)].replace("_x0041_", "_x005F_x0041_")


def test_dates_times_booleans_and_nothing(exporter):
    moment = datetime(2024, 2, 29, 20, 30, 15, tzinfo=UTC)
    exporter.fill(
        [
            row(1),
            row(2, ket="", lahir=date(1980, 5, 17), aktif=True, waktu=moment),
            row(3, ket="", lahir=date(1900, 2, 28), aktif=False),
            row(4, lahir=date(1, 1, 2), waktu=datetime(1900, 1, 1, tzinfo=UTC)),
            row(5, lahir=date(9999, 12, 30)),
            row(6, lahir=date(1900, 3, 1)),
        ]
    )

    _, path = exporter.make()

    _, empty, second, third, fourth, fifth, sixth = cells(path)
    assert empty[1:] == [None] * 7
    assert second[4:] == [
        True,
        local(1980, 5, 17),
        local(2024, 3, 1, 3, 30, 15),
        None,
    ]
    assert third[4:6] == [False, "1900-02-28"]
    assert fourth[5:7] == ["0001-01-02", "1900-01-01 07:07:12"]
    assert fifth[5] == local(9999, 12, 30)
    assert sixth[5] == local(1900, 3, 1)
    sheet = opened(path)["Data"]
    assert sheet["F3"].number_format == "yyyy-mm-dd"
    assert sheet["F3"].is_date


def test_long_cells_are_cut_marked_counted_and_told(exporter):
    exact = "y" * cells_module.MAX_CELL
    exporter.fill([row(1, ket=MONOSPACE), row(2, ket=EMOJI), row(3, ket=exact)])

    _, path = exporter.make()

    first, second, third = [each[-1] for each in cells(path)[1:]]
    assert (
        first == "x" * (len(first) - len(cells_module.CUT_MARK)) + cells_module.CUT_MARK
    )
    assert second.endswith(cells_module.CUT_MARK)
    for cell in (first, second):
        assert (
            cells_module.MAX_CELL - 1
            <= len(cell.encode("utf-16-le")) // 2
            <= cells_module.MAX_CELL
        )
    assert third == exact
    told = information(path)["PERHATIAN: sel dipotong"]
    assert told.startswith("2 sel")
    assert "ket: 2" in told
    assert "CSV" in told


def test_characters_that_xml_forbids_survive_as_excel_writes_them(exporter):
    exporter.fill([row(1, ket="a\x01\x1f\ufffeb"), row(2, ket="baris\nbaru\ttab"),
                   row(3, ket="_x0041_"), row(4, ket="<&>\"'"), row(5, ket=" tepi ")])  # fmt: skip

    _, path = exporter.make()

    found = [each[-1] for each in cells(path)[1:]]
    assert (
        found[0] == "a_x0001__x001F__xFFFE_b"
    )  # OOXML's own escape: Excel shows the rest
    assert found[1] == "baris\nbaru\ttab"
    assert found[2] == "_x005F_x0041_"
    assert found[3:] == ["<&>\"'", " tepi "]


def python_csv_digest(rows):
    """The digest that *Info* describes, computed without PostgreSQL."""

    def text(value):
        if isinstance(value, bool):
            return "true" if value else "false"
        if isinstance(value, datetime):
            local = value.astimezone(UTC)
            fraction = (
                f".{local.microsecond:06d}".rstrip("0") if local.microsecond else ""
            )
            return f"{local:%Y-%m-%d %H:%M:%S}{fraction}+00"
        return str(value)

    out = io.StringIO()
    out.write(",".join(each.name for each in FIELDS) + "\n")
    for each in sorted(rows, key=lambda r: r[0].encode()):
        out.write(
            ",".join(
                "" if value is None else '"' + text(value).replace('"', '""') + '"'
                for value in each
            )
            + "\n"
        )
    assert list(csv.reader(io.StringIO(out.getvalue())))  # a CSV that others read
    return hashlib.sha256(out.getvalue().encode()).hexdigest()


def test_info_tells_all_and_its_digest_can_be_recomputed(exporter):
    rows = [
        row(
            i, order=i, gaji=Decimal(f"{i}.10"), aktif=i % 2 == 0, lahir=date(1980, 1, 1),
            waktu=datetime(2024, 1, 1, 0, 0, 0, i * 100, tzinfo=WIB),
            ket=None if i % 3 else ['a"b', "", "x,\ny"][i % 9 // 3],
        )
        for i in range(50)
    ]  # fmt: skip
    exporter.fill(rows[::-1])
    exporter.owner_sql(
        f"UPDATE data.{quote(exporter.slug)} SET _deleted_at = now() WHERE nip = %s",
        rows[-1][0],
    )
    exporter.owner_sql(
        "UPDATE dataset SET row_count = 49 WHERE id = %s", exporter.dataset_id
    )

    export, path = exporter.make()

    assert opened(path).sheetnames == ["Data", "Kamus", "Info"]
    info = information(path)
    expected = python_csv_digest(rows[:-1])
    assert export.csv_sha256 == info["SHA-256 CSV kanonik"] == expected
    assert export.row_count == 49 == len(cells(path)) - 1
    assert info["Jumlah baris"] == "49"
    assert info["Perangkat daerah"] == f"Dinas {exporter.slug}"
    assert info["Kontrak data"] == "Pegawai, versi 1"
    assert info["Data per"].endswith("WIB")
    assert info["Diunduh oleh"].startswith("Siti <")
    assert "nip" in info["Klasifikasi"]
    assert export.file_sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert path.stat().st_mode & 0o777 == 0o600


def test_dictionary_describes_every_field(exporter):
    exporter.fill([row(1)])

    _, path = exporter.make()

    header, first, *others = cells(path, "Kamus")
    assert header == list(workbook._DICTIONARY_WIDTHS)
    assert first[:6] == ["nip", "NIP", "teks", "Ya", "Ya", '=HYPERLINK("http://x")']
    assert first[7] == "data pribadi umum"
    assert [each[0] for each in others] == [each.name for each in FIELDS[1:]]


def test_rows_beyond_a_sheet_go_to_the_next(exporter, monkeypatch):
    monkeypatch.setattr(workbook, "CHUNK_BYTES", 300)
    write = services.write_workbook
    monkeypatch.setattr(
        services,
        "write_workbook",
        lambda *args, **kw: write(*args, **kw, rows_per_sheet=10),
    )
    exporter.fill([row(i, order=i) for i in range(25)])

    export, path = exporter.make()

    sheets = opened(path).sheetnames
    assert sheets == ["Data", "Data 2", "Data 3", "Kamus", "Info"]
    parts = [cells(path, name) for name in sheets[:3]]
    assert [len(each) for each in parts] == [11, 11, 6]
    assert all(each[0] == parts[0][0] for each in parts)
    assert [r[1] for each in parts for r in each[1:]] == list(range(25))
    assert export.row_count == 25


def test_a_sheet_exactly_full_needs_no_other():
    assert workbook.data_sheets(10, 10) == ["Data"]
    assert workbook.data_sheets(11, 10) == ["Data", "Data 2"]
    assert workbook.data_sheets(0, 10) == ["Data"]


def test_no_rows_leave_a_header(exporter):
    exporter.fill([])

    export, path = exporter.make()

    assert export.row_count == 0
    assert cells(path)[0][0] == "NIP"
    assert len(cells(path)) == 1


def test_a_file_that_lost_rows_is_thrown_away(exporter, monkeypatch):
    exporter.fill([row(i) for i in range(5)])
    monkeypatch.setattr(
        workbook,
        "_chunks",
        lambda rows: [b"".join(list(rows)[:4])],  # the fifth is lost
    )
    who = exporter.person()
    export_id, run_id = exporter.ask(who)

    run = exporter.run(run_id)

    assert (run.status, run.error_code) == (RunStatus.FAILED, "count_mismatch")
    with pytest.raises(NotFoundError):
        exporter.fetch(who, export_id)
    assert list((exporter.settings.home / "exports").glob("*.part")) == []


def test_rows_that_the_register_does_not_know_stop_the_export(exporter):
    exporter.fill([row(i) for i in range(5)])
    exporter.owner_sql(
        "UPDATE dataset SET row_count = 6 WHERE id = %s", exporter.dataset_id
    )

    run = exporter.run(exporter.ask(exporter.person())[1])

    assert (run.status, run.error_code) == (RunStatus.QUEUED, "dataset_moved")


@pytest.mark.parametrize("change", ["inactive", "agency", "permission", "agency off"])
def test_rights_are_asked_for_again_when_the_run_begins(exporter, change):
    exporter.fill([row(1)])
    who = exporter.person()
    export_id, run_id = exporter.ask(who)
    with acting_as(OFFICE), db.unit_of_work() as session:
        user = session.get_one(User, who.user_id)
        if change == "inactive":
            user.active = False
        elif change == "permission":
            user.roles[0].permissions = []
        elif change == "agency off":
            user.agency.active = False
        else:
            other = Agency(code=uuid4().hex, name=uuid4().hex)
            session.add(other)
            user.agency = other

    run = exporter.run(run_id)

    assert (run.status, run.error_code) == (RunStatus.FAILED, "not_allowed")
    with pytest.raises(NotFoundError):
        exporter.fetch(who, export_id)


def test_only_the_owner_fetches_and_each_time_is_logged(exporter):
    exporter.fill([row(1), row(2)])
    owner, colleague, office = (
        exporter.person(), exporter.person(), exporter.person(agency=False),
    )  # fmt: skip
    export, _ = exporter.make(owner)

    for stranger in (colleague, office):
        with pytest.raises(NotFoundError):
            exporter.fetch(stranger, export.id)
    exporter.fetch(owner, export.id)

    with acting_as(OFFICE), db.unit_of_work() as session:
        logged = session.scalars(
            sa.select(ExchangeLog).where(ExchangeLog.run_id == export.run_id)
        ).all()
    assert len(logged) == 2
    assert {each.user_id for each in logged} == {owner.user_id}
    assert {each.row_count for each in logged} == {2}
    assert logged[0].byte_count == export.file_bytes > 0


def test_expired_is_refused_and_tidied_away(exporter):
    exporter.fill([row(1)])
    who = exporter.person()
    export, path = exporter.make(who)
    with acting_as(WORKER), db.unit_of_work() as session:
        session.execute(
            sa.update(ExportRun)
            .where(ExportRun.id == export.id)
            .values(expires_at=db.now(session) - timedelta(seconds=1))
        )
    with pytest.raises(ExpiredError):
        exporter.fetch(who, export.id)
    folder = exporter.settings.home / "exports"
    old, fresh = folder / "old.part", folder / "fresh.part"
    stray = folder / "ab" / ("ab" + "0" * 62)
    stray.parent.mkdir(exist_ok=True)
    for each in (old, fresh, stray):
        each.write_bytes(b"x")
    for each in (old, stray):
        os.utime(each, (0, 0))

    with acting_as(OFFICE), db.unit_of_work() as session:
        run_id = request_run(
            session,
            Order(KindName.HOUSEKEEPING, "all", HousekeepingParams(), "Tidy", None),
        )
    run = exporter.run(run_id)

    assert run.status is RunStatus.SUCCEEDED
    assert run.result == {
        "expired": 1, "parts": 1, "strays": 1, "pages": 0, "tables": 0, "trashed": 0,
    }  # fmt: skip
    assert not any(each.exists() for each in (path, old, stray))
    assert fresh.exists()
    fresh.unlink()
    with pytest.raises(NotFoundError):
        exporter.fetch(who, export.id)


def test_a_stopping_worker_gives_the_run_back(exporter, monkeypatch):
    monkeypatch.setattr(workbook, "SAVE_SECONDS", 0.0)
    exporter.fill([row(i) for i in range(10)])
    who = exporter.person()
    _, run_id = exporter.ask(who)
    monkeypatch.setattr(workbook, "LOOK_EVERY", 2)
    tell = workbook._Progress.tell

    def stop_then_tell(self, done):
        self._lease.stopping = done >= 4
        tell(self, done)

    monkeypatch.setattr(workbook._Progress, "tell", stop_then_tell)

    run = exporter.run(run_id)

    assert run.status is RunStatus.QUEUED
    assert run.progress_done == 2
    assert list((exporter.settings.home / "exports").glob("*.part")) == []
    with acting_as(OFFICE), db.unit_of_work() as session:
        messages = session.scalars(
            sa.select(RunLog.message).where(RunLog.run_id == run_id)
        )
        assert any("snapshot" in message for message in messages)
