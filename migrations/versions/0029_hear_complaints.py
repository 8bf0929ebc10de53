"""Complaints, suggestions and questions: a register with answers and a time for them."""

import sqlalchemy as sa
from alembic import op

revision = "0029"
down_revision = "0028"
branch_labels = None
depends_on = None

MOMENT, NOW = sa.DateTime(timezone=True), sa.text("now()")
STAFF = "simpul_office, simpul_worker, simpul_system"
# As for the tables of migration 0018.
SAYS_SO = (
    "(current_setting('simpul.owner', true) = 'on'"
    " OR current_setting('role') = 'simpul_api')"
)
OWN = "agency_id = simpul_agency_id() OR producer_id = simpul_agency_id()"
WHOLE = "complaint_id IN (SELECT id FROM complaint)"
KINDS = ("complaint", "suggestion", "input", "aspiration", "information")
CHANNELS = (
    "letter", "email", "phone", "fax", "in_person", "lapor", "portal", "form",
)  # fmt: skip
STATES = ("received", "in_hand", "answered", "turned_down")
DEEDS = ("receive", "assign", "forward", "reply", "answer", "refuse", "reopen")
HEADS = ("PIMPINAN", "TIM_TEKNIS", "PENGAWAS_DATA", "PENGAWAS_TI", "ADMINISTRATOR")
RIGHTS = {
    "complaint.read": (*HEADS, "WALIDATA", "AUDITOR", "OPD_OPERATOR", "OPD_PIMPINAN"),
    "complaint.write": ("TIM_TEKNIS", "ADMINISTRATOR", "PIMPINAN"),
    "complaint.send": ("OPD_OPERATOR", "OPD_PIMPINAN"),
}


def _choice(name: str, values: tuple[str, ...]) -> sa.Enum:
    return sa.Enum(
        *values, name=name, native_enum=False, create_constraint=True, length=40
    )


def _refers(table: str, column: str, other: str, **more: str) -> sa.ForeignKeyConstraint:
    name = op.f(f"fk_{table}_{column}_{other}")
    return sa.ForeignKeyConstraint([column], [f"{other}.id"], name=name, **more)


