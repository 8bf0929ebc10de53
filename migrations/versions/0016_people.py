"""People: log-ins that the server knows, passwords with an age, second factors."""

from uuid import uuid4

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

TEXTS = postgresql.ARRAY(sa.Text())
NOW = sa.text("now()")
USER_COLUMNS = (
    sa.Column("password_changed_at", sa.DateTime(timezone=True), server_default=NOW, nullable=False),
    sa.Column("must_change_password", sa.Boolean(), server_default="false", nullable=False),
    sa.Column("former_passwords", TEXTS, server_default="{}", nullable=False),
    sa.Column("tf_primary_method", sa.Text(), nullable=True),
    sa.Column("tf_totp_secret", sa.Text(), nullable=True),
    sa.Column("tf_last_counter", sa.BigInteger(), nullable=True),
    sa.Column("mf_recovery_codes", TEXTS, nullable=True),
    sa.Column("fs_webauthn_user_handle", sa.String(64), nullable=True),
    sa.Column("language", sa.Text(), server_default="id", nullable=False),
)  # fmt: skip


def upgrade() -> None:
    # An agency's administrator must not take a name that stands in the trash.
    op.execute("GRANT SELECT (id, label, names, agency_id) ON trash TO simpul_agency")
    op.execute(
        "CREATE POLICY own ON trash TO simpul_agency USING (agency_id = simpul_agency_id())"
    )
    # Roles are edited from now on: nobody saves over a change that they have not seen.
    op.add_column(
        "role", sa.Column("row_version", sa.Integer, nullable=False, server_default="1")
    )
    for column in USER_COLUMNS:
        op.add_column("user", column.copy())
    for name in ("must_change_password", "former_passwords", "language"):
        op.alter_column("user", name, server_default=None)
    op.add_column(
        "role",
        sa.Column("second_factor", sa.Boolean(), server_default="false", nullable=False),
    )
    op.alter_column("role", "second_factor", server_default=None)
    op.create_unique_constraint(
        op.f("uq_user_fs_webauthn_user_handle"), "user", ["fs_webauthn_user_handle"]
    )
    _remember_log_ins()
    _keep_passkeys()
    _mend_lost_factors()
    _invite()
    _let_agencies_keep_their_people()
    _open_the_outbox()
    _tell_people()
    _let_people_act_for_others()
    _let_support_look()


