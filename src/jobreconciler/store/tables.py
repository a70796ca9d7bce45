"""The database's tables. One definition for SQLite and PostgreSQL; instants are microseconds.

Names of `job_configs`, `job_executions`, `changelog` and `reconciles` and of their columns are
public: people read them with their own tools. A change here needs a migration; a test compares.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
)

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(referred_table_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    }
)

Key = Text().with_variant(Text(collation="C"), "postgresql")
"""Text that is compared byte by byte in both databases, so that lists have one order."""

Counter = BigInteger().with_variant(Integer, "sqlite")
"""A key the database counts up; SQLite does that for INTEGER only."""

SQLITE_INDEXES = frozenset({"ix_job_configs_index", "ix_job_configs_path"})
"""Indexes that PostgreSQL doesn't get; whoever compares it with the tables leaves them out."""

job_configs = Table(
    "job_configs",
    metadata,
    Column("job_id", Key, primary_key=True),
    Column("path", Key, nullable=False),
    Column("blob", Text, nullable=False),
    Column("defaults_blob", Text, nullable=False),
    Column("digest", Text, nullable=False),
    Column("enabled", Boolean, nullable=False),
    Column("depends_on", Text, nullable=False),
    Column("deleted_at", BigInteger),
    Column("revision", Text, nullable=False),
    Column("generation", BigInteger, nullable=False),
    Column("observed_generation", BigInteger, nullable=False),
    Column("job_type", Text, nullable=False),
    Column("title", Text),
    Column("owner", Text),
    Column("tags", Text, nullable=False),
    Column("schedule_enabled", Boolean, nullable=False),
    Column("expression", Text),
    Column("timezone", Text),
    Column("jitter_seconds", BigInteger, nullable=False),
    Column("catch_up", Text, nullable=False),
    Column("starting_deadline_seconds", BigInteger),
    Column("has_webhook", Boolean, nullable=False),
    Column("schedule_since", BigInteger, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
    Column("row_digest", Text, nullable=False),
    Column("config", Text, nullable=False),
    # All that the planner's index needs, so that SQLite reads it without the configs in between.
    # PostgreSQL keeps long texts out of line by itself, and limits what an index entry may hold.
    Index(
        "ix_job_configs_index",
        "job_id",
        "path",
        "blob",
        "defaults_blob",
        "digest",
        "enabled",
        "depends_on",
        "deleted_at",
    ).ddl_if(dialect="sqlite"),
    # A git path may be longer than PostgreSQL lets an index entry be.
    Index("ix_job_configs_path", "path").ddl_if(dialect="sqlite"),
)

job_states = Table(
    "job_states",
    metadata,
    Column("job_id", Key, primary_key=True),
    Column("watermark", BigInteger),
    Column("last_execution_id", Key),
    Column("last_run_at", BigInteger),
    Column("last_success_at", BigInteger),
    Column("last_status", Text),
    Column("consecutive_failures", BigInteger, nullable=False),
)

job_conditions = Table(
    "job_conditions",
    metadata,
    Column("job_id", Key, ForeignKey("job_configs.job_id", ondelete="CASCADE"), primary_key=True),
    Column("type", Text, primary_key=True),
    Column("status", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("message", Text, nullable=False),
    Column("since", BigInteger, nullable=False),
)

config_versions = Table(
    "config_versions",
    metadata,
    Column("digest", Key, primary_key=True),
    Column("config", Text, nullable=False),
)

job_executions = Table(
    "job_executions",
    metadata,
    Column("id", Key, primary_key=True),
    Column("job_id", Key, ForeignKey("job_states.job_id"), nullable=False),
    Column("slot", BigInteger),
    Column("status", Text, nullable=False),
    Column("trigger_type", Text, nullable=False),
    Column("trigger", Text, nullable=False),
    Column("retry_of", Key),
    Column("missed_from", BigInteger),
    Column("missed_to", BigInteger),
    Column("missed_count", BigInteger),
    Column("missed_reason", Text),
    Column("revision", Text, nullable=False),
    Column("generation", BigInteger, nullable=False),
    Column("config_digest", Key, nullable=False),
    Column("queued_at", BigInteger, nullable=False),
    Column("not_before", BigInteger),
    Column("started_at", BigInteger),
    Column("finished_at", BigInteger),
    Column("attempt", BigInteger, nullable=False),
    Column("exit_code", BigInteger),
    Column("signal", BigInteger),
    Column("error", Text),
    Column("progress", Text),
    Column("metrics", Text),
    Column("result", Text),
    Column("dry_run", Boolean, nullable=False),
    UniqueConstraint("job_id", "slot"),
    Index("ix_job_executions_newest", "queued_at", "id"),
    Index("ix_job_executions_newest_of_job", "job_id", "queued_at", "id"),
    Index("ix_job_executions_in_status", "status", "job_id"),
)

execution_attempts = Table(
    "execution_attempts",
    metadata,
    Column(
        "execution_id", Key, ForeignKey("job_executions.id", ondelete="CASCADE"), primary_key=True
    ),
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("started_at", BigInteger, nullable=False),
    Column("finished_at", BigInteger),
    Column("exit_code", BigInteger),
    Column("signal", BigInteger),
    Column("error", Text),
    Column("pid", BigInteger),
    Column("pid_started", BigInteger),
    Column("boot_id", Text),
    Column("output_bytes", BigInteger),
    Column("output_dropped", BigInteger),
)

changelog = Table(
    "changelog",
    metadata,
    Column("sequence", Counter, primary_key=True, autoincrement=False),
    Column("job_id", Key, nullable=False),
    Column("action", Text, nullable=False),
    Column("generation", BigInteger, nullable=False),
    Column("file", Text, nullable=False),
    Column("revision", Text, nullable=False),
    Column("commits", Text, nullable=False),
    Column("author", Text, nullable=False),
    Column("committer", Text, nullable=False),
    Column("message", Text, nullable=False),
    Column("pull_request", Text),
    Column("reviewers", Text, nullable=False),
    Column("signature", Text),
    Column("fields", Text, nullable=False),
    Column("applied_at", BigInteger, nullable=False),
    Column("actor", Text, nullable=False),
    Column("instance", Text, nullable=False),
    Column("hash", Text, nullable=False),
    Column("previous_hash", Text, nullable=False),
    Index("ix_changelog_of_job", "job_id", "sequence"),
)

reconciles = Table(
    "reconciles",
    metadata,
    Column("id", Counter, primary_key=True),
    Column("revision", Text, nullable=False),
    Column("started_at", BigInteger, nullable=False),
    Column("finished_at", BigInteger, nullable=False),
    Column("result", Text, nullable=False),
    Column("trigger", Text, nullable=False),
    Column("summary", Text, nullable=False),
    Column("error", Text, nullable=False),
)

source_state = Table(
    "source_state",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("revision", Text),
    Column("observed_revision", Text),
    Column("base_revision", Text),
    Column("environment", Text),
    Column("reader_version", Text, nullable=False),
    Column("conditions", Text, nullable=False),
    Column("last_success_at", BigInteger),
    Column("author", Text, nullable=False),
    Column("message", Text, nullable=False),
    Column("committed_at", Text, nullable=False),
)

file_problems = Table(
    "file_problems",
    metadata,
    Column("path", Key, primary_key=True),
    Column("problems", Text, nullable=False),
)

blobs = Table(
    "blobs",
    metadata,
    Column("blob", Key, primary_key=True),
    Column("text", LargeBinary, nullable=False),
)

prune_approvals = Table(
    "prune_approvals",
    metadata,
    Column("revision", Key, primary_key=True),
    Column("actor", Text, nullable=False),
    Column("approved_at", BigInteger, nullable=False),
)

store_meta = Table(
    "store_meta",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("program_version", Text, nullable=False),
    Column("written_at", BigInteger, nullable=False),
)

tokens = Table(
    "tokens",
    metadata,
    Column("name", Key, primary_key=True),
    Column("role", Text, nullable=False),
    Column("hash", Key, nullable=False, unique=True),
    Column("first_start", Boolean, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("revoked_at", BigInteger),
)

suspensions = Table(
    "suspensions",
    metadata,
    Column("id", Counter, primary_key=True),
    Column("scope", Text, nullable=False),
    Column("target", Key, nullable=False),
    Column("actor", Text, nullable=False),
    Column("reason", Text),
    Column("created_at", BigInteger, nullable=False),
    Column("until", BigInteger),
    Column("lifted_at", BigInteger),
    Column("lifted_by", Text),
)

dependency_releases = Table(
    "dependency_releases",
    metadata,
    Column("job_id", Key, primary_key=True),
    Column("upstream_id", Key, primary_key=True),
    Column("execution_id", Key, nullable=False),
    Column("released_at", BigInteger, nullable=False),
)

deliveries = Table(
    "deliveries",
    metadata,
    Column("scope", Key, primary_key=True),
    Column("key", Key, primary_key=True),
    Column("execution_id", Key, nullable=False),
    Column("received_at", BigInteger, nullable=False),
    Index(None, "received_at"),
)

outbox = Table(
    "outbox",
    metadata,
    Column("id", Key, primary_key=True),
    Column("job_id", Key, nullable=False),
    Column("execution_id", Key),
    Column("event", Text, nullable=False),
    Column("channel", Text, nullable=False),
    Column("content", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("next_at", BigInteger),
    Column("delivered_at", BigInteger),
    Column("error", Text),
    Index(None, "next_at"),
)

notified = Table(
    "notified",
    metadata,
    Column("job_id", Key, primary_key=True),
    Column("event", Key, primary_key=True),
    Column("since", BigInteger, nullable=False),
    Column("last_at", BigInteger, nullable=False),
)
