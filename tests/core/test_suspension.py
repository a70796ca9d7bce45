"""Which stop holds for a job, when clocks can be believed, and what is late."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from jobreconciler.core import clock_watch, expectations, suspension
from jobreconciler.core.clock_watch import Anchor
from jobreconciler.core.misfire import stopped_slots
from jobreconciler.core.suspension import Subject
from jobreconciler.model.execution import Missed
from jobreconciler.model.job import ScheduleRow
from jobreconciler.model.suspension import Suspension

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
JOB = Subject("nightly", ("red", "blue"), "ops")


def at(minutes: float) -> datetime:
    return NOW + timedelta(minutes=minutes)


def stop(scope: Any = "job", target: str = "nightly", **given: Any) -> Suspension:
    return Suspension(scope, target, "ada", **{"created_at": NOW, **given})


COVERED = {
    "the fleet's pause covers every job": (stop("fleet", ""), True),
    "its own": (stop(), True),
    "another job's does not": (stop(target="other"), False),
    "one of its tags'": (stop("tag", "blue"), True),
    "a part of a tag is another tag": (stop("tag", "blu"), False),
    "its owner's": (stop("owner", "ops"), True),
    "another owner's does not": (stop("owner", "dev"), False),
}


@pytest.mark.parametrize("name", COVERED)
def test_cover(name: str) -> None:
    made, expected = COVERED[name]
    assert suspension.covers(made, JOB) is expected
    assert (suspension.holding([made], JOB, NOW) is made) is expected


HOLDS = {
    "without an end it holds": ({}, True),
    "before its end": ({"until": at(1)}, True),
    "not at its end": ({"until": at(0)}, False),
    "not after it was lifted": ({"until": at(5), "lifted_at": at(-1)}, False),
    "also where the clock was set back before its start": ({"created_at": at(60)}, True),
}


@pytest.mark.parametrize("name", HOLDS)
def test_holds(name: str) -> None:
    given, expected = HOLDS[name]
    assert suspension.is_active(stop(**given), NOW) is expected


def test_of_several_stops_the_fleets_is_told_first() -> None:
    own, fleet, older = stop(), stop("fleet", ""), stop("tag", "red", created_at=at(-9))
    assert suspension.holding([own, older, fleet], JOB, NOW) is fleet
    assert suspension.holding([own, older], JOB, NOW) is own


def test_the_last_of_the_stops_that_ended_is_found() -> None:
    first, last = stop(until=at(-5)), stop(until=at(-2))
    other, coming = stop(target="other", until=at(-1)), stop(until=at(5))
    assert suspension.last_ended([last, first, other, coming], JOB, at(-60), NOW) is last
    assert suspension.last_ended([last, first], JOB, at(-2), NOW) is None
    assert suspension.next_end([first, coming, stop()], NOW) == at(5)


def test_what_stops_a_job_is_said_in_a_sentence() -> None:
    end = at(60).replace(microsecond=838_868)
    made = stop("tag", "red", until=end, reason="disk full")
    assert suspension.sentence(made) == (
        "jobs tagged red are suspended by ada until 2026-11-22T13:00:00Z: disk full"
    )
    assert suspension.skip_reason(made) == "suspended"
    assert suspension.condition(stop("fleet", "")).reason == "Paused"
    assert suspension.suspension_json(stop("fleet", ""))["target"] is None


def test_slots_that_were_stopped_are_one_row() -> None:
    row = ScheduleRow("nightly", 1, "*/10 * * * *", "UTC", 0, "all", None, at(0), at(-99))
    assert stopped_slots(row, at(9), "paused") is None
    assert stopped_slots(row, at(35), "paused") == Missed(at(10), at(30), 3, "paused")


CLOCKS = {
    "both move alike": (600, 600, True),
    "five minutes ahead still pass": (900, 600, True),
    "a second more does not": (901, 600, False),
    "five minutes back still pass": (300, 600, True),
    "a second more back does not": (299, 600, False),
}


@pytest.mark.parametrize("name", CLOCKS)
def test_clocks(name: str) -> None:
    wall, monotonic, expected = CLOCKS[name]
    anchor = Anchor(NOW, 50.0)
    seen = NOW + timedelta(seconds=wall)
    assert clock_watch.believable(anchor, seen, 50.0 + monotonic) is expected
    parted = clock_watch.parted_by(anchor, seen, 50.0 + monotonic)
    assert ("forward" in clock_watch.sentence(parted)) is (wall > monotonic)


EXPECTED = {
    "in time": ({"successWithin": 3600}, {"last_success": at(-60)}, []),
    "late by a moment": ({"successWithin": 3599}, {"last_success": at(-60)}, ["Late"]),
    "never succeeded, just declared": ({"successWithin": 3600}, {"known_since": at(-59)}, []),
    "never succeeded for long": ({"successWithin": 3600}, {"known_since": at(-61)}, ["Late"]),
    "nothing expected": ({}, {"known_since": at(-9999), "running_since": at(-9999)}, []),
    "runs, but not for long": ({"runtimeWithin": 60}, {"running_since": at(-1)}, []),
    "runs too long": ({"runtimeWithin": 59}, {"running_since": at(-1)}, ["Overrunning"]),
    "nothing runs": ({"runtimeWithin": 1}, {}, []),
}


@pytest.mark.parametrize("name", EXPECTED)
def test_expectations(name: str) -> None:
    expect, seen, expected = EXPECTED[name]
    known = {"last_success": None, "known_since": at(-99_999), "running_since": None, **seen}
    found = expectations.limits({"payload": {"expect": expect}}, **known)
    assert [condition.type for condition in expectations.conditions(found, NOW)] == expected


def test_a_disabled_job_is_never_late() -> None:
    config = {"payload": {"isEnabled": False, "expect": {"successWithin": 1}}}
    found = expectations.limits(config, last_success=None, known_since=at(-99), running_since=None)
    assert found.late_after is None
