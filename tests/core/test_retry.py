"""Whether and when a failed attempt is followed by another."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from jobreconciler.core.retry import RetryPolicy, retry_at
from jobreconciler.model.execution import ExecutionStatus, Outcome

NOW = datetime(2026, 11, 22, tzinfo=UTC)


def policy(
    strategy: str = "fixed", *, attempts: int = 3, codes: frozenset[int] | None = None
) -> RetryPolicy:
    return RetryPolicy(attempts, strategy, 10, 60, codes)


def ended(status: ExecutionStatus, exit_code: int | None = 1) -> Outcome:
    return Outcome(status, NOW, exit_code=exit_code)


WORTH = {
    "a failure with tries left": (policy(), ended("failed"), 1, True),
    "the last attempt failed": (policy(), ended("failed"), 3, False),
    "one attempt means no retry": (policy(attempts=1), ended("failed"), 1, False),
    "a success is done": (policy(), ended("succeeded", 0), 1, False),
    "what a person stopped stays stopped": (policy(), ended("cancelled"), 1, False),
    "a timeout is worth another try": (policy(codes=frozenset({7})), ended("timed_out"), 1, True),
    "a lost run is worth another try": (policy(codes=frozenset({7})), ended("lost", None), 1, True),
    "an exit code that is listed": (policy(codes=frozenset({7})), ended("failed", 7), 1, True),
    "an exit code that is not listed": (policy(codes=frozenset({7})), ended("failed", 1), 1, False),
    "a signal is no listed exit code": (
        policy(codes=frozenset({7})),
        ended("failed", None),
        1,
        False,
    ),
}


@pytest.mark.parametrize("name", WORTH)
def test_worth_another_try(name: str) -> None:
    rules, outcome, attempt, expected = WORTH[name]
    assert (retry_at(rules, outcome, attempt, NOW, "x") is not None) == expected


DELAYS = {
    "fixed": [10, 10, 10, 10, 10],
    "linear": [10, 20, 30, 40, 50],
    "exponential": [10, 20, 40, 60, 60],
}


@pytest.mark.parametrize("strategy", DELAYS)
def test_backoff_within_its_jitter(strategy: str) -> None:
    rules = policy(strategy, attempts=100)
    for attempt, full in enumerate(DELAYS[strategy], 1):
        at = retry_at(rules, ended("failed"), attempt, NOW, "seed")
        assert at is not None
        assert full * 0.75 <= (at - NOW).total_seconds() <= full


def test_the_hundredth_attempt_does_not_overflow() -> None:
    at = retry_at(policy("exponential", attempts=100), ended("failed"), 99, NOW, "seed")
    assert at is not None and 45 <= (at - NOW).total_seconds() <= 60


def test_jitter_is_stable_for_one_execution_and_differs_between_two() -> None:
    rules = policy()
    times = {seed: retry_at(rules, ended("failed"), 1, NOW, seed) for seed in "abcdef"}
    assert times == {seed: retry_at(rules, ended("failed"), 1, NOW, seed) for seed in "abcdef"}
    assert len(set(times.values())) > 1
