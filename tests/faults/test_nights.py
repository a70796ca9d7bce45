"""Nights on which clocks change, in five zones, at a thousand times real speed.

The schedule loop runs as it does in a daemon, over real stores; only time is faster: the event
loop's own clock and the one that is passed in.
"""

from __future__ import annotations

import asyncio
import selectors
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

from core.cron_cases import by_definition
from loops.shift import Processes, Shift, working

SPEED = 1000.0
BEFORE, AFTER = timedelta(minutes=70), timedelta(minutes=80)
GUARD = 60.0
"""Real seconds after which a night has stopped for good."""


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@dataclass(frozen=True)
class Night:
    """A change of clocks, and when each schedule with a fixed time is to start around it."""

    zone: str
    change: datetime
    fixed: dict[str, list[str]]

    @property
    def begins(self) -> datetime:
        return self.change - BEFORE

    @property
    def ends(self) -> datetime:
        return self.change + AFTER


NIGHTS = {
    "Berlin loses 02:00 to 03:00": Night(
        "Europe/Berlin",
        utc("2026-03-29T01:00"),
        {"30 2 * * *": ["2026-03-29T01:00"], "10,50 2 * * *": ["2026-03-29T01:00"]},
    ),
    "Berlin has 02:00 to 03:00 twice": Night(
        "Europe/Berlin",
        utc("2026-10-25T01:00"),
        {
            "30 2 * * *": ["2026-10-25T00:30"],
            "10,50 2 * * *": ["2026-10-25T00:10", "2026-10-25T00:50"],
        },
    ),
    "New York loses 02:00 to 03:00": Night(
        "America/New_York", utc("2026-03-08T07:00"), {"15 2 * * *": ["2026-03-08T07:00"]}
    ),
    "New York has 01:00 to 02:00 twice": Night(
        "America/New_York", utc("2026-11-01T06:00"), {"15 1 * * *": ["2026-11-01T05:15"]}
    ),
    "Lord Howe loses half an hour": Night(
        "Australia/Lord_Howe", utc("2026-10-03T15:30"), {"15 2 * * *": ["2026-10-03T15:30"]}
    ),
    "Lord Howe has half an hour twice": Night(
        "Australia/Lord_Howe", utc("2026-04-04T15:00"), {"45 1 * * *": ["2026-04-04T14:45"]}
    ),
    "Cairo loses the hour after midnight": Night(
        "Africa/Cairo", utc("2026-04-23T22:00"), {"0 0 * * *": ["2026-04-23T22:00"]}
    ),
    "Cairo has the hour before midnight twice": Night(
        "Africa/Cairo", utc("2026-10-29T21:00"), {"30 23 * * *": ["2026-10-29T20:30"]}
    ),
    "Santiago loses the hour after midnight": Night(
        "America/Santiago", utc("2026-09-06T04:00"), {"30 0 * * *": ["2026-09-06T04:00"]}
    ),
    "Santiago has the hour before midnight twice": Night(
        "America/Santiago", utc("2026-04-05T03:00"), {"30 23 * * *": ["2026-04-05T02:30"]}
    ),
}
WILDCARD = ("*/15 * * * *", "0 * * * *", "*/20 1-3 * * *", "20 */2 * * *")


class FastSelector(selectors.DefaultSelector):
    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        return super().select(timeout if timeout is None else timeout / SPEED)


class FastLoop(asyncio.SelectorEventLoop):
    """An event loop on which a second is over after a thousandth of one."""

    def __init__(self) -> None:
        super().__init__(FastSelector())

    def time(self) -> float:
        return super().time() * SPEED


class FastClock:
    """Stands at `at` until `go`, then goes as fast as the loop does."""

    def __init__(self, at: datetime) -> None:
        self._at = at
        self._began: float | None = None

    def go(self) -> None:
        self._began = time.monotonic()

    def monotonic(self) -> float:
        return 0.0 if self._began is None else (time.monotonic() - self._began) * SPEED

    def now(self) -> datetime:
        return self._at + timedelta(seconds=self.monotonic())


def expressions(night: Night) -> Iterator[tuple[str, str]]:
    """Job ids and their schedules."""
    for number, expression in enumerate((*night.fixed, *WILDCARD)):
        yield f"job-{number}", expression


async def live_through(
    path: Path, night: Night, together: asyncio.Barrier
) -> dict[str, list[datetime]]:
    """The slots that ran, by schedule."""
    clock = FastClock(night.begins)
    async with working(path, clock, Processes(clock)) as shift:
        for job_id, expression in expressions(night):
            schedule = {"timezone": night.zone, "catchUp": "all"}
            limits = {"maxConcurrent": 20}
            shift.declare(job_id, expression, schedule=schedule, limits=limits)
        await shift.scheduler.load()
        await together.wait()
        clock.go()
        while clock.now() < night.ends + timedelta(minutes=1):
            await asyncio.sleep(10)
        await idle(shift, night)
        return {expression: ran(shift, job_id, night) for job_id, expression in expressions(night)}


async def idle(shift: Shift, night: Night) -> None:
    """Wait until nothing of the night is left to do."""
    guard = time.monotonic() + GUARD
    while min(shift.scheduler.next_slots().values()) <= night.ends or any(
        shift.worker.counts().values()
    ):
        assert time.monotonic() < guard, "the night never ended"
        await asyncio.sleep(10)


def ran(shift: Shift, job_id: str, night: Night) -> list[datetime]:
    rows = shift.history(job_id)
    assert all(each.missed is None for each in rows)
    assert {each.status for each in rows} <= {"succeeded", "queued", "running"}
    slots = [each.trigger.slot for each in rows if each.trigger.slot is not None]
    return sorted(slot for slot in slots if slot <= night.ends)


def test_every_slot_of_the_night_runs_once_and_no_other_does(tmp_path: Path) -> None:
    async def all_of_them() -> list[dict[str, list[datetime]]]:
        together = asyncio.Barrier(len(NIGHTS))
        nights = enumerate(NIGHTS.values())
        return await asyncio.gather(
            *(live_through(tmp_path / str(number), night, together) for number, night in nights)
        )

    with asyncio.Runner(loop_factory=FastLoop) as runner:
        found = runner.run(all_of_them())
    for (name, night), slots in zip(NIGHTS.items(), found, strict=True):
        for expression, expected in night.fixed.items():
            told = f"{name}, {expression}"
            assert slots[expression] == [utc(each) for each in expected], told
        for expression in WILDCARD:
            listed = by_definition(expression, night.zone, night.begins, night.ends)
            assert slots[expression] == list(listed), f"{name}, {expression}"


def test_the_nights_are_nights_on_which_clocks_change() -> None:
    for name, night in NIGHTS.items():
        zone = ZoneInfo(night.zone)
        tick = timedelta(seconds=1)
        before = (night.change - tick).astimezone(zone).utcoffset()
        assert before != night.change.astimezone(zone).utcoffset(), name
