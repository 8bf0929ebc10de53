"""The words that rows are found by stand in the index alone: people then take a third fewer pages."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0025"
down_revision = "0024"
branch_labels = None
depends_on = None

SEARCHED = {
    "agency": ("code", "name", "short_name"),
    "agreement": ("number", "purpose"),
    "api_client": ("name", "contact"),
    "audit_event": ("actor", "object_label", "reason"),
    "contract": ("title", "slug", "description"),
    "dataset": ("title", "slug"),
    "host": ("pair", "note"),
    "integration_request": ("number", "title", "purpose"),
    "job_run": ("label",),
    "quarantined_record": ("record_key",),
    "schedule": ("name",),
    "source": ("name",),
    "user": ("name", "email", "job_title"),
}


def upgrade() -> None:
    for table, columns in SEARCHED.items():
        op.drop_column(table, "words")  # and its index
        _index(table, sa.text(_words(columns)))


def downgrade() -> None:
    for table, columns in SEARCHED.items():
        op.drop_index(op.f(f"ix_{table}_words"), table)
        computed = sa.Computed(_words(columns), persisted=True)
        op.add_column(table, sa.Column("words", postgresql.TSVECTOR(), computed))
        _index(table, "words")


def _words(columns: tuple[str, ...]) -> str:
    text = " || ' ' || ".join(columns)
    return f"simpul_words({text})"


def _index(table: str, words: str | sa.TextClause) -> None:
    op.create_index(
        op.f(f"ix_{table}_words"),
        table,
        [words],
        postgresql_using="gin",
        postgresql_with={"fastupdate": "off"},
    )
