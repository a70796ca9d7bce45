"""A clock that jumps, a machine that sleeps: nothing fires twice, nothing passes unrecorded."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from jobreconciler.model.execution import Missed
from loops.shift import MovableClock, Processes, Shift, working

HOUR = timedelta(hours=1)
Play = Callable[[Shift, MovableClock], Awaitable[None]]


def scene(path: Path, play: Play, **job: object) -> None:
    """A job each ten minutes, and a daemon over a clock that only `play` moves."""
    clock = MovableClock()

    async def main() -> None:
        async with working(path, clock, Processes(clock)) as shift:
            shift.declare("often", "*/10 * * * *", schedule={"catchUp": "latest", **job})
            await shift.scheduler.load()
            await play(shift, clock)
            check(shift)

    asyncio.run(main())


def check(shift: Shift) -> None:
    """Each slot up to the last one handled is in one row."""
    slots: Counter[datetime] = Counter()
    for each in shift.history("often"):
        if each.missed is not None:
            missed = each.missed
            covered = [missed.first + n * timedelta(minutes=10) for n in range(missed.count)]
            assert covered[-1] == missed.last
            slots.update(covered)
        elif each.trigger.slot is not None:
            slots[each.trigger.slot] += 1
    assert set(slots.values()) == {1}
    step = timedelta(minutes=10)
    assert len(slots) == (max(slots) - min(slots)) // step + 1, "a slot is in no row"


def ran(shift: Shift) -> int:
    return sum(each.status == "succeeded" for each in shift.history("often"))


def missed(shift: Shift) -> list[Missed]:
    return [each.missed for each in shift.history("often") if each.missed is not None]


async def go_on(shift: Shift, clock: MovableClock, minutes: int) -> None:
    """Time passes minute by minute, and everything that is due is done."""
    for _ in range(minutes):
        clock.pass_(minutes=1)
        await shift.settled()


def test_set_back_an_hour_it_stops_until_confirmed_and_fires_nothing_twice(tmp_path: Path) -> None:
    async def play(shift: Shift, clock: MovableClock) -> None:
        await go_on(shift, clock, 61)
        assert ran(shift) == 6
        clock.at -= HOUR
        await go_on(shift, clock, 30)
        assert shift.scheduler.clock_fault is not None
        assert "set back by 3600 s" in shift.scheduler.clock_fault
        assert ran(shift) == 6
        assert shift.scheduler.confirm_clock()
        await go_on(shift, clock, 30)
        assert shift.scheduler.clock_fault is None
        assert ran(shift) == 6, "the hour that comes again was handled"
        await go_on(shift, clock, 20)
        assert ran(shift) == 8

    scene(tmp_path, play)


def test_set_forward_a_day_it_stops_until_confirmed_and_then_the_day_is_one_row(
    tmp_path: Path,
) -> None:
    async def play(shift: Shift, clock: MovableClock) -> None:
        await go_on(shift, clock, 31)
        assert ran(shift) == 3
        clock.at += 24 * HOUR
        await go_on(shift, clock, 30)
        assert "set forward by 86400 s" in str(shift.scheduler.clock_fault)
        assert ran(shift) == 3
        assert missed(shift) == []
        shift.scheduler.confirm_clock()
        await shift.settled()
        [day] = missed(shift)
        assert day.count == 24 * 6 + 2
        assert ran(shift) == 4, "one run for all of them"
        await go_on(shift, clock, 10)
        assert ran(shift) == 5

    scene(tmp_path, play)


def test_a_wrong_clock_that_is_put_right_costs_only_what_passed_meanwhile(tmp_path: Path) -> None:
    async def play(shift: Shift, clock: MovableClock) -> None:
        await go_on(shift, clock, 11)
        clock.at += 24 * HOUR
        await go_on(shift, clock, 35)
        clock.at -= 24 * HOUR
        await shift.settled()
        assert shift.scheduler.clock_fault is None, "nobody had to confirm it"
        assert [each.count for each in missed(shift)] == [2]
        assert ran(shift) == 2

    scene(tmp_path, play)


@pytest.mark.parametrize(
    ("catch_up", "runs", "rows"),
    [
        pytest.param("latest", 2, [5], id="latest: one run, one row for the others"),
        pytest.param("none", 1, [6], id="none: one row for all"),
        pytest.param("all", 7, [], id="all: each of them runs"),
    ],
)
def test_a_machine_that_slept_for_an_hour_catches_up(
    tmp_path: Path, catch_up: str, runs: int, rows: list[int]
) -> None:
    """Both clocks go on while it sleeps, so that nobody doubts either of them."""

    async def play(shift: Shift, clock: MovableClock) -> None:
        await go_on(shift, clock, 15)
        assert ran(shift) == 1
        clock.pass_(hours=1)
        await shift.settled()
        assert shift.scheduler.clock_fault is None
        await shift.eventually(lambda: ran(shift) == runs)
        assert [each.count for each in missed(shift)] == rows

    scene(tmp_path, play, catchUp=catch_up)


@pytest.mark.parametrize("minutes", [-4, 4])
def test_a_step_of_a_few_minutes_is_taken_as_it_comes(tmp_path: Path, minutes: int) -> None:
    async def play(shift: Shift, clock: MovableClock) -> None:
        await go_on(shift, clock, 31)
        clock.at += timedelta(minutes=minutes)
        await go_on(shift, clock, 3)
        assert shift.scheduler.clock_fault is None
        assert ran(shift) == 3
        await go_on(shift, clock, 30)
        assert ran(shift) == 6
        assert missed(shift) == []

    scene(tmp_path, play)
