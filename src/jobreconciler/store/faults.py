"""What a driver's error means for the caller: try again, give up until a person acts, or a bug."""

from __future__ import annotations

import sqlite3
from typing import Any

from sqlalchemy.exc import DBAPIError

from jobreconciler.errors import Invalid, JobReconcilerError, Stalled, Transient

_UNSTORABLE = "a value holds what no database can: NUL, half a character, or too large a number"
_FREE_SPACE = "free some space where the store lies; nothing that was committed is lost"


def translate(error: BaseException) -> BaseException:
    """Our own error for a driver's one; every other error as it is."""
    if isinstance(error, DBAPIError) and error.orig is not None:
        error = error.orig
    if isinstance(error, JobReconcilerError):
        return error
    if isinstance(error, sqlite3.Error):
        return _caused_by(error, _of_sqlite(error))
    if isinstance(error, UnicodeEncodeError | OverflowError):
        return _caused_by(error, Invalid(_UNSTORABLE))
    if type(error).__module__.partition(".")[0] == "psycopg":
        return _caused_by(error, _of_postgresql(error))
    return error


def _caused_by(cause: BaseException, error: JobReconcilerError) -> JobReconcilerError:
    error.__cause__ = cause
    return error


def _of_sqlite(error: sqlite3.Error) -> JobReconcilerError:
    name = getattr(error, "sqlite_errorname", "") or ""
    if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        return Transient(
            "the store is locked by another process; nothing was written",
            reason="StoreBusy",
            hint="end whatever else has the store open, such as a sqlite3 shell in a transaction",
        )
    if name.startswith("SQLITE_FULL"):
        return Transient(
            "no space is left for the store; nothing was written",
            reason="DiskFull",
            hint=_FREE_SPACE,
        )
    if name.startswith("SQLITE_READONLY"):
        return Stalled(
            "the store cannot be written: its file or directory is read-only",
            reason="StoreReadOnly",
            hint="give this user the right to write to the state directory",
        )
    if name.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB")):
        return Stalled(
            f"the store is damaged: {error}",
            reason="StoreDamaged",
            hint="restore a backup with `jobreconciler restore`",
        )
    return Stalled(
        f"the store failed: {error} ({name or type(error).__name__})", reason="StoreError"
    )


def _of_postgresql(error: Any) -> JobReconcilerError:
    state: str = getattr(error, "sqlstate", None) or ""
    text = " ".join(str(error).split())
    if is_lost_connection(error):
        return Transient(f"the connection to PostgreSQL is lost: {text}", reason="StoreUnreachable")
    if type(error).__name__ == "DataError":
        return Invalid(_UNSTORABLE)
    if state == "55P03" or state.startswith("40"):
        return Transient(
            "the store is locked by another session; nothing was written",
            reason="StoreBusy",
            hint="end the session that holds the lock; pg_stat_activity names it",
        )
    if state == "53100":
        return Transient(
            "no space is left for the store; nothing was written",
            reason="DiskFull",
            hint=_FREE_SPACE,
        )
    if state == "25006":
        return Stalled(
            "the store cannot be written: PostgreSQL is read-only",
            reason="StoreReadOnly",
            hint="point --store at the primary server",
        )
    return Stalled(
        f"the store failed: {text} ({state or type(error).__name__})", reason="StoreError"
    )


def is_lost_connection(error: BaseException | None) -> bool:
    """Whether the session is gone, and with it the lock that made this the only writer."""
    while error is not None and type(error).__module__.partition(".")[0] != "psycopg":
        error = error.__cause__
    if error is None:
        return False
    state: str = getattr(error, "sqlstate", None) or ""
    if state.startswith(("08", "57P")):
        return True
    return not state and type(error).__name__ in ("OperationalError", "InterfaceError")


def is_foreign_key(error: BaseException) -> bool:
    """Whether a row named another one that isn't there."""
    if isinstance(error, sqlite3.IntegrityError):
        return getattr(error, "sqlite_errorname", "") == "SQLITE_CONSTRAINT_FOREIGNKEY"
    return getattr(error, "sqlstate", None) == "23503"
