"""Slots are claimed a moment before their time, and launched at it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import Future
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from jobreconciler.loops.releasing import DueSlot
from jobreconciler.model.execution import Execution, Launch, Trigger
from jobreconciler.ports import Ending, Started

from .shift import RETRY, MovableClock, Processes, Shift, working
from .test_given_up import change_job

NEARLY = timedelta(milliseconds=8)


@asynccontextmanager
async def before_a_slot(
    tmp_path: Path, overlap: str = "skip"
) -> AsyncIterator[tuple[Shift, datetime]]:
    """A job whose first slot has a run that goes on, and whose second one is nearly there."""
    clock = MovableClock()
    async with working(tmp_path, clock, Processes(clock, at_once=False)) as shift:
        shift.declare("minutely", "* * * * *", limits={"overlap": overlap})
        await shift.scheduler.load()
        await until(shift, first := shift.scheduler.next_slots()["minutely"])
        await shift.eventually(lambda: shift.processes.running)
        second = shift.scheduler.next_slots()["minutely"]
        assert second - first == timedelta(minutes=1)
        yield shift, second


async def until(shift: Shift, at: datetime) -> None:
    """Time passes to a second before, when what is executed is read, and then to that instant."""
    now_it_is(shift, at - timedelta(seconds=1))
    await shift.eventually(lambda: "minutely" in shift.scheduler._ahead)
    now_it_is(shift, at)


def now_it_is(shift: Shift, at: datetime) -> None:
    clock = shift.clock
    assert isinstance(clock, MovableClock)
    clock.pass_(seconds=(at - clock.at).total_seconds())
    shift.look()


async def rows(shift: Shift, count: int) -> list[Execution]:
    return await shift.eventually(
        lambda: len(found := shift.history("minutely")) == count and found
    )


def test_a_run_begins_in_the_store_at_its_slot_though_it_was_claimed_before(
    tmp_path: Path,
) -> None:
    async def main() -> None:
        async with before_a_slot(tmp_path) as (shift, slot):
            processes = shift.processes
            processes.end(*processes.running)
            await shift.eventually(lambda: shift.history("minutely")[0].finished_at)
            await until(shift, slot - NEARLY)
            _, second = await rows(shift, 2)
            assert (second.status, second.queued_at, second.started_at) == ("running", slot, slot)
            await shift.eventually(lambda: second.id in processes.running)
            now_it_is(shift, slot)
            await asyncio.sleep(0.05)
            assert len(shift.history("minutely")) == len(processes.begun) == 2

    asyncio.run(main())


def test_whether_a_slot_is_skipped_is_told_at_its_time_and_not_before(tmp_path: Path) -> None:
    async def main() -> None:
        async with before_a_slot(tmp_path) as (shift, slot):
            await until(shift, slot - NEARLY)
            await shift.eventually(lambda: shift.scheduler._starts._on_time)
            assert len(await rows(shift, 1)) == 1
            shift.processes.end(*shift.processes.running)
            await shift.eventually(lambda: shift.history("minutely")[0].finished_at)
            now_it_is(shift, slot)
            _, second = await rows(shift, 2)
            assert second.status == "running"

    asyncio.run(main())


def test_what_is_stopped_after_it_was_claimed_is_not_launched(tmp_path: Path) -> None:
    clock = MovableClock()
    processes = Processes(clock, at_once=False)

    async def main() -> None:
        async with working(tmp_path, clock, processes) as shift:
            shift.declare("hourly", "0 * * * *")
            pinned = shift.store.pinned(["hourly"])["hourly"]
            slot = clock.now() + timedelta(seconds=0.5)
            assert await shift.worker.releases.release_ahead([DueSlot(pinned, slot, slot)]) == [
                True
            ]
            await shift.stops.put("job", "hourly", actor="ada", reason=None, until=None)
            await shift.eventually(lambda: shift.history("hourly")[0].status == "queued")
            assert not processes.begun
            await shift.stops.lift("job", "hourly", actor="ada")
            [one] = shift.history("hourly")
            await shift.eventually(lambda: processes.begun == [(one.id, 1)])

    asyncio.run(main())


MEANWHILE = ["replaced", "cancelled", "disabled", "deleted", "the daemon stops"]


@pytest.mark.parametrize("what", MEANWHILE)
def test_what_nobody_wants_any_more_is_not_launched(tmp_path: Path, what: str) -> None:
    clock = MovableClock()
    processes = Processes(clock, at_once=False)

    async def main() -> None:
        async with working(tmp_path, clock, processes) as shift:
            shift.declare("often", "* * * * *", limits={"overlap": "replace"})
            pinned = shift.store.pinned(["often"])["often"]
            slot = clock.now() + timedelta(seconds=0.5)
            assert await shift.worker.releases.release_ahead([DueSlot(pinned, slot, slot)]) == [
                True
            ]
            [claimed] = shift.history("often")
            if what == "replaced":
                newer = await shift.worker.releases.release(
                    pinned, Trigger("webhook", delivery_id="1")
                )
                assert newer is not None
                await shift.eventually(lambda: newer.id in processes.running)
            elif what == "cancelled":
                assert await shift.worker.cancel(claimed.id, "no longer wanted")
            elif what == "the daemon stops":
                shift.worker.admitting = False
            else:
                change_job(shift, what)
                await shift.worker.recheck(["often"])
            await shift.worker.quiet(10)
            status = "queued" if what == "the daemon stops" else "cancelled"
            assert shift.store.execution(claimed.id).status == status
            assert (claimed.id, 1) not in processes.begun

    asyncio.run(main())


@pytest.mark.parametrize("attempt", [1, 2])
def test_what_is_cancelled_while_its_process_is_started_is_stopped_then(
    tmp_path: Path, attempt: int
) -> None:
    clock = MovableClock()

    class Slow(Processes):
        async def start(self, launch: Launch) -> Started:
            if launch.attempt == attempt:
                assert await shifts[0].worker.cancel(launch.execution_id, "no longer wanted")
            return await super().start(launch)

    shifts: list[Shift] = []

    async def main() -> None:
        async with working(tmp_path, clock, Slow(clock, at_once=False)) as shift:
            shifts.append(shift)
            retry = {**RETRY, "maxAttempts": 2, "initialDelay": 0.05}
            shift.declare("often", "* * * * *", retry=retry)
            pinned = shift.store.pinned(["often"])["often"]
            await shift.worker.releases.release(pinned, Trigger("manual", actor="ada"))
            if attempt == 2:
                [execution_id] = await shift.eventually(lambda: list(shift.processes.running))
                shift.processes.end(execution_id, "failed")
            await shift.eventually(lambda: shift.history("often")[0].status == "cancelled")
            assert shift.history("often")[0].error == "no longer wanted"

    asyncio.run(main())


def test_a_slot_that_was_handled_is_not_claimed_again(tmp_path: Path) -> None:
    clock = MovableClock()
    processes = Processes(clock, at_once=False)

    async def main() -> None:
        async with working(tmp_path, clock, processes) as shift:
            shift.declare("hourly", "0 * * * *", limits={"maxConcurrent": 3})
            pinned = shift.store.pinned(["hourly"])["hourly"]
            due = DueSlot(pinned, clock.now(), clock.now())
            assert await shift.worker.releases.release_ahead([due]) == [True]
            assert await shift.worker.releases.release_ahead([due]) == [False]
            await shift.eventually(lambda: processes.begun)
            assert shift.worker.counts() == {"running": 1, "queued": 0}

    asyncio.run(main())


def test_ends_that_come_together_are_stored_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobreconciler.loops.ends.GATHER_SECONDS", 600)
    clock = MovableClock()
    processes = Processes(clock, at_once=False)

    async def main() -> None:
        async with working(tmp_path, clock, processes) as shift:
            commits: list[int] = []
            finish_all = shift.store.finish_all

            def counted(ends: Sequence[Ending]) -> Future[list[bool]]:
                commits.append(len(ends))
                return finish_all(ends)

            shift.store.finish_all = counted  # type: ignore[method-assign]
            for number in range(5):
                shift.declare(f"job-{number}", "* * * * *")
            await shift.scheduler.load()
            clock.pass_(minutes=1)
            shift.look()
            await shift.eventually(lambda: len(processes.running) == 5)
            for execution_id in list(processes.running):
                processes.end(execution_id)
                await asyncio.sleep(0)
            await shift.worker.quiet(10)
            assert shift.worker.counts() == {"running": 0, "queued": 0}
            assert commits == [5]

    asyncio.run(main())
