"""Aggregation: the figures of the reference, by every way that leads to them."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import create_engine

from jobreconciler.errors import Invalid, NotFound, Stalled
from jobreconciler.signals import aggregate as module
from jobreconciler.signals import demo
from jobreconciler.signals.aggregate import aggregate
from jobreconciler.signals.database import Database
from jobreconciler.signals.periods import ALL_TIME, LAST_7D, LAST_30D, PERIODS, Period
from jobreconciler.signals.tables import (
    EVENT_TYPES,
    aggregation_passes,
    aggregation_queue,
    metadata,
    signal_aggregations,
)

from .made import DAY, HOUR, NOW, Context, World, event

# --------------------------------------------------------------------------- against the reference

AGES = [0, 1, HOUR, DAY - 1, DAY, 3 * DAY, 20 * DAY, 31 * DAY, 400 * DAY, -HOUR]
AGES += [days * DAY + off for days in (7, 30) for off in (-1, 0, 1)]
"""How old an event may be: ties, both sides of each edge, the edge itself, and the future."""

few = st.none() | st.sampled_from(["a", "b", "c"])
events = st.builds(
    lambda document, kind, age, rating, **ids: (
        document,
        kind,
        age,
        {"rating": rating if kind == "rated" else None, **ids},
    ),
    st.integers(0, 5),
    st.sampled_from(EVENT_TYPES),
    st.sampled_from(AGES),
    st.sampled_from(["up", "down", None]),
    session_id=st.sampled_from([f"s{n}" for n in range(12)]),
    user_id=few,
    lens_id=few,
    hub_id=few,
    query_hash=few,
)
rounds = st.lists(
    st.tuples(
        st.integers(0, 2),
        st.lists(events, max_size=8),
        st.sampled_from([0, 1, HOUR, DAY, 7 * DAY, 8 * DAY, 30 * DAY, -DAY, -8 * DAY]),
        st.lists(st.tuples(st.sampled_from(PERIODS), st.booleans()), min_size=1, max_size=4),
    ),
    min_size=1,
    max_size=4,
)


def play(world: World, story: list[tuple[int, Any, int, Any]]) -> None:
    """Round by round: new documents, events old and new, time that passes (or goes back), and
    passes, some of which are told to stop after a document."""
    there = 0
    for new, happened, later, passes in story:
        if new:
            world.documents(*(f"d{there + n}" for n in range(new)))
            there += new
        for document, kind, age, columns in happened if there else ():
            world.events(event(f"d{document % there}", kind, world.now - age, **columns))
        world.now += later
        for period, interrupted in passes:
            world.aggregate(period, batch_size=1, stop_after=1 if interrupted else None)


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(story=rounds)
def test_incremental_equals_full_equals_the_reference(
    shared: World, story: list[tuple[int, Any, int, Any]]
) -> None:
    world = shared.empty()
    play(world, story)
    for period in PERIODS:
        world.aggregate(period, batch_size=2)
        incremental = world.aggregations(period)
        assert incremental == world.expected(period)
        world.aggregate(period, full=True, batch_size=3)
        assert world.aggregations(period) == incremental
    assert world.rows(aggregation_queue) == []


@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    seed=st.integers(0, 2**32),
    document_count=st.integers(1, 60),
    event_count=st.integers(0, 1500),
)
def test_demo_data_come_to_the_figures_of_the_reference(
    shared: World, seed: int, document_count: int, event_count: int
) -> None:
    world = shared.empty()
    demo.fill(
        world.database,
        document_count=document_count,
        event_count=event_count,
        seed=seed,
        until=world.now,
    )
    for period in PERIODS:
        world.aggregate(period)
        assert world.aggregations(period) == world.expected(period)


# --------------------------------------------------------------------------------- one case a rule

EDGES = {
    "just inside the 7 days": (LAST_7D, 7 * DAY - 1, 1),
    "exactly 7 days old": (LAST_7D, 7 * DAY, 1),
    "a microsecond older": (LAST_7D, 7 * DAY + 1, 0),
    "exactly 30 days old": (LAST_30D, 30 * DAY, 1),
    "a microsecond older than 30 days": (LAST_30D, 30 * DAY + 1, 0),
    "ten years old, all time": (ALL_TIME, 3650 * DAY, 1),
    "an hour in the future": (LAST_7D, -HOUR, 1),
}


@pytest.mark.parametrize("case", EDGES.values(), ids=EDGES.keys())
def test_an_event_counts_until_it_is_older_than_the_period(
    world: World, case: tuple[Period, int, int]
) -> None:
    period, age, counted = case
    world.documents("a")
    world.events(event("a", at=world.now - age))
    world.aggregate(period)
    assert world.aggregations(period)["a"]["view_count"] == counted


@pytest.mark.parametrize("period", [LAST_7D, LAST_30D], ids=lambda period: period.name)
def test_a_document_whose_events_have_all_left_the_window_gets_a_zero_row(
    world: World, period: Period
) -> None:
    assert period.length is not None
    world.documents("a")
    world.events(event("a", at=NOW), event("a", "rated", NOW, rating="up"))
    world.aggregate(period)
    world.now = NOW + period.length
    assert world.aggregate(period)["itemsProcessed"] == 0, "exactly so old is still inside"
    world.now += 1
    assert world.aggregate(period)["itemsProcessed"] == 1
    row = world.aggregations(period)["a"]
    assert (row["view_count"], row["upvotes"], row["days_active"]) == (0, 0, 0)
    assert (row["first_event_at"], row["advancement_eligible"]) == (None, False)


def test_a_clock_that_was_set_back_brings_events_back_into_the_window(world: World) -> None:
    world.documents("a")
    world.events(event("a", at=NOW - 6 * DAY))
    world.now = NOW + 2 * DAY
    world.aggregate(LAST_7D)
    assert world.aggregations(LAST_7D)["a"]["view_count"] == 0
    world.now = NOW
    world.aggregate(LAST_7D)
    assert world.aggregations(LAST_7D)["a"]["view_count"] == 1


def test_an_event_that_arrives_late_is_found_by_its_number(world: World) -> None:
    world.documents("a", "b")
    world.events(event("a", at=NOW - DAY))
    world.aggregate(LAST_30D)
    world.events(event("b", at=NOW - 20 * DAY))
    world.now += HOUR
    assert world.aggregate(LAST_30D)["itemsProcessed"] == 1
    assert world.aggregations(LAST_30D) == world.expected(LAST_30D)


def test_only_what_may_have_changed_is_computed_again(world: World) -> None:
    world.documents("new-event", "left", "quiet", "no-events")
    world.events(event("left", at=NOW - 7 * DAY), *(event(d) for d in ("new-event", "quiet")))
    assert world.aggregate(LAST_7D)["itemsProcessed"] == 4
    world.events(event("new-event"))
    world.documents("new")
    world.now += HOUR
    done = world.aggregate(LAST_7D)
    assert done["itemsProcessed"] == 3
    computed = {
        row["document_id"] for row in world.rows(signal_aggregations) if row["computed_at"] > NOW
    }
    assert computed == {"new-event", "left", "new"}
    assert world.aggregate(LAST_7D, full=True)["itemsProcessed"] == 5


def test_eligible_means_a_quality_of_at_least_six_tenths_and_ten_views(world: World) -> None:
    world.documents("best", "few-views", "poor")
    for document, views in (("best", 50), ("few-views", 9), ("poor", 10)):
        world.events(*(event(document, at=NOW - n * DAY) for n in range(views)))
    for document in ("best", "few-views"):
        world.events(
            *(
                event(document, "rated", rating="up", session_id=f"{n}", lens_id=f"{n}",
                      hub_id=f"{n}", at=NOW - 40 * DAY)
                for n in range(10)
            )
        )  # fmt: skip
    world.aggregate(ALL_TIME)
    found = world.aggregations(ALL_TIME)
    assert found == world.expected(ALL_TIME)
    assert {name: row["advancement_eligible"] for name, row in found.items()} == {
        "best": True,
        "few-views": False,
        "poor": False,
    }
    assert found["few-views"]["quality_score"] >= 0.6


def test_the_result_progress_and_metrics_of_a_pass(world: World) -> None:
    world.documents(*(f"d{n}" for n in range(5)))
    world.events(event("d0"))
    context = Context(batch_size=2)
    result = aggregate(world.database, ALL_TIME, context)
    assert result == {
        "itemsProcessed": 5,
        "itemsSucceeded": 5,
        "itemsFailed": 0,
        "metadata": {
            "period": "all_time",
            "full": False,
            "asOf": "2026-09-21T14:13:20Z",
            "takenOver": 0,
            "waiting": 0,
        },
    }
    assert context.progresses == [(0, 5), (2, 5), (4, 5), (5, 5)]
    assert set(context.metrics) == {
        "documents",
        "documents_failed",
        "documents_per_second",
        "events_seen",
    }


def test_a_dry_run_says_why_each_document_would_be_computed_and_writes_nothing(
    world: World,
) -> None:
    world.documents("a", "b", "quiet")
    world.events(event("a", at=NOW - 7 * DAY), event("quiet"))
    world.aggregate(LAST_7D)
    world.now += HOUR
    world.events(event("a"), event("b"))
    world.documents("new")
    before = {table.name: world.rows(table) for table in metadata.sorted_tables}
    context = Context(dry_run=True)
    result = aggregate(world.database, LAST_7D, context)
    assert {each["documentId"]: each["because"] for each in result["metadata"]["documents"]} == {
        "a": ["new events", "events left the window"],
        "b": ["new events"],
        "new": ["no row yet"],
    }
    assert [fields["document"] for _, _, fields in context.logged] == ["a", "b", "new"]
    assert {table.name: world.rows(table) for table in metadata.sorted_tables} == before


# ------------------------------------------------------------------------------------ when it fails


def test_a_document_that_fails_is_reported_and_tried_again_next_time(world: World) -> None:
    world.documents(*(f"d{n}" for n in range(7)))
    world.events(*(event(f"d{n}") for n in range(7)))
    context = Context(batch_size=3)
    with world.refusing(["d4"], "signal_aggregations"):
        result = aggregate(world.database, ALL_TIME, context)
    assert (result["itemsProcessed"], result["itemsSucceeded"], result["itemsFailed"]) == (7, 6, 1)
    [error] = result["metadata"]["errors"]
    assert error["documentId"] == "d4" and error["error"].startswith("not this one")
    assert result["metadata"]["waiting"] == 1
    assert context.said("error") == ["document failed"]
    assert set(world.aggregations(ALL_TIME)) == {f"d{n}" for n in range(7) if n != 4}
    assert world.aggregate(ALL_TIME)["itemsProcessed"] == 1
    assert world.aggregations(ALL_TIME) == world.expected(ALL_TIME)


def test_a_run_in_which_every_document_fails_has_failed(world: World) -> None:
    world.documents("only")
    said = "all 1 documents failed; the first: not this one"
    with world.refusing(["only"], "signal_aggregations"), pytest.raises(Stalled, match=said):
        world.aggregate(ALL_TIME)


def test_a_run_that_is_told_to_stop_leaves_the_rest_to_the_next(world: World) -> None:
    world.documents(*(f"d{n}" for n in range(10)))
    stopped = world.aggregate(ALL_TIME, batch_size=2, stop_after=2)
    assert (stopped["itemsProcessed"], stopped["metadata"]["waiting"]) == (4, 6)
    assert world.rows(aggregation_passes)[0]["finished_as_of"] is None
    again = world.aggregate(ALL_TIME, batch_size=2)
    assert (again["itemsProcessed"], again["metadata"]["takenOver"]) == (6, 6)
    assert world.rows(aggregation_passes)[0]["finished_as_of"] == NOW


KILLED = """
import sys
from jobreconciler.signals.aggregate import aggregate
from jobreconciler.signals.database import Database
from jobreconciler.signals.periods import ALL_TIME
from signals.made import NOW, Context

