"""Jobs that are deleted or disabled while something of them runs: it ends, and that is all."""

from __future__ import annotations

import asyncio
from concurrent.futures import Future
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from jobreconciler.model.execution import Execution
from store.made import change, change_set, desired

from .shift import RETRY, MovableClock, Processes, Shift, nothing_becomes, working

TRIED_AGAIN = {**RETRY, "maxAttempts": 3, "initialDelay": 0.05}


async def a_run(shift: Shift, clock: MovableClock) -> str:
    shift.declare("often", "* * * * *", retry=TRIED_AGAIN)
    await shift.scheduler.load()
    clock.pass_(minutes=1)
    shift.look()
    [execution] = await shift.eventually(lambda: list(shift.processes.running))
    return str(execution)


def change_job(shift: Shift, what: str) -> None:
    """`what`: deleted, disabled or declared (again)."""
    job = desired("often", isEnabled=what != "disabled", limits={"maxConcurrent": 1}, retry=RETRY)
    made = change("deleted", "often") if what == "deleted" else change("updated", job)
    shift.store.apply(change_set(made, at=shift.clock.now())).result()


def end_of(shift: Shift, status: str) -> Execution | None:
    [execution] = shift.history("often")
    return execution if execution.status == status else None


@pytest.mark.parametrize("what", ["deleted", "disabled"])
@pytest.mark.parametrize("restarted", [False, True], ids=["one daemon", "a daemon later"])
def test_a_run_whose_job_is_given_up_ends_and_is_not_tried_again(
    tmp_path: Path, what: str, restarted: bool
) -> None:
    clock = MovableClock()
    processes = Processes(clock, at_once=False)

    async def failing(shift: Shift, execution: str) -> None:
        processes.end(execution, "failed")
        ended = await shift.eventually(lambda: end_of(shift, "failed"))
        assert ended.error == f"not tried again: its job was {what}"
        assert processes.begun == [(execution, 1)]
        await shift.eventually(lambda: not any(shift.worker.counts().values()))

    async def main() -> None:
        async with working(tmp_path, clock, processes) as shift:
            execution = await a_run(shift, clock)
            change_job(shift, what)
            if not restarted:
                await shift.worker.recheck(["often"])
                await failing(shift, execution)
                return
        async with working(tmp_path, clock, processes) as shift:
            await failing(shift, execution)

    asyncio.run(main())


def test_a_run_whose_job_is_back_before_it_fails_is_tried_again(tmp_path: Path) -> None:
    clock = MovableClock()
    processes = Processes(clock, at_once=False)

    async def main() -> None:
        async with working(tmp_path, clock, processes) as shift:
            execution = await a_run(shift, clock)
            for what in ("disabled", "declared"):
                change_job(shift, what)
                await shift.worker.recheck(["often"])
            processes.end(execution, "failed")
            await shift.eventually(lambda: (execution, 2) in processes.begun)

    asyncio.run(main())


def test_a_run_that_fails_while_it_is_stopped_is_not_tried_again(tmp_path: Path) -> None:
    clock = MovableClock()
    processes = Processes(clock, at_once=False)

    async def main() -> None:
        async with working(tmp_path, clock, processes) as shift:
            execution = await a_run(shift, clock)
            processes.end(execution, "failed")  # nobody has heard of it yet
            await shift.worker.cancel(execution, "cancelled by ada")
            ended = await shift.eventually(lambda: end_of(shift, "failed"))
            assert ended.error == "not tried again: cancelled by ada"
            assert processes.begun == [(execution, 1)]

    asyncio.run(main())


def given_up_while_it_is_put_back(shift: Shift) -> None:
    """The job is deleted, and everything looked at again, before the next retry is known to be
    stored."""
    real = shift.store.retry_later

    def stored(*arguments: Any) -> Future[bool]:
        late: Future[bool] = Future()

        async def deleted() -> None:
            done = await asyncio.wrap_future(real(*arguments))
            change_job(shift, "deleted")
            await shift.worker.recheck(["often"])
            late.set_result(done)

        shift.worker._spawn(deleted())
        return late

    shift.store.retry_later = stored  # type: ignore[method-assign]


@pytest.mark.parametrize("away", [False, True], ids=["at once", "once the store is back"])
def test_a_retry_that_is_being_stored_when_its_job_is_deleted_is_cancelled(
    tmp_path: Path, away: bool
) -> None:
    clock = MovableClock()
    processes = Processes(clock, at_once=False)

    async def main() -> None:
        async with working(tmp_path, clock, processes) as shift:
            execution = await a_run(shift, clock)
            given_up_while_it_is_put_back(shift)
            with nothing_becomes("cancelled", tmp_path) if away else nullcontext():
                processes.end(execution, "failed")
                if away:
                    await shift.eventually(lambda: shift.worker.trouble)
                    assert shift.history("often")[0].status == "queued"
            ended = await shift.eventually(lambda: end_of(shift, "cancelled"))
            assert ended.error == "its job was deleted before it could be tried again"
            assert processes.begun == [(execution, 1)]

    asyncio.run(main())
