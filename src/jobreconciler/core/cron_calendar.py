"""Wall-clock arithmetic of one expression: which readings match, next, previous, how many.

Knows nothing of time zones. croniter says what the items of a field mean (`expand`, on the plain
spelling that cron_fields hands it); stepping is done here on bit sets, since croniter's own takes
up to seconds for rare dates, and cannot count. A reading (`wall`) is whole seconds since
1970-01-01 00:00 on the clock's face.
"""

from __future__ import annotations

from datetime import date
from functools import lru_cache
from typing import Final

from jobreconciler.core.cron_fields import LAST, MONTH_LENGTHS, Expression, Field

DAY: Final = 86_400
_EPOCH_DAY: Final = date(1970, 1, 1).toordinal()
_LAST_YEAR: Final = 9999
_LAST_DAY: Final = date(_LAST_YEAR, 12, 31).toordinal() - _EPOCH_DAY
_ALL_WEEKDAYS: Final = 127
_WEEKS: Final = sum(1 << 7 * n for n in range(5))
_MOST_MONTHS: Final = 1024
_TEMPLATES: Final = (
    "* * * * * {}",
    "{} * * * *",
    "* {} * * *",
    "* * {} * *",
    "* * * {} *",
    "* * * * {}",
)
_RANGES: Final = ((0, 59), (0, 59), (0, 23), (1, 31), (1, 12), (0, 6))
_SECOND, _MINUTE, _HOUR, _DAY, _MONTH, _WEEKDAY = range(6)


