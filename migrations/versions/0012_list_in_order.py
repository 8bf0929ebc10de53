"""Lists walk an index: what they are sorted by, and the key among equal values."""

from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

SORTED = {
    "user": ("name", "last_login_at"),
    "quarantined_record": ("created_at",),
}


def upgrade() -> None:
    for table, columns in SORTED.items():
        for column in columns:
            op.create_index(op.f(f"ix_{table}_{column}_id"), table, [column, "id"])


def downgrade() -> None:
    for table, columns in SORTED.items():
        for column in columns:
            op.drop_index(op.f(f"ix_{table}_{column}_id"), table)
