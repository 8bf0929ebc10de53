"""Count exchanges: one row for unchanged answers; connections are ready for one client."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

LOGS = ("audit_event", "exchange_log")
# Takes one of a client's places until the transaction ends, however it ends; refuses to
# serve a client on a connection that was made ready for another.
ENTER = """
CREATE FUNCTION simpul_api_enter(client uuid, places integer) RETURNS boolean
LANGUAGE plpgsql AS $$
BEGIN
  IF client IS DISTINCT FROM simpul_client_id() THEN
    RAISE EXCEPTION 'this connection is ready for another client';
  END IF;
  FOR n IN 1..places LOOP
    IF pg_try_advisory_xact_lock(hashtext(client::text), n) THEN RETURN true; END IF;
  END LOOP;
  RAISE EXCEPTION 'no place is free' USING ERRCODE = 'SA429';
END $$
"""
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


def upgrade() -> None:
    op.add_column(
        "exchange_log",
        sa.Column("times", sa.Integer(), nullable=False, server_default="1"),
    )
    op.execute(ENTER)
    op.execute("DROP FUNCTION simpul_api_slot(integer, integer)")
    # A BRIN index wrote a line into the server's log for most blocks that filled up quickly
    # ("request for BRIN range summarization was not recorded").
    for log in LOGS:
        op.drop_index(f"ix_{log}_txid", log)
        op.create_index(op.f(f"ix_{log}_txid"), log, ["txid"])


def downgrade() -> None:
    op.execute(SLOT)
    op.execute("DROP FUNCTION simpul_api_enter(uuid, integer)")
    for log in LOGS:
        op.drop_index(op.f(f"ix_{log}_txid"), log)
        op.execute(
            f"CREATE INDEX ix_{log}_txid ON {log} USING brin (txid)"
            " WITH (pages_per_range = 16, autosummarize = on)"
        )
    op.drop_column("exchange_log", "times")
