"""What happens to many executions at once ends as if it had happened to one after another."""

from __future__ import annotations

from datetime import timedelta

import pytest

from jobreconciler.model.execution import Attempt, Execution
from jobreconciler.ports import Ending
from jobreconciler.store.store import SqlStore
from store.made import NOW, add, desired, end, execution, outcome

JOBS = [f"job-{number}" for number in range(6)]
LATER = NOW + timedelta(minutes=1)


@pytest.fixture
def fleet(store: SqlStore) -> SqlStore:
    add(store, *(desired(job) for job in JOBS))
    return store


def due(job: str, number: int = 1) -> Execution:
    return execution(f"{job}-{number}", job, slot=NOW + timedelta(hours=number), config_digest="d")


def released(store: SqlStore, *, begun: int = 0) -> list[Execution]:
    """One of each job; of the first of them an attempt has begun."""
    all_ = [due(job) for job in JOBS]
    attempts = [Attempt(1, NOW) if number < begun else None for number in range(len(JOBS))]
    written = store.release_all(
        [(one, {}, attempt) for one, attempt in zip(all_, attempts, strict=True)]
    ).result()
    assert written == [True] * len(JOBS)
    return all_


def statuses(store: SqlStore, executions: list[Execution]) -> list[str | None]:
    found = [store.execution(one.id) for one in executions]
    return [None if one is None else one.status for one in found]


def test_many_are_released_and_some_of_them_begun(fleet: SqlStore) -> None:
    all_ = released(fleet, begun=2)
    assert statuses(fleet, all_) == ["running"] * 2 + ["queued"] * 4
    first = fleet.execution(all_[0].id)
    assert first is not None
    assert [attempt.number for attempt in first.attempts] == [1]
    latest = fleet.latest_executions(JOBS)
    assert {job: one.id for job, one in latest.items()} == {job: f"{job}-1" for job in JOBS}
    marks = {row.job_id: row.watermark for row in fleet.schedules()}
    assert marks == dict.fromkeys(JOBS, NOW + timedelta(hours=1))


def test_a_slot_that_was_handled_is_left_out_and_the_others_are_not(fleet: SqlStore) -> None:
    assert fleet.release(due(JOBS[2]), {}).result()
    again = [execution(f"again-{job}", job, slot=due(job).trigger.slot) for job in JOBS]
    written = fleet.release_all([(one, {}, None) for one in again]).result()
    assert written == [True, True, False, True, True, True]
    assert statuses(fleet, again) == ["queued", "queued", None, "queued", "queued", "queued"]
    assert fleet.latest_executions([JOBS[2]])[JOBS[2]].id == f"{JOBS[2]}-1"
    assert fleet.config_versions(["d"]) == {"d": {}}, "what was pinned is still there"


def test_skipped_ones_may_be_among_them(fleet: SqlStore) -> None:
    skipped = execution(
        "skipped", JOBS[0], slot=NOW, status="skipped", finished_at=NOW, error="overlap"
    )
    queued = due(JOBS[1])
    assert fleet.release_all([(skipped, {}, None), (queued, {}, None)]).result() == [True, True]
    assert statuses(fleet, [skipped, queued]) == ["skipped", "queued"]


def test_one_that_was_cancelled_does_not_begin_with_the_others(fleet: SqlStore) -> None:
    all_ = released(fleet)
    assert fleet.cancel_queued(all_[1].id, NOW, "no").result()
    began = fleet.start_attempts([(one.id, Attempt(1, NOW)) for one in all_]).result()
    assert began == [True, False, True, True, True, True]
    assert statuses(fleet, all_) == ["running", "cancelled", *["running"] * 4]
    cancelled = fleet.execution(all_[1].id)
    assert cancelled is not None
    assert cancelled.attempts == ()


@pytest.mark.parametrize("gone", [False, True], ids=["all of them ran", "one had ended before"])
def test_ends_count_for_each_job(fleet: SqlStore, gone: bool) -> None:
    all_ = released(fleet, begun=len(JOBS))
    if gone:
        assert end(fleet, all_[3].id, 1, outcome("cancelled"))
    ends = [
        Ending(one.id, 1, outcome("failed" if number == 4 else "succeeded", at=LATER), None)
        for number, one in enumerate(all_)
    ]
    assert fleet.finish_all(ends).result() == [True, True, True, not gone, True, True]
    expected = ["succeeded"] * 6
    expected[4] = "failed"
    if gone:
        expected[3] = "cancelled"
    assert statuses(fleet, all_) == expected
    failures = {one.job_id: one.consecutive_failures for one in fleet.stats()}
    assert failures == {job: int(job == JOBS[4]) for job in JOBS}
    fourth = fleet.execution(all_[4].id)
    assert fourth is not None
    assert fourth.attempts[0].finished_at == LATER
