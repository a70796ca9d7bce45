"""Opening a store: who may, and whether its schema is one this program reads."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import ExitStack, closing
from datetime import datetime
from pathlib import Path
from typing import Literal

from jobreconciler.errors import Refused
from jobreconciler.ports import Clock
from jobreconciler.store import schema
from jobreconciler.store.engine import Database, locate, missing
from jobreconciler.store.executions import Pinned
from jobreconciler.store.lock import (
    FileLock,
    is_locked,
    is_locked_postgresql,
    lock_postgresql,
    not_writable,
)
from jobreconciler.store.migrations import HEAD
from jobreconciler.store.sql import Tx
from jobreconciler.store.store import SqlStore
from jobreconciler.store.writer import Writer

Access = Literal["exclusive", "shared", "read"]


def open_store(
    url: str | None,
    state_dir: Path,
    clock: Clock,
    *,
    instance: str = "",
    on_death: Callable[[BaseException], None] | None = None,
    read_only: bool = False,
    shared: bool = False,
) -> SqlStore:
    """Open the store a `--store` URL names; None is SQLite in the state directory.

    The daemon and `apply` take the lock, and create and migrate SQLite. `shared` writes beside a
    daemon (tokens, approvals); `read_only` never writes. `on_death` is called, in the writer's
    thread, when nothing can be written any more. Raises Refused (in use, too new, not migrated),
    NotFound (nothing there to read), Transient, Stalled.
    """
    access: Access = "read" if read_only else "shared" if shared else "exclusive"
    location = locate(url, state_dir)
    name = f"jobreconciler {instance} pid {os.getpid()}".replace("  ", " ")
    database = Database(location, application=name)
    with ExitStack() as resources:
        resources.callback(database.dispose)
        if access == "exclusive":
            lock(database, state_dir, resources)
        _prepare(database, state_dir, clock.now(), access)
        pinned = Pinned()
        writer = None
        if access != "read":
            connection = database.connect()
            resources.callback(connection.close)
            tx = Tx(connection.cursor(), database.dialect)
            if access == "exclusive" and location.path is None:
                lock_postgresql(tx)
            writer = Writer(connection, tx, on_death=on_death, on_rollback=pinned.forget)
            resources.callback(writer.close)
        return SqlStore(database, clock, instance, writer, pinned, resources.pop_all())


def lock(database: Database, state_dir: Path, locks: ExitStack) -> None:
    """Take the state directory's lock, and the one of an SQLite file, wherever it lies: another
    daemon may have it as its own."""
    make_directory(state_dir)
    locks.callback(FileLock(state_dir / "lock").close)
    path = database.location.path
    if path is not None:
        make_directory(path.parent)
        locks.callback(FileLock(_lock_beside(path)).close)


def has_writer(url: str | None, state_dir: Path) -> bool:
    """Whether a daemon, or a command that must be alone, has the store or the state directory.
    Raises Refused, Transient."""
    location = locate(url, state_dir)
    if is_locked(state_dir / "lock"):
        return True
    if location.path is not None:
        return is_locked(_lock_beside(location.path))
    database = Database(location, application="jobreconciler")
    try:
        with database.reading() as tx:
            return is_locked_postgresql(tx)
    finally:
        database.dispose()


def _lock_beside(path: Path) -> Path:
    return path.with_name(path.name + ".lock")


def make_directory(directory: Path) -> None:
    """Its owner's only, where it is not there yet. Raises Stalled."""
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise not_writable(directory, error) from error


def _prepare(database: Database, state_dir: Path, at: datetime, access: Access) -> None:
    """See that the schema is there and current."""
    path = database.location.path
    if path is not None and not path.exists():
        if access == "read":
            raise missing(path)
        _create(database, state_dir, at, access)
    with database.reading() as tx:
        found = schema.state(tx)
    if found == "current":
        return
    if found == "empty" and path is not None and access != "read":
        _create(database, state_dir, at, access)
    elif path is not None and access == "exclusive":
        from jobreconciler.store.upgrade import migrate

        migrate(database, HEAD, at, state_dir / "backups")
    else:
        raise _not_migrated(database, found)


def _create(database: Database, state_dir: Path, at: datetime, access: Access) -> None:
    with ExitStack() as locks:
        if access != "exclusive":
            lock(database, state_dir, locks)
        with closing(database.connect(create=True)) as connection:
            connection.execute("PRAGMA journal_mode = WAL")
        schema.create(database, at)


def _not_migrated(database: Database, found: schema.State) -> Refused:
    what = "no tables yet" if found == "empty" else "the schema of an earlier version"
    return Refused(
        f"the store {database.location} has {what}",
        reason="SchemaOld",
        hint="run `jobreconciler migrate up`"
        if database.location.path is None
        else "start the daemon or run `jobreconciler migrate up`; both make a copy first",
    )
