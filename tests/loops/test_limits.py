"""A job's own limit, between two attempts and across a restart."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from .shift import RETRY, MovableClock, Processes, Shift, working


def statuses(shift: Shift) -> list[str]:
    return [each.status for each in shift.history("often")]


def often(shift: Shift, overlap: str, **payload: object) -> None:
    limits = {"overlap": overlap, "maxConcurrent": 1}
    shift.declare("often", "* * * * *", limits=limits, **payload)


@pytest.mark.parametrize("overlap", ["skip", "queue", "replace"])
@pytest.mark.parametrize("restarted", [False, True], ids=["one daemon", "a daemon later"])
def test_a_retry_keeps_its_place_whatever_comes_meanwhile(
    tmp_path: Path, overlap: str, restarted: bool
) -> None:
    """While it pauses it counts towards the job's limit; newer slots neither drop nor pass it."""
    clock = MovableClock()
    processes = Processes(clock, at_once=False)

    async def newer_slot_and_retry(shift: Shift) -> None:
        clock.pass_(minutes=1)
        shift.look()
        await shift.eventually(lambda: len(shift.history("often")) == 2)
        first = shift.history("often")[0].id
        await shift.eventually(lambda: (first, 2) in processes.begun)
        assert list(processes.running) == [first], "one at a time"
        processes.end(first)
        await shift.eventually(lambda: statuses(shift)[0] == "succeeded")

    async def main() -> list[str]:
        async with working(tmp_path, clock, processes) as shift:
            often(shift, overlap, retry={**RETRY, "maxAttempts": 2, "initialDelay": 1.0})
            await shift.scheduler.load()
            clock.pass_(minutes=1)
            shift.look()
            [execution] = await shift.eventually(lambda: list(processes.running))
            processes.end(execution, "failed")
            await shift.eventually(lambda: statuses(shift) == ["queued"])
            pausing = "the time of its next attempt"
            await shift.eventually(lambda: shift.worker.waits_for(execution) == pausing)
            if not restarted:
                await newer_slot_and_retry(shift)
                return statuses(shift)
        async with working(tmp_path, clock, processes) as shift:
            await newer_slot_and_retry(shift)
            return statuses(shift)

    _, second = asyncio.run(main())
    assert second == "skipped" if overlap == "skip" else second in ("queued", "running")


def test_a_run_that_a_newer_one_replaces_says_so_unless_somebody_cancelled_it(
    tmp_path: Path,
) -> None:
    clock = MovableClock()
    processes = Processes(clock, at_once=False)

    async def main() -> list[str | None]:
        async with working(tmp_path, clock, processes) as shift:
            often(shift, "replace")
            await shift.scheduler.load()
            for count in (1, 2):
                clock.pass_(minutes=1)
                shift.look()
                await shift.eventually(lambda n=count: len(processes.begun) == n)
            [second] = processes.running
            assert await shift.worker.cancel(second, "cancelled by ada")
            await shift.worker.cancel(second, "replaced by a newer run")
            await shift.eventually(lambda: statuses(shift) == ["cancelled", "cancelled"])
            return [each.error for each in shift.history("often")]

    assert asyncio.run(main()) == ["replaced by a newer run", "cancelled by ada"]


def test_what_may_not_overlap_does_not_after_a_restart_either(tmp_path: Path) -> None:
    clock = MovableClock()
    processes = Processes(clock, at_once=False)

    async def main() -> list[str]:
        async with working(tmp_path, clock, processes) as shift:
            often(shift, "skip")
            await shift.scheduler.load()
            clock.pass_(minutes=1)
            shift.look()
            await shift.eventually(lambda: processes.running)
        async with working(tmp_path, clock, processes) as shift:
            clock.pass_(minutes=1)
            shift.look()
            await shift.eventually(lambda: len(shift.history("often")) == 2)
            assert len(processes.running) == 1
            processes.end(next(iter(processes.running)), "lost")
            await shift.eventually(lambda: statuses(shift)[0] == "lost")
            clock.pass_(minutes=1)
            shift.look()
            await shift.eventually(lambda: processes.running)
            return statuses(shift)

    assert asyncio.run(main()) == ["lost", "skipped", "running"], "a crash blocks nobody for ever"
