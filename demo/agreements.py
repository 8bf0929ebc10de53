"""Agreements of the demo office: one that stands, and one that waits for its owner's head."""

from datetime import timedelta
from typing import Any

import sqlalchemy as sa

from app.core import clock, db
from app.core.policy import acting_as
from app.datasets import agreements
from app.datasets.models import Agreement, Dataset
from app.identity.models import Agency, User
from app.identity.principals import principal_of

PROPOSALS: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("kode_wilayah", "Dinkes", {
        "number": "027/KS/TAPEM-DINKES/2026", "fields": [], "row_field": "", "row_values": [],
        "purpose": "Kode wilayah pada pelaporan fasilitas kesehatan.",
    }),
    ("pegawai", "Dinkes", {
        "number": "800/112/BKD/2026", "row_field": "kode_wilayah", "row_values": ["14.71"],
        "fields": ["nip", "nama", "golongan", "unit_kerja", "kode_wilayah"],
        "purpose": "Pemutakhiran data tenaga kesehatan yang bertugas di Kota Pekanbaru.",
    }),
)  # fmt: skip


def seed() -> None:
    """Propose both, and have the first one agreed to, unless there are agreements."""
    with db.unit_of_work() as session:
        if session.scalar(sa.select(Agreement.id).limit(1)) is not None:
            return
        for slug, receiver, values in PROPOSALS:
            dataset = session.scalars(
                sa.select(Dataset).where(Dataset.slug == slug)
            ).one()
            agency = session.scalars(
                sa.select(Agency).where(Agency.short_name == receiver)
            ).one()
            ends = clock.utc_now() + timedelta(days=365)
            agreement = Agreement(
                dataset=dataset, agency=agency, valid_until=ends, **values
            )
            session.add(agreement)
            agreements.propose(session, agreement)
    _agree("kepala.tapem@kantor.test", "kode_wilayah")


def _agree(head: str, slug: str) -> None:
    with db.unit_of_work() as session:
        user = session.scalars(sa.select(User).where(User.email == head)).one()
        owner = principal_of(user)
    with acting_as(owner), db.unit_of_work() as session:
        agreement = session.scalars(
            sa.select(Agreement).join(Dataset).where(Dataset.slug == slug)
        ).one()
        agreements.consent(session, agreement, agreement.row_version)