class Slow(Context):
    def progress(self, done, total):
        print(done, flush=True)
        if done >= 6:
            sys.stdin.read()

with Database(sys.argv[1], clock=lambda: NOW) as database:
    aggregate(database, ALL_TIME, Slow(batch_size=2))
"""


def test_a_run_that_was_killed_goes_on_where_it_was(world: World) -> None:
    world.documents(*(f"d{n:02}" for n in range(20)))
    world.events(*(event(f"d{n:02}") for n in range(20)))
    here = Path(__file__).resolve().parents[1]
    child = subprocess.Popen(
        [sys.executable, "-c", KILLED, world.url],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": f"{here}{os.pathsep}{here.parent / 'src'}"},
    )
    with child:
        assert child.stdout is not None
        while child.stdout.readline() != b"6\n":
            assert child.poll() is None
        child.kill()
    assert len(world.aggregations(ALL_TIME)) == 6
    assert len(world.rows(aggregation_queue)) == 14
    world.events(event("d00"))
    again = world.aggregate(ALL_TIME, batch_size=2)
    assert again["metadata"]["takenOver"] == 14
    assert again["itemsProcessed"] == 15, "what was left, and the document with a new event"
    assert world.aggregations(ALL_TIME) == world.expected(ALL_TIME)


def test_postgresql_events_that_commit_after_later_numbers_are_not_lost(
    postgresql_world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = postgresql_world.empty()
    world.documents("slow", "quick")
    world.aggregate(ALL_TIME)
    monkeypatch.setattr(module, "SETTLE_SECONDS", 0.1)
    url = world.url.replace("postgresql://", "postgresql+psycopg://")
    other = create_engine(url)
    with other.connect() as connection:
        insert = (
            "INSERT INTO usage_events (document_id, event_type, session_id, created_at) "
            f"VALUES ('slow', 'viewed', 's', {NOW})"
        )
        connection.exec_driver_sql(insert)
        world.events(event("quick"))
        context = Context()
        assert aggregate(world.database, ALL_TIME, context)["itemsProcessed"] == 1
        assert len(context.said("warn")) == 1
        connection.commit()
    other.dispose()
    world.aggregate(ALL_TIME)
    assert world.aggregations(ALL_TIME) == world.expected(ALL_TIME)
    assert world.aggregate(ALL_TIME)["itemsProcessed"] == 0


def test_postgresql_a_transaction_that_ends_soon_is_waited_for(postgresql_world: World) -> None:
    world = postgresql_world.empty()
    world.documents("slow")
    url = world.url.replace("postgresql://", "postgresql+psycopg://")
    other = create_engine(url)
    with other.connect() as connection:
        connection.exec_driver_sql(
            "INSERT INTO usage_events (document_id, event_type, session_id, created_at) "
            f"VALUES ('slow', 'viewed', 's', {NOW})"
        )
        soon = threading.Timer(0.2, connection.commit)
        soon.start()
        context = Context()
        aggregate(world.database, ALL_TIME, context)
        soon.join()
    other.dispose()
    assert context.said("warn") == []
    assert world.aggregations(ALL_TIME) == world.expected(ALL_TIME)


# --------------------------------------------------------------------------------- the database

REFUSED = {
    "no URL": ("hidden.db", "is not a URL"),
    "another database": ("mysql://u:hidden@host/db", "names mysql, which is not supported"),
    "a relative path": ("sqlite:///hidden.db", "names no absolute path"),
    "a database in memory": ("sqlite:///:memory:", "names no absolute path"),
}


@pytest.mark.parametrize("case", REFUSED.values(), ids=REFUSED.keys())
def test_a_url_that_cannot_be_used_is_refused_without_being_shown(case: tuple[str, str]) -> None:
    url, why = case
    with pytest.raises(Invalid, match=why) as caught:
        Database(url)
    assert "hidden" not in f"{caught.value.message} {caught.value.hint}"


def test_a_database_that_is_not_there_is_not_made_by_a_job(tmp_path: Path) -> None:
    path = tmp_path / "signals.db"
    with Database(f"sqlite:///{path}") as database:
        with pytest.raises(NotFound) as caught:
            aggregate(database, ALL_TIME, Context())
        assert caught.value.reason == "DatabaseMissing"
        assert "signals init" in caught.value.hint
        assert not path.exists()
        path.touch()
        with pytest.raises(NotFound, match="has no table advancement_events"):
            aggregate(database, ALL_TIME, Context())


def test_its_clock_is_the_wall_clock_in_utc(shared: World) -> None:
    import time

    with Database(shared.url) as database:
        before = time.time_ns() // 1000
        assert before - 1000 <= database.now() <= time.time_ns() // 1000 + 1000


def test_demo_data_leave_every_index_in_place(world: World) -> None:
    def indexes() -> set[str]:
        catalogue = (
            "SELECT name FROM sqlite_master WHERE type = 'index'"
            if world.database.is_sqlite
            else "SELECT indexname FROM pg_indexes WHERE schemaname = 'public'"
        )
        return {row[0] for row in world.sql(catalogue)}

    before = indexes()
    assert "ix_usage_events_created_at" in before
    demo.fill(world.database, document_count=3, event_count=10, seed=1, until=NOW)
    assert indexes() == before
