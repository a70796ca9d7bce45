"""A schedule in words, for people who read a job card or a plan."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Final

from jobreconciler.core.cron_fields import Expression, Field

MONTHS: Final = (
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
)
WEEKDAYS: Final = ("Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday")
ORDINALS: Final = ("last", "first", "second", "third", "fourth", "fifth")
_MOST_TIMES: Final = 6


def in_words(expression: Expression) -> str:
    """ "every 15 minutes", "every day at 02:00", "at 02:00 on Mondays in January"."""
    days, months = _days(expression), _months(expression.month)
    when = " ".join(part for part in (days, months) if part)
    times = _times(expression)
    if times.startswith("at ") and not days:
        return " ".join(part for part in ("every day", times, months) if part)
    return " ".join(part for part in (times, when) if part)


def _times(expression: Expression) -> str:
    seconds = _values(expression.second)
    if len(seconds) == 1:
        clock = _clock(expression.minute, expression.hour, seconds[0])
        if not seconds[0] or clock.startswith("at "):
            return clock
        inner = f"at second {seconds[0]}"
        return f"{clock} {inner}" if clock == "every minute" else f"{clock}, {inner}"
    clock = _clock(expression.minute, expression.hour)
    if len(seconds) == 60:
        inner = "every second"
    elif step := _even_step(expression.second, 60):
        inner = f"every {step} seconds"
    else:
        inner = f"seconds {_listed(_ranges(seconds, str))} of each minute"
    return inner if clock == "every minute" else f"{inner}, {clock}"


def _clock(minute: Field, hour: Field, second: int = 0) -> str:
    minutes, hours = _values(minute), _values(hour)
    if len(hours) == 24:
        return _within_hours(minute, minutes)
    if len(minutes) * len(hours) <= _MOST_TIMES and not minute.starred and not hour.starred:
        ending = f":{second:02}" if second else ""
        return "at " + _listed([f"{h:02}:{m:02}{ending}" for h in hours for m in minutes])
    if len(minutes) == 1 and len(hour.spans) == 1 and (step := hour.spans[0][2]) > 1:
        past = f":{minutes[0]:02}"
        if _even_step(hour, 24):
            return f"every {step} hours{f' at {past}' if minutes[0] else ''}"
        return f"every {step} hours from {hours[0]:02}{past} to {hours[-1]:02}{past}"
    inner = "every hour" if minutes == [0] else _within_hours(minute, minutes)
    return f"{inner} from {_listed(_hour_spans(hours, minutes[-1]))}"


def _within_hours(minute: Field, minutes: Sequence[int]) -> str:
    if len(minutes) == 60:
        return "every minute"
    if minutes == [0]:
        return "every hour"
    if step := _even_step(minute, 60):
        return f"every {step} minutes"
    if len(minutes) > _MOST_TIMES and len(minute.spans) == 1:
        low, high, step = minute.spans[0]
        each = "every minute" if step == 1 else f"every {step} minutes"
        return f"{each} from :{low:02} to :{high:02} of every hour"
    return "every hour at " + _listed([f":{m:02}" for m in minutes])


def _hour_spans(hours: Sequence[int], last_minute: int) -> list[str]:
    return _ranges(
        hours,
        lambda hour: f"{hour:02}:00",
        lambda hour: f"{hour:02}:{last_minute:02}",
        shortest=1 if last_minute else 2,
    )


def _days(expression: Expression) -> str:
    day, weekday = expression.day, expression.weekday
    dates, names = _dates(day), _weekdays(weekday)
    if dates and names:
        return f"on {dates}, {names} only" if expression.both_days else f"on {dates} and on {names}"
    return f"on {dates or names}" if dates or names else ""


def _dates(day: Field) -> str:
    values = _values(day)
    if len(values) == 31:
        return ""
    if day.starred and len(day.spans) == 1 and not day.last:
        step = day.spans[0][2]
        return f"every {_nth_word(step)} day of the month from the 1st"
    parts = []
    if values:
        parts.append(f"day{'s' if len(values) > 1 else ''} {_listed(_ranges(values, str))}")
    if day.last:
        parts.append("the last day")
    return f"{_listed(parts)} of the month"


def _weekdays(weekday: Field) -> str:
    values = _values(weekday)
    if len(values) == 7:
        return ""
    if values == [0, 6] and not weekday.nth:
        return "Saturdays and Sundays"
    plain = _ranges(
        [value or 7 for value in values] if 0 in values and 6 in values else values,
        lambda value: f"{WEEKDAYS[value % 7]}s",
    )
    ordinals = [f"the {ORDINALS[n]} {WEEKDAYS[d]} of the month" for d, n in weekday.nth]
    return _listed([*plain, *ordinals])


def _months(month: Field) -> str:
    values = _values(month)
    if len(values) == 12:
        return ""
    return "in " + _listed(_ranges(values, lambda value: MONTHS[value - 1]))


def _values(field: Field) -> list[int]:
    return sorted(
        {value for low, high, step in field.spans for value in range(low, high + 1, step)}
    )


def _even_step(field: Field, whole: int) -> int:
    """The step where the values are evenly spaced all the way round, else 0."""
    values = _values(field)
    if len(values) < 2 or whole % len(values):
        return 0
    step = whole // len(values)
    return step if values == list(range(0, whole, step)) else 0


def _ranges(
    values: Iterable[int],
    first: Callable[[int], str],
    last: Callable[[int], str] | None = None,
    *,
    shortest: int = 3,
) -> list[str]:
    """Runs of at least `shortest` neighbours as "a to b", the others one by one."""
    runs: list[list[int]] = []
    for value in sorted(values):
        if runs and value == runs[-1][-1] + 1:
            runs[-1].append(value)
        else:
            runs.append([value])
    shown: list[str] = []
    for run in runs:
        if len(run) >= shortest:
            shown.append(f"{first(run[0])} to {(last or first)(run[-1])}")
        else:
            shown += [first(value) for value in run]
    return shown


def _listed(parts: Sequence[str]) -> str:
    return " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)


def _nth_word(n: int) -> str:
    ending = "th" if 10 <= n % 100 <= 20 else {1: "st", 2: "nd", 3: "rd"}.get(n % 10, "th")
    return f"{n}{ending}"
