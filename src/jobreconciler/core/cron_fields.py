"""The cron dialect: what an expression may say, and a reason and a hint for all it may not.

Only text is read here. Nothing is expanded and croniter is not imported, so that checking ten
thousand job files stays cheap: croniter's import costs 65 ms, one expansion of its 0.2 ms.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final, NamedTuple

from jobreconciler.core.cron_refusals import (
    InvalidSchedule,
    Kind,
    never_fires,
    refused,
    shown,
    unreadable_item,
    wrapped_range,
    wrong_count,
)

MAX_LENGTH: Final = 256
LAST: Final = 0
"""Stands for "the last one of the month" where an ordinal 1 to 5 could stand."""

MONTH_NAMES = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
WEEKDAY_NAMES = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
MONTH_LENGTHS: Final[tuple[tuple[int, ...], ...]] = (
    (),
    *((31,), (28, 29), (31,), (30,), (31,), (30,)),
    *((31,), (31,), (30,), (31,), (30,), (31,)),
)
"""The lengths that a month, counted from 1, can have."""

MACROS = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}


class Field(NamedTuple):
    """One field as read. `spans` are (low, high, step), Sunday is always 0.

    `last` is `L` in day-of-month; `nth` are (weekday, ordinal) with LAST for `5L`. `plain` and
    `special` are the same content in the one spelling that croniter reads without surprises.
    """

    starred: bool
    spans: tuple[tuple[int, int, int], ...]
    last: bool
    nth: tuple[tuple[int, int], ...]
    plain: str
    special: str


class Expression(NamedTuple):
    """The six fields, seconds first. `both_days`: day-of-month AND day-of-week must match."""

    second: Field
    minute: Field
    hour: Field
    day: Field
    month: Field
    weekday: Field
    both_days: bool
    wildcard: bool


_KINDS: Final = (
    Kind("second", 0, 59, 59, {}),
    Kind("minute", 0, 59, 59, {}),
    Kind("hour", 0, 23, 23, {}),
    Kind("day-of-month", 1, 31, 31, {}),
    Kind("month", 1, 12, 12, {name: n for n, name in enumerate(MONTH_NAMES, 1)}),
    Kind("day-of-week", 0, 7, 6, {name: n for n, name in enumerate(WEEKDAY_NAMES)}),
)
_DAY, _WEEKDAY = 3, 5

_TEXT = re.compile(r"[\t -~]*")
_ITEM = re.compile(r"(?:(\*)|([0-9]+|[a-z]+)(?:-([0-9]+|[a-z]+))?)(?:/([0-9]+))?", re.I)
_NTH = re.compile(r"([0-9]|[a-z]{3})(?:#([0-9]+)|l)", re.I)


def read(expression: str) -> Expression:
    """Read an expression strictly. Raises InvalidSchedule with reason, hint and column."""
    if len(expression) > MAX_LENGTH:
        raise refused(
            "TooLong",
            f"the expression has {len(expression)} characters, {MAX_LENGTH} are allowed",
            "Use ranges and steps instead of long lists, or two jobs.",
        )
    text = _TEXT.match(expression)
    if text is None or text.end() != len(expression):
        at = text.end() if text else 0
        raise refused(
            "BadCharacter",
            f"the character {expression[at]!a} cannot be part of a cron expression",
            "Fields are separated by plain spaces.",
            at + 1,
        )
    parts = expression.split()
    if parts and parts[0].startswith("@"):
        return _assemble(["0", *_macro(" ".join(parts)).split()], "")
    if len(parts) == 5:
        parts.insert(0, "0")
    elif len(parts) != 6:
        raise wrong_count(parts)
    return _assemble(parts, expression)


def _assemble(parts: list[str], expression: str) -> Expression:
    fields = []
    for kind, part in enumerate(parts):
        try:
            fields.append(_read_field(kind, part))
        except InvalidSchedule as problem:
            problem.column += _column(expression, kind) - 1
            raise
    second, minute, hour, day, month, weekday = fields
    read_as = Expression(
        second,
        minute,
        hour,
        day,
        month,
        weekday,
        day.starred or weekday.starred,
        minute.starred or hour.starred,
    )
    if not _day_comes(read_as):
        raise never_fires(
            read_as.both_days, bool(read_as.weekday.nth), parts, _column(expression, _DAY)
        )
    return read_as


def _column(expression: str, kind: int) -> int:
    starts = [found.start() + 1 for found in re.finditer(r"\S+", expression)]
    return starts[kind - (6 - len(starts))] if len(starts) in (5, 6) else 1


def _macro(word: str) -> str:
    fields = MACROS.get(word.lower())
    if fields is not None:
        return fields
    if word.lower() == "@reboot":
        raise refused(
            "Reboot",
            "@reboot is refused: a job here belongs to the fleet, not to one machine's start",
            "Give a schedule, or start the job by hand or by webhook.",
            1,
        )
    raise refused(
        "UnknownMacro",
        f"{shown(word)} is not a schedule",
        f"Use {', '.join(MACROS)}, or five fields.",
        1,
    )


@lru_cache(maxsize=8192)
def _read_field(kind: int, text: str) -> Field:
    spans: list[tuple[int, int, int]] = []
    nth: list[tuple[int, int]] = []
    last = False
    offset = 1
    for item in text.split(","):
        try:
            if kind == _DAY and item in ("L", "l"):
                last = True
            elif kind == _WEEKDAY and (found := _NTH.fullmatch(item)):
                nth.append(_read_nth(found))
            else:
                spans += _read_item(kind, item)
        except InvalidSchedule as problem:
            problem.column = offset
            raise
        offset += len(item) + 1
    plain = ",".join([*map(_spelled, spans), *(["l"] if last else [])])
    special = ",".join(f"l{day}" if n == LAST else f"{day}#{n}" for day, n in nth)
    return Field(text.startswith("*"), tuple(spans), last, tuple(nth), plain, special)


def _spelled(span: tuple[int, int, int]) -> str:
    low, high, step = span
    return str(low) if low == high else f"{low}-{high}/{step}"


def _read_nth(found: re.Match[str]) -> tuple[int, int]:
    day = _value(_KINDS[_WEEKDAY], found[1]) % 7
    if found[2] is None:
        return day, LAST
    if not 1 <= int(found[2]) <= 5:
        raise refused(
            "OutOfRange",
            f"day-of-week: {shown(found[0])} asks for weekday number {found[2]} of a month,"
            " which has 1 to 5",
            f"Write {found[1]}#1 to {found[1]}#5, or {found[1]}L for the last one.",
        )
    return day, int(found[2])


@lru_cache(maxsize=8192)
def _read_item(which: int, item: str) -> tuple[tuple[int, int, int], ...]:
    """One item of a list as (low, high, step); two of them where a range ends in 7, Sunday."""
    kind = _KINDS[which]
    found = _ITEM.fullmatch(item)
    if found is None:
        raise unreadable_item(kind, item)
    star, first, second, step_text = found.groups()
    step = int(step_text) if step_text else 1
    if step == 0:
        raise refused("BadStep", f"{kind.name}: {shown(item)} has step 0", "A step is 1 or more.")
    if star:
        low, high = kind.low, kind.star_high
    else:
        low = _value(kind, first, item)
        high = low if second is None else _value(kind, second, item)
        if step_text and second is None:
            raise refused(
                "BareStep",
                f"{kind.name}: {shown(item)} has a step but no range",
                f"Write {first}-{kind.star_high}/{step_text}, or */{step_text} for all of them.",
            )
        if low > high:
            raise wrapped_range(kind, item, low, high)
    if step > max(high - low, 1):
        raise refused(
            "StepTooLong",
            f"{kind.name}: the step of {shown(item)} is longer than its range {low}-{high},"
            f" so only {low} would ever match",
            f"Write {low} if that is meant; a step starts anew at each range's start.",
        )
    return _split_at_sunday(low, step) if high == 7 and which == _WEEKDAY else ((low, high, step),)


def _split_at_sunday(low: int, step: int) -> tuple[tuple[int, int, int], ...]:
    """A range from `low` to 7 with that 7 as 0."""
    sunday = ((0, 0, 1),) if (7 - low) % step == 0 else ()
    return sunday if low == 7 else ((low, 6, step), *sunday)


def _value(kind: Kind, text: str, item: str = "") -> int:
    if not text.isdigit():
        named = kind.names.get(text.lower())
        if named is None:
            raise unreadable_item(kind, item or text)
        return named
    value = int(text)
    if kind.low <= value <= kind.high:
        return value
    hint = f"Write a number from {kind.low} to {kind.high}."
    if kind.name == "day-of-week" and 1970 <= value <= 9999:
        hint = "A year field is not supported; with six fields the first one is seconds."
    raise refused(
        "OutOfRange", f"{kind.name}: {shown(text)} is not in {kind.low}-{kind.high}", hint
    )


def _day_comes(read_as: Expression) -> bool:
    """Whether the day fields can come true. An OR with one dead half counts as no, too:

    `0 0 31 2 1` would fire on Mondays in February, which hardly anyone means.
    """
    day, weekday = read_as.day, read_as.weekday
    ordinal_only = read_as.both_days and bool(weekday.nth) and not weekday.spans
    if not ordinal_only and (day.last or day.spans[0][0] <= 29):
        return True
    return any(
        not ordinal_only or any(_is_nth(d, n, length) for _, n in weekday.nth)
        for low, high, step in read_as.month.spans
        for month in range(low, high + 1, step)
        for length in MONTH_LENGTHS[month]
        for d in _days(day, length)
    )


def _days(day: Field, length: int) -> list[int]:
    listed = [d for low, high, step in day.spans for d in range(low, min(high, length) + 1, step)]
    return [*listed, length] if day.last else listed


def _is_nth(day: int, n: int, length: int) -> bool:
    """Whether `day` can be the nth of some weekday: every weekday falls on it in some year."""
    return day > length - 7 if n == LAST else (day + 6) // 7 == n
