"""Copies of a store that are whole, made while it is written, and the way back from them."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from sqlalchemy import URL

from jobreconciler.errors import Invalid, NotFound, Refused, Stalled
from jobreconciler.store.engine import SECRET_OPTIONS, Database, Location
from jobreconciler.store.faults import translate
from jobreconciler.store.migrations import HEAD, REVISIONS
from jobreconciler.store.rows import micros

PAGES_A_STEP = 256
_PG_CUSTOM_DUMP = b"PGDMP"
_SQLITE_FILE = b"SQLite format 3\0"
_CATCH_DOWN = "UPDATE job_states SET watermark = {at} WHERE watermark IS NULL OR watermark < {at}"


@dataclass(frozen=True, slots=True)
class Backup:
    """What a backup file holds. The figures are unknown (None) for a PostgreSQL dump."""

    path: Path
    kind: str
    schema: str | None = None
    program_version: str | None = None
    jobs: int | None = None
    executions: int | None = None


def backup(location: Location, target: Path) -> None:
    """Copy the store to a new file. Raises Refused where it exists, Stalled where it can't."""
    if target.exists():
        raise Refused(f"{target} exists already", hint="name a file that doesn't exist yet")
    if location.path is not None:
        backup_sqlite(location.path, target)
        return
    with _whole(target) as partial:
        _pg("pg_dump", "--format=custom", "--no-owner", f"--file={partial}", location=location)


def backup_sqlite(source: Path, target: Path) -> None:
    """Copy page by page from one snapshot, so that writers neither wait nor show up in it."""
    try:
        with (
            _whole(target) as partial,
            closing(sqlite3.connect(f"{source.as_uri()}?mode=ro", uri=True)) as original,
            closing(sqlite3.connect(partial)) as copy,
        ):
            # An open read transaction: without it every foreign commit restarts the copy.
            original.execute("BEGIN")
            original.execute("SELECT count(*) FROM sqlite_master").fetchone()
            original.backup(copy, pages=PAGES_A_STEP, sleep=0)
            copy.execute("PRAGMA journal_mode = DELETE")
    except sqlite3.Error as error:
        raise translate(error) from error


