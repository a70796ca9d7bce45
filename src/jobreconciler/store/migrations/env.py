"""Alembic's entry: runs on the connection, and in the transaction, that upgrade.py opened."""

from __future__ import annotations

from alembic import context

from jobreconciler.store.tables import metadata

connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    target_metadata=metadata,
    render_as_batch=connection.dialect.name == "sqlite",
)
context.run_migrations()
