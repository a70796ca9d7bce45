"""Suspensions, dependency releases, deliveries seen before, and the notification outbox."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

Key = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
Counter = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    op.create_table(
        "suspensions",
        sa.Column("id", Counter, primary_key=True),
        sa.Column("scope", sa.Text, nullable=False),
        sa.Column("target", Key, nullable=False),
        sa.Column("actor", sa.Text, nullable=False),
        sa.Column("reason", sa.Text),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("until", sa.BigInteger),
        sa.Column("lifted_at", sa.BigInteger),
        sa.Column("lifted_by", sa.Text),
    )
    op.create_table(
        "dependency_releases",
        sa.Column("job_id", Key, primary_key=True),
        sa.Column("upstream_id", Key, primary_key=True),
        sa.Column("execution_id", Key, nullable=False),
        sa.Column("released_at", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "deliveries",
        sa.Column("scope", Key, primary_key=True),
        sa.Column("key", Key, primary_key=True),
        sa.Column("execution_id", Key, nullable=False),
        sa.Column("received_at", sa.BigInteger, nullable=False),
    )
    op.create_index("ix_deliveries_received_at", "deliveries", ["received_at"])
    op.create_table(
        "outbox",
        sa.Column("id", Key, primary_key=True),
        sa.Column("job_id", Key, nullable=False),
        sa.Column("execution_id", Key),
        sa.Column("event", sa.Text, nullable=False),
        sa.Column("channel", sa.Text, nullable=False),
        sa.Column("content", sa.Text, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("next_at", sa.BigInteger),
        sa.Column("delivered_at", sa.BigInteger),
        sa.Column("error", sa.Text),
    )
    op.create_index("ix_outbox_next_at", "outbox", ["next_at"])
    op.create_table(
        "notified",
        sa.Column("job_id", Key, primary_key=True),
        sa.Column("event", Key, primary_key=True),
        sa.Column("since", sa.BigInteger, nullable=False),
        sa.Column("last_at", sa.BigInteger, nullable=False),
    )


def downgrade() -> None:
    for table in ("notified", "outbox", "deliveries", "dependency_releases", "suspensions"):
        op.drop_table(table)
