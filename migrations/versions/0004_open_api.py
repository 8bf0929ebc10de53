"""Open the API: clients, keys, grants, use; a role that sees what a grant opens."""

import os

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

STAFF = "simpul_office, simpul_worker, simpul_system"
PERMISSIONS = {
    "OPD_OPERATOR": "api.read exchange.read",
    "OPD_PIMPINAN": "api.read exchange.read",
    "PIMPINAN": "api.read exchange.read",
    "TIM_TEKNIS": "api.read exchange.read",
    "PENGAWAS_DATA": "api.read exchange.read",
    "PENGAWAS_TI": "api.read api.write exchange.read",
    "ADMINISTRATOR": "api.read api.write exchange.read",
    "WALIDATA": "api.read exchange.read",
    "AUDITOR": "api.read exchange.read",
}
LOG_COLUMNS = (
    sa.Column("producer_id", sa.Uuid(), nullable=True),
    sa.Column("client_id", sa.Uuid(), nullable=True),
    sa.Column("key_prefix", sa.Text(), nullable=False, server_default=""),
    sa.Column("agreement", sa.Text(), nullable=False, server_default=""),
    sa.Column("query", sa.Text(), nullable=False, server_default=""),
    sa.Column("fields", postgresql.ARRAY(sa.Text()), nullable=False, server_default="{}"),
    sa.Column("phase", sa.Text(), nullable=False, server_default="whole"),
    sa.Column("status", sa.Integer(), nullable=False, server_default="200"),
    sa.Column("duration_ms", sa.Float(), nullable=False, server_default="0"),
    sa.Column("etag", sa.Text(), nullable=False, server_default=""),
    sa.Column("remote_ip", sa.Text(), nullable=False, server_default=""),
)

MAY = """
CREATE FUNCTION simpul_api_may(slug text) RETURNS boolean
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, public AS $$
BEGIN
  RETURN EXISTS (
    SELECT 1 FROM dataset d
    JOIN api_grant g ON g.dataset_id = d.id
    JOIN api_client c ON c.id = g.client_id
    WHERE d.slug = simpul_api_may.slug AND c.id = simpul_client_id() AND c.enabled
    AND g.revoked_at IS NULL AND g.valid_from <= now()
    AND (g.valid_until IS NULL OR g.valid_until > now()));
END $$
"""
# One of a client's places, held until the transaction ends however it ends.
SLOT = """
CREATE FUNCTION simpul_api_slot(place integer, places integer) RETURNS integer
LANGUAGE plpgsql AS $$
BEGIN
  FOR n IN 1..places LOOP
    IF pg_try_advisory_xact_lock(place, n) THEN RETURN n; END IF;
  END LOOP;
  RAISE EXCEPTION 'no place is free' USING ERRCODE = 'SA429';
END $$
"""
# Draws up to ``block`` requests, books ``read`` rows and takes ``back`` what another minute
# left unused; the one place that counts.
DRAW = """
CREATE FUNCTION simpul_api_draw(
  block integer, read bigint, back integer,
  OUT granted bigint, OUT minute_left bigint, OUT day_left bigint, OUT rows_left bigint,
  OUT seconds integer)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public AS $$
DECLARE
  client api_client; used api_usage; at timestamptz := clock_timestamp();
  this_minute timestamptz := date_trunc('minute', at); today date := (at AT TIME ZONE 'UTC')::date;
BEGIN
  SELECT * INTO STRICT client FROM api_client WHERE id = simpul_client_id();
  INSERT INTO api_usage AS u (client_id, day, requests, rows, minute, minute_requests)
  VALUES (client.id, today, 0, read, this_minute, 0)
  ON CONFLICT (client_id, day) DO UPDATE SET rows = u.rows + read,
    requests = greatest(u.requests - back, 0),
    minute = greatest(u.minute, this_minute),
    minute_requests = CASE WHEN u.minute < this_minute THEN 0 ELSE u.minute_requests END
  RETURNING u.* INTO used;
  rows_left := greatest(client.rows_per_day - used.rows, 0);
  minute_left := greatest(client.requests_per_minute - used.minute_requests, 0);
  day_left := greatest(client.requests_per_day - used.requests, 0);
  granted := CASE WHEN rows_left = 0 THEN 0
    ELSE least(block, minute_left, day_left) END;
  UPDATE api_usage SET requests = requests + granted,
    minute_requests = minute_requests + granted
  WHERE client_id = client.id AND day = today;
  minute_left := minute_left - granted;
  day_left := day_left - granted;
  seconds := CASE WHEN day_left + granted = 0 OR rows_left = 0
    THEN extract(epoch FROM ((today + 1)::timestamp AT TIME ZONE 'UTC') - at)
    ELSE extract(epoch FROM this_minute + interval '1 minute' - at) END::integer + 1;
END $$
"""


