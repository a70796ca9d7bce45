"""Why an expression is refused: one reason, one sentence and one hint for each mistake."""

from __future__ import annotations

import re
from typing import NamedTuple

from jobreconciler.errors import Invalid

_RANDOM = re.compile(r"[hr](\([^)]*\))?(/.*)?", re.I)


class InvalidSchedule(Invalid):
    """A cron expression or a time zone that is refused.

    `reason` is one CamelCase word, `column` counts from 1 within the expression; 0 means the
    expression as a whole, or, with reason `UnknownTimezone`, the time zone.
    """

    reason = "InvalidSchedule"

    def __init__(
        self, message: str, *, reason: str | None = None, hint: str = "", column: int = 0
    ) -> None:
        super().__init__(message, reason=reason, hint=hint)
        self.column = column


class Kind(NamedTuple):
    """One of the six fields: its name, its values, and what `*` stands for."""

    name: str
    low: int
    high: int
    star_high: int
    names: dict[str, int]


def wrong_count(parts: list[str]) -> InvalidSchedule:
    if not parts:
        return refused(
            "FieldCount", "the expression is empty", "Example: 0 2 * * * is daily at 02:00.", 1
        )
    if len(parts) == 7:
        return refused(
            "Years",
            "seven fields: a year field is not supported",
            "Remove the year; disable or delete the job when it is no longer wanted.",
        )
    return refused(
        "FieldCount",
        f"{len(parts)} fields, expected 5 (minute hour day-of-month month day-of-week)"
        " or 6 with seconds first",
        "Example: 0 2 * * 1 is 02:00 on Mondays.",
    )


def wrapped_range(kind: Kind, item: str, low: int, high: int) -> InvalidSchedule:
    if kind.name == "day-of-week":
        tail = "" if high == 0 else ",1" if high == 1 else f",1-{high}"
        split = f"{low}-7{tail}"
    else:
        head = str(low) if low == kind.high else f"{low}-{kind.high}"
        split = f"{head},{kind.low}" if high == kind.low else f"{head},{kind.low}-{high}"
    return refused(
        "WrappedRange",
        f"{kind.name}: the range {shown(item)} runs backwards",
        f"Write {split} if it is meant to wrap around.",
    )


def unreadable_item(kind: Kind, item: str) -> InvalidSchedule:
    """Say why an item that is not of the plain shapes is refused; the general case comes last."""
    where = f"{kind.name}: {shown(item)}"
    lower = item.lower()
    if item == "":
        return refused(
            "BadValue", f"{kind.name}: an empty item in the list", "Remove the extra comma."
        )
    if _RANDOM.fullmatch(item):
        return refused(
            "Random",
            f"{where} would pick a hashed or random time",
            "Write the time; schedule.jitterSeconds spreads starts by a stable hash.",
        )
    if "?" in item:
        return refused("QuestionMark", f"{where}: ? is not supported", "Write * instead.")
    if kind.name == "day-of-month" and "w" in lower:
        return refused(
            "NearestWeekday",
            f"{where}: W, the nearest weekday, is not supported",
            "Choose a day, or a weekday such as 1#1 for the first Monday.",
        )
    if "l" in lower and kind.name in ("day-of-month", "day-of-week"):
        return refused(
            "BadLast",
            f"{where} is not a form of L",
            "L alone is the last day of the month; in day-of-week 5L is the last Friday.",
        )
    if "#" in item:
        return refused(
            "BadNth",
            f"{where} is not a weekday and its number",
            "In day-of-week 1#2 is the second Monday; list several: 1#2,2#2.",
        )
    if item.startswith("-"):
        return refused("BadValue", f"{where} is negative", f"Use {kind.low} to {kind.high}.")
    names = f" or a name such as {next(iter(kind.names))}" if kind.names else ""
    return refused(
        "BadValue",
        f"{where} is not a value, a range, a list or a step",
        f"Use {kind.low} to {kind.high}{names}: for example *, */5, 1-5, 1,3 or 0-30/10."
        if kind.high > 30
        else f"Use {kind.low} to {kind.high}{names}: for example *, */2, 1-5 or 1,3.",
    )


def never_fires(both: bool, nth: bool, parts: list[str], column: int) -> InvalidSchedule:
    """`both`: the two day fields must match together; `nth`: the weekday has an ordinal."""
    day, month, weekday = parts[3:]
    if both:
        return refused(
            "NeverFires",
            f"it never comes true: no such day (day-of-month {shown(day)}, month {shown(month)},"
            f" day-of-week {shown(weekday)})",
            "The days and the weekday never meet; change one of them."
            if nth
            else "Write L for the last day of a month.",
            column,
        )
    return refused(
        "NeverFires",
        f"day-of-month {shown(day)} never comes in month {shown(month)}, so only day-of-week"
        f" {shown(weekday)} would ever start it",
        "Write * for day-of-month if the weekday alone is meant, or L for the last day.",
        column,
    )


def shown(text: str) -> str:
    return f"'{text}'" if len(text) <= 40 else f"'{text[:37]}...'"


def refused(reason: str, message: str, hint: str, column: int = 0) -> InvalidSchedule:
    return InvalidSchedule(message, reason=reason, hint=hint, column=column)
