"""What was begun for many at once and goes wrong for one, or is stopped half-way."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .shift import MovableClock, Processes, Shift, working


@contextmanager
def nothing_can_be_cancelled(state: Path) -> Iterator[None]:
    """The store refuses that one change, and takes every other."""
    database = sqlite3.connect(next(state.glob("*.db")))
    database.execute(
        "CREATE TRIGGER no_cancel BEFORE UPDATE ON job_executions WHEN new.status = 'cancelled' "
        "BEGIN SELECT raise(ABORT, 'not now'); END"
    )
    database.commit()
    yield
    database.execute("DROP TRIGGER no_cancel")
    database.commit()
    database.close()


def minute(shift: Shift, clock: MovableClock) -> None:
    clock.pass_(minutes=1)
    shift.look()


def statuses(shift: Shift, job_id: str) -> list[str]:
    return [each.status for each in shift.history(job_id)]


def test_a_run_whose_place_cannot_be_taken_hinders_none_that_is_due_with_it(
    tmp_path: Path,
) -> None:
    clock = MovableClock()
    processes = Processes(clock, at_once=False)

    async def main() -> None:
        async with working(tmp_path, clock, processes) as shift:
            shift.declare("always", "* * * * *", limits={"overlap": "queue"})
            await shift.scheduler.load()
            for count in (1, 2):
                minute(shift, clock)
                await shift.eventually(lambda n=count: len(shift.history("always")) == n)
            shift.declare("beside", "* * * * *")
            await shift.scheduler.load(["beside"])
            with nothing_can_be_cancelled(tmp_path):
                minute(shift, clock)
                await shift.eventually(lambda: shift.history("beside"))
                [beside] = shift.history("beside")
                await shift.eventually(lambda: beside.id in processes.running)
                processes.end(beside.id)
                await shift.eventually(lambda: statuses(shift, "beside") == ["succeeded"])
            for _ in range(3):
                [one] = await shift.eventually(lambda: list(processes.running))
                processes.end(one)
                await shift.eventually(lambda id=one: shift.store.execution(id).status != "running")
            assert set(statuses(shift, "always")) == {"succeeded"}, "each had its turn"

    asyncio.run(main())
