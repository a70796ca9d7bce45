"""What of the past may go."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from jobreconciler.core.retention import (
    Output,
    PastExecution,
    Retention,
    executions_to_forget,
    outputs_to_forget,
)

NOW = datetime(2026, 3, 14, tzinfo=UTC)
POLICY = Retention(executions_a_job=2, output_bytes=100)


def ended(*days_and_statuses: tuple[int, str]) -> list[PastExecution]:
    """Newest first, named by their place."""
    return [
        PastExecution(f"e{place}", status, NOW - timedelta(days=days))  # type: ignore[arg-type]
        for place, (days, status) in enumerate(days_and_statuses)
    ]


EXECUTIONS: dict[str, tuple[list[tuple[int, str]], list[str]]] = {
    "young ones stay, however many": ([(1, "succeeded")] * 5, []),
    "a job's last two stay, however old": ([(90, "succeeded"), (91, "failed")], []),
    "old ones beyond the last two go": (
        [(1, "succeeded"), (2, "failed"), (31, "failed"), (29, "lost"), (40, "cancelled")],
        ["e2", "e4"],
    ),
    "skipped rows do not push runs out": (
        [(31, "skipped"), (32, "missed"), (33, "skipped"), (40, "succeeded"), (41, "succeeded")],
        ["e2"],
    ),
    "just 30 days old is not yet too old": ([(1, "lost"), (2, "lost"), (30, "lost")], []),
}


@pytest.mark.parametrize("case", EXECUTIONS.values(), ids=EXECUTIONS.keys())
def test_executions(case: tuple[list[tuple[int, str]], list[str]]) -> None:
    past, gone = case
    assert executions_to_forget(ended(*past), POLICY, NOW) == gone


OUTPUTS: dict[str, tuple[dict[str, tuple[int, int]], set[str], list[str]]] = {
    "young and small stays": ({"a": (1, 50), "b": (6, 50)}, set(), []),
    "old goes": ({"a": (1, 1), "b": (8, 1)}, set(), ["b"]),
    "the oldest goes until the rest fits": (
        {"a": (1, 60), "b": (2, 30), "c": (3, 30), "d": (4, 30)},
        set(),
        ["d", "c"],
    ),
    "unfinished stays, and counts": ({"a": (1, 60), "b": (30, 90)}, {"b"}, ["a"]),
}


@pytest.mark.parametrize("case", OUTPUTS.values(), ids=OUTPUTS.keys())
def test_outputs(case: Any) -> None:
    found, unfinished, gone = case
    outputs = [Output(id_, size, NOW - timedelta(days=days)) for id_, (days, size) in found.items()]
    forgotten = outputs_to_forget(outputs, unfinished, POLICY, NOW)
    assert [output.execution_id for output in forgotten] == gone
