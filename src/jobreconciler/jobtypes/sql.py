"""The `sql` type: statements of one transaction on the database that a secret names.

Checking a job file loads this module, so whatever talks to a database is imported by `run`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, Field
from pydantic.functional_validators import AfterValidator
from pydantic_core import PydanticCustomError

from jobreconciler.jobtypes.base import PythonType, own
from jobreconciler.jobtypes.patterns import ENDS_A_TRANSACTION
from jobreconciler.model.strict import Items, SecretReference, StrictModel, Whole

if TYPE_CHECKING:
    from jobreconciler.ports import JobContext


def _without_transaction(statement: str) -> str:
    """Refuses what would end the one transaction, or begin another."""
    if re.match(ENDS_A_TRANSACTION, statement):
        raise PydanticCustomError(
            "transaction_control",
            "all statements are one transaction, which the program begins and ends itself: "
            "leave BEGIN, COMMIT and ROLLBACK out",
        )
    return statement


Statement = Annotated[
    str,
    Field(
        pattern=r"\S",
        max_length=131_072,
        json_schema_extra={
            "not": {"pattern": ENDS_A_TRANSACTION},
            "contentMediaType": "application/sql",
        },
    ),
    AfterValidator(_without_transaction),
]


class SqlParameters(StrictModel):
    """Which database, and what to do there."""

    database: SecretReference = Field(
        description="Where the database's SQLAlchemy URL is to be found: "
        "postgresql://user:password@host/name or sqlite:////path/to/file.db.",
        examples=[{"env": "REPORT_DATABASE_URL"}],
    )
    statements: Annotated[Items[Statement], Field(min_length=1, max_length=100)] = Field(
        description="SQL statements, one an entry, in order. All of them take effect or none; a "
        "dry run takes them all back.",
        examples=[["DELETE FROM sessions WHERE expires_at < CURRENT_TIMESTAMP"]],
    )
    statement_timeout_seconds: Whole | None = Field(
        default=None,
        ge=1,
        le=2_592_000,
        description="The database gives a statement up that takes longer; limits.timeoutSeconds "
        "if left out.",
        examples=[60],
    )


class SqlJob(PythonType):
    """Runs its statements in one transaction and reports how many rows each of them met."""

    name = "sql"
    description = "Runs SQL statements in one transaction and reports how many rows each met."
    dry_runs = True
    parameters: type[BaseModel] = SqlParameters

    def run(self, context: JobContext) -> dict[str, Any]:
        """`{rows: [of each statement], total, dryRun}`. Raises Invalid, Transient."""
        from jobreconciler.jobtypes.database import JobDatabase

        asked = own(context.parameters, SqlParameters)
        timeout = asked.statement_timeout_seconds or context.timeout_seconds
        rows: list[int] = []
        database = JobDatabase(
            context.secret(asked.database),
            asked.database.model_dump(),
            statement_timeout=timeout,
            stopped=context.cancelled,
        )
        with database.transaction(keep=not context.dry_run) as execute:
            for number, statement in enumerate(asked.statements, start=1):
                rows.append(execute(f"statement {number}", statement))
                context.metric(f"statement_{number}_rows", rows[-1], "rows")
                context.progress(number, len(asked.statements))
        context.metric("rows", sum(rows), "rows")
        done = "taken back: this was a dry run" if context.dry_run else "committed"
        context.log("info", done, rows=sum(rows), statements=len(rows))
        return {"rows": rows, "total": sum(rows), "dryRun": context.dry_run}
