"""The five fields as other crons read them, and the same schedule in our own dialect.

Debian's cron (as crontabs are read) and robfig/cron (as Kubernetes reads `schedule`) differ from
ours in what they accept and in what counts as a `*`. An expression that means the same here is
kept as it was typed; another one is spelled anew; one that crons disagree about, or that some of
them refuse, is written as it was most likely meant, with its schedule off until a person looks.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

from jobreconciler.core.cron_fields import MONTH_NAMES, WEEKDAY_NAMES, Expression, Field, read
from jobreconciler.core.cron_refusals import InvalidSchedule
from jobreconciler.importing.spelling import (
    DAYS,
    HOURS,
    MONTHS,
    SIXTY,
    WEEKDAYS,
    Times,
    Values,
    spell,
    starred,
)

Dialect = Literal["debian", "robfig"]


class Part(NamedTuple):
    """One field: its values, whether it counts as a star, and what crons disagree about in it."""

    text: str
    values: Values
    star: bool
    doubts: tuple[str, ...] = ()


@dataclass(frozen=True)
class Translated:
    """`expression` None: there is none. Not `is_sure`: the schedule has to be looked at first.

    `remarks` are (what, why, hint) of all that differs.
    """

    expression: str | None
    is_sure: bool = True
    remarks: tuple[tuple[str, str, str], ...] = ()


class _Unreadable(Exception):
    """The field says nothing that this cron would take."""


class _Kind(NamedTuple):
    name: str
    whole: Values
    high: int
    names: tuple[str, ...] = ()
    first: int = 0


_KINDS: Final = (
    _Kind("minute", SIXTY, 59),
    _Kind("hour", HOURS, 23),
    _Kind("day-of-month", DAYS, 31),
    _Kind("month", MONTHS, 12, MONTH_NAMES, 1),
    _Kind("day-of-week", WEEKDAYS, 7, WEEKDAY_NAMES),
)
_ITEM = re.compile(
    r"(?:([*?])|([0-9]{1,4}|[a-z]+)(?:-([0-9]{1,4}|[a-z]+))?)(?:/([0-9]{1,4}))?", re.I
)


def translate(fields: Sequence[str], dialect: Dialect) -> Translated:
    """Five fields, minute first, in our dialect."""
    original = " ".join(fields)
    try:
        parts = [_part(kind, text, dialect) for kind, text in zip(_KINDS, fields, strict=True)]
    except _Unreadable as problem:
        return _not_theirs(original, str(problem))
    both = parts[2].star or parts[4].star
    minute, hour, day, month, weekday = (part.values for part in parts)
    wanted = Times(minute, hour, day, month, weekday, both=both)
    doubts = [doubt for part in parts for doubt in part.doubts]
    expression = _kept(original, wanted) if not doubts else None
    expression = expression or _respelled(parts, wanted)
    if expression is None:
        why = "cron wants the day and the weekday to match together, which has no spelling here"
        return Translated(None, remarks=((f"the schedule {original}", why, _SET_BY_HAND),))
    try:
        ours = read(expression)
    except InvalidSchedule as problem:
        remark = (f"the schedule {original}", problem.message, problem.hint.rstrip("."))
        return Translated(None, remarks=(remark,))
    remarks = [(f"the schedule {original}", doubt, _THEN_ON) for doubt in doubts]
    if dialect == "debian" and ours.wildcard != (parts[0].star or parts[1].star):
        remarks.append(
            (
                f"the schedule {original}",
                f"{expression} is a fixed time here, so a clock change is treated otherwise",
                "see daylight saving in docs/job-file.md",
            )
        )
    return Translated(expression, not doubts, tuple(remarks))


_SET_BY_HAND = "set payload.schedule by hand"
_THEN_ON = "check cronExpression, then remove schedule.isEnabled: false"


def _not_theirs(original: str, why: str) -> Translated:
    """Not in the source's dialect: kept with the schedule off where ours can read it."""
    what = f"the schedule {original}"
    try:
        read(original)
    except InvalidSchedule:
        return Translated(None, remarks=((what, why, _SET_BY_HAND),))
    return Translated(original, False, ((what, f"{why}; here it has a meaning", _THEN_ON),))


def _kept(original: str, wanted: Times) -> str | None:
    """The text as it was typed, where it means the same to us."""
    try:
        ours = read(original)
    except InvalidSchedule:
        return None
    return original if _means(ours, wanted) else None


def _means(ours: Expression, wanted: Times) -> bool:
    values = tuple(map(values_of, (ours.minute, ours.hour, ours.day, ours.month, ours.weekday)))
    if ours.day.last or ours.weekday.nth or values != wanted[:5]:
        return False
    every_day = wanted.days == DAYS and wanted.weekdays == WEEKDAYS
    return every_day or ours.both_days == wanted.both


