"""Lists are searched by words: a column of them and an index in each table that is searched.

Whole words as well as their parts: of ``TRX0012/2026`` the words are ``trx0012``, ``trx``,
``0012``, ``12`` and ``2026``. The text search parser alone would take ``2026/0236994`` for a
path and ``12.5`` for a number, so signs are blanks before it sees them.
"""

from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

SEARCHED = {
    "agency": ("code", "name", "short_name"),
    "user": ("name", "email", "job_title"),
    "contract": ("title", "slug", "description"),
    "source": ("name",),
    "host": ("pair", "note"),
    "schedule": ("name",),
    "dataset": ("title", "slug"),
    "api_client": ("name", "contact"),
    "api_grant": ("agreement",),
    "job_run": ("label",),
    "audit_event": ("actor", "object_label", "reason"),
    "quarantined_record": ("record_key",),
}
# A tsvector holds a megabyte at most; no one looks for the end of such a text.
READ = 20_000
PARTED = r"(?<=[[:alpha:]]{2})(?=[0-9]{2})|(?<=[0-9]{2})(?=[[:alpha:]]{2})"
WORDS = rf"""
CREATE FUNCTION simpul_words(text) RETURNS tsvector
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE COST 500 AS $$
    SELECT strip(pg_catalog.to_tsvector('pg_catalog.simple', plain || ' ' || parted || ' ' ||
        regexp_replace(parted, '\m0+(?=[0-9])', '', 'g')))
    FROM (SELECT plain, regexp_replace(plain, '{PARTED}', ' ', 'g') AS parted
        FROM (SELECT regexp_replace(left($1, {READ}), '[^[:alnum:]]+', ' ', 'g') AS plain)
        AS plainly) AS partly
$$
"""
QUERY = """
CREATE FUNCTION simpul_query(text) RETURNS tsquery
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$
    SELECT pg_catalog.to_tsquery('pg_catalog.simple', string_agg(word || ':*', ' & '))
    FROM regexp_split_to_table($1, '[^[:alnum:]]+') AS word WHERE word <> ''
$$
"""


def upgrade() -> None:
    op.execute(WORDS)
    op.execute(QUERY)
    for table, columns in SEARCHED.items():
        text = " || ' ' || ".join(columns)
        op.execute(
            f'ALTER TABLE "{table}" ADD COLUMN words tsvector'
            f" GENERATED ALWAYS AS (simpul_words({text})) STORED"
        )
        op.create_index(
            op.f(f"ix_{table}_words"),
            table,
            ["words"],
            postgresql_using="gin",
            postgresql_with={"fastupdate": "off"},
        )


def downgrade() -> None:
    for table in SEARCHED:
        op.drop_column(table, "words")
    op.execute("DROP FUNCTION simpul_query(text)")
    op.execute("DROP FUNCTION simpul_words(text)")
