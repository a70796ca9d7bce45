"""Slots of schedules: worst cases by CPU time, and evaluations a second beside other libraries.

`python bench/cron.py` prints a table; `measure()` gives its rows to `python -m bench`. Worst cases
are thread CPU time of single calls, the best of three, so that a busy machine does not show.
"""

from __future__ import annotations

import gc
import importlib
import random
import sys
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from jobreconciler.core import cron, cron_calendar, cron_fields, cron_slots, zones
from jobreconciler.core.impact import fleet_impact

Row = dict[str, Any]
NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
DAY = timedelta(days=1)

HARD = (
    "* * * * *",
    "* * * * * *",
    "0-59 0-59 0-23 * * *",
    "59 59 23 31 12 *",
    "30 2 * * *",
    "0-59 2 * * *",
    "*/5 2 * * *",
    "0 */2 * * *",
    "0 0 29 2 *",
    "0 0 29 2 */6",
    "* * 29 2 */6",
    "0 0 31 */2 1#5",
    "0 0 L 2 5L",
    "0 0 13 * */5",
    "*/5 * 30 12 *",
)
ZONES = (
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "Australia/Lord_Howe",
    "Africa/Cairo",
    "America/Santiago",
    "Africa/Casablanca",
    "Pacific/Apia",
    "Asia/Gaza",
    "Africa/Monrovia",
)
INSTANTS = (
    NOW,
    datetime(2011, 12, 30, 9, 59, tzinfo=UTC),
    datetime(2011, 12, 30, 10, tzinfo=UTC),
    datetime(2027, 3, 28, 0, 59, 59, tzinfo=UTC),
    datetime(2027, 10, 31, 1, 0, 1, tzinfo=UTC),
    datetime(2027, 4, 3, 15, 10, tzinfo=UTC),
    datetime(1972, 1, 7, 0, 44, tzinfo=UTC),
    datetime(2096, 3, 1, tzinfo=UTC),
)


def measure() -> list[Row]:
    """Every figure, beside the peers that are installed."""
    return [
        *_worst_cases(),
        *_listing(),
        *_validation(),
        *_evaluations(),
        *_fleet(),
    ]


# ----------------------------------------------------------------------------------- worst cases


def _worst_cases() -> list[Row]:
    return [
        _worst("next", cron.next_slot),
        _worst("previous", cron.previous_slot),
        _worst("count of a week", _count(7)),
        _worst("count of 10 years", _count(3653)),
        _worst("count of a century", _count(36525)),
        _worst("next, nothing cached", cron.next_slot, cold=True),
        _worst("count of a year, nothing cached", _count(365), cold=True),
        _worst("count of 10 years, nothing cached", _count(3653), cold=True),
    ]


def _count(days: int) -> Callable[[cron.Schedule, datetime], int]:
    return lambda schedule, at: cron.count_between(schedule, at - days * DAY, at)


def _worst(what: str, call: Callable[[cron.Schedule, datetime], Any], *, cold: bool = False) -> Row:
    slowest, where = 0.0, ""
    for expression in HARD:
        for zone in ZONES:
            for at in INSTANTS[:2] if cold else INSTANTS:
                best = min(_once(expression, zone, at, call, cold) for _ in range(3))
                if best > slowest:
                    slowest, where = best, f"{expression} in {zone}"
    return {
        "what": what,
        "ours": f"{slowest:.2f} ms",
        "floor_or_peer": f"slowest of {len(HARD) * len(ZONES)}: {where}",
        "ratio": "",
        "target": "≤ 5 ms",
        "ok": slowest <= 5,
    }


def _once(
    expression: str,
    zone: str,
    at: datetime,
    call: Callable[[cron.Schedule, datetime], Any],
    cold: bool,
) -> float:
    """Milliseconds of CPU for one call."""
    if cold:
        _forget()
    schedule = cron.parse(expression, zone)
    began = time.thread_time_ns()
    call(schedule, at)
    return (time.thread_time_ns() - began) / 1e6


