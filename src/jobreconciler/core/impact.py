"""What a plan does to schedules, for the one who reads it in a pull request. Pure.

`job_impact` looks at one changed job, `fleet_impact` at the minutes in which many jobs start. Both
give JSON-able values whose `text` is the same in sentences.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice
from typing import Any, Final

from jobreconciler.core import cron
from jobreconciler.core.views import instant, instant_or_none

MOST_SCHEDULES: Final = 10_000
"""Different schedules of one side that are looked at; of more, every nth stands for n."""
_CATCH_UP_LIMIT: Final = 100
_WINDOW_MINUTES: Final = 1440
_SHOWN_ODDITIES: Final = 4
_SHOWN_MINUTES: Final = 3
_WEEK, _YEAR = timedelta(days=7), timedelta(days=365)
_DAY = timedelta(days=1)

Json = dict[str, Any]


@dataclass(frozen=True)
class _Plan:
    """One side's schedule. `idle` says why it starts nothing, "" where it does."""

    expression: str = ""
    timezone: str = "UTC"
    catch_up: str = "latest"
    deadline: int | None = None
    jitter: int = 0
    idle: str = ""

    @property
    def words(self) -> str:
        try:
            return f"{cron.describe(self.expression)} ({self.timezone})"
        except cron.InvalidSchedule:
            return f"{self.expression} ({self.timezone})"

    @property
    def schedule(self) -> cron.Schedule | None:
        """None where nothing is started, or where today's rules refuse what was stored before."""
        if self.idle:
            return None
        try:
            return cron.parse(self.expression, self.timezone)
        except cron.InvalidSchedule:
            return None


# --------------------------------------------------------------------------------------- one job


def job_impact(
    old: Mapping[str, Any] | None, new: Mapping[str, Any] | None, now: datetime
) -> Json | None:
    """What a change does to one job's schedule; None where its schedule stays as it is.

    `old` and `new` are normalised configs, None where the job does not exist on that side.
    `runsPerDay` is the average of the next 7 days, of the next 365 where those hold fewer than 7
    runs. `nextRun` is the next slot, without jitter. `oddities` are what daylight saving does to
    the new schedule within a year.
    """
    before, after = _plan_of(old, "the job is new"), _plan_of(new, "the job is deleted")
    if before == after or (before.idle and after.idle):
        return None
    rates = _runs_per_day(before, now), _runs_per_day(after, now)
    following = _next_run(before, now), _next_run(after, now)
    odd = list(islice(_oddities(after, now), _SHOWN_ODDITIES))
    notes = list(_notes(before, after, rates[1], now))
    return {
        "schedule": {"old": _schedule_json(before), "new": _schedule_json(after)},
        "runsPerDay": {"old": rates[0], "new": rates[1]},
        "nextRun": {"old": instant_or_none(following[0]), "new": instant_or_none(following[1])},
        "oddities": [{"at": instant(oddity.at), "text": oddity.text} for oddity in odd],
        "notes": notes,
        "text": [
            *_sentences(before, after, rates, following),
            *(oddity.text for oddity in odd),
            *notes,
        ],
    }


def _plan_of(config: Mapping[str, Any] | None, absent: str) -> _Plan:
    if config is None:
        return _Plan(idle=absent)
    payload = config["payload"]
    schedule = payload.get("schedule")
    if schedule is None:
        return _Plan(idle="there is no schedule")
    idle = "" if payload.get("isEnabled", True) else "the job is off"
    if not idle and not schedule.get("isEnabled", True):
        idle = "the schedule is off"
    return _Plan(
        schedule["cronExpression"],
        schedule.get("timezone", "UTC"),
        schedule.get("catchUp", "latest"),
        schedule.get("startingDeadlineSeconds"),
        schedule.get("jitterSeconds", 0),
        idle,
    )


def _schedule_json(plan: _Plan) -> Json | None:
    if not plan.expression:
        return None
    return {
        "cronExpression": plan.expression,
        "timezone": plan.timezone,
        "words": plan.words,
        "isActive": not plan.idle,
    }


