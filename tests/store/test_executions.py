"""Executions: a slot starts once, a state changes once, the job's figures follow."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from jobreconciler.errors import Invalid, NotFound
from jobreconciler.model.execution import Attempt, Execution, Missed, Trigger
from jobreconciler.store.store import SqlStore

from .conftest import Place
from .made import (
    NOW,
    REVISION,
    add,
    after,
    begin,
    change,
    change_set,
    desired,
    end,
    execution,
    outcome,
)

CONFIG = {"meta": {"id": "nightly"}, "payload": {"jobType": "command"}}
ATTEMPT = Attempt(1, after(seconds=1))


@pytest.fixture(autouse=True)
def _jobs(store: SqlStore) -> None:
    add(store, desired(), desired("other"))


def release(store: SqlStore, wanted: Execution) -> bool:
    return store.release(wanted, CONFIG).result()


def ran(store: SqlStore, id_: str, status: Any = "succeeded", at: datetime = NOW) -> None:
    """One whole life of an execution."""
    assert release(store, execution(id_))
    assert begin(store, id_, ATTEMPT)
    assert end(store, id_, 1, outcome(status, at))


def test_an_execution_is_read_back_as_it_was_released(store: SqlStore) -> None:
    trigger = Trigger(
        "webhook",
        actor="hook",
        reason="a\0b",
        delivery_id="d-1",
        upstream=("u1", "u2"),
        parameters={"limits.batchSize": 5},
    )
    wanted = execution(trigger=trigger, retry_of="e0", dry_run=True, not_before=after(hours=1))
    assert release(store, wanted)
    assert store.execution("e1") == wanted
    assert store.execution("e2") is None
    assert store.config_versions(["d" * 64]).get("d" * 64) == CONFIG
    assert store.config_versions(["e" * 64]).get("e" * 64) is None


def test_what_an_earlier_version_let_in_makes_no_list_unreadable(store: SqlStore) -> None:
    """More levels than the quick reader goes down, and half a character."""
    deep = json.loads('{"a":' * 250 + "1" + "}" * 250)
    trigger = Trigger("webhook", parameters={"kwargs": deep, "half": "a\ud800"})
    assert release(store, execution(trigger=trigger))
    assert begin(store, "e1", ATTEMPT)
    (unfinished,) = store.unfinished()
    assert unfinished.trigger.parameters == {"kwargs": deep, "half": "a\ufffd"}
    assert end(store, "e1", 1, outcome("failed", NOW, result=deep))
    (read,) = store.executions("nightly").items
    assert read.result == deep


def test_a_run_from_queue_to_end(store: SqlStore) -> None:
    assert release(store, execution(slot=NOW))
    assert begin(store, "e1", ATTEMPT)
    running = store.execution("e1")
    assert running is not None
    assert (running.status, running.started_at) == ("running", after(seconds=1))
    assert running.attempts == (ATTEMPT,)
    ended = outcome(
        "failed",
        after(seconds=9),
        exit_code=3,
        error="no\0t found",
        result={"itemsFailed": 1},
        progress=(4, 10),
        metrics={"rows": 1.5},
        output_bytes=10,
    )
    assert end(store, "e1", 1, ended)
    read = store.execution("e1")
    assert read is not None
    assert (read.status, read.exit_code, read.finished_at) == ("failed", 3, after(seconds=9))
    assert (read.error, read.result) == ("no\ufffdt found", {"itemsFailed": 1})
    assert (read.progress, read.metrics) == ((4, 10), {"rows": 1.5})
    (attempt,) = read.attempts
    assert (attempt.exit_code, attempt.finished_at) == (3, after(seconds=9))


TWICE = [
    ("starting what runs already", ["start"], "start"),
    ("starting what has ended", ["start", "finish"], "start"),
    ("starting what was cancelled", ["cancel"], "start"),
    ("ending what waits", [], "finish"),
    ("ending what has ended", ["start", "finish"], "finish"),
    ("cancelling what runs", ["start"], "cancel"),
    ("cancelling what was cancelled", ["cancel"], "cancel"),
]


@pytest.mark.parametrize(
    ("before", "action"), [row[1:] for row in TWICE], ids=[row[0] for row in TWICE]
)
def test_who_comes_second_changes_nothing(store: SqlStore, before: list[str], action: str) -> None:
    assert release(store, execution())
    for step in before:
        assert _do(store, step) is True
    stood = store.execution("e1")
    assert _do(store, action) is False
    assert store.execution("e1") == stood


def _do(store: SqlStore, action: str) -> bool:
    if action == "start":
        return begin(store, "e1", ATTEMPT)
    if action == "finish":
        return end(store, "e1", 1, outcome())
    return store.cancel_queued("e1", after(minutes=1), "replaced").result()


def test_an_attempt_that_nobody_took_up_is_given_back(store: SqlStore) -> None:
    assert release(store, execution())
    waited = store.execution("e1")
    assert begin(store, "e1", ATTEMPT)
    assert store.unclaim_all([("e1", 2), ("none", 1)]).result() == [False, False]
    assert store.unclaim_all([("e1", 1)]).result() == [True]
    assert store.execution("e1") == waited
    assert store.unclaim_all([("e1", 1)]).result() == [False]
    assert begin(store, "e1", ATTEMPT)


def test_an_outcome_of_another_attempt_is_not_taken(store: SqlStore) -> None:
    assert release(store, execution())
    assert begin(store, "e1", ATTEMPT)
    assert end(store, "e1", 2, outcome()) is False


def test_between_two_attempts_an_execution_waits_and_keeps_what_the_first_one_left(
    store: SqlStore,
) -> None:
    assert release(store, execution("e1"))
    assert begin(store, "e1", ATTEMPT)
    assert store.retry_later("e1", 1, outcome("failed", NOW), after(hours=1)).result()
    assert not store.retry_later("e1", 1, outcome("failed", NOW), after(hours=1)).result()
    waiting = store.execution("e1")
    assert waiting is not None
    assert (waiting.status, waiting.not_before) == ("queued", after(hours=1))
    assert waiting.attempts[0].finished_at == NOW
    assert [each.id for each in store.unfinished()] == ["e1"]
    job = store.job("nightly")
    assert job is not None and job.consecutive_failures == 0
    second = Attempt(2, after(hours=1))
    assert begin(store, "e1", second)
    assert end(store, "e1", 2, outcome("succeeded", after(hours=2)))
    done = store.execution("e1")
    assert done is not None
    assert (done.status, done.not_before, len(done.attempts)) == ("succeeded", None, 2)


def test_a_cancelled_execution_says_why_and_never_was_a_run(store: SqlStore) -> None:
    assert release(store, execution())
    assert store.cancel_queued("e1", after(minutes=1), "replaced by a newer run").result()
    read = store.execution("e1")
    assert read is not None
    assert (read.status, read.error) == ("cancelled", "replaced by a newer run")
    assert read.finished_at == after(minutes=1)
    job = store.job("nightly")
    assert job is not None
    assert (job.last_status, job.last_run_at, job.last_execution_id) == (None, None, "e1")


def slot(hour: int) -> datetime:
    return NOW.replace(minute=0, second=0, microsecond=0) + timedelta(hours=hour)


def missed(first: int, last: int) -> Missed:
    return Missed(slot(first), slot(last), last - first + 1, "down")


SLOTS = [
    ("the same slot twice", [execution("a", slot=slot(1))], execution("b", slot=slot(1)), False),
    ("an earlier slot", [execution("a", slot=slot(2))], execution("b", slot=slot(1)), False),
    ("the next slot", [execution("a", slot=slot(1))], execution("b", slot=slot(2)), True),
    (
        "the same slot of another job",
        [execution("a", slot=slot(1))],
        execution("b", "other", slot=slot(1)),
        True,
    ),
    (
        "a slot that was skipped",
        [execution("a", slot=slot(1), status="skipped")],
        execution("b", slot=slot(1)),
        False,
    ),
    (
        "a slot among the missed",
        [execution("a", trigger=Trigger("schedule"), status="missed", missed=missed(1, 3))],
        execution("b", slot=slot(2)),
        False,
    ),
    (
        "the slot after the missed",
        [execution("a", trigger=Trigger("schedule"), status="missed", missed=missed(1, 3))],
        execution("b", slot=slot(4)),
        True,
    ),
    (
        "missed slots that were handled",
        [execution("a", slot=slot(3))],
        execution("b", trigger=Trigger("schedule"), status="missed", missed=missed(1, 3)),
        False,
    ),
    (
        "a backfill of a slot that ran",
        [execution("a", slot=slot(1))],
        execution("b", trigger=Trigger("backfill", slot=slot(1))),
        False,
    ),
    (
        "a backfill of a slot that was skipped",
        [execution("a", slot=slot(1), status="skipped")],
        execution("b", trigger=Trigger("backfill", slot=slot(1))),
        True,
    ),
    (
        "the schedule at a slot that was filled before its time",
        [execution("a", trigger=Trigger("backfill", slot=slot(1)))],
        execution("b", slot=slot(1)),
        False,
    ),
    ("two runs by hand", [execution("a")], execution("b"), True),
]


@pytest.mark.parametrize(
    ("before", "wanted", "expected"), [row[1:] for row in SLOTS], ids=[row[0] for row in SLOTS]
)
def test_a_slot_is_released_once(
    store: SqlStore, before: list[Execution], wanted: Execution, expected: bool
) -> None:
    for earlier in before:
        assert release(store, earlier)
    assert release(store, wanted) is expected
    assert (store.execution("b") is not None) is expected


def test_the_watermark_only_moves_forward(store: SqlStore) -> None:
    def watermark() -> datetime | None:
        (row,) = store.schedules(["nightly"])
        return row.watermark

    assert watermark() is None
    release(store, execution("a", slot=slot(2)))
    assert watermark() == slot(2)
    release(store, execution("b", slot=slot(1)))
    release(store, execution("c", trigger=Trigger("backfill", slot=slot(0))))
    release(store, execution("d"))
    assert watermark() == slot(2)
    late = execution("e", trigger=Trigger("schedule"), status="missed", missed=missed(3, 5))
    release(store, late)
    assert watermark() == slot(5)


def test_a_job_that_never_was_has_no_executions(store: SqlStore) -> None:
    with pytest.raises(NotFound, match="no job 'ghost'"):
        release(store, execution(job_id="ghost"))
    assert store.executions().items == ()


def test_a_deleted_job_keeps_its_executions_and_its_watermark(store: SqlStore) -> None:
    release(store, execution(slot=slot(1)))
    store.apply(change_set(change("deleted", "nightly"))).result()
    assert store.execution("e1") is not None
    store.apply(change_set(change("restored", desired()))).result()
    assert release(store, execution("e2", slot=slot(1))) is False


FIGURES = [
    ("a success", ["succeeded"], 0, "succeeded", True),
    ("a failure", ["failed"], 1, "failed", False),
    ("failures of every kind", ["failed", "timed_out", "lost"], 3, "lost", False),
    ("a success after failures", ["failed", "lost", "succeeded"], 0, "succeeded", True),
    ("a cancelled run after a failure", ["failed", "cancelled"], 1, "cancelled", False),
]


@pytest.mark.parametrize(
    ("statuses", "failures", "last", "succeeded"),
    [row[1:] for row in FIGURES],
    ids=[row[0] for row in FIGURES],
)
def test_the_figures_of_a_job(
    store: SqlStore, statuses: list[str], failures: int, last: str, succeeded: bool
) -> None:
    for n, status in enumerate(statuses):
        ran(store, f"e{n}", status, after(minutes=n))
    end = after(minutes=len(statuses) - 1)
    job = store.job("nightly")
    assert job is not None
    assert (job.consecutive_failures, job.last_status) == (failures, last)
    assert job.last_run_at == end
    assert job.last_success_at == (end if succeeded else None)
    assert job.last_execution_id == f"e{len(statuses) - 1}"
    figures = {row.job_id: row for row in store.stats()}["nightly"]
    assert figures.last_run == end.timestamp()
    assert figures.consecutive_failures == failures
    assert figures[:7] == ("nightly", "command", "", True, True, 1, REVISION)


def test_a_run_that_ends_late_does_not_turn_the_figures_back(store: SqlStore) -> None:
    ran(store, "e1", at=after(hours=1))
    ran(store, "e2", at=NOW)
    job = store.job("nightly")
    assert job is not None
    assert job.last_run_at == job.last_success_at == after(hours=1)


def test_a_dry_run_counts_for_nothing(store: SqlStore) -> None:
    assert release(store, execution(dry_run=True))
    begin(store, "e1", ATTEMPT)
    assert end(store, "e1", 1, outcome("failed"))
    job = store.job("nightly")
    assert job is not None
    assert (job.last_status, job.last_run_at, job.consecutive_failures) == (None, None, 0)


def test_skipped_and_missed_rows_are_never_a_jobs_last_execution(store: SqlStore) -> None:
    release(store, execution("a", slot=slot(1)))
    release(store, execution("b", slot=slot(2), status="skipped"))
    release(
        store, execution("c", trigger=Trigger("schedule"), status="missed", missed=missed(3, 4))
    )
    job = store.job("nightly")
    assert job is not None
    assert job.last_execution_id == "a"
    assert store.latest_executions(["nightly", "other"]).keys() == {"nightly"}
    assert store.latest_executions(["nightly"])["nightly"].id == "a"
    read = store.execution("c")
    assert read is not None
    assert read.missed == missed(3, 4)


def test_nor_is_one_that_was_missed_while_it_waited(store: SqlStore) -> None:
    ran(store, "a")
    release(store, execution("b", slot=slot(1), queued_at=after(minutes=1)))
    release(store, execution("b2", status="skipped", queued_at=after(minutes=2)))
    assert store.latest_executions(["nightly"])["nightly"].id == "b"
    assert store.miss_queued("b", after(minutes=9), missed(1, 1)).result()
    assert store.latest_executions(["nightly"])["nightly"].id == "a"
    release(store, execution("c", slot=slot(2), queued_at=after(minutes=3)))
    release(store, execution("d", queued_at=after(minutes=4)))
    assert store.miss_queued("c", after(minutes=9), missed(2, 2)).result()
    assert store.latest_executions(["nightly"])["nightly"].id == "d", "which came after it"
    release(store, execution("e", "other", slot=slot(1)))
    assert store.miss_queued("e", after(minutes=9), missed(1, 1)).result()
    assert store.latest_executions(["other"]) == {}, "none of it ran yet"


@pytest.mark.parametrize("stopped", [False, True])
def test_one_that_waits_becomes_skipped_as_if_it_had_been_at_once(
    store: SqlStore, stopped: bool
) -> None:
    ran(store, "a")
    release(store, execution("b", slot=slot(1), queued_at=after(minutes=1)))
    why = replace(missed(1, 1), reason="suspended") if stopped else None
    assert store.skip_queued("b", after(minutes=9), "as ada said", why).result()
    read = store.execution("b")
    assert read is not None
    assert (read.status, read.error, read.missed) == ("skipped", "as ada said", why)
    assert read.finished_at == after(minutes=9)
    assert store.latest_executions(["nightly"])["nightly"].id == "a"
    assert not store.skip_queued("b", after(minutes=9), "twice", None).result()
    assert release(store, execution("c", "other"))
    assert begin(store, "c", ATTEMPT)
    assert not store.skip_queued("c", after(minutes=9), "it runs", None).result()


def test_slots_that_a_stop_skips_afterwards_are_told_in_the_same_row(store: SqlStore) -> None:
    release(store, execution("b", slot=slot(1), queued_at=slot(1)))
    first = Missed(slot(1), slot(1), 1, "suspended")
    assert store.skip_queued("b", slot(1), "as ada said", first).result()
    later = execution("c", status="skipped", missed=Missed(slot(2), slot(3), 2, "suspended"))
    assert store.skip_slots(later, CONFIG, slot(0)).result()
    read = store.execution("b")
    assert read is not None
    assert read.missed == Missed(slot(1), slot(3), 3, "suspended")
    assert store.execution("c") is None


def test_what_is_unfinished_is_handed_to_the_next_daemon_oldest_first(store: SqlStore) -> None:
    release(store, execution("b", queued_at=after(minutes=2)))
    release(store, execution("a", "other", queued_at=after(minutes=1)))
    release(store, execution("c", queued_at=NOW))
    begin(store, "b", ATTEMPT)
    store.cancel_queued("c", NOW, "x").result()
    left = store.unfinished()
    assert [(e.id, e.status) for e in left] == [("a", "queued"), ("b", "running")]
    assert left[1].attempts == (ATTEMPT,)
    assert store.left_running() == [("b", ATTEMPT.number)]
    counts = store.fleet_counts()
    assert (counts.running, counts.queued) == (1, 1)


def test_executions_are_listed_newest_first_page_by_page(store: SqlStore) -> None:
    for n in range(7):
        job = "other" if n % 2 else "nightly"
        # Two at a time share an instant: the id decides.
        release(store, execution(f"e{n}", job, queued_at=after(minutes=n // 2)))
    pages, cursor = [], None
    while True:
        page = store.executions(limit=3, cursor=cursor)
        pages.append([e.id for e in page.items])
        cursor = page.next_cursor
        if cursor is None:
            break
    assert pages == [["e6", "e5", "e4"], ["e3", "e2", "e1"], ["e0"]]
    assert [e.id for e in store.executions("other").items] == ["e5", "e3", "e1"]
    store.cancel_queued("e3", NOW, "x").result()
    assert [e.id for e in store.executions(statuses=["cancelled"]).items] == ["e3"]
    assert store.executions(statuses=[]).items == ()


CURSORS = [
    ("nonsense", "%%%"),
    ("of another list", "WyJjaGFuZ2Vsb2ciLDFd"),
    ("no list at all", "MQ"),
    ("empty list", "W10"),
    ("with a number beyond the database", "WyJleGVjdXRpb25zIiw5OTk5OTk5OTk5OTk5OTk5OTk5OSwiYSJd"),
    ("with letters that are none", "\u2603"),
]


@pytest.mark.parametrize("cursor", [row[1] for row in CURSORS], ids=[row[0] for row in CURSORS])
def test_a_cursor_that_does_not_fit_is_refused(store: SqlStore, cursor: str) -> None:
    with pytest.raises(Invalid, match="cursor"):
        store.executions(cursor=cursor)


def test_the_same_config_is_pinned_once_and_again_after_it_was_rolled_back(
    store: SqlStore, place: Place
) -> None:
    with pytest.raises(NotFound):
        release(store, execution(job_id="ghost"))
    assert store.config_versions(["d" * 64]).get("d" * 64) is None
    assert release(store, execution("a"))
    assert release(store, execution("b"))
    assert place.sql("SELECT count(*) FROM config_versions") == [(1,)]
