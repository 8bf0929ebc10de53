"""History: rows count their changes, events know whose part they tell of, auditors read all."""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0012"
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
    op.execute(
        "UPDATE role SET permissions = permissions || '{audit.read}'::text[]"
        f" WHERE name IN {SEERS} AND NOT 'audit.read' = ANY (permissions)"
    )


def downgrade() -> None:
    op.execute(
        "UPDATE role SET permissions = array_remove(permissions, 'audit.read')"
        f" WHERE name IN {SEERS}"
    )
    op.execute("REVOKE UPDATE (row_version) ON source, schedule FROM simpul_worker")
    for column in FILLED:
        op.drop_index(f"ix_audit_event_{column}", "audit_event")
    op.drop_column("audit_event", "part_of")
    for table in VERSIONED:
        op.drop_column(table, "row_version")
