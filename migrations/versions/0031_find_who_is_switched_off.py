"""People who are switched off are found without reading all the others."""

import sqlalchemy as sa
from alembic import op

revision = "0031"
down_revision = "0030"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index(
        "ix_user_switched_off", "user", ["id"], postgresql_where=sa.text("NOT active")
    )


def downgrade() -> None:
    op.drop_index("ix_user_switched_off", table_name="user")
