"""What a reconcile writes: rows, generations, conditions, problems, the source's state."""

from __future__ import annotations

import sqlite3
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from jobreconciler.core.audit import GENESIS, hash_row
from jobreconciler.model.change import Provenance, ReconcileRecord
from jobreconciler.model.condition import Condition
from jobreconciler.model.problem import Problem
from jobreconciler.store.store import SqlStore

from .conftest import Place
from .made import NOW, REVISION, SOURCE, add, after, change, change_set, commit, desired


def test_a_created_job_can_be_read_back_whole(store: SqlStore) -> None:
    job = desired(meta={"title": "Nächtlich", "owner": "team-a", "tags": ["x"]})
    add(store, job)
    stored = store.job("nightly")
    assert stored is not None
    assert (stored.generation, stored.observed_generation) == (1, 0)
    assert (stored.path, stored.blob, stored.digest) == (job.path, job.blob, job.digest)
    assert stored.config["meta"]["title"] == "Nächtlich"
    assert stored.created_at == stored.updated_at == NOW
    assert store.configs(["nightly", "nobody"]) == {"nightly": stored.config}
    pinned = store.pinned(["nightly"])["nightly"]
    assert (pinned.revision, pinned.generation, pinned.digest) == (REVISION, 1, job.digest)


def test_the_index_holds_what_the_planner_needs(store: SqlStore) -> None:
    job = desired("late", dependency={"jobs": ["nightly"]}, isEnabled=False)
    add(store, desired(), job)
    store.apply(change_set(change("deleted", "nightly"))).result()
    index = store.index()
    assert index["late"].depends_on == ("nightly",)
    assert index["late"].enabled is False
    assert index["nightly"].deleted is True
    assert index["late"].digest == job.digest


NEW = desired(priority=60)
GENERATIONS = [
    ("an updated config is a new generation", change("updated", NEW), 2),
    ("a move alone is none", change("moved", desired(path="jobs.d/elsewhere.yaml")), 1),
    ("a move with another config is one", change("moved", NEW._replace(path="a.yaml")), 2),
    ("an update that means the same is none", change("updated", desired()), 1),
    ("a heal is one, so that what was tampered with is read again", change("healed", desired()), 2),
    ("files read differently by a newer program are one", change("migrated", NEW), 2),
    ("a deletion is one", change("deleted", "nightly"), 2),
]


@pytest.mark.parametrize(
    ("applied", "generation"), [row[1:] for row in GENERATIONS], ids=[row[0] for row in GENERATIONS]
)
def test_generations(store: SqlStore, applied: object, generation: int) -> None:
    add(store, desired())
    (row,) = store.apply(change_set(applied, at=after(minutes=1))).result()  # type: ignore[arg-type]
    assert row.generation == generation
    stored = store.job("nightly", deleted=True)
    assert stored is not None
    assert stored.generation == generation
    assert stored.updated_at == after(minutes=1)
    assert stored.created_at == NOW


def test_a_deleted_job_keeps_its_history_and_comes_back_with_the_next_generation(
    store: SqlStore,
) -> None:
    add(store, desired())
    store.apply(change_set(change("deleted", "nightly"), at=after(hours=1))).result()
    assert store.job("nightly") is None
    assert store.configs(["nightly"]) == store.pinned(["nightly"]) == {}
    gone = store.job("nightly", deleted=True)
    assert gone is not None
    assert gone.deleted_at == after(hours=1)
    store.apply(change_set(change("restored", desired()), at=after(hours=2))).result()
    back = store.job("nightly")
    assert back is not None
    assert (back.generation, back.deleted_at, back.created_at) == (3, None, NOW)
    assert [row.action for row in store.changelog("nightly").items] == [
        "restored",
        "deleted",
        "created",
    ]


def test_deleting_what_is_not_there_writes_nothing(store: SqlStore) -> None:
    add(store, desired())
    store.apply(change_set(change("deleted", "nightly"))).result()
    again = change_set(change("deleted", "nightly"), change("deleted", "nobody"))
    assert store.apply(again).result() == ()
    assert len(store.changelog().items) == 2


