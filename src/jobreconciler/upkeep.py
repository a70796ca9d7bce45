"""Copies of the store, the way back from them, and its schema: done without a daemon.

Like app.py this wires adapters; it is apart so that nothing else pays for what only upkeep needs.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from jobreconciler.app import make_state_dir, open_store
from jobreconciler.settings import Settings
from jobreconciler.store import backup as copies
from jobreconciler.store import schema, upgrade
from jobreconciler.store.engine import Database, locate
from jobreconciler.store.lock import lock_postgresql
from jobreconciler.store.opening import lock, make_directory
from jobreconciler.store.sql import Tx


@dataclass(frozen=True, slots=True)
class Restored:
    """What was restored, and where the replaced SQLite file was kept (None for PostgreSQL)."""

    backup: copies.Backup
    kept: Path | None


def is_sqlite(settings: Settings) -> bool:
    return locate(settings.store, settings.state_dir).path is not None


def back_up(settings: Settings, target: Path | None, at: datetime) -> copies.Backup:
    """Copy the store, also while a daemon writes. Raises NotFound, Refused, Stalled."""
    store = open_store(settings, read_only=True)
    try:
        if target is None:
            target = _new_backup(settings, at)
        store.backup(target)
    finally:
        store.close()
    return copies.inspect(target)


def _new_backup(settings: Settings, at: datetime) -> Path:
    """Where a backup without a name goes. Its directory is there, for its owner only."""
    folder = make_state_dir(settings) / "backups"
    make_directory(folder)
    suffix = "db" if is_sqlite(settings) else "dump"
    return folder / f"store-{at:%Y%m%dT%H%M%SZ}.{suffix}"


def restore(settings: Settings, source: Path, at: datetime, *, catch_up: bool) -> Restored:
    """Put a backup in the store's place; watermarks move to `at` unless `catch_up`.

    Raises Refused (a daemon holds the store), NotFound, Invalid (no whole backup), Stalled.
    """
    found = copies.inspect(source)
    with _held(settings) as database:
        kept = copies.restore(found, database, at, catch_up=catch_up)
    return Restored(found, kept)


def migrate(settings: Settings, direction: str, to: str | None, at: datetime) -> upgrade.Migrated:
    """Move the schema up to the newest or down one version, or to the one named.

    Raises Refused (a daemon has the store, a newer program wrote it), NotFound, Invalid.
    """
    with _held(settings) as database:
        with database.reading() as tx:
            schema.state(tx)
            found = schema.revision(tx)
        target = upgrade.step(found, direction, to)
        return upgrade.migrate(database, target, at, settings.state_dir / "backups")


@contextmanager
def _held(settings: Settings) -> Iterator[Database]:
    """The database, locked as a daemon would lock it."""
    database = Database(locate(settings.store, settings.state_dir))
    with ExitStack() as locks:
        locks.callback(database.dispose)
        lock(database, settings.state_dir, locks)
        if database.location.path is None:
            connection = database.connect()
            locks.callback(connection.close)
            lock_postgresql(Tx(connection.cursor(), database.dialect))
        yield database
