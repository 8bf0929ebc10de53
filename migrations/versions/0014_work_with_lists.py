"""What goes with lists: views that people save, and changes of many rows that they ask for."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

OWN = "user_id = simpul_user_id()"
SIDES = {
    "simpul_office": "agency_id IS NULL",
    "simpul_agency": "agency_id = simpul_agency_id()",
}


def upgrade() -> None:
    op.create_table(
        "saved_view",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("agency_id", sa.Uuid()),
        sa.Column("listed", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("query", sa.Text(), nullable=False),
        sa.Column("is_shared", sa.Boolean(), nullable=False),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.func.now(),
            nullable=False,
        ),
        sa.ForeignKeyConstraint(
            ["agency_id"], ["agency.id"], name=op.f("fk_saved_view_agency_id_agency")
        ),
        sa.ForeignKeyConstraint(
            ["user_id"],
            ["user.id"],
            name=op.f("fk_saved_view_user_id_user"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_saved_view")),
        sa.UniqueConstraint(
            "user_id", "listed", "name", name=op.f("uq_saved_view_user_id_listed_name")
        ),
    )
    op.create_index(op.f("ix_saved_view_listed"), "saved_view", ["listed"])
    op.execute("ALTER TABLE saved_view ENABLE ROW LEVEL SECURITY")
    roles = ", ".join(SIDES)
    op.execute(f"GRANT SELECT, INSERT, UPDATE, DELETE ON saved_view TO {roles}")
    for role, side in SIDES.items():
        op.execute(
            f"CREATE POLICY shared_{role} ON saved_view FOR SELECT TO {role}"
            f" USING ({side} AND (is_shared OR {OWN}))"
        )
        op.execute(
            f"CREATE POLICY own_{role} ON saved_view TO {role}"
            f" USING ({OWN}) WITH CHECK ({OWN} AND {side})"
        )

    op.create_table(
        "bulk_edit",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("listed", sa.Text(), nullable=False),
        sa.Column("changes", postgresql.JSONB(), nullable=False),
        sa.Column("idents", postgresql.ARRAY(sa.Uuid()), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.func.now(),
            nullable=False,
        ),
        sa.ForeignKeyConstraint(
            ["user_id"], ["user.id"], name=op.f("fk_bulk_edit_user_id_user")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_bulk_edit")),
    )
    op.create_index(op.f("ix_bulk_edit_user_id"), "bulk_edit", ["user_id"])
    op.execute("ALTER TABLE bulk_edit ENABLE ROW LEVEL SECURITY")
    op.execute("GRANT SELECT, INSERT ON bulk_edit TO simpul_office")
    op.execute("GRANT SELECT ON bulk_edit TO simpul_worker")
    op.execute(
        f"CREATE POLICY own ON bulk_edit TO simpul_office USING ({OWN}) WITH CHECK ({OWN})"
    )
    op.execute("CREATE POLICY work ON bulk_edit TO simpul_worker USING (true)")


def downgrade() -> None:
    op.drop_table("bulk_edit")
    op.drop_table("saved_view")
