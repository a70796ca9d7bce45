"""Moving a store's schema up and down. The only place that imports Alembic."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from jobreconciler.errors import Invalid, Refused
from jobreconciler.store import schema
from jobreconciler.store.backup import backup_sqlite
from jobreconciler.store.engine import Database
from jobreconciler.store.migrations import HEAD, REVISIONS

EMPTY = "base"


@dataclass(frozen=True, slots=True)
class Migrated:
    """What a migration did. `backup` is the copy made before it, for SQLite."""

    before: str | None
    after: str
    backup: Path | None = None


def step(found: str | None, direction: str, to: str | None = None) -> str:
    """The version to move to: the newest, or the one below, or the one named. Raises Invalid."""
    at = REVISIONS.index(found) if found is not None else -1
    if to is not None:
        if to not in REVISIONS:
            raise Invalid(f"schema {to!r} is not known; there are {', '.join(REVISIONS)}")
        if (REVISIONS.index(to) < at) != (direction == "down") and REVISIONS.index(to) != at:
            raise Invalid(f"schema {to} is not {direction} from {found or 'an empty database'}")
        return to
    if direction == "up":
        return HEAD
    if at <= 0:
        raise Refused(
            f"schema {found} is the first one; below it there would be no store",
            hint="to begin anew, remove the database yourself",
        )
    return REVISIONS[at - 1]


def migrate(database: Database, target: str, at: datetime, backups: Path) -> Migrated:
    """Bring the schema to `target`, a version or `base`, in one transaction.

    SQLite is copied to `backups` first. Whoever calls holds the store's lock.
    """
    with database.reading() as tx:
        before = schema.revision(tx)
    if before == target:
        return Migrated(before, target)
    copy = None
    if database.location.path is not None and before is not None:
        copy = backups / f"store-{before}-{at:%Y%m%dT%H%M%S%f}.db"
        backups.mkdir(mode=0o700, parents=True, exist_ok=True)
        backup_sqlite(database.location.path, copy)
    run(database, before, target, at)
    return Migrated(before, target, copy)


def run(database: Database, before: str | None, target: str, at: datetime) -> None:
    """Run the scripts between two versions, in one transaction."""
    from alembic import command
    from alembic.config import Config

    versions = (EMPTY, *REVISIONS)
    down = versions.index(target) < versions.index(before or EMPTY)
    with schema.ddl(database) as connection:
        config = Config()
        config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
        config.set_main_option("path_separator", "os")
        config.attributes["connection"] = connection
        if down:
            command.downgrade(config, target)
        else:
            command.upgrade(config, target)
        if target != EMPTY:
            schema.sign(connection, database, at)
