"""When a rule holds, and what is said of it."""

from __future__ import annotations

from typing import Any

import pytest

from jobreconciler.signals.rules import (
    ALIASES,
    FIGURES,
    SIGNALS,
    Criterion,
    Rule,
    by_tier,
    judge,
    signals_of,
)

FIGURES_OF_ONE: dict[str, Any] = {
    **dict.fromkeys(FIGURES, 0),
    "retrieval_count": 10,
    "reference_count": 4,
    "diversity_index": 0.25,
    "utility_score": -0.5,
    "advancement_eligible": True,
    "first_event_at": None,
}


def rule(*criteria: tuple[str, str, float], logic: Any = "AND", **changed: Any) -> Rule:
    made = tuple(Criterion(*each) for each in criteria)
    return Rule(**{"id": "r", "from_tier": "seed", "to_tier": "sprout", "criteria": made,
                   "logic": logic, **changed})  # fmt: skip


HOLDS: dict[str, tuple[Rule, bool]] = {
    "at the threshold, >=": (rule(("retrievals", ">=", 10)), True),
    "at the threshold, >": (rule(("retrievals", ">", 10)), False),
    "above it, >": (rule(("retrievals", ">", 9.5)), True),
    "equal, ==": (rule(("citations", "==", 4)), True),
    "unequal, ==": (rule(("citations", "==", 5)), False),
    "unequal, !=": (rule(("citations", "!=", 5)), True),
    "below, <": (rule(("queryDiversity", "<", 0.3)), True),
    "at the threshold, <=": (rule(("queryDiversity", "<=", 0.25)), True),
    "utilityScore lies between 0 and 1": (rule(("utilityScore", "==", 0.25)), True),
    "utility_score lies between -1 and 1": (rule(("utility_score", "==", -0.5)), True),
    "a truth counts as 1": (rule(("advancement_eligible", "==", 1)), True),
    "all of two, one not met": (
        rule(("retrievals", ">=", 10), ("citations", ">", 4)),
        False,
    ),
    "one of two, one not met": (
        rule(("retrievals", ">=", 10), ("citations", ">", 4), logic="OR"),
        True,
    ),
    "one of two, none met": (
        rule(("retrievals", ">", 10), ("citations", ">", 4), logic="OR"),
        False,
    ),
    "a missing signal": (rule(("first_event_at", "<=", 1e18)), False),
    "a missing signal, !=": (rule(("first_event_at", "!=", 1)), False),
    "a missing signal and one that is met, under OR": (
        rule(("first_event_at", "!=", 1), ("retrievals", ">=", 10), logic="OR"),
        True,
    ),
    "no criteria": (rule(), False),
    "no criteria, under OR": (rule(logic="OR"), False),
}


@pytest.mark.parametrize("case", HOLDS.values(), ids=HOLDS.keys())
def test_whether_it_holds(case: tuple[Rule, bool]) -> None:
    tried, holds = case
    assert (judge([tried], signals_of(FIGURES_OF_ONE)).rule is tried) is holds


@pytest.mark.parametrize("logic", ["AND", "OR"])
def test_without_an_aggregation_nothing_is_met(logic: str) -> None:
    every = rule(*((name, ">=", -1e18) for name in SIGNALS), logic=logic)
    assert judge([every], signals_of(None)).rule is None


def test_the_first_rule_that_holds_decides_and_later_ones_are_not_tried() -> None:
    never = rule(("retrievals", ">", 10), id="never")
    first = rule(("retrievals", ">=", 5), id="first")
    second = rule(("retrievals", ">=", 1), id="second")
    verdict = judge([never, first, second], signals_of(FIGURES_OF_ONE))
    assert verdict.rule is first
    assert verdict.because() == "never: retrievals 10 > 10 not met; first: retrievals 10 >= 5"
    assert [check.as_json() for check in verdict.checks] == [
        {"signal": "retrievals", "operator": ">=", "threshold": 5, "value": 10, "met": True}
    ]


def test_why_a_document_stays() -> None:
    signals = signals_of(None)
    assert judge([], signals).because() == "no enabled rule for this tier"
    assert judge([rule()], signals).because() == "r: no criteria"
    either = rule(("utilityScore", ">", 0.625), ("view_count", ">=", 3), logic="OR")
    assert judge([either], signals).because() == (
        "r: utilityScore missing > 0.625 not met OR view_count missing >= 3 not met"
    )


def test_rules_are_kept_by_tier_in_the_order_of_the_file_without_those_that_are_off() -> None:
    rules = [
        rule(id="a"),
        rule(id="off", is_enabled=False),
        rule(id="b", from_tier="sprout", to_tier="sapling"),
        rule(id="c"),
    ]
    found = {tier: [each.id for each in listed] for tier, listed in by_tier(rules).items()}
    assert found == {"seed": ["a", "c"], "sprout": ["b"]}


def test_every_signal_of_a_document_is_there() -> None:
    assert set(signals_of(FIGURES_OF_ONE)) == set(SIGNALS) == {*ALIASES, *FIGURES}
