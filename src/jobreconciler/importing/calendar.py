"""systemd's OnCalendar as schedules of our own dialect, where an equal one exists.

A calendar event is a product of sets: seconds, minutes, hours, days, months and weekdays, and
unlike cron's its day and its weekday must both match.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from jobreconciler.core.cron_refusals import InvalidSchedule
from jobreconciler.core.zones import zone
from jobreconciler.importing.spelling import (
    DAYS,
    HOURS,
    MONTHS,
    SIXTY,
    WEEKDAYS,
    Times,
    Values,
    weekday_number,
)

_ZERO = frozenset({0})
_FIRST = frozenset({1})
_QUARTERS = frozenset({1, 4, 7, 10})
_SHORT: Final[Mapping[str, Times]] = {
    "minutely": Times(SIXTY, HOURS),
    "hourly": Times(_ZERO, HOURS),
    "daily": Times(_ZERO, _ZERO),
    "weekly": Times(_ZERO, _ZERO, weekdays=_FIRST),
    "monthly": Times(_ZERO, _ZERO, days=_FIRST),
    "quarterly": Times(_ZERO, _ZERO, days=_FIRST, months=_QUARTERS),
    "semiannually": Times(_ZERO, _ZERO, days=_FIRST, months=frozenset({1, 7})),
    "yearly": Times(_ZERO, _ZERO, days=_FIRST, months=_FIRST),
}
_OTHER_NAMES: Final[Mapping[str, str]] = {
    "annually": "yearly",
    "anually": "yearly",
    "biannually": "semiannually",
    "bi-annually": "semiannually",
    "semi-annually": "semiannually",
}
_ITEM = re.compile(r"([0-9]{1,4})(?:\.\.([0-9]{1,4}))?(?:/([0-9]{1,4}))?")
_WORDS_ONLY = re.compile(r"[A-Za-z]+(?:(?:\.\.|-|,)[A-Za-z]*)*")


class NotCalendar(Exception):
    """What systemd would not read either, or what has no counterpart; the text says which."""


class Event(NamedTuple):
    """When, the zone it names, if any, and which of the lines it came from."""

    times: Times
    timezone: str | None
    lines: tuple[int, ...] = ()


def read_event(text: str) -> Event:
    """Read one specification. Raises NotCalendar with a sentence."""
    words = text.split()
    timezone = None
    if len(words) > 1 and _is_zone(words[-1]):
        timezone = words.pop()
    if len(words) == 1:
        name = words[0].lower()
        short = _SHORT.get(_OTHER_NAMES.get(name, name))
        if short is not None:
            return Event(short, timezone)
    if not words:
        raise NotCalendar("the specification is empty")
    weekdays = WEEKDAYS
    if _WORDS_ONLY.fullmatch(words[0]):
        weekdays = _weekdays(words.pop(0))
    months, days, last_days = MONTHS, DAYS, None
    if words and ("~" in words[0] or ("-" in words[0] and ":" not in words[0])):
        months, days, last_days = _date(words.pop(0))
    hours, minutes, seconds = _ZERO, _ZERO, _ZERO
    if words and ":" in words[0]:
        hours, minutes, seconds = _time(words.pop(0))
    if words:
        raise NotCalendar(f"{words[0][:40]!r} is neither a date, a time nor a zone")
    return Event(Times(minutes, hours, days, months, weekdays, seconds, last_days), timezone)


def _is_zone(word: str) -> bool:
    """`UTC`, `Europe/Berlin`; `Mon` and `daily` are zones to nobody."""
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_+/-]*", word) or weekday_number(word) is not None:
        return False
    try:
        zone(word)
    except InvalidSchedule:
        return False
    return True


def _weekdays(text: str) -> Values:
    """`Mon`, `Mon..Fri`, `Mon-Fri`, `Mon,Wed..Fri`; Monday is the first, Sunday the last."""
    found: set[int] = set()
    for item in filter(None, text.split(",")):
        first, *rest = re.split(r"\.\.|-", item)
        ends = [weekday_number(word) for word in (first, *rest[:1])]
        if len(rest) > 1 or None in ends:
            raise NotCalendar(f"{item[:40]!r} is no weekday")
        low, high = ((number or 0) or 7 for number in (ends[0], ends[-1]))
        if low > high:
            raise NotCalendar(f"the range {item} runs backwards, which systemd refuses")
        found |= {day % 7 for day in range(low, high + 1)}
    return frozenset(found)


def _date(text: str) -> tuple[Values, Values, Values | None]:
    """Months, days, and days from the month's end where `~` stands before the day."""
    head, tilde, tail = text.partition("~")
    parts = [*head.split("-"), *([tail] if tilde else [])]
    if len(parts) == 3:
        if parts.pop(0) != "*":
            raise NotCalendar("it names years, and an expression here has none")
    elif len(parts) != 2:
        raise NotCalendar(f"{text[:40]!r} is no date")
    months = _component(parts[0], "month", MONTHS)
    if tilde:
        return months, DAYS, _component(parts[1], "day", DAYS, from_end=True)
    return months, _component(parts[1], "day", DAYS), None


