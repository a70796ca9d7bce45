"""What a run costs: runs a second, memory a run, against what the machine allows.

    python bench/execute.py

The floor is two `posix_spawn`s with their reaping for each run, as many at once as ours: the least
that a program and something that watches it can cost.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from jobreconciler.clock import SystemClock
from jobreconciler.execute import processes
from jobreconciler.execute.local import LocalExecutor
from jobreconciler.jobtypes.registry import load_job_types
from jobreconciler.model.execution import Launch, Trigger

RUNS = 2000
AT_ONCE = 16
ROUNDS = 3
RATIO = 0.5
"""Of the floor."""
SLEEPERS = 50
PSS_MIB = 2.0
TRUE = {"argv": ["/bin/true"]}
PROGRAMS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "command": (TRUE, {"argv": ["/bin/sleep", "60"]}),
    "python": ({"entryPoint": "bench.jobs:nothing"}, {"entryPoint": "bench.jobs:wait"}),
}
"""What is over at once, and what waits, by job type."""


def measure() -> list[dict[str, Any]]:
    """Rows {what, ours, floor_or_peer, ratio, target, ok}; rates are medians of alternating
    rounds, so that both see the same machine."""
    ours, floor = [], []
    for _ in range(ROUNDS):
        floor.append(spawn_floor(RUNS // 2))
        ours.append(asyncio.run(_rate(RUNS)))
    rate, least = statistics.median(ours), statistics.median(floor)
    memory = {
        f"{kind}, supervisors {'after 100 runs each' if reuse else 'new'}": asyncio.run(
            _memory(kind, reuse=reuse)
        )
        for kind in PROGRAMS
        for reuse in (False, True)
    }
    return [
        {
            "what": f"runs/s of /bin/true, {AT_ONCE} at once",
            "ours": round(rate),
            "floor_or_peer": round(least),
            "ratio": round(rate / least, 2),
            "target": f">= {RATIO} of the floor",
            "ok": rate / least >= RATIO,
        },
        *(
            {
                "what": f"PSS a run beside its own process, {SLEEPERS} at once, {what}",
                "ours": f"{mib:.2f} MiB",
                "floor_or_peer": None,
                "ratio": None,
                "target": f"≤ {PSS_MIB} MiB",
                "ok": mib <= PSS_MIB,
            }
            for what, mib in memory.items()
        ),
    ]


def spawn_floor(runs: int) -> float:
    """Runs a second, where each is two `posix_spawn`s of `/bin/true` and their reaping."""
    started = time.perf_counter()
    waiting = 0
    for _ in range(runs * 2):
        os.posix_spawn("/bin/true", ["/bin/true"], {})
        waiting += 1
        if waiting >= AT_ONCE:
            os.wait()
            waiting -= 1
    for _ in range(waiting):
        os.wait()
    return runs / (time.perf_counter() - started)


async def _rate(runs: int) -> float:
    with tempfile.TemporaryDirectory() as directory:
        executor = _executor(Path(directory))
        await executor.start(_launch("first", TRUE))
        await anext(executor.finished())
        started = time.perf_counter()
        await _run_all(executor, [_launch(f"n{n}", TRUE) for n in range(runs)], AT_ONCE)
        rate = runs / (time.perf_counter() - started)
        await executor.close()
        return rate


async def _memory(kind: str, *, reuse: bool) -> float:
    """Mean PSS of supervisors, each with a job that waits, in MiB."""
    short, long = PROGRAMS[kind]
    with tempfile.TemporaryDirectory() as directory:
        executor = _executor(Path(directory))
        at_once = 16
        if reuse:
            launches = [_launch(f"n{n}", short, kind) for n in range(at_once * 100)]
            await _run_all(executor, launches, at_once)
        launches = [_launch(f"s{n}", long, kind) for n in range(SLEEPERS)]
        started = [await executor.start(launch) for launch in launches]
        await asyncio.sleep(2)
        seen = started[:at_once]
        mib = sum(processes.memory([one.pid]) for one in seen) / len(seen) / 2**20
        for launch in launches:
            await executor.stop(launch.execution_id, "cancelled")
        await executor.close(drain=True)
        return mib


async def _run_all(executor: LocalExecutor, launches: list[Launch], at_once: int) -> None:
    room = asyncio.Semaphore(at_once)

    async def start(launch: Launch) -> None:
        await room.acquire()
        await executor.start(launch)

    starting = asyncio.gather(*map(start, launches))
    ends = executor.finished()
    for _ in launches:
        ended = await anext(ends)
        if ended.outcome.status != "succeeded":
            raise RuntimeError(f"{ended}")
        room.release()
    await starting


def _executor(state_dir: Path) -> LocalExecutor:
    return LocalExecutor(
        state_dir,
        load_job_types(),
        SystemClock(),
        secrets_dir=None,
        environ=dict(os.environ),
        on_error=_report,
    )


def _report(what: str, error: BaseException) -> None:
    sys.stderr.write(f"{what}: {error!r}\n")


def _launch(name: str, parameters: dict[str, Any], kind: str = "command") -> Launch:
    config = {"meta": {"id": "bench"}, "payload": {"jobType": kind, "limits": {}}}
    return Launch(name, "bench", 1, config, parameters, Trigger("manual"), "0" * 40)


if __name__ == "__main__":
    for row in measure():
        sys.stdout.write("  ".join(f"{key}={value}" for key, value in row.items()) + "\n")