def _remember_log_ins() -> None:
    op.create_table(
        "login_session",
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("user_key", sa.String(64), nullable=False),
        sa.Column("token_hash", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=NOW, nullable=False),
        sa.Column("last_seen_at", sa.DateTime(timezone=True), server_default=NOW, nullable=False),
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column("user_agent", sa.Text(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["user.id"], name=op.f("fk_login_session_user_id_user"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_login_session")),
        sa.UniqueConstraint("token_hash", name=op.f("uq_login_session_token_hash")),
    )  # fmt: skip
    for column in ("user_id", "last_seen_at"):
        op.create_index(op.f(f"ix_login_session_{column}"), "login_session", [column])
    _fence("login_session", keepers="simpul_system, simpul_worker")
    op.execute("GRANT SELECT, INSERT, UPDATE, DELETE ON login_session TO simpul_system")
    op.execute("GRANT SELECT, DELETE ON login_session TO simpul_worker")
    op.execute("GRANT SELECT, DELETE ON login_session TO simpul_office, simpul_agency")


def _keep_passkeys() -> None:
    op.create_table(
        "passkey",
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("credential_id", sa.LargeBinary(), nullable=False),
        sa.Column("public_key", sa.LargeBinary(), nullable=False),
        sa.Column("sign_count", sa.BigInteger(), nullable=False),
        sa.Column("transports", TEXTS, nullable=True),
        sa.Column("backup_state", sa.Boolean(), nullable=False),
        sa.Column("device_type", sa.Text(), nullable=False),
        sa.Column("extensions", sa.Text(), nullable=True),
        sa.Column("create_datetime", sa.DateTime(timezone=True), server_default=NOW, nullable=False),
        sa.Column("lastuse_datetime", sa.DateTime(timezone=True), nullable=False),
        sa.Column("usage", sa.Text(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["user.id"], name=op.f("fk_passkey_user_id_user"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_passkey")),
        sa.UniqueConstraint("credential_id", name=op.f("uq_passkey_credential_id")),
    )  # fmt: skip
    op.create_index(op.f("ix_passkey_user_id"), "passkey", ["user_id"])
    _fence("passkey", keepers="simpul_system")
    op.execute("GRANT SELECT, INSERT, UPDATE, DELETE ON passkey TO simpul_system")
    op.execute("GRANT SELECT ON passkey TO simpul_office, simpul_agency")


def _mend_lost_factors() -> None:
    op.create_table(
        "factor_reset",
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("agency_id", sa.Uuid(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("asked_by", sa.Uuid(), nullable=False),
        sa.Column("asked_at", sa.DateTime(timezone=True), server_default=NOW, nullable=False),
        sa.Column("settled_by", sa.Uuid(), nullable=True),
        sa.Column("settled_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("granted", sa.Boolean(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["user.id"], name=op.f("fk_factor_reset_user_id_user"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["agency_id"], ["agency.id"], name=op.f("fk_factor_reset_agency_id_agency")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_factor_reset")),
    )  # fmt: skip
    op.create_index(op.f("ix_factor_reset_agency_id"), "factor_reset", ["agency_id"])
    op.create_index(
        "uq_factor_reset_open",
        "factor_reset",
        ["user_id"],
        unique=True,
        postgresql_where=sa.text("settled_at IS NULL"),
    )
    _fence_agency("factor_reset")
    op.execute(
        "GRANT SELECT, INSERT, UPDATE ON factor_reset"
        " TO simpul_office, simpul_agency, simpul_system"
    )


def _invite() -> None:
    op.create_table(
        "invitation",
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("agency_id", sa.Uuid(), nullable=True),
        sa.Column("code_hash", sa.LargeBinary(), nullable=False),
        sa.Column("invited_by", sa.Uuid(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=NOW, nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("used_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["user.id"], name=op.f("fk_invitation_user_id_user"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["agency_id"], ["agency.id"], name=op.f("fk_invitation_agency_id_agency")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_invitation")),
        sa.UniqueConstraint("code_hash", name=op.f("uq_invitation_code_hash")),
    )  # fmt: skip
    for column in ("user_id", "agency_id"):
        op.create_index(op.f(f"ix_invitation_{column}"), "invitation", [column])
    _fence_agency("invitation")
    op.execute(
        "GRANT SELECT, INSERT, UPDATE ON invitation"
        " TO simpul_office, simpul_agency, simpul_system"
    )


AGENCY_ADMIN = (
    "user.read user.write contract.read source.read run.read quarantine.read dataset.read"
    " dataset.export"
)


def _let_agencies_keep_their_people() -> None:
    """Let an agency's role write its own people, and give them agencies' roles alone."""
    op.execute('GRANT INSERT, UPDATE ON "user" TO simpul_agency')
    op.execute("GRANT INSERT, DELETE ON user_role TO simpul_agency")
    op.execute("ALTER TABLE user_role ENABLE ROW LEVEL SECURITY")
    op.execute(
        "CREATE POLICY staff ON user_role TO simpul_office, simpul_worker, simpul_system"
        " USING (true) WITH CHECK (true)"
    )
    # What an agency's role sees of "user" are its own people already.
    own = 'EXISTS (SELECT 1 FROM "user" u WHERE u.id = user_id)'
    fitting = "EXISTS (SELECT 1 FROM role r WHERE r.id = role_id AND r.for_agency)"
    op.execute(
        f"CREATE POLICY own ON user_role TO simpul_agency USING ({own})"
        f" WITH CHECK ({own} AND {fitting})"
    )
    role = sa.table(
        "role",
        sa.column("id", sa.Uuid),
        sa.column("name"),
        sa.column("label"),
        sa.column("description"),
        sa.column("for_agency", sa.Boolean),
        sa.column("second_factor", sa.Boolean),
        sa.column("permissions", TEXTS),
    )
    op.bulk_insert(
        role,
        [
            {
                "id": uuid4(),
                "name": "OPD_ADMIN",
                "label": "Administrator OPD",
                "description": "",
                "for_agency": True,
                "second_factor": False,
                "permissions": AGENCY_ADMIN.split(),
            }
        ],
    )


def _open_the_outbox() -> None:
    op.create_table(
        "mail",
        sa.Column("recipient", sa.Text(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=True),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("html", sa.Text(), nullable=False),
        sa.Column("confidential", sa.Boolean(), nullable=False),
        sa.Column("state", sa.Enum("waiting", "sending", "sent", "undeliverable", name="state", native_enum=False, create_constraint=True, length=40), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("last_error", sa.Text(), nullable=False),
        sa.Column("not_before", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("sent_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["user.id"], name=op.f("fk_mail_user_id_user"), ondelete="SET NULL"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_mail")),
    )  # fmt: skip
    op.create_index(op.f("ix_mail_user_id"), "mail", ["user_id"])
    op.create_index(op.f("ix_mail_created_at_id"), "mail", ["created_at", "id"])
    op.create_index(
        "ix_mail_due",
        "mail",
        ["not_before"],
        postgresql_where=sa.text("state IN ('waiting', 'sending')"),
    )
    op.execute("ALTER TABLE mail ENABLE ROW LEVEL SECURITY")
    op.execute(
        "CREATE POLICY staff ON mail TO simpul_office, simpul_worker, simpul_system"
        " USING (true) WITH CHECK (true)"
    )
    # An agency writes to its own people and reads nothing of the outbox.
    op.execute(
        "CREATE POLICY own ON mail FOR INSERT TO simpul_agency WITH CHECK (EXISTS"
        ' (SELECT 1 FROM "user" u WHERE u.id = user_id AND u.email = recipient))'
    )
    op.execute("GRANT INSERT ON mail TO simpul_agency")
    op.execute("GRANT SELECT, INSERT ON mail TO simpul_system")
    op.execute("GRANT SELECT, INSERT, UPDATE ON mail TO simpul_office")
    op.execute("GRANT SELECT, INSERT, UPDATE, DELETE ON mail TO simpul_worker")
    op.execute(
        "UPDATE role SET permissions = permissions || '{mail.read,mail.write}'::text[]"
        " WHERE name = 'SYSADMIN'"
    )


def _tell_people() -> None:
    op.create_table(
        "notice",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=True),
        sa.Column("agency_id", sa.Uuid(), nullable=True),
        sa.Column("params", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_notice")),
    )  # fmt: skip
    op.create_table(
        "notification",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("params", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("shown", sa.Boolean(), nullable=False),
        sa.Column("read_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("for_digest", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["user.id"], name=op.f("fk_notification_user_id_user"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_notification")),
    )  # fmt: skip
    op.create_index(op.f("ix_notification_user_id_id"), "notification", ["user_id", "id"])
    op.create_index(op.f("ix_notification_at"), "notification", ["at"])
    for name, condition in (
        ("unread", "shown AND read_at IS NULL"),
        ("digest", "for_digest"),
    ):
        op.create_index(
            f"ix_notification_{name}",
            "notification",
            ["user_id"],
            postgresql_where=sa.text(condition),
        )
    op.create_table(
        "notice_preference",
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("in_app", sa.Text(), nullable=False),
        sa.Column("mail", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["user.id"], name=op.f("fk_notice_preference_user_id_user"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("user_id", "kind", name=op.f("pk_notice_preference")),
    )  # fmt: skip
    everybody = "simpul_office, simpul_agency, simpul_worker, simpul_system"
    op.execute("ALTER TABLE notice ENABLE ROW LEVEL SECURITY")
    op.execute(
        f"CREATE POLICY writers ON notice FOR INSERT TO {everybody} WITH CHECK (true)"
    )
    op.execute("CREATE POLICY spreader ON notice TO simpul_system USING (true)")
    op.execute(f"GRANT INSERT ON notice TO {everybody}")
    op.execute("GRANT SELECT, UPDATE, DELETE ON notice TO simpul_system")
    for table in ("notification", "notice_preference"):
        _fence(table, keepers="simpul_system, simpul_worker")
        op.execute(f"GRANT SELECT ON {table} TO {everybody}")
    op.execute("GRANT INSERT, UPDATE ON notification TO simpul_system")
    op.execute("GRANT DELETE ON notification TO simpul_worker")
    op.execute("GRANT UPDATE (read_at) ON notification TO simpul_office, simpul_agency")
    op.execute(
        "GRANT INSERT, UPDATE ON notice_preference TO simpul_office, simpul_agency"
    )


def _let_people_act_for_others() -> None:
    op.create_table(
        "duty",
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("agency_id", sa.Uuid(), nullable=True),
        sa.Column("for_user_id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.Enum("plt", "plh", "delegation", name="kind", native_enum=False, create_constraint=True, length=40), nullable=False),
        sa.Column("position", sa.Text(), nullable=False),
        sa.Column("basis", sa.Text(), nullable=False),
        sa.Column("starts_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ends_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("given_by", sa.Uuid(), nullable=True),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.CheckConstraint("ends_at >= starts_at", name=op.f("ck_duty_ends_after_start")),
        sa.ForeignKeyConstraint(["user_id"], ["user.id"], name=op.f("fk_duty_user_id_user"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["for_user_id"], ["user.id"], name=op.f("fk_duty_for_user_id_user"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["agency_id"], ["agency.id"], name=op.f("fk_duty_agency_id_agency")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_duty")),
    )  # fmt: skip
    for column in ("user_id", "for_user_id", "agency_id"):
        op.create_index(op.f(f"ix_duty_{column}"), "duty", [column])
    op.create_table(
        "duty_role",
        sa.Column("duty_id", sa.Uuid(), nullable=False),
        sa.Column("role_id", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(["duty_id"], ["duty.id"], name=op.f("fk_duty_role_duty_id_duty"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["role_id"], ["role.id"], name=op.f("fk_duty_role_role_id_role"), ondelete="RESTRICT"),
        sa.PrimaryKeyConstraint("duty_id", "role_id", name=op.f("pk_duty_role")),
    )  # fmt: skip
    _fence_agency("duty")
    op.execute("ALTER TABLE duty_role ENABLE ROW LEVEL SECURITY")
    op.execute(
        "CREATE POLICY staff ON duty_role TO simpul_office, simpul_worker, simpul_system"
        " USING (true) WITH CHECK (true)"
    )
    own = "EXISTS (SELECT 1 FROM duty d WHERE d.id = duty_id)"
    fitting = "EXISTS (SELECT 1 FROM role r WHERE r.id = role_id AND r.for_agency)"
    op.execute(
        f"CREATE POLICY own ON duty_role TO simpul_agency USING ({own})"
        f" WITH CHECK ({own} AND {fitting})"
    )
    everybody = "simpul_office, simpul_agency, simpul_worker, simpul_system"
    op.execute(f"GRANT SELECT ON duty, duty_role TO {everybody}")
    op.execute("GRANT INSERT, UPDATE ON duty TO simpul_office, simpul_agency")
    op.execute("GRANT INSERT ON duty_role TO simpul_office, simpul_agency")


def _let_support_look() -> None:
    op.add_column("login_session", sa.Column("as_agency_id", sa.Uuid(), nullable=True))
    op.create_foreign_key(
        op.f("fk_login_session_as_agency_id_agency"),
        "login_session",
        "agency",
        ["as_agency_id"],
        ["id"],
    )
    op.execute(
        "UPDATE role SET permissions = permissions || '{agency.view_as}'::text[]"
        " WHERE name = 'TIM_TEKNIS'"
    )


def _fence_agency(table: str) -> None:
    """Show an agency its own rows, and the office and the system all of them."""
    op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
    op.execute(
        f"CREATE POLICY staff ON {table} TO simpul_office, simpul_worker, simpul_system"
        " USING (true) WITH CHECK (true)"
    )
    op.execute(
        f"CREATE POLICY own ON {table} TO simpul_agency"
        " USING (agency_id = simpul_agency_id()) WITH CHECK (agency_id = simpul_agency_id())"
    )


def _fence(table: str, keepers: str) -> None:
    """Show a person's rows to that person alone, and to the parts that keep the table."""
    op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
    op.execute(
        f"CREATE POLICY keepers ON {table} TO {keepers} USING (true) WITH CHECK (true)"
    )
    op.execute(
        f"CREATE POLICY own ON {table} TO simpul_office, simpul_agency"
        " USING (user_id = simpul_user_id()) WITH CHECK (user_id = simpul_user_id())"
    )


def downgrade() -> None:
    op.execute("DROP POLICY own ON trash")
    op.execute("REVOKE SELECT ON trash FROM simpul_agency")
    op.drop_column("role", "row_version")
    for table in (
        "duty_role", "duty", "notice_preference", "notification", "notice", "mail",
        "invitation", "factor_reset", "passkey", "login_session",
    ):  # fmt: skip
        op.drop_table(table)
    op.execute(
        "UPDATE role SET permissions ="
        " array_remove(array_remove(array_remove(permissions, 'mail.read'), 'mail.write'),"
        " 'agency.view_as')"
    )
    op.execute(
        "DELETE FROM user_role USING role WHERE role_id = id AND name = 'OPD_ADMIN'"
    )
    op.execute("DELETE FROM role WHERE name = 'OPD_ADMIN'")
    for policy in ("own", "staff"):
        op.execute(f"DROP POLICY {policy} ON user_role")
    op.execute("ALTER TABLE user_role DISABLE ROW LEVEL SECURITY")
    op.execute('REVOKE INSERT, UPDATE ON "user" FROM simpul_agency')
    op.execute("REVOKE INSERT, DELETE ON user_role FROM simpul_agency")
    op.drop_column("role", "second_factor")
    for column in USER_COLUMNS:
        op.drop_column("user", column.name)
