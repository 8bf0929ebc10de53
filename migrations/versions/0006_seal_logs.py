"""Seal the logs: a chain of hashes upon the audit trail and the exchange log."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

LOGS = ("audit_event", "exchange_log")


def upgrade() -> None:
    for log in LOGS:
        op.add_column(
            log,
            sa.Column(
                "txid",
                sa.BigInteger(),
                nullable=False,
                server_default=sa.text("(pg_current_xact_id()::text)::bigint"),
            ),
        )
        # Numbers of transactions grow along the table: a few bytes for many pages do.
        op.execute(
            f"CREATE INDEX ix_{log}_txid ON {log} USING brin (txid)"
            " WITH (pages_per_range = 16, autosummarize = on)"
        )
    op.create_table(
        "seal_batch",
        sa.Column("id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("log", sa.Text(), nullable=False),
        sa.Column("columns", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("ids", postgresql.ARRAY(sa.BigInteger()), nullable=False),
        sa.Column("epoch", sa.Text(), nullable=False),
        sa.Column("snapshot", sa.Text(), nullable=False),
        sa.Column("floor", sa.BigInteger(), nullable=False),
        sa.Column("rows_digest", sa.LargeBinary(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_seal_batch")),
    )
    op.create_index(op.f("ix_seal_batch_log_id"), "seal_batch", ["log", "id"])
    # Only ever added to: nobody of the application may change or remove a seal.
    op.execute("GRANT SELECT, INSERT ON seal_batch TO simpul_system")
    op.execute("GRANT SELECT ON seal_batch TO simpul_office, simpul_worker")


def downgrade() -> None:
    op.drop_table("seal_batch")
    for log in LOGS:
        op.drop_column(log, "txid")
