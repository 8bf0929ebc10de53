"""Fills the demo office on first start: agencies, people, contracts, sources, first pulls.

Everything goes through the same services that people use; the runs are done here, by the
worker's own code, so that the first screen has something on it. Safe to run again.
"""

import os
import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Session

from app.audit import recorder  # noqa: F401 - listens to every session
from app.contracts.fields import FieldSpec
from app.contracts.models import Contract, ContractVersion
from app.contracts.services import create_contract, save_fields
from app.contracts.states import Classification, DatasetKind, FieldType, LoadMode
from app.core import db
from app.core.policy import COMMAND_LINE, acting_as
from app.datasets.activation import plan_for, request_activation
from app.datasets.models import Dataset
from app.exports.models import ExportRun
from app.exports.services import request_export
from app.identity.models import Agency, User
from app.identity.principals import principal_of
from app.identity.services import create_user
from app.office.models import Holiday, HolidayKind
from app.pulls.services import ScheduleWish, request_pull, set_schedule
from app.requests.models import IntegrationRequest
from app.requests.papers import Press
from app.requests.services import choose_contract, draft_contract
from app.requests.states import Step
from app.runs.kinds import KindName
from app.runs.models import JobRun, Schedule
from app.runs.services import save_schedule
from app.runs.states import RunStatus
from app.sources.models import Source
from app.sources.services import save_source
from app.web import i18n
from config import Settings
from demo import agreements, cases, complaints, integrations
from demo.agency_service import AgencyServer, read_options, service_from
from demo.cases import Matter
from jobs import perform, runtime

AGENCIES = {
    "bkd": ("2.04.01", "Badan Kepegawaian Daerah Provinsi Riau", "BKD"),
    "tapem": ("4.01.01", "Biro Tata Pemerintahan Setda Provinsi Riau", "Biro Tapem"),
    "dinkes": ("1.02.01", "Dinas Kesehatan Provinsi Riau", "Dinkes"),
}
OFFICE_ROLES = (
    "PIMPINAN", "TIM_TEKNIS", "PENGAWAS_DATA", "PENGAWAS_TI", "ADMINISTRATOR", "WALIDATA",
    "AUDITOR", "SYSADMIN",
)  # fmt: skip
# local part of the address, name, title, roles, agency
PEOPLE = (
    ("semua", "Rahmawati", "Memegang semua peran kantor", OFFICE_ROLES, ""),
    ("kadis", "Drs. H. Syafrizal, M.Si.", "Kepala Dinas", ("PIMPINAN",), ""),
    ("teknis", "Yoga Pratama, S.Kom.", "Anggota Tim Teknis", ("TIM_TEKNIS",), ""),
    ("data", "Nur'aini, S.T., M.T.", "Pejabat Pengawas Data", ("PENGAWAS_DATA",), ""),
    ("ti", "Hendri Saputra, S.Kom.", "Pejabat Pengawas TI", ("PENGAWAS_TI",), ""),
    ("administrator", "Ir. Desmawati", "Pejabat Administrator", ("ADMINISTRATOR",), ""),
    ("walidata", "Fitria Ningsih, S.Si.", "Walidata", ("WALIDATA",), ""),
    ("auditor", "Suparman, S.E.", "Auditor Inspektorat", ("AUDITOR",), ""),
    ("sistem", "Rizki", "Administrator sistem", ("SYSADMIN",), ""),
    ("operator.bkd", "Dewi Lestari", "Operator BKD", ("OPD_OPERATOR",), "bkd"),
    ("admin.bkd", "Ratna Juwita", "Administrator BKD", ("OPD_ADMIN",), "bkd"),
    ("kepala.bkd", "H. Zulkifli, S.H.", "Kepala BKD", ("OPD_PIMPINAN",), "bkd"),
    ("teknis.dua", "Wahyu Hidayat, S.T.", "Anggota Tim Teknis", ("TIM_TEKNIS",), ""),
    ("operator.tapem", "Budi Santoso", "Operator Biro Tapem", ("OPD_OPERATOR",), "tapem"),
    ("operator.dinkes", "Maria Simanjuntak", "Operator Dinkes", ("OPD_OPERATOR",), "dinkes"),
    ("kepala.tapem", "Dra. Hj. Erlina", "Kepala Biro Tapem", ("OPD_PIMPINAN",), "tapem"),
    ("kepala.dinkes", "dr. Muhammad Ridwan", "Kepala Dinkes", ("OPD_PIMPINAN",), "dinkes"),
)  # fmt: skip
DOMAIN = "kantor.test"
T = FieldType


