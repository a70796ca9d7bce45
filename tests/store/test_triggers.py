"""What was delivered or used up releases nothing twice."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

import pytest

from jobreconciler.core.dependency import Ended
from jobreconciler.model.execution import Attempt, Trigger
from jobreconciler.ports import Delivery
from jobreconciler.store.store import SqlStore

from .conftest import Place
from .made import NOW, add, after, begin, desired, end, execution, outcome

CONFIG = {"meta": {"id": "nightly"}, "payload": {"jobType": "command"}}


def waiting(*upstream: str) -> dict[str, object]:
    return {"jobs": list(upstream), "on": "success", "mode": "all"}


@pytest.fixture(autouse=True)
def _jobs(store: SqlStore) -> None:
    add(store, desired("a"), desired("b"), desired("nightly", dependency=waiting("a", "b")))


def ran(store: SqlStore, id_: str, job_id: str, at: datetime, status: str = "succeeded") -> None:
    made = replace(execution(id_), job_id=job_id, queued_at=at)
    assert store.release(made, CONFIG).result()
    assert begin(store, id_, Attempt(1, at))
    assert end(store, id_, 1, outcome(status, at))  # type: ignore[arg-type]


def test_a_delivery_releases_once_and_a_second_name_of_it_neither(store: SqlStore) -> None:
    names = [Delivery("hook:nightly", "id:1"), Delivery("hook:nightly", "body:ab")]
    webhook = Trigger("webhook", delivery_id="1")
    first = execution("e1", trigger=webhook)
    assert store.release_once(first, CONFIG, names).result() == "e1"
    for n, again in enumerate((names, names[:1], names[1:]), start=2):
        made = execution(f"e{n}", trigger=webhook)
        assert store.release_once(made, CONFIG, again).result() == "e1"
        assert store.execution(f"e{n}") is None
    assert store.seen(names[0]) == "e1"
    assert store.seen(Delivery("hook:other", "id:1")) is None


def test_a_name_that_counts_for_a_while_is_free_afterwards(store: SqlStore) -> None:
    def name(since: datetime) -> list[Delivery]:
        return [Delivery("key", "k", since)]

    assert store.release_once(execution("e1"), CONFIG, name(NOW)).result() == "e1"
    assert store.release_once(execution("e2"), CONFIG, name(NOW)).result() == "e1"
    later = replace(execution("e3"), queued_at=after(hours=25))
    assert store.release_once(later, CONFIG, name(after(hours=1))).result() == "e3"
    assert store.seen(name(after(hours=1))[0]) == "e3"


def test_outcomes_from_before_the_job_waited_are_owed_nothing(store: SqlStore) -> None:
    ran(store, "a1", "a", after(hours=-1))
    ran(store, "b1", "b", after(hours=1))
    store.settle_dependency("nightly", ("a", "b")).result()
    latest, used = store.upstream_outcomes("nightly", ("a", "b"))
    assert latest == {"a": Ended("a1", "succeeded"), "b": Ended("b1", "succeeded")}
    assert used == {"a": "a1", "b": ""}


def test_outcomes_are_used_up_once(store: SqlStore) -> None:
    store.settle_dependency("nightly", ("a", "b")).result()
    ran(store, "a1", "a", after(hours=1))
    ran(store, "b1", "b", after(hours=1), "failed")
    _, used = store.upstream_outcomes("nightly", ("a", "b"))
    consumed = {"a": "a1", "b": "b1"}
    made = execution("e1", trigger=Trigger("dependency", upstream=("a1", "b1")))
    assert store.release_dependent(made, CONFIG, used, consumed).result()
    assert not store.release_dependent(replace(made, id="e2"), CONFIG, used, consumed).result()
    assert store.execution("e2") is None
    assert store.upstream_outcomes("nightly", ("a", "b"))[1] == consumed


def test_dry_runs_and_rows_that_never_ran_do_not_count(store: SqlStore) -> None:
    dry = replace(execution("d1"), job_id="a", dry_run=True)
    assert store.release(dry, CONFIG).result()
    assert begin(store, "d1", Attempt(1, NOW))
    assert end(store, "d1", 1, outcome("succeeded", NOW))
    for n, status in enumerate(("missed", "skipped")):
        row = replace(execution(f"s{n}"), job_id="a", status=status, finished_at=NOW)  # type: ignore[arg-type]
        assert store.release(row, CONFIG).result()
    assert store.upstream_outcomes("nightly", ("a",))[0] == {}


def test_the_latest_outcome_is_the_last_to_have_come(store: SqlStore) -> None:
    assert store.release(replace(execution("a1"), job_id="a"), CONFIG).result()
    assert begin(store, "a1", Attempt(1, NOW))
    ran(store, "a2", "a", after(minutes=1))
    assert end(store, "a1", 1, outcome("failed", after(hours=1)))
    assert store.upstream_outcomes("nightly", ("a",))[0] == {"a": Ended("a1", "failed")}


def test_what_waits_is_listed_and_what_no_longer_waits_is_forgotten(
    store: SqlStore, place: Place
) -> None:
    (one,) = store.dependents()
    assert (one.job_id, one.upstream, one.live) == ("nightly", ("a", "b"), True)
    assert store.dependents(["a"]) == []
    store.settle_dependency("nightly", ("a", "b")).result()
    store.settle_dependency("nightly", ("b",)).result()
    assert place.sql("SELECT upstream_id FROM dependency_releases") == [("b",)]
    place.sql("UPDATE job_configs SET depends_on = '[]' WHERE job_id = 'nightly'")
    (gone,) = store.dependents(["nightly"])
    assert (gone.upstream, gone.live) == ((), False)
    store.settle_dependency("nightly", ()).result()
    assert store.dependents() == []
