"""Notices are written with what they tell of, on both databases."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Any

from jobreconciler.core.notices import of_missed, of_outcome, of_state, still_failing
from jobreconciler.model.execution import Attempt, ExecutionStatus, Missed
from jobreconciler.model.notice import Notice
from jobreconciler.store.store import SqlStore

from .conftest import Place
from .made import NOW, add, after, begin, desired, end, execution, outcome

CONFIG: dict[str, Any] = {
    "meta": {"id": "nightly"},
    "payload": {
        "notifications": {
            "onFailure": ["ops"],
            "onMissed": ["ops"],
            "onRecovery": ["ops"],
            "channels": {"ops": {"type": "webhook", "url": {"env": "OPS"}}},
        }
    },
}


def run(store: SqlStore, id_: str, status: ExecutionStatus, at: datetime) -> bool:
    """One execution from its release to its end."""
    made = execution(id_)
    store.release(made, CONFIG).result()
    begin(store, id_, Attempt(1, at))
    ended = outcome(status, at)
    told = of_outcome(made, CONFIG, ended, 1, at)
    return end(store, id_, 1, ended, told=told)


def take_all(store: SqlStore, now: datetime) -> list[Notice]:
    """Every due notice, delivered."""
    found = []
    for channel in store.due_channels():
        while (notice := store.next_notice(channel, now)) is not None:
            assert store.notice_delivered(notice.id, now).result()
            found.append(notice)
    return found


def events(store: SqlStore, now: datetime = NOW) -> list[str]:
    return [notice.event for notice in take_all(store, now)]


def test_an_outcome_and_its_notice_are_one(store: SqlStore) -> None:
    add(store, desired())
    assert run(store, "e1", "failed", NOW)
    (notice,) = take_all(store, NOW)
    assert (notice.job_id, notice.execution_id, notice.event) == ("nightly", "e1", "failure")
    assert notice.content["channel"] == {"name": "ops", **_ops()}
    assert store.due_channels() == {}


def test_an_outcome_that_came_second_tells_nobody(store: SqlStore) -> None:
    add(store, desired())
    run(store, "e1", "failed", NOW)
    take_all(store, NOW)
    told = of_outcome(execution("e1"), CONFIG, outcome("succeeded", NOW), 1, NOW)
    assert not end(store, "e1", 1, outcome("succeeded", NOW), told=told)
    assert events(store) == []


def test_failures_are_told_once_a_day_and_the_recovery_once(store: SqlStore) -> None:
    add(store, desired())
    said = []
    for hour, status in enumerate(["failed"] * 26 + ["succeeded"] * 2 + ["failed"]):
        run(store, f"e{hour}", status, after(hours=hour))  # type: ignore[arg-type]
        said += [(hour, event) for event in events(store, after(hours=hour))]
    assert said == [(0, "failure"), (23, "failure"), (26, "recovery"), (28, "failure")]


def test_a_cancelled_run_is_no_recovery(store: SqlStore) -> None:
    add(store, desired())
    run(store, "e1", "failed", NOW)
    run(store, "e2", "cancelled", after(hours=1))
    run(store, "e3", "succeeded", after(hours=2))
    assert events(store, after(hours=2)) == ["failure", "recovery"]


def test_missed_slots_are_told_with_the_row_that_records_them(store: SqlStore) -> None:
    add(store, desired())
    made = execution("m1", status="missed", missed=Missed(NOW, NOW, 1, "nobody was there"))
    told = of_missed(made, CONFIG)
    assert store.release(made, CONFIG, told=told).result()
    assert events(store) == ["missed"]


def test_a_slot_that_waited_too_long_is_told_of_with_its_miss_and_once(store: SqlStore) -> None:
    add(store, desired())
    missed = Missed(NOW, NOW, 1, "deadline_exceeded")
    made = execution("m1", slot=NOW)
    assert store.release(made, CONFIG).result()
    told = of_missed(replace(made, status="missed", missed=missed), CONFIG)
    assert store.miss_queued("m1", NOW, missed, told=told).result()
    assert events(store) == ["missed"]
    assert not store.miss_queued("m1", after(days=2), missed, told=told).result()
    assert events(store, after(days=2)) == []


def test_a_state_is_told_anew_after_it_was_over(store: SqlStore) -> None:
    add(store, desired())
    for hour, over, expected in ((0, False, 1), (1, False, 0), (2, True, 1)):
        if over:
            assert store.calm("nightly", ["late", "overrunning"]).result()
        told = of_state("nightly", "late", CONFIG, after(hours=hour), "no success within 3 h")
        assert told is not None
        assert store.tell(told).result() == expected


def test_a_failure_that_lasts_is_reminded_of_once_a_day(store: SqlStore) -> None:
    add(store, desired())
    run(store, "e1", "failed", NOW)
    assert store.lasting("failure", after(seconds=-1)) == []
    assert store.lasting("failure", NOW) == ["nightly"]
    failed = store.execution("e1")
    assert failed is not None
    for days, expected in ((0.9, 0), (1.0, 1), (1.5, 0), (2.0, 1)):
        told = still_failing(failed, CONFIG, after(days=days))
        assert told is not None
        assert store.tell(told).result() == expected


def test_what_failed_waits_and_what_was_given_up_is_gone(store: SqlStore) -> None:
    add(store, desired())
    run(store, "e1", "failed", NOW)
    (channel,) = store.due_channels()
    notice = store.next_notice(channel, NOW)
    assert notice is not None
    assert store.notice_failed(notice.id, "no answer\0", after(seconds=30)).result()
    assert store.next_notice(channel, after(seconds=29)) is None
    assert store.due_channels() == {channel: after(seconds=30)}
    again = store.next_notice(channel, after(seconds=30))
    assert again is not None
    assert (again.id, again.attempts) == (notice.id, 1)
    assert store.notice_failed(notice.id, "no answer", None).result()
    assert store.due_channels() == {}
    assert not store.notice_delivered(notice.id, NOW).result()


def test_settled_notices_are_forgotten_and_others_kept(store: SqlStore, place: Place) -> None:
    add(store, desired())
    run(store, "e1", "failed", NOW)
    assert store.forget_notices(after(days=30)).result() == 0
    take_all(store, NOW)
    assert store.forget_notices(NOW).result() == 0
    assert store.forget_notices(after(seconds=1)).result() == 1
    assert place.sql("SELECT count(*) FROM outbox") == [(0,)]


def _ops() -> dict[str, Any]:
    ops: dict[str, Any] = CONFIG["payload"]["notifications"]["channels"]["ops"]
    return ops