def values_of(field: Field) -> Values:
    """The values of a field's ranges (its `L` and `#` left aside)."""
    return frozenset(
        value for low, high, step in field.spans for value in range(low, high + 1, step)
    )


def _respelled(parts: Sequence[Part], wanted: Times) -> str | None:
    """The sets in our dialect; minute and hour with a `*` where they had one."""
    spelled = spell(wanted)
    if spelled is None:
        return None
    fields = spelled.split()
    for number, whole in ((0, SIXTY), (1, HOURS)):
        if parts[number].star:
            fields[number] = starred(parts[number].values, whole, exact=True) or fields[number]
    return " ".join(fields)


# --------------------------------------------------------------------------------- one field


def _part(kind: _Kind, text: str, dialect: Dialect) -> Part:
    values: set[int] = set()
    star = dialect == "debian" and text.startswith("*")
    doubts: list[str] = []
    for item in text.split(","):
        found = _ITEM.fullmatch(item)
        if found is None or (found[1] == "?" and dialect == "debian"):
            raise _Unreadable(f"cron does not read {item[:40]!r} as a {kind.name}")
        some, is_star = _item(kind, found, dialect, doubts)
        values.update(value % 7 if kind.name == "day-of-week" else value for value in some)
        star = star or (dialect == "robfig" and is_star)
    return Part(text, frozenset(values), star, tuple(doubts))


def _item(
    kind: _Kind, found: re.Match[str], dialect: Dialect, doubts: list[str]
) -> tuple[list[int], bool]:
    """One item's values, and whether robfig/cron would take it for a star."""
    mark, first, second, steps = found.groups()
    step = int(steps) if steps else 1
    if step == 0:
        raise _Unreadable(f"{kind.name} {found[0]} has step 0")
    if mark:
        high = kind.high if dialect == "debian" else max(kind.whole)
        return list(range(min(kind.whole), high + 1, step)), step == 1
    low = _number(kind, first)
    if second is None:
        if steps is None:
            return [low], False
        top = max(kind.whole)
        if dialect == "debian":
            doubts.append(
                f"Debian's cron refuses {found[0]}, others run it at {low} alone, others from {low}"
                f" to {top} as it is written here"
            )
        return list(range(low, top + 1, step)), False
    high = _number(kind, second)
    if low <= high:
        return list(range(low, high + 1, step)), False
    doubts.append(f"{found[0]} runs backwards: some crons wrap it around, others never run it")
    around = [*range(low, max(kind.whole) + 1), *range(min(kind.whole), high + 1)]
    return around[::step], False


def _number(kind: _Kind, text: str) -> int:
    if not text.isdigit():
        if text.lower() not in kind.names:
            raise _Unreadable(f"cron does not know {text[:40]!r} as a {kind.name}")
        return kind.names.index(text.lower()) + kind.first
    value = int(text)
    if not min(kind.whole) <= value <= kind.high:
        raise _Unreadable(f"{value} is no {kind.name}")
    return value


# ------------------------------------------------------------------------------------ @every


_DURATION = re.compile(r"(?:([0-9]+)h)?(?:([0-9]+)m)?(?:([0-9]+)s)?")


def every(duration: str) -> Translated:
    """`@every 90m`: an interval. Where it divides an hour or a day it goes by the clock."""
    what = f"the schedule @every {duration}"
    found = _DURATION.fullmatch(duration)
    hours, minutes, rest = (int(part or 0) for part in found.groups()) if found else (0, 0, 0)
    seconds = 3600 * hours + 60 * minutes + rest
    expression = by_the_clock(seconds)
    if expression is None:
        return Translated(
            None, remarks=((what, "there are no intervals here, only clock times", _SET_BY_HAND),)
        )
    why = f"an interval has no fixed times; {expression} runs as often, by the clock"
    return Translated(expression, True, ((what, why, "check that its times suit"),))


def by_the_clock(seconds: int) -> str | None:
    if 0 < seconds < 60 and 60 % seconds == 0:
        return f"{_step(seconds, SIXTY)} * * * * *"
    if seconds % 60 == 0 and 0 < seconds < 3600 and 60 % (seconds // 60) == 0:
        return f"{_step(seconds // 60, SIXTY)} * * * *"
    if seconds % 3600 == 0 and 0 < seconds <= 86_400 and 24 % (seconds // 3600) == 0:
        return f"0 {_step(seconds // 3600, HOURS)} * * *"
    return None


def _step(step: int, whole: Values) -> str:
    if step == 1:
        return "*"
    return "0" if step > max(whole) else f"*/{step}"
