"""How migrations reach the database: as its owner, one at a time, never waiting long."""

import os

import sqlalchemy as sa
from alembic import context

from app.core.line import PARAMETERS
from app.models import metadata

# Central tables are built from contracts, not from here (design D4).
OURS = {"public", None}
LOCK = 7_250_001  # two deployments at once: the second waits for the first


def include_name(name: str | None, kind: str, _parents: dict[str, str | None]) -> bool:
    return kind != "schema" or name in OURS


def migrate() -> None:
    url = os.environ.get("MIGRATION_DATABASE_URL") or os.environ["DATABASE_URL"]
    engine = sa.create_engine(
        url.replace("postgresql://", "postgresql+psycopg://", 1),
        poolclass=sa.NullPool,
        connect_args=dict(PARAMETERS),
    )
    with engine.connect() as connection:
        connection.execute(sa.text(f"SELECT pg_advisory_lock({LOCK})"))
        connection.execute(sa.text("SET lock_timeout = '10s'"))
        connection.execute(sa.text("SET simpul.owner = 'on'"))  # see migration 0017
        connection.commit()
        context.configure(
            connection=connection,
            target_metadata=metadata,
            include_name=include_name,
            transaction_per_migration=True,
            compare_server_default=False,
            autogenerate_plugins=[
                "alembic.autogenerate.*",
                "alembic.ext.checkconstraint_byname",
            ],
        )
        with context.begin_transaction():
            context.run_migrations()


migrate()
