"""Whether a document moves up a tier, and why. Pure: a row of figures and rules in, a verdict out.

A criterion whose signal is missing is not met, under OR too. A rule without criteria never holds.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

Tier = Literal["seed", "sprout", "sapling", "tree", "grove"]
TIERS: tuple[Tier, ...] = ("seed", "sprout", "sapling", "tree", "grove")
"""From the lowest to the highest."""

COUNTS = (
    "view_count",
    "retrieval_count",
    "reference_count",
    "search_appearances",
    "upvotes",
    "downvotes",
    "export_count",
    "promotion_count",
    "refinement_count",
    "unique_sessions",
    "unique_users",
    "unique_lenses",
    "unique_hubs",
    "unique_queries",
)
FIGURES = (
    *COUNTS,
    "utility_score",
    "diversity_index",
    "quality_score",
    "advancement_eligible",
    "first_event_at",
    "last_event_at",
    "days_active",
    "computed_at",
)
"""Columns of an aggregation that are signals by their own name."""

ALIASES: Mapping[str, tuple[str, Callable[[Any], Any]]] = {
    "retrievals": ("retrieval_count", lambda value: value),
    "citations": ("reference_count", lambda value: value),
    "queryDiversity": ("diversity_index", lambda value: value),
    "utilityScore": ("utility_score", lambda value: (value + 1) / 2),
}
"""Signals with a name of their own: the column they come from, and how."""

SIGNALS = (*ALIASES, *FIGURES)

OPERATORS: Mapping[str, Callable[[Any, Any], bool]] = {
    ">=": operator.ge,
    ">": operator.gt,
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
}

Signals = Mapping[str, Any]
"""Every signal of one document by name; None where it is missing."""


@dataclass(frozen=True, slots=True)
class Criterion:
    signal: str
    operator: str
    threshold: float


@dataclass(frozen=True, slots=True)
class Rule:
    """Moves documents of `from_tier` to `to_tier` where all (`AND`) or any (`OR`) criteria hold."""

    id: str
    from_tier: str
    to_tier: str
    criteria: tuple[Criterion, ...]
    logic: Literal["AND", "OR"] = "AND"
    is_enabled: bool = True


@dataclass(frozen=True, slots=True)
class Check:
    """One criterion held against a document. `value` is None where the signal is missing."""

    criterion: Criterion
    value: Any
    met: bool

    def as_json(self) -> dict[str, Any]:
        return {
            "signal": self.criterion.signal,
            "operator": self.criterion.operator,
            "threshold": self.criterion.threshold,
            "value": self.value,
            "met": self.met,
        }

    def __str__(self) -> str:
        value = "missing" if self.value is None else _number(self.value)
        said = f"{self.criterion.signal} {value}"
        said += f" {self.criterion.operator} {_number(self.criterion.threshold)}"
        return said if self.met else f"{said} not met"


@dataclass(frozen=True, slots=True)
class Verdict:
    """The rule that moves a document, None: it stays. `tried` are the rules up to that one."""

    rule: Rule | None
    tried: tuple[tuple[Rule, tuple[Check, ...]], ...]

    @property
    def checks(self) -> tuple[Check, ...]:
        """How the criteria of the rule that moves it stand."""
        return self.tried[-1][1] if self.rule is not None else ()

    def because(self) -> str:
        """Why, in one line."""
        if not self.tried:
            return "no enabled rule for this tier"
        return "; ".join(
            f"{rule.id}: {f' {rule.logic} '.join(map(str, checks)) or 'no criteria'}"
            for rule, checks in self.tried
        )


def signals_of(figures: Mapping[str, Any] | None) -> Signals:
    """All signals of a document from its FIGURES; None: it has none, so all are missing."""
    if figures is None:
        return dict.fromkeys(SIGNALS)
    signals = dict(figures)
    for name, (column, convert) in ALIASES.items():
        value = signals[column]
        signals[name] = None if value is None else convert(value)
    return signals


def by_tier(rules: Sequence[Rule]) -> dict[str, tuple[Rule, ...]]:
    """The enabled rules of each tier, in the order they are declared."""
    found: dict[str, list[Rule]] = {}
    for rule in rules:
        if rule.is_enabled:
            found.setdefault(rule.from_tier, []).append(rule)
    return {tier: tuple(listed) for tier, listed in found.items()}


def judge(rules: Sequence[Rule], signals: Signals) -> Verdict:
    """The first of these rules that holds. They are of the document's tier, and enabled."""
    tried = []
    for rule in rules:
        checks = tuple(_check(criterion, signals) for criterion in rule.criteria)
        tried.append((rule, checks))
        if _holds(rule, checks):
            return Verdict(rule, tuple(tried))
    return Verdict(None, tuple(tried))


def _check(criterion: Criterion, signals: Signals) -> Check:
    value = signals.get(criterion.signal)
    met = value is not None and OPERATORS[criterion.operator](value, criterion.threshold)
    return Check(criterion, value, met)


def _holds(rule: Rule, checks: Sequence[Check]) -> bool:
    if not checks:
        return False
    met = (check.met for check in checks)
    return all(met) if rule.logic == "AND" else any(met)


def _number(value: Any) -> str:
    return str(int(value)) if value == int(value) else f"{value:.6g}"
