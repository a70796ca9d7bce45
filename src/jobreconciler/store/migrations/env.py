"""Alembic's entry: runs on the connection, and in the transaction, that upgrade.py opened."""

from __future__ import annotations

from alembic import context

from jobreconciler.store.tables import SQLITE_INDEXES, metadata

connection = context.config.attributes["connection"]
is_sqlite = connection.dialect.name == "sqlite"
context.configure(
    connection=connection,
    target_metadata=metadata,
    render_as_batch=is_sqlite,
    include_object=lambda _, name, *_rest: is_sqlite or name not in SQLITE_INDEXES,
)
context.run_migrations()
