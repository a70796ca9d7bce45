"""What the signals' database holds, in one glance: tiers, aggregations, recent advancements."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Column, Connection, func, select

from jobreconciler.signals.database import Database
from jobreconciler.signals.instants import instant
from jobreconciler.signals.periods import PERIODS
from jobreconciler.signals.rules import TIERS
from jobreconciler.signals.tables import advancement_events as events
from jobreconciler.signals.tables import aggregation_passes as passes
from jobreconciler.signals.tables import aggregation_queue as queue
from jobreconciler.signals.tables import documents
from jobreconciler.signals.tables import signal_aggregations as aggregations


def report(database: Database, limit: int) -> dict[str, Any]:
    """`{tiers, aggregations, advancements}`, the newest `limit` advancements first.

    Raises NotFound without tables, and Transient.
    """
    database.check()
    with database.reading() as connection:
        return {
            "tiers": _tiers(connection),
            "aggregations": _aggregations(connection),
            "advancements": _advancements(connection, limit),
        }


def _tiers(connection: Connection) -> list[dict[str, Any]]:
    counted = _counted(connection, documents.c.tier)
    return [{"tier": tier, "documents": counted.get(tier, 0)} for tier in TIERS]


def _aggregations(connection: Connection) -> list[dict[str, Any]]:
    """`asOf` is when the last pass that ended began; `waiting` documents are still to compute."""
    eligible = func.count().filter(aggregations.c.advancement_eligible)
    rows = select(aggregations.c.period, func.count(), eligible).group_by(aggregations.c.period)
    counted = {period: (count, able) for period, count, able in connection.execute(rows)}
    ended = {row.period: row.finished_as_of for row in connection.execute(select(passes))}
    waiting = _counted(connection, queue.c.period)
    return [
        {
            "period": period.name,
            "documents": counted.get(period.name, (0, 0))[0],
            "eligible": counted.get(period.name, (0, 0))[1],
            "asOf": instant(ended.get(period.name)),
            "waiting": waiting.get(period.name, 0),
        }
        for period in PERIODS
    ]


def _counted(connection: Connection, column: Column[str]) -> dict[str, int]:
    """How many rows there are of each value."""
    query = select(column, func.count()).group_by(column)
    return {value: count for value, count in connection.execute(query)}  # noqa: C416


def _advancements(connection: Connection, limit: int) -> list[dict[str, Any]]:
    taken_back = events.alias("taken_back")
    query = (
        select(
            events,
            select(func.count())
            .where(taken_back.c.rollback_event_id == events.c.id)
            .scalar_subquery()
            .label("restored"),
        )
        .order_by(events.c.id.desc())
        .limit(limit)
    )
    return [
        {
            "id": row.id,
            "type": row.event_type,
            "documentId": row.document_id,
            "ruleId": row.rule_id,
            "fromTier": row.from_tier,
            "toTier": row.to_tier,
            "reason": row.reason,
            "rolledBack": row.rolled_back,
            "restored": row.restored,
            "executionId": row.execution_id,
            "createdAt": instant(row.created_at),
        }
        for row in connection.execute(query)
    ]
