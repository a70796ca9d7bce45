"""Imported schedules run when they used to: by hand-listed instants, and by brute force."""

from __future__ import annotations

from calendar import monthrange
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from importing.reading import cronjobs, crontab, only, timer
from jobreconciler.core.cron import next_slot, parse, slots_between
from jobreconciler.importing.calendar import read_event
from jobreconciler.importing.cron_dialects import translate
from jobreconciler.importing.spelling import Times, spell


def _from_crontab(line: str) -> dict[str, Any]:
    return only(crontab(f"{line} x\n"))


def _from_cronjob(schedule: str) -> dict[str, Any]:
    return only(
        cronjobs(
            "apiVersion: batch/v1\nkind: CronJob\nmetadata: {name: a}\n"
            f"spec:\n  schedule: '{schedule}'\n  jobTemplate: {{spec: {{template: {{spec: "
            "{containers: [{name: c, command: [x]}]}}}}\n"
        )
    )


def _from_timer(lines: str) -> dict[str, Any]:
    calendars = "".join(f"OnCalendar={line}\n" for line in lines.split(" | "))
    return only(timer(f"[Timer]\n{calendars}", "[Service]\nExecStart=x\n"))


# 2029 begins on a Monday. What, text, from, the first slots (UTC), listed by hand.
TABLE = [
    (_from_crontab, "30 4 1,15 * 5", "2029-01-01", "01T04:30 05T04:30 12T04:30 15T04:30 19T04:30"),
    (_from_crontab, "0 0 */10 * 1", "2029-01-01", "01T00:00 21T00:00/05 11T00:00/06"),
    (_from_crontab, "0 0 * * 7", "2029-01-01", "07T00:00 14T00:00 21T00:00"),
    (_from_crontab, "0 0 * * */7", "2029-01-01", "07T00:00 14T00:00 21T00:00"),
    (_from_crontab, "@weekly", "2029-01-01", "07T00:00 14T00:00"),
    (_from_crontab, "0 12 28-31 2 *", "2029-01-01", "28T12:00/02 28T12:00/02/2030"),
    (_from_crontab, "*/40 1 2 * *", "2029-01-01", "02T01:00 02T01:40 02T01:00/02"),
    (_from_crontab, "0 0 31 2 1", "2029-01-01", "05T00:00/02 12T00:00/02 19T00:00/02"),
    (_from_cronjob, "5/20 3 * * *", "2029-01-01", "01T03:05 01T03:25 01T03:45 02T03:05"),
    (_from_cronjob, "0 0 */2 * 2", "2029-01-01", "01T00:00 02T00:00 03T00:00 05T00:00 07T00:00 "
     "09T00:00 11T00:00 13T00:00 15T00:00 16T00:00"),
    (_from_cronjob, "0 0 ? * 1", "2029-01-01", "01T00:00 08T00:00 15T00:00"),
    (_from_cronjob, "@every 12h", "2029-01-01", "01T00:00 01T12:00 02T00:00"),
    (_from_timer, "Mon *-*-01..07 03:00", "2029-01-01", "01T03:00 05T03:00/02 05T03:00/03"),
    (_from_timer, "*-*~01 12:00", "2029-01-01", "31T12:00 28T12:00/02 31T12:00/03 30T12:00/04"),
    (_from_timer, "Mon *-05~07/1", "2029-01-01", "28T00:00/05 27T00:00/05/2030"),
    (_from_timer, "Sat,Sun *-*-13", "2029-01-01", "13T00:00 13T00:00/05 13T00:00/10"),
    (_from_timer, "Mon *-*-1/2", "2029-01-01", "01T00:00 15T00:00 29T00:00 05T00:00/02"),
    (_from_timer, "Mon *-*-29..31", "2029-01-01", "29T00:00 30T00:00/04 30T00:00/07"),
    (_from_timer, "Mon..Fri 00/12:00", "2029-01-05", "05T00:00 05T12:00 08T00:00 08T12:00"),
    (_from_timer, "*-01,03~02", "2029-01-01", "30T00:00 30T00:00/03 30T00:00/01/2030"),
    (_from_timer, "08:00 | 20:00", "2029-01-01", "01T08:00 01T20:00 02T08:00"),
    (_from_timer, "Mon 08:00 | Tue..Sun 08:00", "2029-01-01", "01T08:00 02T08:00 03T08:00"),
    (_from_timer, "quarterly", "2029-01-01", "01T00:00 01T00:00/04 01T00:00/07 01T00:00/10"),
    (_from_timer, "Wed 12:00:30", "2029-01-01", "03T12:00:30 10T12:00:30"),
    (_from_timer, "daily Asia/Tokyo", "2029-01-01", "01T15:00 02T15:00"),
]  # fmt: skip


