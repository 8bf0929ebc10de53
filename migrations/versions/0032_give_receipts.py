"""Papers that are delivered have receipts: told of, and opened."""

import sqlalchemy as sa
from alembic import op

revision = "0032"
down_revision = "0031"
branch_labels = None
depends_on = None

FORMER = ("initial", "signature", "scan", "attest", "send_back")


def upgrade() -> None:
    _choose(*FORMER, "deliver", "open")


def downgrade() -> None:
    op.execute("DELETE FROM paper_mark WHERE kind IN ('deliver', 'open')")
    _choose(*FORMER)


def _choose(*kinds: str) -> None:
    name = op.f("ck_paper_mark_kind")
    op.drop_constraint(name, "paper_mark", type_="check")
    op.create_check_constraint(name, "paper_mark", sa.column("kind").in_(kinds))
