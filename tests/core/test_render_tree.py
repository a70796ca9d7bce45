from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from jobreconciler.core.catalog import render_tree_schema
from jobreconciler.core.render_tree import Card, fleet_tree, job_tree
from jobreconciler.model.execution import FINAL_STATUSES, Attempt, Execution
from jobreconciler.model.views import FleetCounts, Live
from samples import (
    COUNTS,
    FAILED,
    HELD,
    MISSED,
    NOW,
    SKIPPED,
    SOURCE,
    config,
    execution,
    job,
)

VALIDATOR = Draft202012Validator(render_tree_schema())


def card_of(card: Card) -> dict[str, Any]:
    state: dict[str, Any] = fleet_tree(COUNTS, SOURCE, [card], NOW)["state"]["jobs"][0]
    return state


TREES = {
    "an empty fleet": fleet_tree(FleetCounts(), None, [], NOW),
    "a fleet": fleet_tree(
        COUNTS,
        SOURCE,
        [
            Card(job(), FAILED, None, NOW + timedelta(hours=1)),
            Card(job("busy"), execution("running"), Live((1, 4), {"rows": 3})),
            Card(job("new", conditions=(HELD,))),
        ],
        NOW,
        next_cursor="more",
    ),
    "a job": job_tree(Card(job(), FAILED), [FAILED, MISSED, SKIPPED], NOW, next_cursor="more"),
    "a job that never ran": job_tree(Card(job(), None), [], NOW),
}


@pytest.mark.parametrize("name", TREES)
def test_a_tree_follows_the_published_schema(name: str) -> None:
    VALIDATOR.validate(json.loads(json.dumps(TREES[name])))


@pytest.mark.parametrize("name", TREES)
def test_every_child_exists_and_hangs_on_the_root(name: str) -> None:
    tree = TREES[name]
    reached, waiting = set(), [tree["root"]]
    while waiting:
        key = waiting.pop()
        reached.add(key)
        waiting.extend(tree["elements"][key]["children"])
    assert reached == set(tree["elements"])


def test_what_changes_is_under_state_alone() -> None:
    assert TREES["an empty fleet"]["elements"] == TREES["a fleet"]["elements"]
    assert TREES["a job"]["elements"] == TREES["a job that never ran"]["elements"]


def test_progress_moves_at_one_place_of_the_state() -> None:
    def state(done: int) -> dict[str, Any]:
        return card_of(Card(job(), execution("running"), Live((done, 4))))

    before, after = state(1), state(2)
    assert {name for name in after if before[name] != after[name]} == {"progress"}
    assert after["progress"] == {"itemsProcessed": 2, "itemsTotal": 4, "percentage": 50.0}


@pytest.mark.parametrize(
    ("status", "phase"),
    [
        ("queued", "queued"),
        ("running", "running"),
        ("succeeded", "complete"),
        ("failed", "failed"),
        ("timed_out", "failed"),
        ("cancelled", "failed"),
        ("lost", "failed"),
    ],
)
def test_a_status_is_shown_as_a_phase(status: str, phase: str) -> None:
    state = card_of(Card(job(), execution(status)))
    assert state["lastRun"]["phase"] == phase
    assert ("failure" in state) is (phase == "failed")
    assert ("completedAt" in state["lastRun"]) is (status in FINAL_STATUSES)


def test_waiting_between_two_attempts_is_queued_again() -> None:
    waiting = execution("queued", attempts=(Attempt(1, NOW),), not_before=NOW, started_at=NOW)
    state = card_of(Card(job(), waiting))
    assert state["lastRun"]["phase"] == "queued"
    assert state["lastRun"]["attempts"] == 1


@pytest.mark.parametrize("never_ran", [MISSED, SKIPPED], ids=["missed", "skipped"])
def test_what_never_ran_is_never_a_jobs_phase(never_ran: Execution) -> None:
    assert "lastRun" not in card_of(Card(job(), never_ran))


@pytest.mark.parametrize(
    ("situation", "progress", "status", "percentage"),
    [
        ("half done", (5, 10), "running", 50.0),
        ("a third", (1, 3), "running", 33.3),
        ("more done than was planned", (12, 10), "running", 100.0),
        ("nothing to do, not over", (0, 0), "running", 0.0),
        ("nothing to do, over", (0, 0), "succeeded", 100.0),
        ("nonsense reported", (-3, -5), "running", 0.0),
    ],
)
def test_progress_is_a_percentage(
    situation: str, progress: tuple[int, int], status: str, percentage: float
) -> None:
    state = card_of(Card(job(), execution(status, progress=progress)))
    assert state["progress"]["percentage"] == percentage, situation
    assert state["progress"]["itemsProcessed"] >= 0


