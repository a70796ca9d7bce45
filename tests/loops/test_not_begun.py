"""Attempts that were launched, and that for certain nobody began."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from jobreconciler.loops.work import MOST_TAKEN_BACK
from jobreconciler.model.execution import Execution, Outcome
from jobreconciler.ports import Finished

from .shift import MovableClock, Processes, Shift, working
from .test_given_up import change_job


class Unbegun(Processes):
    """Those of an executor whose supervisors vanish before they begin."""

    def vanish(self) -> None:
        [(execution_id, attempt)] = self.running.items()
        del self.running[execution_id]
        self.begun.remove((execution_id, attempt))
        outcome = Outcome("lost", self.clock.now(), error="no supervisor took it up")
        self.ends.put_nowait(Finished(execution_id, attempt, outcome, begun=False))


@asynccontextmanager
async def launched(tmp_path: Path) -> AsyncIterator[tuple[Shift, Unbegun, Execution]]:
    clock = MovableClock()
    processes = Unbegun(clock, at_once=False)
    async with working(tmp_path, clock, processes) as shift:
        shift.declare("often", "* * * * *")
        await shift.scheduler.load()
        clock.pass_(minutes=1)
        shift.look()
        await shift.eventually(lambda: processes.running)
        [execution] = shift.history("often")
        yield shift, processes, execution


def test_it_starts_again_as_the_same_attempt(tmp_path: Path) -> None:
    async def main() -> None:
        async with launched(tmp_path) as (shift, processes, execution):
            processes.vanish()
            await shift.eventually(lambda: processes.running)
            assert processes.begun == [(execution.id, 1)]
            processes.end(execution.id)
            await shift.eventually(lambda: shift.history("often")[0].status == "succeeded")
            assert len(shift.history("often")[0].attempts) == 1
            assert shift.worker.counts() == {"running": 0, "queued": 0}

    asyncio.run(main())


def test_it_waits_where_somebody_stopped_its_job_meanwhile(tmp_path: Path) -> None:
    async def main() -> None:
        async with launched(tmp_path) as (shift, processes, execution):
            await shift.stops.put("job", "often", actor="ada", reason=None, until=None)
            processes.vanish()
            await shift.eventually(lambda: shift.history("often")[0].status == "queued")
            assert shift.worker.waits_for(execution.id) == "the end of its suspension"
            assert not processes.running

    asyncio.run(main())


@pytest.mark.parametrize(
    ("what", "error"),
    [
        pytest.param("cancelled", "no longer wanted", id="it was cancelled"),
        pytest.param("deleted", "its job was deleted before it could start", id="it was deleted"),
    ],
)
def test_it_is_cancelled_where_nobody_wants_it_any_more(
    tmp_path: Path, what: str, error: str
) -> None:
    async def main() -> None:
        async with launched(tmp_path) as (shift, processes, execution):
            if what == "cancelled":
                shift.worker._flight.running[execution.id].stopped_for = error
            else:
                change_job(shift, what)
                await shift.worker.recheck(["often"])
            processes.vanish()
            await shift.eventually(lambda: shift.history("often")[0].status == "cancelled")
            [ended] = shift.history("often")
            assert (ended.error, ended.attempts) == (error, ())
            await shift.eventually(lambda: not any(shift.worker.counts().values()))
            assert not processes.running

    asyncio.run(main())


def test_it_is_lost_where_nobody_begins_it_again_and_again(tmp_path: Path) -> None:
    async def main() -> None:
        async with launched(tmp_path) as (shift, processes, _):
            for _ in range(MOST_TAKEN_BACK + 1):
                await shift.eventually(lambda: processes.running)
                processes.vanish()
            await shift.eventually(lambda: shift.history("often")[0].status == "lost")
            assert shift.history("often")[0].error == "no supervisor took it up"

    asyncio.run(main())
