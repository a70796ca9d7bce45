"""More than anybody asked for: a thousand jobs in one second, output without end.

A short version runs with the other tests; `make soak` prints all ten gigabytes (SOAK_FLOOD_MIB=N).
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
from contextlib import closing, suppress
from datetime import datetime, timedelta
from pathlib import Path

from e2e.running import Running, until
from execute.arena import Arena, next_end, shell
from jobreconciler.clock import SystemClock
from jobreconciler.execute import processes
from jobreconciler.model.execution import Outcome

from .aftermath import left_behind, marking, marks_of

JOBS = 1000
FLOOD_MIB = int(os.environ.get("SOAK_FLOOD_MIB", "256"))
CAP_KIB = 1024
STATUS = "/api/v1/status?limit=1"


def test_a_flood_of_output_costs_neither_disk_nor_memory(tmp_path: Path) -> None:
    """While it is printed the spool stays below twice the cap and the supervisor below 40 MiB."""
    arena = Arena(tmp_path / "state")
    size = FLOOD_MIB * 2**20

    async def watched() -> tuple[Outcome, int, int]:
        spool = memory = 0
        async with arena.executor() as executor:
            launch = arena.launch(
                shell(f"yes 0123456789abcdef | head -c {size}"), outputKiB=CAP_KIB
            )
            started = await executor.start(launch)
            end = asyncio.ensure_future(next_end(executor))
            while not end.done():
                memory = max(memory, processes.resident([started.pid]))
                spool = max(spool, used(arena))
                await asyncio.sleep(0.05)
            return end.result(), spool, memory

    outcome, spool, memory = asyncio.run(watched())
    assert (outcome.status, outcome.output_bytes) == ("succeeded", size)
    assert 0 < spool <= 2 * CAP_KIB * 1024
    assert used(arena) <= CAP_KIB * 1024 + 4096
    assert 0 < memory < 40 * 2**20
    assert arena.left_over() == []


def used(arena: Arena) -> int:
    """Bytes of output in the run's directory now."""
    total = 0
    for entry in arena.directory().iterdir() if arena.directory().exists() else ():
        with suppress(FileNotFoundError):
            total += entry.lstat().st_size
    return total


def due_at(slot: datetime, name: str, daemon: Running) -> str:
    cron = f"{slot.second} {slot.minute} {slot.hour} {slot.day} {slot.month} *"
    return f"""\
meta: {{id: {name}}}
payload:
  jobType: command
  schedule: {{cronExpression: "{cron}"}}
  parameters:
    shell: |
      {marking(daemon.path, "all")}
"""


def declare(daemon: Running, names: list[str]) -> datetime:
    """Have them applied before their slot comes, however slow this machine is right now."""
    for ahead in (6, 12, 24, 48):
        slot = SystemClock().now().replace(microsecond=0) + timedelta(seconds=ahead)
        files = {f"jobs.d/{name}.yaml": due_at(slot, name, daemon) for name in names}
        daemon.repo.write(files).commit(f"{len(names)} at {slot}")
        applied = f'"revision":"{daemon.repo.git("rev-parse", "HEAD")}"'
        until(lambda applied=applied: applied in daemon.get(STATUS, raw=True), "them to be applied")
        if SystemClock().now() < slot:
            return slot
    raise AssertionError("this machine is too slow to declare them in time")


def test_a_thousand_jobs_due_in_one_second_run_once_each(daemon: Running) -> None:
    daemon.repo.write({"jobs.d/README": "none yet"}).commit("start")
    daemon.start("--max-running", "50")
    names = [f"job-{number:04}" for number in range(JOBS)]
    slot = declare(daemon, names)
    with closing(sqlite3.connect(daemon.state / "store.db", isolation_level=None)) as connection:
        rows = until(lambda: ended(connection, slot), "all of them to end", 120)
    assert sorted(rows.values()) == [(name, "succeeded") for name in names]
    ran = marks_of(daemon.path, "all")
    assert {id_: ran[id_, 1] for id_ in rows} == dict.fromkeys(rows, 1)
    assert daemon.stop() == 0
    until(lambda: not left_behind(daemon.path), "no process to be left")


def ended(connection: sqlite3.Connection, slot: datetime) -> dict[str, tuple[str, str]] | None:
    """Job and status of every execution of the slot, once there are enough."""
    query = "SELECT id, job_id, status FROM job_executions WHERE slot = ? AND finished_at > 0"
    rows = connection.execute(query, (int(slot.timestamp()) * 1_000_000,)).fetchall()
    return {id_: (job_id, status) for id_, job_id, status in rows} if len(rows) >= JOBS else None
