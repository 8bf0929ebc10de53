"""A run visits several hosts: its service's and its tokens'; for as long as it has a lease."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.drop_column("host_visit", "until")
    op.drop_constraint(op.f("pk_host_visit"), "host_visit")
    op.create_primary_key(op.f("pk_host_visit"), "host_visit", ["run_id", "pair"])


def downgrade() -> None:
    op.execute("DELETE FROM host_visit")
    op.drop_constraint(op.f("pk_host_visit"), "host_visit")
    op.create_primary_key(op.f("pk_host_visit"), "host_visit", ["run_id"])
    until = sa.Column("until", sa.DateTime(timezone=True), nullable=False)
    op.add_column("host_visit", until)
