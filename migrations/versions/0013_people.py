"""People: log-ins that the server knows, passwords with an age, second factors."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

TEXTS = postgresql.ARRAY(sa.Text())
NOW = sa.text("now()")
USER_COLUMNS = (
    sa.Column("password_changed_at", sa.DateTime(timezone=True), server_default=NOW, nullable=False),
    sa.Column("must_change_password", sa.Boolean(), server_default="false", nullable=False),
    sa.Column("former_passwords", TEXTS, server_default="{}", nullable=False),
)  # fmt: skip


def upgrade() -> None:
    for column in USER_COLUMNS:
        op.add_column("user", column.copy())
    for name in ("must_change_password", "former_passwords"):
        op.alter_column("user", name, server_default=None)
    op.add_column(
        "role",
        sa.Column("second_factor", sa.Boolean(), server_default="false", nullable=False),
    )
    op.alter_column("role", "second_factor", server_default=None)
    _remember_log_ins()


def _remember_log_ins() -> None:
    op.create_table(
        "login_session",
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("user_key", sa.String(64), nullable=False),
        sa.Column("token_hash", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=NOW, nullable=False),
        sa.Column("last_seen_at", sa.DateTime(timezone=True), server_default=NOW, nullable=False),
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column("user_agent", sa.Text(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["user.id"], name=op.f("fk_login_session_user_id_user"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_login_session")),
        sa.UniqueConstraint("token_hash", name=op.f("uq_login_session_token_hash")),
    )  # fmt: skip
    for column in ("user_id", "last_seen_at"):
        op.create_index(op.f(f"ix_login_session_{column}"), "login_session", [column])
    _fence("login_session", keepers="simpul_system, simpul_worker")
    op.execute("GRANT SELECT, INSERT, UPDATE, DELETE ON login_session TO simpul_system")
    op.execute("GRANT SELECT, DELETE ON login_session TO simpul_worker")
    op.execute("GRANT SELECT, DELETE ON login_session TO simpul_office, simpul_agency")


def _fence(table: str, keepers: str) -> None:
    """Show a person's rows to that person alone, and to the parts that keep the table."""
    op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
    op.execute(
        f"CREATE POLICY keepers ON {table} TO {keepers} USING (true) WITH CHECK (true)"
    )
    op.execute(
        f"CREATE POLICY own ON {table} TO simpul_office, simpul_agency"
        " USING (user_id = simpul_user_id()) WITH CHECK (user_id = simpul_user_id())"
    )


def downgrade() -> None:
    op.drop_table("login_session")
    op.drop_column("role", "second_factor")
    for column in USER_COLUMNS:
        op.drop_column("user", column.name)
