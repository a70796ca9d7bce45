"""What daylight saving does to a schedule, in sentences that name the wall clock and the zone."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Final, NamedTuple

from jobreconciler.core.cron_slots import Schedule, previous_at
from jobreconciler.core.zones import LONGEST_SHIFT, Run, to_instant, to_seconds

_SHOWN: Final = 3


class Oddity(NamedTuple):
    """One change of the clock that the schedule feels: when (UTC), and what it does."""

    at: datetime
    text: str


def slot_note(schedule: Schedule, slot: datetime) -> str:
    """What is unusual about one slot; "" for an ordinary one."""
    at = to_seconds(slot)
    run = schedule.zone.run(at)
    if run.offset > run.before and _first_since(schedule, run, at):
        return _gap(schedule, run)
    wall = at + run.offset
    if wall < run.start + run.before:
        return f"{_moment(schedule, wall)} happens twice: this is the second time ({_utc(run)})"
    coming = next(schedule.zone.changes(at, at + LONGEST_SHIFT), None)
    if coming is not None and wall >= coming.start + coming.offset:
        which = "this is the first time" if schedule.wildcard else "it runs the first time only"
        return f"{_moment(schedule, wall)} happens twice: {which} ({_utc(run)})"
    return ""


def oddities(schedule: Schedule, after: datetime, until: datetime) -> Iterator[Oddity]:
    """Clock changes in (after, until] that take slots away, move them or give them twice.

    A wildcard schedule that runs every hour is by elapsed time; a change by an hour or two is
    nothing unusual for it.
    """
    for run in schedule.zone.changes(to_seconds(after), to_seconds(until)):
        whole_hours = abs(run.offset - run.before) in (3600, 7200)
        if schedule.wildcard and schedule.calendar.every_hour and whole_hours:
            continue
        text = _gap(schedule, run) if run.offset > run.before else _repeat(schedule, run)
        if text:
            yield Oddity(to_instant(run.start), text)


def _first_since(schedule: Schedule, run: Run, at: int) -> bool:
    if not schedule.wildcard:
        return at == run.start
    earlier = previous_at(schedule, at)
    return earlier is None or earlier < run.start


def _gap(schedule: Schedule, run: Run) -> str:
    low, high = run.start + run.before, run.start + run.offset
    count = schedule.calendar.count(low, high)
    if not count:
        return ""
    walls, verb = _walls(schedule, low, high, count), "does" if count == 1 else "do"
    missing = f"{walls} {verb} not exist in {schedule.timezone}"
    if schedule.wildcard:
        return f"{missing}: skipped, the clock goes from {_time(low)} to {_time(high, low)}"
    return f"{missing}: {'runs' if count == 1 else 'one run'} at {_time(high, low)}"


def _repeat(schedule: Schedule, run: Run) -> str:
    low, high = run.start + run.offset, run.start + run.before
    count = schedule.calendar.count(low, high)
    if not count:
        return ""
    walls, verb = _walls(schedule, low, high, count), "happens" if count == 1 else "happen"
    which = "runs both times" if schedule.wildcard else "runs the first time only"
    return f"{walls} {verb} twice in {schedule.timezone}: {which}"


def _walls(schedule: Schedule, low: int, high: int, count: int) -> str:
    """ "2027-03-28 02:30", "2027-03-28 02:00, 02:15, 02:30 and 1 more"."""
    shown: list[str] = []
    day, wall = -1, schedule.calendar.next(low)
    while wall is not None and wall < high and len(shown) < _SHOWN:
        shown.append(_time(wall, None if day < 0 else day * 86_400))
        if day < 0:
            shown[0] = f"{_date(wall)} {_time(wall)}"
        day = wall // 86_400
        wall = schedule.calendar.next(wall + 1)
    more = f" and {count - len(shown)} more" if count > len(shown) else ""
    return ", ".join(shown) + more


def _moment(schedule: Schedule, wall: int) -> str:
    return f"{_date(wall)} {_time(wall)} in {schedule.timezone}"


def _date(wall: int) -> str:
    return to_instant(wall).strftime("%Y-%m-%d")


def _time(wall: int, beside: int | None = None) -> str:
    """The time of day, with the date where that differs from the one of `beside`."""
    shown = to_instant(wall).strftime("%H:%M:%S" if wall % 60 else "%H:%M")
    if beside is not None and wall // 86_400 != beside // 86_400:
        return f"{_date(wall)} {shown}"
    return shown


def _utc(run: Run) -> str:
    minutes = abs(run.offset) // 60
    return f"UTC{'-' if run.offset < 0 else '+'}{minutes // 60:02}:{minutes % 60:02}"