def _field(name: str, label: str, kind: FieldType = T.TEXT, **rules: object) -> FieldSpec:
    return FieldSpec(name=name, source_path=name, label=label, type=kind, **rules)  # type: ignore[arg-type]


REGION_FIELDS = (
    _field(
        "kode", "Kode wilayah", required=True, is_key=True, example="14.71.01.1002",
        pattern=r"\d{2}(\.\d{2}(\.\d{2}(\.\d{4})?)?)?",
        definition="Kode wilayah administrasi pemerintahan menurut Kementerian Dalam Negeri",
    ),
    _field(
        "nama", "Nama wilayah", required=True, max_length=120, example="Pekanbaru",
        definition="Nama resmi wilayah",
    ),
)  # fmt: skip
PEOPLE_FIELDS = (
    _field(
        "nip", "NIP", required=True, is_key=True, pattern=r"\d{18}",
        classification=Classification.PERSONAL, example="198001012005011001",
        definition="Nomor Induk Pegawai, 18 angka",
    ),
    _field(
        "nama", "Nama", required=True, max_length=200, classification=Classification.PERSONAL,
        definition="Nama lengkap dengan gelar", example="Nur'aini, S.T.",
    ),
    _field(
        "jenis_kelamin", "Jenis kelamin", allowed_values=("L", "P"), required=True,
        definition="L laki-laki, P perempuan", example="P",
    ),
    _field(
        "tanggal_lahir", "Tanggal lahir", T.DATE, minimum="1940-01-01", maximum="2015-12-31",
        classification=Classification.PERSONAL, definition="Menurut akta kelahiran",
        example="1980-01-01",
    ),
    _field("golongan", "Golongan", max_length=6, pattern=r"(I|II|III|IV)/[a-e]",
           definition="Golongan ruang", example="III/a"),
    _field("jabatan", "Jabatan", max_length=200, definition="Jabatan sekarang"),
    _field("unit_kerja", "Unit kerja", max_length=200, definition="Unit tempat bertugas"),
    _field("kode_wilayah", "Kode wilayah", max_length=13,
           definition="Wilayah unit kerja, kode Kemendagri", example="14.71"),
    _field("gaji_pokok", "Gaji pokok", T.NUMBER, minimum="0", unit="rupiah",
           classification=Classification.RESTRICTED, definition="Gaji pokok per bulan"),
    _field("tmt", "TMT", T.DATE, definition="Terhitung mulai tanggal"),
    _field("aktif", "Aktif", T.BOOLEAN, definition="Masih bertugas"),
    _field("email", "Surel", max_length=254, classification=Classification.PERSONAL,
           definition="Surel dinas"),
)  # fmt: skip


def main() -> None:
    """Seed what is missing: a first start that was killed half-way is made up for."""
    started = runtime.start()
    perform.prepare()
    with acting_as(COMMAND_LINE):
        with db.unit_of_work() as session:
            fresh = session.scalar(sa.select(User.id).limit(1)) is None
            passwords = _people(session) if fresh else {}
            if fresh:
                _write_accounts(started.settings.home, passwords)
        with db.unit_of_work() as session:
            owner = session.scalar(sa.select(User).where(User.email == f"semua@{DOMAIN}"))
            somebody = principal_of(owner) if owner else None
        if somebody is not None:
            _holidays()
            with agency_service(started.settings), acting_as(somebody):
                _exchange(started.settings)
                agreements.seed()
                integrations.seed()
                _list_in_public()
                complaints.seed(started.settings.time_zone)
                build = partial(_build, started.settings)
                cases.seed(_press(started.settings), build)
        with db.unit_of_work() as session:
            _housekeeping(session, started.settings.time_zone)


def _people(session: Session) -> dict[str, str]:
    """Make agencies and people; return each address with its password."""
    agencies = {
        key: Agency(code=code, name=name, short_name=short)
        for key, (code, name, short) in AGENCIES.items()
    }
    session.add_all(agencies.values())
    passwords = {}
    for number, (local, name, title, roles, agency) in enumerate(PEOPLE):
        email = f"{local}@{DOMAIN}"
        passwords[email] = f"{secrets.token_hex(3)}-{secrets.token_hex(3)}-S"
        user = create_user(
            session,
            email=email,
            name=name,
            job_title=title,
            password=passwords[email],
            roles=list(roles),
            agency=agencies[agency] if agency else None,
        )
        user.nip = f"19800101201001{number % 2 + 1}{number:03d}"  # nobody's
    return passwords