class Calendar:
    """The readings that match one expression. Immutable but for what it remembers of months."""

    __slots__ = (
        "_both",
        "_day_minutes",
        "_days",
        "_first_time",
        "_hours",
        "_last",
        "_last_time",
        "_masks",
        "_minutes",
        "_months",
        "_nth",
        "_per_day",
        "_seconds",
        "_weekdays",
        "_years",
    )

    def __init__(self, expression: Expression) -> None:
        self._seconds = _bits(_SECOND, expression.second.plain)
        self._minutes = _bits(_MINUTE, expression.minute.plain)
        self._hours = _bits(_HOUR, expression.hour.plain)
        self._days = _bits(_DAY, expression.day.plain)
        self._months = _bits(_MONTH, expression.month.plain)
        self._weekdays = _bits(_WEEKDAY, expression.weekday.plain)
        self._last = expression.day.last
        self._nth = _ordinals(expression.weekday)
        self._both = expression.both_days
        self._per_day = (
            self._hours.bit_count() * self._minutes.bit_count() * self._seconds.bit_count()
        )
        self._first_time = _first(self._hours) * 3600 + self._first_in_hour()
        self._last_time = _last(self._hours) * 3600 + _last(self._minutes) * 60
        self._last_time += _last(self._seconds)
        self._masks: dict[int, int] = {}
        self._years: dict[int, int] = {}
        self._day_minutes = -1

    @property
    def every_hour(self) -> bool:
        return self._hours.bit_count() == 24

    def next(self, wall: int) -> int | None:
        """The first match at or after `wall`; None past the year 9999."""
        day, second = divmod(wall, DAY)
        if day > _LAST_DAY:
            return None
        on = date.fromordinal(day + _EPOCH_DAY)
        mask = self._mask(on.year, on.month)
        if mask >> on.day & 1:
            time = self._time_from(second)
            if time >= 0:
                return day * DAY + time
        rest = mask >> on.day + 1
        if rest:
            return (day + 1 + _first(rest)) * DAY + self._first_time
        year, month = on.year, on.month
        while True:
            month += 1
            if month > 12:
                year, month = year + 1, 1
                if year > _LAST_YEAR:
                    return None
            if self._months >> month & 1 and (mask := self._mask(year, month)):
                day = date(year, month, 1).toordinal() - _EPOCH_DAY - 1 + _first(mask)
                return day * DAY + self._first_time

    def previous(self, wall: int) -> int | None:
        """The last match at or before `wall`; None before the year 1."""
        day, second = divmod(wall, DAY)
        if day + _EPOCH_DAY < 1:
            return None
        on = date.fromordinal(day + _EPOCH_DAY)
        mask = self._mask(on.year, on.month)
        if mask >> on.day & 1:
            time = self._time_up_to(second)
            if time >= 0:
                return day * DAY + time
        rest = mask & (1 << on.day) - 1
        if rest:
            return (day - on.day + rest.bit_length() - 1) * DAY + self._last_time
        year, month = on.year, on.month
        while True:
            month -= 1
            if month < 1:
                year, month = year - 1, 12
                if year < 1:
                    return None
            if self._months >> month & 1 and (mask := self._mask(year, month)):
                day = date(year, month, 1).toordinal() - _EPOCH_DAY + mask.bit_length() - 2
                return day * DAY + self._last_time

    def count(self, low: int, high: int) -> int:
        """How many match in [low, high); negative, as of an integral, where high < low."""
        if high < low:
            return -self.count(high, low)
        day_low, second_low = divmod(low, DAY)
        day_high, second_high = divmod(high, DAY)
        total = self._count_days(day_low, day_high) * self._per_day
        if second_low and self._matches(day_low):
            total -= self._times_before(second_low)
        if second_high and self._matches(day_high):
            total += self._times_before(second_high)
        return total

    def minutes(self, low: int, high: int) -> int:
        """Minutes in [low, high) with a match, bit n being the nth minute after low's own."""
        if self._day_minutes < 0:
            self._day_minutes = sum(
                self._minutes << hour * 60 for hour in range(24) if self._hours >> hour & 1
            )
        first_minute, end_minute = low // 60, -(-high // 60)
        found = 0
        for day in range(low // DAY, -(-high // DAY)):
            if self._matches(day):
                shift = day * 1440 - first_minute
                found |= self._day_minutes << shift if shift >= 0 else self._day_minutes >> -shift
        return found & (1 << max(0, end_minute - first_minute)) - 1

    def _matches(self, day: int) -> bool:
        on = date.fromordinal(day + _EPOCH_DAY)
        return bool(self._mask(on.year, on.month) >> on.day & 1)

    def _mask(self, year: int, month: int) -> int:
        """The matching days of a month, as bits 1 to 31."""
        key = year << 4 | month
        mask = self._masks.get(key)
        if mask is None:
            mask = self._read_month(year, month) if self._months >> month & 1 else 0
            if len(self._masks) >= _MOST_MONTHS:
                self._masks.clear()
            self._masks[key] = mask
        return mask

    def _read_month(self, year: int, month: int) -> int:
        length = MONTH_LENGTHS[month][-1 if _is_leap(year) else 0]
        whole = (2 << length) - 2
        days = self._days & whole | (self._last << length)
        if self._both and self._weekdays == _ALL_WEEKDAYS:
            return days
        first_weekday = date(year, month, 1).toordinal() % 7
        weekdays = 0
        for weekday in range(7):
            if self._weekdays >> weekday & 1:
                weekdays |= _WEEKS << 1 + (weekday - first_weekday) % 7
        for weekday, n in self._nth:
            first = 1 + (weekday - first_weekday) % 7
            weekdays |= 1 << first + 7 * ((length - first) // 7 if n == LAST else n - 1)
        weekdays &= whole
        return days & weekdays if self._both else days | weekdays

    def _count_days(self, low: int, high: int) -> int:
        """Matching days in [low, high), a year at a time: bounded by the years, not the days."""
        if high <= low:
            return 0
        start, end = date.fromordinal(low + _EPOCH_DAY), date.fromordinal(high + _EPOCH_DAY)
        if start.year == end.year and start.month == end.month:
            days = (1 << end.day) - (1 << start.day)
            return (self._mask(start.year, start.month) & days).bit_count()
        total = self._days_before(end) - self._days_before(start)
        return total + sum(self._count_year(year) for year in range(start.year, end.year))

    def _days_before(self, on: date) -> int:
        """Matching days of this year before a day."""
        total = sum(self._mask(on.year, month).bit_count() for month in range(1, on.month))
        return total + (self._mask(on.year, on.month) & (1 << on.day) - 1).bit_count()

    def _count_year(self, year: int) -> int:
        key = (date(year, 1, 1).toordinal() % 7 << 1) + _is_leap(year)
        total = self._years.get(key)
        if total is None:
            total = sum(self._mask(year, month).bit_count() for month in range(1, 13))
            self._years[key] = total
        return total

    def _time_from(self, second: int) -> int:
        """The first matching time of day at or after `second`, -1 if there is none."""
        minute, second = divmod(second, 60)
        hour, minute = divmod(minute, 60)
        if self._hours >> hour & 1:
            if self._minutes >> minute & 1:
                rest = self._seconds >> second
                if rest:
                    return hour * 3600 + minute * 60 + second + _first(rest)
            rest = self._minutes >> minute + 1
            if rest:
                minute += 1 + _first(rest)
                return hour * 3600 + minute * 60 + _first(self._seconds)
        rest = self._hours >> hour + 1
        if rest:
            return (hour + 1 + _first(rest)) * 3600 + self._first_in_hour()
        return -1

    def _time_up_to(self, second: int) -> int:
        """The last matching time of day at or before `second`, -1 if there is none."""
        minute, second = divmod(second, 60)
        hour, minute = divmod(minute, 60)
        last_second = self._seconds.bit_length() - 1
        if self._hours >> hour & 1:
            if self._minutes >> minute & 1:
                rest = self._seconds & (2 << second) - 1
                if rest:
                    return hour * 3600 + minute * 60 + rest.bit_length() - 1
            rest = self._minutes & (1 << minute) - 1
            if rest:
                return hour * 3600 + (rest.bit_length() - 1) * 60 + last_second
        rest = self._hours & (1 << hour) - 1
        if rest:
            last_minute = self._minutes.bit_length() - 1
            return (rest.bit_length() - 1) * 3600 + last_minute * 60 + last_second
        return -1

    def _times_before(self, second: int) -> int:
        minute, second = divmod(second, 60)
        hour, minute = divmod(minute, 60)
        seconds = self._seconds.bit_count()
        hours = (self._hours & (1 << hour) - 1).bit_count()
        total = hours * self._minutes.bit_count() * seconds
        if self._hours >> hour & 1:
            total += (self._minutes & (1 << minute) - 1).bit_count() * seconds
            if self._minutes >> minute & 1:
                total += (self._seconds & (1 << second) - 1).bit_count()
        return total

    def _first_in_hour(self) -> int:
        return _first(self._minutes) * 60 + _first(self._seconds)


@lru_cache(maxsize=8192)
def calendar_of(expression: Expression) -> Calendar:
    """One calendar for all schedules that say the same. Imports croniter if nobody has yet."""
    return Calendar(expression)


def _first(bits: int) -> int:
    return (bits & -bits).bit_length() - 1


def _last(bits: int) -> int:
    return bits.bit_length() - 1


@lru_cache(maxsize=8192)
def _bits(kind: int, plain: str) -> int:
    """The values of a field; all of them, and single ones, need nobody to expand them."""
    low, high = _RANGES[kind]
    bits = 0
    for item in plain.split(",") if plain else ():
        if item.isdigit():
            bits |= 1 << int(item)
        elif item == f"{low}-{high}/1":
            bits |= (2 << high) - (1 << low)
        else:
            bits |= _expanded(kind, item)
    return bits


@lru_cache(maxsize=8192)
def _expanded(kind: int, item: str) -> int:
    """What croniter reads in one item of a field, as bits; `l` has none, as it has no fixed day.

    By item rather than by field, since a fleet's fields are made of few items.
    """
    from croniter import croniter

    fields, _ = croniter.expand(_TEMPLATES[kind].format(item))
    return sum(1 << value for value in fields[kind - 1] if isinstance(value, int))


def _ordinals(weekday: Field) -> tuple[tuple[int, int], ...]:
    """`5L` and `1#2` as croniter reads them: (weekday, ordinal), LAST for `l`."""
    if not weekday.special:
        return ()
    from croniter import croniter

    _, found = croniter.expand(_TEMPLATES[_WEEKDAY].format(weekday.special))
    return tuple(
        sorted(
            (int(day), LAST if str(n) == "l" else int(n)) for day, ns in found.items() for n in ns
        )
    )


def _is_leap(year: int) -> bool:
    """As calendar.isleap, whose module takes milliseconds to import."""
    return year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