def _instants(listed: str) -> list[datetime]:
    """`05T04:30/02/2030` is the fifth of February 2030; January 2029 where nothing is said."""
    found = []
    for word in listed.split():
        text, _, rest = word.partition("/")
        month, _, year = rest.partition("/")
        found.append(
            datetime.fromisoformat(f"{year or 2029}-{month or '01'}-{text}").replace(tzinfo=UTC)
        )
    return list(dict.fromkeys(found))


@pytest.mark.parametrize(("read", "text", "start", "listed"), TABLE, ids=[row[1] for row in TABLE])
def test_the_next_slots_are_those_listed(read: Any, text: str, start: str, listed: str) -> None:
    schedule = read(text)["schedule"]
    found = parse(schedule["cronExpression"], schedule["timezone"])
    at = datetime.fromisoformat(start).replace(tzinfo=UTC) - timedelta(seconds=1)
    slots = []
    for _ in _instants(listed):
        slot = next_slot(found, at)
        assert slot is not None
        slots.append(slot)
        at = slot
    assert slots == _instants(listed)


# ---------------------------------------------------------------------------------- brute force


def days_of(times: Times, year: int) -> Iterator[date]:
    """Day by day from the sets' own meaning."""
    day = date(year, 1, 1)
    while day.year == year:
        length = monthrange(year, day.month)[1]
        by_day = (
            day.day in times.days
            if times.last_days is None
            else length - day.day + 1 in times.last_days
        )
        by_weekday = day.isoweekday() % 7 in times.weekdays
        both = by_day and by_weekday if times.both else by_day or by_weekday
        if day.month in times.months and both:
            yield day
        day += timedelta(days=1)


def slots_of(expression: str, year: int) -> list[date]:
    start = datetime(year, 1, 1, tzinfo=UTC) - timedelta(seconds=1)
    end = datetime(year, 12, 31, 23, 59, 59, tzinfo=UTC)
    return [slot.date() for slot in slots_between(parse(expression), start, end)]


some = st.frozensets
DAY_SETS = st.one_of(
    some(st.integers(1, 31), min_size=1),
    st.sampled_from([frozenset(range(1, 32, n)) for n in (1, 2, 3, 7, 10)]),
    st.sampled_from([frozenset(range(a, min(a + 7, 32))) for a in (1, 8, 15, 22, 29)]),
)
SETS = st.builds(
    Times,
    minutes=st.just(frozenset({30})),
    hours=st.just(frozenset({4})),
    days=DAY_SETS,
    months=st.one_of(st.just(frozenset(range(1, 13))), some(st.integers(1, 12), min_size=1)),
    weekdays=st.one_of(st.just(frozenset(range(7))), some(st.integers(0, 6), min_size=1)),
    seconds=st.just(frozenset({0})),
    last_days=st.none(),
    both=st.booleans(),
)


@settings(max_examples=300, deadline=None)
@given(SETS, st.integers(2027, 2032))
def test_a_spelled_set_of_days_is_exactly_that_set(times: Times, year: int) -> None:
    expression = spell(times)
    expected = list(days_of(times, year))
    if expression is None:
        assert times.both and len(times.weekdays) < 7 and len(times.days) < 31
    elif expected:
        assert slots_of(expression, year) == expected


@settings(max_examples=150, deadline=None)
@given(some(st.integers(1, 31), min_size=1, max_size=8), SETS, st.integers(2027, 2032))
def test_so_is_one_that_counts_from_the_month_s_end(
    offsets: frozenset[int], times: Times, year: int
) -> None:
    wanted = times._replace(last_days=offsets, days=frozenset(range(1, 32)), both=True)
    expression = spell(wanted)
    expected = list(days_of(wanted, year))
    if expression is not None and expected:
        assert slots_of(expression, year) == expected