def _forget() -> None:
    for cached in (
        cron_slots.parse,
        cron_calendar.calendar_of,
        cron_calendar._bits,
        cron_calendar._expanded,
        cron_fields._read_field,
        cron_fields._read_item,
        zones.zone,
    ):
        cached.cache_clear()


def _listed(schedule: cron.Schedule, at: datetime) -> float:
    """Milliseconds a slot."""
    until = at.replace(year=at.year + 80)
    began = time.thread_time_ns()
    slots = cron.slots_between(schedule, at, until, limit=200)
    return (time.thread_time_ns() - began) / 1e6 / max(1, len(slots))


def _listing() -> list[Row]:
    slowest, where = 0.0, ""
    for expression in HARD:
        for zone in ZONES:
            schedule = cron.parse(expression, zone)
            for at in (NOW, INSTANTS[1]):
                best = min(_listed(schedule, at) for _ in range(2))
                if best > slowest:
                    slowest, where = best, f"{expression} in {zone}"
    return [
        {
            "what": "a listing, slowest per slot",
            "ours": f"{slowest:.3f} ms",
            "floor_or_peer": where,
            "ratio": "",
            "target": "≤ 0.2 ms",
            "ok": slowest <= 0.2,
        }
    ]


# ---------------------------------------------------------------------------------- throughput


def _different(count: int) -> list[str]:
    """Expressions as fleets have them, all different and readable by every library."""
    draw = random.Random(1)
    found: set[str] = set()
    while len(found) < count:
        minute, hour = draw.randint(0, 59), draw.randint(0, 23)
        kind = draw.random()
        if kind < 0.2:
            found.add(f"{minute} */{draw.choice((2, 3, 4, 6, 8, 12))} * * *")
        elif kind < 0.5:
            days = draw.choice(("*", "mon-fri", "mon", "sun", "tue,thu", "sat"))
            found.add(f"{minute} {hour} * * {days}")
        elif kind < 0.8:
            found.add(f"{minute},{draw.randint(0, 59)} {hour} * * *")
        else:
            found.add(f"{minute} {hour} {draw.randint(1, 28)} */{draw.randint(2, 6)} *")
    return sorted(found)


def _cpu(work: Callable[[], Any]) -> float:
    """Seconds of CPU, the better of three."""
    best = float("inf")
    for _ in range(3):
        gc.collect()
        began = time.process_time()
        work()
        best = min(best, time.process_time() - began)
    return best


def _validation() -> list[Row]:
    expressions = _different(10_000)

    def ours() -> None:
        _forget()
        for expression in expressions:
            cron.parse(expression, "Europe/Berlin")

    seconds = _cpu(ours)
    croniter = importlib.import_module("croniter").croniter
    sample = expressions[:1000]
    peer = _cpu(lambda: [croniter.is_valid(expression) for expression in sample]) * 10
    return [
        {
            "what": "10,000 different expressions checked",
            "ours": f"{seconds:.2f} s",
            "floor_or_peer": f"{peer:.2f} s, croniter.is_valid",
            "ratio": f"{peer / seconds:.1f} ×",
            "target": "≤ 0.3 s",
            "ok": seconds <= 0.3,
        }
    ]


def _evaluations() -> list[Row]:
    expressions = _different(1500)
    rows = []
    for zone in ("UTC", "Europe/Berlin"):
        first = {name: _rate(len(expressions), run) for name, run in _first(expressions, zone)}
        again = {name: _rate(len(expressions), run) for name, run in _again(expressions, zone)}
        rows += [
            _against(f"next with parsing, {zone}", first),
            _against(f"next, parsed before, {zone}", again),
        ]
    absent = [name for name in ("cronsim", "apscheduler") if _imported(name) is None]
    if absent:
        rows.append(
            {
                "what": "not measured, not installed",
                "ours": "",
                "floor_or_peer": ", ".join(absent),
                "ratio": "",
                "target": "",
                "ok": None,
            }
        )
    return rows


