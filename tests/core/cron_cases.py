"""What several cron tests share: random expressions, and slots by plain definition.

`by_definition` walks the zone's clock minute by minute and knows nothing of the code under test.
"""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

ZONES = (
    "Europe/Berlin",
    "America/New_York",
    "Australia/Lord_Howe",
    "Africa/Cairo",
    "America/Santiago",
    "Pacific/Apia",
    "Africa/Casablanca",
    "Europe/Dublin",
    "America/Sao_Paulo",
    "America/St_Johns",
    "Asia/Gaza",
    "Antarctica/Troll",
    "Pacific/Kwajalein",
    "America/Caracas",
)
MINUTE = timedelta(minutes=1)


def random_expression(draw: random.Random) -> str:
    """Five fields, with hours about where clocks change; day fields mostly open."""
    hours = ["0", "1", "2", "3", "0-3", "1,2", "2-3", "23", "22,23", "*/2", "*/6", "*", "*"]
    return " ".join(
        (
            _field(draw, 0, 59, 0.25),
            draw.choice(hours) if draw.random() < 0.7 else _field(draw, 0, 23, 0.2),
            _field(draw, 1, 31, 0.8),
            _field(draw, 1, 12, 0.85),
            _field(draw, 0, 6, 0.8),
        )
    )


def _field(draw: random.Random, low: int, high: int, star: float) -> str:
    kind = draw.random()
    if kind < star:
        return "*"
    if kind < star + (1 - star) * 0.3:
        return f"*/{draw.randint(2, max(2, (high - low) // 2))}"
    if kind < star + (1 - star) * 0.5:
        first = draw.randint(low, high - 1)
        last = draw.randint(first + 1, high)
        step = f"/{draw.randint(1, last - first)}" if draw.random() < 0.5 else ""
        return f"{first}-{last}{step}"
    values = sorted({draw.randint(low, high) for _ in range(draw.randint(1, 3))})
    return ",".join(map(str, values))


def matches(expression: str, wall: datetime) -> bool:
    """Whether a naive wall-clock minute matches five plain fields, read as crontab(5) says."""
    minute, hour, day, month, weekday = expression.split()
    if not (
        _has(minute, 0, 59, wall.minute)
        and _has(hour, 0, 23, wall.hour)
        and _has(month, 1, 12, wall.month)
    ):
        return False
    by_day = _has(day, 1, 31, wall.day)
    by_weekday = _has(weekday, 0, 6, wall.isoweekday() % 7)
    starred = day.startswith("*") or weekday.startswith("*")
    return (by_day and by_weekday) if starred else (by_day or by_weekday)


def _has(field: str, low: int, high: int, value: int) -> bool:
    for item in field.split(","):
        span, _, step = item.partition("/")
        first, _, last = (f"{low}-{high}" if span == "*" else span).partition("-")
        if value in range(int(first), int(last or first) + 1, int(step or 1)):
            return True
    return False


def by_definition(
    expression: str, zone: str, after: datetime, until: datetime
) -> tuple[datetime, ...]:
    """Slots in (after, until], both full minutes in UTC.

    Wildcard: every minute whose wall-clock reading matches. Fixed: every minute at which the wall
    clock first shows, or first passes, a matching reading.
    """
    minute, hour = expression.split()[:2]
    walk = _wildcard if minute.startswith("*") or hour.startswith("*") else _fixed
    return walk(expression, ZoneInfo(zone), after, until)


def _wildcard(
    expression: str, zone: ZoneInfo, after: datetime, until: datetime
) -> tuple[datetime, ...]:
    found, at = [], after + MINUTE
    while at <= until:
        if matches(expression, at.astimezone(zone).replace(tzinfo=None)):
            found.append(at)
        at += MINUTE
    return tuple(found)


def _fixed(
    expression: str, zone: ZoneInfo, after: datetime, until: datetime
) -> tuple[datetime, ...]:
    found, at = [], after - timedelta(hours=26)
    highest = at.astimezone(zone).replace(tzinfo=None)
    while at < until:
        at += MINUTE
        wall = at.astimezone(zone).replace(tzinfo=None)
        passed = (wall - highest) // MINUTE
        if passed <= 0:
            continue
        if at > after and any(matches(expression, wall - n * MINUTE) for n in range(passed)):
            found.append(at)
        highest = wall
    return tuple(found)


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)
