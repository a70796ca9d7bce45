"""The SQL of aggregation: one text for SQLite and PostgreSQL.

Figures are computed where the events are, in double precision and in the order in which
docs/signals.md writes them, so that both databases come to the same bits.
"""

from __future__ import annotations

from sqlalchemy import TextClause, text

from jobreconciler.signals.periods import DAY
from jobreconciler.signals.rules import FIGURES

_COUNTED = """
SELECT
  q.document_id AS document_id,
  count(*) FILTER (WHERE e.event_type = 'viewed') AS view_count,
  count(*) FILTER (WHERE e.event_type = 'retrieved') AS retrieval_count,
  count(*) FILTER (WHERE e.event_type = 'referenced') AS reference_count,
  count(*) FILTER (WHERE e.event_type = 'searched') AS search_appearances,
  count(*) FILTER (WHERE e.event_type = 'rated' AND e.rating = 'up') AS upvotes,
  count(*) FILTER (WHERE e.event_type = 'rated' AND e.rating = 'down') AS downvotes,
  count(*) FILTER (WHERE e.event_type = 'exported') AS export_count,
  count(*) FILTER (WHERE e.event_type = 'promoted') AS promotion_count,
  count(*) FILTER (WHERE e.event_type = 'refined') AS refinement_count,
  count(DISTINCT e.session_id) AS unique_sessions,
  count(DISTINCT e.user_id) AS unique_users,
  count(DISTINCT e.lens_id) AS unique_lenses,
  count(DISTINCT e.hub_id) AS unique_hubs,
  count(DISTINCT e.query_hash) AS unique_queries,
  min(e.created_at) AS first_event_at,
  max(e.created_at) AS last_event_at
FROM aggregation_queue q
LEFT JOIN usage_events e ON e.document_id = q.document_id AND e.created_at >= :start
WHERE q.period = :period AND q.document_id > :after AND q.document_id <= :last
GROUP BY q.document_id
"""

_SCORED = f"""
SELECT
  counted.*,
  CASE WHEN upvotes + downvotes = 0 THEN 0
    ELSE CAST(upvotes - downvotes AS DOUBLE PRECISION) / (upvotes + downvotes)
  END AS utility_score,
  ({{least}}(CAST(unique_sessions AS DOUBLE PRECISION) / 10, 1)
    + {{least}}(CAST(unique_lenses AS DOUBLE PRECISION) / 5, 1)
    + {{least}}(CAST(unique_hubs AS DOUBLE PRECISION) / 5, 1)) / 3 AS diversity_index,
  coalesce((last_event_at - first_event_at) / {DAY}, 0) AS span_days
FROM ({_COUNTED}) counted
"""

_RATED = f"""
SELECT
  scored.*,
  0.3 * {{least}}(CAST(view_count AS DOUBLE PRECISION) / 50, 1)
    + 0.3 * CASE WHEN upvotes + downvotes = 0 THEN 0.5 ELSE (utility_score + 1) / 2 END
    + 0.2 * diversity_index
    + 0.2 * {{least}}(CAST(span_days AS DOUBLE PRECISION) / 30, 1) AS quality_score,
  CASE WHEN first_event_at IS NULL THEN 0 ELSE span_days + 1 END AS days_active
FROM ({_SCORED}) scored
"""

_VALUES = {
    "advancement_eligible": "(quality_score >= 0.6 AND view_count >= 10)",
    "computed_at": ":as_of",
}


def _recompute() -> str:
    selected = ", ".join(_VALUES.get(name, name) for name in FIGURES)
    updated = ", ".join(f"{name} = excluded.{name}" for name in FIGURES)
    return (
        f"INSERT INTO signal_aggregations (document_id, period, {', '.join(FIGURES)}) "
        f"SELECT document_id, :period, {selected} FROM ({_RATED}) rated WHERE true "
        f"ON CONFLICT (document_id, period) DO UPDATE SET {updated}"
    )


_RECOMPUTE = _recompute()


def recompute(*, sqlite: bool) -> TextClause:
    """Rows of the queued documents after `after` up to `last`; a zero row where nothing counts.

    Takes period, start, as_of, after, last.
    """
    return text(_RECOMPUTE.replace("{least}", "min" if sqlite else "least"))


EVERY_DOCUMENT = "WHERE true"
WITH_NEW_EVENTS = "WHERE d.id IN (SELECT document_id FROM usage_events WHERE id > :events_seen)"
CROSSED_THE_EDGE = (
    "WHERE d.id IN (SELECT document_id FROM usage_events "
    "WHERE created_at >= :crossed_from AND created_at < :crossed_to)"
)
WITHOUT_A_ROW = (
    "LEFT JOIN signal_aggregations a ON a.document_id = d.id AND a.period = :period "
    "WHERE a.document_id IS NULL"
)
"""Which of `documents d`; events may have outlived their document, so it is asked first."""

SELECT = "SELECT d.id FROM documents d {which}"
ENQUEUE = (
    "INSERT INTO aggregation_queue (period, document_id) "
    "SELECT :period, d.id FROM documents d {which} "
    "ON CONFLICT (period, document_id) DO NOTHING"
)

NEXT_BATCH = text(
    "SELECT document_id FROM aggregation_queue WHERE period = :period AND document_id > :after "
    "ORDER BY document_id LIMIT :size"
)
DEQUEUE = text(
    "DELETE FROM aggregation_queue WHERE period = :period AND document_id > :after "
    "AND document_id <= :last"
)
DEQUEUE_GONE = text(
    "DELETE FROM aggregation_queue WHERE period = :period AND document_id = :last "
    "AND NOT EXISTS (SELECT 1 FROM documents WHERE id = :last)"
)
QUEUED = text("SELECT count(*) FROM aggregation_queue WHERE period = :period")

NEWEST_EVENT = text("SELECT coalesce(max(id), 0) FROM usage_events")
WRITERS = text(
    "SELECT DISTINCT l.virtualtransaction FROM pg_locks l JOIN pg_database b ON b.oid = l.database "
    "WHERE b.datname = current_database() AND l.relation = CAST('usage_events' AS regclass) "
    "AND l.mode = 'RowExclusiveLock' AND l.pid IS DISTINCT FROM pg_backend_pid()"
)
"""PostgreSQL: transactions that may have been given a number for an event nobody sees yet."""
