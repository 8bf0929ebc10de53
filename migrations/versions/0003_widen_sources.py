"""Widen sources: several secrets, approval by a second person, pauses, marks, hosts."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

COLUMNS = (
    ("approved_by_id", sa.Uuid(), None),
    ("approved_by", sa.Text(), ""),
    ("approved_at", sa.DateTime(timezone=True), None),
    ("settled_by_id", sa.Uuid(), None),
    ("pause", postgresql.JSONB(none_as_null=True), None),
    ("failure_count", sa.Integer(), "0"),
    ("max_failures", sa.Integer(), "5"),
    ("plain_until", sa.Date(), None),
    ("plain_reason", sa.Text(), ""),
    ("mark", postgresql.JSONB(none_as_null=True), None),
)


def upgrade() -> None:
    # One text before, a named text in front of JSON from now on: crypto.EncryptedMap reads
    # both, so that no key is needed here.
    op.alter_column("source", "secret", new_column_name="secrets")
    for name, kind, default in COLUMNS:
        column = sa.Column(name, kind, nullable=default is None, server_default=default)
        op.add_column("source", column)
        if default is not None:
            op.alter_column("source", name, server_default=None)
    op.create_table(
        "host",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("pair", sa.Text(), nullable=False),
        sa.Column("per_second", sa.Float(), nullable=False),
        sa.Column("at_once", sa.Integer(), nullable=False),
        sa.Column("quiet_from", sa.Time(), nullable=True),
        sa.Column("quiet_until", sa.Time(), nullable=True),
        sa.Column("note", sa.Text(), nullable=False),
        sa.Column("next_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("wait_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("wait_code", sa.Text(), nullable=False),
        sa.Column("failure_count", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_host")),
        sa.UniqueConstraint("pair", name=op.f("uq_host_pair")),
    )
    op.create_table(
        "host_visit",
        sa.Column("run_id", sa.Uuid(), nullable=False),
        sa.Column("pair", sa.Text(), nullable=False),
        sa.Column("until", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["run_id"],
            ["job_run.id"],
            name=op.f("fk_host_visit_run_id_job_run"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("run_id", name=op.f("pk_host_visit")),
    )
    op.create_index(op.f("ix_host_visit_pair"), "host_visit", ["pair"])
    op.execute("GRANT SELECT, INSERT, UPDATE ON host TO simpul_office, simpul_worker")
    op.execute("GRANT SELECT ON host, host_visit TO simpul_system")
    op.execute("GRANT SELECT ON host_visit TO simpul_office")
    op.execute("GRANT SELECT, INSERT, UPDATE, DELETE ON host_visit TO simpul_worker")
    op.execute(
        "GRANT UPDATE (enabled, pause, failure_count, mark) ON source TO simpul_worker"
    )
    op.execute("GRANT UPDATE (enabled) ON schedule TO simpul_worker")
    op.execute(
        "UPDATE role SET permissions = permissions || '{source.preview}'"
        " WHERE 'source.write' = ANY (permissions) OR 'source.approve' = ANY (permissions)"
        " OR name = 'OPD_OPERATOR'"
    )


def downgrade() -> None:
    op.execute(
        "UPDATE role SET permissions = array_remove(permissions, 'source.preview')"
    )
    op.execute("REVOKE UPDATE (enabled) ON schedule FROM simpul_worker")
    op.drop_table("host_visit")
    op.drop_table("host")
    op.execute(
        "REVOKE UPDATE (enabled, pause, failure_count, mark) ON source FROM simpul_worker"
    )
    for name, _, _ in reversed(COLUMNS):
        op.drop_column("source", name)
    op.alter_column("source", "secrets", new_column_name="secret")
