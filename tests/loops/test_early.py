"""Of a crowd of slots those that have to wait are in the store before their time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from jobreconciler.loops.releasing import DueSlot
from jobreconciler.model.execution import Execution, Trigger

from .shift import MovableClock, Processes, Shift, nothing_becomes, working
from .test_ahead import now_it_is
from .test_given_up import change_job

CROWD = 90
"""Jobs of one minute. The worker's 100 places let 75 of them be claimed ahead."""
SOON = timedelta(seconds=0.3)


@asynccontextmanager
async def crowd(tmp_path: Path) -> AsyncIterator[tuple[Shift, datetime]]:
    clock = MovableClock()
    async with working(tmp_path, clock, Processes(clock, at_once=False)) as shift:
        for number in range(CROWD):
            shift.declare(f"of-many-{number:02}", "* * * * *")
        await shift.scheduler.load()
        slot = min(shift.scheduler.next_slots().values())
        now_it_is(shift, slot - timedelta(seconds=1))
        await shift.eventually(lambda: len(shift.scheduler._ahead) == CROWD)
        yield shift, slot


def of_all(shift: Shift) -> list[Execution]:
    return [*shift.store.executions(None, limit=200).items]


def test_those_that_wait_are_queued_before_their_time_and_start_at_it(tmp_path: Path) -> None:
    async def main() -> None:
        async with crowd(tmp_path) as (shift, slot):
            now_it_is(shift, slot - timedelta(milliseconds=40))
            queued = await shift.eventually(lambda: len(of_all(shift)) == 15 and of_all(shift))
            assert {(one.status, one.queued_at) for one in queued} == {("queued", slot)}
            assert shift.worker.waits_for(queued[0].id) == "its time"
            await asyncio.sleep(0.02)
            assert not shift.processes.begun
            now_it_is(shift, slot)
            await shift.eventually(lambda: len(shift.processes.begun) == CROWD)
            assert len({one.job_id for one in of_all(shift)}) == CROWD
            assert len(of_all(shift)) == CROWD
            assert {one.trigger.slot for one in of_all(shift)} == {slot}

    asyncio.run(main())


def test_few_that_start_together_are_not_written_before_they_are_claimed(tmp_path: Path) -> None:
    clock = MovableClock()

    async def main() -> None:
        async with working(tmp_path, clock, Processes(clock, at_once=False)) as shift:
            for number in range(5):
                shift.declare(f"of-few-{number}", "* * * * *")
            await shift.scheduler.load()
            slot = min(shift.scheduler.next_slots().values())
            now_it_is(shift, slot - timedelta(seconds=1))
            await shift.eventually(lambda: len(shift.scheduler._ahead) == 5)
            now_it_is(shift, slot - timedelta(milliseconds=30))
            await asyncio.sleep(0.1)
            assert not of_all(shift)

    asyncio.run(main())


@asynccontextmanager
async def early(tmp_path: Path, **limits: Any) -> AsyncIterator[tuple[Shift, DueSlot, Execution]]:
    """A slot that is in the store a moment before its time."""
    clock = MovableClock()
    async with working(tmp_path, clock, Processes(clock, at_once=False)) as shift:
        shift.declare("often", "* * * * *", limits=limits)
        pinned = shift.store.pinned(["often"])["often"]
        at = clock.now() + SOON
        due = DueSlot(pinned, at, at)
        assert await shift.worker.releases.release_early([due]) == [True]
        [one] = shift.history("often")
        assert one.status == "queued"
        yield shift, due, one


@pytest.mark.parametrize("scope", ["job", "fleet"])
def test_who_is_stopped_meanwhile_is_skipped_as_any_slot_of_a_stop(
    tmp_path: Path, scope: Any
) -> None:
    async def main() -> None:
        async with early(tmp_path) as (shift, due, one):
            target = "often" if scope == "job" else ""
            await shift.stops.put(scope, target, actor="ada", reason="a try", until=None)
            await shift.eventually(lambda: shift.store.execution(one.id).status == "skipped")
            [row] = shift.history("often")
            assert row.missed is not None
            reason = "suspended" if scope == "job" else "paused"
            assert (row.missed.first, row.missed.count, row.missed.reason) == (due.slot, 1, reason)
            assert "by ada" in str(row.error)
            await shift.stops.lift(scope, target, actor="ada")
            await asyncio.sleep(0.05)
            assert not shift.processes.begun
            assert shift.worker.counts() == {"running": 0, "queued": 0}
            await comes_again(shift, due)

    asyncio.run(main())


def test_what_begins_meanwhile_goes_first_and_decides_as_if_the_slot_came_now(
    tmp_path: Path,
) -> None:
    async def main() -> None:
        async with early(tmp_path) as (shift, due, one):
            manual = await shift.worker.releases.release(due.pinned, Trigger("manual", actor="ada"))
            assert manual is not None
            await shift.eventually(lambda: manual.id in shift.processes.running)
            await shift.eventually(lambda: shift.store.execution(one.id).status == "skipped")
            assert str(shift.store.execution(one.id).error).startswith("overlap")
            shift.processes.end(manual.id)
            await shift.eventually(lambda: not any(shift.worker.counts().values()))
            assert len(shift.processes.begun) == 1

    asyncio.run(main())