def test_a_change_set_without_changes_only_writes_the_source(store: SqlStore) -> None:
    add(store, desired())
    before = store.job("nightly")
    moved_on = replace(SOURCE, observed_revision="f" * 40)
    assert store.apply(change_set(source=moved_on, at=after(days=1))).result() == ()
    assert store.job("nightly") == before
    assert store.source_state() == moved_on
    assert store.reconciles().items == ()


def test_seen_jobs_take_new_blobs_and_path_and_nothing_else(store: SqlStore) -> None:
    add(store, desired())
    seen = desired(blob="b" * 40, path="jobs.d/new/nightly.yaml")
    assert store.apply(change_set(seen=(seen,), at=after(hours=1))).result() == ()
    stored = store.job("nightly")
    assert stored is not None
    assert (stored.blob, stored.path) == ("b" * 40, "jobs.d/new/nightly.yaml")
    assert (stored.generation, stored.revision) == (1, REVISION)
    assert store.drifted() == []


OWED = [
    ("the same schedule keeps what it owes", desired(priority=1), NOW),
    (
        "another expression owes nothing",
        desired(schedule={"cronExpression": "1 2 * * *"}),
        after(hours=1),
    ),
    (
        "another zone owes nothing",
        desired(schedule={"timezone": "Europe/Berlin"}),
        after(hours=1),
    ),
    ("another jitter keeps what it owes", desired(schedule={"jitterSeconds": 9}), NOW),
]


@pytest.mark.parametrize(
    ("job", "owed_from"), [row[1:] for row in OWED], ids=[row[0] for row in OWED]
)
def test_slots_owed_after_an_update(store: SqlStore, job: object, owed_from: object) -> None:
    add(store, desired())
    update = change("updated", job)  # type: ignore[arg-type]
    store.apply(change_set(update, at=after(hours=1))).result()
    (row,) = store.schedules(["nightly"])
    assert row.owed_from == owed_from
    assert row.watermark is None


OFF = [
    ("disabled", desired(isEnabled=False)),
    ("with its schedule off", desired(schedule={"isEnabled": False})),
    ("without a schedule", desired(schedule={})),
]


@pytest.mark.parametrize("job", [row[1] for row in OFF], ids=[row[0] for row in OFF])
def test_a_job_that_is_switched_off_has_no_schedule_and_owes_nothing_once_back_on(
    store: SqlStore, job: object
) -> None:
    add(store, desired())
    store.apply(change_set(change("updated", job), at=after(hours=1))).result()  # type: ignore[arg-type]
    assert store.schedules() == []
    store.apply(change_set(change("updated", desired()), at=after(hours=2))).result()
    (row,) = store.schedules()
    assert row.owed_from == after(hours=2)


def test_a_schedule_row_says_all_that_the_loop_needs(store: SqlStore) -> None:
    schedule = {"catchUp": "all", "jitterSeconds": 30, "startingDeadlineSeconds": 600}
    add(store, desired(schedule=schedule), desired("other", schedule={}))
    (row,) = store.schedules()
    assert row[:7] == ("nightly", 1, "0 2 * * *", "UTC", 30, "all", 600)
    assert store.schedules([]) == []


def test_what_the_schedule_loop_acts_on_is_recorded(store: SqlStore) -> None:
    add(store, desired(), desired("other"))
    store.observed(["nightly"]).result()
    assert _observed(store) == {"nightly": 1, "other": 0}
    store.observed(None).result()
    assert _observed(store) == {"nightly": 1, "other": 1}
    store.apply(change_set(change("updated", NEW))).result()
    assert _observed(store) == {"nightly": 1, "other": 1}
    assert store.drifted() == []


def _observed(store: SqlStore) -> dict[str, int]:
    found = (store.job(job_id) for job_id in ("nightly", "other"))
    return {job.job_id: job.observed_generation for job in found if job is not None}


