"""Complaints of the demo office: by each kind of way, in each state, one of them late."""

from datetime import timedelta

import sqlalchemy as sa
from sqlalchemy.orm import Session

from app.complaints import services
from app.complaints.models import Complaint
from app.complaints.services import Said
from app.complaints.states import Channel, Kind
from app.core import clock, db
from app.core.policy import Principal, acting_as
from app.identity.models import Agency, User
from app.identity.principals import principal_of

CAME = (
    Said(Kind.COMPLAINT, Channel.LAPOR, "Data penduduk di dasbor berbeda dengan Disdukcapil", "Angka Kecamatan Tampan berbeda 1.200 jiwa.", "Pelapor LAPOR!", "melalui LAPOR!", "9021457"),
    Said(Kind.INFORMATION, Channel.EMAIL, "Cara memperoleh kode wilayah terbaru", "Kami menyusun tesis dan memerlukan daftar kode kelurahan.", "Putri Amelia", "putri@contoh.test"),
    Said(Kind.SUGGESTION, Channel.LETTER, "Jadwal penarikan di luar jam kerja", "Mohon penarikan tidak pada jam pelayanan RSUD.", "RSUD Arifin Achmad", "0761-21618"),
    Said(Kind.ASPIRATION, Channel.IN_PERSON, "Pelatihan bagi operator OPD", "Operator berganti tiap tahun dan perlu pelatihan.", "Hasan Basri", "0812-7000-1111"),
)  # fmt: skip
OLD = 40  # days ago: the first one is late


def seed(zone: str) -> None:
    """Enter them, pass one on and answer one, unless there are some."""
    with db.unit_of_work() as session:
        if session.scalar(sa.select(Complaint.id).limit(1)) is not None:
            return
        today = clock.in_zone(db.now(session), zone).date()
        late, asked, settled, passed = (
            services.receive(session, said, zone) for said in CAME
        )
        late.received_on = today - timedelta(days=OLD)
        late.due_on = today - timedelta(days=OLD - 14)
        services.answer(
            session, asked, "Daftar kode wilayah terbaru sudah dikirim ke surel Anda."
        )
        services.answer(
            session, settled, "Jadwal dipindahkan ke pukul 02.00 WIB mulai pekan depan."
        )
        services.close(session, settled)
        agency = session.scalars(sa.select(Agency).where(Agency.short_name == "BKD"))
        services.forward(session, passed, agency.one())
        services.note(session, passed, "BKD diminta menyampaikan jadwal pelatihan.")
    with db.unit_of_work() as session:
        sender = _head_of_health(session)
    own = Said(
        Kind.INPUT,
        Channel.PORTAL,
        "Kolom tanggal di berkas Excel",
        "Mohon kolom tanggal diberi keterangan zona waktu.",
    )
    with acting_as(sender), db.unit_of_work() as session:
        services.receive(session, own, zone)


def _head_of_health(session: Session) -> Principal:
    user = sa.select(User).where(User.email == "kepala.dinkes@kantor.test")
    return principal_of(session.scalars(user).one())