def _runs_per_day(plan: _Plan, now: datetime) -> float:
    schedule = plan.schedule
    if schedule is None:
        return 0.0
    runs = cron.count_between(schedule, now, now + _WEEK)
    if runs >= 7:
        return round(runs / 7, 2)
    return round(cron.count_between(schedule, now, now + _YEAR) / 365, 4)


def _next_run(plan: _Plan, now: datetime) -> datetime | None:
    schedule = plan.schedule
    return None if schedule is None else cron.next_slot(schedule, now)


def _oddities(plan: _Plan, now: datetime) -> Iterator[cron.Oddity]:
    schedule = plan.schedule
    return iter(()) if schedule is None else cron.oddities(schedule, now, now + _YEAR)


def _sentences(
    before: _Plan,
    after: _Plan,
    rates: tuple[float, float],
    following: tuple[datetime | None, datetime | None],
) -> Iterator[str]:
    if after.idle:
        yield f"no more runs by schedule: {after.idle} (was {before.words})"
        return
    if before.idle:
        yield f"runs {after.words}"
    elif (before.expression, before.timezone) != (after.expression, after.timezone):
        yield f"runs {after.words}, was {before.words}"
    if rates[0] != rates[1]:
        was = "" if before.idle else f", was {_rate(rates[0])}"
        yield f"{_rate(rates[1])} a day{was}"
    if following[0] != following[1]:
        was = "" if following[0] is None else f", was {instant(following[0])}"
        yield f"next run {instant(following[1]) if following[1] else 'never'}{was}"


def _rate(rate: float) -> str:
    shown = f"{rate:,.0f}" if rate >= 100 else f"{rate:.2g}" if rate < 1 else f"{rate:.4g}"
    return f"{shown} run{'' if shown == '1' else 's'}"


def _notes(before: _Plan, after: _Plan, rate: float, now: datetime) -> Iterator[str]:
    """What the change means for slots that were, or will be, missed; and jitter that is odd."""
    if after.idle:
        return
    if before.idle and before.expression:
        yield f"slots of the time in which {before.idle} are not caught up"
    elif not before.idle and (before.expression, before.timezone) != (
        after.expression,
        after.timezone,
    ):
        yield "slots missed under the old schedule are not caught up"
    if after.catch_up == "all" and rate > 1:
        runs = min(_CATCH_UP_LIMIT, round(rate))
        yield f"after a day's outage {runs} runs are caught up, one after another"
    elif not before.idle and before.catch_up != after.catch_up:
        yield {
            "none": "slots missed during an outage will not run",
            "latest": "after an outage one run stands for all that were missed",
        }.get(after.catch_up, "after an outage every missed slot runs, oldest first")
    if after.jitter and (interval := _interval(after, now)) and after.jitter > interval:
        yield (
            f"a jitter of {after.jitter} s is longer than the {interval:.0f} s between two slots:"
            " each starts before the next slot"
        )


def _interval(plan: _Plan, now: datetime) -> float:
    schedule = plan.schedule
    if schedule is None:
        return 0.0
    slots = cron.slots_between(schedule, now, now + _DAY, limit=2)
    return (slots[1] - slots[0]).total_seconds() if len(slots) == 2 else 0.0


# ----------------------------------------------------------------------------------------- fleet


def fleet_impact(
    before: Iterable[tuple[str, str]],
    after: Iterable[tuple[str, str]],
    now: datetime,
    *,
    capacity: int | None = None,
) -> Json:
    """How many jobs start in each minute of the next 24 hours, before and after a plan.

    `before` and `after` hold (expression, time zone) of every schedule that is on. `starts` counts
    a job once a minute. `over` is the number of minutes in which more than `capacity` jobs start,
    None without a capacity. `busiest` are the three fullest minutes, first of all the fullest.
    `sampled` says of how many different schedules not all were looked at; `unreadable` counts
    those that are no schedule by today's rules. `text` is empty where nothing changes.
    """
    start = now.replace(second=0, microsecond=0) + timedelta(minutes=1)
    masks: dict[tuple[str, str], int | None] = {}
    old = _side(Counter(before), start, masks, capacity)
    new = _side(Counter(after), start, masks, capacity)
    return {
        "from": instant(start),
        "until": instant(start + timedelta(minutes=_WINDOW_MINUTES)),
        "capacity": capacity,
        "before": old,
        "after": new,
        "text": list(_fleet_sentences(old, new, capacity)),
    }


