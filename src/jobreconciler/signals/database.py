"""Connections to the database that a job's secret names. No error ever shows its URL.

Every statement runs in a transaction that `reading` or `writing` opened. The instant of a pass is
the database's own: whichever machine runs a job, one clock decides what is in a window.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, create_engine, event, make_url, text
from sqlalchemy.exc import ArgumentError, DBAPIError, InterfaceError, OperationalError
from sqlalchemy.pool import StaticPool

from jobreconciler.errors import Invalid, NotFound, Transient
from jobreconciler.signals.tables import metadata

BUSY_SECONDS = 30
CONNECT_SECONDS = 10

_INIT = "`jobreconciler signals init` makes it"


class Database:
    """One database, over one connection. `clock` stands in for the database's in tests."""

    def __init__(self, url: str, clock: Callable[[], int] | None = None) -> None:
        self._url = _located(url)
        self._clock = clock
        self.is_sqlite = self._url.get_backend_name() == "sqlite"
        self._engine = create_engine(
            self._url,
            poolclass=StaticPool,
            hide_parameters=True,
            connect_args=_arguments(self.is_sqlite),
        )
        event.listen(self._engine, "connect", self._connected)
        event.listen(self._engine, "begin", self._begin)

    def __enter__(self) -> Database:
        return self

    def __exit__(self, *_: object) -> None:
        self._engine.dispose()

    def create(self) -> None:
        """Make what is not there yet: the file, the tables, the indexes."""
        path = self.path
        if path is not None and not path.exists():
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                _new_file(path)
            except (OSError, sqlite3.Error) as error:
                raise Invalid(f"the database cannot be made: {error}") from None
        with self.writing() as connection:
            metadata.create_all(connection)

    @property
    def name(self) -> str:
        """Where it is, in words, without a password."""
        if self.is_sqlite:
            return str(self.path)
        shown = self._url.set(drivername="postgresql")
        return shown.render_as_string(hide_password=True)

    @property
    def path(self) -> Path | None:
        """SQLite's file; None for PostgreSQL."""
        return Path(self._url.database or "") if self.is_sqlite else None

    def check(self) -> None:
        """Raises NotFound where the database or one of its tables is not there."""
        if self.path is not None and not self.path.exists():
            raise NotFound("the database is not there", reason="DatabaseMissing", hint=_INIT)
        with self.reading() as connection:
            there = self._engine.dialect.get_table_names(connection)
        gone = sorted(set(metadata.tables) - set(there))
        if gone:
            raise NotFound(
                f"the database has no table {gone[0]}",
                reason="TableMissing",
                hint="`jobreconciler signals init` makes what is missing",
            )

    def now(self) -> int:
        """The database's clock in microseconds."""
        if self._clock is not None:
            return self._clock()
        sql = (
            "SELECT CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER) * 1000"
            if self.is_sqlite
            else "SELECT CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS bigint)"
        )
        with self.reading() as connection:
            return int(connection.scalar(text(sql)) or 0)

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A transaction that writes nothing. Raises Transient where the database is not there."""
        with self._transaction(writes=False) as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """A transaction that is committed at the end of the block, or leaves nothing behind."""
        with self._transaction(writes=True) as connection:
            yield connection

    @contextmanager
    def _transaction(self, *, writes: bool) -> Iterator[Connection]:
        try:
            with self._engine.connect() as connection:
                connection = connection.execution_options(writes=writes)
                with connection.begin():
                    yield connection
        except (OperationalError, InterfaceError) as error:
            raise Transient(f"the database refused: {said(error)}", reason="Database") from error

    def _connected(self, connection: Any, _record: object) -> None:
        if self.is_sqlite:
            # Transactions are begun by us: the driver's own would begin too late to wait in line.
            connection.isolation_level = None
            connection.execute("PRAGMA foreign_keys = ON")
            # A power cut may take the last transactions, each of them as a whole.
            connection.execute("PRAGMA synchronous = NORMAL")
            connection.execute("PRAGMA cache_size = -8192")

    def _begin(self, connection: Connection) -> None:
        if self.is_sqlite:
            writes = connection.get_execution_options().get("writes")
            connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def said(error: BaseException) -> str:
    """What the driver says, on one line, without the statement and its values."""
    original = error.orig if isinstance(error, DBAPIError) else error
    return " ".join(str(original or error).split())[:500]


def _located(url: str) -> URL:
    try:
        parsed = make_url(url.strip())
    except ArgumentError:
        raise _refused("is not a URL") from None
    backend = parsed.drivername.partition("+")[0]
    if backend in ("postgresql", "postgres"):
        return parsed.set(drivername="postgresql+psycopg")
    if backend != "sqlite":
        raise _refused(f"names {backend}, which is not supported")
    if not parsed.database or not Path(parsed.database).is_absolute():
        raise _refused("names no absolute path")
    return parsed.set(drivername="sqlite")


def _refused(why: str) -> Invalid:
    return Invalid(
        f"the URL of the signals' database {why}",
        reason="DatabaseUrl",
        hint="write sqlite:////absolute/path/signals.db or postgresql://user@host/database",
    )


def _arguments(is_sqlite: bool) -> dict[str, Any]:
    if is_sqlite:
        return {"timeout": BUSY_SECONDS, "check_same_thread": False}
    return {"connect_timeout": CONNECT_SECONDS, "application_name": "jobreconciler signals"}


def _new_file(path: Path) -> None:
    """A log ahead of the file lets readers and one writer work beside each other."""
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.close()
    path.chmod(0o600)
