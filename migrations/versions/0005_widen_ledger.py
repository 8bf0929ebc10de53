"""Widen the ledger: runs can be called off, schedules say what becomes of missed slots."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

BEFORE = "'queued', 'running', 'succeeded', 'failed', 'dead', 'held', 'skipped'"
OVER_BEFORE = "'succeeded', 'failed', 'dead', 'held', 'skipped'"
# Who may try a run again may also call one off; these look at queues and workers too.
CANCELLERS = ("TIM_TEKNIS", "PENGAWAS_DATA", "PENGAWAS_TI", "SYSADMIN")
WATCHERS = (*CANCELLERS, "ADMINISTRATOR", "AUDITOR")


def upgrade() -> None:
    _set_states(f"{BEFORE}, 'cancelled'", f"{OVER_BEFORE}, 'cancelled'")
    op.add_column(
        "schedule",
        sa.Column(
            "missed",
            sa.Enum(
                "catch_up",
                "coalesce",
                "skip",
                name="missed",
                native_enum=False,
                create_constraint=True,
                length=40,
            ),
            nullable=False,
            server_default="coalesce",
        ),
    )
    op.alter_column("schedule", "missed", server_default=None)
    op.add_column("schedule", sa.Column("until", sa.DateTime(timezone=True)))
    _create_cancel_request()
    _give("run.cancel", CANCELLERS)
    _give("ledger.read", WATCHERS)


def _set_states(states: str, over: str) -> None:
    for name, condition in (
        ("status", f"status IN ({states})"),
        ("finished_iff_terminal", f"(status IN ({over})) = (finished_at IS NOT NULL)"),
    ):
        op.execute(f"ALTER TABLE job_run DROP CONSTRAINT ck_job_run_{name}")
        op.execute(
            f"ALTER TABLE job_run ADD CONSTRAINT ck_job_run_{name} CHECK ({condition})"
        )


def _create_cancel_request() -> None:
    op.create_table(
        "cancel_request",
        sa.Column("run_id", sa.Uuid(), nullable=False),
        sa.Column(
            "requested_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.Column("requested_by", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["run_id"],
            ["job_run.id"],
            name=op.f("fk_cancel_request_run_id_job_run"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("run_id", name=op.f("pk_cancel_request")),
    )
    op.execute("GRANT SELECT, INSERT ON cancel_request TO simpul_office")
    op.execute("GRANT SELECT ON cancel_request TO simpul_worker, simpul_system")


def _give(permission: str, roles: tuple[str, ...]) -> None:
    names = ", ".join(f"'{role}'" for role in roles)
    op.execute(
        f"UPDATE role SET permissions = permissions || '{{{permission}}}'::text[]"
        f" WHERE name IN ({names}) AND NOT '{permission}' = ANY (permissions)"
    )


def downgrade() -> None:
    op.execute(
        "UPDATE role SET permissions ="
        " array_remove(array_remove(permissions, 'run.cancel'), 'ledger.read')"
    )
    op.drop_table("cancel_request")
    op.drop_column("schedule", "until")
    op.drop_column("schedule", "missed")
    op.execute("UPDATE job_run SET status = 'failed' WHERE status = 'cancelled'")
    _set_states(BEFORE, OVER_BEFORE)
