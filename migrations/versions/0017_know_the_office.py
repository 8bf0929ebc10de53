"""The office's own name, letterhead, titles and deadlines, for staff to edit."""

from uuid import uuid4

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

TEXTS = (
    "name", "government", "address", "phone", "fax", "email", "website", "place", "head_title",
)  # fmt: skip
STEP_DAYS = [3, 7, 8, 5, 10, 5, 2, 7, 4, 3, 4, 2]
WRITERS = ("ADMINISTRATOR", "SYSADMIN")
GROUPS = "simpul_office, simpul_agency, simpul_worker, simpul_system"
# As the published service has it.
LETTERHEAD = {
    "name": "",
    "government": "Pemerintah Provinsi Riau",
    "address": "Jalan Diponegoro Nomor 24-A Pekanbaru",
    "phone": "(0761) 45505",
    "fax": "(0761) 45507",
    "email": "diskominfotik@riau.go.id",
    "website": "",
    "place": "Pekanbaru",
    "head_title": "Kepala Dinas",
}


def upgrade() -> None:
    office = op.create_table(
        "office",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("row_version", sa.Integer(), server_default="1", nullable=False),
        sa.Column("is_only", sa.Boolean(), nullable=False),
        *(sa.Column(name, sa.Text(), nullable=False) for name in TEXTS),
        sa.Column("step_days", postgresql.ARRAY(sa.Integer()), nullable=False),
        sa.Column("report_months", sa.Integer(), nullable=False),
        sa.CheckConstraint("is_only", name=op.f("ck_office_one_row")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_office")),
        sa.UniqueConstraint("is_only", name=op.f("uq_office_is_only")),
    )
    op.bulk_insert(
        office,
        [
            LETTERHEAD
            | {
                "id": uuid4(), "is_only": True, "step_days": STEP_DAYS, "report_months": 3,
            }
        ],
    )  # fmt: skip
    op.execute(f"GRANT SELECT ON office TO {GROUPS}")
    op.execute("GRANT UPDATE ON office TO simpul_office")
    op.execute(
        "UPDATE role SET permissions = permissions || ARRAY['office.write']"
        f" WHERE name IN {WRITERS}"
    )


def downgrade() -> None:
    op.execute("UPDATE role SET permissions = array_remove(permissions, 'office.write')")
    op.drop_table("office")
