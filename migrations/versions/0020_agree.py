"""Agreements: what opens one agency's rows to another, in list, file and API."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None

MOMENT, NOW = sa.DateTime(timezone=True), sa.text("now()")
TEXTS = postgresql.ARRAY(sa.Text())
STAFF = "simpul_office, simpul_worker, simpul_system"
# As for the tables of migration 0018.
SAYS_SO = (
    "(current_setting('simpul.owner', true) = 'on'"
    " OR current_setting('role') = 'simpul_api')"
)
OWN = "agency_id = simpul_agency_id() OR producer_id = simpul_agency_id()"
RIGHTS = {
    "agreement.read": ("PIMPINAN", "TIM_TEKNIS", "PENGAWAS_DATA", "PENGAWAS_TI", "ADMINISTRATOR", "WALIDATA", "AUDITOR", "OPD_OPERATOR", "OPD_PIMPINAN"),
    "agreement.write": ("TIM_TEKNIS", "ADMINISTRATOR"),
    "agreement.consent": ("OPD_PIMPINAN",),
}  # fmt: skip

IS_ACTIVE = """
CREATE FUNCTION simpul_is_active(a agreement) RETURNS boolean LANGUAGE sql STABLE AS $$
  SELECT a.consented_at IS NOT NULL AND a.ended_at IS NULL AND a.valid_from <= now()
  AND (a.valid_until IS NULL OR a.valid_until > now())
$$
"""
# What the acting agency's agreement chooses rows by: NULL without one, '' for all rows.
AGREED_FIELD = """
CREATE FUNCTION simpul_agreed_field(slug text) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, public AS $$
  SELECT a.row_field FROM dataset d JOIN agreement a ON a.dataset_id = d.id
  WHERE d.slug = simpul_agreed_field.slug AND a.agency_id = simpul_agency_id()
  AND simpul_is_active(a)
$$
"""
AGREED_VALUES = """
CREATE FUNCTION simpul_agreed_values(slug text) RETURNS text[]
LANGUAGE sql STABLE SET search_path = pg_catalog, public AS $$
  SELECT a.row_values FROM dataset d JOIN agreement a ON a.dataset_id = d.id
  WHERE d.slug = simpul_agreed_values.slug AND a.agency_id = simpul_agency_id()
  AND simpul_is_active(a)
