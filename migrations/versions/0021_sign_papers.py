"""Signing papers: initials, signatures, scans and who saw the pen on them."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None

MOMENT = sa.DateTime(timezone=True)
TEXTS = postgresql.ARRAY(sa.Text())
STAFF = "simpul_office, simpul_worker, simpul_system"
# As for the tables of migration 0018.
SAYS_SO = (
    "(current_setting('simpul.owner', true) = 'on'"
    " OR current_setting('role') = 'simpul_api')"
)
WHOLE = "case_id IN (SELECT id FROM integration_request)"
KINDS = ("initial", "signature", "scan", "attest", "send_back")
MEDIA = ("pdf", "png", "jpg", "docx", "xlsx")


def upgrade() -> None:
    op.create_table(
        "paper_mark",
        sa.Column("case_id", sa.Uuid(), nullable=False),
        sa.Column("paper_id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.Enum(*KINDS, name="kind", native_enum=False, create_constraint=True, length=40), nullable=False),
        sa.Column("roles", TEXTS, nullable=False, server_default="{}"),
        sa.Column("by_id", sa.Uuid(), nullable=True),
        sa.Column("by", sa.Text(), nullable=False),
        sa.Column("at", MOMENT, server_default=sa.text("clock_timestamp()"), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False, server_default=""),
        sa.Column("media", sa.Enum(*MEDIA, name="media", native_enum=False, create_constraint=True, length=40), nullable=True),
        sa.Column("signatures", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("signer", sa.Text(), nullable=False, server_default=""),
        sa.Column("issuer", sa.Text(), nullable=False, server_default=""),
        sa.Column("signed_at", MOMENT, nullable=True),
        sa.Column("is_trusted", sa.Boolean(), nullable=False, server_default="false"),
        sa.Column("completes", sa.Boolean(), nullable=False, server_default="false"),
        sa.Column("note", sa.Text(), nullable=False, server_default=""),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(["case_id"], ["integration_request.id"], name=op.f("fk_paper_mark_case_id_integration_request")),
        sa.ForeignKeyConstraint(["paper_id"], ["paper.id"], name=op.f("fk_paper_mark_paper_id_paper")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_paper_mark")),
    )  # fmt: skip
    for column in ("case_id", "paper_id", "sha256"):
        op.create_index(op.f(f"ix_paper_mark_{column}"), "paper_mark", [column])
    op.execute("ALTER TABLE paper_mark ENABLE ROW LEVEL SECURITY")
    op.execute("ALTER TABLE paper_mark FORCE ROW LEVEL SECURITY")
    op.execute(
        f"CREATE POLICY staff ON paper_mark TO {STAFF} USING (true) WITH CHECK (true)"
    )
    op.execute(
        "CREATE POLICY owner ON paper_mark TO CURRENT_USER"
        f" USING {SAYS_SO} WITH CHECK {SAYS_SO}"
    )
    op.execute(
        "CREATE POLICY own ON paper_mark TO simpul_agency"
        f" USING ({WHOLE}) WITH CHECK ({WHOLE})"
    )
    op.execute(
        "GRANT SELECT, INSERT ON paper_mark TO simpul_office, simpul_worker, simpul_agency"
    )
    op.execute("GRANT SELECT ON paper_mark TO simpul_system")


def downgrade() -> None:
    op.drop_table("paper_mark")
