"""The API's pages cost less: the log's writers share no index page, JSON looks up no types.

A client's rows of the exchange log have the same agency, producer and dataset: each index
upon one of them was one page that all its requests wanted at once. Lists never read them:
newest first, they walk the numbers.
"""

from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

COLUMNS = ("agency_id", "producer_id", "dataset_id")
SCALAR_SINCE = 170000
# A value as JSON. It is expanded where it stands: JSON_SCALAR finds out once a statement how
# to write a type, to_json for each value.
JSON = """
CREATE FUNCTION simpul_json(value anyelement) RETURNS json LANGUAGE sql STABLE AS
$$ SELECT coalesce({written}($1), 'null') $$
"""


def upgrade() -> None:
    for column in COLUMNS:
        op.drop_index(op.f(f"ix_exchange_log_{column}"), "exchange_log")
    op.drop_constraint(op.f("fk_exchange_log_user_id_user"), "exchange_log")
    version = op.get_bind().connection.dbapi_connection.info.server_version
    op.execute(
        JSON.format(written="JSON_SCALAR" if version >= SCALAR_SINCE else "to_json")
    )


def downgrade() -> None:
    op.execute("DROP FUNCTION simpul_json(anyelement)")
    op.create_foreign_key(
        op.f("fk_exchange_log_user_id_user"), "exchange_log", "user", ["user_id"], ["id"]
    )
    for column in COLUMNS:
        op.create_index(op.f(f"ix_exchange_log_{column}"), "exchange_log", [column])
