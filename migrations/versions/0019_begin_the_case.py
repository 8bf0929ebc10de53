"""The case: requests, what happened to them, their documents, the talk about them."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None

NUMBER_FORMAT = "000.8/{nomor}/DISKOMINFOTIK/{tahun}"
MOMENT, NOW = sa.DateTime(timezone=True), sa.text("now()")
TEXTS = postgresql.ARRAY(sa.Text())
JSON = postgresql.JSONB(none_as_null=True)
STEPS = (
    "draft", "file_check", "coordination", "data_definition", "scenario",
    "interchange_document", "api", "central_database", "result_delivery", "agency_check",
    "final_data", "result_document", "dashboard", "report", "closed", "refused", "withdrawn",
)  # fmt: skip
PARTS = (
    "request_event", "document", "document_version", "document_file", "request_message",
    "paper",
)  # fmt: skip
OFFICE_ONLY = ("request_note", "register")
STAFF = "simpul_office, simpul_worker, simpul_system"
PAPERS = (
    "receipt", "return_letter", "refusal_letter", "disposition", "data_definition", "scenario",
    "interchange", "connection_test", "storage", "result_letter", "check_result",
    "reconciliation", "result_document", "dashboard", "report",
)  # fmt: skip
# As for the tables of migration 0018.
SAYS_SO = (
    "(current_setting('simpul.owner', true) = 'on'"
    " OR current_setting('role') = 'simpul_api')"
)
# What is appended to and never changed, by nobody's role.
APPENDED = (
    "request_event", "document_version", "request_message", "request_note", "paper",
)  # fmt: skip
OWN = "agency_id = simpul_agency_id() OR producer_id = simpul_agency_id()"
WHOLE = "case_id IN (SELECT id FROM integration_request)"
# Says that it acts as the owner for as long as it counts, and no longer.
NEXT_NUMBER = """
CREATE FUNCTION simpul_next_number(series text, year integer) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public AS $$
DECLARE
  given integer; former text := coalesce(current_setting('simpul.owner', true), '');
BEGIN
  PERFORM set_config('simpul.owner', 'on', true);
  INSERT INTO register AS r (series, year, last)
  VALUES (simpul_next_number.series, simpul_next_number.year, 1)
  ON CONFLICT ON CONSTRAINT pk_register DO UPDATE SET last = r.last + 1
  RETURNING r.last INTO given;
  PERFORM set_config('simpul.owner', former, true);
  RETURN given;