@pytest.mark.parametrize(
    ("situation", "failed", "text"),
    [
        ("it says why", execution("failed", error="disk full", exit_code=1), "disk full"),
        ("it left an exit code", execution("failed", exit_code=3), "failed: exit code 3"),
        ("a signal ended it", execution("failed", signal=9), "failed: ended by signal 9"),
        ("nothing is known", execution("timed_out"), "timed out"),
    ],
)
def test_the_alert_says_why_it_failed(situation: str, failed: Execution, text: str) -> None:
    assert card_of(Card(job(), failed))["failure"]["error"] == text, situation


def test_the_alert_counts_retries_and_names_the_execution_to_retry() -> None:
    failure = card_of(Card(job(), FAILED))["failure"]
    assert failure["retryCount"] == 2
    assert failure["executionId"] == FAILED.id
    assert "retryCount" not in card_of(Card(job(), execution("failed")))["failure"]


@pytest.mark.parametrize(
    ("situation", "stored", "retryable"),
    [
        ("enabled", job(), True),
        ("disabled", job(config=config(isEnabled=False)), False),
        ("deleted", job(deleted_at=NOW), False),
    ],
)
def test_only_a_job_that_may_start_can_be_retried(
    situation: str, stored: Any, retryable: bool
) -> None:
    state = card_of(Card(stored, FAILED))
    assert state["failure"]["retryable"] is retryable, situation
    assert state["enabled"] is retryable


@pytest.mark.parametrize(
    ("situation", "minutes", "shown"),
    [("to come", 5, True), ("come just now", 0, False), ("overdue", -5, False)],
)
def test_only_a_future_slot_is_counted_down_to(situation: str, minutes: int, shown: bool) -> None:
    state = card_of(Card(job(), next_run=NOW + timedelta(minutes=minutes)))
    assert ("nextRun" in state) is shown, situation
    if shown:
        assert state["nextRun"] == {"at": "2026-03-14T09:35:00Z", "timezone": "Europe/Berlin"}


def test_what_a_job_reports_stands_beside_what_is_known_of_it() -> None:
    reported = {"rows": 12, "rate": {"value": 1.5, "unit": "MB/s"}, "note": "ok", "flag": True}
    metrics = card_of(Card(job(consecutive_failures=2), execution(metrics=reported)))["metrics"]
    assert [(each["label"], each["value"], each["color"]) for each in metrics] == [
        ("Duration", "42 s", "default"),
        ("Failures in a row", 2, "red"),
        ("flag", "True", "default"),
        ("note", "ok", "default"),
        ("rate", "1.5 MB/s", "default"),
        ("rows", 12, "default"),
    ]


def test_a_job_without_title_schedule_or_owner_still_has_a_card() -> None:
    bare = config()
    for name in ("title", "owner"):
        del bare["meta"][name]
    del bare["payload"]["schedule"]
    state = card_of(Card(job(config=bare)))
    assert state["title"] == "nightly"
    assert state["triggers"] == ["manual"]
    assert not {"owner", "schedule", "lastRun", "failure", "nextRun"} & set(state)


@pytest.mark.parametrize("broken", [{}, {"meta": {"id": "nightly"}, "payload": {}}, {"meta": 0}])
def test_a_job_whose_stored_config_is_broken_still_has_a_card(broken: dict[str, Any]) -> None:
    tree = fleet_tree(COUNTS, SOURCE, [Card(job(config=broken), FAILED)], NOW)
    VALIDATOR.validate(tree)
    assert tree["state"]["jobs"][0]["title"] == "nightly"


@pytest.mark.parametrize(
    ("payload", "triggers"),
    [
        ({}, ["schedule"]),
        (
            {"webhook": {"scheme": "github"}, "dependency": {"jobs": ["a"]}},
            ["schedule", "webhook", "dependency"],
        ),
        ({"schedule": None}, ["manual"]),
    ],
    ids=["a schedule", "all three", "nothing but a person"],
)
def test_a_card_names_what_starts_the_job(payload: dict[str, Any], triggers: list[str]) -> None:
    assert card_of(Card(job(config=config(**payload))))["triggers"] == triggers


def test_a_card_never_shows_parameters_or_their_secret_references() -> None:
    assert "SOME_TOKEN" not in json.dumps(TREES["a fleet"])