@contextmanager
def agency_service(settings: Settings) -> Iterator[None]:
    """Be the demo agency for the length of a block: its own process starts only later."""
    address = urlsplit(settings.demo_agency_url)
    options = read_options(["--port", str(address.port)], os.environ)
    server = AgencyServer(
        (str(address.hostname), address.port or 0), service_from(options)
    )
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _services(settings: Settings) -> dict[str, dict[str, object]]:
    """Return the settings of the demo agency's services, by the agency that they stand for."""
    base = settings.demo_agency_url
    common = {"auth": "header", "auth_name": "X-API-Key"}
    regions = {
        **common, "base_url": f"{base}/api/wilayah", "paging": "page", "page_size": 1000,
        "rows_path": "data.items", "total_path": "data.total", "success_path": "status",
        "success_value": "success",
    }  # fmt: skip
    people = {
        **common, "base_url": f"{base}/api/pegawai", "paging": "offset", "page_size": 500,
        "rows_path": "data", "total_path": "total", "success_path": "success",
        "success_value": "true",
    }  # fmt: skip
    return {"tapem": regions, "bkd": people}


def _exchange(settings: Settings) -> None:
    """Bring both contracts to life, pull them, and ask for one Excel file."""
    services = _services(settings)
    _dataset(
        "tapem", "kode_wilayah", "Kode Wilayah Administrasi", DatasetKind.REFERENCE,
        REGION_FIELDS, services["tapem"], "30 1 * * 1", settings.time_zone,
    )  # fmt: skip
    _dataset(
        "bkd", "pegawai", "Data Pegawai Negeri Sipil", DatasetKind.MASTER,
        PEOPLE_FIELDS, services["bkd"], "0 2 * * *", settings.time_zone,
    )  # fmt: skip
    with db.unit_of_work() as session:
        if session.scalar(sa.select(ExportRun.id).limit(1)) is not None:
            return
        dataset = session.scalars(
            sa.select(Dataset).where(Dataset.slug == "pegawai")
        ).one()
        run_id = request_export(session, dataset).run_id
    _do(run_id)


def _list_in_public() -> None:
    """Have the public page name the reference data: everybody may know that it is there."""
    with db.unit_of_work() as session:
        contract = session.scalars(
            sa.select(Contract).where(Contract.slug == "kode_wilayah")
        ).one()
        contract.is_listed = True


def _build(settings: Settings, ident: UUID, step: Step, matter: Matter) -> None:
    """Give a case what its step is for: the contract, its table and source, the rows."""
    with db.unit_of_work() as session:
        case = session.get_one(IntegrationRequest, ident)
        if step is Step.INTERCHANGE_DOCUMENT and matter.contract:
            there = sa.select(Contract).where(Contract.slug == matter.contract)
            choose_contract(session, case, session.scalars(there).one())
        elif step is Step.INTERCHANGE_DOCUMENT and case.contract_id is None:
            draft_contract(session, case)
        contract_id = case.contract_id
    if step is Step.API:
        _bring_to_life(settings, contract_id, matter)
    if step is Step.CENTRAL_DATABASE:
        _fill(contract_id)


def _bring_to_life(settings: Settings, contract_id: UUID | None, matter: Matter) -> None:
    with db.unit_of_work() as session:
        contract = session.get_one(Contract, contract_id)
        if session.scalar(
            sa.select(Dataset.id).where(Dataset.contract_id == contract_id)
        ):
            return
        draft = _draft_of(session, contract)
        activation = request_activation(session, draft, plan_for(session, draft).digest)
    _do(activation)
    with db.unit_of_work() as session:
        contract = session.get_one(Contract, contract_id)
        source = Source(name=contract.title, kind="rest_json", contract=contract)
        service = _services(settings)[matter.agency]
        save_source(session, source, service, secrets={"auth_secret": _key()})


def _fill(contract_id: UUID | None) -> None:
    with db.unit_of_work() as session:
        dataset = session.scalars(
            sa.select(Dataset).where(Dataset.contract_id == contract_id)
        ).one()
        if dataset.published_at is not None:
            return
        source = session.scalars(
            sa.select(Source).where(Source.contract_id == contract_id)
        ).one()
        run_id = request_pull(session, source)
    _do(run_id)


def _key() -> str:
    return os.environ.get("DEMO_AGENCY_KEY", "demo-kunci-opd")


