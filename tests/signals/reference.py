"""The figures, straight from the raw events in plain Python. Shares no code with the program."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

US_A_DAY = 24 * 60 * 60 * 1_000_000
DAYS = {"last_7d": 7, "last_30d": 30}


def figures(
    events: Iterable[Mapping[str, Any]], document_ids: Iterable[str], period: str, now: int
) -> dict[str, dict[str, Any]]:
    """What `signal_aggregations` must hold of a period at that instant, by document."""
    events = list(events)
    return {
        document_id: _of_one(
            [
                event
                for event in events
                if event["document_id"] == document_id and _counts(event, period, now)
            ]
        )
        for document_id in document_ids
    }


def _counts(event: Mapping[str, Any], period: str, now: int) -> bool:
    return period == "all_time" or now - event["created_at"] <= DAYS[period] * US_A_DAY


def _of_one(events: list[Mapping[str, Any]]) -> dict[str, Any]:
    def of_type(name: str) -> int:
        return sum(1 for event in events if event["event_type"] == name)

    def rated(rating: str) -> int:
        return sum(1 for e in events if e["event_type"] == "rated" and e["rating"] == rating)

    def different(column: str) -> int:
        return len({event[column] for event in events} - {None})

    times = [event["created_at"] for event in events]
    days = (max(times) - min(times)) // US_A_DAY if times else 0
    up, down, views = rated("up"), rated("down"), of_type("viewed")
    sessions, lenses, hubs = different("session_id"), different("lens_id"), different("hub_id")
    utility = (up - down) / (up + down) if up + down else 0.0
    diversity = (min(sessions / 10, 1) + min(lenses / 5, 1) + min(hubs / 5, 1)) / 3
    quality = (
        0.3 * min(views / 50, 1)
        + 0.3 * ((utility + 1) / 2 if up + down else 0.5)
        + 0.2 * diversity
        + 0.2 * min(days / 30, 1)
    )
    return {
        "view_count": views,
        "retrieval_count": of_type("retrieved"),
        "reference_count": of_type("referenced"),
        "search_appearances": of_type("searched"),
        "upvotes": up,
        "downvotes": down,
        "export_count": of_type("exported"),
        "promotion_count": of_type("promoted"),
        "refinement_count": of_type("refined"),
        "unique_sessions": sessions,
        "unique_users": different("user_id"),
        "unique_lenses": lenses,
        "unique_hubs": hubs,
        "unique_queries": different("query_hash"),
        "utility_score": utility,
        "diversity_index": diversity,
        "quality_score": quality,
        "advancement_eligible": quality >= 0.6 and views >= 10,
        "first_event_at": min(times, default=None),
        "last_event_at": max(times, default=None),
        "days_active": days + 1 if times else 0,
    }
