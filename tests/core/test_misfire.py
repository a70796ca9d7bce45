"""What becomes of slots whose time has passed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from jobreconciler.core import cron
from jobreconciler.core.misfire import due_slots, owed_after, start_of
from jobreconciler.model.execution import Missed
from jobreconciler.model.job import ScheduleRow

NOW = datetime(2026, 11, 22, 3, 0, 2, tzinfo=UTC)
DAY = timedelta(days=1)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def row(**changes: object) -> ScheduleRow:
    base = ScheduleRow(
        "nightly",
        1,
        "0 * * * *",
        "UTC",
        0,
        "latest",
        None,
        at("2026-11-22T02:00:00"),
        NOW - 9 * DAY,
    )
    return base._replace(**changes)


MISSED_SIX = Missed(at("2026-11-21T21:00:00"), at("2026-11-22T02:00:00"), 6, "catch_up_latest")
SINCE_EIGHT = at("2026-11-21T20:00:00")

CASES = {
    "nothing is due before the slot": (row(), at("2026-11-22T02:59:59"), [], []),
    "the slot is due at its second": (row(), at("2026-11-22T03:00:00"), [3], []),
    "the slot is due a little later": (row(), NOW, [3], []),
    "a job without catch-up still runs a slot that is on time": (
        row(catch_up="none"),
        NOW,
        [3],
        [],
    ),
    "a job without catch-up misses what is late": (
        row(catch_up="none"),
        at("2026-11-22T03:20:00"),
        [],
        [Missed(at("2026-11-22T03:00:00"), at("2026-11-22T03:00:00"), 1, "catch_up_none")],
    ),
    "latest runs one slot for them all": (row(watermark=SINCE_EIGHT), NOW, [3], [MISSED_SIX]),
    "latest runs the newest slot however late": (
        row(watermark=SINCE_EIGHT),
        at("2026-11-22T03:50:00"),
        [3],
        [MISSED_SIX],
    ),
    "all runs every slot, oldest first": (
        row(watermark=at("2026-11-22T00:00:00"), catch_up="all"),
        NOW,
        [1, 2, 3],
        [],
    ),
    "the deadline turns late slots into missed ones": (
        row(watermark=at("2026-11-22T00:00:00"), catch_up="all", starting_deadline_seconds=3700),
        NOW,
        [2, 3],
        [Missed(at("2026-11-22T01:00:00"), at("2026-11-22T01:00:00"), 1, "deadline_exceeded")],
    ),
    "a job owes nothing to the time before it was declared": (
        row(watermark=None, owed_from=at("2026-11-22T02:30:00")),
        NOW,
        [3],
        [],
    ),
    "a watermark ahead of the clock fires nothing twice": (
        row(watermark=at("2026-11-22T04:00:00")),
        NOW,
        [],
        [],
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_due(name: str) -> None:
    schedule, now, hours, missed = CASES[name]
    due = due_slots(schedule, now)
    assert [slot.hour for slot in due.run] == hours
    assert list(due.missed) == missed


CAUGHT_UP = {
    "several slots of a job that owes all": (
        {"catch_up": "all", "watermark": SINCE_EIGHT},
        2,
        True,
    ),
    "one of them that is late": ({"catch_up": "all"}, 600, True),
    "one that is on time is live": ({"catch_up": "all"}, 2, False),
    "the newest for them all is not owed beside others": ({"watermark": SINCE_EIGHT}, 2, False),
}


@pytest.mark.parametrize("name", CAUGHT_UP)
def test_caught_up(name: str) -> None:
    changes, late, expected = CAUGHT_UP[name]
    now = at("2026-11-22T03:00:00") + timedelta(seconds=late)
    assert due_slots(row(**changes), now).caught_up is expected


def test_all_runs_at_most_a_hundred_and_one_row_holds_the_rest() -> None:
    due = due_slots(row(watermark=NOW - 7 * DAY, catch_up="all", expression="* * * * *"), NOW)
    (missed,) = due.missed
    assert len(due.run) == 100
    assert due.run[-1] == at("2026-11-22T03:00:00")
    assert missed.count + len(due.run) == 7 * 24 * 60
    assert missed.reason == "catch_up_limit"
    assert missed.last < due.run[0]


def test_missed_slots_follow_the_daylight_saving_rules_of_live_ones() -> None:
    """30 2 * * * in Berlin over the fall-back night: the repeated hour counts once."""
    autumn = row(
        expression="30 2 * * *",
        timezone="Europe/Berlin",
        watermark=at("2026-10-23T12:00:00"),
        owed_from=at("2026-10-01T00:00:00"),
    )
    due = due_slots(autumn, at("2026-10-26T12:00:00"))
    assert due.run == (at("2026-10-26T01:30:00"),)
    assert due.missed[0].count == 2
    assert due.missed[0].last == at("2026-10-25T00:30:00")


def test_jitter_delays_a_slot_and_does_not_lose_it() -> None:
    jittered = row(jitter_seconds=1800)
    slot = at("2026-11-22T03:00:00")
    starts = [
        now
        for minute in range(31)
        if due_slots(jittered, now := slot + timedelta(minutes=minute)).run == (slot,)
    ]
    assert starts, "the slot runs within its jitter"
    assert starts[0] > slot
    assert starts[-1] == slot + timedelta(minutes=30)


@pytest.mark.parametrize("watermark", [None, NOW - 20 * DAY, NOW - DAY])
def test_what_is_settled_is_the_later_of_watermark_and_declaration(
    watermark: datetime | None,
) -> None:
    schedule = row(watermark=watermark)
    assert owed_after(schedule) == max(filter(None, (watermark, schedule.owed_from)))


@pytest.mark.parametrize("catch_up", ["none", "latest", "all"])
@pytest.mark.parametrize("late", [0.001, 2.0])
@pytest.mark.parametrize(
    ("expression", "jitter", "hours"),
    [
        ("*/5 * * * * *", 20, 1),
        ("* * * * *", 60, 3),
        ("*/5 * * * *", 600, 24),
        ("*/5 * * * *", 3600, 24),
        ("0,1 * * * *", 90, 24),
        ("0 * * * *", 3600, 48),
    ],
)
def test_however_long_the_jitter_each_slot_runs_once_and_in_order(
    expression: str, jitter: int, hours: int, late: float, catch_up: str
) -> None:
    """A daemon that is always there and wakes a moment after each start, as the heap tells it."""
    first = at("2026-11-22T00:00:00")
    jittered = row(expression=expression, jitter_seconds=jitter, catch_up=catch_up, watermark=first)
    schedule = cron.parse(expression, "UTC")
    wanted = cron.slots_between(schedule, first, first + timedelta(hours=hours))
    ran: list[datetime] = []
    while not ran or ran[-1] < wanted[-1]:
        slot = cron.next_slot(schedule, ran[-1] if ran else first)
        assert slot is not None
        now = start_of(jittered, slot) + timedelta(seconds=late)
        due = due_slots(jittered, now)
        assert due.missed == ()
        assert due.run
        assert now - start_of(jittered, due.run[0]) <= timedelta(seconds=late)
        ran += due.run
        jittered = jittered._replace(watermark=ran[-1])
    assert tuple(ran[: len(wanted)]) == wanted
