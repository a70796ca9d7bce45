"""Advancement: who moves, what is written about it, and what happens when something fails."""

from __future__ import annotations

import json
import operator
import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jobreconciler.errors import Stalled
from jobreconciler.signals.advance import advance
from jobreconciler.signals.periods import ALL_TIME, LAST_7D, PERIODS, Period
from jobreconciler.signals.rules import SIGNALS, TIERS, Criterion, Rule
from jobreconciler.signals.tables import (
    EVENT_TYPES,
    advancement_events,
    documents,
    metadata,
    signal_aggregations,
)

from .made import DAY, NOW, Context, World, event
from .reference import figures

VIEWS = Criterion("view_count", ">=", 3)
SEED = Rule("seed-to-sprout", "seed", "sprout", (VIEWS,))
SPROUT = Rule("sprout-to-sapling", "sprout", "sapling", (VIEWS,))


def run(
    world: World, *rules: Rule, period: Period = ALL_TIME, max_errors: int = 10, **given: Any
) -> tuple[dict[str, Any], Context]:
    context = Context(**given)
    return advance(world.database, period, context, rules, max_errors=max_errors), context


def tiers(world: World) -> dict[str, str]:
    return {row["id"]: row["tier"] for row in world.rows(documents)}


def viewed(world: World, *ids: str, times: int = 3) -> None:
    world.events(*(event(each) for each in ids for _ in range(times)))
    world.aggregate(ALL_TIME)


# ------------------------------------------------------------------------ against the reference

COMPARES = {">=": operator.ge, ">": operator.gt, "==": operator.eq, "!=": operator.ne,
            "<": operator.lt, "<=": operator.le}  # fmt: skip
SHORT = {"retrievals": "retrieval_count", "citations": "reference_count",
         "queryDiversity": "diversity_index"}  # fmt: skip

criteria = st.builds(
    Criterion,
    st.sampled_from(sorted(set(SIGNALS) - {"computed_at"})),
    st.sampled_from(list(COMPARES)),
    st.sampled_from([0, 1, 2, 3, 0.5, 0.25, -1, 1 / 3]),
)
steps = st.sampled_from(list(pairwise(TIERS)))
rules = st.lists(
    st.builds(
        lambda step, criteria, logic, on: (*step, tuple(criteria), logic, on),
        steps,
        st.lists(criteria, max_size=3),
        st.sampled_from(["AND", "OR"]),
        st.booleans() | st.just(True),
    ),
    max_size=5,
)
people = st.lists(st.tuples(st.sampled_from(TIERS), st.booleans()), min_size=1, max_size=8)
usage = st.lists(
    st.tuples(
        st.integers(0, 7),
        st.sampled_from(EVENT_TYPES),
        st.sampled_from(["up", "down", None]),
        st.integers(0, 5),
        st.sampled_from([0, DAY, 7 * DAY, 7 * DAY + 1, 40 * DAY]),
    ),
    max_size=40,
)


