"""Schedules, and the walk from wall-clock matches to instants, by Debian cron's rules.

A *wildcard* schedule (minute or hour begins with `*`) has a slot at every instant at which the
wall clock shows a match: readings that a gap skips never come, readings that are repeated come
twice. A *fixed* one has a slot, for each matching reading, at the first instant at which the wall
clock shows that reading or a later one: the end of the gap for a reading that is skipped, the
first pass for one that is repeated. Several readings with one such instant are one slot. (Debian
cron 3.0pl1's treatment of clock changes up to three hours; here for any size, a missing day too.)

All instants here are whole seconds since the epoch, see zones.py.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Any, Final

from jobreconciler.core.cron_calendar import Calendar, calendar_of
from jobreconciler.core.cron_fields import Expression, read
from jobreconciler.core.zones import END, FIRST, LONGEST_SHIFT, Run, Zone, zone

_NEAR: Final = 2 * 86_400


@dataclass(frozen=True)
class Schedule:
    """A checked expression in a checked zone; equal and hashed by these two texts.

    `wildcard` says which of the two daylight-saving rules holds.
    """

    expression: str
    timezone: str
    fields: Expression = field(repr=False, compare=False)

    @property
    def wildcard(self) -> bool:
        return self.fields.wildcard

    @property
    def calendar(self) -> Calendar:
        return self.walk[1]

    @property
    def zone(self) -> Zone:
        return self.walk[2]

    @cached_property
    def walk(self) -> tuple[bool, Calendar, Zone]:
        """What every evaluation needs, made at the first one: only that needs croniter."""
        return self.fields.wildcard, calendar_of(self.fields), zone(self.timezone)

    def __reduce__(self) -> tuple[Any, ...]:
        return parse, (self.expression, self.timezone)


@lru_cache(maxsize=16_384)
def parse(expression: str, timezone: str = "UTC") -> Schedule:
    """Check an expression and a zone. Raises InvalidSchedule, see cron_fields."""
    fields = read(expression)
    zone(timezone)
    return Schedule(expression, timezone, fields)


def next_at(schedule: Schedule, after: int) -> int | None:
    """The first slot later than `after`, None if there is none before the year 10000."""
    wildcard, calendar, where = schedule.walk
    at = after + 1 if after >= FIRST else FIRST
    while at < END:
        run = where.run(at)
        start, end, _, offset = run
        wall = calendar.next(at + offset if wildcard else _low(run, at))
        if wall is None:
            return None
        slot = wall - offset
        if slot < end:
            slot = slot if slot > start else start
            return slot if slot < END else None
        at = _skip_ahead(at, run, slot, wildcard)
    return None


def previous_at(schedule: Schedule, before: int) -> int | None:
    """The last slot earlier than `before`, None if there is none after the year 0."""
    wildcard, calendar, where = schedule.walk
    at = before - 1 if before < END else END - 1
    while at >= FIRST:
        run = where.run(at)
        start, _, earlier, offset = run
        wall = calendar.previous(at + offset)
        if wall is None:
            return None
        slot = wall - offset
        if wall >= start + (offset if wildcard else earlier):
            slot = slot if slot > start else start
            return slot if slot >= FIRST else None
        at = _skip_back(at, run, slot, wildcard)
    return None


def count_at(schedule: Schedule, after: int, until: int) -> int:
    """How many slots lie in (after, until], from the offset changes in it alone."""
    first, last = max(after + 1, FIRST), min(until, END - 1)
    if last < first:
        return 0
    calendar, where = schedule.calendar, schedule.zone
    start, end = where.run(first), where.run(last)
    changes = where.changes(first - 1, last)
    if schedule.wildcard:
        total = calendar.count(first + start.offset, last + 1 + end.offset)
        # A gap's readings are in that sum and never come; repeated ones come once more.
        return total + sum(
            calendar.count(run.start + run.offset, run.start + run.before) for run in changes
        )
    low = _low(start, first)
    high = max(end.start + end.before, last + 1 + end.offset)
    return calendar.count(low, high) - sum(_merged(calendar, run) for run in changes)


def minutes_at(schedule: Schedule, first: int, minutes: int) -> int:
    """The minutes of [first, first + minutes) that hold a slot, as bits; `first` a full minute."""
    calendar, where = schedule.calendar, schedule.zone
    end, at, found = first + 60 * minutes, first, 0
    while at < end:
        run = where.run(at)
        low, high = at + run.offset, min(end, run.end) + run.offset
        if not schedule.wildcard:
            low = max(low, run.start + run.before)
            gap_end = run.start + run.offset
            if at == run.start and calendar.count(run.start + run.before, gap_end) > 0:
                found |= 1 << (at - first) // 60
        if low < high:
            found |= calendar.minutes(low, high) << (low - run.offset - first) // 60
        at = run.end
    return found & (1 << minutes) - 1


def _low(run: Run, at: int) -> int:
    """The first reading that a fixed schedule may owe at or after `at`, within the run.

    Runs share out the readings: each has those from `start + before` to `end + offset`.
    """
    shared = run.start + run.before
    return shared if at <= run.start else max(shared, at + run.offset)


def _merged(calendar: Calendar, run: Run) -> int:
    """How many readings that a gap skips are no slot of their own."""
    gap_end = run.start + run.offset
    skipped = calendar.count(run.start + run.before, gap_end) if run.offset > run.before else 0
    return skipped - 1 + calendar.count(gap_end, gap_end + 1) if skipped else 0


def _skip_ahead(at: int, run: Run, slot: int, wildcard: bool) -> int:
    """Where to look next when a run holds no slot any more and, but for its end, `slot` is next.

    Leaving out the runs in between is safe once no clock moved back can show again what was
    passed over; a fixed schedule passes over each reading once.
    """
    far = not wildcard or run.end - at >= LONGEST_SHIFT
    return max(run.end, slot - _NEAR) if far else run.end


def _skip_back(at: int, run: Run, slot: int, wildcard: bool) -> int:
    far = not wildcard or at - run.start >= LONGEST_SHIFT
    return min(run.start - 1, slot + _NEAR) if far else run.start - 1
