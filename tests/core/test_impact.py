"""What a plan says about schedules."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest

from jobreconciler.core import cron, impact
from jobreconciler.core.impact import fleet_impact, job_impact

from .cron_cases import random_expression, utc

NOW = utc("2027-01-15T12:00:30")
BERLIN = "Europe/Berlin"


def config(expression: str | None = None, zone: str = "UTC", **schedule: Any) -> dict[str, Any]:
    payload: dict[str, Any] = {"isEnabled": schedule.pop("job", True)}
    if expression is not None:
        payload["schedule"] = {
            "cronExpression": expression,
            "timezone": zone,
            "isEnabled": True,
            "catchUp": "latest",
            "jitterSeconds": 0,
            **schedule,
        }
    return {"meta": {"id": "job"}, "payload": payload}


NIGHTLY = config("30 2 * * *", BERLIN)
HOURLY = config("0 * * * *")

# situation, old, new, the sentences
SENTENCES = [
    ("a new job", None, HOURLY,
     ["runs every hour (UTC)", "24 runs a day", "next run 2027-01-15T13:00:00Z"]),
    ("a deleted job", HOURLY, None,
     ["no more runs by schedule: the job is deleted (was every hour (UTC))"]),
    ("a job that is switched off", HOURLY, config("0 * * * *", job=False),
     ["no more runs by schedule: the job is off (was every hour (UTC))"]),
    ("a schedule that is switched off", HOURLY, config("0 * * * *", isEnabled=False),
     ["no more runs by schedule: the schedule is off (was every hour (UTC))"]),
    ("a schedule that is taken away", HOURLY, config(),
     ["no more runs by schedule: there is no schedule (was every hour (UTC))"]),
    ("a job that is switched on again", config("0 * * * *", job=False), HOURLY,
     ["runs every hour (UTC)", "24 runs a day", "next run 2027-01-15T13:00:00Z",
      "slots of the time in which the job is off are not caught up"]),
    ("another expression", HOURLY, config("*/20 * * * *"),
     ["runs every 20 minutes (UTC), was every hour (UTC)", "72 runs a day, was 24 runs",
      "next run 2027-01-15T12:20:00Z, was 2027-01-15T13:00:00Z",
      "slots missed under the old schedule are not caught up"]),
    ("another zone, into the gap and the repeated hour", config("30 2 * * *"), NIGHTLY,
     ["runs every day at 02:30 (Europe/Berlin), was every day at 02:30 (UTC)",
      "next run 2027-01-16T01:30:00Z, was 2027-01-16T02:30:00Z",
      "2027-03-28 02:30 does not exist in Europe/Berlin: runs at 03:00",
      "2027-10-31 02:30 happens twice in Europe/Berlin: runs the first time only",
      "slots missed under the old schedule are not caught up"]),
    ("catching up all", HOURLY, config("0 * * * *", catchUp="all"),
     ["after a day's outage 24 runs are caught up, one after another"]),
    ("catching up all of very many", HOURLY, config("* * * * *", catchUp="all"),
     ["runs every minute (UTC), was every hour (UTC)", "1,440 runs a day, was 24 runs",
      "next run 2027-01-15T12:01:00Z, was 2027-01-15T13:00:00Z",
      "slots missed under the old schedule are not caught up",
      "after a day's outage 100 runs are caught up, one after another"]),
    ("catching up none", HOURLY, config("0 * * * *", catchUp="none"),
     ["slots missed during an outage will not run"]),
    ("catching up the latest again", config("0 * * * *", catchUp="none"), HOURLY,
     ["after an outage one run stands for all that were missed"]),
    ("more jitter than there is time", HOURLY, config("0 * * * *", jitterSeconds=4000),
     ["a jitter of 4000 s is longer than the 3600 s between two slots: each starts"
      " before the next slot"]),
    ("a rare schedule", None, config("0 0 1 1 *"),
     ["runs at 00:00 on day 1 of the month in January (UTC)", "0.0027 runs a day",
      "next run 2028-01-01T00:00:00Z"]),
    ("an old one that today's rules refuse", config("5/15 * * * *"), HOURLY,
     ["runs every hour (UTC), was 5/15 * * * * (UTC)", "24 runs a day, was 0 runs",
      "next run 2027-01-15T13:00:00Z", "slots missed under the old schedule are not caught up"]),
]  # fmt: skip


@pytest.mark.parametrize(
    ("old", "new", "sentences"), [row[1:] for row in SENTENCES], ids=[r[0] for r in SENTENCES]
)
def test_sentences(
    old: dict[str, Any] | None, new: dict[str, Any] | None, sentences: list[str]
) -> None:
    found = job_impact(old, new, NOW)
    assert found is not None
    assert found["text"] == sentences
    json.dumps(found)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (HOURLY, HOURLY),
        (HOURLY, {**HOURLY, "meta": {"id": "job", "title": "Another title"}}),
        (None, config()),
        (config(), config()),
        (config("0 * * * *", job=False), config("5 * * * *", job=False)),
        (config("0 * * * *", isEnabled=False), None),
    ],
    ids=[
        "the same",
        "another title",
        "a new job without a schedule",
        "no schedule on either side",
        "another time while the job is off",
        "deleted while the schedule was off",
    ],
)
def test_no_impact(old: dict[str, Any] | None, new: dict[str, Any] | None) -> None:
    assert job_impact(old, new, NOW) is None


def test_values() -> None:
    found = job_impact(config("*/20 * * * *"), NIGHTLY, NOW)
    assert found is not None
    assert found["runsPerDay"] == {"old": 72.0, "new": 1.0}
    assert found["nextRun"] == {"old": "2027-01-15T12:20:00Z", "new": "2027-01-16T01:30:00Z"}
    assert found["schedule"]["new"] == {
        "cronExpression": "30 2 * * *",
        "timezone": BERLIN,
        "words": "every day at 02:30 (Europe/Berlin)",
        "isActive": True,
    }
    assert [oddity["at"] for oddity in found["oddities"]] == [
        "2027-03-28T01:00:00Z",
        "2027-10-31T01:00:00Z",
    ]


# ----------------------------------------------------------------------------------------- fleet


def test_minutes_that_get_fuller_are_named() -> None:
    before = [("0 2 * * *", "UTC")] * 3 + [("30 * * * *", "UTC")]
    after = [*before, ("0 3 * * *", BERLIN), ("*/30 2 * * *", "UTC")]
    found = fleet_impact(before, after, NOW, capacity=3)
    assert found["from"] == "2027-01-15T12:01:00Z"
    assert found["until"] == "2027-01-16T12:01:00Z"
    assert found["before"] == {
        "jobs": 4,
        "starts": 27,
        "over": 0,
        "busiest": [
            {"at": "2027-01-16T02:00:00Z", "starts": 3},
            {"at": "2027-01-15T12:30:00Z", "starts": 1},
            {"at": "2027-01-15T13:30:00Z", "starts": 1},
        ],
        "sampled": None,
        "unreadable": 0,
    }
    assert found["after"]["busiest"][:2] == [
        {"at": "2027-01-16T02:00:00Z", "starts": 5},
        {"at": "2027-01-16T02:30:00Z", "starts": 2},
    ]
    assert found["text"] == [
        "starts in the next 24 hours: 30, was 27",
        "busiest minute: 2027-01-16T02:00:00Z with 5 starts, was 3 at most",
        "minutes with more than 3 starts: 1, was 0; starts beyond the capacity wait",
    ]
    json.dumps(found)


def test_without_a_capacity_nothing_is_over_it() -> None:
    found = fleet_impact([], [("* * * * *", "UTC")], NOW)
    assert found["before"]["busiest"] == []
    assert found["after"]["over"] is None
    assert found["after"]["starts"] == 1440
    assert len(found["text"]) == 2


def test_a_fleet_that_stays_as_it_is_says_nothing() -> None:
    fleet = [("0 2 * * *", "UTC"), ("0 3 * * *", BERLIN)]
    assert fleet_impact(fleet, reversed(fleet), NOW, capacity=1)["text"] == []


def test_what_is_no_schedule_is_counted_and_left_out() -> None:
    found = fleet_impact([], [("@reboot", "UTC"), ("0 2 * * *", "Nowhere"), ("@daily", "UTC")], NOW)
    assert found["after"]["unreadable"] == 2
    assert found["after"]["starts"] == 1


def test_counts_are_those_of_every_schedule_listed() -> None:
    draw = random.Random(5)
    zones = ["UTC", BERLIN, "Australia/Lord_Howe", "Asia/Kathmandu"]
    fleet = []
    while len(fleet) < 150:
        pair = (random_expression(draw), draw.choice(zones))
        try:
            cron.parse(*pair)
        except cron.InvalidSchedule:
            continue
        fleet += [pair] * draw.choice([1, 1, 1, 2, 5, 300])
    now = utc("2027-10-30T18:00")
    minutes: dict[str, int] = {}
    listed = {
        pair: cron.slots_between(cron.parse(*pair), now, utc("2027-10-31T18:00"))
        for pair in set(fleet)
    }
    for pair in fleet:
        for slot in listed[pair]:
            key = slot.strftime("%Y-%m-%dT%H:%M:%SZ")
            minutes[key] = minutes.get(key, 0) + 1
    expected = sorted(minutes.items(), key=lambda item: (-item[1], item[0]))
    found = fleet_impact([], fleet, now, capacity=50)["after"]
    assert [(minute["at"], minute["starts"]) for minute in found["busiest"]] == expected[:3]
    assert found["starts"] == sum(minutes.values())
    assert found["over"] == sum(count > 50 for count in minutes.values())


def test_a_very_large_fleet_is_sampled_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(impact, "MOST_SCHEDULES", 200)
    fleet = [(f"{n % 60} {n // 60} * * *", "UTC") for n in range(1000)]
    found = fleet_impact(fleet[:100], fleet, NOW)
    assert found["before"]["sampled"] is None
    assert found["after"]["sampled"] == {"of": 1000, "looked": 200}
    assert found["after"]["jobs"] == found["after"]["starts"] == 1000
    assert found["text"][-1] == "estimated from 200 of 1,000 different schedules"
