"""Recognise records: digests of published answers; stages that a crash may empty."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "answer_page",
        sa.Column("run_id", sa.Uuid(), nullable=False),
        sa.Column("page", sa.Integer(), nullable=False),
        sa.Column("source_id", sa.Uuid(), nullable=False),
        sa.Column("digests", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["run_id"],
            ["job_run.id"],
            name=op.f("fk_answer_page_run_id_job_run"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["source_id"], ["source.id"], name=op.f("fk_answer_page_source_id_source")
        ),
        sa.PrimaryKeyConstraint("run_id", "page", name=op.f("pk_answer_page")),
    )
    op.create_index(op.f("ix_answer_page_source_id"), "answer_page", ["source_id"])
    # Digests look like noise: trying to compress them is time lost.
    op.execute("ALTER TABLE answer_page ALTER COLUMN digests SET STORAGE EXTERNAL")
    op.execute("GRANT SELECT, INSERT, UPDATE, DELETE ON answer_page TO simpul_worker")
    # A first load draws all its numbers at once.
    op.execute("GRANT UPDATE ON ALL SEQUENCES IN SCHEMA data TO simpul_worker")
    # Stages of versions that were activated before.
    op.execute(
        "DO $$ DECLARE name text; BEGIN"
        " FOR name IN SELECT tablename FROM pg_tables WHERE schemaname = 'stage' LOOP"
        " EXECUTE format('TRUNCATE stage.%I', name);"
        " EXECUTE format('ALTER TABLE stage.%I SET UNLOGGED,"
        " ADD COLUMN _known boolean NOT NULL DEFAULT false', name);"
        " END LOOP; END $$"
    )
    _retype_numbers("text")


def _retype_numbers(kind: str) -> None:
    """Give the columns of numbers in all stages, which are empty, another type."""
    op.execute(
        "DO $$ DECLARE stage record; BEGIN FOR stage IN"
        " SELECT t.tablename AS name, f.name AS field FROM contract_field f"
        " JOIN contract_version v ON v.id = f.version_id"
        " JOIN contract c ON c.id = v.contract_id"
        " JOIN pg_tables t ON t.schemaname = 'stage'"
        " AND t.tablename = c.slug || '__v' || v.number"
        " WHERE f.type = 'number' LOOP"
        f" EXECUTE format('ALTER TABLE stage.%I ALTER COLUMN %I TYPE {kind} USING NULL',"
        " stage.name, stage.field);"
        " END LOOP; END $$"
    )


def downgrade() -> None:
    op.execute(
        "DO $$ DECLARE name text; BEGIN"
        " FOR name IN SELECT tablename FROM pg_tables WHERE schemaname = 'stage' LOOP"
        " EXECUTE format('TRUNCATE stage.%I', name);"
        " EXECUTE format('ALTER TABLE stage.%I SET LOGGED, DROP COLUMN _known', name);"
        " END LOOP; END $$"
    )
    _retype_numbers("numeric")
    op.drop_table("answer_page")
