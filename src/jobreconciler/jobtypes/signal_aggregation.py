"""The `signal-aggregation-*` types: usage events rolled up into figures, one type a period.

The work is in the package `signals`, which a run imports when it starts: checking a job file loads
neither it nor SQLAlchemy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, Field

from jobreconciler.jobtypes.base import PythonType, own
from jobreconciler.model.strict import SecretReference, StrictModel

if TYPE_CHECKING:
    from jobreconciler.ports import JobContext
    from jobreconciler.signals.periods import PeriodName


class SignalAggregationParameters(StrictModel):
    """Which database, and whether to start over."""

    database: SecretReference = Field(
        description="Where the SQLAlchemy URL of the signals' database is to be found (SQLite or "
        "PostgreSQL); `jobreconciler signals init` makes its tables.",
        examples=[{"file": "signals-database-url"}],
    )
    full: bool = Field(
        default=False,
        description="Compute every document anew, not only those whose figures may have changed.",
        examples=[True],
    )


class SignalAggregation(PythonType):
    """What the three types share; each names its period."""

    name: str
    description: str
    period: PeriodName
    batches = True
    dry_runs = True
    parameters: type[BaseModel] = SignalAggregationParameters

    def run(self, context: JobContext) -> dict[str, Any] | None:
        parameters = own(context.parameters, SignalAggregationParameters)
        from jobreconciler.signals.aggregate import aggregate
        from jobreconciler.signals.database import Database
        from jobreconciler.signals.periods import period_of

        with Database(context.secret(parameters.database)) as database:
            return aggregate(database, period_of(self.period), context, full=parameters.full)


class SignalAggregationAll(SignalAggregation):
    name = "signal-aggregation-all"
    description = "Rolls all usage events up into figures per document."
    period = "all_time"


class SignalAggregation7d(SignalAggregation):
    name = "signal-aggregation-7d"
    description = "Rolls the usage events of the last 7 days up into figures per document."
    period = "last_7d"


class SignalAggregation30d(SignalAggregation):
    name = "signal-aggregation-30d"
    description = "Rolls the usage events of the last 30 days up into figures per document."
    period = "last_30d"
