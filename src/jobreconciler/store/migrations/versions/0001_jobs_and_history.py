"""Jobs, their executions, the changelog and what a reconcile leaves."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

Key = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
Counter = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    op.create_table(
        "job_configs",
        sa.Column("job_id", Key, primary_key=True),
        sa.Column("path", Key, nullable=False),
        sa.Column("blob", sa.Text, nullable=False),
        sa.Column("defaults_blob", sa.Text, nullable=False),
        sa.Column("digest", sa.Text, nullable=False),
        sa.Column("enabled", sa.Boolean, nullable=False),
        sa.Column("depends_on", sa.Text, nullable=False),
        sa.Column("deleted_at", sa.BigInteger),
        sa.Column("revision", sa.Text, nullable=False),
        sa.Column("generation", sa.BigInteger, nullable=False),
        sa.Column("observed_generation", sa.BigInteger, nullable=False),
        sa.Column("job_type", sa.Text, nullable=False),
        sa.Column("title", sa.Text),
        sa.Column("owner", sa.Text),
        sa.Column("tags", sa.Text, nullable=False),
        sa.Column("schedule_enabled", sa.Boolean, nullable=False),
        sa.Column("expression", sa.Text),
        sa.Column("timezone", sa.Text),
        sa.Column("jitter_seconds", sa.BigInteger, nullable=False),
        sa.Column("catch_up", sa.Text, nullable=False),
        sa.Column("starting_deadline_seconds", sa.BigInteger),
        sa.Column("has_webhook", sa.Boolean, nullable=False),
        sa.Column("schedule_since", sa.BigInteger, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("updated_at", sa.BigInteger, nullable=False),
        sa.Column("row_digest", sa.Text, nullable=False),
        sa.Column("config", sa.Text, nullable=False),
    )
    if op.get_bind().dialect.name == "sqlite":
        op.create_index(
            "ix_job_configs_index",
            "job_configs",
            [
                "job_id",
                "path",
                "blob",
                "defaults_blob",
                "digest",
                "enabled",
                "depends_on",
                "deleted_at",
            ],
        )
        op.create_index("ix_job_configs_path", "job_configs", ["path"])
    op.create_table(
        "job_states",
        sa.Column("job_id", Key, primary_key=True),
        sa.Column("watermark", sa.BigInteger),
        sa.Column("last_execution_id", Key),
        sa.Column("last_run_at", sa.BigInteger),
        sa.Column("last_success_at", sa.BigInteger),
        sa.Column("last_status", sa.Text),
        sa.Column("consecutive_failures", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "job_conditions",
        sa.Column(
            "job_id", Key, sa.ForeignKey("job_configs.job_id", ondelete="CASCADE"), primary_key=True
        ),
        sa.Column("type", sa.Text, primary_key=True),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("message", sa.Text, nullable=False),
        sa.Column("since", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "config_versions",
        sa.Column("digest", Key, primary_key=True),
        sa.Column("config", sa.Text, nullable=False),
    )
    op.create_table(
        "job_executions",
        sa.Column("id", Key, primary_key=True),
        sa.Column("job_id", Key, sa.ForeignKey("job_states.job_id"), nullable=False),
        sa.Column("slot", sa.BigInteger),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("trigger_type", sa.Text, nullable=False),
        sa.Column("trigger", sa.Text, nullable=False),
        sa.Column("retry_of", Key),
        sa.Column("missed_from", sa.BigInteger),
        sa.Column("missed_to", sa.BigInteger),
        sa.Column("missed_count", sa.BigInteger),
        sa.Column("missed_reason", sa.Text),
        sa.Column("revision", sa.Text, nullable=False),
        sa.Column("generation", sa.BigInteger, nullable=False),
        sa.Column("config_digest", Key, nullable=False),
        sa.Column("queued_at", sa.BigInteger, nullable=False),
        sa.Column("not_before", sa.BigInteger),
        sa.Column("started_at", sa.BigInteger),
        sa.Column("finished_at", sa.BigInteger),
        sa.Column("attempt", sa.BigInteger, nullable=False),
        sa.Column("exit_code", sa.BigInteger),
        sa.Column("signal", sa.BigInteger),
        sa.Column("error", sa.Text),
        sa.Column("progress", sa.Text),
        sa.Column("metrics", sa.Text),
        sa.Column("result", sa.Text),
        sa.Column("dry_run", sa.Boolean, nullable=False),
        sa.UniqueConstraint("job_id", "slot"),
    )
    op.create_index("ix_job_executions_newest", "job_executions", ["queued_at", "id"])
    op.create_index(
        "ix_job_executions_newest_of_job", "job_executions", ["job_id", "queued_at", "id"]
    )
    op.create_index("ix_job_executions_in_status", "job_executions", ["status", "job_id"])
    op.create_table(
        "execution_attempts",
        sa.Column(
            "execution_id",
            Key,
            sa.ForeignKey("job_executions.id", ondelete="CASCADE"),
            primary_key=True,
        ),
        sa.Column("number", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("started_at", sa.BigInteger, nullable=False),
        sa.Column("finished_at", sa.BigInteger),
        sa.Column("exit_code", sa.BigInteger),
        sa.Column("signal", sa.BigInteger),
        sa.Column("error", sa.Text),
        sa.Column("pid", sa.BigInteger),
        sa.Column("pid_started", sa.BigInteger),
        sa.Column("boot_id", sa.Text),
        sa.Column("output_bytes", sa.BigInteger),
        sa.Column("output_dropped", sa.BigInteger),
    )
    op.create_table(
        "changelog",
        sa.Column("sequence", Counter, primary_key=True, autoincrement=False),
        sa.Column("job_id", Key, nullable=False),
        sa.Column("action", sa.Text, nullable=False),
        sa.Column("generation", sa.BigInteger, nullable=False),
        sa.Column("file", sa.Text, nullable=False),
        sa.Column("revision", sa.Text, nullable=False),
        sa.Column("commits", sa.Text, nullable=False),
        sa.Column("author", sa.Text, nullable=False),
        sa.Column("committer", sa.Text, nullable=False),
        sa.Column("message", sa.Text, nullable=False),
        sa.Column("pull_request", sa.Text),
        sa.Column("reviewers", sa.Text, nullable=False),
        sa.Column("signature", sa.Text),
        sa.Column("fields", sa.Text, nullable=False),
        sa.Column("applied_at", sa.BigInteger, nullable=False),
        sa.Column("actor", sa.Text, nullable=False),
        sa.Column("instance", sa.Text, nullable=False),
        sa.Column("hash", sa.Text, nullable=False),
        sa.Column("previous_hash", sa.Text, nullable=False),
    )
    op.create_index("ix_changelog_of_job", "changelog", ["job_id", "sequence"])
    op.create_table(
        "reconciles",
        sa.Column("id", Counter, primary_key=True),
        sa.Column("revision", sa.Text, nullable=False),
        sa.Column("started_at", sa.BigInteger, nullable=False),
        sa.Column("finished_at", sa.BigInteger, nullable=False),
        sa.Column("result", sa.Text, nullable=False),
        sa.Column("trigger", sa.Text, nullable=False),
        sa.Column("summary", sa.Text, nullable=False),
        sa.Column("error", sa.Text, nullable=False),
    )
    op.create_table(
        "source_state",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("revision", sa.Text),
        sa.Column("observed_revision", sa.Text),
        sa.Column("base_revision", sa.Text),
        sa.Column("environment", sa.Text),
        sa.Column("reader_version", sa.Text, nullable=False),
        sa.Column("conditions", sa.Text, nullable=False),
        sa.Column("last_success_at", sa.BigInteger),
        sa.Column("author", sa.Text, nullable=False),
        sa.Column("message", sa.Text, nullable=False),
        sa.Column("committed_at", sa.Text, nullable=False),
    )
    op.create_table(
        "file_problems",
        sa.Column("path", Key, primary_key=True),
        sa.Column("problems", sa.Text, nullable=False),
    )
    op.create_table(
        "blobs",
        sa.Column("blob", Key, primary_key=True),
        sa.Column("text", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "prune_approvals",
        sa.Column("revision", Key, primary_key=True),
        sa.Column("actor", sa.Text, nullable=False),
        sa.Column("approved_at", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "store_meta",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("program_version", sa.Text, nullable=False),
        sa.Column("written_at", sa.BigInteger, nullable=False),
    )


def downgrade() -> None:
    for table in (
        "store_meta",
        "prune_approvals",
        "blobs",
        "file_problems",
        "source_state",
        "reconciles",
        "changelog",
        "execution_attempts",
        "job_executions",
        "config_versions",
        "job_conditions",
        "job_states",
        "job_configs",
    ):
        op.drop_table(table)
