"""Rolling advancements back: only where the document has not moved since."""

from __future__ import annotations

from typing import Any

import pytest

from jobreconciler.signals.advance import advance
from jobreconciler.signals.periods import ALL_TIME
from jobreconciler.signals.rollback import Scope, rollback
from jobreconciler.signals.rules import Criterion, Rule
from jobreconciler.signals.tables import advancement_events, documents, metadata

from .made import HOUR, NOW, Context, World

ALWAYS = (Criterion("view_count", ">=", 0),)
SEED = Rule("seed-rule", "seed", "sprout", ALWAYS)
SPROUT = Rule("sprout-rule", "sprout", "sapling", ALWAYS)
OTHER = Rule("other-rule", "seed", "sprout", ALWAYS)


def advanced(world: World, *rules: Rule, execution: str) -> None:
    advance(world.database, ALL_TIME, Context(execution_id=execution), rules, max_errors=0)
    world.now += HOUR


def tiers(world: World) -> dict[str, str]:
    return {row["id"]: row["tier"] for row in world.rows(documents)}


def back(
    world: World, rule_id: str | None = None, since: int | None = None, **given: Any
) -> dict[str, Any]:
    scope = Scope(rule_id, since, "the rule was wrong")
    return rollback(world.database, Context(execution_id="rollback", **given), scope)


@pytest.fixture
def three(world: World) -> World:
    """a and b moved by one rule, c by another an hour later."""
    world.documents("a", "b")
    world.aggregate(ALL_TIME)
    advanced(world, SEED, execution="one")
    world.documents("c")
    world.aggregate(ALL_TIME)
    advanced(world, OTHER, execution="two")
    return world


def test_documents_go_back_one_event_says_so_and_the_originals_are_marked(three: World) -> None:
    result = back(three, "seed-rule", batch_size=1)
    assert tiers(three) == {"a": "seed", "b": "seed", "c": "sprout"}
    *originals, made = three.rows(advancement_events)
    assert made["event_type"] == "bulk-rollback"
    assert (made["rule_id"], made["from_tier"], made["to_tier"]) == ("seed-rule", "sprout", "seed")
    assert (made["reason"], made["execution_id"]) == ("the rule was wrong", "rollback")
    assert made["document_id"] is None and not made["rolled_back"]
    assert {row["document_id"]: row["rolled_back"] for row in originals} == {
        "a": True,
        "b": True,
        "c": False,
    }
    assert {row["rollback_event_id"] for row in originals} == {made["id"], None}
    assert (result["itemsProcessed"], result["itemsSucceeded"]) == (2, 2)
    assert result["metadata"]["restored"] == 2
    assert result["metadata"]["rollbackEventId"] == made["id"]
    assert three.rows(documents)[0]["updated_at"] == three.now


SCOPES = {
    "a rule": ({"rule_id": "other-rule"}, {"c"}),
    "from the very instant on": ({"since": NOW + HOUR}, {"c"}),
    "from a microsecond later on": ({"since": NOW + HOUR + 1}, set()),
    "from the beginning": ({"since": 0}, {"a", "b", "c"}),
    "a rule, from later on": ({"rule_id": "seed-rule", "since": NOW + 1}, set()),
    "a rule that never moved anything": ({"rule_id": "unknown"}, set()),
}


@pytest.mark.parametrize("case", SCOPES.values(), ids=SCOPES.keys())
def test_what_is_meant(three: World, case: tuple[dict[str, Any], set[str]]) -> None:
    scope, gone_back = case
    result = back(three, **scope)
    assert {each for each, tier in tiers(three).items() if tier == "seed"} == gone_back
    made = [r for r in three.rows(advancement_events) if r["event_type"] == "bulk-rollback"]
    assert len(made) == (1 if gone_back else 0)
    assert result["metadata"]["restored"] == len(gone_back)


def test_a_second_time_there_is_nothing_left(three: World) -> None:
    back(three, since=0)
    again = back(three, since=0)
    assert (again["itemsProcessed"], again["metadata"]["rollbackEventId"]) == (0, None)


def test_a_document_that_moved_on_keeps_its_tier(three: World) -> None:
    advanced(three, SPROUT, execution="three")
    three.sql("UPDATE documents SET tier = 'sprout' WHERE id = 'b'")
    result = back(three, "seed-rule")
    assert tiers(three) == {"a": "sapling", "b": "sprout", "c": "sapling"}
    assert result["metadata"]["movedSince"] == [
        {"documentId": "b", "tier": "sprout"},
        {"documentId": "a", "tier": "sapling"},
    ]
    assert [row["rolled_back"] for row in three.rows(advancement_events)] == [False] * 6


def test_a_document_that_somebody_moved_by_hand_keeps_its_tier(three: World) -> None:
    three.sql("UPDATE documents SET tier = 'grove' WHERE id = 'a'")
    back(three, since=0)
    assert tiers(three) == {"a": "grove", "b": "seed", "c": "seed"}


@pytest.mark.parametrize("batch_size", [1, 2, 100])
@pytest.mark.parametrize("dry_run", [False, True])
def test_several_steps_are_taken_back_one_after_the_other(
    three: World, batch_size: int, dry_run: bool
) -> None:
    advanced(three, SPROUT, execution="three")
    before = {table.name: three.rows(table) for table in metadata.sorted_tables}
    result = back(three, since=0, batch_size=batch_size, dry_run=dry_run)
    assert result["metadata"]["restored"] == 6
    if dry_run:
        assert {table.name: three.rows(table) for table in metadata.sorted_tables} == before
        assert result["metadata"]["moves"][0] == {
            "documentId": "c",
            "fromTier": "sapling",
            "toTier": "sprout",
        }
        return
    assert set(tiers(three).values()) == {"seed"}
    *originals, made = three.rows(advancement_events)
    assert all(row["rolled_back"] for row in originals)
    assert (made["from_tier"], made["to_tier"]) == (None, None), "of two pairs of tiers"


def test_what_was_taken_back_may_advance_and_be_taken_back_again(three: World) -> None:
    back(three, "seed-rule")
    advanced(three, SEED, execution="again")
    assert set(tiers(three).values()) == {"sprout"}
    assert back(three, "seed-rule")["metadata"]["restored"] == 2
    assert tiers(three) == {"a": "seed", "b": "seed", "c": "sprout"}


def test_a_document_that_fails_is_reported_and_the_others_go_back(three: World) -> None:
    if three.database.is_sqlite:
        three.sql(
            "CREATE TRIGGER stay BEFORE UPDATE ON documents WHEN NEW.id = 'b' "
            "BEGIN SELECT RAISE(ABORT, 'not this one'); END"
        )
    else:
        three.sql("ALTER TABLE documents ADD CONSTRAINT stay CHECK (id <> 'b' OR tier <> 'seed')")
    try:
        result = back(three, since=0)
    finally:
        gone = (
            "DROP TRIGGER stay"
            if three.database.is_sqlite
            else ("ALTER TABLE documents DROP CONSTRAINT stay")
        )
        three.sql(gone)
    assert tiers(three) == {"a": "seed", "b": "sprout", "c": "seed"}
    assert (result["itemsSucceeded"], result["itemsFailed"]) == (2, 1)
    assert result["metadata"]["errors"][0]["documentId"] == "b"
    made = [r for r in three.rows(advancement_events) if r["event_type"] == "bulk-rollback"]
    assert len(made) == 1
