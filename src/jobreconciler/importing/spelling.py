"""Sets of minutes, hours and days spelled as an expression of our own dialect, or not at all.

What comes out means exactly the sets that went in, or is None: a schedule is never rounded.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from itertools import pairwise
from typing import Final, NamedTuple

from jobreconciler.core.cron_fields import MONTH_LENGTHS, WEEKDAY_NAMES

Values = frozenset[int]

SIXTY: Final = frozenset(range(60))
HOURS: Final = frozenset(range(24))
DAYS: Final = frozenset(range(1, 32))
MONTHS: Final = frozenset(range(1, 13))
WEEKDAYS: Final = frozenset(range(7))

_LAST_WEEK: Final = frozenset(range(1, 8))


class Times(NamedTuple):
    """When something runs. `both`: day and weekday must match, else one of them is enough.

    `last_days` instead of `days` count from the month's end, 1 being its last day.
    """

    minutes: Values
    hours: Values
    days: Values = DAYS
    months: Values = MONTHS
    weekdays: Values = WEEKDAYS
    seconds: Values = frozenset({0})
    last_days: Values | None = None
    both: bool = True


def spell(times: Times) -> str | None:
    """The expression that means exactly this, or None where our dialect has none."""
    days = _spell_days(times)
    if days is None:
        return None
    seconds = [] if times.seconds == {0} else [spell_field(times.seconds, SIXTY)]
    return " ".join(
        [
            *seconds,
            spell_field(times.minutes, SIXTY),
            spell_field(times.hours, HOURS),
            days[0],
            spell_field(times.months, MONTHS),
            days[1],
        ]
    )


def spell_field(values: Values, whole: Values) -> str:
    """`*`, `*/15`, `8-18/2`, `1-5,9`: the shortest of the plain forms."""
    return starred(values, whole, exact=True) or unstarred(values)


def starred(values: Values, whole: Values, *, exact: bool) -> str | None:
    """A field that begins with `*` and means these values; a pure `*/n` where `exact`."""
    low, high = min(whole), max(whole)
    for step in range(1, high - low + 1):
        steps = frozenset(range(low, high + 1, step))
        if steps == values:
            return "*" if step == 1 else f"*/{step}"
        if not exact and steps < values:
            return f"*/{step},{unstarred(values - steps)}"
    return None


def unstarred(values: Collection[int]) -> str:
    """Ranges, steps and single values, without a `*`."""
    ordered = sorted(values)
    steps = {later - earlier for earlier, later in pairwise(ordered)}
    if len(ordered) > 2 and len(steps) == 1 and steps != {1}:
        return f"{ordered[0]}-{ordered[-1]}/{steps.pop()}"
    return ",".join(_ranges(ordered))


def _ranges(ordered: list[int]) -> Iterator[str]:
    at = 0
    while at < len(ordered):
        end = at
        while end + 1 < len(ordered) and ordered[end + 1] == ordered[end] + 1:
            end += 1
        if end - at < 2:
            end = at
            yield str(ordered[at])
        else:
            yield f"{ordered[at]}-{ordered[end]}"
        at = end + 1


# ----------------------------------------------------------------------------------------- days


def _spell_days(times: Times) -> tuple[str, str] | None:
    """The fields day-of-month and day-of-week."""
    if times.last_days is not None:
        return _last_days(times, times.last_days)
    days, weekdays = times.days, times.weekdays
    if not times.both:
        return _either(days, weekdays, times.months)
    if weekdays == WEEKDAYS:
        return spell_field(days, DAYS), "*"
    if days == DAYS:
        return "*", spell_field(weekdays, WEEKDAYS)
    return _both(days, weekdays)


def _either(days: Values, weekdays: Values, months: Values) -> tuple[str, str]:
    """Day OR weekday: neither field may begin with `*`. Days that never come add nothing."""
    longest = max(length for month in months for length in MONTH_LENGTHS[month])
    days = frozenset(day for day in days if day <= longest)
    if days == DAYS or weekdays == WEEKDAYS:
        return "*", "*"
    if not days:
        return "*", spell_field(weekdays, WEEKDAYS)
    return unstarred(days), unstarred(weekdays)


def _both(days: Values, weekdays: Values) -> tuple[str, str] | None:
    """Day AND weekday, both restricted: whole weeks are `1#2`; else one must begin with `*`."""
    weeks = _weeks(days)
    if weeks is not None:
        return "*", _listed(weekdays, weeks)
    for exact in (True, False):
        day = starred(days, DAYS, exact=exact)
        if day is not None:
            return day, unstarred(weekdays)
        weekday = starred(weekdays, WEEKDAYS, exact=exact)
        if weekday is not None:
            return unstarred(days), weekday
    return None


def _weeks(days: Values) -> list[int] | None:
    """[1] for days 1 to 7, [5] for 29 to 31 and so on; None where they are no whole weeks."""
    blocks = {n: frozenset(range(7 * n - 6, min(7 * n, 31) + 1)) for n in range(1, 6)}
    weeks = [n for n, block in blocks.items() if block <= days]
    covered = frozenset[int]().union(*(blocks[n] for n in weeks))
    return weeks if covered == days else None


def _listed(weekdays: Values, weeks: list[int]) -> str:
    return ",".join(f"{day}#{week}" for day in sorted(weekdays) for week in weeks)


def _last_days(times: Times, offsets: Values) -> tuple[str, str] | None:
    if offsets == _LAST_WEEK and times.weekdays != WEEKDAYS:
        return "*", ",".join(f"{day}L" for day in sorted(times.weekdays))
    if offsets == {1} and times.weekdays == WEEKDAYS:
        return "L", "*"
    lengths = {length for month in times.months for length in MONTH_LENGTHS[month]}
    if len(lengths) != 1:
        return None
    length = lengths.pop()
    days = frozenset(length + 1 - offset for offset in offsets if offset <= length)
    return _spell_days(times._replace(days=days, last_days=None)) if days else None


# ---------------------------------------------------------------------------------------- words


def weekday_number(word: str) -> int | None:
    """0 for Sunday; of `mon` and `Monday` alike."""
    lower = word.lower()
    short = lower[:3]
    if short not in WEEKDAY_NAMES:
        return None
    number = WEEKDAY_NAMES.index(short)
    full = ("sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday")[number]
    return number if lower in (short, full) else None
