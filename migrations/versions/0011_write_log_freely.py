"""The exchange log's writers share no index page and no row but those of its numbers.

A client's rows have the same agency, producer and dataset: each index upon one of them was
one page that all its requests wanted at once. Lists never read them: newest first, they walk
the numbers.
"""

from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

COLUMNS = ("agency_id", "producer_id", "dataset_id")


def upgrade() -> None:
    for column in COLUMNS:
        op.drop_index(op.f(f"ix_exchange_log_{column}"), "exchange_log")
    op.drop_constraint(op.f("fk_exchange_log_user_id_user"), "exchange_log")


def downgrade() -> None:
    op.create_foreign_key(
        op.f("fk_exchange_log_user_id_user"), "exchange_log", "user", ["user_id"], ["id"]
    )
    for column in COLUMNS:
        op.create_index(op.f(f"ix_exchange_log_{column}"), "exchange_log", [column])