END $$
"""
MAY_READ = ("PIMPINAN", "TIM_TEKNIS", "PENGAWAS_DATA", "PENGAWAS_TI", "ADMINISTRATOR", "WALIDATA", "AUDITOR", "OPD_OPERATOR", "OPD_PIMPINAN")  # fmt: skip
MAY_ACT = ("PIMPINAN", "TIM_TEKNIS", "PENGAWAS_DATA", "PENGAWAS_TI", "ADMINISTRATOR", "OPD_OPERATOR", "OPD_PIMPINAN")  # fmt: skip


def _choice(name: str, *values: str) -> sa.Enum:
    return sa.Enum(
        *values, name=name, native_enum=False, create_constraint=True, length=40
    )


def upgrade() -> None:
    _create_tables()
    op.add_column("user", sa.Column("nip", sa.Text(), nullable=False, server_default=""))
    op.alter_column("user", "nip", server_default=None)
    op.add_column(
        "contract", sa.Column("basis", sa.Text(), nullable=False, server_default="")
    )
    op.alter_column("contract", "basis", server_default=None)
    op.add_column(
        "office",
        sa.Column(
            "number_format", sa.Text(), nullable=False, server_default=NUMBER_FORMAT
        ),
    )
    op.alter_column("office", "number_format", server_default=None)
    op.add_column(
        "notice", sa.Column("roles", TEXTS, nullable=False, server_default="{}")
    )
    op.create_index(
        "ix_notification_turn",
        "notification",
        ["path"],
        postgresql_where=sa.text("params ? 'turn'"),
    )
    _put_up_walls()
    op.execute(NEXT_NUMBER)
    op.execute("REVOKE EXECUTE ON FUNCTION simpul_next_number(text, integer) FROM PUBLIC")
    op.execute(
        "GRANT EXECUTE ON FUNCTION simpul_next_number(text, integer)"
        " TO simpul_office, simpul_agency, simpul_worker"
    )
    for permission, roles in (("request.read", MAY_READ), ("request.act", MAY_ACT)):
        names = ", ".join(f"'{role}'" for role in roles)
        op.execute(
            f"UPDATE role SET permissions = array_append(permissions, '{permission}')"
            f" WHERE name IN ({names})"
        )


def _create_tables() -> None:
    op.create_table(
        "holiday",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("row_version", sa.Integer(), server_default="1", nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("kind", _choice("kind", "national", "collective"), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_holiday")),
        sa.UniqueConstraint("day", name=op.f("uq_holiday_day")),
    )
    op.execute(
        "GRANT SELECT ON holiday TO simpul_office, simpul_agency, simpul_worker, simpul_system"
    )
    op.execute("GRANT INSERT, UPDATE, DELETE ON holiday TO simpul_office, simpul_worker")
    op.create_table(
        "integration_request",
        sa.Column(
            "words",
            postgresql.TSVECTOR(),
            sa.Computed(
                "simpul_words(number || ' ' || title || ' ' || purpose)", persisted=True
            ),
            nullable=False,
        ),
        sa.Column("agency_id", sa.Uuid(), nullable=False),
        sa.Column("producer_id", sa.Uuid(), nullable=True),
        sa.Column("number", sa.Text(), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("purpose", sa.Text(), nullable=False),
        sa.Column("contract_id", sa.Uuid(), nullable=True),
        sa.Column("step", _choice("step", *STEPS), nullable=False),
        sa.Column("step_since", MOMENT, server_default=NOW, nullable=False),
        sa.Column("is_held", sa.Boolean(), nullable=False),
        sa.Column("proposer_id", sa.Uuid(), nullable=True),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("approved", TEXTS, nullable=False),
        sa.Column("asked", TEXTS, nullable=False),
        sa.Column("warned", sa.Text(), nullable=False),
        sa.Column("ball", _choice("ball", "agency", "office", "nobody"), nullable=False),
        sa.Column("loops_a", sa.Integer(), nullable=False),
        sa.Column("loops_b", sa.Integer(), nullable=False),
        sa.Column("created_at", MOMENT, server_default=NOW, nullable=False),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.Column("handed_in_at", MOMENT, nullable=True),
        sa.Column("accepted_at", MOMENT, nullable=True),
        sa.Column("ended_at", MOMENT, nullable=True),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("row_version", sa.Integer(), server_default="1", nullable=False),
        sa.CheckConstraint(
            "(proposer_id IS NULL) = (digest = '')",
            name=op.f("ck_integration_request_proposed_with_digest"),
        ),
        sa.CheckConstraint(
            "(step IN ('closed', 'refused', 'withdrawn')) = (ended_at IS NOT NULL)",
            name=op.f("ck_integration_request_ended_iff_terminal"),
        ),
        sa.CheckConstraint(
            "number <> '' OR handed_in_at IS NULL",
            name=op.f("ck_integration_request_numbered_once_handed_in"),
        ),
        sa.ForeignKeyConstraint(
            ["agency_id"],
            ["agency.id"],
            name=op.f("fk_integration_request_agency_id_agency"),
        ),
        sa.ForeignKeyConstraint(
            ["contract_id"],
            ["contract.id"],
            name=op.f("fk_integration_request_contract_id_contract"),
        ),
        sa.ForeignKeyConstraint(
            ["producer_id"],
            ["agency.id"],
            name=op.f("fk_integration_request_producer_id_agency"),
        ),
        sa.ForeignKeyConstraint(
            ["proposer_id"],
            ["user.id"],
            name=op.f("fk_integration_request_proposer_id_user"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_integration_request")),
    )
    op.create_index(
        op.f("ix_integration_request_agency_id"), "integration_request", ["agency_id"]
    )
    op.create_index(
        op.f("ix_integration_request_producer_id"), "integration_request", ["producer_id"]
    )
    op.create_index(
        "uq_integration_request_number",
        "integration_request",
        ["number"],
        unique=True,
        postgresql_where=sa.text("number <> ''"),
    )
    op.create_index(
        op.f("ix_integration_request_words"),
        "integration_request",
        ["words"],
        postgresql_using="gin",
        postgresql_with={"fastupdate": "off"},
    )
    op.create_table(
        "request_event",
        sa.Column("id", sa.BigInteger(), sa.Identity(), nullable=False),
        sa.Column("case_id", sa.Uuid(), nullable=False),
        sa.Column(
            "at", MOMENT, server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.Column("actor_id", sa.Uuid(), nullable=True),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("nip", sa.Text(), nullable=False),
        sa.Column(
            "action",
            _choice(
                "action",
                "hand_in",
                "propose",
                "approve",
                "return",
                "disagree",
                "not_fit",
                "refuse",
                "withdraw",
                "hold",
                "resume",
                "reopen",
            ),
            nullable=False,
        ),
        sa.Column(
            "role",
            _choice(
                "role",
                "OPD_OPERATOR",
                "OPD_PIMPINAN",
                "PIMPINAN",
                "TIM_TEKNIS",
                "PENGAWAS_DATA",
                "PENGAWAS_TI",
                "ADMINISTRATOR",
                "PRODUCER",
            ),
            nullable=False,
        ),
        sa.Column("from_step", _choice("from_step", *STEPS), nullable=False),
        sa.Column("to_step", _choice("to_step", *STEPS), nullable=False),
        sa.Column("is_alone", sa.Boolean(), nullable=False),
        sa.Column(
            "reason",
            _choice(
                "reason",
                "file_incomplete",
                "field_wrong",
                "definition_unclear",
                "legal_basis_missing",
                "personal_data",
                "technically_impossible",
                "data_wrong",
                "not_needed",
                "other",
            ),
            nullable=True,
        ),
        sa.Column("note", sa.Text(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["case_id"],
            ["integration_request.id"],
            name=op.f("fk_request_event_case_id_integration_request"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_request_event")),
    )
    op.create_index(op.f("ix_request_event_case_id"), "request_event", ["case_id"])
    op.create_table(
        "document",
        sa.Column("case_id", sa.Uuid(), nullable=False),
        sa.Column(
            "kind",
            _choice(
                "kind",
                "letter",
                "staff",
                "application_design",
                "server",
                "disposition",
                "data_definition",
                "scenario",
                "interchange",
                "connection_test",
                "storage",
                "result_letter",
                "agency_check",
                "reconciliation",
                "result_document",
                "dashboard",
                "report",
            ),
            nullable=False,
        ),
        sa.Column("content", JSON, nullable=False),
        sa.Column("remarks", JSON, nullable=False),
        sa.Column("changed_at", MOMENT, server_default=NOW, nullable=False),
        sa.Column("changed_by", sa.Text(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("row_version", sa.Integer(), server_default="1", nullable=False),
        sa.ForeignKeyConstraint(
            ["case_id"],
            ["integration_request.id"],
            name=op.f("fk_document_case_id_integration_request"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_document")),
        sa.UniqueConstraint("case_id", "kind", name=op.f("uq_document_case_id_kind")),
    )
    op.create_table(
        "document_file",
        sa.Column("case_id", sa.Uuid(), nullable=False),
        sa.Column("document_id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column(
            "kind", _choice("kind", "pdf", "png", "jpg", "docx", "xlsx"), nullable=False
        ),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("byte_count", sa.Integer(), nullable=False),
        sa.Column("pages", sa.Integer(), nullable=False),
        sa.Column("at", MOMENT, server_default=NOW, nullable=False),
        sa.Column("by", sa.Text(), nullable=False),
        sa.Column("removed_at", MOMENT, nullable=True),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(
            ["case_id"],
            ["integration_request.id"],
            name=op.f("fk_document_file_case_id_integration_request"),
        ),
        sa.ForeignKeyConstraint(
            ["document_id"],
            ["document.id"],
            name=op.f("fk_document_file_document_id_document"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_document_file")),
    )
    op.create_index(op.f("ix_document_file_case_id"), "document_file", ["case_id"])
    op.create_index(
        op.f("ix_document_file_document_id"), "document_file", ["document_id"]
    )
    op.create_table(
        "document_version",
        sa.Column("case_id", sa.Uuid(), nullable=False),
        sa.Column("document_id", sa.Uuid(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("content", JSON, nullable=False),
        sa.Column("files", JSON, nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("at", MOMENT, server_default=NOW, nullable=False),
        sa.Column("by", sa.Text(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(
            ["case_id"],
            ["integration_request.id"],
            name=op.f("fk_document_version_case_id_integration_request"),
        ),
        sa.ForeignKeyConstraint(
            ["document_id"],
            ["document.id"],
            name=op.f("fk_document_version_document_id_document"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_document_version")),
        sa.UniqueConstraint(
            "document_id", "number", name=op.f("uq_document_version_document_id_number")
        ),
    )
    op.create_index(op.f("ix_document_version_case_id"), "document_version", ["case_id"])
    op.create_table(
        "paper",
        sa.Column("case_id", sa.Uuid(), nullable=False),
        sa.Column("kind", _choice("kind", *PAPERS), nullable=False),
        sa.Column("step", _choice("step", *STEPS), nullable=False),
        sa.Column("number", sa.Text(), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("byte_count", sa.Integer(), nullable=False),
        sa.Column("issued_at", MOMENT, nullable=False),
        sa.Column("issued_by", sa.Text(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(
            ["case_id"],
            ["integration_request.id"],
            name=op.f("fk_paper_case_id_integration_request"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_paper")),
        sa.UniqueConstraint("number", name=op.f("uq_paper_number")),
        sa.UniqueConstraint("code", name=op.f("uq_paper_code")),
    )
    op.create_index(op.f("ix_paper_case_id"), "paper", ["case_id"])
    op.create_index(op.f("ix_paper_sha256"), "paper", ["sha256"])
    op.create_table(
        "paper_wording",
        sa.Column("kind", _choice("kind", *PAPERS), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("opening", sa.Text(), nullable=False),
        sa.Column("closing", sa.Text(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("row_version", sa.Integer(), server_default="1", nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_paper_wording")),
        sa.UniqueConstraint("kind", name=op.f("uq_paper_wording_kind")),
    )
    op.execute(
        "GRANT SELECT ON paper_wording"
        " TO simpul_office, simpul_agency, simpul_worker, simpul_system"
    )
    op.execute("GRANT INSERT, UPDATE ON paper_wording TO simpul_office")
    op.create_table(
        "request_message",
        sa.Column("case_id", sa.Uuid(), nullable=False),
        sa.Column("at", MOMENT, server_default=NOW, nullable=False),
        sa.Column("author_id", sa.Uuid(), nullable=True),
        sa.Column("author", sa.Text(), nullable=False),
        sa.Column("of_office", sa.Boolean(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(
            ["case_id"],
            ["integration_request.id"],
            name=op.f("fk_request_message_case_id_integration_request"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_request_message")),
    )
    op.create_index(op.f("ix_request_message_case_id"), "request_message", ["case_id"])
    op.create_table(
        "request_note",
        sa.Column("case_id", sa.Uuid(), nullable=False),
        sa.Column("at", MOMENT, server_default=NOW, nullable=False),
        sa.Column("author_id", sa.Uuid(), nullable=True),
        sa.Column("author", sa.Text(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(
            ["case_id"],
            ["integration_request.id"],
            name=op.f("fk_request_note_case_id_integration_request"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_request_note")),
    )
    op.create_index(op.f("ix_request_note_case_id"), "request_note", ["case_id"])
    op.create_table(
        "register",
        sa.Column("series", sa.Text(), nullable=False),
        sa.Column("year", sa.Integer(), nullable=False),
        sa.Column("last", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("series", "year", name=op.f("pk_register")),
    )


def _put_up_walls() -> None:
    for table in ("integration_request", *PARTS, *OFFICE_ONLY):
        op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
        op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
        op.execute(
            f"CREATE POLICY staff ON {table} TO {STAFF} USING (true) WITH CHECK (true)"
        )
        op.execute(
            f"CREATE POLICY owner ON {table} TO CURRENT_USER"
            f" USING {SAYS_SO} WITH CHECK {SAYS_SO}"
        )
        rights = "SELECT, INSERT" if table in APPENDED else "SELECT, INSERT, UPDATE"
        op.execute(f"GRANT {rights} ON {table} TO simpul_office, simpul_worker")
        op.execute(f"GRANT SELECT ON {table} TO simpul_system")
        if table not in OFFICE_ONLY:
            condition = OWN if table == "integration_request" else WHOLE
            op.execute(
                f"CREATE POLICY own ON {table} TO simpul_agency"
                f" USING ({condition}) WITH CHECK ({condition})"
            )
            op.execute(f"GRANT {rights} ON {table} TO simpul_agency")

    op.execute("GRANT UPDATE (warned) ON integration_request TO simpul_system")
    # Who has a case with an agency sees what it is called.
    op.execute(
        "CREATE POLICY parties ON agency FOR SELECT TO simpul_agency USING (id IN ("
        "SELECT agency_id FROM integration_request"
        " UNION ALL SELECT producer_id FROM integration_request))"
    )
    # The trail of a case is its applicant's, also of what the owner of the data does in it.
    op.execute(
        "CREATE POLICY parties ON audit_event FOR INSERT TO simpul_agency WITH CHECK"
        " (agency_id IN (SELECT agency_id FROM integration_request))"
    )


def downgrade() -> None:
    op.execute("DROP POLICY parties ON audit_event")
    op.execute("DROP POLICY parties ON agency")
    for permission in ("request.read", "request.act"):
        op.execute(
            f"UPDATE role SET permissions = array_remove(permissions, '{permission}')"
        )
    op.execute("DROP FUNCTION simpul_next_number(text, integer)")
    op.drop_column("office", "number_format")
    op.drop_column("user", "nip")
    op.drop_column("contract", "basis")
    op.drop_index("ix_notification_turn", "notification")
    op.drop_column("notice", "roles")
    for table in (
        "paper", "paper_wording", "register", "request_note", "request_message", "document_version", "document_file",
        "document",
        "request_event", "integration_request", "holiday",
    ):  # fmt: skip
        op.drop_table(table)