def expected_rule(tier: str, row: dict[str, Any] | None, listed: list[Rule]) -> Rule | None:
    """The rules as domain.md words them, read once more."""
    for each in listed:
        if not each.is_enabled or each.from_tier != tier or not each.criteria:
            continue
        met = []
        for wanted in each.criteria:
            value = None
            if row is not None and wanted.signal == "utilityScore":
                value = (row["utility_score"] + 1) / 2
            elif row is not None:
                value = row[SHORT.get(wanted.signal, wanted.signal)]
            met.append(value is not None and COMPARES[wanted.operator](value, wanted.threshold))
        if (all if each.logic == "AND" else any)(met):
            return each
    return None


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(people=people, usage=usage, drawn=rules, period=st.sampled_from(PERIODS))
def test_who_moves_is_what_the_reference_says(
    shared: World, people: Any, usage: Any, drawn: Any, period: Period
) -> None:
    world = shared.empty()
    listed = [
        Rule(f"r{n}", lower, upper, criteria, logic, on)
        for n, (lower, upper, criteria, logic, on) in enumerate(drawn)
    ]
    for n, (tier, _) in enumerate(people):
        world.documents(f"d{n}", tier=tier)
    world.events(
        *(
            event(f"d{n % len(people)}", kind, NOW - age, lens_id=f"{other}", session_id=f"{other}",
                  rating=rating if kind == "rated" else None)
            for n, kind, rating, other, age in usage
        )
    )  # fmt: skip
    world.aggregate(period)
    for n, (_, has_figures) in enumerate(people):
        if not has_figures:
            world.sql("DELETE FROM signal_aggregations WHERE document_id = :d", d=f"d{n}")
    before = tiers(world)
    raw = world.rows(metadata.tables["usage_events"])
    rows: dict[str, Any] = figures(raw, before, period.name, world.now)
    moving = {}
    for n, (tier, has_figures) in enumerate(people):
        moved_by = expected_rule(tier, rows[f"d{n}"] if has_figures else None, listed)
        if moved_by is not None:
            moving[f"d{n}"] = moved_by

    planned, _ = run(world, *listed, period=period, batch_size=3, dry_run=True)
    assert {m["documentId"]: m["ruleId"] for m in planned["metadata"]["moves"]} == {
        document: moved_by.id for document, moved_by in moving.items()
    }
    assert tiers(world) == before and world.rows(advancement_events) == []

    result, _ = run(world, *listed, period=period, batch_size=3)
    assert tiers(world) == before | {d: moved_by.to_tier for d, moved_by in moving.items()}
    assert {row["document_id"]: row["rule_id"] for row in world.rows(advancement_events)} == {
        document: moved_by.id for document, moved_by in moving.items()
    }
    assert result["metadata"]["advanced"] == len(moving)
    assert result["itemsFailed"] == 0


# ----------------------------------------------------------------------------- what is written


def test_an_advancement_carries_its_criteria_its_signals_and_where_it_comes_from(
    world: World,
) -> None:
    world.documents("a", "b")
    viewed(world, "a")
    result, context = run(world, SEED, execution_id="run-9")
    assert result == {
        "itemsProcessed": 2,
        "itemsSucceeded": 2,
        "itemsFailed": 0,
        "metadata": {
            "signalPeriod": "all_time",
            "dryRun": False,
            "advanced": 1,
            "byRule": {"seed-to-sprout": 1},
            "aggregatedAt": "2026-09-21T14:13:20Z",
            "aggregationsAreOld": False,
        },
    }
    assert context.said("warn") == []
    [row] = world.rows(advancement_events)
    assert row["criteria_met"] == [
        {"signal": "view_count", "operator": ">=", "threshold": 3, "value": 3, "met": True}
    ]
    assert set(row["signal_values"]) == set(SIGNALS)
    assert row["signal_values"]["view_count"] == 3
    del row["id"], row["criteria_met"], row["signal_values"]
    assert row == {
        "document_id": "a",
        "rule_id": "seed-to-sprout",
        "from_tier": "seed",
        "to_tier": "sprout",
        "event_type": "auto-advancement",
        "operator_id": None,
        "reason": None,
        "rolled_back": False,
        "rollback_event_id": None,
        "execution_id": "run-9",
        "config_revision": "c" * 40,
        "created_at": NOW,
    }
    assert tiers(world) == {"a": "sprout", "b": "seed"}
    assert [r["updated_at"] for r in world.rows(documents)] == [NOW, 0]


def test_a_document_moves_one_tier_a_run(world: World) -> None:
    world.documents("a")
    viewed(world, "a")
    run(world, SEED, SPROUT, execution_id="one")
    assert tiers(world) == {"a": "sprout"}
    again, _ = run(world, SEED, SPROUT, execution_id="one", attempt=2)
    assert tiers(world) == {"a": "sprout"}, "another attempt is the same run"
    assert (again["itemsProcessed"], again["itemsFailed"]) == (0, 0)
    run(world, SEED, SPROUT, execution_id="two")
    assert tiers(world) == {"a": "sapling"}


