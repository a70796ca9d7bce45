"""A daemon at work whose store cannot be written for a while: it says so and loses nothing."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import time
import urllib.error
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest

from e2e.running import Running, until

from .fleet import Fleet, running

BUSY_SECONDS = 10.0


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 24 MiB for the state directory, where the machine permits it."""
    state = tmp_path / "state"
    state.mkdir(mode=0o700)
    if os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("only root may mount a small file system")
    options = ["-t", "tmpfs", "-o", "size=24m,mode=700", "tmpfs", str(state)]
    if subprocess.run(["mount", *options], capture_output=True, check=False).returncode != 0:
        pytest.skip("this machine lets nobody mount a file system")
    yield state
    subprocess.run(["umount", "--lazy", str(state)], check=True)


def fill(disk: Path) -> None:
    """Take every block that is left."""
    with suppress(OSError), (disk / "ballast").open("ab", buffering=0) as ballast:
        while True:
            ballast.write(b"\0" * 65536)


def hindered(daemon: Running) -> str | None:
    """What `status` warns of."""
    answer = daemon.cli("status", "-o", "json")
    assert answer.returncode == 0, answer.stderr
    warnings: list[str] = json.loads(answer.stdout)["warnings"]
    return next((each for each in warnings if "not ready" in each), None)


def unready(daemon: Running) -> str | None:
    """What /readyz says is in the way."""
    try:
        daemon.get("/readyz")
    except urllib.error.HTTPError as error:
        with error:
            return str(json.loads(error.read())["message"])
    return None


def at_work(daemon: Running) -> Fleet:
    fleet = running(daemon)
    until(lambda: succeeded(daemon) >= 2, "runs that succeed")
    return fleet


def succeeded(daemon: Running) -> int:
    return sum(each["status"] == "succeeded" for each in daemon.executions("tick"))


def goes_on(fleet: Fleet) -> None:
    """It is ready again, and everything that must hold does."""
    daemon = fleet.daemon
    until(lambda: unready(daemon) is None, "the daemon to be ready again")
    before = succeeded(daemon)
    until(lambda: succeeded(daemon) > before, "a run afterwards")
    assert hindered(daemon) is None
    fleet.come_to_rest()
    fleet.check()


@pytest.mark.usefixtures("small_disk")
def test_a_disk_that_is_full_for_a_while(daemon: Running) -> None:
    """Output, results and commits share it; what could not be written then is written later."""
    fleet = at_work(daemon)
    fill(daemon.state)
    said = until(lambda: unready(daemon), "the daemon to say so")
    assert "no space is left" in said or "store" in said
    assert hindered(daemon) is not None
    time.sleep(3)
    (daemon.state / "ballast").unlink()
    goes_on(fleet)


def test_a_store_that_is_locked_for_ten_seconds(daemon: Running) -> None:
    fleet = at_work(daemon)
    with closing(sqlite3.connect(daemon.state / "store.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        until_ = time.monotonic() + BUSY_SECONDS
        said = until(lambda: unready(daemon), "the daemon to say so")
        assert "locked" in said
        time.sleep(max(0.0, until_ - time.monotonic()))
        other.execute("ROLLBACK")
    goes_on(fleet)