def upgrade() -> None:
    _create_role()
    _create_tables()
    for column in LOG_COLUMNS:
        op.add_column("exchange_log", column.copy())
    op.execute(
        "UPDATE exchange_log l SET producer_id = d.agency_id FROM dataset d"
        " WHERE d.id = l.dataset_id"
    )
    # A log keeps what it was told. Each foreign key would lock the rows it names, the same
    # few for every request of a client, and queue its writers at them.
    for column, table in (("agency_id", "agency"), ("dataset_id", "dataset")):
        op.drop_constraint(op.f(f"fk_exchange_log_{column}_{table}"), "exchange_log")
    for column in ("agency_id", "producer_id"):
        op.create_index(op.f(f"ix_exchange_log_{column}"), "exchange_log", [column])
    op.execute(
        "CREATE FUNCTION simpul_client_id() RETURNS uuid LANGUAGE sql STABLE AS"
        " $$ SELECT nullif(current_setting('simpul.client_id', true), '')::uuid $$"
    )
    for function in (MAY, SLOT, DRAW):
        op.execute(function)
    _grant()
    _show_partners()
    _open_central_tables()
    for role, permissions in PERMISSIONS.items():
        op.execute(
            "UPDATE role SET permissions = permissions ||"
            f" string_to_array('{permissions}', ' ') WHERE name = '{role}'"
        )


def _create_role() -> None:
    op.execute(
        "DO $$ BEGIN CREATE ROLE simpul_api NOLOGIN NOBYPASSRLS;"
        " EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$"
    )
    user = sa.engine.make_url(os.environ["DATABASE_URL"]).username
    if user:
        quoted = user.replace('"', '""')
        op.execute(f'GRANT simpul_api TO "{quoted}"')


