"""Instants as the tables hold them, microseconds since 1970 in UTC, and as people read them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def to_micros(at: datetime) -> int:
    """Raises ValueError for an instant without an offset."""
    if at.tzinfo is None:
        raise ValueError("an instant needs its offset from UTC")
    return (at - _EPOCH) // timedelta(microseconds=1)


def instant(micros: int | None) -> str | None:
    """RFC 3339 in UTC, to the second; None for None."""
    if micros is None:
        return None
    at = _EPOCH + timedelta(microseconds=micros)
    return at.replace(microsecond=0).isoformat().replace("+00:00", "Z")
