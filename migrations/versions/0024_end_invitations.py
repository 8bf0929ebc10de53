"""Invitations end with whatever ends the sessions of the person."""

import sqlalchemy as sa
from alembic import op

revision = "0024"
down_revision = "0023"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "invitation", sa.Column("stamp", sa.Text(), nullable=False, server_default="")
    )
    op.execute("SELECT set_config('simpul.owner', 'on', true)")
    op.execute(
        "UPDATE invitation i SET stamp ="
        " encode(sha256(convert_to(u.fs_uniquifier, 'UTF8')), 'hex')"
        ' FROM "user" u WHERE u.id = i.user_id'
    )


def downgrade() -> None:
    op.drop_column("invitation", "stamp")