def test_a_dry_run_explains_every_document_and_writes_nothing(world: World) -> None:
    world.documents("a", "b", "c")
    world.documents("z", tier="grove")
    viewed(world, "a")
    world.sql("DELETE FROM signal_aggregations WHERE document_id = 'c'")
    before = {table.name: world.rows(table) for table in metadata.sorted_tables}
    result, context = run(world, SEED, dry_run=True)
    *each, (_, last, total) = context.logged
    assert [(fields["document"], said, fields["because"]) for _, said, fields in each] == [
        ("a", "would advance", "seed-to-sprout: view_count 3 >= 3"),
        ("b", "would stay", "seed-to-sprout: view_count 0 >= 3 not met"),
        ("c", "would stay", "seed-to-sprout: view_count missing >= 3 not met"),
    ]
    assert (last, total) == ("would advance in all", {"documents": 1, "seed-to-sprout": 1})
    assert result["metadata"]["moves"] == [
        {
            "documentId": "a",
            "fromTier": "seed",
            "toTier": "sprout",
            "ruleId": "seed-to-sprout",
            "criteria": [
                {"signal": "view_count", "operator": ">=", "threshold": 3, "value": 3, "met": True}
            ],
        }
    ]
    assert (result["itemsProcessed"], result["metadata"]["movesNotListed"]) == (3, 0)
    assert {table.name: world.rows(table) for table in metadata.sorted_tables} == before


def test_a_long_list_of_moves_is_cut_and_says_so(world: World) -> None:
    ids = [f"d{n:04}" for n in range(2000)]
    world.documents(*ids)
    viewed(world, *ids)
    result, _ = run(world, SEED, dry_run=True, batch_size=500)
    listed = len(result["metadata"]["moves"])
    assert 500 < listed < 2000
    assert listed + result["metadata"]["movesNotListed"] == 2000
    assert len(json.dumps(result)) < 512 * 1024, "a report is one line of at most 1 MiB"


def test_progress_comes_after_every_batch(world: World) -> None:
    world.documents(*(f"d{n}" for n in range(5)))
    world.documents("elsewhere", tier="tree")
    viewed(world, "d0", "d4")
    _, context = run(world, SEED, batch_size=2)
    assert context.progresses == [(0, 5), (2, 5), (4, 5), (5, 5)]
    assert context.metrics["advanced"] == 2


# ----------------------------------------------------------------------------- old aggregations


def test_aggregations_older_than_a_day_are_said_to_be(world: World) -> None:
    world.documents("a")
    viewed(world, "a")
    world.now = NOW + DAY
    result, context = run(world, SEED, dry_run=True)
    assert (result["metadata"]["aggregationsAreOld"], context.said("warn")) == (False, [])
    world.now = NOW + DAY + 1
    result, context = run(world, SEED)
    assert result["metadata"]["aggregationsAreOld"] is True
    assert result["metadata"]["aggregatedAt"] == "2026-09-21T14:13:20Z"
    assert context.said("warn") == ["the aggregations are older than a day"]
    assert tiers(world) == {"a": "sprout"}, "they are used all the same"


def test_a_pass_that_found_nothing_to_compute_makes_aggregations_fresh(world: World) -> None:
    world.documents("a")
    viewed(world, "a")
    world.now = NOW + 2 * DAY
    world.aggregate(ALL_TIME)
    assert world.rows(signal_aggregations)[0]["computed_at"] == NOW
    assert run(world, SEED)[0]["metadata"]["aggregationsAreOld"] is False


def test_without_any_aggregation_the_run_says_so(world: World) -> None:
    world.documents("a")
    viewed(world, "a")
    result, context = run(world, SEED, period=LAST_7D)
    assert result["metadata"]["aggregatedAt"] is None
    assert context.said("warn") == ["nothing is aggregated yet, so no criterion is met"]
    assert tiers(world) == {"a": "seed"}


# ------------------------------------------------------------------------------- when it fails


def test_the_tier_and_its_event_are_one_transaction(world: World) -> None:
    ids = [f"d{n}" for n in range(6)]
    world.documents(*ids)
    viewed(world, *ids)
    with world.refusing(["d3"], "advancement_events"):
        result, context = run(world, SEED, batch_size=4)
    assert tiers(world) == {each: "seed" if each == "d3" else "sprout" for each in ids}
    assert [row["document_id"] for row in world.rows(advancement_events)] == [
        each for each in ids if each != "d3"
    ]
    assert (result["itemsSucceeded"], result["itemsFailed"]) == (5, 1)
    [error] = result["metadata"]["errors"]
    assert error["documentId"] == "d3" and error["error"].startswith("not this one")
    assert context.said("error") == ["document failed"]
    run(world, SEED, execution_id="later")
    assert set(tiers(world).values()) == {"sprout"}


