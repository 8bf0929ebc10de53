"""Complaints are closed, noted about by the office alone, and pass on without their sender."""

import sqlalchemy as sa
from alembic import op

revision = "0030"
down_revision = "0029"
branch_labels = None
depends_on = None

STAFF = "simpul_office, simpul_worker, simpul_system"
# As for the tables of migration 0018.
SAYS_SO = (
    "(current_setting('simpul.owner', true) = 'on'"
    " OR current_setting('role') = 'simpul_api')"
)
STATES = ("received", "in_hand", "answered", "turned_down")
DEEDS = ("receive", "assign", "forward", "reply", "answer", "refuse", "reopen")
OWN = "complaint_id IN (SELECT id FROM complaint WHERE agency_id = simpul_agency_id())"
PASSED = (
    "complaint_id IN (SELECT id FROM complaint WHERE producer_id = simpul_agency_id())"
)
WHOLE = "complaint_id IN (SELECT id FROM complaint)"


def upgrade() -> None:
    _choose("complaint", "state", (*STATES, "closed"))
    _choose("complaint_event", "deed", (*DEEDS, "close"))
    _answered_in("answered", "turned_down", "closed")
    _make_notes()
    # The first line says who sent it, a reply what one agency says of another to the office.
    op.execute("DROP POLICY own ON complaint_event")
    op.execute(
        "CREATE POLICY own ON complaint_event TO simpul_agency"
        f" USING ({OWN} AND deed <> 'reply' OR {PASSED} AND deed <> 'receive')"
        f" WITH CHECK ({OWN} AND deed = 'receive' OR {PASSED} AND deed = 'reply')"
    )


def _choose(table: str, column: str, values: tuple[str, ...]) -> None:
    """Let ``column`` hold these values and no other."""
    name = op.f(f"ck_{table}_{column}")
    op.drop_constraint(name, table, type_="check")
    op.create_check_constraint(name, table, sa.column(column).in_(values))


def _answered_in(*states: str) -> None:
    name = op.f("ck_complaint_answered_when_decided")
    op.drop_constraint(name, "complaint", type_="check")
    named = ", ".join(f"'{state}'" for state in states)
    op.create_check_constraint(
        name, "complaint", f"(answered_at IS NOT NULL) = (state IN ({named}))"
    )


def _make_notes() -> None:
    op.create_table(
        "complaint_note",
        sa.Column("complaint_id", sa.Uuid(), nullable=False),
        sa.Column(
            "at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.Column("author", sa.Text(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(
            ["complaint_id"],
            ["complaint.id"],
            name=op.f("fk_complaint_note_complaint_id_complaint"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_complaint_note")),
    )
    op.create_index(
        op.f("ix_complaint_note_complaint_id"), "complaint_note", ["complaint_id"]
    )
    op.execute("ALTER TABLE complaint_note ENABLE ROW LEVEL SECURITY")
    op.execute("ALTER TABLE complaint_note FORCE ROW LEVEL SECURITY")
    op.execute(
        f"CREATE POLICY staff ON complaint_note TO {STAFF} USING (true) WITH CHECK (true)"
    )
    op.execute(
        "CREATE POLICY owner ON complaint_note TO CURRENT_USER"
        f" USING {SAYS_SO} WITH CHECK {SAYS_SO}"
    )
    op.execute("GRANT SELECT, INSERT ON complaint_note TO simpul_office")


def downgrade() -> None:
    op.execute("SELECT set_config('simpul.owner', 'on', true)")
    op.execute("UPDATE complaint SET state = 'answered' WHERE state = 'closed'")
    op.execute("DELETE FROM complaint_event WHERE deed = 'close'")
    op.drop_table("complaint_note")
    _choose("complaint", "state", STATES)
    _choose("complaint_event", "deed", DEEDS)
    _answered_in("answered", "turned_down")
    op.execute("DROP POLICY own ON complaint_event")
    op.execute(
        f"CREATE POLICY own ON complaint_event TO simpul_agency USING ({WHOLE})"
        f" WITH CHECK ({WHOLE} AND deed IN ('receive', 'reply'))"
    )