def _time(text: str) -> tuple[Values, Values, Values]:
    parts = text.split(":")
    if len(parts) not in (2, 3):
        raise NotCalendar(f"{text[:40]!r} is no time")
    if len(parts) == 3 and "." in re.sub(r"\.\.", "", parts[2]):
        if not re.fullmatch(r"[0-9]+\.0*", parts[2]):
            raise NotCalendar("it names fractions of a second, and slots here are whole seconds")
        parts[2] = parts[2].partition(".")[0]
    hours = _component(parts[0], "hour", HOURS)
    minutes = _component(parts[1], "minute", SIXTY)
    return hours, minutes, _component(parts[2], "second", SIXTY) if len(parts) == 3 else _ZERO


def _component(text: str, name: str, whole: Values, *, from_end: bool = False) -> Values:
    """`*`, or a list of `5`, `1..7`, `0/15`, `8..18/2`."""
    if text == "*":
        return whole
    found: set[int] = set()
    for item in text.split(","):
        match = _ITEM.fullmatch(item)
        if match is None:
            raise NotCalendar(f"{item[:40]!r} is no {name}")
        start, stop, step = (int(part) if part else None for part in match.groups())
        if start is None or not _is_valid(start, stop, step, whole, from_end):
            raise NotCalendar(f"{item} is no {name} that systemd takes")
        found |= _span(start, stop, step, max(whole), from_end)
    return frozenset(found)


def _is_valid(
    start: int, stop: int | None, step: int | None, whole: Values, from_end: bool
) -> bool:
    """systemd wants each number in its range, and a step to reach at least one more value."""
    allowed = range(1, 29) if from_end else whole
    if start not in allowed or step == 0:
        return False
    if stop is not None:
        return stop in allowed and start + (step or 0) <= stop
    return start - (step or 0) in allowed if from_end else start + (step or 0) in allowed


def _span(start: int, stop: int | None, step: int | None, top: int, from_end: bool) -> set[int]:
    """From the month's end, a step goes towards the end: `~07/2` is 7, 5, 3 and 1 before it."""
    if from_end:
        first, last = (start, 1) if stop is None else (stop, start)
        last = first if stop is None and step is None else last
        return set(range(first, last - 1, -(step or 1)))
    last = stop if stop is not None else (top if step else start)
    return set(range(start, last + 1, step or 1))


# --------------------------------------------------------------------------------- several lines


def joined(events: Sequence[Event]) -> list[Event]:
    """The same instants in as few events as sets of one product each can say."""
    done: list[Event] = []
    for event in events:
        whole = event
        while (found := _partner(done, whole)) is not None:
            done.remove(found[0])
            whole = found[1]
        done.append(whole)
    return sorted(done, key=lambda one: min(one.lines, default=0))


def _partner(done: Sequence[Event], event: Event) -> tuple[Event, Event] | None:
    """An event that makes one product with this one, and that product."""
    for other in done:
        both = _union(other, event)
        if both is not None:
            return other, both
    return None


def _union(one: Event, other: Event) -> Event | None:
    """One product for both, where they differ in a single set (days count as one)."""
    if one.timezone != other.timezone:
        return None
    first, second = one.times._asdict(), other.times._asdict()
    differing = [name for name in first if first[name] != second[name]]
    if not differing:
        return one._replace(lines=one.lines + other.lines)
    if len(differing) != 1 or None in (first[differing[0]], second[differing[0]]):
        return None
    both = first | {differing[0]: first[differing[0]] | second[differing[0]]}
    return Event(Times(**both), one.timezone, one.lines + other.lines)
