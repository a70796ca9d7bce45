"""What a person does to a whole store while no daemon has it: migrate it, restore it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from jobreconciler.ports import Clock
from jobreconciler.store import schema
from jobreconciler.store.backup import Backup, inspect, restore
from jobreconciler.store.engine import Database, locate, missing
from jobreconciler.store.lock import lock_postgresql
from jobreconciler.store.opening import lock
from jobreconciler.store.sql import Tx
from jobreconciler.store.upgrade import Migrated, migrate, step


@dataclass(frozen=True, slots=True)
class Restored:
    """What was put in place, and where SQLite's replaced file was kept."""

    backup: Backup
    kept: Path | None


def migrate_store(
    url: str | None,
    state_dir: Path,
    clock: Clock,
    direction: Literal["up", "down"] = "up",
    to: str | None = None,
) -> Migrated:
    """Move the schema up to the newest version, down by one, or to the version named.

    Raises Refused (a daemon has the store, a newer program wrote it), NotFound, Invalid.
    """
    with _alone(url, state_dir) as database:
        path = database.location.path
        if path is not None and not path.exists():
            raise missing(path)
        with database.reading() as tx:
            schema.state(tx)
            found = schema.revision(tx)
        target = step(found, direction, to)
        return migrate(database, target, clock.now(), state_dir / "backups")


def restore_store(
    source: Path, url: str | None, state_dir: Path, clock: Clock, *, catch_up: bool = False
) -> Restored:
    """Put a backup in the store's place. Watermarks move to now unless `catch_up`.

    Raises Refused (a daemon has the store), NotFound, Invalid (no whole backup), Stalled.
    """
    found = inspect(source)
    with _alone(url, state_dir) as database:
        return Restored(found, restore(source, database, clock.now(), catch_up=catch_up))


@contextmanager
def _alone(url: str | None, state_dir: Path) -> Iterator[Database]:
    """The store, locked as a daemon locks it."""
    database = Database(locate(url, state_dir), application="jobreconciler maintenance")
    with ExitStack() as resources:
        resources.callback(database.dispose)
        lock(database, state_dir, resources)
        if database.location.path is None:
            session = database.connect()
            resources.callback(session.close)
            lock_postgresql(Tx(session.cursor(), database.dialect))
        yield database
