"""Conditions and retry times."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from jobreconciler.core.verdict import (
    applied_conditions,
    failed_conditions,
    hold_condition,
    retry_delay,
)
from jobreconciler.errors import Stalled, Transient
from jobreconciler.model.change import Blocked, Change, Plan
from jobreconciler.model.problem import Problem

NOW = datetime(2026, 11, 22, tzinfo=UTC)
LATER = NOW + timedelta(minutes=1)


def test_backoff_doubles_from_one_second_to_five_minutes_with_stable_jitter() -> None:
    error = Transient("gone")
    delays = [retry_delay(n, error, "node-1") for n in range(1, 30)]
    assert delays == [retry_delay(n, error, "node-1") for n in range(1, 30)]
    assert all(0.75 * 2 ** (n - 1) <= delays[n - 1] <= 2 ** (n - 1) for n in range(1, 9))
    assert all(225 <= delay <= 300 for delay in delays[9:])
    assert delays != [retry_delay(n, error, "node-2") for n in range(1, 30)]


def test_an_error_that_names_its_delay_is_believed() -> None:
    assert retry_delay(5, Transient("busy", retry_after=7.0), "x") == 7.0


def test_a_stalled_source_says_so_and_keeps_since_while_it_lasts() -> None:
    error = Stalled("the ref is gone", reason="RefMissing", hint="restore it")
    first = failed_conditions((), error, NOW, applied=True)
    second = failed_conditions(first, error, LATER, applied=True)
    assert {c.type: c.status for c in first} == {
        "Ready": "False",
        "SourceReady": "False",
        "Stalled": "True",
    }
    assert all("the ref is gone. restore it" in c.message for c in first)
    assert all(c.since == NOW for c in second)


@pytest.mark.parametrize(
    ("applied", "said"),
    [
        (True, "the last good revision keeps running: no repository. check --repo"),
        (
            False,
            "no revision has been applied yet, so nothing runs: no repository. check --repo",
        ),
    ],
)
def test_what_goes_on_while_the_source_cannot_be_read(applied: bool, said: str) -> None:
    error = Stalled("no repository", hint="check --repo")
    ready = failed_conditions((), error, NOW, applied=applied)[0]
    assert (ready.type, ready.message) == ("Ready", said)


def test_recovery_is_a_new_condition_from_now_on() -> None:
    failed = failed_conditions((), Transient("no", reason="GitTimeout"), NOW, applied=True)
    good = applied_conditions(failed, Plan("a" * 40, None), LATER)
    assert {c.type: (c.status, c.since) for c in good} == {
        "Ready": ("True", LATER),
        "SourceReady": ("True", LATER),
        "Stalled": ("False", LATER),
    }


def test_a_blocked_prune_outlives_a_git_error_and_names_the_way_out() -> None:
    plan = Plan("b" * 40, None, blocked=Blocked(("x",), (), 1, "deletes 1 of 1 jobs"))
    blocked = applied_conditions((), plan, NOW)
    kept = failed_conditions(blocked, Transient("no"), LATER, applied=True)
    condition = next(c for c in kept if c.type == "PruneBlocked")
    assert condition.since == NOW
    assert "Allow-Prune: true" in condition.message
    assert "b" * 40 in condition.message


def test_a_hold_names_the_place_to_mend() -> None:
    problem = Problem("jobs.d/a.yaml", 3, 7, "meta.id", "bad_id", "expected an id")
    condition = hold_condition(
        Change("hold", "a", "jobs.d/a.yaml", problems=(problem,), reason="InvalidFile"), NOW
    )
    assert (condition.type, condition.reason) == ("Held", "InvalidFile")
    assert condition.message == "jobs.d/a.yaml:3:7: expected an id"


def test_a_held_file_that_disables_its_job_points_to_suspend() -> None:
    problem = Problem(
        "jobs.d/a.yaml", 3, 7, "payload.isEnabled", "disable_held", "this file disables its job"
    )
    change = Change("hold", "a", "jobs.d/a.yaml", problems=(problem,), reason="InvalidFile")
    assert "jobreconciler suspend" in hold_condition(change, NOW).message
