"""Who receives data is told of a change that may break what they do with it."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0027"
down_revision = "0026"
branch_labels = None
depends_on = None

MOMENT = sa.DateTime(timezone=True)
STAFF = "simpul_office, simpul_worker, simpul_system"
# As for the tables of migration 0018.
SAYS_SO = (
    "(current_setting('simpul.owner', true) = 'on'"
    " OR current_setting('role') = 'simpul_api')"
)
OWN = "agency_id = simpul_agency_id() OR producer_id = simpul_agency_id()"
REFERS = {
    "version_id": "contract_version",
    "dataset_id": "dataset",
    "agency_id": "agency",
    "producer_id": "agency",
}


def upgrade() -> None:
    op.add_column(
        "office",
        sa.Column("notice_days", sa.Integer(), nullable=False, server_default="30"),
    )
    op.create_table(
        "change_notice",
        *(sa.Column(name, sa.Uuid(), nullable=False) for name in REFERS),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("changes", postgresql.JSONB(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("sent_at", MOMENT, nullable=False),
        sa.Column("sent_by", sa.Text(), nullable=False),
        sa.Column("due_at", MOMENT, nullable=False),
        sa.Column("answered_at", MOMENT, nullable=True),
        sa.Column("answered_by", sa.Text(), nullable=False, server_default=""),
        sa.Column("remark", sa.Text(), nullable=False, server_default=""),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.CheckConstraint(
            "(answered_at IS NULL) = (answered_by = '')",
            name=op.f("ck_change_notice_answered_by_somebody"),
        ),
        *(
            sa.ForeignKeyConstraint(
                [column], [f"{table}.id"], name=op.f(f"fk_change_notice_{column}_{table}")
            )
            for column, table in REFERS.items()
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_change_notice")),
        sa.UniqueConstraint(
            "version_id",
            "agency_id",
            "digest",
            name=op.f("uq_change_notice_version_id_agency_id_digest"),
        ),
    )
    for column in ("dataset_id", "agency_id", "producer_id"):
        op.create_index(op.f(f"ix_change_notice_{column}"), "change_notice", [column])
    _put_up_walls()


def _put_up_walls() -> None:
    op.execute("ALTER TABLE change_notice ENABLE ROW LEVEL SECURITY")
    op.execute("ALTER TABLE change_notice FORCE ROW LEVEL SECURITY")
    op.execute(
        f"CREATE POLICY staff ON change_notice TO {STAFF} USING (true) WITH CHECK (true)"
    )
    op.execute(
        "CREATE POLICY owner ON change_notice TO CURRENT_USER"
        f" USING {SAYS_SO} WITH CHECK {SAYS_SO}"
    )
    op.execute(
        f"CREATE POLICY own ON change_notice FOR SELECT TO simpul_agency USING ({OWN})"
    )
    # Who receives the data answers, and changes nothing else.
    op.execute(
        "CREATE POLICY answer ON change_notice FOR UPDATE TO simpul_agency"
        " USING (agency_id = simpul_agency_id())"
        " WITH CHECK (agency_id = simpul_agency_id())"
    )
    op.execute("GRANT SELECT, INSERT, UPDATE ON change_notice TO simpul_office")
    op.execute(
        "GRANT SELECT ON change_notice TO simpul_worker, simpul_system, simpul_agency"
    )
    op.execute(
        "GRANT UPDATE (answered_at, answered_by, remark) ON change_notice TO simpul_agency"
    )


def downgrade() -> None:
    op.drop_table("change_notice")
    op.drop_column("office", "notice_days")
