"""A daemon is killed with 1,000 jobs running and started again: how fast it has them back.

Times are from the log's `store_open` to its `adopted`, when each process is watched again, and to
its `resumed`, when all that was left is known, before the first look at git. Afterwards every job
has to have ended well at its first attempt: none was lost, none was started twice.
"""

from __future__ import annotations

import json
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench import fleet
from bench.fleet import Daemon

JOBS = 1_000
RESTARTS = 3
STARTING_SECONDS = 20
ENOUGH_SECONDS = 90
RUN_SECONDS = 75
"""Of a job: longer than all restarts together."""
TARGET = 200
"""Milliseconds."""

JOB = """\
meta:
  id: long-{number:04}
payload:
  jobType: command
  schedule: {{cronExpression: "{cron}", timezone: UTC}}
  parameters: {{argv: [/bin/sleep, "{seconds}"]}}
"""


def measure() -> list[dict[str, Any]]:
    with tempfile.TemporaryDirectory() as folder:
        work = fleet.apart(Path(folder))
        at = datetime.fromtimestamp(int(time.time()) + STARTING_SECONDS, UTC)
        cron = f"{at.second} {at.minute} {at.hour} {at.day} * *"
        repo, state = fleet.make_repo(work / "fleet.git", _jobs(cron)), work / "state"
        fleet.run(fleet.program("apply", "--repo", str(repo), "--state-dir", str(state)), work)
        flags = ("--max-running", str(JOBS))
        running = Daemon(repo, state, *flags)
        took = []
        try:
            running.wait_until_ready()
            _wait_for_children(running)
            for _ in range(RESTARTS):
                running.kill()
                before = running.log.stat().st_size
                running = Daemon(repo, state, *flags)
                took.append(_adopting(running, before))
            _wait_for_ends(state)
        finally:
            running.stop()
        _none_twice(state)
    adopted, resumed = zip(*took, strict=True)
    return [
        {
            "what": f"killed and started again with {JOBS:,} children: all re-adopted",
            "ours": _spread(adopted),
            "floor_or_peer": f"{JOBS:,} of {JOBS:,} ended well, once",
            "ratio": None,
            "target": f"≤ {TARGET} ms after the store is open",
            "ok": max(adopted) <= TARGET,
        },
        {
            "what": "the same: and all that the store knows of them read",
            "ours": _spread(resumed),
            "floor_or_peer": None,
            "ratio": None,
            "target": None,
            "ok": None,
        },
    ]


def _spread(took: Sequence[float]) -> str:
    return f"{statistics.median(took):.0f} ms, slowest of {len(took)} {max(took):.0f}"


def _jobs(cron: str) -> Iterator[tuple[str, str]]:
    for number in range(JOBS):
        text = JOB.format(number=number, cron=cron, seconds=RUN_SECONDS)
        yield f"jobs.d/team-{number % 20:02}/long-{number:04}.yaml", text


def _wait_for_children(running: Daemon) -> None:
    """An execution is `running` in the store before it has a process: these are the processes."""
    until = time.monotonic() + ENOUGH_SECONDS
    while (count := sum(map(_sleeps, running.family()))) < JOBS:
        assert time.monotonic() < until, f"{count} of {JOBS} run"
        time.sleep(0.5)


def _sleeps(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/comm").read_text() == "sleep\n"
    except OSError:
        return False


def _wait_for_ends(state: Path) -> None:
    until = time.monotonic() + ENOUGH_SECONDS + RUN_SECONDS
    query = "SELECT count(*) FROM job_executions WHERE status = 'succeeded'"
    with closing(sqlite3.connect(f"file:{state}/store.db?mode=ro", uri=True)) as reader:
        while (count := reader.execute(query).fetchone()[0]) < JOBS:
            assert time.monotonic() < until, f"{count} of {JOBS} ended well"
            time.sleep(0.2)


def _adopting(running: Daemon, before: int) -> tuple[float, float]:
    """Milliseconds, by the times of its own log, of which earlier daemons wrote `before` bytes.

    It is asked nothing meanwhile: whether it is ready is a question that it has to answer, too.
    """
    until = time.monotonic() + ENOUGH_SECONDS
    said: dict[str, dict[str, Any]] = {}
    while "resumed" not in said:
        assert time.monotonic() < until, running.log.read_text()[-2000:]
        time.sleep(0.1)
        lines = running.log.read_bytes()[before:].split(b"\n")[:-1]
        found = (json.loads(line) for line in lines if line[:1] == b"{")
        said = {line["event"]: line for line in found}
    assert said["adopted"]["running"] == JOBS, said["adopted"]
    opened, adopted, resumed = (
        datetime.fromisoformat(said[event]["timestamp"])
        for event in ("store_open", "adopted", "resumed")
    )
    return (adopted - opened).total_seconds() * 1000, (resumed - opened).total_seconds() * 1000


def _none_twice(state: Path) -> None:
    with closing(sqlite3.connect(f"file:{state}/store.db?mode=ro", uri=True)) as reader:
        executions = reader.execute("SELECT count(*), max(attempt) FROM job_executions").fetchone()
        attempts = reader.execute("SELECT count(*) FROM execution_attempts").fetchone()
    assert (*executions, *attempts) == (JOBS, 1, JOBS), (executions, attempts)
