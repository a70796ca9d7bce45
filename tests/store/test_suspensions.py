"""Operators' stops as they are kept: who, what, until when, and what a job shows of them."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from jobreconciler.core.suspension import Subject, covers, past_json
from jobreconciler.errors import NotFound
from jobreconciler.model.execution import Attempt, Missed, Trigger
from jobreconciler.model.suspension import Suspension
from jobreconciler.model.views import JobQuery
from jobreconciler.store.store import SqlStore

from .conftest import Place
from .made import NOW, add, after, begin, desired, execution


def stop(scope: Any = "job", target: str = "nightly", **given: Any) -> Suspension:
    return Suspension(scope, target, "ada", **{"created_at": NOW, **given})


def suspended(store: SqlStore) -> list[str]:
    return [job.job_id for job in store.jobs(JobQuery(state="suspended")).items]


def test_a_job_is_suspended_until_its_time_is_over(place: Place, store: SqlStore) -> None:
    add(store, desired("nightly"), desired("other"))
    made = store.suspend(stop(until=after(hours=2), reason="disk full")).result()
    assert made.id
    assert store.suspensions() == (made,)
    job = store.job("nightly")
    assert job is not None and job.suspension == made
    (condition,) = job.conditions
    assert (condition.type, condition.reason) == ("Suspended", "Suspended")
    assert "disk full" in condition.message and "ada" in condition.message
    assert suspended(store) == ["nightly"]
    assert {row.job_id: row.suspended for row in store.stats()} == {
        "nightly": True,
        "other": False,
    }

    place.clock.at = after(hours=2)
    assert store.suspensions() == ()
    assert suspended(store) == []
    job = store.job("nightly")
    assert job is not None and job.suspension is None and job.conditions == ()
    assert store.remembered_suspensions() == (made,)
    place.clock.at = after(days=40)
    assert store.remembered_suspensions() == ()


def test_a_tag_covers_what_the_scheduler_takes_for_covered(store: SqlStore) -> None:
    tags = {"small": ["ops"], "capital": ["Ops"], "longer": ["ops-2"], "both": ["Ops", "ops"]}
    add(store, *(desired(job_id, meta={"tags": given}) for job_id, given in tags.items()))
    made = store.suspend(stop("tag", "ops")).result()
    covered = [job_id for job_id, given in tags.items() if covers(made, Subject(job_id, (*given,)))]
    assert covered == ["small", "both"]
    assert suspended(store) == sorted(covered)
    assert store.fleet_counts().suspended == 2


def test_suspending_and_resuming_a_job_stands_in_its_changelog(store: SqlStore) -> None:
    add(store, desired("nightly"))
    store.suspend(stop()).result()
    assert store.lift("job", "nightly", "bob", after(minutes=1)).result() == 1
    assert store.lift("job", "nightly", "bob", after(minutes=2)).result() == 0
    resumed, put, _ = store.changelog("nightly").items
    assert [(row.action, row.actor) for row in (put, resumed)] == [
        ("suspended", "ada"),
        ("resumed", "bob"),
    ]
    assert put.fields[0].old is None and put.fields[0].new["actor"] == "ada"
    assert resumed.fields[0].old["actor"] == "ada" and resumed.fields[0].new is None
    assert put.generation == 1
    assert store.audit_break() is None


def test_a_second_suspension_takes_the_place_of_the_first(store: SqlStore) -> None:
    add(store, desired("nightly"))
    store.suspend(stop(until=after(hours=2))).result()
    second = store.suspend(
        stop(until=after(hours=1), created_at=after(minutes=1), reason="shorter")
    ).result()
    assert store.suspensions() == (second,)
    assert store.changelog("nightly").items[0].fields[0].old["until"] is not None


def test_every_stop_stays_in_the_list_with_its_end(place: Place, store: SqlStore) -> None:
    store.suspend(stop("fleet", "", until=after(hours=1))).result()
    store.suspend(stop("tag", "red", created_at=after(minutes=1))).result()
    store.lift("tag", "red", "bob", after(minutes=2)).result()
    place.clock.at = after(hours=2)
    first = store.past_suspensions(limit=1)
    second = store.past_suspensions(limit=1, cursor=first.next_cursor)
    assert [past_json(each, after(hours=2))["endedBy"] for each in first.items] == ["bob"]
    assert [past_json(each, after(hours=2))["endedBy"] for each in second.items] == [None]
    assert [past_json(each, NOW)["endedAt"] for each in second.items] == [None]
    assert second.next_cursor is None


SCOPES = {
    "the fleet": ("fleet", "", ["a", "b", "c"]),
    "a tag": ("tag", "red_1%", ["a"]),
    "an owner": ("owner", "ops", ["b"]),
    "a job": ("job", "c", ["c"]),
}


@pytest.mark.parametrize("name", SCOPES)
def test_a_stop_covers(store: SqlStore, name: str) -> None:
    scope, target, expected = SCOPES[name]
    add(
        store,
        desired("a", meta={"tags": ["red_1%"]}),
        desired("b", meta={"owner": "ops", "tags": ["redx1y"]}),
        desired("c"),
    )
    store.suspend(stop(scope, target)).result()
    assert suspended(store) == expected
    assert [row.job_id for row in sorted(store.stats()) if row.suspended] == expected
    assert store.fleet_counts().suspended == len(expected)
    shown = [id_ for id_ in "abc" if (job := store.job(id_)) is not None and job.suspension]
    assert shown == expected


def test_a_job_that_is_not_declared_cannot_be_suspended(store: SqlStore) -> None:
    with pytest.raises(NotFound):
        store.suspend(stop(target="nobody")).result()
    assert store.suspensions() == ()


def test_slots_that_a_stop_skips_are_one_row_that_grows(store: SqlStore) -> None:
    add(store, desired("nightly"))
    config = desired("nightly")

    def skip(number: int, hour: int, since: float) -> bool:
        at = after(hours=hour)
        row = execution(
            f"e{number}",
            status="skipped",
            trigger=Trigger("schedule"),
            missed=Missed(at, at, 1, "suspended"),
            queued_at=at,
            finished_at=at,
        )
        return store.skip_slots(row, {"digest": config.digest}, after(hours=since)).result()

    assert skip(1, 1, 0.5)
    assert skip(2, 2, 0.5)
    assert not skip(3, 2, 0.5), "handled already"
    assert skip(4, 5, 4.5), "another stop"
    newest, oldest = store.executions("nightly").items
    assert oldest.missed == Missed(after(hours=1), after(hours=2), 2, "suspended")
    assert newest.missed == Missed(after(hours=5), after(hours=5), 1, "suspended")
    job = store.job("nightly")
    assert job is not None and job.watermark == after(hours=5)


def test_what_waited_too_long_is_missed_and_never_starts(store: SqlStore) -> None:
    add(store, desired("nightly"))
    made = execution(slot=NOW)
    assert store.release(made, {}).result()
    missed = Missed(NOW, NOW, 1, "deadline_exceeded")
    assert store.miss_queued(made.id, after(minutes=1), missed).result()
    assert not store.miss_queued(made.id, after(minutes=1), missed).result()
    found = store.execution(made.id)
    assert found is not None and (found.status, found.missed) == ("missed", missed)
    assert found.trigger.slot == NOW


def test_a_job_is_late_and_overruns_as_its_file_expects(place: Place, store: SqlStore) -> None:
    add(
        store,
        desired("calm"),
        desired("nightly", expect={"successWithin": 3600, "runtimeWithin": 60}),
    )
    made = execution()
    assert store.release(made, {}).result()
    assert begin(store, made.id, Attempt(1, NOW))

    def conditions() -> list[str]:
        job = store.job("nightly")
        assert job is not None
        return [condition.type for condition in job.conditions]

    def late() -> list[str]:
        return [job.job_id for job in store.jobs(JobQuery(state="late")).items]

    assert conditions() == [] and late() == []
    place.clock.at = after(minutes=30)
    assert conditions() == ["Overrunning"] and late() == []
    place.clock.at = NOW + timedelta(hours=1, seconds=1)
    assert conditions() == ["Late", "Overrunning"] and late() == ["nightly"]
    figures = {row.job_id: (row.late_after, row.overrun_after) for row in store.stats()}
    assert store.stats(["nightly"]) == [row for row in store.stats() if row.job_id == "nightly"]
    assert figures["calm"] == (None, None)
    assert figures["nightly"][0] == after(hours=1).timestamp()
