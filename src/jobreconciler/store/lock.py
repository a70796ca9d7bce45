"""One writer a store: a locked file for SQLite, an advisory lock for PostgreSQL.

Both end with the process that holds them, however it ends.
"""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path

from jobreconciler.errors import Refused, Stalled
from jobreconciler.store.sql import Statement, Tx

LOCK_KEY = 0x6A6F62726563
"""PostgreSQL's advisory lock of the one writer ("jobrec")."""

LOCK_SECONDS = 1.0
"""PostgreSQL needs a moment to notice that a killed daemon's session is gone."""

_TRY_LOCK = Statement("SELECT pg_try_advisory_lock(:key)")
_HOLDER = Statement(
    "SELECT a.application_name, a.pid FROM pg_locks l JOIN pg_stat_activity a USING (pid) "
    "WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1 "
    "AND ((CAST(l.classid AS bigint) << 32) | CAST(l.objid AS bigint)) = :key "
    "AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())"
)


class FileLock:
    """Holds `path` until closed or until the process ends, however it ends."""

    def __init__(self, path: Path) -> None:
        """Raises Refused, naming the holder, where another process has it."""
        try:
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise not_writable(path.parent, error) from error
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(self._descriptor, 32, 0).decode("ascii", "replace").strip()
            os.close(self._descriptor)
            raise in_use(f"process {holder}" if holder else "another process") from None
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, f"{os.getpid()}\n".encode(), 0)

    def close(self) -> None:
        if self._descriptor >= 0:
            os.ftruncate(self._descriptor, 0)
            os.close(self._descriptor)
            self._descriptor = -1


def is_locked(path: Path) -> bool:
    """Whether a process holds a FileLock.

    One that was let go of in good order is only read: trying it could keep out a daemon that
    starts just then.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        if os.pread(descriptor, 1, 0):
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def not_writable(directory: Path, error: OSError) -> Stalled:
    return Stalled(
        f"{directory} cannot be written: {error.strerror}",
        reason="StoreReadOnly",
        hint="give this user the right to write there, or name another --state-dir",
    )


def in_use(holder: str) -> Refused:
    return Refused(
        f"the store is in use by {holder}",
        reason="StoreInUse",
        hint="a daemon that has it is asked by `jobreconciler reconcile` and `gc` (--server names "
        "it); for all else stop it first",
    )


def is_locked_postgresql(tx: Tx) -> bool:
    return tx.one(_HOLDER, {"key": LOCK_KEY}) is not None


def lock_postgresql(tx: Tx) -> None:
    """Take the advisory lock for as long as the session lives. Raises Refused: who has it."""
    give_up = time.monotonic() + LOCK_SECONDS
    while not _locked(tx):
        if time.monotonic() > give_up:
            holder = tx.one(_HOLDER, {"key": LOCK_KEY})
            name, pid = holder or ("another session", "?")
            raise in_use(f"{name or 'another program'} (PostgreSQL session {pid})")
        time.sleep(0.05)


def _locked(tx: Tx) -> bool:
    row = tx.one(_TRY_LOCK, {"key": LOCK_KEY})
    return row is not None and bool(row[0])
