"""A throw-away PostgreSQL: one cluster a session, one database a test, nothing left behind."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

REQUIRE = "JOBRECONCILER_TEST_REQUIRE"
"""Names, separated by commas, of what must not be skipped on this machine."""

_INSTALL = "apt-get install postgresql"
_START_SECONDS = 60


def binaries() -> Path | None:
    """Where the newest installed server's programs lie."""
    found = sorted(
        Path("/usr/lib/postgresql").glob("*/bin/postgres"),
        key=lambda path: int(path.parts[-3]) if path.parts[-3].isdigit() else 0,
    )
    if found:
        return found[-1].parent
    initdb = shutil.which("initdb")
    return Path(initdb).resolve().parent if initdb else None


def missing() -> str | None:
    """Why no cluster can be started here, or None."""
    if binaries() is None:
        return f"PostgreSQL's server is not installed ({_INSTALL})"
    if os.geteuid() == 0 and _account() is None:
        return f"PostgreSQL refuses to run as root, and there is no user postgres ({_INSTALL})"
    return None


def skip_or_fail(reason: str) -> None:
    """Leave the test out, unless this machine promised to have PostgreSQL."""
    if "postgresql" in os.environ.get(REQUIRE, "").split(","):
        pytest.fail(f"{reason}, but {REQUIRE} names postgresql")
    pytest.skip(reason)


def _account() -> str | None:
    try:
        return pwd.getpwnam("postgres").pw_name
    except KeyError:
        return None


class Cluster:
    """A running server on a Unix socket."""

    def __init__(self, folder: Path, process: subprocess.Popen[bytes]) -> None:
        self._folder = folder
        self.process = process
        self._count = 0

    def url(self, database: str) -> str:
        return f"postgresql://postgres@/{database}?host={self._folder}"

    def create(self) -> str:
        """A new, empty database's URL."""
        self._count += 1
        name = f"test_{self._count}"
        self.run(f"CREATE DATABASE {name}")
        return self.url(name)

    def run(self, sql: str) -> None:
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(sql)


@contextmanager
def cluster() -> Iterator[Cluster]:
    """Start a server, stop it, and remove its files. Only where `missing()` is None."""
    programs = binaries()
    assert programs is not None
    # Short and outside of pytest's folders: a socket's path has 107 bytes, and the user postgres
    # has to be let in.
    folder = Path(tempfile.mkdtemp(prefix="jr-pg-", dir="/tmp"))
    account = {"user": "postgres", "group": "postgres", "extra_groups": ()}
    as_user = account if os.geteuid() == 0 else {}
    if as_user:
        shutil.chown(folder, "postgres", "postgres")
    folder.chmod(0o755)
    log = (folder / "log").open("wb")
    process = None
    try:
        subprocess.run(
            [
                programs / "initdb",
                f"--pgdata={folder / 'data'}",
                "--username=postgres",
                "--auth=trust",
                "--encoding=UTF8",
                "--no-sync",
                # A collation that is not byte order, as most servers have.
                "--locale=C.UTF-8",
                "--locale-provider=icu",
                "--icu-locale=en-US",
            ],
            check=True,
            stdout=log,
            stderr=log,
            cwd="/",
            **as_user,  # type: ignore[call-overload]
        )
        process = subprocess.Popen(
            [
                programs / "postgres",
                *("-D", folder / "data"),
                *("-k", folder),
                *("-c", "listen_addresses="),
                # Nothing here outlives the session.
                *("-c", "fsync=off"),
                *("-c", "full_page_writes=off"),
            ],
            stdout=log,
            stderr=log,
            cwd="/",
            **as_user,  # type: ignore[call-overload]
        )
        started = Cluster(folder, process)
        _wait(started, folder / "log")
        yield started
    finally:
        if process is not None:
            # At once: its files are about to be removed.
            process.send_signal(signal.SIGQUIT)
            process.wait(60)
        log.close()
        shutil.rmtree(folder)


def _wait(started: Cluster, log: Path) -> None:
    give_up = time.monotonic() + _START_SECONDS
    while True:
        try:
            started.run("SELECT 1")
            return
        except psycopg.OperationalError:
            if started.process.poll() is not None or time.monotonic() > give_up:
                raise AssertionError(f"PostgreSQL did not start:\n{log.read_text()}") from None
            time.sleep(0.05)
