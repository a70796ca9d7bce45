"""The `advancement-batch` and `advancement-rollback` types: documents move up a tier, or back.

The work is in the package `signals`, which a run imports when it starts: checking a job file loads
its rules' names alone, and not SQLAlchemy.
"""

from __future__ import annotations

from datetime import datetime
from itertools import pairwise
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, Field, StringConstraints, model_validator

from jobreconciler.errors import Invalid
from jobreconciler.jobtypes.base import PythonType, own
from jobreconciler.model.strict import ID_PATTERN, Items, SecretReference, StrictModel, Text, Whole
from jobreconciler.signals.periods import PeriodName, period_of
from jobreconciler.signals.rules import SIGNALS, TIERS, Criterion, Rule, Tier

if TYPE_CHECKING:
    from jobreconciler.ports import JobContext

SignalName = Literal[SIGNALS]  # type: ignore[valid-type]  # the names are declared once
Operator = Literal[">=", ">", "==", "!=", "<", "<="]
Threshold = Annotated[float, Field(ge=-1e18, le=1e18, allow_inf_nan=False)]
RuleId = Annotated[str, Field(pattern=ID_PATTERN, max_length=63)]

_STEPS = tuple(pairwise(TIERS))
_ONE_STEP = {
    "anyOf": [
        {"properties": {"fromTier": {"const": lower}, "toTier": {"const": upper}}}
        for lower, upper in _STEPS
    ]
}


class CriterionParameters(StrictModel):
    """One condition on one signal."""

    signal: SignalName = Field(
        description="What is looked at: `retrievals`, `citations`, `queryDiversity`, "
        "`utilityScore`, or a column of the aggregation. Missing means not met.",
        examples=["retrievals"],
    )
    operator: Operator = Field(
        description="How the signal's value is compared with the threshold.", examples=[">="]
    )
    threshold: Threshold = Field(
        description="What it is compared with; instants are in microseconds since 1970.",
        examples=[10],
    )


class RuleParameters(StrictModel, json_schema_extra=_ONE_STEP):
    """Moves documents of one tier to the next where its criteria hold."""

    id: RuleId = Field(
        description="The rule's name in events and results, unique in the job.",
        examples=["sprout-to-sapling"],
    )
    from_tier: Tier = Field(
        description="The tier whose documents it looks at.", examples=["sprout"]
    )
    to_tier: Tier = Field(
        description="The tier they move to: the one above `fromTier`.", examples=["sapling"]
    )
    logic: Literal["AND", "OR"] = Field(
        default="AND", description="Whether all criteria must hold or one of them.", examples=["OR"]
    )
    is_enabled: bool = Field(
        default=True, description="Off: as if the rule were not there.", examples=[False]
    )
    criteria: Annotated[Items[CriterionParameters], Field(max_length=50)] = Field(
        description="The conditions. None at all never moves a document.",
        examples=[[{"signal": "retrievals", "operator": ">=", "threshold": 10}]],
    )

    @model_validator(mode="after")
    def _one_tier_up(self) -> Self:
        if (self.from_tier, self.to_tier) not in _STEPS:
            above = dict(_STEPS).get(self.from_tier)
            way = f"to {above}, one tier up" if above else "nowhere: it is the highest"
            raise ValueError(
                f"documents of tier {self.from_tier} move {way}, not to {self.to_tier}"
            )
        return self

    def rule(self) -> Rule:
        criteria = (Criterion(c.signal, c.operator, c.threshold) for c in self.criteria)
        return Rule(
            self.id, self.from_tier, self.to_tier, tuple(criteria), self.logic, self.is_enabled
        )


_DATABASE = Field(
    description="Where the SQLAlchemy URL of the signals' database is to be found (SQLite or "
    "PostgreSQL).",
    examples=[{"file": "signals-database-url"}],
)
_DRY_RUN = Field(
    default=False,
    description="Write nothing, and say of each document what would become of it and why.",
    examples=[True],
)


