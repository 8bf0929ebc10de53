"""The register of integrations: what a closed case has built, and what ran before."""

import sqlalchemy as sa
from alembic import op

revision = "0026"
down_revision = "0025"
branch_labels = None
depends_on = None

STAFF = "simpul_office, simpul_worker, simpul_system"
# As for the tables of migration 0018.
SAYS_SO = (
    "(current_setting('simpul.owner', true) = 'on'"
    " OR current_setting('role') = 'simpul_api')"
)


def upgrade() -> None:
    op.create_table(
        "integration",
        sa.Column("contract_id", sa.Uuid(), nullable=False),
        sa.Column("agency_id", sa.Uuid(), nullable=False),
        sa.Column("system", sa.Text(), nullable=False),
        *(
            sa.Column(name, sa.Text(), nullable=False, server_default="")
            for name in ("server", "contact", "contact_phone", "contact_email")
        ),
        sa.Column("document", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False, server_default=""),
        sa.Column("running_since", sa.Date(), nullable=False),
        *(
            sa.Column(name, sa.Date(), nullable=True)
            for name in ("review_on", "tls_until", "staff_until")
        ),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("row_version", sa.Integer(), nullable=False, server_default="1"),
        sa.ForeignKeyConstraint(
            ["contract_id"],
            ["contract.id"],
            name=op.f("fk_integration_contract_id_contract"),
        ),
        sa.ForeignKeyConstraint(
            ["agency_id"], ["agency.id"], name=op.f("fk_integration_agency_id_agency")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_integration")),
        sa.UniqueConstraint("contract_id", name=op.f("uq_integration_contract_id")),
    )
    op.create_index(op.f("ix_integration_agency_id"), "integration", ["agency_id"])
    op.create_index(
        op.f("ix_integration_words"),
        "integration",
        [sa.text("simpul_words(system || ' ' || document)")],
        postgresql_using="gin",
        postgresql_with={"fastupdate": "off"},
    )
    _put_up_walls()


def _put_up_walls() -> None:
    op.execute("ALTER TABLE integration ENABLE ROW LEVEL SECURITY")
    op.execute("ALTER TABLE integration FORCE ROW LEVEL SECURITY")
    op.execute(
        f"CREATE POLICY staff ON integration TO {STAFF} USING (true) WITH CHECK (true)"
    )
    op.execute(
        "CREATE POLICY owner ON integration TO CURRENT_USER"
        f" USING {SAYS_SO} WITH CHECK {SAYS_SO}"
    )
    op.execute(
        "CREATE POLICY own ON integration FOR SELECT TO simpul_agency"
        " USING (agency_id = simpul_agency_id())"
    )
    op.execute("GRANT SELECT, INSERT, UPDATE, DELETE ON integration TO simpul_office")
    op.execute(
        "GRANT SELECT ON integration TO simpul_worker, simpul_system, simpul_agency"
    )


def downgrade() -> None:
    op.drop_table("integration")
