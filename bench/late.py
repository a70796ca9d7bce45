"""How late a slot's job begins, with 10,000 `python` jobs a minute and somebody asking.

A real daemon, its `/metrics` and `/api/v1/status` asked once a second each. A job's beginning is
what its own code reads from the clock as its first act and returns as its result: later than the
daemon's claim, its row's `startedAt` and the supervisor's start, so nothing is left out. Lateness
is from the slot's jittered time to that. Spread are jobs by `jitterSeconds`, which knows
milliseconds; with a cron field alone, 167 of them are due at one instant, once a second.
"""

from __future__ import annotations

import json
import sqlite3
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench import fleet
from bench.daemon import asking
from jobreconciler.core import cron

JOBS = 10_000
JITTER = 59
"""Seconds; with 60 a job's slot could start after the next one's."""
MAX_RUNNING = 16
"""`--max-running`: as many as there are workers that wait; more than these are forked each time."""
WARM_UP_SECONDS = 10
SECONDS = 60
AT_ONCE_SECONDS = 20
SETTLE_SECONDS = 5
"""What began in the window has ended and been recorded by then, or is not on time anyway."""
PATHS = ("/metrics", "/api/v1/status")

P50_TARGET = 10
P99_TARGET = 50
"""Milliseconds."""

JOB = """\
meta:
  id: {job_id}
payload:
  jobType: python
  schedule: {{cronExpression: "{cron}", timezone: UTC, jitterSeconds: {jitter}}}
  limits: {{overlap: queue}}
  parameters: {{entryPoint: bench.jobs:began}}
"""


def measure() -> list[dict[str, Any]]:
    with tempfile.TemporaryDirectory() as folder:
        top = Path(folder)
        spread = _measured(fleet.apart(top), _spread(), JITTER, SECONDS)
        at_once = _measured(fleet.apart(top), _at_once(), 0, AT_ONCE_SECONDS)
    return [
        _row(f"{JOBS:,} a minute, spread by jitter", spread, f"≤ {P50_TARGET}, ≤ {P99_TARGET} ms"),
        _row(f"{JOBS // 60} at one instant, every second", at_once, None),
    ]


def _spread() -> Iterator[tuple[str, str]]:
    return _jobs(["* * * * *"], JITTER)


def _at_once() -> Iterator[tuple[str, str]]:
    return _jobs([f"{second} * * * * *" for second in range(60)], 0)


def _jobs(crons: Sequence[str], jitter: int) -> Iterator[tuple[str, str]]:
    for number in range(JOBS):
        cron_ = crons[number % len(crons)]
        text = JOB.format(job_id=_id(number), cron=cron_, jitter=jitter)
        yield f"jobs.d/team-{number % 50:02}/{_id(number)}.yaml", text


def _measured(
    work: Path, jobs: Iterator[tuple[str, str]], jitter: int, seconds: int
) -> list[float]:
    repo, state = fleet.make_repo(work / "fleet.git", jobs), work / "state"
    fleet.run(fleet.program("apply", "--repo", str(repo), "--state-dir", str(state)), work)
    with (
        fleet.daemon(repo, state, "--max-running", str(MAX_RUNNING)) as running,
        asking(running, PATHS) as failures,
    ):
        time.sleep(60 - time.time() % 60 + WARM_UP_SECONDS)  # new jobs owe nothing before
        began = time.time()
        time.sleep(seconds)
        ended = time.time()
        time.sleep(SETTLE_SECONDS)
    assert not failures, failures[:3]
    return _late(state, jitter, began, ended)


def _late(state: Path, jitter: int, began: float, ended: float) -> list[float]:
    """Milliseconds, of every slot whose time came in the window. One that has not begun by now, or
    made way for the next minute's, counts as if it began now."""
    now = time.time_ns()
    with closing(sqlite3.connect(f"file:{state}/store.db?mode=ro", uri=True)) as reader:
        query = "SELECT job_id, slot, result FROM job_executions WHERE result IS NOT NULL"
        found = {
            (job_id, slot // 1_000_000): json.loads(result)["beganNs"]
            for job_id, slot, result in reader.execute(query)
        }
        query = "SELECT count(*) FROM job_executions WHERE status NOT IN "
        query += "('queued', 'running', 'succeeded', 'cancelled')"
        assert reader.execute(query).fetchone()[0] == 0, "some failed or were skipped"
    return [
        (found.get((job_id, slot), now) - due * 1e9) / 1e6
        for job_id, slot, due in _slots(jitter, began, ended)
    ]


def _slots(jitter: int, began: float, ended: float) -> Iterator[tuple[str, int, float]]:
    """Job, slot and jittered start of all that were due in the window."""
    for minute in range(int(began) // 60 * 60 - 60, int(ended), 60):
        for number in range(JOBS):
            slot = minute if jitter else minute + number % 60
            instant, expression = datetime.fromtimestamp(slot, UTC), "* * * * *"
            if not jitter:
                expression = f"{number % 60} {expression}"
            at = cron.jittered(_id(number), instant, jitter, expression, "UTC")
            if began <= at.timestamp() < ended:
                yield _id(number), slot, at.timestamp()


def _id(number: int) -> str:
    return f"short-{number:05}"


def _row(what: str, late: Sequence[float], target: str | None) -> dict[str, Any]:
    p50, p99 = fleet.percentile(late, 0.5), fleet.percentile(late, 0.99)
    return {
        "what": f"lateness, {what}",
        "ours": f"p50 {p50:.1f}, p99 {p99:.0f} ms",
        "floor_or_peer": f"{len(late):,} slots, both pages asked every second",
        "ratio": None,
        "target": target,
        "ok": None if target is None else p50 <= P50_TARGET and p99 <= P99_TARGET,
    }
