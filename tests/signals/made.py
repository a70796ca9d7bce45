"""A database of signals whose clock is told the time, and a context that keeps what it hears."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel
from sqlalchemy import Table, select, text

from jobreconciler.signals.aggregate import aggregate
from jobreconciler.signals.database import Database
from jobreconciler.signals.periods import Period
from jobreconciler.signals.tables import documents, metadata, signal_aggregations, usage_events

from .reference import figures

NOW = 1_790_000_000_123_456
HOUR = 3_600_000_000
DAY = 24 * HOUR


class _None(BaseModel):
    """No parameters: they are given to the functions under test themselves."""


class Context:
    """A JobContext that remembers. `stop_after`: it is told to stop after so many progresses."""

    def __init__(self, batch_size: int | None = None, **given: Any) -> None:
        self.parameters = _None()
        self.batch_size = batch_size
        self.dry_run: bool = given.get("dry_run", False)
        self.execution_id: str = given.get("execution_id", "run-1")
        self.attempt: int = given.get("attempt", 1)
        self.slot = None
        self.trigger: str = given.get("trigger", "manual")
        self.config_revision = "c" * 40
        self.stop_after: int | None = given.get("stop_after")
        self.progresses: list[tuple[int, int]] = []
        self.metrics: dict[str, float] = {}
        self.logged: list[tuple[str, str, dict[str, Any]]] = []

    def progress(self, done: int, total: int) -> None:
        self.progresses.append((done, total))

    def metric(self, name: str, value: float, unit: str = "") -> None:  # noqa: ARG002
        self.metrics[name] = value

    def log(self, level: str, message: str, **fields: Any) -> None:
        self.logged.append((level, message, fields))

    def cancelled(self) -> bool:
        return self.stop_after is not None and len(self.progresses) > self.stop_after

    def secret(self, reference: Any) -> str:
        raise AssertionError(f"nobody needs {reference} here")

    def said(self, level: str) -> list[str]:
        return [message for each, message, _ in self.logged if each == level]


@dataclass
class World:
    """One database and its time."""

    url: str
    now: int = NOW
    database: Database = field(init=False)

    def __post_init__(self) -> None:
        self.database = Database(self.url, clock=lambda: self.now)
        self.database.create()

    def close(self) -> None:
        self.database.__exit__()

    def empty(self) -> World:
        with self.database.writing() as connection:
            for table in reversed(metadata.sorted_tables):
                connection.execute(table.delete())
        self.now = NOW
        return self

    def documents(self, *ids: str, tier: str = "seed") -> None:
        rows = [
            {"id": each, "title": each, "tier": tier, "created_at": self.now, "updated_at": 0}
            for each in ids
        ]
        with self.database.writing() as connection:
            connection.execute(documents.insert(), rows)

    def events(self, *rows: dict[str, Any]) -> None:
        if rows:
            with self.database.writing() as connection:
                connection.execute(usage_events.insert(), list(rows))

    def sql(self, statement: str, **values: Any) -> Any:
        """Run SQL behind the program's back; rows, where there are any."""
        with self.database.writing() as connection:
            done = connection.execute(text(statement), values)
            return done.all() if done.returns_rows else None

    @contextmanager
    def refusing(self, document_ids: Sequence[str], table: str) -> Iterator[None]:
        """The database refuses those documents' rows in a table, as a broken constraint would."""
        listed = ", ".join(f"'{each}'" for each in document_ids)
        if self.database.is_sqlite:
            self.sql(
                f"CREATE TRIGGER refuse BEFORE INSERT ON {table} WHEN NEW.document_id IN "
                f"({listed}) BEGIN SELECT RAISE(ABORT, 'not this one'); END"
            )
        else:
            self.sql(
                "CREATE FUNCTION refuse() RETURNS trigger AS $$ BEGIN IF NEW.document_id IN "
                f"({listed}) THEN RAISE EXCEPTION 'not this one'; END IF; "
                "RETURN NEW; END $$ LANGUAGE plpgsql"
            )
            self.sql(
                f"CREATE TRIGGER refuse BEFORE INSERT ON {table} "
                "FOR EACH ROW EXECUTE FUNCTION refuse()"
            )
        try:
            yield
        finally:
            gone = "TRIGGER refuse" if self.database.is_sqlite else "FUNCTION refuse CASCADE"
            self.sql(f"DROP {gone}")

    def rows(self, table: Table) -> list[dict[str, Any]]:
        """A table's rows, in the order of its key."""
        with self.database.reading() as connection:
            query = select(table).order_by(*table.primary_key.columns)
            return [dict(row) for row in connection.execute(query).mappings()]

    def aggregate(self, period: Period, *, full: bool = False, **context: Any) -> dict[str, Any]:
        return aggregate(self.database, period, Context(**context), full=full)

    def aggregations(self, period: Period) -> dict[str, dict[str, Any]]:
        """The rows of a period by document, without when each was computed."""
        return {
            row["document_id"]: {
                name: value
                for name, value in row.items()
                if name not in ("document_id", "period", "computed_at")
            }
            for row in self.rows(signal_aggregations)
            if row["period"] == period.name
        }

    def expected(self, period: Period) -> dict[str, dict[str, Any]]:
        """What those rows must be, by the reference."""
        ids: Sequence[str] = [row["id"] for row in self.rows(documents)]
        return figures(self.rows(usage_events), ids, period.name, self.now)


def event(
    document_id: str, event_type: str = "viewed", at: int = NOW, **columns: Any
) -> dict[str, Any]:
    return {
        "document_id": document_id,
        "event_type": event_type,
        "session_id": "s",
        "user_id": None,
        "lens_id": None,
        "hub_id": None,
        "query_hash": None,
        "rating": None,
        "created_at": at,
        **columns,
    }
