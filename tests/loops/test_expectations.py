"""Late and Overrunning are told when they begin, daily while they last, and end by themselves."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from jobreconciler.loops.expectations import ExpectationLoop
from jobreconciler.model.execution import Trigger
from jobreconciler.model.notice import Notice

from .shift import MovableClock, Processes, Shift, working

CHANNELS = {"ops": {"type": "webhook", "url": {"env": "OPS"}}}
TOLD = {"onMissed": ["ops"], "channels": CHANNELS}


class Watch:
    """Looks at a shift's expectations, and takes what was written to the outbox."""

    def __init__(self, shift: Shift) -> None:
        self.shift = shift
        self.woken = 0
        self.loop = ExpectationLoop(
            shift.store, shift.clock, shift.metrics, shift.stops, self._wake
        )

    def _wake(self) -> None:
        self.woken += 1

    async def look(self) -> list[Notice]:
        """The notices that one look leads to."""
        await self.loop.look()
        store, found = self.shift.store, []
        for channel in store.due_channels():
            while (notice := store.next_notice(channel, self.shift.clock.now())) is not None:
                await asyncio.wrap_future(store.notice_delivered(notice.id, self.shift.clock.now()))
                found.append(notice)
        return found

    async def events(self) -> list[str]:
        return [notice.event for notice in await self.look()]


def scene(path: Path, play: Callable[[Shift, MovableClock, Processes], Awaitable[None]]) -> None:
    clock = MovableClock()

    async def main() -> None:
        processes = Processes(clock, at_once=False)
        async with working(path, clock, processes) as shift:
            await play(shift, clock, processes)

    asyncio.run(main())


def expecting(shift: Shift, **expect: Any) -> None:
    shift.declare("nightly", "0 2 * * *", expect=expect, notifications=TOLD)


async def run(shift: Shift) -> str:
    pinned = shift.store.pinned(["nightly"])["nightly"]
    made = await shift.worker.releases.release(pinned, Trigger("manual", actor="ada"))
    assert made is not None
    await shift.eventually(lambda: made.id in shift.processes.running)
    return made.id


async def end(shift: Shift, execution_id: str, status: Any = "succeeded") -> None:
    shift.processes.end(execution_id, status)
    await shift.eventually(lambda: shift.history("nightly")[-1].status == status)


def test_late_is_told_once_then_daily_until_the_job_succeeds(tmp_path: Path) -> None:
    async def play(shift: Shift, clock: MovableClock, _: Processes) -> None:
        expecting(shift, successWithin=3600)
        watch = Watch(shift)
        began = clock.at + timedelta(hours=1)
        clock.pass_(minutes=59)
        assert await watch.events() == []
        clock.pass_(minutes=20)
        [first] = await watch.look()
        assert (first.event, first.content["status"], first.content["repeat"]) == (
            "late",
            "late",
            False,
        )
        since = datetime.fromisoformat(first.content["since"])
        assert abs((since - began).total_seconds()) < 1, "told since when it is late"
        assert "successWithin" in first.content["error"]
        assert watch.woken == 1
        assert await watch.events() == []
        clock.pass_(hours=23, minutes=50)
        assert await watch.events() == []
        clock.pass_(minutes=11)
        [again] = await watch.look()
        assert (again.event, again.content["repeat"]) == ("late", True)
        assert again.content["since"] == first.content["since"]
        await end(shift, await run(shift))
        assert await watch.events() == []
        assert shift.store.told() == {}
        clock.pass_(minutes=61)
        assert await watch.events() == ["late"], "it began anew"

    scene(tmp_path, play)


def test_overrunning_names_the_run_and_is_over_when_that_ends(tmp_path: Path) -> None:
    async def play(shift: Shift, clock: MovableClock, _: Processes) -> None:
        expecting(shift, runtimeWithin=60)
        watch = Watch(shift)
        execution = await run(shift)
        clock.pass_(seconds=50)
        assert await watch.events() == []
        clock.pass_(seconds=20)
        [notice] = await watch.look()
        assert (notice.event, notice.execution_id) == ("overrunning", execution)
        assert await watch.events() == []
        await end(shift, execution, "failed")
        assert await watch.events() == []
        second = await run(shift)
        clock.pass_(seconds=70)
        [notice] = await watch.look()
        assert (notice.event, notice.execution_id) == ("overrunning", second)

    scene(tmp_path, play)


def test_a_state_that_was_told_of_is_told_by_no_later_daemon(tmp_path: Path) -> None:
    clock = MovableClock()

    async def main() -> None:
        async with working(tmp_path, clock, Processes(clock)) as shift:
            expecting(shift, successWithin=60)
            clock.pass_(minutes=5)
            assert await Watch(shift).events() == ["late"]
        async with working(tmp_path, clock, Processes(clock)) as shift:
            assert await Watch(shift).events() == []

    asyncio.run(main())


def test_a_suspended_job_that_is_late_says_who_stopped_it(tmp_path: Path) -> None:
    async def play(shift: Shift, clock: MovableClock, _: Processes) -> None:
        expecting(shift, successWithin=60)
        await shift.stops.put("job", "nightly", actor="bo", reason="repair", until=None)
        clock.pass_(minutes=5)
        [notice] = await Watch(shift).look()
        assert "suspended by bo" in notice.content["error"]

    scene(tmp_path, play)


def test_nobody_is_told_where_nobody_asked(tmp_path: Path) -> None:
    async def play(shift: Shift, clock: MovableClock, _: Processes) -> None:
        quiet = {"onFailure": ["ops"], "channels": CHANNELS}
        shift.declare("nightly", "0 2 * * *", expect={"successWithin": 60}, notifications=quiet)
        clock.pass_(minutes=5)
        assert await Watch(shift).events() == []
        assert shift.store.told() == {}

    scene(tmp_path, play)


def test_the_next_look_is_when_the_next_limit_is_passed(tmp_path: Path) -> None:
    async def play(shift: Shift, clock: MovableClock, _: Processes) -> None:
        declared = clock.at
        expecting(shift, successWithin=3600)
        coming = await Watch(shift).loop.look()
        assert coming is not None
        assert abs((coming - declared).total_seconds() - 3600) < 1
        clock.pass_(hours=2)
        assert await Watch(shift).loop.look() is None

    scene(tmp_path, play)