@pytest.mark.parametrize(("failing", "allowed"), [(3, 3), (3, 2), (1, 0)])
def test_more_errors_than_allowed_fail_the_run(world: World, failing: int, allowed: int) -> None:
    ids = [f"d{n}" for n in range(6)]
    world.documents(*ids)
    viewed(world, *ids)
    with world.refusing(ids[:failing], "advancement_events"):
        if failing <= allowed:
            result, _ = run(world, SEED, max_errors=allowed, batch_size=2)
            assert result["itemsFailed"] == failing
            assert sum(tier == "sprout" for tier in tiers(world).values()) == 6 - failing
            return
        said = (
            f"{allowed + 1} documents failed, more than maxErrors \\({allowed}\\); "
            "the first: d0: not this one"
        )
        with pytest.raises(Stalled, match=said) as caught:
            run(world, SEED, max_errors=allowed, batch_size=2)
    assert caught.value.reason == "TooManyErrors"


def test_a_figure_that_is_no_number_fails_its_document_alone(sqlite_world: World) -> None:
    """Only SQLite holds text where a number belongs."""
    world = sqlite_world.empty()
    world.documents("a", "b")
    viewed(world, "a", "b")
    world.sql("UPDATE signal_aggregations SET view_count = 'many' WHERE document_id = 'a'")
    result, _ = run(world, SEED)
    assert tiers(world) == {"a": "seed", "b": "sprout"}
    assert [each["documentId"] for each in result["metadata"]["errors"]] == ["a"]


def test_a_document_that_somebody_moved_meanwhile_is_left_alone(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    from jobreconciler.signals import advance as module

    world.documents("a", "b")
    viewed(world, "a", "b")
    judge = module._judge

    def judge_and_move(*given: Any) -> Any:
        moves = judge(*given)
        world.sql("UPDATE documents SET tier = 'tree' WHERE id = 'a'")
        return moves

    monkeypatch.setattr(module, "_judge", judge_and_move)
    result, context = run(world, SEED)
    assert tiers(world) == {"a": "tree", "b": "sprout"}
    assert [row["document_id"] for row in world.rows(advancement_events)] == ["b"]
    assert (result["itemsFailed"], result["metadata"]["movedMeanwhile"]) == (0, 1)
    assert context.said("warn") == ["moved meanwhile"]


def killed_between(world: World) -> None:
    """A run of attempt 1 that dies in its third batch, after the events and before the tiers."""
    code = (
        "import sys\n"
        "from jobreconciler.signals import advance as module\n"
        "from jobreconciler.signals.database import Database\n"
        "from jobreconciler.signals.periods import ALL_TIME\n"
        "from sqlalchemy import event\n"
        "from signals.made import NOW, Context\n"
        "from signals.test_advance import SEED, SPROUT\n"
        "database = Database(sys.argv[1], clock=lambda: NOW)\n"
        "updates = []\n"
        "def before(connection, cursor, statement, *rest):\n"
        "    if statement.startswith('UPDATE documents'):\n"
        "        updates.append(1)\n"
        "        if len(updates) == 3:\n"
        "            print('between', flush=True)\n"
        "            sys.stdin.read()\n"
        "event.listen(database._engine, 'before_cursor_execute', before)\n"
        "module.advance(database, ALL_TIME, Context(2, execution_id='killed'), [SEED, SPROUT],\n"
        "               max_errors=0)\n"
    )
    here = Path(__file__).resolve().parents[1]
    child = subprocess.Popen(
        [sys.executable, "-c", code, world.url],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": f"{here}{os.pathsep}{here.parent / 'src'}"},
    )
    with child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"between\n"
        child.kill()


def test_a_run_killed_between_event_and_tier_leaves_neither_and_its_next_attempt_ends_it(
    world: World,
) -> None:
    ids = [f"d{n}" for n in range(10)]
    world.documents(*ids)
    viewed(world, *ids)
    killed_between(world)
    assert tiers(world) == {each: "sprout" if each < "d4" else "seed" for each in ids}
    assert [row["document_id"] for row in world.rows(advancement_events)] == ids[:4]
    result, _ = run(world, SEED, SPROUT, execution_id="killed", attempt=2)
    assert set(tiers(world).values()) == {"sprout"}, "and nothing moved twice"
    assert [row["document_id"] for row in world.rows(advancement_events)] == ids
    assert result["metadata"]["advanced"] == 6
