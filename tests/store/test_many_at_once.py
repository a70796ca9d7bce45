"""What happens to many executions at once ends as if it had happened to one after another."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from jobreconciler.core.notices import of_outcome
from jobreconciler.model.execution import Attempt, Execution, ExecutionStatus
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


NOTIFIED = {
    "meta": {"id": "any"},
    "payload": {"notifications": {"onRecovery": ["ops"], "channels": {"ops": {"type": "webhook"}}}},
}
ORDERS: list[tuple[str, list[ExecutionStatus], list[int]]] = [
    ("a failure, then a success", ["failed", "succeeded"], [2]),
    ("a success, then a failure", ["succeeded", "failed"], []),
    ("failures of two kinds and a cancelled run", ["failed", "timed_out", "cancelled"], []),
    ("a recovery between failures", ["failed", "cancelled", "succeeded", "lost"], [3]),
    ("two recoveries", ["lost", "succeeded", "failed", "succeeded", "succeeded"], [2, 4]),
]


@pytest.mark.parametrize("notified", [False, True], ids=["told to nobody", "told of"])
@pytest.mark.parametrize(
    ("statuses", "recoveries"), [row[1:] for row in ORDERS], ids=[row[0] for row in ORDERS]
)
def test_ends_of_one_job_count_in_their_order(
    store: SqlStore, statuses: list[ExecutionStatus], recoveries: list[int], notified: bool
) -> None:
    add(store, desired("apart"), desired("at-once"))
    for one in ended(store, "apart", statuses, notified):
        assert store.finish_all([one]).result() == [True]
    told = recovered(store)
    assert told == ([f"apart-{number}" for number in recoveries] if notified else [])
    ends = ended(store, "at-once", statuses, notified)
    assert store.finish_all(ends).result() == [True] * len(ends)
    assert recovered(store) == [id_.replace("apart", "at-once") for id_ in told]
    apart, at_once = figures(store, "apart"), figures(store, "at-once")
    assert at_once == apart
    assert apart[0] == statuses[-1]


def ended(
    store: SqlStore, job: str, statuses: list[ExecutionStatus], notified: bool
) -> list[Ending]:
    """The ends of runs that have begun and are running, a minute apart."""
    ends = []
    for number, status in enumerate(statuses, start=1):
        run = due(job, number)
        assert store.release_all([(run, {}, Attempt(1, NOW))]).result() == [True]
        end = outcome(status, at=NOW + timedelta(minutes=number))
        told = of_outcome(run, NOTIFIED, end, 1, NOW) if notified else None
        ends.append(Ending(run.id, 1, end, told))
    return ends


def recovered(store: SqlStore) -> list[str | None]:
    """Which ends were told of as a recovery; they are delivered by that."""
    found = []
    for channel in store.due_channels():
        while (notice := store.next_notice(channel, NOW + timedelta(days=1))) is not None:
            assert notice.event == "recovery"
            assert store.notice_delivered(notice.id, NOW).result()
            found.append(notice.execution_id)
    return found


def figures(store: SqlStore, job_id: str) -> tuple[Any, ...]:
    job = store.job(job_id)
    assert job is not None
    return (job.last_status, job.consecutive_failures, job.last_success_at, job.last_run_at)
