"""Thousands of random schedules near clock changes: against cronsim, and against the definition.

cronsim walks Debian cron's rules on another path. It is known to err in the five cases that
`where_cronsim_errs` names; there, and in a sample everywhere else, the slots are compared with
those found minute by minute from the rules' own wording.
"""

from __future__ import annotations

import random
from collections import Counter
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from cronsim import CronSim

from jobreconciler.core import cron
from jobreconciler.core.zones import Run, to_instant, to_seconds, zone

from .cron_cases import MINUTE, ZONES, by_definition, random_expression, utc


def changes_of(name: str) -> list[Run]:
    """Changes since 1985, when no clock had odd seconds any more."""
    first, last = to_seconds(utc("1985-01-01")), to_seconds(utc("2032-01-01"))
    return list(zone(name).changes(first, last))


def random_cases(seed: int, count: int) -> list[tuple[cron.Schedule, datetime, Run]]:
    """Schedules with an instant up to three days before, or one hour after, a clock change."""
    draw = random.Random(seed)
    changes = {name: changes_of(name) for name in ZONES}
    cases: list[tuple[cron.Schedule, datetime, Run]] = []
    while len(cases) < count:
        name = draw.choice(ZONES)
        change = draw.choice(changes[name])
        try:
            schedule = cron.parse(random_expression(draw), name)
        except cron.InvalidSchedule as problem:
            assert problem.reason == "NeverFires"
            continue
        minutes = draw.randint(-60, 72 * 60)
        at = to_instant(change.start - change.start % 60) - minutes * MINUTE
        cases.append((schedule, at, change))
    return cases


def where_cronsim_errs(schedule: cron.Schedule, at: datetime, change: Run) -> str:
    """Which of cronsim's known faults a case may meet; "" for none."""
    shift = change.offset - change.before
    if abs(shift) >= 86_400:
        return "a missing day"
    if not schedule.wildcard:
        in_second_pass = at.astimezone(ZoneInfo(schedule.timezone)).fold == 1
        return "an instant inside the second pass of a repeated hour" if in_second_pass else ""
    low, high = sorted((change.start + change.before, change.start + change.offset))
    if shift % 3600:
        return "a half-hour shift"
    if low % 3600:
        return "a change off the full hour (St John's at 00:01)"
    if (high // 86_400) * 86_400 >= low:
        return "a wildcard schedule over a midnight that is skipped or repeated"
    return ""


CASES = random_cases(seed=20261121, count=5000)
TRUSTED = [case for case in CASES if not where_cronsim_errs(*case)]
EXCEPTED = [case for case in CASES if where_cronsim_errs(*case)]


def test_the_cases_reach_every_zone_rule_and_exception() -> None:
    zones = Counter(schedule.timezone for schedule, _, _ in TRUSTED)
    assert set(zones) >= set(ZONES) - {"America/Caracas", "Pacific/Kwajalein"}
    assert {schedule.wildcard for schedule, _, _ in TRUSTED} == {True, False}
    assert len(TRUSTED) > 3000
    assert len(Counter(where_cronsim_errs(*case) for case in EXCEPTED)) == 5


def test_slots_are_those_of_cronsim() -> None:
    for schedule, at, _ in TRUSTED:
        oracle = CronSim(schedule.expression, at.astimezone(ZoneInfo(schedule.timezone)))
        slot: datetime | None = at
        for _ in range(4):
            expected = next(oracle).astimezone(UTC)
            assert slot is not None
            slot = cron.next_slot(schedule, slot)
            assert slot == expected, (schedule, at)


@pytest.mark.parametrize(
    "cases", [EXCEPTED[:120], TRUSTED[:60]], ids=["where cronsim errs", "where it does not"]
)
def test_slots_are_those_of_the_definition(
    cases: list[tuple[cron.Schedule, datetime, Run]],
) -> None:
    for schedule, at, _ in cases:
        until = at + timedelta(hours=30)
        expected = by_definition(schedule.expression, schedule.timezone, at, until)
        assert cron.slots_between(schedule, at, until) == expected, (schedule, at)
        assert cron.count_between(schedule, at, until) == len(expected), (schedule, at)


def test_counts_and_steps_back_agree_with_the_list() -> None:
    draw = random.Random(7)
    for schedule, at, _ in CASES[:1500]:
        until = at + draw.randint(1, 100 * 3600) * timedelta(seconds=1)
        slots = cron.slots_between(schedule, at, until)
        assert cron.count_between(schedule, at, until) == len(slots), (schedule, at, until)
        assert cron.last_slot_between(schedule, at, until) == (slots[-1] if slots else None)
        for earlier, later in pairwise(slots[:20]):
            assert earlier < later
            assert cron.previous_slot(schedule, later) == earlier, (schedule, later)


def test_start_minutes_are_the_minutes_of_the_slots() -> None:
    for schedule, at, _ in CASES[:800]:
        bits = cron.start_minutes(schedule, at, 1440)
        slots = cron.slots_between(schedule, at - MINUTE, at + 1439 * MINUTE)
        assert {n for n in range(1440) if bits >> n & 1} == {
            (slot - at) // MINUTE for slot in slots
        }, (schedule, at)
