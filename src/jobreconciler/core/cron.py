"""Slots of a schedule: next, previous, between, how many. Pure; daylight saving included.

A slot is an aware UTC datetime in whole seconds. Which expressions are accepted, and why others
are refused, is cron_fields; the daylight-saving rules are cron_slots. Every answer is the same
for every instant between two slots, costs at most 5 ms (a listing 0.2 ms a slot on top), and is
None rather than an error past the years that datetime can hold.

Importing this module loads croniter (65 ms), so that no evaluation has to. Who only checks
expressions imports `parse` from cron_slots and does without.
"""

from __future__ import annotations

import hashlib
from datetime import datetime, timedelta
from functools import lru_cache

import croniter  # noqa: F401

from jobreconciler.core.cron_notes import Oddity, oddities, slot_note
from jobreconciler.core.cron_refusals import InvalidSchedule
from jobreconciler.core.cron_slots import (
    Schedule,
    count_at,
    minutes_at,
    next_at,
    parse,
    previous_at,
)
from jobreconciler.core.cron_words import in_words
from jobreconciler.core.zones import to_instant, to_seconds

__all__ = [
    "InvalidSchedule",
    "Oddity",
    "Schedule",
    "count_between",
    "describe",
    "jittered",
    "last_slot_between",
    "next_slot",
    "oddities",
    "parse",
    "previous_slot",
    "slot_after",
    "slot_note",
    "slots_between",
    "start_minutes",
]


def next_slot(schedule: Schedule, after: datetime) -> datetime | None:
    """The first slot strictly later than `after`."""
    found = next_at(schedule, to_seconds(after))
    return None if found is None else to_instant(found)


def previous_slot(schedule: Schedule, before: datetime) -> datetime | None:
    """The last slot strictly earlier than `before`."""
    seconds = to_seconds(before)
    found = previous_at(schedule, seconds + 1 if before.microsecond else seconds)
    return None if found is None else to_instant(found)


def slots_between(
    schedule: Schedule, after: datetime, until: datetime, limit: int | None = None
) -> tuple[datetime, ...]:
    """Slots in (after, until], oldest first, at most `limit` of them."""
    slots: list[datetime] = []
    at, end = next_at(schedule, to_seconds(after)), to_seconds(until)
    while at is not None and at <= end and (limit is None or len(slots) < limit):
        slots.append(to_instant(at))
        at = next_at(schedule, at)
    return tuple(slots)


def count_between(schedule: Schedule, after: datetime, until: datetime) -> int:
    """How many slots lie in (after, until], without listing them."""
    return count_at(schedule, to_seconds(after), to_seconds(until))


def last_slot_between(schedule: Schedule, after: datetime, until: datetime) -> datetime | None:
    """The newest slot in (after, until]."""
    found = previous_at(schedule, to_seconds(until) + 1)
    return None if found is None or found <= to_seconds(after) else to_instant(found)


def start_minutes(schedule: Schedule, start: datetime, minutes: int) -> int:
    """Which of the `minutes` after `start` (its full minute) hold a slot, as bits."""
    first = to_seconds(start)
    return minutes_at(schedule, first - first % 60, minutes)


def describe(expression: str) -> str:
    """The expression in words: "every 15 minutes", "at 02:00 on Mondays".

    Raises InvalidSchedule.
    """
    return in_words(parse(expression).fields)


def jittered(
    job_id: str, slot: datetime, jitter_seconds: int, expression: str, timezone: str
) -> datetime:
    """When a slot is to start: 0 to `jitter_seconds` later, by a hash of job and slot, and before
    the schedule's next slot in any case: so slots start in their order.

    Always the same for all of these, on any machine; in steps of a millisecond.
    """
    if jitter_seconds <= 0:
        return slot
    spread = jitter_seconds * 1000 + 1
    following = slot_after(expression, timezone, slot)
    if following is not None:
        spread = min(spread, (following - slot) // timedelta(milliseconds=1))
    key = f"{job_id}\0{to_seconds(slot)}".encode()
    drawn = int.from_bytes(hashlib.blake2b(key, digest_size=8).digest(), "big")
    return slot + timedelta(milliseconds=drawn % spread)


@lru_cache(maxsize=4096)
def slot_after(expression: str, timezone: str, after: datetime) -> datetime | None:
    """As `next_slot`. Fleets repeat themselves: thousands of jobs share a few hundred schedules."""
    return next_slot(parse(expression, timezone), after)
