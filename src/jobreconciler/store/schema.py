"""Whether a store's schema is the one this program reads, and what to do where it isn't.

Alembic is imported only where something has to be migrated: it costs most of a second.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Literal

from sqlalchemy import Connection, create_engine
from sqlalchemy.pool import NullPool

from jobreconciler import __version__
from jobreconciler.errors import Refused, Stalled
from jobreconciler.store import tables
from jobreconciler.store.engine import Database
from jobreconciler.store.faults import translate
from jobreconciler.store.migrations import HEAD, REVISIONS
from jobreconciler.store.rows import micros
from jobreconciler.store.sql import Statement, Tx

State = Literal["empty", "old", "current"]

_HAS_VERSIONS = Statement(
    "SELECT to_regclass('alembic_version') IS NOT NULL, "
    "(SELECT count(*) FROM pg_tables WHERE schemaname = current_schema())",
    sqlite="SELECT (SELECT count(*) FROM sqlite_master WHERE name = 'alembic_version'), "
    "(SELECT count(*) FROM sqlite_master WHERE type = 'table')",
)
_VERSION = Statement("SELECT version_num FROM alembic_version")
_WRITTEN_BY = Statement("SELECT program_version FROM store_meta")
_HAS_META = Statement(
    "SELECT to_regclass('store_meta') IS NOT NULL",
    sqlite="SELECT count(*) FROM sqlite_master WHERE name = 'store_meta'",
)
_STAMP = Statement("INSERT INTO alembic_version (version_num) VALUES (:revision)")
_SIGN = Statement(
    "INSERT INTO store_meta (id, program_version, written_at) VALUES (1, :version, :at) "
    "ON CONFLICT (id) DO UPDATE SET program_version = excluded.program_version, "
    "written_at = excluded.written_at"
)
_CREATE_VERSIONS = (
    "CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL, "
    "CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num))"
)


def revision(tx: Tx) -> str | None:
    """The schema's version; None for an empty database. Raises Refused for a foreign one."""
    has_versions, count = tx.one(_HAS_VERSIONS) or (0, 0)
    if has_versions:
        row = tx.one(_VERSION)
        return None if row is None else row[0]
    if count:
        raise Refused(
            "the database holds tables of something else, and none of jobreconciler's",
            reason="ForeignDatabase",
            hint="name another file or database with --store",
        )
    return None


def state(tx: Tx) -> State:
    """Raises Refused for a schema newer than this program."""
    found = revision(tx)
    if found is None:
        return "empty"
    if found == HEAD:
        return "current"
    if found in REVISIONS:
        return "old"
    version = _written_by(tx)
    raise Refused(
        f"the store was written by jobreconciler {version} (schema {found}); "
        f"this is {__version__}, which reads schemas up to {HEAD}",
        reason="StoreTooNew",
        hint=f"install jobreconciler {version} or later, or restore a backup made before it",
    )


def _written_by(tx: Tx) -> str:
    has_meta = tx.one(_HAS_META)
    row = tx.one(_WRITTEN_BY) if has_meta and has_meta[0] else None
    return "a later version" if row is None else row[0]


def create(database: Database, at: datetime) -> None:
    """All tables at once, as the sum of the migrations would make them."""
    with ddl(database) as connection:
        tables.metadata.create_all(connection, checkfirst=False)
        connection.exec_driver_sql(_CREATE_VERSIONS)
        Tx(connection.connection.cursor(), database.dialect).run(_STAMP, {"revision": HEAD})
        sign(connection, database, at)


def sign(connection: Connection, database: Database, at: datetime) -> None:
    """Note which program wrote this schema, so that an older one can name it."""
    tx = Tx(connection.connection.cursor(), database.dialect)
    tx.run(_SIGN, {"version": __version__, "at": micros(at)})


@contextmanager
def ddl(database: Database) -> Iterator[Connection]:
    """One transaction that may change the schema. All of it commits, or none of it."""
    engine = create_engine(
        database.location.url, creator=lambda: database.connect(create=True), poolclass=NullPool
    )
    is_sqlite = database.location.path is not None
    try:
        with engine.connect() as connection:
            if is_sqlite:
                # A table that is rebuilt is dropped for a moment; what it names is checked below.
                connection.exec_driver_sql("PRAGMA foreign_keys = OFF")
            connection.exec_driver_sql("BEGIN IMMEDIATE" if is_sqlite else "BEGIN")
            yield connection
            if is_sqlite and connection.exec_driver_sql("PRAGMA foreign_key_check").first():
                raise Stalled("the migration would leave rows that name missing ones")
            connection.exec_driver_sql("COMMIT")
    except Exception as error:
        translated = translate(error)
        if translated is error:
            raise
        raise translated from error
    finally:
        engine.dispose()