def _rate(count: int, run: Callable[[], Any]) -> float:
    return count / _cpu(run)


def _against(what: str, rates: dict[str, float]) -> Row:
    ours = rates.pop("ours")
    fastest = max(rates.values())
    return {
        "what": what,
        "ours": f"{ours:,.0f}/s",
        "floor_or_peer": ", ".join(f"{name} {rate:,.0f}/s" for name, rate in rates.items()),
        "ratio": f"{ours / fastest:.1f} ×",
        "target": "≥ the fastest peer",
        "ok": ours >= fastest,
    }


def _imported(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError:
        return None


def _first(expressions: list[str], zone: str) -> Iterable[tuple[str, Callable[[], Any]]]:
    """Each library's way from the text to the first slot; ours starts with empty caches."""
    at = NOW.astimezone(ZoneInfo(zone))

    def ours() -> None:
        _forget()
        for expression in expressions:
            cron.next_slot(cron.parse(expression, zone), NOW)

    yield "ours", ours
    croniter = importlib.import_module("croniter").croniter
    yield "croniter", lambda: [croniter(e, at).get_next(datetime) for e in expressions]
    cronsim = _imported("cronsim")
    if cronsim is not None:
        yield "cronsim", lambda: [next(cronsim.CronSim(e, at)) for e in expressions]
    trigger = _trigger(zone)
    if trigger is not None:
        yield (
            "APScheduler",
            lambda: [trigger(e).get_next_fire_time(None, at) for e in expressions],
        )


def _again(expressions: list[str], zone: str) -> Iterable[tuple[str, Callable[[], Any]]]:
    """The following slots of what is parsed already; cronsim goes on from its first slot."""
    at = NOW.astimezone(ZoneInfo(zone))
    schedules = [cron.parse(expression, zone) for expression in expressions]
    for schedule in schedules:
        cron.next_slot(schedule, NOW)
    yield "ours", lambda: [cron.next_slot(schedule, NOW) for schedule in schedules]
    croniter = importlib.import_module("croniter").croniter
    parsed = [croniter(expression, at) for expression in expressions]
    yield "croniter", lambda: [each.get_next(datetime) for each in parsed]
    cronsim = _imported("cronsim")
    if cronsim is not None:
        walks = [cronsim.CronSim(expression, at) for expression in expressions]
        yield "cronsim", lambda: [next(walk) for walk in walks]
    trigger = _trigger(zone)
    if trigger is not None:
        triggers = [trigger(expression) for expression in expressions]
        yield "APScheduler", lambda: [each.get_next_fire_time(None, at) for each in triggers]


def _trigger(zone: str) -> Callable[[str], Any] | None:
    module = _imported("apscheduler.triggers.cron")
    if module is None:
        return None
    where = ZoneInfo(zone)
    return lambda expression: module.CronTrigger.from_crontab(expression, timezone=where)


def _fleet() -> list[Row]:
    fleet = [(expression, "Europe/Berlin") for expression in _different(10_000)]

    def cold() -> None:
        _forget()
        fleet_impact(fleet[:9000], fleet, NOW, capacity=4)

    seconds = _cpu(cold)
    return [
        {
            "what": "collisions of 10,000 schedules, nothing cached",
            "ours": f"{seconds * 1000:.0f} ms",
            "floor_or_peer": "",
            "ratio": "",
            "target": "≤ 800 ms",
            "ok": seconds <= 0.8,
        }
    ]


if __name__ == "__main__":
    for row in measure():
        mark = {True: "ok", False: "SHORT", None: ""}[row["ok"]]
        sys.stdout.write(
            f"{row['what']:<48} {row['ours']:>12}  {row['ratio']:>7}  {row['target']:<20}"
            f" {mark:<6} {row['floor_or_peer']}\n"
        )