def test_a_hold_keeps_since_when_for_as_long_as_the_reason_stands(store: SqlStore) -> None:
    add(store, desired())
    first = Condition("Held", "True", "InvalidFile", "line 3", NOW)
    store.apply(change_set(held={"nightly": first, "nobody": first})).result()
    assert store.held() == {"nightly": first}
    again = replace(first, message="line 4", since=after(hours=1))
    store.apply(change_set(held={"nightly": again})).result()
    assert store.held() == {"nightly": replace(again, since=NOW)}
    other = replace(again, reason="DependsOnHeld")
    store.apply(change_set(held={"nightly": other})).result()
    assert store.held() == {"nightly": other}
    job = store.job("nightly")
    assert job is not None
    assert job.conditions == (other,)
    assert store.fleet_counts().held == 1
    store.apply(change_set(released=frozenset({"nightly"}))).result()
    assert store.held() == {}


def test_a_deleted_job_holds_nothing_any_more(store: SqlStore) -> None:
    add(store, desired())
    held = Condition("Held", "True", "InvalidFile", "line 3", NOW)
    store.apply(change_set(held={"nightly": held})).result()
    store.apply(change_set(change("deleted", "nightly"))).result()
    assert store.held() == {}


def test_problems_are_replaced_for_the_files_that_were_looked_at(store: SqlStore) -> None:
    a, b, c = (Problem(f"{name}.yaml", 1, 2, "meta", "code", "wrong", "hint") for name in "abc")
    both = {"a.yaml": (a, a), "b.yaml": (b,)}
    store.apply(change_set(problems=both, considered=frozenset(both))).result()
    assert store.file_problems() == both
    looked = frozenset({"a.yaml", "c.yaml"})
    store.apply(change_set(problems={"c.yaml": (c,)}, considered=looked)).result()
    assert store.file_problems() == {"b.yaml": (b,), "c.yaml": (c,)}
    assert store.fleet_counts().invalid_files == 2
    store.apply(change_set(problems={"a.yaml": (a,)}, problems_complete=True)).result()
    assert store.file_problems() == {"a.yaml": (a,)}


def test_blobs_are_kept_once_and_as_they_are(store: SqlStore) -> None:
    text = bytes(range(256))
    store.apply(change_set(blobs={"b1": text, "b2": b""})).result()
    store.apply(change_set(blobs={"b1": b"other"})).result()
    assert store.blobs(["b1", "b2", "b3"]) == {"b1": text, "b2": b""}


def test_the_source_state_is_read_back_whole(store: SqlStore) -> None:
    assert store.source_state() is None
    state = replace(
        SOURCE,
        environment="production",
        base_revision=None,
        conditions=(Condition("SourceReady", "False", "Unreachable", "nö", NOW),),
        last_success_at=NOW,
        author="Ada",
        message="Überarbeitet",
        committed_at="2026-03-14T10:30:00+01:00",
    )
    store.set_source(state).result()
    assert store.source_state() == state


def test_reconciles_are_listed_newest_first(store: SqlStore) -> None:
    for n in range(3):
        record = ReconcileRecord(
            f"r{n}", NOW, NOW + timedelta(seconds=n), "applied", "poll", {"create": n}, ""
        )
        store.apply(change_set(record=record)).result()
    first = store.reconciles(limit=2)
    assert [record.revision for record in first.items] == ["r2", "r1"]
    rest = store.reconciles(limit=2, cursor=first.next_cursor)
    assert [record.summary for record in rest.items] == [{"create": 0}]
    assert rest.next_cursor is None


