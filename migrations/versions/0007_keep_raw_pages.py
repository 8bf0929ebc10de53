"""Keep raw pages for some days: pulls can be replayed from them."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "raw_body",
        sa.Column("fingerprint", sa.LargeBinary(), nullable=False),
        sa.Column("rows", sa.LargeBinary(), nullable=False),
        sa.Column("byte_count", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("fingerprint", name=op.f("pk_raw_body")),
    )
    # Compressed already.
    op.execute("ALTER TABLE raw_body ALTER COLUMN rows SET STORAGE EXTERNAL")
    op.create_table(
        "raw_page",
        sa.Column("run_id", sa.Uuid(), nullable=False),
        sa.Column("page", sa.Integer(), nullable=False),
        sa.Column("source_id", sa.Uuid(), nullable=False),
        sa.Column("fingerprint", sa.LargeBinary(), nullable=False),
        sa.Column("row_count", sa.BigInteger(), nullable=False),
        sa.Column("declared_total", sa.BigInteger(), nullable=True),
        sa.Column(
            "at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.ForeignKeyConstraint(
            ["run_id"],
            ["job_run.id"],
            name=op.f("fk_raw_page_run_id_job_run"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["source_id"], ["source.id"], name=op.f("fk_raw_page_source_id_source")
        ),
        sa.ForeignKeyConstraint(
            ["fingerprint"],
            ["raw_body.fingerprint"],
            name=op.f("fk_raw_page_fingerprint_raw_body"),
        ),
        sa.PrimaryKeyConstraint("run_id", "page", name=op.f("pk_raw_page")),
    )
    op.create_index(op.f("ix_raw_page_fingerprint"), "raw_page", ["fingerprint"])
    op.create_index(op.f("ix_raw_page_at"), "raw_page", ["at"])
    op.execute("GRANT SELECT, INSERT, DELETE ON raw_body, raw_page TO simpul_worker")
    # Whether an answer is still kept is asked on pages; what is in it is not.
    op.execute("GRANT SELECT ON raw_page TO simpul_office")
    op.execute(
        "UPDATE role SET permissions = permissions || '{dataset.rollback}'::text[]"
        " WHERE name = 'PENGAWAS_DATA' AND NOT 'dataset.rollback' = ANY (permissions)"
    )


def downgrade() -> None:
    op.execute(
        "UPDATE role SET permissions = array_remove(permissions, 'dataset.rollback')"
    )
    op.drop_table("raw_page")
    op.drop_table("raw_body")
