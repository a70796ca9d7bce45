"""Who is told of what, and how often."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from jobreconciler.core.notice_text import LOG_BYTES, LOG_LINES, compose, log_tail
from jobreconciler.core.notices import (
    decide,
    of_missed,
    of_outcome,
    of_state,
    still_failing,
    try_again_at,
)
from jobreconciler.model.execution import Execution, ExecutionStatus, Missed, Outcome, Trigger
from jobreconciler.model.notice import Notice, Occurrence, Standing

NOW = datetime(2026, 3, 14, 9, 30, tzinfo=UTC)
HOOK = {"type": "webhook", "url": {"env": "HOOK"}}
ALL = {
    "onSuccess": ["team"],
    "onFailure": ["ops"],
    "onMissed": ["ops"],
    "onRecovery": ["ops"],
    "includeLogs": True,
    "channels": {"ops": HOOK, "team": {"type": "slack", "url": {"env": "TEAM"}}},
}


def config(**notifications: Any) -> dict[str, Any]:
    return {
        "meta": {"id": "nightly", "title": "Nightly roll-up", "owner": "team-a"},
        "payload": {"retry": {"maxAttempts": 3}, "notifications": {**ALL, **notifications}},
    }


def execution(status: ExecutionStatus = "running", **given: Any) -> Execution:
    made = Execution(
        "e1", "nightly", status, Trigger("schedule", slot=NOW), NOW, "c0ffee" + "0" * 34, 1, "d"
    )
    return replace(made, **given)


def ended(status: ExecutionStatus, at: datetime = NOW, **notifications: Any) -> Occurrence:
    told = of_outcome(
        execution(), config(**notifications), Outcome(status, at), 3, NOW - timedelta(seconds=90)
    )
    assert told is not None
    return told


def sent(occurrence: Occurrence, *told: str, failing: bool = False, ago: float = 1) -> list[str]:
    """Messages as `event to channel`. `told`: states told of `ago` hours before."""
    before = occurrence.at - timedelta(hours=ago)
    standing = {event: Standing(before, before) for event in told}
    decision = decide(occurrence, standing, failing=failing)
    return [f"{n.event} to {n.channel.split('/')[0]}" for n in decision.notices]


def test_every_success_is_told_to_those_who_want_it() -> None:
    assert sent(ended("succeeded")) == ["success to team"]
    assert sent(ended("succeeded", onSuccess=[])) == []


@pytest.mark.parametrize("status", ["failed", "timed_out", "lost"])
def test_a_failure_is_told_when_it_begins(status: ExecutionStatus) -> None:
    assert sent(ended(status)) == ["failure to ops"]


@pytest.mark.parametrize(
    ("hours", "expected"),
    [(0.1, []), (22.9, []), (23.9, ["failure to ops"]), (49, ["failure to ops"])],
)
def test_a_failure_that_lasts_is_told_once_a_day(hours: float, expected: list[str]) -> None:
    assert sent(ended("failed"), "failure", failing=True, ago=hours) == expected


def test_a_recovery_is_told_once() -> None:
    success = ended("succeeded")
    assert sent(success, "failure", failing=True) == ["recovery to ops", "success to team"]
    decision = decide(success, {"failure": Standing(NOW, NOW)}, failing=True)
    assert decision.ended == {"failure"}
    assert sent(success) == ["success to team"]


def test_a_recovery_needs_no_failure_that_was_told_of() -> None:
    assert sent(ended("succeeded", onFailure=[]), failing=True) == [
        "recovery to ops",
        "success to team",
    ]


def test_a_channel_in_both_lists_gets_the_recovery_alone() -> None:
    assert sent(ended("succeeded", onSuccess=["ops"]), failing=True) == ["recovery to ops"]


def test_a_cancelled_or_dry_run_tells_nobody() -> None:
    cancelled = Outcome("cancelled", NOW)
    assert of_outcome(execution(), config(), cancelled, 1, NOW) is None
    failed = Outcome("failed", NOW)
    assert of_outcome(execution(dry_run=True), config(), failed, 1, NOW) is None


def test_a_job_that_tells_nobody_costs_nothing() -> None:
    nobody = config(onSuccess=[], onFailure=[], onMissed=[], onRecovery=[])
    assert of_outcome(execution(), nobody, Outcome("failed", NOW), 1, NOW) is None
    del nobody["payload"]["notifications"]
    assert of_outcome(execution(), nobody, Outcome("failed", NOW), 1, NOW) is None


def test_missed_slots_are_told_until_a_success_ends_them() -> None:
    missed = Missed(NOW, NOW + timedelta(hours=2), 3, "the daemon was down")
    told = of_missed(execution("missed", missed=missed), config())
    assert told is not None
    assert sent(told) == ["missed to ops"]
    assert sent(told, "missed") == []
    assert decide(ended("succeeded"), {"missed": Standing(NOW, NOW)}).ended == {"missed"}
    (notice,) = decide(told, {}).notices
    message = compose(notice)
    assert message.title == "nightly missed 3 slots"
    assert "missed: 3, from 2026-03-14T09:30:00Z to 2026-03-14T11:30:00Z" in message.body


def test_late_may_be_said_again_and_again_and_is_told_once() -> None:
    told = of_state("nightly", "late", config(), NOW, "no success within 3 h")
    assert told is not None
    assert sent(told) == ["late to ops"]
    assert sent(told, "late") == []


def test_a_reminder_needs_a_failure_that_was_told_of_a_day_ago() -> None:
    told = still_failing(execution("failed", error="exit code 1"), config(), NOW)
    assert told is not None
    assert sent(told, "failure", ago=24) == ["failure to ops"]
    assert sent(told, "failure", ago=23.9) == []
    assert sent(told) == []
    assert still_failing(execution("failed"), config(onFailure=[]), NOW) is None


def test_a_notice_has_the_same_id_whenever_it_is_decided() -> None:
    first, again = (decide(ended("failed"), {}).notices[0] for _ in range(2))
    other = decide(ended("failed", NOW + timedelta(days=1)), {}).notices[0]
    assert first.id == again.id != other.id


def test_notices_to_one_receiver_share_a_queue_across_jobs() -> None:
    one = decide(ended("failed"), {}).notices[0]
    other = decide(replace(ended("failed"), job_id="hourly"), {}).notices[0]
    elsewhere = {**ALL["channels"], "ops": {**HOOK, "url": {"env": "OTHER"}}}  # type: ignore[dict-item]
    moved = decide(ended("failed", channels=elsewhere), {}).notices[0]
    assert one.channel == other.channel != moved.channel


def test_a_channel_that_is_not_defined_is_passed_over() -> None:
    assert sent(ended("failed", onFailure=["gone", "ops"])) == ["failure to ops"]


@pytest.mark.parametrize(
    ("attempts", "age", "pause"),
    [
        (0, 0, 30),
        (1, 30, 60),
        (6, 2_000, 1_920),
        (7, 4_000, 3_600),
        (500, 40_000, 3_600),
        (30, 84_000, None),
    ],
)
def test_pauses_double_to_an_hour_and_end_after_a_day(
    attempts: int, age: int, pause: int | None
) -> None:
    notice = Notice("n", "nightly", "failure", "ops", {}, NOW, attempts=attempts)
    now = NOW + timedelta(seconds=age)
    expected = None if pause is None else now + timedelta(seconds=pause)
    assert try_again_at(notice, now) == expected


def test_the_text_says_what_happened_and_what_comes_next() -> None:
    outcome = Outcome("failed", NOW, exit_code=2, error="exit code 2")
    told = of_outcome(execution(), config(), outcome, 3, NOW - timedelta(seconds=90))
    assert told is not None
    (notice,) = decide(told, {}).notices
    message = compose(notice, author="Ada", next_slot=NOW + timedelta(hours=1), log="boom")
    assert message.title == "nightly failed"
    assert message.body.splitlines() == [
        "job: nightly (Nightly roll-up)",
        "owner: team-a",
        "execution: e1",
        "status: failed",
        "error: exit code 2",
        "exit code: 2",
        "attempt: 3 of 3",
        "trigger: schedule",
        "started: 2026-03-14T09:28:30Z",
        "took: 90.0 s",
        "revision: c0ffee0000 (by Ada)",
        "next slot: 2026-03-14T10:30:00Z",
        "",
        "Last lines of output:",
        "boom",
        "",
        f"notice {notice.id}",
    ]
    assert message.fields["id"] == notice.id
    assert "channel" not in message.fields


def test_an_error_cannot_forge_lines_or_headers() -> None:
    outcome = Outcome("failed", NOW, error="bad\r\nBcc: eve@example.org\x1b[2J \ud800")
    told = of_outcome(execution(), config(), outcome, 1, None)
    assert told is not None
    message = compose(decide(told, {}).notices[0])
    assert "error: bad Bcc: eve@example.org ?" in message.body.splitlines()


@pytest.mark.parametrize(
    ("situation", "output", "whole", "expected"),
    [
        ("a short log is whole", b"one\ntwo\n", True, "one\ntwo"),
        ("a first line that was cut is left out", b"ne\ntwo\n", False, "two"),
        ("a single line that was cut stays", b"ne", False, "ne"),
        ("escapes and control marks go", b"\x1b[31mred\x1b[0m\x07\x00\n", True, "red"),
        ("bytes that are not UTF-8 are marked", b"\xff\n", True, "\ufffd"),
    ],
)
def test_the_end_of_a_log(situation: str, output: bytes, whole: bool, expected: str) -> None:
    assert log_tail(output, whole=whole) == expected, situation


def test_a_long_log_keeps_its_last_lines() -> None:
    lines = [f"line {n}" for n in range(5_000)]
    kept = log_tail("\n".join(lines).encode(), whole=True).split("\n")
    assert kept == lines[-LOG_LINES:]
    wide = log_tail(b"\n".join([b"x" * 1_000] * 60), whole=True)
    assert len(wide) <= LOG_BYTES
