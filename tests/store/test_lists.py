"""The job list: every filter, every order, pages that neither repeat nor lose a job."""

from __future__ import annotations

import sqlite3
from typing import Any

import pytest

from jobreconciler.errors import Invalid
from jobreconciler.model.condition import Condition
from jobreconciler.model.execution import Attempt
from jobreconciler.model.views import FleetCounts, JobQuery
from jobreconciler.store.job_lists import jobs
from jobreconciler.store.store import SqlStore

from .conftest import Place
from .made import NOW, add, after, begin, change, change_set, desired, end, execution, outcome


@pytest.fixture(autouse=True)
def _fleet(store: SqlStore) -> None:
    """Named by what is to be found of them; `b-a` sorts after `b1` where bytes are compared."""
    add(
        store,
        desired("b1", meta={"title": "Billing 100%", "owner": "money", "tags": ["eur", "a_b"]}),
        desired("b-a", meta={"title": "ÜBERTRAG", "tags": ["axb", "EUR"]}, isEnabled=False),
        desired("hook", schedule={}, webhook={"secret": {"env": "S"}, "scheme": "github"}),
        desired("after", schedule={}, dependency={"jobs": ["b1"]}, jobType="python"),
        desired("hand", schedule={}),
        desired("gone"),
    )
    held = Condition("Held", "True", "InvalidFile", "line 3", NOW)
    store.apply(change_set(change("deleted", "gone"), held={"hook": held})).result()
    for job_id, status, minutes in (("b1", "failed", 1), ("after", "succeeded", 2)):
        store.release(execution(job_id, job_id), {})
        begin(store, job_id, Attempt(1, NOW))
        end(store, job_id, 1, outcome(status, after(minutes=minutes)))
    store.release(execution("running", "hand"), {})
    begin(store, "running", Attempt(1, NOW))


def ids(store: SqlStore, **query: Any) -> list[str]:
    return [job.job_id for job in store.jobs(JobQuery(**query)).items]


LIVE = ["after", "b-a", "b1", "hand", "hook"]
FILTERS = [
    ("all", {}, LIVE),
    ("by type", {"type": "python"}, ["after"]),
    ("by owner", {"owner": "money"}, ["b1"]),
    ("by tag", {"tag": "eur"}, ["b1"]),
    ("by a tag in capitals", {"tag": "EUR"}, ["b-a"]),
    ("by a tag whose mark is none", {"tag": "a_b"}, ["b1"]),
    ("by a part of a tag", {"tag": "eu"}, []),
    ("with a schedule", {"trigger": "schedule"}, ["b-a", "b1"]),
    ("with a webhook", {"trigger": "webhook"}, ["hook"]),
    ("after others", {"trigger": "dependency"}, ["after"]),
    ("by hand only", {"trigger": "manual"}, ["hand"]),
    ("enabled", {"state": "enabled"}, ["after", "b1", "hand", "hook"]),
    ("disabled", {"state": "disabled"}, ["b-a"]),
    ("held", {"state": "held"}, ["hook"]),
    ("running", {"state": "running"}, ["hand"]),
    ("failing", {"state": "failing"}, ["b1"]),
    ("suspended: nothing can be yet", {"state": "suspended"}, []),
    ("late: nothing can be yet", {"state": "late"}, []),
    ("overrunning: nothing can be yet", {"state": "overrunning"}, []),
    ("by text in the title", {"q": "BILL"}, ["b1"]),
    ("by text with more letters than ASCII has", {"q": "ÜBERTRAG"}, ["b-a"]),
    ("by no letter of how tags are kept", {"q": "["}, []),
    ("by that in small letters", {"q": "übertr"}, ["b-a"]),
    ("by text in the path", {"q": "jobs.d/h"}, ["hand", "hook"]),
    ("by text whose mark is none", {"q": "100%"}, ["b1"]),
    ("by text that is a mark", {"q": "_"}, ["b1"]),
    ("by text in the owner", {"q": "mone"}, ["b1"]),
    ("by two things at once", {"state": "enabled", "trigger": "schedule"}, ["b1"]),
    ("by text of any kind", {"q": "'; DROP TABLE job_configs; --"}, []),
]