def _create_tables() -> None:
    op.create_table(
        "api_client",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("agency_id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("contact", sa.Text(), nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("requests_per_minute", sa.Integer(), nullable=False),
        sa.Column("requests_per_day", sa.Integer(), nullable=False),
        sa.Column("rows_per_day", sa.BigInteger(), nullable=False),
        sa.Column("concurrency", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint(
            "requests_per_minute > 0 AND requests_per_day > 0 AND rows_per_day > 0"
            " AND concurrency BETWEEN 1 AND 64",
            name=op.f("ck_api_client_limits_are_positive"),
        ),
        sa.ForeignKeyConstraint(["agency_id"], ["agency.id"], name=op.f("fk_api_client_agency_id_agency")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_api_client")),
        sa.UniqueConstraint("name", name=op.f("uq_api_client_name")),
    )  # fmt: skip
    op.create_index(op.f("ix_api_client_agency_id"), "api_client", ["agency_id"])
    op.create_table(
        "api_key",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("client_id", sa.Uuid(), nullable=False),
        sa.Column("agency_id", sa.Uuid(), nullable=False),
        sa.Column("prefix", sa.Text(), nullable=False),
        sa.Column("secret_hash", sa.LargeBinary(), nullable=False),
        sa.Column("networks", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_used_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["client_id"], ["api_client.id"], name=op.f("fk_api_key_client_id_api_client")),
        sa.ForeignKeyConstraint(["agency_id"], ["agency.id"], name=op.f("fk_api_key_agency_id_agency")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_api_key")),
        sa.UniqueConstraint("prefix", name=op.f("uq_api_key_prefix")),
    )  # fmt: skip
    op.create_index(op.f("ix_api_key_client_id"), "api_key", ["client_id"])
    op.create_table(
        "api_grant",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("client_id", sa.Uuid(), nullable=False),
        sa.Column("dataset_id", sa.Uuid(), nullable=False),
        sa.Column("agency_id", sa.Uuid(), nullable=False),
        sa.Column("producer_id", sa.Uuid(), nullable=False),
        sa.Column("fields", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("agreement", sa.Text(), nullable=False),
        sa.Column("sample", sa.Boolean(), nullable=False),
        sa.Column("valid_from", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("valid_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["client_id"], ["api_client.id"], name=op.f("fk_api_grant_client_id_api_client")),
        sa.ForeignKeyConstraint(["dataset_id"], ["dataset.id"], name=op.f("fk_api_grant_dataset_id_dataset")),
        sa.ForeignKeyConstraint(["agency_id"], ["agency.id"], name=op.f("fk_api_grant_agency_id_agency")),
        sa.ForeignKeyConstraint(["producer_id"], ["agency.id"], name=op.f("fk_api_grant_producer_id_agency")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_api_grant")),
        sa.UniqueConstraint("client_id", "dataset_id", name=op.f("uq_api_grant_client_id_dataset_id")),
    )  # fmt: skip
    for column in ("dataset_id", "agency_id", "producer_id"):
        op.create_index(op.f(f"ix_api_grant_{column}"), "api_grant", [column])
    op.create_table(
        "api_usage",
        sa.Column("client_id", sa.Uuid(), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("requests", sa.BigInteger(), nullable=False),
        sa.Column("rows", sa.BigInteger(), nullable=False),
        sa.Column("minute", sa.DateTime(timezone=True), nullable=False),
        sa.Column("minute_requests", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["client_id"], ["api_client.id"], name=op.f("fk_api_usage_client_id_api_client")),
        sa.PrimaryKeyConstraint("client_id", "day", name=op.f("pk_api_usage")),
    )  # fmt: skip


def _grant() -> None:
    op.execute("GRANT USAGE ON SCHEMA data TO simpul_api")
    op.execute("GRANT INSERT ON exchange_log TO simpul_api")
    op.execute(
        "CREATE POLICY api ON exchange_log FOR INSERT TO simpul_api"
        " WITH CHECK (client_id = simpul_client_id())"
    )
    op.execute(
        "CREATE POLICY produced ON exchange_log FOR SELECT TO simpul_agency"
        " USING (producer_id = simpul_agency_id())"
    )
    for function in ("simpul_api_may(text)", "simpul_api_draw(integer, bigint, integer)"):
        op.execute(f"REVOKE EXECUTE ON FUNCTION {function} FROM PUBLIC")
        op.execute(f"GRANT EXECUTE ON FUNCTION {function} TO simpul_api")
    for table in ("api_client", "api_grant", "api_usage"):
        op.execute(f"GRANT SELECT ON {table} TO {STAFF}")
    op.execute("GRANT SELECT ON api_client, api_grant TO simpul_agency")
    op.execute(f"GRANT SELECT ON api_key TO {STAFF}")
    op.execute(
        "GRANT SELECT (id, client_id, agency_id, prefix, networks, created_at, created_by,"
        " expires_at, revoked_at, last_used_at) ON api_key TO simpul_agency"
    )
    op.execute("GRANT UPDATE (last_used_at) ON api_key TO simpul_system")
    op.execute("GRANT INSERT, UPDATE ON api_client, api_key, api_grant TO simpul_office")
    own = {
        "api_client": "",
        "api_key": "",
        "api_grant": " OR producer_id = simpul_agency_id()",
    }
    for table, more in own.items():
        op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
        op.execute(
            f"CREATE POLICY staff ON {table} TO {STAFF} USING (true) WITH CHECK (true)"
        )
        op.execute(
            f"CREATE POLICY own ON {table} FOR SELECT TO simpul_agency"
            f" USING (agency_id = simpul_agency_id(){more})"
        )


def _show_partners() -> None:
    """Let both sides of a grant see what it is about: program, dataset, the other agency."""
    side = "EXISTS (SELECT 1 FROM api_grant g WHERE {})"
    seen = {
        "dataset": "g.dataset_id = dataset.id",
        "api_client": "g.client_id = api_client.id",
        "agency": "agency.id IN (g.agency_id, g.producer_id)",
    }
    for table, condition in seen.items():
        op.execute(
            f"CREATE POLICY partner ON {table} FOR SELECT TO simpul_agency"
            f" USING ({side.format(condition)})"
        )


def _open_central_tables() -> None:
    """Give central tables of before this migration what new ones get when they are made."""
    op.execute(
        "DO $$ DECLARE slug text; BEGIN FOR slug IN SELECT d.slug FROM dataset d LOOP"
        " EXECUTE format('GRANT SELECT ON data.%I TO simpul_api', slug);"
        " EXECUTE format('CREATE POLICY api ON data.%I FOR SELECT TO simpul_api"
        " USING ((SELECT simpul_api_may(%L)))', slug, slug); END LOOP; END $$"
    )


def downgrade() -> None:
    op.execute(
        "DO $$ DECLARE slug text; BEGIN FOR slug IN SELECT d.slug FROM dataset d LOOP"
        " EXECUTE format('DROP POLICY api ON data.%I', slug);"
        " EXECUTE format('REVOKE SELECT ON data.%I FROM simpul_api', slug);"
        " END LOOP; END $$"
    )
    for table in ("dataset", "agency", "api_client"):
        op.execute(f"DROP POLICY partner ON {table}")
    op.execute("DROP POLICY api ON exchange_log")
    op.execute("DROP POLICY produced ON exchange_log")
    op.execute("REVOKE ALL ON exchange_log FROM simpul_api")
    op.execute("REVOKE ALL ON SCHEMA data FROM simpul_api")
    for table in ("api_usage", "api_grant", "api_key", "api_client"):
        op.drop_table(table)
    for function in (
        "simpul_api_draw(integer, bigint, integer)", "simpul_api_slot(integer, integer)",
        "simpul_api_may(text)", "simpul_client_id()",
    ):  # fmt: skip
        op.execute(f"DROP FUNCTION {function}")
    for column in LOG_COLUMNS:
        op.drop_column("exchange_log", column.name)
    for column, table in (("agency_id", "agency"), ("dataset_id", "dataset")):
        op.create_foreign_key(
            op.f(f"fk_exchange_log_{column}_{table}"),
            "exchange_log",
            table,
            [column],
            ["id"],
        )
    for role, permissions in PERMISSIONS.items():
        op.execute(
            "UPDATE role SET permissions = ARRAY(SELECT p FROM unnest(permissions) p"
            f" WHERE p <> ALL (string_to_array('{permissions}', ' '))) WHERE name = '{role}'"
        )
