"""Who starts next, and what happens at a job's own limit."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from jobreconciler.core.admission import Waiting, WaitingLine, at_release

NOW = datetime(2026, 11, 22, tzinfo=UTC)


def waiting(
    id: str, *, job: str | None = None, priority: int = 50, minute: float = 0, limit: int = 1
) -> Waiting:
    return Waiting(id, job or id, priority, NOW + timedelta(minutes=minute), limit)


def drain(line: WaitingLine) -> list[str]:
    active: dict[str, int] = {}
    order = []
    while (found := line.take(active, 0, 1)) is not None:
        order.append(found.execution_id)
    return order


ORDERS = {
    "the higher priority first": ([waiting("a", priority=10), waiting("b", priority=90)], "ba"),
    "equal priorities by queue time": ([waiting("a", minute=2), waiting("b", minute=1)], "ba"),
    "equal in everything by id": ([waiting("b"), waiting("a")], "ab"),
    "a point is gained a minute": (
        [waiting("a", priority=55, minute=6), waiting("b", priority=50, minute=0)],
        "ba",
    ),
    "a minute less is not enough": (
        [waiting("a", priority=55, minute=4), waiting("b", priority=50, minute=0)],
        "ab",
    ),
}


@pytest.mark.parametrize("name", ORDERS)
def test_order(name: str) -> None:
    items, expected = ORDERS[name]
    line = WaitingLine()
    for item in items:
        line.add(item)
    assert "".join(drain(line)) == expected


def test_a_job_at_its_own_limit_blocks_nobody_and_goes_on_when_it_may() -> None:
    line = WaitingLine()
    line.add(waiting("first", job="busy", priority=100))
    line.add(waiting("other", priority=0))
    active = {"busy": 1}
    assert line.take(active, 1, 8) == waiting("other", priority=0)
    assert line.take(active, 2, 8) is None
    line.unpark("busy")
    found = line.take({}, 1, 8)
    assert found is not None and found.execution_id == "first"
    assert len(line) == 0


def test_nothing_starts_past_the_capacity() -> None:
    line = WaitingLine()
    line.add(waiting("a"))
    assert line.take({}, 2, 2) is None
    assert line.take({}, 1, 2) is not None


def test_what_was_taken_out_of_the_line_never_starts() -> None:
    line = WaitingLine()
    line.add(waiting("a", job="j"))
    line.add(waiting("b", job="j"))
    line.discard("a")
    line.discard("a")
    assert line.of_job("j") == 1
    assert drain(line) == ["b"]
    assert line.of_job("j") == 0


LIMITS = {
    "below the limit it starts": (("skip", 0, 0, 1, "schedule"), "start"),
    "one that waits takes a place": (("skip", 0, 1, 1, "schedule"), "skip"),
    "at the limit a slot is skipped": (("skip", 1, 0, 1, "schedule"), "skip"),
    "a person's run is not dropped": (("skip", 1, 0, 1, "manual"), "queue"),
    "a webhook's payload is not dropped": (("skip", 1, 0, 1, "webhook"), "queue"),
    "queue waits": (("queue", 1, 0, 1, "schedule"), "queue"),
    "replace replaces": (("replace", 1, 0, 1, "schedule"), "replace"),
    "two at once": (("skip", 1, 0, 2, "schedule"), "start"),
}


@pytest.mark.parametrize("name", LIMITS)
def test_at_release(name: str) -> None:
    arguments, expected = LIMITS[name]
    assert at_release(*arguments) == expected


@pytest.mark.parametrize("overlap", ["skip", "queue", "replace"])
def test_what_runs_in_its_turn_is_never_dropped(overlap: str) -> None:
    assert at_release(overlap, 1, 99, 1, "schedule", in_turn=True) == "queue"
    assert at_release(overlap, 0, 0, 1, "schedule", in_turn=True) == "start"
