"""Second wall: row-level security on every table that is not everybody's, the owner included."""

import os

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None

GROUPS = (
    "simpul_office",
    "simpul_agency",
    "simpul_worker",
    "simpul_system",
    "simpul_api",
)
# Tables that had no policies, since grants alone keep an agency's role away from them.
OPEN = (
    "answer_page", "api_usage", "cancel_request", "host", "host_visit", "raw_body", "raw_page",
    "seal_batch", "worker_heartbeat",
)  # fmt: skip
FENCED = (
    "agency", "api_client", "api_grant", "api_key", "audit_event", "bulk_edit", "contract",
    "contract_field", "contract_version", "data_import", "dataset", "duty", "duty_role",
    "exchange_log", "export_run", "factor_reset", "invitation", "job_run", "login_session",
    "mail", "notice", "notice_preference", "notification", "passkey", "pull_run",
    "quarantined_record", "run_log", "saved_view", "schedule", "source", "trash", "user",
    "user_role",
)  # fmt: skip
# What the log-in, the dispatcher and the door of the API have no business with.
NOT_FOR_THE_SYSTEM = ("api_usage", "export_run")
# For whom the policies of their owner open: who says so in the session or transaction, and
# the API's functions, which have their owner's rights and are called in the role simpul_api.
SAYS_SO = (
    "(current_setting('simpul.owner', true) = 'on'"
    " OR current_setting('role') = 'simpul_api')"
)
STAFF = "simpul_office, simpul_worker, simpul_system"


def upgrade() -> None:
    for table in OPEN:
        op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
        op.execute(
            f"CREATE POLICY staff ON {table} TO {STAFF} USING (true) WITH CHECK (true)"
        )
    # A download is its person's alone, as app.core.scope says: not the office's.
    op.execute("DROP POLICY staff ON export_run")
    op.execute("DROP POLICY own ON export_run")
    op.execute(
        "CREATE POLICY keepers ON export_run TO simpul_worker USING (true) WITH CHECK (true)"
    )
    op.execute(
        "CREATE POLICY own ON export_run TO simpul_office, simpul_agency"
        " USING (user_id = simpul_user_id()) WITH CHECK (user_id = simpul_user_id())"
    )
    for table in NOT_FOR_THE_SYSTEM:
        op.execute(f"REVOKE SELECT ON {table} FROM simpul_system")
    for table in (*OPEN, *FENCED):
        op.execute(f'ALTER TABLE "{table}" FORCE ROW LEVEL SECURITY')
        op.execute(
            f'CREATE POLICY owner ON "{table}" TO CURRENT_USER'
            f" USING {SAYS_SO} WITH CHECK {SAYS_SO}"
        )
    _give_the_login_nothing()


def _give_the_login_nothing() -> None:
    """Let the application's login take its roles, not have their rights by itself."""
    user = sa.engine.make_url(os.environ["DATABASE_URL"]).username
    connection = op.get_bind()
    version = connection.connection.dbapi_connection.info.server_version
    if not user or user == connection.scalar(sa.text("SELECT current_user")):
        return
    quoted = user.replace('"', '""')
    if version >= 160000:
        op.execute(
            f'GRANT {", ".join(GROUPS)} TO "{quoted}" WITH INHERIT FALSE, SET TRUE'
        )


def downgrade() -> None:
    for table in (*OPEN, *FENCED):
        op.execute(f'DROP POLICY owner ON "{table}"')
        op.execute(f'ALTER TABLE "{table}" NO FORCE ROW LEVEL SECURITY')
    for table in NOT_FOR_THE_SYSTEM:
        op.execute(f"GRANT SELECT ON {table} TO simpul_system")
    op.execute("DROP POLICY keepers ON export_run")
    op.execute("DROP POLICY own ON export_run")
    op.execute(
        f"CREATE POLICY staff ON export_run TO {STAFF} USING (true) WITH CHECK (true)"
    )
    op.execute(
        "CREATE POLICY own ON export_run TO simpul_agency"
        " USING (user_id = simpul_user_id()) WITH CHECK (user_id = simpul_user_id())"
    )
    for table in OPEN:
        op.execute(f"DROP POLICY staff ON {table}")
        op.execute(f"ALTER TABLE {table} DISABLE ROW LEVEL SECURITY")