def _dataset(
    agency: str,
    slug: str,
    title: str,
    kind: DatasetKind,
    fields: tuple[FieldSpec, ...],
    settings: dict[str, object],
    cron: str,
    time_zone: str,
) -> None:
    """Make a contract, activate it by its plan, add its source, schedule and pull it."""
    with db.unit_of_work() as session:
        if session.scalar(sa.select(Contract.id).where(Contract.slug == slug)):
            return
        code = AGENCIES[agency][0]
        owner = session.scalars(sa.select(Agency).where(Agency.code == code)).one()
        contract = create_contract(
            session,
            agency_id=owner.id,
            slug=slug,
            title=title,
            kind=kind,
            load_mode=LoadMode.SNAPSHOT,
        )
        draft = _draft_of(session, contract)
        save_fields(session, draft, fields)
        activation = request_activation(session, draft, plan_for(session, draft).digest)
    _do(activation)
    with db.unit_of_work() as session:
        contract = session.get_one(Contract, contract.id)
        source = Source(name=title, kind="rest_json", contract=contract)
        save_source(session, source, settings, secrets={"auth_secret": _key()})
        session.flush()  # its id is the schedule's parameter
        set_schedule(session, source, ScheduleWish(cron, time_zone))
        run_id = request_pull(session, source)
    _do(run_id)


def _draft_of(session: Session, contract: Contract) -> ContractVersion:
    session.flush()  # the draft was added by create_contract
    return session.scalars(
        sa.select(ContractVersion).where(ContractVersion.contract_id == contract.id)
    ).one()


# By the joint decree of three ministers on holidays and collective leave.
HOLIDAYS = {
    "national": (
        ("2026-01-01", "Tahun Baru Masehi"), ("2026-01-16", "Isra Mikraj"),
        ("2026-02-17", "Tahun Baru Imlek"), ("2026-03-19", "Hari Suci Nyepi"),
        ("2026-03-21", "Idul Fitri"), ("2026-03-22", "Idul Fitri"),
        ("2026-04-03", "Wafat Yesus Kristus"), ("2026-04-05", "Paskah"),
        ("2026-05-01", "Hari Buruh"), ("2026-05-14", "Kenaikan Yesus Kristus"),
        ("2026-05-27", "Idul Adha"), ("2026-05-31", "Waisak"),
        ("2026-06-01", "Hari Lahir Pancasila"), ("2026-06-16", "Tahun Baru Islam"),
        ("2026-08-17", "Proklamasi Kemerdekaan"), ("2026-08-25", "Maulid Nabi"),
        ("2026-12-25", "Natal"), ("2027-01-01", "Tahun Baru Masehi"),
    ),
    "collective": (
        ("2026-02-16", "Imlek"), ("2026-03-18", "Nyepi"), ("2026-03-20", "Idul Fitri"),
        ("2026-03-23", "Idul Fitri"), ("2026-03-24", "Idul Fitri"),
        ("2026-05-15", "Kenaikan Yesus Kristus"), ("2026-05-28", "Idul Adha"),
        ("2026-12-24", "Natal"),
    ),
}  # fmt: skip


def _press(settings: Settings) -> Press:
    return Press(
        home=settings.home,
        zone=settings.time_zone,
        public_url=settings.public_url or "http://127.0.0.1:8000",
        office_name=settings.office_name,
        translations=i18n.compiled(settings.home),
    )


def _holidays() -> None:
    with db.unit_of_work() as session:
        if session.scalar(sa.select(Holiday.id).limit(1)) is None:
            session.add_all(
                Holiday(day=date.fromisoformat(day), name=name, kind=HolidayKind(kind))
                for kind, days in HOLIDAYS.items()
                for day, name in days
            )


def _housekeeping(session: Session, time_zone: str) -> None:
    if session.scalar(sa.select(Schedule.id).where(Schedule.key == "tidy")):
        return
    save_schedule(
        session,
        Schedule(
            name="Bersih-bersih harian",
            kind=KindName.HOUSEKEEPING,
            key="tidy",
            params={},
            cron="0 3 * * *",
            time_zone=time_zone,
            enabled=True,
        ),
    )


def _do(run_id: UUID | None) -> None:
    """Do a run here and now, with the worker's own code."""
    perform.perform(str(run_id))
    with db.unit_of_work() as session:
        run = session.get_one(JobRun, run_id)
        if run.status is not RunStatus.SUCCEEDED:
            raise SystemExit(f"{run.label}: {run.error_message % run.error_params}")


def _write_accounts(home: Path, passwords: dict[str, str]) -> None:
    width = max(len(email) for email in passwords)
    titles = {f"{local}@{DOMAIN}": title for local, _, title, _, _ in PEOPLE}
    lines = ["Akun contoh / demo accounts:"]
    lines += [
        f"  {email:<{width}}  {word}  {titles[email]}"
        for email, word in passwords.items()
    ]
    path = home / "demo-accounts.txt"
    path.touch(mode=0o600)
    path.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