def _side(
    schedules: Counter[tuple[str, str]],
    start: datetime,
    masks: dict[tuple[str, str], int | None],
    capacity: int | None,
) -> Json:
    chosen, factor = sorted(schedules), 1
    if len(chosen) > MOST_SCHEDULES:
        factor = -(-len(chosen) // MOST_SCHEDULES)
        chosen = chosen[::factor]
    planes: list[int] = []
    starts = unreadable = 0
    for key in chosen:
        if key not in masks:
            masks[key] = _minutes(key, start)
        mask, jobs = masks[key], schedules[key] * factor
        if mask is None:
            unreadable += jobs
            continue
        starts += mask.bit_count() * jobs
        _add(planes, mask, jobs)
    counts = _counts(planes)
    fullest = sorted(range(_WINDOW_MINUTES), key=lambda minute: (-counts[minute], minute))
    return {
        "jobs": schedules.total(),
        "starts": starts,
        "over": None if capacity is None else sum(count > capacity for count in counts),
        "busiest": [
            {"at": instant(start + timedelta(minutes=minute)), "starts": counts[minute]}
            for minute in fullest[:_SHOWN_MINUTES]
            if counts[minute]
        ],
        "sampled": {"of": len(schedules), "looked": len(chosen)} if factor > 1 else None,
        "unreadable": unreadable,
    }


def _minutes(key: tuple[str, str], start: datetime) -> int | None:
    try:
        return cron.start_minutes(cron.parse(*key), start, _WINDOW_MINUTES)
    except cron.InvalidSchedule:
        return None


def _add(planes: list[int], mask: int, times: int) -> None:
    """Add `times` to the counter of every minute in `mask`.

    Counters lie across the planes: bit m of plane p is worth 2^p for minute m, so that one
    addition serves all 1,440 minutes at once.
    """
    plane = 0
    while times:
        if times & 1:
            carry, at = mask, plane
            while carry:
                if at >= len(planes):
                    planes.extend([0] * (at + 1 - len(planes)))
                planes[at], carry = planes[at] ^ carry, planes[at] & carry
                at += 1
        times >>= 1
        plane += 1


def _counts(planes: list[int]) -> list[int]:
    counts = [0] * _WINDOW_MINUTES
    for worth, plane in enumerate(planes):
        rest = plane
        while rest:
            lowest = rest & -rest
            counts[lowest.bit_length() - 1] += 1 << worth
            rest ^= lowest
    return counts


def _fleet_sentences(old: Json, new: Json, capacity: int | None) -> Iterator[str]:
    if all(old[key] == new[key] for key in ("jobs", "starts", "over", "busiest")):
        return
    if old["starts"] != new["starts"]:
        yield f"starts in the next 24 hours: {new['starts']:,}, was {old['starts']:,}"
    if new["busiest"] and old["busiest"] != new["busiest"]:
        top = new["busiest"][0]
        was = old["busiest"][0]["starts"] if old["busiest"] else 0
        yield f"busiest minute: {top['at']} with {top['starts']:,} starts, was {was:,} at most"
    if capacity is not None and old["over"] != new["over"]:
        yield (
            f"minutes with more than {capacity:,} starts: {new['over']:,}, was {old['over']:,};"
            " starts beyond the capacity wait"
        )
    for side in (new, old):
        if side["sampled"]:
            yield (
                f"estimated from {side['sampled']['looked']:,} of {side['sampled']['of']:,}"
                " different schedules"
            )
            return