class AdvancementParameters(StrictModel):
    """Which documents move, by which figures."""

    database: SecretReference = _DATABASE
    signal_period: PeriodName = Field(
        default="all_time",
        description="Which aggregations the criteria look at.",
        examples=["last_30d"],
    )
    dry_run: bool = _DRY_RUN
    max_errors: Annotated[Whole, Field(ge=0, le=1_000_000)] = Field(
        default=10,
        description="How many documents may fail; one more, and the run stops and has failed.",
        examples=[0],
    )
    rules: Annotated[Items[RuleParameters], Field(max_length=100)] = Field(
        description="In this order: the first whose criteria hold moves a document.",
        examples=[
            [
                {
                    "id": "sprout-to-sapling",
                    "fromTier": "sprout",
                    "toTier": "sapling",
                    "criteria": [{"signal": "retrievals", "operator": ">=", "threshold": 10}],
                }
            ]
        ],
    )

    @model_validator(mode="after")
    def _rules_have_names_of_their_own(self) -> Self:
        seen: set[str] = set()
        for rule in self.rules:
            if rule.id in seen:
                raise ValueError(f"two rules are called {rule.id!r}; each needs an id of its own")
            seen.add(rule.id)
        return self


def _instant(value: str) -> str:
    try:
        datetime.fromisoformat(value)
    except ValueError as error:
        raise ValueError(f"{value} is no instant: {error}") from None
    return value


_RFC3339 = r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}(:\d{2}(\.\d{1,6})?)?(Z|[+-]\d{2}:\d{2})$"
Instant = Annotated[
    str, StringConstraints(pattern=_RFC3339, max_length=40), AfterValidator(_instant)
]

_RULE_OR_SINCE = {
    "anyOf": [
        {"required": [name], "properties": {name: {"type": "string"}}}
        for name in ("ruleId", "since")
    ]
}


class RollbackParameters(StrictModel, json_schema_extra=_RULE_OR_SINCE):
    """Which advancements are taken back, and why."""

    database: SecretReference = _DATABASE
    rule_id: RuleId | None = Field(
        default=None,
        description="Only advancements by this rule. At least one of `ruleId` and `since`.",
        examples=["sprout-to-sapling"],
    )
    since: Instant | None = Field(
        default=None,
        description="Only advancements from this instant on, in RFC 3339 with an offset.",
        examples=["2026-03-01T02:00:00Z"],
    )
    reason: Annotated[Text, Field(min_length=1, max_length=1000)] = Field(
        description="Why; stands in the event of the rollback.",
        examples=["the rule counted our own crawler"],
    )
    dry_run: bool = _DRY_RUN

    @model_validator(mode="after")
    def _something_is_meant(self) -> Self:
        if self.rule_id is None and self.since is None:
            raise ValueError("give `ruleId`, `since` or both: not everything is taken back at once")
        return self


class AdvancementBatch(PythonType):
    """Moves documents up a tier by the rules of the job's file."""

    name = "advancement-batch"
    description = "Moves documents up a tier where a rule's criteria hold, each with its reasons."
    batches = True
    dry_runs = True
    parameters: type[BaseModel] = AdvancementParameters

    def run(self, context: JobContext) -> dict[str, Any] | None:
        parameters = own(context.parameters, AdvancementParameters)
        from jobreconciler.signals.advance import advance
        from jobreconciler.signals.database import Database

        with Database(context.secret(parameters.database)) as database:
            return advance(
                database,
                period_of(parameters.signal_period),
                context,
                [rule.rule() for rule in parameters.rules],
                max_errors=parameters.max_errors,
                dry_run=parameters.dry_run,
            )


class AdvancementRollback(PythonType):
    """Takes advancements back. Only a person starts it."""

    name = "advancement-rollback"
    description = "Takes advancements back where documents have not moved since; manual only."
    batches = True
    dry_runs = True
    parameters: type[BaseModel] = RollbackParameters

    def run(self, context: JobContext) -> dict[str, Any] | None:
        parameters = own(context.parameters, RollbackParameters)
        if context.trigger != "manual":
            raise Invalid(
                f"a rollback is started by hand, not by {context.trigger}",
                reason="ManualOnly",
                hint="take `schedule`, `webhook` and `dependency` out of the job's file",
            )
        from jobreconciler.signals.database import Database
        from jobreconciler.signals.instants import to_micros
        from jobreconciler.signals.rollback import Scope, rollback

        since = parameters.since
        scope = Scope(
            parameters.rule_id,
            None if since is None else to_micros(datetime.fromisoformat(since)),
            parameters.reason,
        )
        with Database(context.secret(parameters.database)) as database:
            return rollback(database, context, scope, dry_run=parameters.dry_run)
