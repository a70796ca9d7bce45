"""kill -9 of the daemon, again and again: nothing is lost, runs twice or stays behind.

A short version runs with the other tests; `make soak` runs it for hundreds of kills
(SOAK_KILLS=N). Slots are a second apart; jobs sleep, fail, are tried again, and overlap.
"""

from __future__ import annotations

import json
import os
import random
import sqlite3
import time
from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest

from e2e.running import Running, until
from jobreconciler.clock import SystemClock
from jobreconciler.store.opening import open_store

KILLS = int(os.environ.get("SOAK_KILLS", "6"))
SEED = int(os.environ.get("SOAK_SEED", "1"))

JOBS = {
    "tick": ("* * * * * *", "catchUp: latest", "maxConcurrent: 20", "maxAttempts: 1", "true"),
    "every": ("* * * * * *", "catchUp: all", "maxConcurrent: 20", "maxAttempts: 1", "true"),
    "none": ("* * * * * *", "catchUp: none", "maxConcurrent: 20", "maxAttempts: 1", "true"),
    "slow": ("*/3 * * * * *", "catchUp: latest", "overlap: skip", "maxAttempts: 1", "sleep 2"),
    "flaky": (
        "*/2 * * * * *",
        "catchUp: latest",
        "maxConcurrent: 20",
        "maxAttempts: 3, initialDelay: 1s, backoffStrategy: fixed",
        "[ $JOBRECONCILER_ATTEMPT -ge 2 ]",
    ),
}


def job(name: str, marks: Path) -> str:
    cron, catch_up, limits, retry, command = JOBS[name]
    return f"""\
meta:
  id: {name}
payload:
  jobType: command
  schedule: {{cronExpression: "{cron}", {catch_up}}}
  limits: {{{limits}}}
  retry: {{{retry}}}
  parameters:
    shell: |
      echo "$JOBRECONCILER_EXECUTION $JOBRECONCILER_ATTEMPT $JOBRECONCILER_SLOT" >> {marks}/{name}
      {command}
"""


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Running]:
    made = Running(tmp_path)
    yield made
    made.close()


def test_kills_at_random_instants_lose_and_repeat_nothing(daemon: Running) -> None:
    rng = random.Random(SEED)
    daemon.repo.write({f"jobs.d/{name}.yaml": job(name, daemon.path) for name in JOBS})
    daemon.repo.commit("jobs")
    for _ in range(KILLS):
        daemon.start(ready=False)
        time.sleep(rng.uniform(0.2, 4.0))
        daemon.kill()
        time.sleep(rng.choice((0.0, 0.0, 1.5)))
    daemon.start()
    until(lambda: any_success(daemon, "flaky"), "a try that succeeds")
    assert daemon.stop() == 0
    until(lambda: not left_behind(daemon), "the last runs to end")
    daemon.start()
    assert daemon.stop() == 0
    until(lambda: not left_behind(daemon), "the last runs to end")

    connection = sqlite3.connect(daemon.state / "store.db")
    for name in JOBS:
        each_slot_is_accounted_for_once(connection, name)
        each_attempt_ran_once(connection, daemon.path, name)
    assert statuses(connection, "tick") <= {"succeeded", "missed", "queued", "running", "lost"}
    connection.close()
    store = open_store(None, daemon.state, SystemClock(), read_only=True)
    assert store.audit_break() is None
    assert store.drifted() == []
    store.close()


def any_success(daemon: Running, name: str) -> bool:
    return any(e["status"] == "succeeded" for e in daemon.executions(name))


def left_behind(daemon: Running) -> list[str]:
    """Processes of this test's state directory that still live, supervisors included."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            environ = (entry / "environ").read_bytes()
            command = (entry / "cmdline").read_bytes()
        except OSError:
            continue
        if b"JOBRECONCILER_EXECUTION=" in environ and str(daemon.path).encode() in command:
            found.append(command.decode(errors="replace"))
    return found


def each_slot_is_accounted_for_once(connection: sqlite3.Connection, name: str) -> None:
    """From the first slot to the last one handled: one execution, or in one missed row."""
    step = {"slow": 3, "flaky": 2}.get(name, 1)
    rows = connection.execute(
        "SELECT trigger, missed_from, missed_to, missed_count FROM job_executions WHERE job_id = ?",
        (name,),
    ).fetchall()
    seconds: Counter[int] = Counter()
    for trigger, first, last, count in rows:
        if first is not None:
            covered = range(first // 1_000_000, last // 1_000_000 + 1, step)
            assert len(covered) == count
            seconds.update(covered)
        else:
            seconds[slot_of(trigger)] += 1
    assert seconds, f"{name} never came to a slot"
    assert set(seconds.values()) == {1}, f"{name}: a slot is in two rows"
    whole = range(min(seconds), max(seconds) + 1, step)
    assert sorted(seconds) == list(whole), f"{name}: a slot is in no row"


def slot_of(trigger: str) -> int:
    slot = json.loads(trigger)["slot"]
    if isinstance(slot, int):
        return slot // 1_000_000
    return int(datetime.fromisoformat(slot).timestamp())


def each_attempt_ran_once(connection: sqlite3.Connection, marks: Path, name: str) -> None:
    """Each (execution, attempt) left one mark at most, and each that succeeded left one."""
    lines = [line.split() for line in (marks / name).read_text().splitlines()]
    ran = Counter((execution, int(attempt)) for execution, attempt, _ in lines)
    twice = [key for key, count in ran.items() if count > 1]
    assert not twice, f"{name}: {twice} ran twice"
    slots = Counter(slot for _, attempt, slot in lines if attempt == "1")
    assert set(slots.values()) <= {1}, f"{name}: a slot ran twice"
    done = connection.execute(
        "SELECT e.id, a.number FROM job_executions e JOIN execution_attempts a "
        "ON a.execution_id = e.id WHERE e.job_id = ? AND a.exit_code = 0",
        (name,),
    ).fetchall()
    assert done, f"{name} never succeeded"
    assert {tuple(row) for row in done} <= set(ran), f"{name}: a success left no mark"


def statuses(connection: sqlite3.Connection, name: str) -> set[str]:
    rows = connection.execute(
        "SELECT DISTINCT status FROM job_executions WHERE job_id = ?", (name,)
    ).fetchall()
    return {status for (status,) in rows}