def test_the_changelog_chains_each_row_to_the_one_before(store: SqlStore) -> None:
    provenance = Provenance(
        REVISION,
        (commit(message="Merge #7\n\nReviewed-by: Bo"), commit("d" * 40)),
        "#7",
        ("Bo <bo@example.org>",),
    )
    given = change("created", desired(), provenance=provenance)
    written = store.apply(change_set(given, change("created", desired("other")))).result()
    read = tuple(store.changelog_since())
    assert read == written
    assert [row.sequence for row in read] == [1, 2]
    assert read[0].previous_hash == GENESIS
    assert read[1].previous_hash == read[0].hash == hash_row(read[0])
    assert store.audit_head() == read[1].hash
    assert read[0].commits == (REVISION, "d" * 40)
    assert read[0].pull_request == "#7"
    assert read[0].reviewers == ("Bo <bo@example.org>",)
    assert read[0].instance == "test"
    assert store.audit_break() is None


def test_a_changelog_row_that_was_edited_breaks_the_chain(store: SqlStore, place: Place) -> None:
    add(store, desired(), desired("other"), desired("third"))
    place.sql("UPDATE changelog SET message = 'nothing to see' WHERE sequence = 2")
    broken = store.audit_break()
    assert broken is not None
    assert broken.sequence == 2
    assert "changed after it was written" in broken.message


def test_a_change_without_commits_is_logged_all_the_same(store: SqlStore) -> None:
    healed = change("created", desired(), provenance=Provenance(REVISION, ()), actor="healing")
    (row,) = store.apply(change_set(healed)).result()
    assert (row.author, row.committer, row.message, row.commits) == ({}, {}, "", ())
    assert tuple(store.changelog_since()) == (row,)


def test_text_that_no_database_takes_is_made_fit_and_the_chain_still_holds(
    store: SqlStore,
) -> None:
    odd = "NUL \0, half \ud800, whole \U0001f600"
    job = desired(meta={"title": "a\0b", "owner": "o\0", "tags": ["t\0"]})
    told = change("created", job, provenance=Provenance(REVISION, (commit(message=odd),), odd))
    (row,) = store.apply(change_set(told)).result()
    assert row.message == "NUL \ufffd, half \ufffd, whole \U0001f600"
    assert tuple(store.changelog_since()) == (row,)
    assert store.audit_break() is None
    assert store.drifted() == []
    stored = store.job("nightly")
    assert stored is not None
    assert stored.config["meta"]["title"] == "a\0b"


def test_an_approval_is_found_again(store: SqlStore) -> None:
    store.approve("r1", "ada", NOW).result()
    store.approve("r1", "bo", NOW).result()
    assert store.approved("r1")
    assert not store.approved("r2")


def test_an_approval_is_used_up_by_the_pass_that_applies_it(store: SqlStore) -> None:
    store.approve(REVISION, "ada", NOW).result()
    store.apply(change_set(record=passed("blocked", after(seconds=1)))).result()
    assert store.approved(REVISION)
    store.apply(change_set(record=passed("applied", after(seconds=2)))).result()
    assert not store.approved(REVISION)
    store.approve(REVISION, "ada", after(seconds=3)).result()
    assert store.approved(REVISION)


def passed(result: str, at: datetime) -> ReconcileRecord:
    return ReconcileRecord(REVISION, at, at, result, "test")


def test_two_thousand_jobs_are_one_change_set(store: SqlStore) -> None:
    jobs = [desired(f"job-{n}") for n in range(2_000)]
    rows = store.apply(change_set(*(change("created", job) for job in jobs))).result()
    assert len(rows) == len(store.index()) == len(store.stats()) == 2_000
    assert store.audit_break() is None
    assert store.drifted() == []
    gone = store.apply(change_set(*(change("deleted", job.job_id) for job in jobs))).result()
    assert {row.generation for row in gone} == {2}


def test_a_failing_change_set_leaves_nothing_behind(store: SqlStore) -> None:
    broken = desired("broken")._replace(config="{")
    with pytest.raises(ValueError, match="EOF while parsing"):
        add(store, desired(), broken)
    assert store.index() == {}
    assert store.changelog().items == ()
    assert store.source_state() is None
    add(store, desired())
    assert store.audit_break() is None


def test_sqlite_is_new_enough_for_what_the_statements_use() -> None:
    assert sqlite3.sqlite_version_info >= (3, 35)