def upgrade() -> None:
    op.add_column(
        "office",
        sa.Column("answer_days", sa.Integer(), nullable=False, server_default="10"),
    )
    op.add_column(
        "office",
        sa.Column("hears_public", sa.Boolean(), nullable=False, server_default="false"),
    )
    _make_complaints()
    op.create_table(
        "complaint_sender",
        sa.Column("complaint_id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False, server_default=""),
        sa.Column("contact", sa.Text(), nullable=False, server_default=""),
        sa.Column("id", sa.Uuid(), nullable=False),
        _refers("complaint_sender", "complaint_id", "complaint", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_complaint_sender")),
        sa.UniqueConstraint(
            "complaint_id", name=op.f("uq_complaint_sender_complaint_id")
        ),
    )
    op.create_table(
        "complaint_event",
        sa.Column("id", sa.BigInteger(), sa.Identity(), nullable=False),
        sa.Column("complaint_id", sa.Uuid(), nullable=False),
        sa.Column(
            "at", MOMENT, server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("deed", _choice("deed", DEEDS), nullable=False),
        sa.Column("words", sa.Text(), nullable=False, server_default=""),
        _refers("complaint_event", "complaint_id", "complaint", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_complaint_event")),
    )
    op.create_index(
        op.f("ix_complaint_event_complaint_id"), "complaint_event", ["complaint_id"]
    )
    _put_up_walls()
    op.execute(
        "GRANT EXECUTE ON FUNCTION simpul_next_number(text, integer) TO simpul_system"
    )
    for permission, roles in RIGHTS.items():
        names = ", ".join(f"'{role}'" for role in roles)
        op.execute("SELECT set_config('simpul.owner', 'on', true)")
        op.execute(
            f"UPDATE role SET permissions = array_append(permissions, '{permission}')"
            f" WHERE name IN ({names})"
        )


def _make_complaints() -> None:
    op.create_table(
        "complaint",
        sa.Column("number", sa.Text(), nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("kind", _choice("kind", KINDS), nullable=False),
        sa.Column("channel", _choice("channel", CHANNELS), nullable=False),
        sa.Column("lapor_number", sa.Text(), nullable=False, server_default=""),
        *(
            sa.Column(name, sa.Uuid(), nullable=True)
            for name in ("agency_id", "producer_id", "case_id", "assigned_id")
        ),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("received_on", sa.Date(), nullable=False),
        sa.Column("due_on", sa.Date(), nullable=False),
        sa.Column("state", _choice("state", STATES), nullable=False),
        sa.Column("answer", sa.Text(), nullable=False, server_default=""),
        sa.Column("answered_at", MOMENT, nullable=True),
        sa.Column("warned", sa.Text(), nullable=False, server_default=""),
        sa.Column("created_at", MOMENT, server_default=NOW, nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("row_version", sa.Integer(), nullable=False, server_default="1"),
        sa.CheckConstraint(
            "(answered_at IS NOT NULL) = (state IN ('answered', 'turned_down'))",
            name=op.f("ck_complaint_answered_when_decided"),
        ),
        _refers("complaint", "agency_id", "agency"),
        _refers("complaint", "producer_id", "agency"),
        _refers("complaint", "case_id", "integration_request"),
        _refers("complaint", "assigned_id", "user"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_complaint")),
        sa.UniqueConstraint("number", name=op.f("uq_complaint_number")),
    )
    for column in ("agency_id", "producer_id"):
        op.create_index(op.f(f"ix_complaint_{column}"), "complaint", [column])
    text = "(((number || ' '::text) || subject) || ' '::text) || lapor_number"
    op.create_index(
        op.f("ix_complaint_words"),
        "complaint",
        [sa.text(f"simpul_words({text})")],
        postgresql_using="gin",
        postgresql_with={"fastupdate": "off"},
    )
    op.create_index(
        "uq_complaint_lapor_number",
        "complaint",
        ["lapor_number"],
        unique=True,
        postgresql_where=sa.text("lapor_number <> ''"),
    )


def _put_up_walls() -> None:
    for table in ("complaint", "complaint_sender", "complaint_event"):
        op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
        op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
        op.execute(
            f"CREATE POLICY staff ON {table} TO {STAFF} USING (true) WITH CHECK (true)"
        )
        op.execute(
            f"CREATE POLICY owner ON {table} TO CURRENT_USER"
            f" USING {SAYS_SO} WITH CHECK {SAYS_SO}"
        )
        rights = "SELECT, INSERT" + ("" if table == "complaint_event" else ", UPDATE")
        op.execute(f"GRANT {rights} ON {table} TO simpul_office")
        op.execute(f"GRANT SELECT, INSERT ON {table} TO simpul_system")
        op.execute(f"GRANT SELECT ON {table} TO simpul_worker")
    op.execute("GRANT UPDATE (warned) ON complaint TO simpul_system")
    # An agency sees what it sent and what was passed on to it, and sends its own.
    op.execute(
        f"CREATE POLICY own ON complaint FOR SELECT TO simpul_agency USING ({OWN})"
    )
    op.execute(
        "CREATE POLICY sent ON complaint FOR INSERT TO simpul_agency WITH CHECK"
        " (agency_id = simpul_agency_id() AND producer_id IS NULL AND channel = 'portal'"
        " AND state = 'received')"
    )
    op.execute(
        f"CREATE POLICY own ON complaint_event TO simpul_agency USING ({WHOLE})"
        f" WITH CHECK ({WHOLE} AND deed IN ('receive', 'reply'))"
    )
    op.execute("GRANT SELECT, INSERT ON complaint, complaint_event TO simpul_agency")


def downgrade() -> None:
    for table in ("complaint_event", "complaint_sender", "complaint"):
        op.drop_table(table)
    for column in ("hears_public", "answer_days"):
        op.drop_column("office", column)
    for permission in RIGHTS:
        op.execute(
            f"UPDATE role SET permissions = array_remove(permissions, '{permission}')"
        )