@settings(max_examples=150, deadline=None)
@given(some(st.integers(0, 59), min_size=1), some(st.integers(0, 23), min_size=1))
def test_minutes_and_hours_are_spelled_exactly(
    minutes: frozenset[int], hours: frozenset[int]
) -> None:
    expression = spell(Times(minutes, hours))
    assert expression is not None and len(expression) <= 256
    start = datetime(2029, 1, 1, tzinfo=UTC) - timedelta(seconds=1)
    found = slots_between(parse(expression), start, start + timedelta(days=1))
    assert [(s.hour, s.minute) for s in found] == [
        (h, m) for h in sorted(hours) for m in sorted(minutes)
    ]


FIELD = st.sampled_from(["*", "*/2", "*/3", "1", "1,15", "1-5", "2-6/2", "1-31/2", "*/2,5", "13"])
WEEKDAY = st.sampled_from(["*", "*/2", "*/3", "1", "0,6", "1-5", "7", "mon-fri", "*/2,5", "5-7"])


def _values(field: str, low: int, high: int, names: dict[str, int]) -> set[int]:
    """A plain reading of a field, apart from the program's."""
    found: set[int] = set()
    for item in field.split(","):
        span, _, step = item.partition("/")
        first, _, last = (f"{low}-{high}" if span == "*" else span).partition("-")
        start = names.get(first) if first in names else int(first)
        stop = start if not last else names.get(last) if last in names else int(last)
        found |= set(range(start or 0, (stop or 0) + 1, int(step or 1)))
    return found


@settings(max_examples=200, deadline=None)
@given(FIELD, WEEKDAY, st.sampled_from(["debian", "robfig"]))
def test_day_and_weekday_mean_what_they_mean_to_each_cron(
    day: str, weekday: str, dialect: Any
) -> None:
    """A star is a field that begins with `*` to Debian, and one with a bare `*` to Kubernetes."""
    found = translate(["30", "4", day, "*", weekday], dialect)
    days = _values(day, 1, 31, {})
    weekdays = {n % 7 for n in _values(weekday, 0, 7 if dialect == "debian" else 6,
                                       {"mon": 1, "fri": 5})}  # fmt: skip
    stars = [
        f.startswith("*") if dialect == "debian" else "*" in f.split(",") for f in (day, weekday)
    ]
    times = Times(frozenset({30}), frozenset({4}), frozenset(days), weekdays=frozenset(weekdays),
                  both=any(stars))  # fmt: skip
    assert found.expression is not None
    assert slots_of(found.expression, 2029) == list(days_of(times, 2029))


@pytest.mark.parametrize(
    ("text", "expression"),
    [
        ("Mon..Fri 02:00", "0 2 * * 1-5"),
        ("Mon,Wed..Fri 02:00", "0 2 * * 1,3-5"),
        ("Monday 02:00", "0 2 * * 1"),
        ("*-*-* 02:00:00", "0 2 * * *"),
        ("hourly", "0 * * * *"),
        ("weekly", "0 0 * * 1"),
        ("semiannually", "0 0 1 */6 *"),
        ("00/2:00", "0 */2 * * *"),
        ("8..18/2:00", "0 8-18/2 * * *"),
        ("*:0/15", "*/15 * * * *"),
        ("*:00..30", "0-30 * * * *"),
        ("10-15", "0 0 15 10 *"),
        ("*-*-1..31/10", "0 0 */10 * *"),
        ("mon *-*-* 5:1/7:3/9", "3-57/9 1-57/7 5 * * 1"),
        ("*-*~1..7 01:00", None),
        ("Fri *-*~1..7 01:00", "0 1 * * 5L"),
        ("Mon *-*-8..14,22..28", "0 0 * * 1#2,1#4"),
        ("Mon *-*-1..8", None),
        ("Sat *-*-1..15", None),
        ("Sat *-*-1..15,31", "0 0 */30,2-15 * 6"),
    ],
)
def test_calendars_as_expressions(text: str, expression: str | None) -> None:
    assert spell(read_event(text).times) == expression
