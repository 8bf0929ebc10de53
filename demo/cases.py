"""Cases of the demo office: one at every step, in both loops, resting, refused and closed.

They are played by the people of the demo through the services that the pages use.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import NamedTuple
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Session

from app.contracts.models import Contract
from app.core import db
from app.core.policy import Principal, acting_as
from app.datasets.models import Dataset
from app.datasets.queries import reading_of, rows_page
from app.files.services import keep, path_of, store_of
from app.identity.models import Agency, User
from app.identity.principals import principal_of
from app.papers.typesetting import set_in_type
from app.requests import queries, services, signing, writing
from app.requests.documents import STEP_DOCUMENTS, DocumentKind
from app.requests.fields import Values
from app.requests.models import (
    Document,
    DocumentVersion,
    IntegrationRequest,
    IssuedPaper,
    PaperMark,
    RequestEvent,
)
from app.requests.papers import Press, sheet_of
from app.requests.procedure import Deed
from app.requests.states import Action, Reason, Role, Step
from app.requests.wordings import PaperKind

K = DocumentKind
NOTE = {
    Action.RETURN: (Reason.FIELD_WRONG, "Mohon periksa kembali perihal surat dan lampirannya."),
    Action.DISAGREE: (Reason.DEFINITION_UNCLEAR, "Satuan dan kode referensi tiga elemen belum disepakati."),
    Action.NOT_FIT: (Reason.DATA_WRONG, "Jumlah per unit kerja pada dashboard belum sama dengan catatan kami."),
    Action.HOLD: (Reason.OTHER, "Menunggu penggantian server perangkat daerah."),
    Action.REFUSE: (Reason.LEGAL_BASIS_MISSING, "Data kependudukan diverifikasi per permintaan, tidak disalin."),
    Action.WITHDRAW: (Reason.NOT_NEEDED, "Aplikasi digabung dengan aplikasi nasional."),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Matter:
    """What a case is about, in the words that its documents are filled with."""

    agency: str
    title: str
    system: str
    dataset: str
    elements: tuple[tuple[str, str, str, str], ...]  # name, type, definition, class
    contract: str = ""  # the short name of one that there is


class Plan(NamedTuple):
    """One case: how many steps it has passed, and what happened then."""

    matter: Matter
    passed: int  # -1: a draft
    then: tuple[Action, ...] = ()
    since: timedelta = timedelta(days=1)  # the last deed was so long ago
    is_amendment: bool = False  # a small change of what runs by the matter's contract


# Data elements by name: type, definition, class; as the demo agency's services have them.
_ELEMENTS = {
    "nip": ("text", "Nomor Induk Pegawai, 18 angka", "pribadi_umum"),
    "nama": ("text", "Nama lengkap dengan gelar", "pribadi_umum"),
    "golongan": ("text", "Golongan ruang", "umum"),
    "jabatan": ("text", "Jabatan sekarang", "umum"),
    "unit_kerja": ("text", "Unit tempat bertugas", "umum"),
    "tmt": ("date", "Terhitung mulai tanggal", "umum"),
    "aktif": ("boolean", "Masih bertugas", "umum"),
    "kode": ("text", "Kode wilayah menurut Kemendagri", "umum"),
    "tempat_tidur": ("integer", "Jumlah tempat tidur", "umum"),
}


def _matter(
    agency: str, title: str, dataset: str, *elements: str, contract: str = ""
) -> Matter:
    system = {"bkd": "SIMPEG Riau", "dinkes": "SIK Riau", "tapem": "SIPEMDA"}[agency]
    kinds = tuple((name, *_ELEMENTS[name]) for name in elements)
    return Matter(agency, f"Integrasi data {title}", system, dataset, kinds, contract)


PLANS = (
    Plan(_matter("bkd", "kepegawaian", "Pegawai ASN", "nip", "nama", "golongan", "unit_kerja", "tmt", contract="pegawai"), 13),
    Plan(_matter("tapem", "kode wilayah", "Kode wilayah", "kode", "nama", contract="kode_wilayah"), 12),
    Plan(_matter("tapem", "batas desa", "Batas desa", "kode", "nama"), 11),
    Plan(_matter("bkd", "jabatan fungsional", "Jabatan fungsional", "nip", "nama", "jabatan"), 10),
    Plan(_matter("tapem", "nama desa", "Nama desa", "kode", "nama"), 9),
    Plan(_matter("bkd", "pensiun", "Pegawai aktif", "nip", "nama", "aktif"), 8),
    Plan(_matter("bkd", "penempatan pegawai", "Penempatan pegawai", "nip", "unit_kerja"), 7),
    Plan(_matter("tapem", "penduduk per kecamatan", "Penduduk per kecamatan", "kode", "nama"), 6, since=timedelta(days=40)),
    Plan(_matter("bkd", "kenaikan pangkat", "Kenaikan pangkat", "nip", "golongan", "tmt"), 5),
    Plan(_matter("dinkes", "imunisasi", "Imunisasi", "kode", "nama"), 4),
    Plan(_matter("tapem", "perangkat desa", "Perangkat desa", "kode", "nama"), 3),
    Plan(_matter("dinkes", "fasilitas kesehatan", "Fasilitas kesehatan", "kode", "nama", "tempat_tidur"), 2),
    Plan(_matter("bkd", "diklat", "Diklat", "nip", "nama"), 1),
    Plan(_matter("tapem", "aset desa", "Aset desa", "kode", "nama"), 0),
    Plan(_matter("dinkes", "stunting", "Stunting", "kode", "nama"), 3, (Action.PROPOSE, Action.DISAGREE)),
    Plan(_matter("bkd", "kinerja", "Kinerja pegawai", "nip", "nama", "golongan"), 11, (Action.PROPOSE, Action.NOT_FIT)),
    Plan(_matter("tapem", "toponimi", "Toponimi", "kode", "nama"), 0, (Action.RETURN,)),
    Plan(_matter("dinkes", "obat", "Persediaan obat", "kode", "nama"), 4, (Action.HOLD,)),
    Plan(_matter("tapem", "penduduk perorangan", "Penduduk perorangan", "kode", "nama"), 1, (Action.REFUSE,)),
    Plan(_matter("dinkes", "posyandu", "Posyandu", "kode", "nama"), -1),
    Plan(_matter("bkd", "kepegawaian: golongan ditulis lengkap", "Pegawai ASN", "nip", "golongan", contract="pegawai"), 1, is_amendment=True),
)  # fmt: skip
BUILDING = frozenset({Step.INTERCHANGE_DOCUMENT, Step.API, Step.CENTRAL_DATABASE})


Build = Callable[[UUID, Step, Matter], None]


def seed(press: Press, build: Build) -> None:
    """Play what is planned, unless there are cases already.

    Papers go to ``press``; ``build`` gives a case what its step is for.
    """
    with db.unit_of_work() as session:
        if session.scalar(sa.select(IntegrationRequest.id).limit(1)) is not None:
            return
        people = {
            user.email.partition("@")[0]: principal_of(user)
            for user in session.scalars(sa.select(User).where(User.active))
        }
        agencies = {a.id: a.name for a in session.scalars(sa.select(Agency))}
    for plan in PLANS:
        _play(plan, _Cast(plan.matter, people, agencies, press, build))


class _Cast:
    """Who acts in a case."""

    def __init__(
        self,
        matter: Matter,
        people: Mapping[str, Principal],
        agencies: Mapping[UUID, str],
        press: Press,
        build: Build,
    ) -> None:
        operator = people[f"operator.{matter.agency}"]
        self.matter, self.press, self.build = matter, press, build
        self.agency = agencies[operator.agency_id] if operator.agency_id else ""
        self.people = {
            Role.OPD_OPERATOR: operator,
            Role.OPD_PIMPINAN: people[f"kepala.{matter.agency}"],
            Role.PIMPINAN: people["kadis"],
            Role.TIM_TEKNIS: people["teknis"],
            Role.PENGAWAS_DATA: people["data"],
            Role.PENGAWAS_TI: people["ti"],
            Role.ADMINISTRATOR: people["administrator"],
        }
        self.second = people["teknis.dua"]

    def name(self, role: Role) -> str:
        return self.people[role].label.partition(" <")[0]


def _play(plan: Plan, cast: _Cast) -> None:
    operator = cast.people[Role.OPD_OPERATOR]
    with acting_as(operator), db.unit_of_work() as session:
        there = sa.select(Contract).where(Contract.slug == plan.matter.contract)
        runs = session.scalars(there).one() if plan.is_amendment else None
        ident = services.begin(
            session,
            plan.matter.title,
            f"Data {plan.matter.dataset.lower()} dari {plan.matter.system} tersedia bagi perangkat daerah lain tanpa pengetikan ulang.",
            runs,
        ).id
    for kind in (K.LETTER, K.STAFF, K.APPLICATION_DESIGN):
        _write(ident, kind, operator, cast)
    if plan.passed < 0:
        return
    _act(cast, ident, Action.HAND_IN, operator)
    for _ in range(plan.passed):
        _pass_step(ident, cast)
    for action in plan.then:
        _happen(ident, action, cast)
    if _read(ident).step is Step.AGENCY_CHECK:
        _find_faults(ident, cast)
    _date_back(ident, plan.since, cast.press)


def _read(ident: UUID) -> IntegrationRequest:
    with db.unit_of_work() as session:
        return session.get_one(IntegrationRequest, ident)


def _write(ident: UUID, kind: DocumentKind, who: Principal, cast: _Cast) -> None:
    with acting_as(who), db.unit_of_work() as session:
        case = queries.get_case(session, ident, who)
        writing.write_document(session, case, kind, CONTENTS[kind](cast))


def _act(
    cast: _Cast, ident: UUID, action: Action, who: Principal, role: Role | None = None
) -> None:
    reason, note = NOTE.get(action, (None, ""))
    with acting_as(who), db.unit_of_work() as session:
        digest = queries.get_case(session, ident, who).digest
        deed = Deed(action, role, digest, reason, note)
        services.take_action(session, ident, deed, cast.press)


def _propose(ident: UUID, cast: _Cast) -> None:
    case = _read(ident)
    proposer = cast.people[Role(min(case.asked))]
    for kind in STEP_DOCUMENTS[case.step]:
        _write(ident, kind, proposer, cast)
    _act(cast, ident, Action.PROPOSE, proposer)


def _pass_step(ident: UUID, cast: _Cast) -> None:
    step = _read(ident).step
    if step in BUILDING:
        with acting_as(cast.people[Role.TIM_TEKNIS]):
            cast.build(ident, step, cast.matter)
    if step is Step.API:
        _sign(ident, cast)
    if step is not Step.FILE_CHECK:
        _propose(ident, cast)
    for role in _read(ident).standing.missing:
        # Who is of the team has submitted it: another one of the team approves.
        who = cast.second if role is Role.TIM_TEKNIS else cast.people[role]
        _act(cast, ident, Action.APPROVE, who, role)


def _sign(ident: UUID, cast: _Cast) -> None:
    """Have the interchange document come back signed by pen, and somebody second see it."""
    home = cast.press.home
    with acting_as(cast.people[Role.TIM_TEKNIS]), db.unit_of_work() as session:
        case = session.get_one(IntegrationRequest, ident)
        kind = PaperKind.INTERCHANGE
        paper = next(p for p in queries.papers_of(session, case) if p.kind is kind)
        content = path_of(home, paper.sha256).read_bytes()
        scan = keep(home, "dokumen-interchange-bertanda-tangan.pdf", content)
        signing.take_scan(session, paper, scan)
    with acting_as(cast.people[Role.PENGAWAS_DATA]), db.unit_of_work() as session:
        signing.attest(session, session.get_one(IssuedPaper, paper.id), scan.sha256)


def _happen(ident: UUID, action: Action, cast: _Cast) -> None:
    who = {
        Action.RETURN: cast.people[Role.TIM_TEKNIS],
        Action.DISAGREE: cast.people[Role.OPD_PIMPINAN],
        Action.NOT_FIT: cast.people[Role.ADMINISTRATOR],
    }.get(action, cast.people[Role.PIMPINAN])
    if action is Action.PROPOSE:
        _propose(ident, cast)
        return
    if action is Action.RETURN:
        _remark(ident, who)
    _act(cast, ident, action, who)


def _find_faults(ident: UUID, cast: _Cast) -> None:
    """Have the agency note two faults: one that it has mended, one that was none."""
    case = _read(ident)
    with db.unit_of_work() as session:
        dataset = session.scalars(
            sa.select(Dataset).where(Dataset.contract_id == case.contract_id)
        ).one()
        reading = reading_of(session, dataset, None)
        first, second = rows_page(session, dataset, reading).rows[:2]
    element, *_ = (name for name, *_ in cast.matter.elements if name != "nip")
    noted = [
        {"wrong": "value", "key": first["nip"], "element": element,
         "found": str(first[element]), "expected": f"{first[element]}, M.Si.",
         "cause": "Gelar belum diperbarui", "is_done": "1"},
        {"wrong": "value", "key": second["nip"], "element": element,
         "expected": str(second[element])},
    ]  # fmt: skip
    operator = cast.people[Role.OPD_OPERATOR]
    with acting_as(operator), db.unit_of_work() as session:
        case = queries.get_case(session, ident, operator)
        writing.write_document(session, case, K.AGENCY_CHECK, {"findings": noted})


def _remark(ident: UUID, who: Principal) -> None:
    said = {"subject": "Perihal belum menyebut sistem yang diintegrasikan."}
    with acting_as(who), db.unit_of_work() as session:
        case = queries.get_case(session, ident, who)
        writing.remark(session, case, K.LETTER, said)


# --- what the documents say -------------------------------------------------------------


def _letter(cast: _Cast) -> Values:
    matter = cast.matter
    return {
        "number": f"000.8/{len(matter.title) * 7}/{matter.agency.upper()}/2026",
        "date": "2026-09-01",
        "secrecy": "biasa",
        "subject": f"Permohonan {matter.title.lower()}",
        "attachments": "3",
        "signer_name": cast.name(Role.OPD_PIMPINAN),
        "signer_position": f"Kepala {cast.agency}",
        "signer_nip": "197005121996031004",
        "purpose": f"Agar data {matter.dataset.lower()} tersedia bagi perangkat daerah lain secara berkala.",
        "legal_basis": "Peraturan Presiden Nomor 39 Tahun 2019 tentang Satu Data Indonesia",
        "direction": "provides",
        "system": matter.system,
        "responsible": cast.name(Role.OPD_PIMPINAN),
        "technician": cast.name(Role.OPD_OPERATOR),
        "technician_phone": "0761-45505",
        "technician_email": f"teknis.{matter.agency}@riau.contoh.id",
    }


def _staff(cast: _Cast) -> Values:
    def person(name: str, role: str, nip: str) -> Values:
        return {
            "name": name, "nip": nip, "rank": "Penata / III/c", "position": "Pranata Komputer",
            "role": role, "institution": cast.agency, "phone": "0761-45505",
            "email": f"{role}.{cast.matter.agency}@riau.contoh.id",
        }  # fmt: skip

    return {
        "decree": "SK.12/IX/2026",
        "decree_date": "2026-08-15",
        "decree_until": "2027-08-15",
        "people": [
            person(cast.name(Role.OPD_OPERATOR), "application", "198501012010012001"),
            person("Andi Wijaya, S.Kom.", "server", "199002022015021002"),
        ],
    }


def _design(cast: _Cast) -> Values:
    return {
        "name": cast.matter.system,
        "function": f"Mencatat dan melaporkan data {cast.matter.dataset.lower()} seluruh Provinsi Riau.",
        "status": "active",
        "built_in": "2019",
        "language": "PHP 8.2, Laravel 11",
        "database": "MySQL 8.0",
        "apis": "REST/JSON, satu titik akhir per himpunan data",
        "sign_in": "token pembawa (Bearer)",
        "volume": "12.000 baris, bertambah 150 baris per bulan",
        "developer": "Bidang pengolahan data",
        "owner": cast.agency,
        "category": "high",
    }


def _disposition(cast: _Cast) -> Values:
    return {
        "agenda_number": "1287",
        "to": "Bidang Pengelolaan Data dan Integrasi Sistem Informasi",
        "instruction": "Tindak lanjuti sesuai prosedur, laporkan dalam tiga hari kerja.",
        "due_on": "2026-09-07",
        "team": f"{cast.name(Role.TIM_TEKNIS)} (ketua)",
        "asked": f"Elemen data {cast.matter.dataset.lower()}, kegunaan, dasar hukum, dan klasifikasinya.",
    }


def _definition(cast: _Cast) -> Values:
    return {
        "purpose": f"Satu sumber {cast.matter.dataset.lower()} bagi seluruh perangkat daerah.",
        "legal_basis": "Peraturan Presiden Nomor 39 Tahun 2019",
        "dataset": cast.matter.dataset,
        "kind": "master",
        "frequency": "harian",
        "elements": [
            {"name": name, "type": kind, "definition": meaning, "classification": group,
             **({"is_key": "1", "is_needed": "1"} if not at else {})}
            for at, (name, kind, meaning, group) in enumerate(cast.matter.elements)
        ],
    }  # fmt: skip


def _people(cast: _Cast) -> list[Values]:
    return [
        {"name": cast.name(Role.TIM_TEKNIS), "position": "Anggota Tim Teknis", "institution": "Diskominfotik"},
        {"name": cast.name(Role.OPD_OPERATOR), "position": "Penanggung jawab teknis", "institution": cast.agency},
    ]  # fmt: skip


def _meeting(cast: _Cast, **more: str) -> Values:
    return {
        "held_on": "2026-09-21",
        "place": "Ruang rapat Diskominfotik, Pekanbaru",
        "agenda": cast.matter.title,
        "people": _people(cast),
        **more,
    }


def _scenario(cast: _Cast) -> Values:
    return _meeting(
        cast,
        legal="Dasar: Perpres 39/2019. Pemilik data menyetujui; unsur pribadi dibatasi pada yang diperlukan.",
        organisational="Perangkat daerah menjaga layanan sumber; dinas menarik, memeriksa, dan menyimpan. Gangguan dilaporkan dalam satu jam kerja.",
        semantic="Kode wilayah menurut Kemendagri; sumber kebenaran adalah sistem perangkat daerah.",
        technical="REST/JSON, tarikan harian pukul 02.00 WIB, token pembawa, 500 baris per halaman.",
        trial="Panggilan uji dengan data tersamar berhasil: 5 elemen dikenali, tidak ada galat.",
        decision="Kedua pihak sepakat melanjutkan ke dokumen interchange data.",
        follow_up="Draf dokumen disiapkan tim teknis dalam lima hari kerja.",
    )


def _interchange(cast: _Cast) -> Values:
    return {
        "provider": f"{cast.agency}, diwakili {cast.name(Role.OPD_PIMPINAN)} selaku Kepala",
        "receiver": f"Diskominfotik Provinsi Riau, diwakili {cast.name(Role.PIMPINAN)} selaku Kepala Dinas",
        "purpose": f"Pertukaran data {cast.matter.dataset.lower()} melalui web service.",
        "legal_basis": "Perpres 95/2018, Perpres 39/2019, Permenkominfo 1/2023",
        "method": "Penarikan REST/JSON oleh dinas",
        "frequency": "Harian, pukul 02.00 WIB",
        "service_level": "99 % per bulan; keterlambatan paling lama 24 jam",
        "quality": "Kunci unik; baris ditolak paling banyak 20 %; baris hilang paling banyak 10 %.",
        "faults": "Rekaman yang salah dikarantina dan diberitahukan kepada perangkat daerah.",
        "onward": "Hanya untuk tujuan ini; tidak diteruskan tanpa persetujuan pemilik data.",
        "retention": "Selama perjanjian berlaku, lalu dimusnahkan dengan berita acara.",
        "security": "TLS, token berputar tiap 90 hari, akses tercatat.",
        "incidents": "Narahubung kedua pihak, paling lambat 3 × 24 jam",
        "valid_from": "2026-10-01",
        "valid_until": "2027-09-30",
        "changes": "Diberitahukan 30 hari sebelumnya",
    }


def _test(cast: _Cast) -> Values:
    return _meeting(
        cast,
        tested="Alamat layanan, cara masuk, penomoran halaman, dan lima elemen menurut kontrak.",
        result="Semua sesuai kontrak; waktu jawab rata-rata 120 milidetik.",
    )


def _storage(_cast: _Cast) -> Values:
    return {
        "source_rows": "12000",
        "differences": "Tidak ada selisih jumlah; 14 rekaman dikarantina karena tanggal lahir kosong.",
        "quality": "14 rekaman, diperbaiki perangkat daerah.",
    }


def _result_letter(cast: _Cast) -> Values:
    return {
        "recipient": f"Kepala {cast.agency}",
        "text": f"Bersama ini disampaikan hasil integrasi data {cast.matter.dataset.lower()} beserta berkas Excel.",
        "check_until": "2026-11-03",
    }


def _agency_check(cast: _Cast) -> Values:
    return {
        "findings": [
            {"wrong": "value", "key": "198001012005011001", "element": cast.matter.elements[-1][0],
             "found": "kosong", "expected": "terisi", "cause": "belum diketik",
             "given_up": "Pegawai sudah pindah ke instansi lain."},
        ],
        "checked_by": cast.name(Role.OPD_OPERATOR),
        "checked_on": "2026-10-30",
        "result": "Sesuai setelah satu perbaikan di sistem kami.",
    }  # fmt: skip


def _reconciliation(cast: _Cast) -> Values:
    return _meeting(
        cast, source_rows="12000", result="Jumlah dan isi sama pada kedua pihak."
    )


def _result_document(cast: _Cast) -> Values:
    return {
        "summary": f"{cast.matter.title}: terpasang dan berjalan tiap hari.",
        "architecture": "Server pusat Diskominfotik menarik dari server perangkat daerah melalui jaringan intra.",
        "tests": "Uji koneksi, uji kontrak, rekonsiliasi: lulus.",
        "handover": "Dokumentasi API, kamus data, berkas Excel.",
    }


def _dashboard(cast: _Cast) -> Values:
    return {
        "agency_says": "fits",
        "agency_reason": "Angka pada dashboard sama dengan laporan bulanan kami.",
        "agency_person": f"{cast.name(Role.OPD_PIMPINAN)}, 6 November 2026",
        "decision": "Sesuai; pemutakhiran berjalan tiap hari.",
    }


def _report(cast: _Cast) -> Values:
    return {
        "summary": f"{cast.matter.title} selesai dalam waktu yang ditetapkan.",
        "scope": f"Himpunan data {cast.matter.dataset}, {len(cast.matter.elements)} elemen.",
        "obstacles": "Satu perbaikan data di sistem perangkat daerah.",
        "recommendations": "Evaluasi mutu data tiap triwulan.",
        "updates": "Penarikan harian pukul 02.00 WIB.",
        "review_on": "2027-05-03",
    }


CONTENTS: Mapping[DocumentKind, Callable[[_Cast], Values]] = {
    K.LETTER: _letter,
    K.STAFF: _staff,
    K.APPLICATION_DESIGN: _design,
    K.DISPOSITION: _disposition,
    K.DATA_DEFINITION: _definition,
    K.SCENARIO: _scenario,
    K.INTERCHANGE: _interchange,
    K.CONNECTION_TEST: _test,
    K.STORAGE: _storage,
    K.RESULT_LETTER: _result_letter,
    K.AGENCY_CHECK: _agency_check,
    K.RECONCILIATION: _reconciliation,
    K.RESULT_DOCUMENT: _result_document,
    K.DASHBOARD: _dashboard,
    K.REPORT: _report,
}


# --- when it happened -------------------------------------------------------------------

# Between two deeds of the demo's cases.
PACE = timedelta(days=2)


def _date_back(ident: UUID, since: timedelta, press: Press) -> None:
    """Let a case that was played in a moment have taken weeks.

    The demo alone does that: past every service, in the name of the tables' owner.
    """
    with db.owner_unit_of_work() as session:
        case = session.get_one(IntegrationRequest, ident)
        events = session.scalars(
            sa.select(RequestEvent)
            .where(RequestEvent.case_id == ident)
            .order_by(RequestEvent.id.desc())
        ).all()
        at = {
            event.id: event.at - since - number * PACE
            for number, event in enumerate(events)
        }
        papers = {
            event.id: session.scalars(
                sa.select(IssuedPaper).where(
                    IssuedPaper.case_id == ident, IssuedPaper.issued_at == event.at
                )
            ).all()
            for event in events
        }
        for event in events:
            session.execute(
                sa.update(RequestEvent)
                .where(RequestEvent.id == event.id)
                .values(at=at[event.id])
            )
        first, last = min(at.values()), max(at.values())
        accepted = [at[e.id] for e in events if e.from_step is Step.FILE_CHECK]
        begun = [at[e.id] for e in events if e.to_step is case.step]
        case.created_at, case.handed_in_at, case.step_since = (
            first - PACE, first, min(begun),
        )  # fmt: skip
        case.accepted_at = min(accepted) if case.accepted_at else None
        case.ended_at = last if case.ended_at else None
        for document in session.scalars(
            sa.select(Document).where(Document.case_id == ident)
        ):
            document.changed_at = last
        session.execute(
            sa.update(DocumentVersion)
            .where(DocumentVersion.case_id == ident)
            .values(at=last)
        )
        session.expire_all()
        for event in reversed(events):  # the report tells of the papers before it
            for paper in papers[event.id]:
                _print_again(session, press, paper, event)


def _print_again(
    session: Session, press: Press, paper: IssuedPaper, event: RequestEvent
) -> None:
    """Have a paper bear the day of its deed, and its marks the days after."""
    later = event.at - paper.issued_at
    paper.issued_at = event.at  # the report names its own day, too
    session.flush()
    marks = (paper.number, paper.code)
    sheet = sheet_of(session, press, paper.case, paper.kind, event, marks)
    stored = store_of(press.home).put(set_in_type(sheet, event.at, press.zone))
    for mark in session.scalars(
        sa.select(PaperMark).where(PaperMark.paper_id == paper.id)
    ):
        mark.at += later
        # What the demo takes for a scan is the paper itself.
        mark.sha256 = stored.sha256 if mark.sha256 == paper.sha256 else mark.sha256
    paper.sha256, paper.byte_count = stored.sha256, stored.byte_count
    session.flush()
