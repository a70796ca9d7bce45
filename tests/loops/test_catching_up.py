"""Slots that are caught up: each of them, one after another, also across restarts."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path

import pytest

from jobreconciler.model.execution import Execution

from .shift import MovableClock, Processes, Shift, working


def runs(shift: Shift, job_id: str = "hourly") -> list[Execution]:
    return [each for each in shift.history(job_id) if each.trigger.type == "schedule"]


def statuses(shift: Shift) -> Counter[str]:
    return Counter(each.status for each in runs(shift))


@pytest.mark.parametrize("overlap", ["skip", "queue", "replace"])
@pytest.mark.parametrize("most", [1, 5])
def test_all_of_them_run_one_after_another_whatever_restarts_and_overlap(
    tmp_path: Path, overlap: str, most: int
) -> None:
    clock = MovableClock()

    async def main() -> list[Execution]:
        processes = Processes(clock, at_once=False)
        async with working(tmp_path, clock, processes) as first:
            limits = {"overlap": overlap, "maxConcurrent": most}
            first.declare("hourly", "0 * * * *", schedule={"catchUp": "all"}, limits=limits)
            await first.scheduler.load()
        clock.pass_(hours=6)
        for _ in range(3):
            async with working(tmp_path, clock, processes) as shift:
                await shift.eventually(lambda shift=shift: len(runs(shift)) == 6)
                await shift.eventually(lambda: processes.running)
                assert len(processes.running) == 1
        async with working(tmp_path, clock, processes) as shift:
            for done in range(1, 7):
                [running] = await shift.eventually(lambda: list(processes.running))
                assert [each.id for each in runs(shift) if each.status == "running"] == [running]
                processes.end(running)
                await shift.eventually(lambda done=done: statuses(shift)["succeeded"] == done)
            return runs(shift)

    found = asyncio.run(main())
    assert [each.status for each in found] == ["succeeded"] * 6
    slots = [each.trigger.slot for each in sorted(found, key=lambda each: str(each.started_at))]
    assert slots == sorted(each.trigger.slot for each in found if each.trigger.slot)


def test_a_slot_that_is_left_of_them_after_a_kill_is_owed_like_the_others(tmp_path: Path) -> None:
    """The daemon was killed between releasing the last but one and the last."""
    clock = MovableClock()

    async def main() -> list[str]:
        processes = Processes(clock, at_once=False)
        async with working(tmp_path, clock, processes) as first:
            first.declare("hourly", "0 * * * *", schedule={"catchUp": "all"})
            await first.scheduler.load()
            clock.pass_(hours=2)
            first.look()
            await first.eventually(lambda: len(runs(first)) == 2)
        clock.pass_(hours=1)
        async with working(tmp_path, clock, processes) as shift:
            await shift.eventually(lambda: len(runs(shift)) == 3)
            return [each.status for each in runs(shift)]

    assert asyncio.run(main()) == ["running", "queued", "queued"]


def test_live_slots_run_beside_those_that_are_caught_up(tmp_path: Path) -> None:
    clock = MovableClock()

    async def main() -> list[str]:
        processes = Processes(clock, at_once=False)
        async with working(tmp_path, clock, processes) as shift:
            limits = {"maxConcurrent": 2}
            shift.declare("hourly", "0 * * * *", schedule={"catchUp": "all"}, limits=limits)
            await shift.scheduler.load()
            clock.pass_(hours=3)
            shift.look()
            await shift.eventually(lambda: len(runs(shift)) == 3)
            clock.pass_(minutes=30)
            shift.look()
            await shift.eventually(lambda: len(runs(shift)) == 4)
            await shift.eventually(lambda: len(processes.running) == 2)
            return [each.status for each in runs(shift)]

    assert asyncio.run(main()) == ["running", "queued", "queued", "running"]


LIVE = {
    "skip": ["skipped", "skipped"],
    "queue": ["cancelled", "queued"],
    "replace": ["cancelled", "queued"],
}


@pytest.mark.parametrize("overlap", LIVE)
def test_a_live_slot_takes_the_place_of_none_that_is_owed(tmp_path: Path, overlap: str) -> None:
    clock = MovableClock()
    processes = Processes(clock, at_once=False)

    async def main() -> None:
        async with working(tmp_path, clock, processes) as shift:
            limits = {"overlap": overlap}
            shift.declare("hourly", "0 * * * *", schedule={"catchUp": "all"}, limits=limits)
            await shift.scheduler.load()
            clock.pass_(hours=3)
            shift.look()
            await shift.eventually(lambda: len(runs(shift)) == 3)
        async with working(tmp_path, clock, processes) as shift:
            for live, minutes in ((4, 30), (5, 60)):
                clock.pass_(minutes=minutes)
                shift.look()
                await shift.eventually(lambda live=live: len(runs(shift)) == live)
            # What gives way does so in a transaction of its own, after the one that took its place.
            expected = ["running", "queued", "queued", *LIVE[overlap]]
            await shift.eventually(lambda: [each.status for each in runs(shift)] == expected)

    asyncio.run(main())