$$
"""
# What datasets.ddl gives to the tables of new datasets.
AGREED = """
DO $$ DECLARE slug text; BEGIN FOR slug IN SELECT d.slug FROM dataset d LOOP
  EXECUTE format('CREATE POLICY agreed ON data.%I FOR SELECT TO simpul_agency USING ('
    'CASE (SELECT coalesce(simpul_agreed_field(%L), ''-'')) WHEN ''-'' THEN false'
    ' WHEN '''' THEN true ELSE to_jsonb(%I.*) ->> (SELECT simpul_agreed_field(%L))'
    ' = ANY ((SELECT simpul_agreed_values(%L))::text[]) END)', slug, slug, slug, slug, slug);
END LOOP; END $$
"""
MAY = """
CREATE OR REPLACE FUNCTION simpul_api_may(slug text) RETURNS boolean
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, public AS $$
BEGIN
  RETURN EXISTS (
    SELECT 1 FROM dataset d
    JOIN api_grant g ON g.dataset_id = d.id
    JOIN api_client c ON c.id = g.client_id
    WHERE d.slug = simpul_api_may.slug AND c.id = simpul_client_id() AND c.enabled
    AND g.revoked_at IS NULL AND g.valid_from <= now()
    AND (g.valid_until IS NULL OR g.valid_until > now()){more});
END $$
"""
# One's own data, and a trial on masked rows, need no agreement.
RESTS = """
    AND (g.sample OR g.agency_id = g.producer_id OR EXISTS (
      SELECT 1 FROM agreement a WHERE a.dataset_id = g.dataset_id
      AND a.agency_id = g.agency_id AND simpul_is_active(a)))"""
# Grants of before said in words what they rest on: that becomes an agreement, as wide as they.
FORMER = """
INSERT INTO agreement (id, number, dataset_id, agency_id, producer_id, fields, purpose,
  valid_from, valid_until, proposed_by, consented_at, consented_by)
SELECT gen_random_uuid(),
  coalesce(nullif((array_agg(g.agreement ORDER BY g.valid_from))[1], ''), 'tanpa nomor'),
  g.dataset_id,
  g.agency_id, g.producer_id,
  CASE WHEN bool_and(g.fields = '{}') THEN '{}'::text[] ELSE ARRAY(
    SELECT name FROM (
      SELECT unnest(o.fields) AS name FROM api_grant o
      WHERE o.dataset_id = g.dataset_id AND o.agency_id = g.agency_id AND NOT o.sample
      UNION SELECT f.name FROM contract_field f JOIN dataset d ON d.version_id = f.version_id
      WHERE d.id = g.dataset_id AND bool_or(g.fields = '{}')
      AND f.classification NOT IN ('pribadi_umum', 'pribadi_spesifik')) named ORDER BY name) END,
  'Diambil alih dari izin API sebelum ada kesepakatan di sistem ini.', min(g.valid_from),
  CASE WHEN bool_or(g.valid_until IS NULL) THEN NULL ELSE max(g.valid_until) END,
  'sistem: pengambilalihan', min(g.valid_from), 'sistem: pengambilalihan'
FROM api_grant g WHERE NOT g.sample AND g.agency_id <> g.producer_id AND g.revoked_at IS NULL
GROUP BY g.dataset_id, g.agency_id, g.producer_id
"""


def upgrade() -> None:
    op.create_table(
        "agreement",
        sa.Column(
            "words",
            postgresql.TSVECTOR(),
            sa.Computed("simpul_words(number || ' ' || purpose)", persisted=True),
        ),
        sa.Column("number", sa.Text(), nullable=False),
        sa.Column("dataset_id", sa.Uuid(), nullable=False),
        sa.Column("agency_id", sa.Uuid(), nullable=False),
        sa.Column("producer_id", sa.Uuid(), nullable=False),
        sa.Column("fields", TEXTS, nullable=False, server_default="{}"),
        sa.Column("row_field", sa.Text(), nullable=False, server_default=""),
        sa.Column("row_values", TEXTS, nullable=False, server_default="{}"),
        sa.Column("purpose", sa.Text(), nullable=False),
        sa.Column("valid_from", MOMENT, server_default=NOW, nullable=False),
        sa.Column("valid_until", MOMENT, nullable=True),
        sa.Column("proposed_by", sa.Text(), nullable=False, server_default=""),
        sa.Column("consented_at", MOMENT, nullable=True),
        sa.Column("consented_by", sa.Text(), nullable=False, server_default=""),
        sa.Column("ended_at", MOMENT, nullable=True),
        sa.Column("ended_because", sa.Text(), nullable=False, server_default=""),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("row_version", sa.Integer(), nullable=False, server_default="1"),
        sa.CheckConstraint(
            "agency_id <> producer_id", name=op.f("ck_agreement_opens_to_another")
        ),
        sa.CheckConstraint(
            "(consented_at IS NULL) = (consented_by = '')",
            name=op.f("ck_agreement_consented_by_somebody"),
        ),
        sa.CheckConstraint(
            "(ended_at IS NULL) = (ended_because = '')",
            name=op.f("ck_agreement_ended_with_reason"),
        ),
        sa.ForeignKeyConstraint(["dataset_id"], ["dataset.id"], name=op.f("fk_agreement_dataset_id_dataset")),
        sa.ForeignKeyConstraint(["agency_id"], ["agency.id"], name=op.f("fk_agreement_agency_id_agency")),
        sa.ForeignKeyConstraint(["producer_id"], ["agency.id"], name=op.f("fk_agreement_producer_id_agency")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_agreement")),
    )  # fmt: skip
    for column in ("dataset_id", "agency_id", "producer_id"):
        op.create_index(op.f(f"ix_agreement_{column}"), "agreement", [column])
    op.create_index(
        op.f("ix_agreement_words"), "agreement", ["words"], postgresql_using="gin",
        postgresql_with={"fastupdate": "off"},
    )  # fmt: skip
    op.create_index(
        "uq_agreement_standing", "agreement", ["dataset_id", "agency_id"], unique=True,
        postgresql_where=sa.text("consented_at IS NOT NULL AND ended_at IS NULL"),
    )  # fmt: skip
    op.execute("SELECT set_config('simpul.owner', 'on', true)")
    op.execute(FORMER)
    _rest_grants_on_agreements()
    op.add_column("export_run", sa.Column("agreement_id", sa.Uuid(), nullable=True))
    op.create_foreign_key(
        op.f("fk_export_run_agreement_id_agreement"), "export_run", "agreement",
        ["agreement_id"], ["id"],
    )  # fmt: skip
    _put_up_walls()
    for function in (IS_ACTIVE, AGREED_FIELD, AGREED_VALUES, MAY.format(more=RESTS)):
        op.execute(function)
    op.execute(AGREED)
    _show_what_is_opened()
    for permission, roles in RIGHTS.items():
        names = ", ".join(f"'{role}'" for role in roles)
        op.execute(
            f"UPDATE role SET permissions = array_append(permissions, '{permission}')"
            f" WHERE name IN ({names})"
        )


def _rest_grants_on_agreements() -> None:
    op.drop_index(op.f("ix_api_grant_words"), "api_grant")
    op.drop_column("api_grant", "words")
    op.drop_column("api_grant", "agreement")


def _put_up_walls() -> None:
    op.execute("ALTER TABLE agreement ENABLE ROW LEVEL SECURITY")
    op.execute("ALTER TABLE agreement FORCE ROW LEVEL SECURITY")
    op.execute(
        f"CREATE POLICY staff ON agreement TO {STAFF} USING (true) WITH CHECK (true)"
    )
    op.execute(
        "CREATE POLICY owner ON agreement TO CURRENT_USER"
        f" USING {SAYS_SO} WITH CHECK {SAYS_SO}"
    )
    op.execute(
        f"CREATE POLICY own ON agreement FOR SELECT TO simpul_agency USING ({OWN})"
    )
    # Who owns the data says yes or no, and changes nothing else.
    op.execute(
        "CREATE POLICY consent ON agreement FOR UPDATE TO simpul_agency"
        " USING (producer_id = simpul_agency_id())"
        " WITH CHECK (producer_id = simpul_agency_id())"
    )
    op.execute("GRANT SELECT, INSERT, UPDATE ON agreement TO simpul_office")
    op.execute("GRANT SELECT ON agreement TO simpul_worker, simpul_system, simpul_agency")
    op.execute(
        "GRANT UPDATE (consented_at, consented_by, ended_at, ended_because, row_version)"
        " ON agreement TO simpul_agency"
    )
    # The trail of an agreement is its receiver's, also of what the owner of the data does;
    # that of a dataset is its owner's, also of what a receiver asks for.
    op.execute(
        "CREATE POLICY agreements ON audit_event FOR INSERT TO simpul_agency WITH CHECK"
        " (agency_id IN (SELECT agency_id FROM agreement"
        " UNION ALL SELECT producer_id FROM agreement))"
    )


def _show_what_is_opened() -> None:
    """Let a receiver see what it is that is opened, and both sides each other's name."""
    mine = (
        "SELECT {} FROM dataset d JOIN agreement a ON a.dataset_id = d.id"
        " WHERE a.agency_id = simpul_agency_id() AND simpul_is_active(a)"
    )
    seen = {
        "dataset": (
            "id IN (SELECT a.dataset_id FROM agreement a"
            " WHERE a.agency_id = simpul_agency_id() AND simpul_is_active(a))"
        ),
        "contract": f"id IN ({mine.format('d.contract_id')})",
        "contract_version": f"id IN ({mine.format('d.version_id')})",
        "contract_field": f"version_id IN ({mine.format('d.version_id')})",
        "agency": (
            "id IN (SELECT agency_id FROM agreement"
            " UNION ALL SELECT producer_id FROM agreement)"
        ),
    }
    for table, condition in seen.items():
        op.execute(
            f"CREATE POLICY agreed ON {table} FOR SELECT TO simpul_agency"
            f" USING ({condition})"
        )


def downgrade() -> None:
    for permission in RIGHTS:
        op.execute(
            f"UPDATE role SET permissions = array_remove(permissions, '{permission}')"
        )
    op.execute("DROP POLICY agreements ON audit_event")
    for table in ("agency", "contract_field", "contract_version", "contract", "dataset"):
        op.execute(f"DROP POLICY agreed ON {table}")
    op.execute("SELECT set_config('simpul.owner', 'on', true)")
    op.execute(
        "DO $$ DECLARE slug text; BEGIN FOR slug IN SELECT d.slug FROM dataset d LOOP"
        " EXECUTE format('DROP POLICY agreed ON data.%I', slug); END LOOP; END $$"
    )
    op.execute(MAY.format(more=""))
    op.drop_column("export_run", "agreement_id")
    op.add_column(
        "api_grant",
        sa.Column("agreement", sa.Text(), nullable=False, server_default=""),
    )
    op.execute(
        "UPDATE api_grant g SET agreement = coalesce((SELECT a.number FROM agreement a"
        " WHERE a.dataset_id = g.dataset_id AND a.agency_id = g.agency_id"
        " ORDER BY a.consented_at DESC NULLS LAST LIMIT 1), '')"
    )
    op.alter_column("api_grant", "agreement", server_default=None)
    op.add_column(
        "api_grant",
        sa.Column(
            "words", postgresql.TSVECTOR(),
            sa.Computed("simpul_words(agreement)", persisted=True),
        ),
    )  # fmt: skip
    op.create_index(
        op.f("ix_api_grant_words"), "api_grant", ["words"], postgresql_using="gin",
        postgresql_with={"fastupdate": "off"},
    )  # fmt: skip
    for function in ("agreed_values(text)", "agreed_field(text)", "is_active(agreement)"):
        op.execute(f"DROP FUNCTION simpul_{function}")
    op.drop_table("agreement")
