"""Connections: which database a URL names, and how SQLite and PostgreSQL are talked to.

Every connection is in autocommit mode; a transaction is what `BEGIN` and `COMMIT` say. Readers
come from a pool and cannot write; the one writer has a connection of its own.
"""

from __future__ import annotations

import hashlib
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sqlalchemy import URL, Dialect, make_url
from sqlalchemy.exc import ArgumentError
from sqlalchemy.pool import QueuePool

from jobreconciler.errors import NotFound, Refused
from jobreconciler.store.faults import translate
from jobreconciler.store.sql import Tx

BUSY_SECONDS = 5.0
"""How long a statement waits for somebody else's lock before it is given up."""

CONNECT_SECONDS = 10

SECRET_OPTIONS = ("password", "sslpassword")
"""What of a PostgreSQL URL's query is nobody's business."""


@dataclass(frozen=True, slots=True)
class Location:
    """Where the store is. `path` is SQLite's file, None for PostgreSQL."""

    url: URL
    path: Path | None

    def __str__(self) -> str:
        if self.path is not None:
            return str(self.path)
        shown = self.url.set(drivername="postgresql").difference_update_query(SECRET_OPTIONS)
        return shown.render_as_string(hide_password=True)


def locate(url: str | None, state_dir: Path) -> Location:
    """Read a `--store` URL; None is SQLite in the state directory. Raises Refused."""
    if url is None:
        return _sqlite_location(state_dir / "store.db")
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise _refused_url("is not a URL") from None
    backend = parsed.drivername.partition("+")[0]
    if backend == "sqlite":
        if not parsed.database or parsed.database == ":memory:":
            raise _refused_url("names no file, and a store in memory would forget every run")
        return _sqlite_location(Path(parsed.database))
    if backend in ("postgresql", "postgres"):
        return Location(parsed.set(drivername="postgresql+psycopg"), None)
    raise _refused_url(f"names {backend}, which is not supported")


def _sqlite_location(path: Path) -> Location:
    absolute = path.expanduser().absolute()
    return Location(URL.create("sqlite", database=str(absolute)), absolute)


def _refused_url(why: str) -> Refused:
    return Refused(
        f"the store's URL {why}",
        reason="StoreUrl",
        hint="write sqlite:////absolute/path/store.db or postgresql://user@host/database",
    )


class Database:
    """One located database: its dialect, a pool of readers, and connections for writing."""

    def __init__(self, location: Location, *, application: str = "jobreconciler") -> None:
        self.location = location
        self.application = application
        self.dialect = _dialect(location)
        self._pool = QueuePool(
            self._read_connection,
            pool_size=4,
            max_overflow=28,
            reset_on_return=None,
            pre_ping=location.path is None,
            dialect=self.dialect,
        )

    @contextmanager
    def reading(self) -> Iterator[Tx]:
        """A transaction that sees one state of the store, whatever is written meanwhile.

        Raises Transient or Stalled for what the database refuses.
        """
        try:
            connection = self._pool.connect()
        except Exception as error:
            raise translate(error) from error
        try:
            tx = Tx(connection.cursor(), self.dialect)
            tx.command(
                "BEGIN" if tx.is_sqlite else "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
            )
            yield tx
            tx.command("COMMIT")
            tx.cursor.close()
        except BaseException as error:
            connection.invalidate()
            translated = translate(error)
            if translated is error:
                raise
            raise translated from error
        finally:
            connection.close()

    def connect(self, *, create: bool = False) -> Any:
        """A driver connection for writing, in autocommit mode. Raises NotFound, Transient."""
        path = self.location.path
        try:
            if path is None:
                return self._connect_postgresql()
            if create and not path.exists():
                os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
            return _connect_sqlite(path, "rw")
        except Exception as error:
            raise translate(error) from error

    def _read_connection(self) -> Any:
        path = self.location.path
        if path is None:
            return self._connect_postgresql()
        return _connect_sqlite(path, "ro")

    def _connect_postgresql(self) -> Any:
        import psycopg

        arguments, options = self.dialect.create_connect_args(self.location.url)
        options.setdefault("connect_timeout", CONNECT_SECONDS)
        options.setdefault("application_name", self.application[:63])
        connection = psycopg.connect(*arguments, **options, autocommit=True)
        connection.execute(f"SET lock_timeout = {int(BUSY_SECONDS * 1000)}")
        return connection

    def dispose(self) -> None:
        self._pool.dispose()


def _dialect(location: Location) -> Dialect:
    if location.path is not None:
        from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite

        return SQLiteDialect_pysqlite(paramstyle="named")
    try:
        import psycopg
    except ImportError:
        raise Refused(
            "PostgreSQL needs the psycopg driver, which is not installed",
            reason="DriverMissing",
            hint="pip install 'jobreconciler[postgres]'",
        ) from None
    from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg

    return PGDialect_psycopg(dbapi=psycopg)  # type: ignore[no-untyped-call]


def _connect_sqlite(path: Path, mode: str) -> sqlite3.Connection:
    try:
        connection = sqlite3.connect(
            f"file:{quote(str(path))}?mode={mode}",
            uri=True,
            isolation_level=None,
            timeout=BUSY_SECONDS,
            check_same_thread=False,
            cached_statements=256,
        )
    except sqlite3.OperationalError:
        if path.exists():
            raise
        raise missing(path) from None
    connection.create_function("sha256_hex", 1, _sha256_hex, deterministic=True)
    # SQLite's own knows the 26 letters of ASCII only.
    connection.create_function("lower", 1, _lower, deterministic=True)
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA synchronous = FULL")
    # Of readers there are many, each with a cache of its own, over what the kernel caches anyway.
    connection.execute(f"PRAGMA cache_size = {-4096 if mode == 'ro' else -16384}")
    return connection


def missing(path: Path) -> NotFound:
    return NotFound(
        f"there is no store at {path}",
        reason="StoreMissing",
        hint="`jobreconciler run` or `jobreconciler apply` creates it",
    )


def _lower(text: object) -> str | None:
    return None if text is None else str(text).lower()


def _sha256_hex(text: object) -> str | None:
    if text is None:
        return None
    content = text if isinstance(text, bytes) else str(text).encode("utf-8", "surrogatepass")
    return hashlib.sha256(content).hexdigest()
