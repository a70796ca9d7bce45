"""The tables of documents, events, aggregations and advancements; SQLite and PostgreSQL.

Instants are whole microseconds since 1970 in UTC, which both databases compare alike. Names of
tables and columns are public: applications write the documents and the events.

Events are only ever added, and the database numbers them: how far an aggregation has read is
remembered by that number, so that an event which arrives late, with an old `created_at`, is seen.
"""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from jobreconciler.signals.periods import PERIODS
from jobreconciler.signals.rules import COUNTS, TIERS

EVENT_TYPES = (
    "viewed",
    "retrieved",
    "referenced",
    "searched",
    "rated",
    "exported",
    "promoted",
    "refined",
)
RATINGS = ("up", "down")
ADVANCEMENTS = ("auto-advancement", "manual-override", "bulk-rollback")

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
    }
)

Key = Text().with_variant(Text(collation="C"), "postgresql")
"""Text that both databases put in one order, so that batches go through documents alike."""

Counter = BigInteger().with_variant(Integer, "sqlite")
"""A key the database counts up; SQLite does that for INTEGER only."""

Json = JSON().with_variant(JSONB(), "postgresql")


def _one_of(column: str, values: tuple[str, ...], name: str) -> CheckConstraint:
    listed = ", ".join(f"'{value}'" for value in values)
    return CheckConstraint(f"{column} IN ({listed})", name=name)


def _document(*, primary_key: bool = False, nullable: bool = False) -> Column[str]:
    owner = ForeignKey("documents.id", ondelete="CASCADE")
    return Column("document_id", Key, owner, primary_key=primary_key, nullable=nullable)


documents = Table(
    "documents",
    metadata,
    Column("id", Key, primary_key=True),
    Column("title", Text, nullable=False),
    Column("tier", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
    _one_of("tier", TIERS, "tier"),
    sqlite_with_rowid=False,
)

usage_events = Table(
    "usage_events",
    metadata,
    Column("id", Counter, primary_key=True),
    _document(),
    Column("event_type", Text, nullable=False),
    Column("session_id", Text, nullable=False),
    Column("user_id", Text),
    Column("lens_id", Text),
    Column("hub_id", Text),
    Column("query_hash", Text),
    Column("rating", Text),
    Column("created_at", BigInteger, nullable=False),
    _one_of("event_type", EVENT_TYPES, "event_type"),
    _one_of("rating", RATINGS, "rating"),
    # All that is counted, in the order it is counted in: SQLite never looks at the table itself.
    # PostgreSQL limits what an index entry may hold, and reads its table in the order of batches.
    Index(
        "ix_usage_events_counted",
        "document_id",
        "created_at",
        "event_type",
        "session_id",
        "user_id",
        "lens_id",
        "hub_id",
        "query_hash",
        "rating",
    ).ddl_if(dialect="sqlite"),
    Index("ix_usage_events_of_document", "document_id", "created_at").ddl_if(dialect="postgresql"),
    # Which documents have an event that left a window since the last pass.
    Index("ix_usage_events_created_at", "created_at", "document_id"),
    # Numbers are never used again, also when the newest events were deleted.
    sqlite_autoincrement=True,
)

signal_aggregations = Table(
    "signal_aggregations",
    metadata,
    _document(primary_key=True),
    Column("period", Text, primary_key=True),
    *(Column(name, BigInteger, nullable=False) for name in COUNTS),
    Column("utility_score", Double, nullable=False),
    Column("diversity_index", Double, nullable=False),
    Column("quality_score", Double, nullable=False),
    Column("advancement_eligible", Boolean, nullable=False),
    Column("first_event_at", BigInteger),
    Column("last_event_at", BigInteger),
    Column("days_active", BigInteger, nullable=False),
    Column("computed_at", BigInteger, nullable=False),
    _one_of("period", tuple(period.name for period in PERIODS), "period"),
    sqlite_with_rowid=False,
)

advancement_events = Table(
    "advancement_events",
    metadata,
    Column("id", Counter, primary_key=True),
    # The event of a rollback stands for all documents it moved back; theirs point to it.
    _document(nullable=True),
    Column("rule_id", Text),
    Column("from_tier", Text),
    Column("to_tier", Text),
    Column("criteria_met", Json, nullable=False),
    Column("signal_values", Json, nullable=False),
    Column("event_type", Text, nullable=False),
    Column("operator_id", Text),
    Column("reason", Text),
    Column("rolled_back", Boolean, nullable=False, server_default=text("false")),
    Column("rollback_event_id", Counter, ForeignKey("advancement_events.id")),
    Column("execution_id", Text, nullable=False),
    Column("config_revision", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    _one_of("event_type", ADVANCEMENTS, "event_type"),
    CheckConstraint(
        "event_type = 'bulk-rollback' OR (document_id IS NOT NULL AND from_tier IS NOT NULL "
        "AND to_tier IS NOT NULL)",
        name="moved",
    ),
    Index("ix_advancement_events_of_document", "document_id", "id"),
    # One run moves a document once, whichever of its attempts does.
    Index(
        "ux_advancement_events_once_a_run",
        "execution_id",
        "document_id",
        unique=True,
        sqlite_where=text("event_type = 'auto-advancement'"),
        postgresql_where=text("event_type = 'auto-advancement'"),
    ),
    sqlite_autoincrement=True,
)

aggregation_passes = Table(
    "aggregation_passes",
    metadata,
    Column("period", Text, primary_key=True),
    # What is queued: events up to this number, and the window as it was at this instant.
    Column("events_seen", BigInteger, nullable=False),
    Column("as_of", BigInteger, nullable=False),
    # The instant of the last pass that came to its end; null before the first.
    Column("finished_as_of", BigInteger),
)

aggregation_queue = Table(
    "aggregation_queue",
    metadata,
    Column("period", Text, primary_key=True),
    _document(primary_key=True),
    sqlite_with_rowid=False,
)
