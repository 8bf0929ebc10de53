"""History: rows count their changes, events know whose part they tell of, auditors read all."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

# What people edit in forms: nobody saves over a change that they have not seen.
VERSIONED = (
    "agency", "user", "host", "schedule", "source", "contract_version", "api_client",
    "api_grant",
)  # fmt: skip
# Events of parts that were written before events knew: table, and its column of the whole.
PARTS = (
    ("contract_version", "contract_id"),
    ("contract_field", "version_id"),
    ("api_key", "client_id"),
    ("api_grant", "client_id"),
)
FILLED = ("part_of", "request_id")
# Who has to put wrong changes right must see them.
SEERS = ("SYSADMIN", "PENGAWAS_TI")
TRASH = {
    "trash.read": ("PIMPINAN", "ADMINISTRATOR", "AUDITOR", "SYSADMIN", "TIM_TEKNIS", "PENGAWAS_TI"),
    "trash.write": ("ADMINISTRATOR", "SYSADMIN", "TIM_TEKNIS"),
}  # fmt: skip


def upgrade() -> None:
    for table in VERSIONED:
        op.add_column(
            table,
            sa.Column("row_version", sa.Integer, nullable=False, server_default="1"),
        )
    # The worker lets sources and their schedules rest, which counts as a change.
    op.execute("GRANT UPDATE (row_version) ON source, schedule TO simpul_worker")
    op.add_column(
        "audit_event", sa.Column("part_of", sa.Text, nullable=False, server_default="")
    )
    # A seal names the columns that it is upon: those of before know nothing of this one.
    for table, column in PARTS:
        op.execute(
            f"UPDATE audit_event e SET part_of = coalesce("
            f" (SELECT t.{column}::text FROM {table} t WHERE t.id::text = e.object_id),"
            f" e.after ->> '{column}', e.before ->> '{column}', '')"
            f" WHERE e.object_type = '{table}'"
        )
    for column in FILLED:
        op.create_index(
            f"ix_audit_event_{column}",
            "audit_event",
            [column],
            postgresql_where=sa.text(f"{column} <> ''"),
        )
    make_trash()
    for permission, roles in {"audit.read": SEERS, **TRASH}.items():
        op.execute(
            f"UPDATE role SET permissions = permissions || '{{{permission}}}'::text[]"
            f" WHERE name IN {roles} AND NOT '{permission}' = ANY (permissions)"
        )


def make_trash() -> None:
    op.create_table(
        "trash",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("object_type", sa.Text(), nullable=False),
        sa.Column("object_id", sa.Text(), nullable=False),
        sa.Column("label", sa.Text(), nullable=False),
        sa.Column("agency_id", sa.Uuid(), nullable=True),
        sa.Column(
            "rows",
            postgresql.JSONB(none_as_null=True, astext_type=sa.Text()),
            nullable=False,
        ),
        sa.Column("names", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column(
            "trashed_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column("trashed_by", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_trash")),
    )
    op.create_index(op.f("ix_trash_trashed_at_id"), "trash", ["trashed_at", "id"])
    op.execute("ALTER TABLE trash ENABLE ROW LEVEL SECURITY")
    op.execute("GRANT SELECT, INSERT, UPDATE (reason), DELETE ON trash TO simpul_office")
    op.execute(
        "CREATE POLICY office ON trash TO simpul_office USING (true) WITH CHECK (true)"
    )
    # The sweep empties it and does not read what is in it. (A lock needs UPDATE of a column.)
    op.execute(
        "GRANT SELECT (id, object_type, object_id, label, agency_id, names, trashed_at,"
        " trashed_by, reason), UPDATE (reason), DELETE ON trash TO simpul_worker"
    )
    op.execute(
        "CREATE POLICY worker ON trash TO simpul_worker USING (true) WITH CHECK (true)"
    )
    op.execute("GRANT DELETE ON api_client, api_key, api_grant TO simpul_office")
    # Runs keep the number of a schedule that is gone: it may come back from the trash.
    op.drop_constraint("fk_job_run_schedule_id_schedule", "job_run")


def downgrade() -> None:
    op.execute(
        "UPDATE job_run SET schedule_id = NULL WHERE schedule_id NOT IN"
        " (SELECT id FROM schedule)"
    )
    op.create_foreign_key(
        op.f("fk_job_run_schedule_id_schedule"),
        "job_run",
        "schedule",
        ["schedule_id"],
        ["id"],
        ondelete="SET NULL",
    )
    op.execute("REVOKE DELETE ON api_client, api_key, api_grant FROM simpul_office")
    op.drop_table("trash")
    for permission, roles in {"audit.read": SEERS, **TRASH}.items():
        op.execute(
            f"UPDATE role SET permissions = array_remove(permissions, '{permission}')"
            f" WHERE name IN {roles}"
        )
    op.execute("REVOKE UPDATE (row_version) ON source, schedule FROM simpul_worker")
    for column in FILLED:
        op.drop_index(f"ix_audit_event_{column}", "audit_event")
    op.drop_column("audit_event", "part_of")
    for table in VERSIONED:
        op.drop_column(table, "row_version")
