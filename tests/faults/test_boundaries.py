"""kill -9 of the daemon right before and right after each of its commits and hand-overs.

The daemon is started by `killed_at.py`, which ends it at the boundary that a test names. A short
version runs with the other tests; `make soak` runs all of them several times (SOAK_ROUNDS=N).
"""

from __future__ import annotations

import json
import os
import sqlite3
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing, suppress
from datetime import timedelta
from pathlib import Path

import pytest

from e2e.running import Running
from jobreconciler import boundaries
from jobreconciler.clock import SystemClock

from .fleet import Fleet, running
from .killing import KilledAt, died

ROUNDS = int(os.environ.get("SOAK_ROUNDS", "0"))

COMMITS = (
    "apply",
    "observed",
    "release_all",
    "release",
    "release_once",
    "release_dependent",
    "start_attempts",
    "retry_later",
    "finish_all",
    "skip_slots",
    "miss_queued",
    "cancel_queued",
    "set_source",
    "unclaim_all",
    "settle_dependency",
    "suspend",
    "lift",
    "approve",
)
"""By the method of the store that makes them. Those that tell people of anything are in
test_notices.py."""
ONCE = ("unclaim_all", "settle_dependency", "set_source", "release_once")
"""Passed once a start, if at all."""
HAND_OVERS = (boundaries.BEFORE_LAUNCH, boundaries.AFTER_LAUNCH, boundaries.OUTCOME_READ)
ALL = (*(f"{when} {commit}" for commit in COMMITS for when in ("before", "after")), *HAND_OVERS)
SHORT = (
    "after apply",
    "before release_all",
    "after release_all",
    boundaries.BEFORE_LAUNCH,
    boundaries.AFTER_LAUNCH,
    "before finish_all",
    "after finish_all",
    "after retry_later",
    "after release_dependent",
)
PLAN = [
    (name, 1 if name.endswith(ONCE) else count) for count in range(1, ROUNDS + 1) for name in ALL
] or [(name, 1) for name in SHORT]
assert set(SHORT) <= set(ALL)


@pytest.fixture
def daemon(tmp_path: Path) -> KilledAt:
    return KilledAt(tmp_path)


def test_a_kill_at_any_boundary_loses_and_repeats_nothing(daemon: KilledAt) -> None:
    fleet = running(daemon)
    daemon.kill()
    keys = 0
    try:
        for name, count in PLAN:
            prepare(fleet, name)
            daemon.boundary = (name, count)
            fleet.start(ready=False)
            if "release_once" in name:
                keys += 1
            ask_until_it_dies(fleet, name, f"key-{keys}")
            died(daemon, name)
            if "source" in name:
                (daemon.path / "away").rename(daemon.repo.path)
        daemon.boundary = None
        if keys:
            ask_again(fleet, keys)
        fleet.come_to_rest()
        fleet.check()
        if keys:
            assert_each_key_ran_once(daemon, keys)
    finally:
        if daemon.process is not None:
            daemon.kill()


def prepare(fleet: Fleet, name: str) -> None:
    """What has to be so for a daemon that starts now to come to this boundary."""
    daemon = fleet.daemon
    assert isinstance(daemon, KilledAt)
    if "source" in name:
        fleet.commit("none")
        daemon.repo.path.rename(daemon.path / "away")
    if name == "before settle_dependency":
        now = (daemon.repo.path / "jobs.d/after.yaml").read_text()
        fleet.follow("every" if "jobs: [tick]" in now else "tick")
    if name == "before unclaim_all":
        daemon.boundary = (boundaries.BEFORE_LAUNCH, 1)
        fleet.start(ready=False)
        died(daemon, f"{boundaries.BEFORE_LAUNCH}, for {name}")


def ask(daemon: Running, key: str) -> str | None:
    """The execution that a request for `tick` released."""
    with suppress(OSError, ValueError):
        asked = {"reason": key}
        status, body = daemon.post("/api/v1/jobs/tick/trigger", asked, key=key)
        if status == 202:
            return str(body["id"])
    return None


def ask_until_it_dies(fleet: Fleet, name: str, key: str) -> None:
    """For what this boundary takes; not at all where a daemon comes to it by itself."""
    daemon = fleet.daemon
    assert daemon.process is not None
    asked = name.partition(" ")[2]
    requests: dict[str, Callable[[], object]] = {
        "apply": lambda: change(fleet),
        "observed": lambda: change(fleet),
        "release": lambda: backfill(daemon),
        "release_once": lambda: ask(daemon, key),
        "suspend": lambda: stop_and_go(daemon),
        "lift": lambda: stop_and_go(daemon),
        "approve": lambda: approve(daemon),
    }
    while asked in requests and daemon.process.poll() is None:
        requests[asked]()


def change(fleet: Fleet) -> None:
    fleet.commit("none")
    time.sleep(0.2)


def backfill(daemon: Running) -> None:
    """A slot of a year ago: backfilled ones are released one by one."""
    with suppress(OSError, ValueError):
        slot = (SystemClock().now() - timedelta(days=365)).isoformat(timespec="seconds")
        daemon.post("/api/v1/jobs/none/backfill", {"from": slot, "to": slot})


def stop_and_go(daemon: Running) -> None:
    """One job's slots become skipped ones for a moment."""
    for verb in ("suspend", "resume"):
        with suppress(OSError, ValueError):
            daemon.post(f"/api/v1/jobs/none/{verb}", {"reason": "for the test"})


def approve(daemon: Running) -> None:
    with suppress(OSError, ValueError):
        daemon.post("/api/v1/prune-approvals", {"revision": daemon.repo.git("rev-parse", "HEAD")})


def ask_again(fleet: Fleet, keys: int) -> None:
    """As a client does that never got its answer."""
    fleet.start()
    for number in range(1, keys + 1):
        first = ask(fleet.daemon, f"key-{number}")
        assert first is not None
        assert ask(fleet.daemon, f"key-{number}") == first
    fleet.daemon.kill()


def assert_each_key_ran_once(daemon: Running, keys: int) -> None:
    with closing(sqlite3.connect(daemon.state / "store.db")) as connection:
        rows = connection.execute(
            "SELECT trigger FROM job_executions WHERE job_id = 'tick' AND trigger_type = 'manual'"
        ).fetchall()
    reasons = Counter(json.loads(text)["reason"] for (text,) in rows)
    assert reasons == {f"key-{number}": 1 for number in range(1, keys + 1)}
