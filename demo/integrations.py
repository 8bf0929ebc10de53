"""Integrations of the demo office: one taken over from before, whose next version is told."""

from datetime import date

import sqlalchemy as sa
from msgspec.structs import replace
from sqlalchemy.orm import Session

from app.contracts.models import Contract, ContractVersion
from app.contracts.services import draft_from, save_fields
from app.contracts.states import VersionStatus
from app.core import db
from app.datasets import announcing
from app.integrations.models import Integration

SLUG, LOOSENED = "kode_wilayah", "nama"


def seed() -> None:
    """Take it over and announce its next version, unless that was done."""
    with db.unit_of_work() as session:
        contract = session.scalars(sa.select(Contract).where(Contract.slug == SLUG)).one()
        there = sa.select(Integration.id).where(Integration.contract_id == contract.id)
        if session.scalar(there) is not None:
            return
        session.add(
            Integration(
                contract=contract,
                agency=contract.agency,
                system="SIWILAYAH",
                server="srv-wilayah-01",
                contact="Dewi Lestari",
                contact_phone="0761-555012",
                contact_email="tapem@contoh.test",
                document="100/BA-TAPEM/2024",
                reason="Berjalan sejak 2024 berdasarkan berita acara, sebelum ada layanan ini.",
                running_since=date(2024, 3, 4),
                review_on=date(2027, 3, 4),
                tls_until=date(2027, 1, 31),
            )
        )
        _announce(session, contract)


def _announce(session: Session, contract: Contract) -> None:
    active = session.scalars(
        sa.select(ContractVersion).where(
            ContractVersion.contract_id == contract.id,
            ContractVersion.status == VersionStatus.ACTIVE,
        )
    ).one()
    draft = draft_from(session, active)
    session.flush()
    specs = [
        replace(each, max_length=200, definition="Nama resmi wilayah, dengan nama lama")
        if each.name == LOOSENED
        else each
        for each in active.specs()
    ]
    save_fields(session, draft, specs)
    session.flush()
    announcing.announce(session, draft)