async def running_by_webhook(shift: Shift, due: DueSlot) -> Execution:
    other = await shift.worker.releases.release(due.pinned, Trigger("webhook", delivery_id="1"))
    assert other is not None
    await shift.eventually(lambda: other.id in shift.processes.running)
    return other


def test_with_replace_it_takes_the_place_of_what_began_meanwhile(tmp_path: Path) -> None:
    async def main() -> None:
        async with early(tmp_path, overlap="replace") as (shift, due, one):
            other = await running_by_webhook(shift, due)
            await shift.eventually(lambda: one.id in shift.processes.running)
            assert shift.store.execution(other.id).status == "cancelled"

    asyncio.run(main())


def test_where_it_cannot_be_skipped_it_runs_rather_than_be_lost(tmp_path: Path) -> None:
    async def main() -> None:
        async with early(tmp_path) as (shift, _, one):
            with nothing_becomes("skipped", tmp_path):
                await shift.stops.put("job", "often", actor="ada", reason=None, until=None)
                await shift.eventually(lambda: "work" in errors(shift))
            await shift.stops.lift("job", "often", actor="ada")
            await shift.eventually(lambda: one.id in shift.processes.running)

    asyncio.run(main())


def errors(shift: Shift) -> set[str]:
    found = shift.metrics.registry.collect()
    return {
        sample.labels["loop"]
        for family in found
        for sample in family.samples
        if sample.name == "jobreconciler_loop_errors_total" and sample.value
    }


@pytest.mark.parametrize("what", ["cancelled", "disabled", "deleted"])
def test_what_nobody_wants_any_more_does_not_start(tmp_path: Path, what: str) -> None:
    async def main() -> None:
        async with early(tmp_path) as (shift, due, one):
            if what == "cancelled":
                assert await shift.worker.cancel(one.id, "no longer wanted")
            else:
                change_job(shift, what)
                await shift.worker.recheck(["often"])
            await shift.worker.quiet(10)
            assert shift.store.execution(one.id).status == "cancelled"
            assert not shift.processes.begun
            await comes_again(shift, due)

    asyncio.run(main())


async def comes_again(shift: Shift, due: DueSlot) -> None:
    """Nothing of what was given up counts for the job's next slot."""
    slot = due.slot + timedelta(minutes=1)
    [later] = await shift.worker.releases.release_all([DueSlot(due.pinned, slot, slot)])
    assert later is not None
    await shift.eventually(lambda: later.id in shift.processes.running)
    assert not shift.worker._flight.line._parked
    assert not +shift.worker._flight._early
    assert not -shift.worker._flight._early


def test_what_is_cancelled_while_room_is_made_for_it_does_not_start(tmp_path: Path) -> None:
    async def main() -> None:
        async with early(tmp_path, overlap="replace") as (shift, due, one):
            other = await running_by_webhook(shift, due)
            stop = shift.processes.stop

            async def slowly(execution_id: str, status: str) -> bool:
                assert await shift.worker.cancel(one.id, "no longer wanted")
                return await stop(execution_id, status)

            shift.processes.stop = slowly  # type: ignore[method-assign]
            await shift.eventually(lambda: shift.store.execution(other.id).status == "cancelled")
            await shift.worker.quiet(10)
            assert shift.store.execution(one.id).status == "cancelled"
            await comes_again(shift, due)

    asyncio.run(main())


def test_who_gives_the_job_up_while_it_is_being_stored_finds_it(tmp_path: Path) -> None:
    clock = MovableClock()

    async def main() -> None:
        async with working(tmp_path, clock, Processes(clock, at_once=False)) as shift:
            shift.declare("often", "* * * * *")
            pinned = shift.store.pinned(["often"])["often"]
            due = DueSlot(pinned, clock.now() + SOON, clock.now() + SOON)
            storing = asyncio.create_task(shift.worker.releases.release_early([due]))
            await asyncio.sleep(0)
            change_job(shift, "deleted")
            await shift.worker.recheck(["often"])
            await storing
            await shift.worker.quiet(10)
            assert [one.status for one in shift.history("often")] == ["cancelled"]
            assert not shift.processes.begun

    asyncio.run(main())


@pytest.mark.parametrize(("ahead", "held"), [(0.3, True), (3600, False)])
def test_a_daemon_that_starts_meanwhile_waits_for_its_time_and_for_no_clock_set_back(
    tmp_path: Path, ahead: float, held: bool
) -> None:
    clock = MovableClock()
    processes = Processes(clock, at_once=False)

    async def main() -> None:
        async with early(tmp_path) as (_, _, one):
            pass
        clock.at = one.queued_at - timedelta(seconds=ahead)
        async with working(tmp_path, clock, processes) as shift:
            if held:
                assert shift.worker.waits_for(one.id) == "its time"
            await shift.eventually(lambda: processes.begun == [(one.id, 1)])

    asyncio.run(main())