@contextmanager
def _whole(target: Path) -> Iterator[Path]:
    """A file beside `target`, for its owner's eyes only, that takes its place at the end of the
    block. Where that is not reached, nothing is left of it. Raises Stalled."""
    partial = target.with_name(target.name + ".partial")
    try:
        partial.unlink(missing_ok=True)
        os.close(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        yield partial
        partial.rename(target)
        _sync_directory(target.parent)
    except OSError as error:
        raise Stalled(f"the backup {target} cannot be written: {error.strerror}") from error
    finally:
        with suppress(OSError):
            partial.unlink()


def inspect(path: Path) -> Backup:
    """Check that a file is a whole backup this program can restore. Raises NotFound, Invalid."""
    try:
        with path.open("rb") as file:
            start = file.read(16)
    except FileNotFoundError:
        raise NotFound(f"there is no file {path}") from None
    except OSError as error:
        raise Invalid(f"{path} cannot be read: {error.strerror}") from None
    if start.startswith(_PG_CUSTOM_DUMP):
        return Backup(path, "postgresql")
    if start != _SQLITE_FILE:
        raise Invalid(f"{path} is no backup of a store: neither SQLite nor a dump of PostgreSQL")
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as found:
            return _inspect_sqlite(path, found)
    except sqlite3.Error as error:
        raise Invalid(f"{path} is damaged: {error}") from None


def _inspect_sqlite(path: Path, found: sqlite3.Connection) -> Backup:
    (verdict,) = found.execute("PRAGMA integrity_check(1)").fetchone()
    if verdict != "ok":
        raise Invalid(f"{path} is damaged: {verdict}")
    tables = {name for (name,) in found.execute("SELECT name FROM sqlite_master")}
    if not {"alembic_version", "store_meta"} <= tables:
        raise Invalid(f"{path} is an SQLite file, but no store of jobreconciler")
    (schema,) = found.execute("SELECT version_num FROM alembic_version").fetchone()
    (version,) = found.execute("SELECT program_version FROM store_meta").fetchone()
    if schema not in REVISIONS:
        raise Invalid(
            f"{path} was written by jobreconciler {version} (schema {schema}); "
            f"this one reads schemas up to {HEAD}",
            hint=f"restore it with jobreconciler {version} or later",
        )
    (jobs,) = found.execute("SELECT count(*) FROM job_configs WHERE deleted_at IS NULL").fetchone()
    (executions,) = found.execute("SELECT count(*) FROM job_executions").fetchone()
    return Backup(path, "sqlite", schema, version, jobs, executions)


def restore(
    found: Backup, database: Database, at: datetime, *, catch_up: bool = False
) -> Path | None:
    """Put a backup that `inspect` found whole in the store's place; whoever calls holds its lock.

    Watermarks move to `at`, so that slots since the backup are not run now, unless `catch_up`.
    Returns where SQLite's replaced file was kept. Raises Refused, Stalled.
    """
    location = database.location
    wanted = "sqlite" if location.path is not None else "postgresql"
    if found.kind != wanted:
        raise Refused(f"{found.path} is a backup of {found.kind}, but the store is {wanted}")
    if location.path is not None:
        return _restore_sqlite(found.path, location.path, at, catch_up)
    _restore_postgresql(found.path, database, at, catch_up)
    return None


def _restore_sqlite(source: Path, path: Path, at: datetime, catch_up: bool) -> Path | None:
    incoming = path.with_name(path.name + ".incoming")
    incoming.unlink(missing_ok=True)
    backup_sqlite(source.absolute(), incoming)
    if not catch_up:
        with closing(sqlite3.connect(incoming)) as copy, copy:
            copy.execute(_CATCH_DOWN.format(at=micros(at)))
    kept = None
    if path.exists():
        kept = path.with_name(f"{path.name}.before-restore-{at:%Y%m%dT%H%M%S%f}")
        # Through the backup API: what is still in the write-ahead log belongs to it as well.
        backup_sqlite(path, kept)
    for leftover in ("-wal", "-shm"):
        path.with_name(path.name + leftover).unlink(missing_ok=True)
    incoming.rename(path)
    _sync_directory(path.parent)
    with closing(sqlite3.connect(path)) as restored:
        restored.execute("PRAGMA journal_mode = WAL")
    return kept


def _restore_postgresql(source: Path, database: Database, at: datetime, catch_up: bool) -> None:
    """In two transactions: pg_restore's own, then the watermarks'. Whoever is killed in between has
    a whole store that owes the slots since the backup; restoring once more settles them."""
    _pg(
        "pg_restore",
        "--clean",
        "--if-exists",
        "--no-owner",
        "--single-transaction",
        "--exit-on-error",
        "--dbname={uri}",
        str(source),
        location=database.location,
    )
    if not catch_up:
        with closing(database.connect()) as connection:
            connection.execute(_CATCH_DOWN.format(at=micros(at)))


def _pg(program: str, *arguments: str, location: Location) -> None:
    """Run one of PostgreSQL's own programs. The password goes by environment, never by argument."""
    found = shutil.which(program)
    if found is None:
        raise Refused(
            f"{program} is not installed; PostgreSQL's own program makes and reads its dumps",
            reason="ProgramMissing",
            hint="install PostgreSQL's client programs (apt-get install postgresql-client)",
        )
    uri, password = _without_password(location.url)
    filled = [argument.replace("{uri}", uri) for argument in arguments]
    if program == "pg_dump":
        filled.append(f"--dbname={uri}")
    environment = {**os.environ}
    if password is not None:
        environment["PGPASSWORD"] = password
    done = subprocess.run(
        [found, "--no-password", *filled],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise Stalled(f"{program} failed: {' '.join(done.stderr.split())[:500]}", reason="PgFailed")


def _without_password(url: URL) -> tuple[str, str | None]:
    """The URL as PostgreSQL's programs read it, and the password apart: every user of the machine
    sees their arguments. Raises Refused for a secret that they take in no other way."""
    if "sslpassword" in url.query:
        raise Refused(
            "the store's URL has an sslpassword, which PostgreSQL's programs take as an argument "
            "only, where every user of this machine would see it",
            reason="SecretArgument",
            hint="name a URL whose sslkey has no passphrase, or copy the database by other means",
        )
    asked = url.query.get("password")
    # Where the URL has two, the driver takes the option.
    password = (asked[-1] if isinstance(asked, tuple) else asked) or url.password
    # `set` and `_replace` differ: None means nothing to the first, and the password would stay.
    plain = url._replace(drivername="postgresql", password=None)
    shown = plain.difference_update_query(SECRET_OPTIONS).render_as_string(hide_password=False)
    return shown, password


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
