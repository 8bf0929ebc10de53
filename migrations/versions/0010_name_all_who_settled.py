"""All who changed a source since its approval, and when: none of them approves it."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "source",
        sa.Column(
            "settled_by_ids", sa.ARRAY(sa.Uuid), nullable=False, server_default="{}"
        ),
    )
    op.alter_column("source", "settled_by_ids", server_default=None)
    op.add_column("source", sa.Column("settled_at", sa.DateTime(timezone=True)))
    op.execute(
        "UPDATE source SET settled_by_ids = ARRAY[settled_by_id]"
        " WHERE settled_by_id IS NOT NULL"
    )
    op.drop_column("source", "settled_by_id")


def downgrade() -> None:
    op.add_column("source", sa.Column("settled_by_id", sa.Uuid))
    op.execute(
        "UPDATE source SET settled_by_id = settled_by_ids[cardinality(settled_by_ids)]"
    )
    op.drop_column("source", "settled_at")
    op.drop_column("source", "settled_by_ids")