@pytest.mark.parametrize(
    ("query", "expected"), [row[1:] for row in FILTERS], ids=[row[0] for row in FILTERS]
)
def test_filters(store: SqlStore, query: dict[str, Any], expected: list[str]) -> None:
    assert ids(store, **query) == expected


SORTS = [
    ("name", LIVE),
    ("last", ["after", "b1", "b-a", "hand", "hook"]),
    ("next", ["b1", "after", "b-a", "hand", "hook"]),
    ("attention", ["b1", "hook", "hand", "after", "b-a"]),
]


@pytest.mark.parametrize(("sort", "expected"), SORTS, ids=[row[0] for row in SORTS])
def test_orders_hold_across_pages(store: SqlStore, sort: str, expected: list[str]) -> None:
    found, cursor = [], None
    while True:
        page = store.jobs(JobQuery(sort=sort, limit=2, cursor=cursor))
        found += [job.job_id for job in page.items]
        cursor = page.next_cursor
        if cursor is None:
            break
    assert found == expected


def test_the_job_that_runs_next_comes_first_also_across_pages(store: SqlStore) -> None:
    slots = {"b1": after(hours=2), "hand": after(hours=1), "b-a": after(hours=2)}
    found, cursor = [], None
    while True:
        page = store.jobs(JobQuery(sort="next", limit=1, cursor=cursor), slots)
        found += [job.job_id for job in page.items]
        cursor = page.next_cursor
        if cursor is None:
            break
    assert found == ["hand", "b-a", "b1", "after", "hook"]
    assert [
        job.job_id for job in store.jobs(JobQuery(sort="next", trigger="schedule"), slots).items
    ] == [
        "b-a",
        "b1",
    ]
    assert store.jobs(JobQuery(sort="next", owner="nobody"), slots).items == ()


def test_late_jobs_are_listed_where_the_database_takes_few_values(
    place: Place, store: SqlStore
) -> None:
    add(store, *(desired(f"late-{n:02}", expect={"successWithin": 60}) for n in range(60)))
    database = place.database()
    with database.reading() as tx:
        if tx.is_sqlite:
            tx.cursor.connection.setlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER, 20)
        found = jobs(tx, JobQuery(state="late", limit=100), after(hours=1)).items
    assert [job.job_id for job in found] == [f"late-{n:02}" for n in range(60)]
    database.dispose()


UNKNOWN = [
    ("a state", {"state": "happy"}, "disabled"),
    ("a trigger", {"trigger": "moon"}, "webhook"),
    ("a sort", {"sort": "size"}, "attention"),
    ("a cursor of another sort", {"sort": "last", "cursor": "WyJqb2JzOm5hbWUiLDAsImIxIl0"}, "sort"),
]


@pytest.mark.parametrize(
    ("query", "names"), [row[1:] for row in UNKNOWN], ids=[row[0] for row in UNKNOWN]
)
def test_what_is_not_known_is_refused_with_what_is(
    store: SqlStore, query: dict[str, Any], names: str
) -> None:
    with pytest.raises(Invalid) as caught:
        store.jobs(JobQuery(**query))
    assert names in f"{caught.value.message} {caught.value.hint}"


def test_a_text_that_no_database_takes_finds_nothing_or_is_refused(store: SqlStore) -> None:
    for text in ("\0", "\ud800"):
        try:
            assert ids(store, owner=text) == []
        except Invalid as error:
            assert "no database can" in error.message
    assert ids(store) == LIVE


def test_the_fleet_is_counted(store: SqlStore) -> None:
    assert store.fleet_counts() == FleetCounts(
        jobs=5, enabled=4, disabled=1, held=1, failing=1, running=1, queued=0, invalid_files=0
    )


def test_the_changelog_of_a_job_and_of_all_page_by_page(store: SqlStore) -> None:
    page = store.changelog(limit=4)
    assert [row.sequence for row in page.items] == [7, 6, 5, 4]
    rest = store.changelog(limit=4, cursor=page.next_cursor)
    assert [row.sequence for row in rest.items] == [3, 2, 1]
    assert rest.next_cursor is None
    assert [row.action for row in store.changelog("gone").items] == ["deleted", "created"]
