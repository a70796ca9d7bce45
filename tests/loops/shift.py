"""The schedule and the work loop over a real store, with a clock and processes of the test's own.

Processes are stood in for where a test is about time: what they do has tests with real ones.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, closing, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, cast

from jobreconciler.loops.schedule import Scheduler
from jobreconciler.loops.stops import Stops
from jobreconciler.loops.work import Worker
from jobreconciler.model.execution import Execution, ExecutionStatus, Launch, Outcome
from jobreconciler.observe.metrics import Metrics
from jobreconciler.ports import Adopted, Clock, Executor, Finished, LeftRunning, Started
from jobreconciler.store.opening import open_store
from store.made import NOW, add, desired

HANG = 30.0
RETRY = {
    "maxAttempts": 1,
    "backoffStrategy": "fixed",
    "initialDelay": 10,
    "maxDelay": 60,
}


@dataclass
class MovableClock:
    """Moved by `pass_`, as time does, or by setting `at` alone; no two looks see the same."""

    at: datetime = NOW
    seconds: float = 1000.0

    def now(self) -> datetime:
        self.at += timedelta(microseconds=1)
        return self.at

    def monotonic(self) -> float:
        return self.seconds

    def pass_(self, **delta: float) -> None:
        length = timedelta(**delta)
        self.at += length
        self.seconds += length.total_seconds()


@dataclass
class Processes:
    """Stands in for every process; `at_once`: each ends as soon as it starts.

    What was begun outlives a daemon, as real ones do.
    """

    clock: Clock
    at_once: bool = True
    begun: list[tuple[str, int]] = field(default_factory=list)
    running: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.ends: asyncio.Queue[Finished] = asyncio.Queue()

    async def start(self, launch: Launch) -> Started:
        one = (launch.execution_id, launch.attempt)
        assert one not in self.begun, f"{one} was started twice"
        self.begun.append(one)
        self.running[launch.execution_id] = launch.attempt
        if self.at_once:
            self.end(launch.execution_id)
        return Started(*one, self.clock.now(), len(self.begun))

    async def start_all(self, launches: Sequence[Launch]) -> list[Started | BaseException]:
        return [*await asyncio.gather(*map(self.start, launches), return_exceptions=True)]

    def end(self, execution_id: str, status: ExecutionStatus = "succeeded") -> None:
        attempt = self.running.pop(execution_id)
        outcome = Outcome(status, self.clock.now())
        self.ends.put_nowait(Finished(execution_id, attempt, outcome))

    async def stop(self, execution_id: str, status: str) -> bool:
        if execution_id not in self.running:
            return False
        self.end(execution_id, cast(ExecutionStatus, status))
        return True

    async def finished(self) -> AsyncIterator[Finished]:
        while True:
            yield await self.ends.get()

    def more_finished(self) -> list[Finished]:
        return [self.ends.get_nowait() for _ in range(self.ends.qsize())]

    async def adopt(self, left: Sequence[LeftRunning]) -> Adopted:
        return Adopted(
            [one.execution_id for one in left if one.execution_id in self.running],
            {one.execution_id for one in left if one[:2] not in self.begun},
        )


class Shift:
    """One daemon's scheduling, without git and HTTP. Made by `working`."""

    def __init__(self, state: Path, clock: Clock, processes: Processes, url: str | None) -> None:
        self.clock = clock
        self.processes = processes
        self.metrics = Metrics("0")
        self.store = open_store(url, state, clock, instance="test")
        self.stops = Stops(self.store, clock, self.metrics)
        self.worker = Worker(
            self.store, cast(Executor, processes), clock, self.metrics, self.stops, 100, {}
        )
        self.scheduler = Scheduler(
            self.store, self.worker.releases, clock, self.metrics, self.stops
        )

    def declare(self, job_id: str, expression: str, **payload: Any) -> None:
        schedule = {"cronExpression": expression, **payload.pop("schedule", {})}
        limits = {"maxConcurrent": 1, "overlap": "skip", **payload.pop("limits", {})}
        full = {"priority": 50, "retry": RETRY, "limits": limits, **payload}
        add(self.store, desired(job_id, schedule=schedule, **full), at=self.clock.now())

    def history(self, job_id: str) -> list[Execution]:
        """Every row of a job, oldest first."""
        found, cursor = [], None
        while True:
            page = self.store.executions(job_id, limit=500, cursor=cursor)
            found += page.items
            cursor = page.next_cursor
            if cursor is None:
                return found[::-1]

    async def eventually(self, holds: Callable[[], Any]) -> Any:
        """What `holds` returns once it is true."""
        async with asyncio.timeout(HANG):
            while not (held := await asyncio.to_thread(holds)):
                await asyncio.sleep(0.01)
            return held

    def look(self) -> None:
        """Do not sleep on: the clock was moved."""
        self.scheduler._wake.set()

    async def settled(self) -> None:
        """The schedule loop has seen the clock as it is now, and what that led to is over."""
        self.look()
        async with asyncio.timeout(HANG):
            while (
                self.scheduler._wake.is_set()
                or self.worker._tasks
                or any(self.worker.counts().values())
            ):
                await asyncio.sleep(0.001)


@asynccontextmanager
async def working(
    state: Path, clock: Clock, processes: Processes, *, url: str | None = None
) -> AsyncIterator[Shift]:
    """A daemon's start-up, its loops, and its end without a word: nothing is waited for."""
    shift = Shift(state, clock, processes, url)
    tasks: list[asyncio.Task[None]] = []
    try:
        await shift.stops.load()
        await shift.worker.resume()
        await shift.worker.recheck()
        await shift.scheduler.load()
        loops = (shift.worker.run, shift.worker.collect, shift.scheduler.run)
        tasks += [asyncio.create_task(loop()) for loop in loops]
        yield shift
    finally:
        for task in (*tasks, *shift.worker._tasks):
            task.cancel()
        with suppress(asyncio.CancelledError):
            await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.to_thread(shift.store.close)


@contextmanager
def nothing_becomes(status: str, state: Path) -> Iterator[None]:
    """The store refuses that one change of executions, and takes every other."""
    with _refused(f"UPDATE ON job_executions WHEN new.status = '{status}'", state):
        yield


@contextmanager
def nothing_is_released_of(job_id: str, state: Path) -> Iterator[None]:
    """The store refuses executions of that one job, and takes every other."""
    with _refused(f"INSERT ON job_executions WHEN new.job_id = '{job_id}'", state):
        yield


@contextmanager
def _refused(what: str, state: Path) -> Iterator[None]:
    with closing(sqlite3.connect(next(state.glob("*.db")), isolation_level=None)) as database:
        database.execute(
            f"CREATE TRIGGER refused BEFORE {what} BEGIN SELECT raise(ABORT, 'not now'); END"
        )
        yield
        database.execute("DROP TRIGGER refused")
