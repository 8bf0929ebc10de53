"""Begin: all tables, the database's roles and their rights, the roles of people."""

import os
from uuid import uuid4

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "agency",
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("short_name", sa.Text(), nullable=False),
        sa.Column("email", sa.Text(), nullable=False),
        sa.Column("phone", sa.Text(), nullable=False),
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column("active", sa.Boolean(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_agency")),
        sa.UniqueConstraint("code", name=op.f("uq_agency_code")),
        sa.UniqueConstraint("name", name=op.f("uq_agency_name")),
    )
    op.create_table(
        "audit_event",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column(
            "at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.Column("actor_id", sa.Uuid(), nullable=True),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("agency_id", sa.Uuid(), nullable=True),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("object_type", sa.Text(), nullable=False),
        sa.Column("object_id", sa.Text(), nullable=False),
        sa.Column("object_label", sa.Text(), nullable=False),
        sa.Column(
            "before",
            postgresql.JSONB(none_as_null=True, astext_type=sa.Text()),
            nullable=True,
        ),
        sa.Column(
            "after",
            postgresql.JSONB(none_as_null=True, astext_type=sa.Text()),
            nullable=True,
        ),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("request_id", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_event")),
    )
    op.create_index(op.f("ix_audit_event_at"), "audit_event", ["at"], unique=False)
    op.create_index(
        op.f("ix_audit_event_object_type_object_id"),
        "audit_event",
        ["object_type", "object_id"],
        unique=False,
    )
    op.create_table(
        "role",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("label", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("for_agency", sa.Boolean(), nullable=False),
        sa.Column("permissions", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_role")),
        sa.UniqueConstraint("name", name=op.f("uq_role_name")),
    )
    op.create_table(
        "worker_heartbeat",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("queue", sa.Text(), nullable=False),
        sa.Column("host", sa.Text(), nullable=False),
        sa.Column("pid", sa.Integer(), nullable=False),
        sa.Column(
            "started_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column(
            "seen_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_worker_heartbeat")),
    )
    op.create_table(
        "contract",
        sa.Column("agency_id", sa.Uuid(), nullable=False),
        sa.Column("slug", sa.Text(), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column(
            "kind",
            sa.Enum(
                "master",
                "transaction",
                "reference",
                name="kind",
                native_enum=False,
                create_constraint=True,
                length=40,
            ),
            nullable=False,
        ),
        sa.Column(
            "load_mode",
            sa.Enum(
                "snapshot",
                "upsert",
                name="load_mode",
                native_enum=False,
                create_constraint=True,
                length=40,
            ),
            nullable=False,
        ),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(
            ["agency_id"], ["agency.id"], name=op.f("fk_contract_agency_id_agency")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_contract")),
        sa.UniqueConstraint("slug", name=op.f("uq_contract_slug")),
    )
    op.create_index(
        op.f("ix_contract_agency_id"), "contract", ["agency_id"], unique=False
    )
    op.create_table(
        "schedule",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column(
            "params",
            postgresql.JSONB(none_as_null=True, astext_type=sa.Text()),
            nullable=False,
        ),
        sa.Column("agency_id", sa.Uuid(), nullable=True),
        sa.Column("cron", sa.Text(), nullable=False),
        sa.Column("time_zone", sa.Text(), nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("next_due_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(
            ["agency_id"], ["agency.id"], name=op.f("fk_schedule_agency_id_agency")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_schedule")),
    )
    op.create_index(
        op.f("ix_schedule_agency_id"), "schedule", ["agency_id"], unique=False
    )
    op.create_index(
        "ix_schedule_due",
        "schedule",
        ["next_due_at"],
        unique=False,
        postgresql_where=sa.text("enabled"),
    )
    op.create_table(
        "user",
        sa.Column("email", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("job_title", sa.Text(), nullable=False),
        sa.Column("password", sa.Text(), nullable=True),
        sa.Column("active", sa.Boolean(), nullable=False),
        sa.Column("fs_uniquifier", sa.String(length=64), nullable=False),
        sa.Column("agency_id", sa.Uuid(), nullable=True),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column("last_login_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(
            ["agency_id"], ["agency.id"], name=op.f("fk_user_agency_id_agency")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_user")),
        sa.UniqueConstraint("email", name=op.f("uq_user_email")),
        sa.UniqueConstraint("fs_uniquifier", name=op.f("uq_user_fs_uniquifier")),
    )
    op.create_index(op.f("ix_user_agency_id"), "user", ["agency_id"], unique=False)
    op.create_table(
        "contract_version",
        sa.Column("contract_id", sa.Uuid(), nullable=False),
        sa.Column("agency_id", sa.Uuid(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column(
            "status",
            sa.Enum(
                "draft",
                "active",
                "retired",
                name="status",
                native_enum=False,
                create_constraint=True,
                length=40,
            ),
            nullable=False,
        ),
        sa.Column("note", sa.Text(), nullable=False),
        sa.Column("max_vanished_percent", sa.Integer(), nullable=False),
        sa.Column("max_rejected_percent", sa.Integer(), nullable=False),
        sa.Column(
            "plan",
            postgresql.JSONB(none_as_null=True, astext_type=sa.Text()),
            nullable=True,
        ),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.Column("activated_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("activated_by", sa.Text(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.CheckConstraint(
            "(status = 'draft') = (activated_at IS NULL)",
            name=op.f("ck_contract_version_activated_unless_draft"),
        ),
        sa.CheckConstraint(
            "max_rejected_percent BETWEEN 0 AND 100",
            name=op.f("ck_contract_version_rejected_is_percent"),
        ),
        sa.CheckConstraint(
            "max_vanished_percent BETWEEN 0 AND 100",
            name=op.f("ck_contract_version_vanished_is_percent"),
        ),
        sa.ForeignKeyConstraint(
            ["agency_id"],
            ["agency.id"],
            name=op.f("fk_contract_version_agency_id_agency"),
        ),
        sa.ForeignKeyConstraint(
            ["contract_id"],
            ["contract.id"],
            name=op.f("fk_contract_version_contract_id_contract"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_contract_version")),
        sa.UniqueConstraint(
            "contract_id", "number", name=op.f("uq_contract_version_contract_id_number")
        ),
    )
    op.create_index(
        op.f("ix_contract_version_agency_id"),
        "contract_version",
        ["agency_id"],
        unique=False,
    )
    op.create_index(
        "uq_contract_version_active",
        "contract_version",
        ["contract_id"],
        unique=True,
        postgresql_where=sa.text("status = 'active'"),
    )
    op.create_index(
        "uq_contract_version_draft",
        "contract_version",
        ["contract_id"],
        unique=True,
        postgresql_where=sa.text("status = 'draft'"),
    )
    op.create_table(
        "job_run",
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column(
            "queue",
            sa.Enum(
                "pulls",
                "checks",
                "exports",
                "notices",
                name="queue",
                native_enum=False,
                create_constraint=True,
                length=40,
            ),
            nullable=False,
        ),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("label", sa.Text(), nullable=False),
        sa.Column("agency_id", sa.Uuid(), nullable=True),
        sa.Column(
            "params",
            postgresql.JSONB(none_as_null=True, astext_type=sa.Text()),
            nullable=False,
        ),
        sa.Column(
            "status",
            sa.Enum(
                "queued",
                "running",
                "succeeded",
                "failed",
                "dead",
                "held",
                "skipped",
                name="status",
                native_enum=False,
                create_constraint=True,
                length=40,
            ),
            nullable=False,
        ),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("max_attempts", sa.Integer(), nullable=False),
        sa.Column("fence", sa.BigInteger(), nullable=False),
        sa.Column("lease_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("worker", sa.Text(), nullable=False),
        sa.Column(
            "not_before",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column("rung_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("schedule_id", sa.Uuid(), nullable=True),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("retry_of_id", sa.Uuid(), nullable=True),
        sa.Column(
            "checkpoint",
            postgresql.JSONB(none_as_null=True, astext_type=sa.Text()),
            nullable=True,
        ),
        sa.Column(
            "result",
            postgresql.JSONB(none_as_null=True, astext_type=sa.Text()),
            nullable=True,
        ),
        sa.Column("error_code", sa.Text(), nullable=False),
        sa.Column("error_message", sa.Text(), nullable=False),
        sa.Column(
            "error_params",
            postgresql.JSONB(none_as_null=True, astext_type=sa.Text()),
            nullable=False,
        ),
        sa.Column("progress_done", sa.BigInteger(), nullable=False),
        sa.Column("progress_total", sa.BigInteger(), nullable=True),
        sa.Column("progress_unit", sa.Text(), nullable=False),
        sa.Column("requested_by", sa.Text(), nullable=False),
        sa.Column("requested_by_id", sa.Uuid(), nullable=True),
        sa.Column("request_id", sa.Text(), nullable=False),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.CheckConstraint(
            "(status = 'running') = (lease_until IS NOT NULL)",
            name=op.f("ck_job_run_leased_iff_running"),
        ),
        sa.CheckConstraint(
            "(status IN ('succeeded', 'failed', 'dead', 'held', 'skipped')) = (finished_at IS NOT NULL)",
            name=op.f("ck_job_run_finished_iff_terminal"),
        ),
        sa.ForeignKeyConstraint(
            ["agency_id"], ["agency.id"], name=op.f("fk_job_run_agency_id_agency")
        ),
        sa.ForeignKeyConstraint(
            ["retry_of_id"], ["job_run.id"], name=op.f("fk_job_run_retry_of_id_job_run")
        ),
        sa.ForeignKeyConstraint(
            ["schedule_id"],
            ["schedule.id"],
            name=op.f("fk_job_run_schedule_id_schedule"),
            ondelete="SET NULL",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_job_run")),
        sa.UniqueConstraint(
            "schedule_id", "due_at", name=op.f("uq_job_run_schedule_id_due_at")
        ),
    )
    op.create_index(op.f("ix_job_run_agency_id"), "job_run", ["agency_id"], unique=False)
    op.create_index(
        "ix_job_run_created_at",
        "job_run",
        [sa.literal_column("created_at DESC")],
        unique=False,
    )
    op.create_index(
        "ix_job_run_leased",
        "job_run",
        ["lease_until"],
        unique=False,
        postgresql_where=sa.text("status = 'running'"),
    )
    op.create_index(
        "ix_job_run_waiting",
        "job_run",
        ["not_before"],
        unique=False,
        postgresql_where=sa.text("status = 'queued'"),
    )
    op.create_index(
        "uq_job_run_active_key",
        "job_run",
        ["kind", "key"],
        unique=True,
        postgresql_where=sa.text("status IN ('queued', 'running')"),
    )
    op.create_table(
        "source",
        sa.Column("agency_id", sa.Uuid(), nullable=False),
        sa.Column("contract_id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column(
            "settings",
            postgresql.JSONB(none_as_null=True, astext_type=sa.Text()),
            nullable=False,
        ),
        sa.Column("secret", sa.Text(), nullable=True),
        sa.Column("approved_host", sa.Text(), nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(
            ["agency_id"], ["agency.id"], name=op.f("fk_source_agency_id_agency")
        ),
        sa.ForeignKeyConstraint(
            ["contract_id"], ["contract.id"], name=op.f("fk_source_contract_id_contract")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_source")),
        sa.UniqueConstraint(
            "contract_id", "name", name=op.f("uq_source_contract_id_name")
        ),
    )
    op.create_index(op.f("ix_source_agency_id"), "source", ["agency_id"], unique=False)
    op.create_index(
        op.f("ix_source_contract_id"), "source", ["contract_id"], unique=False
    )
    op.create_table(
        "user_role",
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("role_id", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(
            ["role_id"],
            ["role.id"],
            name=op.f("fk_user_role_role_id_role"),
            ondelete="RESTRICT",
        ),
        sa.ForeignKeyConstraint(
            ["user_id"],
            ["user.id"],
            name=op.f("fk_user_role_user_id_user"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("user_id", "role_id", name=op.f("pk_user_role")),
    )
    op.create_table(
        "contract_field",
        sa.Column("version_id", sa.Uuid(), nullable=False),
        sa.Column("agency_id", sa.Uuid(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("source_path", sa.Text(), nullable=False),
        sa.Column("label", sa.Text(), nullable=False),
        sa.Column(
            "type",
            sa.Enum(
                "text",
                "integer",
                "number",
                "boolean",
                "date",
                "timestamp",
                name="type",
                native_enum=False,
                create_constraint=True,
                length=40,
            ),
            nullable=False,
        ),
        sa.Column("required", sa.Boolean(), nullable=False),
        sa.Column("is_key", sa.Boolean(), nullable=False),
        sa.Column("min_length", sa.Integer(), nullable=True),
        sa.Column("max_length", sa.Integer(), nullable=True),
        sa.Column("minimum", sa.Text(), nullable=False),
        sa.Column("maximum", sa.Text(), nullable=False),
        sa.Column("pattern", sa.Text(), nullable=False),
        sa.Column("allowed_values", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column(
            "classification",
            sa.Enum(
                "umum",
                "terbatas",
                "pribadi_umum",
                "pribadi_spesifik",
                name="classification",
                native_enum=False,
                create_constraint=True,
                length=40,
            ),
            nullable=False,
        ),
        sa.Column("definition", sa.Text(), nullable=False),
        sa.Column("unit", sa.Text(), nullable=False),
        sa.Column("example", sa.Text(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.CheckConstraint(
            "NOT is_key OR required", name=op.f("ck_contract_field_key_is_required")
        ),
        sa.ForeignKeyConstraint(
            ["agency_id"], ["agency.id"], name=op.f("fk_contract_field_agency_id_agency")
        ),
        sa.ForeignKeyConstraint(
            ["version_id"],
            ["contract_version.id"],
            name=op.f("fk_contract_field_version_id_contract_version"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_contract_field")),
        sa.UniqueConstraint(
            "version_id", "name", name=op.f("uq_contract_field_version_id_name")
        ),
    )
    op.create_table(
        "dataset",
        sa.Column("contract_id", sa.Uuid(), nullable=False),
        sa.Column("agency_id", sa.Uuid(), nullable=False),
        sa.Column("slug", sa.Text(), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("version_id", sa.Uuid(), nullable=False),
        sa.Column("row_count", sa.BigInteger(), nullable=False),
        sa.Column("published_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("published_run_id", sa.Uuid(), nullable=True),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(
            ["agency_id"], ["agency.id"], name=op.f("fk_dataset_agency_id_agency")
        ),
        sa.ForeignKeyConstraint(
            ["contract_id"], ["contract.id"], name=op.f("fk_dataset_contract_id_contract")
        ),
        sa.ForeignKeyConstraint(
            ["published_run_id"],
            ["job_run.id"],
            name=op.f("fk_dataset_published_run_id_job_run"),
        ),
        sa.ForeignKeyConstraint(
            ["version_id"],
            ["contract_version.id"],
            name=op.f("fk_dataset_version_id_contract_version"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_dataset")),
        sa.UniqueConstraint("contract_id", name=op.f("uq_dataset_contract_id")),
        sa.UniqueConstraint("slug", name=op.f("uq_dataset_slug")),
    )
    op.create_index(op.f("ix_dataset_agency_id"), "dataset", ["agency_id"], unique=False)
    op.create_table(
        "quarantined_record",
        sa.Column("run_id", sa.Uuid(), nullable=False),
        sa.Column("source_id", sa.Uuid(), nullable=False),
        sa.Column("version_id", sa.Uuid(), nullable=False),
        sa.Column("agency_id", sa.Uuid(), nullable=False),
        sa.Column("page", sa.Integer(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("record_key", sa.Text(), nullable=False),
        sa.Column(
            "errors",
            postgresql.JSONB(none_as_null=True, astext_type=sa.Text()),
            nullable=False,
        ),
        sa.Column("raw", sa.LargeBinary(), nullable=False),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(
            ["agency_id"],
            ["agency.id"],
            name=op.f("fk_quarantined_record_agency_id_agency"),
        ),
        sa.ForeignKeyConstraint(
            ["run_id"],
            ["job_run.id"],
            name=op.f("fk_quarantined_record_run_id_job_run"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["source_id"],
            ["source.id"],
            name=op.f("fk_quarantined_record_source_id_source"),
        ),
        sa.ForeignKeyConstraint(
            ["version_id"],
            ["contract_version.id"],
            name=op.f("fk_quarantined_record_version_id_contract_version"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_quarantined_record")),
        sa.UniqueConstraint(
            "run_id",
            "page",
            "position",
            name=op.f("uq_quarantined_record_run_id_page_position"),
        ),
    )
    op.create_index(
        op.f("ix_quarantined_record_agency_id"),
        "quarantined_record",
        ["agency_id"],
        unique=False,
    )
    op.create_index(
        op.f("ix_quarantined_record_source_id"),
        "quarantined_record",
        ["source_id"],
        unique=False,
    )
    op.create_table(
        "run_log",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("run_id", sa.Uuid(), nullable=False),
        sa.Column("agency_id", sa.Uuid(), nullable=True),
        sa.Column(
            "at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column(
            "level",
            sa.Enum(
                "info",
                "warning",
                "error",
                name="level",
                native_enum=False,
                create_constraint=True,
                length=40,
            ),
            nullable=False,
        ),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column(
            "params",
            postgresql.JSONB(none_as_null=True, astext_type=sa.Text()),
            nullable=False,
        ),
        sa.ForeignKeyConstraint(
            ["run_id"],
            ["job_run.id"],
            name=op.f("fk_run_log_run_id_job_run"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_run_log")),
    )
    op.create_index(
        op.f("ix_run_log_run_id_id"), "run_log", ["run_id", "id"], unique=False
    )
    op.create_table(
        "exchange_log",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column(
            "at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=True),
        sa.Column("agency_id", sa.Uuid(), nullable=True),
        sa.Column("dataset_id", sa.Uuid(), nullable=False),
        sa.Column("run_id", sa.Uuid(), nullable=True),
        sa.Column("row_count", sa.BigInteger(), nullable=False),
        sa.Column("byte_count", sa.BigInteger(), nullable=False),
        sa.Column("file_sha256", sa.Text(), nullable=False),
        sa.Column("request_id", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["agency_id"], ["agency.id"], name=op.f("fk_exchange_log_agency_id_agency")
        ),
        sa.ForeignKeyConstraint(
            ["dataset_id"],
            ["dataset.id"],
            name=op.f("fk_exchange_log_dataset_id_dataset"),
        ),
        sa.ForeignKeyConstraint(
            ["user_id"], ["user.id"], name=op.f("fk_exchange_log_user_id_user")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_exchange_log")),
    )
    op.create_index(
        op.f("ix_exchange_log_dataset_id"), "exchange_log", ["dataset_id"], unique=False
    )
    op.create_table(
        "export_run",
        sa.Column("run_id", sa.Uuid(), nullable=True),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("agency_id", sa.Uuid(), nullable=True),
        sa.Column("dataset_id", sa.Uuid(), nullable=False),
        sa.Column("file_name", sa.Text(), nullable=False),
        sa.Column("file_key", sa.Text(), nullable=False),
        sa.Column("file_sha256", sa.Text(), nullable=False),
        sa.Column("file_bytes", sa.BigInteger(), nullable=False),
        sa.Column("csv_sha256", sa.Text(), nullable=False),
        sa.Column("row_count", sa.BigInteger(), nullable=False),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(
            ["agency_id"], ["agency.id"], name=op.f("fk_export_run_agency_id_agency")
        ),
        sa.ForeignKeyConstraint(
            ["dataset_id"], ["dataset.id"], name=op.f("fk_export_run_dataset_id_dataset")
        ),
        sa.ForeignKeyConstraint(
            ["run_id"], ["job_run.id"], name=op.f("fk_export_run_run_id_job_run")
        ),
        sa.ForeignKeyConstraint(
            ["user_id"], ["user.id"], name=op.f("fk_export_run_user_id_user")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_export_run")),
        sa.UniqueConstraint("run_id", name=op.f("uq_export_run_run_id")),
    )
    op.create_index(
        op.f("ix_export_run_user_id"), "export_run", ["user_id"], unique=False
    )
    op.create_table(
        "pull_run",
        sa.Column("run_id", sa.Uuid(), nullable=False),
        sa.Column("agency_id", sa.Uuid(), nullable=False),
        sa.Column("source_id", sa.Uuid(), nullable=False),
        sa.Column("dataset_id", sa.Uuid(), nullable=False),
        sa.Column("version_id", sa.Uuid(), nullable=False),
        sa.Column("read_count", sa.BigInteger(), nullable=False),
        sa.Column("inserted_count", sa.BigInteger(), nullable=False),
        sa.Column("changed_count", sa.BigInteger(), nullable=False),
        sa.Column("unchanged_count", sa.BigInteger(), nullable=False),
        sa.Column("rejected_count", sa.BigInteger(), nullable=False),
        sa.Column("repeated_count", sa.BigInteger(), nullable=False),
        sa.Column("vanished_count", sa.BigInteger(), nullable=False),
        sa.Column("published_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["agency_id"], ["agency.id"], name=op.f("fk_pull_run_agency_id_agency")
        ),
        sa.ForeignKeyConstraint(
            ["dataset_id"], ["dataset.id"], name=op.f("fk_pull_run_dataset_id_dataset")
        ),
        sa.ForeignKeyConstraint(
            ["run_id"],
            ["job_run.id"],
            name=op.f("fk_pull_run_run_id_job_run"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["source_id"], ["source.id"], name=op.f("fk_pull_run_source_id_source")
        ),
        sa.ForeignKeyConstraint(
            ["version_id"],
            ["contract_version.id"],
            name=op.f("fk_pull_run_version_id_contract_version"),
        ),
        sa.PrimaryKeyConstraint("run_id", name=op.f("pk_pull_run")),
    )
    op.create_index(
        op.f("ix_pull_run_dataset_id"), "pull_run", ["dataset_id"], unique=False
    )
    op.create_index(
        op.f("ix_pull_run_source_id"), "pull_run", ["source_id"], unique=False
    )
    create_roles()
    grant()
    fence_rows()
    seed_roles()


def downgrade() -> None:
    raise NotImplementedError("the first migration has nothing to go back to")


# Vocabulary of app.core.policy as of this migration; roles are data and may be edited.
READ = (
    "agency.read user.read contract.read source.read schedule.read run.read"
    " quarantine.read dataset.read"
)
ROLES = (
    # name, label, for an agency's people, permissions
    (
        "OPD_OPERATOR",
        "Operator OPD",
        True,
        "contract.read source.read run.read quarantine.read dataset.read dataset.export",
    ),
    (
        "OPD_PIMPINAN",
        "Pimpinan OPD",
        True,
        "contract.read run.read quarantine.read dataset.read dataset.export",
    ),
    ("PIMPINAN", "Pimpinan (Kepala Dinas)", False, READ + " audit.read"),
    (
        "TIM_TEKNIS",
        "Tim Teknis",
        False,
        READ
        + " agency.write contract.write source.write source.run schedule.write run.retry"
        " dataset.export",
    ),
    (
        "PENGAWAS_DATA",
        "Pejabat Pengawas Pengelolaan Data dan Integrasi SI",
        False,
        READ
        + " contract.activate quarantine.release source.run run.retry dataset.export",
    ),
    (
        "PENGAWAS_TI",
        "Pejabat Pengawas Pengelola Teknologi Informasi",
        False,
        READ + " source.approve schedule.write run.retry",
    ),
    (
        "ADMINISTRATOR",
        "Pejabat Administrator",
        False,
        READ + " agency.write contract.activate dataset.export audit.read",
    ),
    ("WALIDATA", "Walidata", False, READ + " contract.write dataset.export"),
    ("AUDITOR", "Auditor (Inspektorat)", False, READ + " audit.read"),
    (
        "SYSADMIN",
        "Administrator Sistem",
        False,
        "agency.read agency.write user.read user.write schedule.read run.read run.retry",
    ),
)

GROUP_ROLES = ("simpul_office", "simpul_agency", "simpul_worker", "simpul_system")
# Tables with an agency_id whose rows an agency sees when they are its own.
OWNED = (
    "contract", "contract_version", "contract_field", "source", "dataset", "job_run",
    "run_log", "pull_run", "quarantined_record", "schedule", "user", "exchange_log",
    "audit_event",
)  # fmt: skip


def create_roles() -> None:
    for role in GROUP_ROLES:
        op.execute(
            f"DO $$ BEGIN CREATE ROLE {role} NOLOGIN NOBYPASSRLS;"
            " EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$"
        )
    user = sa.engine.make_url(os.environ["DATABASE_URL"]).username
    if user:
        quoted = user.replace('"', '""')
        op.execute(f'GRANT {", ".join(GROUP_ROLES)} TO "{quoted}"')


def grant() -> None:
    groups = ", ".join(GROUP_ROLES)
    op.execute("CREATE SCHEMA data")
    op.execute("CREATE SCHEMA stage")
    op.execute(f"GRANT USAGE ON SCHEMA data TO {groups}")
    op.execute("GRANT USAGE ON SCHEMA stage TO simpul_worker")
    op.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {groups}")
    op.execute("REVOKE SELECT ON worker_heartbeat, audit_event FROM simpul_agency")
    op.execute(f"GRANT INSERT ON audit_event, exchange_log, run_log, job_run TO {groups}")
    op.execute(
        'GRANT INSERT, UPDATE, DELETE ON agency, "user", user_role, role, contract,'
        " contract_version, contract_field, source, schedule, export_run TO simpul_office"
    )
    op.execute("GRANT UPDATE ON job_run TO simpul_office, simpul_worker, simpul_system")
    op.execute("GRANT DELETE ON job_run TO simpul_worker")
    op.execute("GRANT INSERT, UPDATE ON export_run TO simpul_agency")
    op.execute(
        "GRANT INSERT, UPDATE, DELETE ON pull_run, quarantined_record, export_run,"
        " worker_heartbeat TO simpul_worker"
    )
    op.execute("GRANT UPDATE ON dataset TO simpul_worker")
    op.execute("GRANT INSERT, UPDATE, DELETE ON worker_heartbeat TO simpul_system")
    op.execute('GRANT UPDATE ON schedule, "user" TO simpul_system')


def fence_rows() -> None:
    """Second wall behind app.core.scope: an agency's role sees its own rows only."""
    op.execute(
        "CREATE FUNCTION simpul_agency_id() RETURNS uuid LANGUAGE sql STABLE AS"
        " $$ SELECT nullif(current_setting('simpul.agency_id', true), '')::uuid $$"
    )
    op.execute(
        "CREATE FUNCTION simpul_user_id() RETURNS uuid LANGUAGE sql STABLE AS"
        " $$ SELECT nullif(current_setting('simpul.user_id', true), '')::uuid $$"
    )
    own = dict.fromkeys(OWNED, "agency_id = simpul_agency_id()")
    own["agency"] = "id = simpul_agency_id()"
    own["export_run"] = "user_id = simpul_user_id()"
    for table, condition in own.items():
        op.execute(f'ALTER TABLE "{table}" ENABLE ROW LEVEL SECURITY')
        op.execute(
            f'CREATE POLICY staff ON "{table}" TO simpul_office, simpul_worker,'
            " simpul_system USING (true) WITH CHECK (true)"
        )
        op.execute(
            f'CREATE POLICY own ON "{table}" TO simpul_agency'
            f" USING ({condition}) WITH CHECK ({condition})"
        )


def seed_roles() -> None:
    table = sa.table(
        "role",
        sa.column("id", sa.Uuid),
        sa.column("name"),
        sa.column("label"),
        sa.column("description"),
        sa.column("for_agency", sa.Boolean),
        sa.column("permissions", postgresql.ARRAY(sa.Text)),
    )
    op.bulk_insert(
        table,
        [
            {
                "id": uuid4(),
                "name": name,
                "label": label,
                "description": "",
                "for_agency": for_agency,
                "permissions": permissions.split(),
            }
            for name, label, for_agency, permissions in ROLES
        ],
    )
