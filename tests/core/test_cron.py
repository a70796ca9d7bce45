"""Slots by Debian cron's daylight-saving rules, and what must hold for any schedule."""

from __future__ import annotations

import pickle
from datetime import UTC, datetime, timedelta
from itertools import islice

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobreconciler.core import cron

from .cron_cases import ZONES, utc

SECOND = timedelta(seconds=1)
DAY = timedelta(days=1)


def short(slots: tuple[datetime, ...]) -> list[str]:
    return [slot.strftime("%dT%H:%M" if not slot.second else "%dT%H:%M:%S") for slot in slots]


# situation, expression, zone, from, days, slots (day and time, UTC)
TABLE = [
    # Berlin: 02:00 becomes 03:00 on 2027-03-28, 03:00 becomes 02:00 on 2027-10-31
    ("a fixed time in the gap runs at its end", "30 2 * * *", "Europe/Berlin", "2027-03-27", 3,
     "27T01:30 28T01:00 29T00:30"),
    ("a fixed time just after the gap stays", "0 3 * * *", "Europe/Berlin", "2027-03-27", 3,
     "27T02:00 28T01:00 29T01:00"),
    ("several fixed times in one gap are one run", "0,20,40 2 * * *", "Europe/Berlin",
     "2027-03-28", 1, "28T01:00"),
    ("the gap's run and one due at its end are one", "30 2,3 * * *", "Europe/Berlin",
     "2027-03-28", 1, "28T01:00 28T01:30"),
    ("a run due exactly at the gap's end absorbs the gap's", "0 2,3 * * *", "Europe/Berlin",
     "2027-03-28", 1, "28T01:00"),
    ("a fixed time in the repeated hour runs the first time", "30 2 * * *", "Europe/Berlin",
     "2027-10-30", 3, "30T00:30 31T00:30 01T01:30"),
    ("a fixed time at the repeated hour's start runs once", "0 2 * * *", "Europe/Berlin",
     "2027-10-31", 1, "31T00:00"),
    ("a fixed time at the repeated hour's end runs after it", "0 3 * * *", "Europe/Berlin",
     "2027-10-31", 1, "31T02:00"),
    ("a list of fixed hours skips the second pass", "15 1-3 * * *", "Europe/Berlin",
     "2027-10-30T22:00", 1, "30T23:15 31T00:15 31T02:15"),
    ("an hourly wildcard runs by elapsed time over the gap", "0 * * * *", "Europe/Berlin",
     "2027-03-27T23:30", 0.13, "28T00:00 28T01:00 28T02:00"),
    ("an hourly wildcard runs in both passes", "0 * * * *", "Europe/Berlin",
     "2027-10-30T23:30", 0.13, "31T00:00 31T01:00 31T02:00"),
    ("a wildcard minute in a skipped hour does not run", "*/30 2 * * *", "Europe/Berlin",
     "2027-03-27", 3, "27T01:00 27T01:30 29T00:00 29T00:30"),
    ("a wildcard minute in a repeated hour runs twice", "*/30 2 * * *", "Europe/Berlin",
     "2027-10-31", 1, "31T00:00 31T00:30 31T01:00 31T01:30"),
    ("every second hour has no extra run at spring-forward", "0 */2 * * *", "Europe/Berlin",
     "2027-03-27T22:30", 0.25, "27T23:00 28T02:00 28T04:00"),
    ("every second hour runs in both passes", "0 */2 * * *", "Europe/Berlin",
     "2027-10-30T21:30", 0.25, "30T22:00 31T00:00 31T01:00 31T03:00"),
    ("seconds do not decide what is fixed", "*/30 30 2 * * *", "Europe/Berlin",
     "2027-03-28", 1, "28T01:00"),
    ("fixed with seconds runs the first time", "15 30 2 * * *", "Europe/Berlin",
     "2027-10-31", 1, "31T00:30:15"),
    ("wildcard with seconds runs both times", "15 */30 2 * * *", "Europe/Berlin",
     "2027-10-31", 1, "31T00:00:15 31T00:30:15 31T01:00:15 31T01:30:15"),
    # Lord Howe: half an hour, 02:00 becomes 02:30 on 2027-10-03, back on 2027-04-04
    ("Lord Howe, fixed in the half-hour gap", "15 2 * * *", "Australia/Lord_Howe",
     "2027-10-02T12:00", 1, "02T15:30"),
    ("Lord Howe, fixed behind the half-hour gap", "45 2 * * *", "Australia/Lord_Howe",
     "2027-10-02T12:00", 1, "02T15:45"),
    ("Lord Howe, wildcard over the gap", "*/15 2 * * *", "Australia/Lord_Howe",
     "2027-10-02T12:00", 1, "02T15:30 02T15:45"),
    ("Lord Howe, fixed in the repeated half-hour", "45 1 * * *", "Australia/Lord_Howe",
     "2027-04-03T12:00", 1, "03T14:45"),
    ("Lord Howe, wildcard in the repeated half-hour", "*/15 1 * * *", "Australia/Lord_Howe",
     "2027-04-03T12:00", 1, "03T14:00 03T14:15 03T14:30 03T14:45 03T15:00 03T15:15"),
    # Cairo: 00:00 becomes 01:00 on 2027-04-30
    ("Cairo, midnight itself is skipped", "0 0 * * *", "Africa/Cairo", "2027-04-29", 2,
     "29T22:00 30T21:00"),
    ("Cairo, a wildcard in the skipped midnight hour", "*/30 0 * * *", "Africa/Cairo",
     "2027-04-28T12:00", 2.5, "28T22:00 28T22:30 30T21:00 30T21:30"),
    ("Cairo, weekday of the skipped midnight", "0 0 * * 5", "Africa/Cairo", "2027-04-29", 2,
     "29T22:00"),
    ("Cairo, midnight follows the second pass of its last hour", "0 0 * * *", "Africa/Cairo",
     "2027-10-27", 3, "27T21:00 28T22:00 29T22:00"),
    # Santiago: 24:00 becomes 23:00 on 2027-04-03, 00:00 becomes 01:00 on 2027-09-05
    ("Santiago, midnight gap", "0 0 * * *", "America/Santiago", "2027-09-04", 3,
     "04T04:00 05T04:00 06T03:00"),
    ("Santiago, the repeated hour before midnight", "30 23 * * *", "America/Santiago",
     "2027-04-03", 2, "03T02:30 04T02:30"),
    ("Santiago, wildcard before midnight runs twice", "*/30 23 * * *", "America/Santiago",
     "2027-04-03T12:00", 1, "04T02:00 04T02:30 04T03:00 04T03:30"),
    # Apia: 2011-12-30 did not happen
    ("Apia, the daily run of the missing day is at its end", "0 2 * * *", "Pacific/Apia",
     "2011-12-29", 3, "29T12:00 30T10:00 30T12:00 31T12:00"),
    ("Apia, all runs of the missing day are one", "0 1-23/2 30 12 *", "Pacific/Apia",
     "2011-12-29", 5, "30T10:00"),
    ("Apia, midnight after the missing day absorbs its run", "0 0 * * *", "Pacific/Apia",
     "2011-12-29", 3, "29T10:00 30T10:00 31T10:00"),
    ("Apia, a wildcard skips the missing day", "0 */12 * * *", "Pacific/Apia", "2011-12-29", 3,
     "29T10:00 29T22:00 30T10:00 30T22:00 31T10:00 31T22:00"),
    ("Apia, a wildcard on the missing day alone never comes", "*/5 * 30 12 *", "Pacific/Apia",
     "2011-12-20", 30, ""),
    # Casablanca: saving is negative, one hour back for Ramadan (2027-02-07 to 2027-03-14)
    ("Casablanca, fixed in the hour repeated as Ramadan begins", "30 2 * * *",
     "Africa/Casablanca", "2027-02-06", 3, "06T01:30 07T01:30 08T02:30"),
    ("Casablanca, fixed in the hour skipped as Ramadan ends", "30 2 * * *",
     "Africa/Casablanca", "2027-03-13", 3, "13T02:30 14T02:00 15T01:30"),
    ("Casablanca, wildcard as Ramadan begins", "*/30 2 * * *", "Africa/Casablanca",
     "2027-02-07", 1, "07T01:00 07T01:30 07T02:00 07T02:30"),
    # historic changes and the others
    ("Berlin's double summer time of 1945", "30 2 * * *", "Europe/Berlin", "1945-05-23", 3,
     "23T00:30 24T00:00 24T23:30 25T23:30"),
    ("Sao Paulo keeps its midnight run in 2018", "0 0 * * *", "America/Sao_Paulo",
     "2018-11-03", 3, "03T03:00 04T03:00 05T02:00"),
    ("St John's changed at one minute past midnight", "30 0 * * *", "America/St_Johns",
     "2008-03-08", 3, "08T04:00 09T03:31 10T03:00"),
    ("Caracas moved by half an hour for good", "45 2 * * *", "America/Caracas", "2016-04-30",
     3, "30T07:15 01T07:00 02T06:45"),
    ("Troll jumps by two hours", "30 1,2 * * *", "Antarctica/Troll", "2027-03-27", 2,
     "27T01:30 27T02:30 28T01:00 28T23:30"),
    ("Kwajalein's missing day of 1993", "0 12 * * *", "Pacific/Kwajalein", "1993-08-20", 3,
     "20T00:00 21T00:00 21T12:00 22T00:00"),
    ("Monrovia's forty-four minutes and thirty seconds", "20 0 * * *", "Africa/Monrovia",
     "1972-01-06T12:00", 2, "07T00:44:30 08T00:20"),
    ("UTC never changes", "30 2 * * *", "UTC", "2027-03-27", 3, "27T02:30 28T02:30 29T02:30"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("expression", "zone", "start", "days", "slots"),
    [row[1:] for row in TABLE],
    ids=[row[0] for row in TABLE],
)
def test_slots(expression: str, zone: str, start: str, days: float, slots: str) -> None:
    schedule = cron.parse(expression, zone)
    after = utc(start) - SECOND
    until = after + timedelta(days=days)
    found = cron.slots_between(schedule, after, until)
    assert short(found) == slots.split()
    assert cron.count_between(schedule, after, until) == len(found)
    backwards = [cron.previous_slot(schedule, slot + SECOND) for slot in found]
    assert backwards == list(found)


# expression, from, the next three slots: when days match
DAYS = [
    ("the last day of the month", "0 0 L * *", "2027-01-31 2027-02-28 2027-03-31"),
    ("the last day of February in a leap year", "0 0 L 2 *", "2027-02-28 2028-02-29 2029-02-28"),
    ("the first and the last day", "0 0 1,L * *", "2027-01-31 2027-02-01 2027-02-28"),
    ("the last Friday", "0 0 * * 5L", "2027-01-29 2027-02-26 2027-03-26"),
    ("the second Monday", "0 0 * * 1#2", "2027-02-08 2027-03-08 2027-04-12"),
    ("the fifth Sunday, by its other number", "0 0 * * 7#5", "2027-01-31 2027-05-30 2027-08-29"),
    ("a weekday beside an nth weekday", "0 0 * * 3,5L", "2027-01-20 2027-01-27 2027-01-29"),
    ("OR where both day fields are restricted", "0 0 20 * 1", "2027-01-18 2027-01-20 2027-01-25"),
    ("OR with an nth weekday", "0 0 20 * 1#3", "2027-01-18 2027-01-20 2027-02-15"),
    ("OR with the last day", "0 0 L * 1", "2027-01-18 2027-01-25 2027-01-31"),
    ("OR where all days are written out", "0 0 1-31 * 1", "2027-01-16 2027-01-17 2027-01-18"),
    ("AND where day-of-month begins with a star", "0 0 */2 * 1",
     "2027-01-25 2027-02-01 2027-02-15"),
    ("AND where day-of-week begins with a star", "0 0 13 * */5",
     "2027-06-13 2027-08-13 2028-02-13"),
    ("AND with a list that begins with a star", "0 0 */30,15 * 5",
     "2027-10-01 2027-10-15 2027-12-31"),
    ("Sunday as seven in a stepped range", "0 0 * * 1-7/3", "2027-01-17 2027-01-18 2027-01-21"),
    ("the 29th of February", "0 0 29 2 *", "2028-02-29 2032-02-29 2036-02-29"),
    ("the 29th of February on a weekend", "0 0 29 2 */6", "2032-02-29 2048-02-29 2060-02-29"),
    ("a range of equal ends is one value", "0 0 5-5 * *", "2027-02-05 2027-03-05 2027-04-05"),
    ("thirty-one where some months have it", "0 0 31 4,5 *", "2027-05-31 2028-05-31 2029-05-31"),
    ("@weekly", "@weekly", "2027-01-17 2027-01-24 2027-01-31"),
    ("@yearly", "@yearly", "2028-01-01 2029-01-01 2030-01-01"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("expression", "slots"), [row[1:] for row in DAYS], ids=[row[0] for row in DAYS]
)
def test_days(expression: str, slots: str) -> None:
    schedule = cron.parse(expression)
    found = cron.slots_between(schedule, utc("2027-01-15T12:00"), utc("2099-01-01"), limit=3)
    assert [f"{slot:%Y-%m-%d}" for slot in found] == slots.split()


@pytest.mark.parametrize("wildcard", ["* * * * *", "0 * * * *", "*/5 2 * * *", "@hourly"])
def test_minute_or_hour_with_a_star_first_is_wildcard(wildcard: str) -> None:
    assert cron.parse(wildcard).wildcard


@pytest.mark.parametrize("fixed", ["0 0 * * *", "0-59 0-23 * * *", "7,*/5 3 * * *", "* 0 0 * * *"])
def test_any_other_is_fixed(fixed: str) -> None:
    assert not cron.parse(fixed).wildcard


def test_next_and_previous_are_strict_to_the_microsecond() -> None:
    schedule, slot = cron.parse("0 12 * * *"), utc("2027-01-01T12:00")
    just = timedelta(microseconds=1)
    assert cron.next_slot(schedule, slot) == slot + DAY
    assert cron.next_slot(schedule, slot - just) == slot
    assert cron.previous_slot(schedule, slot) == slot - DAY
    assert cron.previous_slot(schedule, slot + just) == slot
    assert cron.slots_between(schedule, slot, slot + DAY) == (slot + DAY,)
    assert cron.slots_between(schedule, slot - just, slot + DAY - just) == (slot,)
    assert cron.last_slot_between(schedule, slot, slot + DAY - just) is None
    assert cron.last_slot_between(schedule, slot - just, slot) == slot


def test_instants_of_any_zone_are_taken_and_utc_is_given() -> None:
    tokyo = datetime.fromisoformat("2027-01-01T09:00+09:00")
    found = cron.next_slot(cron.parse("30 * * * *", "Asia/Kolkata"), tokyo)
    assert found == utc("2027-01-01T01:00")
    assert found is not None
    assert found.tzinfo is UTC
    with pytest.raises(TypeError):
        cron.next_slot(cron.parse("* * * * *"), datetime(2027, 1, 1))  # noqa: DTZ001


def test_a_listing_stops_at_its_limit() -> None:
    every_second = cron.parse("* * * * * *")
    found = cron.slots_between(every_second, utc("2027-01-01"), utc("2028-01-01"), limit=100)
    assert len(found) == 100
    assert cron.slots_between(every_second, utc("2027-01-01"), utc("2028-01-01"), limit=0) == ()


def test_an_interval_that_ends_before_it_begins_is_empty() -> None:
    schedule = cron.parse("* * * * *", "Europe/Berlin")
    later, earlier = utc("2027-02-01"), utc("2027-01-01")
    assert cron.slots_between(schedule, later, earlier) == ()
    assert cron.count_between(schedule, later, earlier) == 0
    assert cron.last_slot_between(schedule, later, earlier) is None


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin", "Pacific/Apia"])
@pytest.mark.parametrize("expression", ["* * * * *", "0 2 * * *", "0 0 29 2 *"])
def test_the_ends_of_the_calendar_are_no_error(expression: str, zone: str) -> None:
    schedule = cron.parse(expression, zone)
    first = datetime.min.replace(tzinfo=UTC)
    last = datetime.max.replace(tzinfo=UTC)
    assert cron.next_slot(schedule, last) is None
    assert cron.previous_slot(schedule, first) is None
    assert cron.next_slot(schedule, first) is not None
    assert cron.previous_slot(schedule, last) is not None


def test_counts_span_centuries_without_listing() -> None:
    first, last = utc("1600-01-01") - SECOND, utc("2000-01-01") - SECOND
    assert cron.count_between(cron.parse("* * * * * *"), first, last) == 146_097 * 86_400
    assert cron.count_between(cron.parse("0 0 29 2 *"), first, last) == 97
    assert cron.count_between(cron.parse("0 0 13 * */5"), first, last) == 688 + 687


def test_a_schedule_is_a_value() -> None:
    schedule = cron.parse("*/5 * * * *", "Europe/Berlin")
    same = cron.Schedule(schedule.expression, schedule.timezone, schedule.fields)
    assert same == schedule
    assert hash(same) == hash(schedule)
    cron.next_slot(schedule, utc("2027-01-01"))
    assert pickle.loads(pickle.dumps(schedule)) == schedule
    assert cron.parse("*/5 * * * *", "Europe/Berlin") is schedule


# ----------------------------------------------------------------------------------- slot notes

NOTES = [
    ("an ordinary slot", "30 2 * * *", "Europe/Berlin", "2027-03-27T01:30", ""),
    ("a fixed time in the gap", "30 2 * * *", "Europe/Berlin", "2027-03-28T01:00",
     "2027-03-28 02:30 does not exist in Europe/Berlin: runs at 03:00"),
    ("a fixed time due at the gap's end", "0 3 * * *", "Europe/Berlin", "2027-03-28T01:00", ""),
    ("several fixed times in the gap", "0-50/10 2 * * *", "Europe/Berlin",
     "2027-03-28T01:00",
     "2027-03-28 02:00, 02:10, 02:20 and 3 more do not exist in Europe/Berlin: one run at 03:00"),
    ("a fixed time that is repeated", "30 2 * * *", "Europe/Berlin", "2027-10-31T00:30",
     "2027-10-31 02:30 in Europe/Berlin happens twice: it runs the first time only (UTC+02:00)"),
    ("a wildcard's first pass", "*/30 * * * *", "Europe/Berlin", "2027-10-31T00:30",
     "2027-10-31 02:30 in Europe/Berlin happens twice: this is the first time (UTC+02:00)"),
    ("a wildcard's second pass", "*/30 * * * *", "Europe/Berlin", "2027-10-31T01:30",
     "2027-10-31 02:30 in Europe/Berlin happens twice: this is the second time (UTC+01:00)"),
    ("a wildcard after the gap", "0 */2 * * *", "Europe/Berlin", "2027-03-28T02:00",
     "2027-03-28 02:00 does not exist in Europe/Berlin: skipped, the clock goes from 02:00 to"
     " 03:00"),
    ("a wildcard's second slot after the gap", "0 */2 * * *", "Europe/Berlin",
     "2027-03-28T04:00", ""),
    ("a missing day", "0 2 * * *", "Pacific/Apia", "2011-12-30T10:00",
     "2011-12-30 02:00 does not exist in Pacific/Apia: runs at 2011-12-31 00:00"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("expression", "zone", "slot", "note"), [row[1:] for row in NOTES], ids=[r[0] for r in NOTES]
)
def test_slot_notes(expression: str, zone: str, slot: str, note: str) -> None:
    assert cron.slot_note(cron.parse(expression, zone), utc(slot)) == note


@pytest.mark.parametrize(
    ("expression", "zone", "texts"),
    [
        ("30 2 * * *", "Europe/Berlin",
         ["2027-03-28 02:30 does not exist in Europe/Berlin: runs at 03:00",
          "2027-10-31 02:30 happens twice in Europe/Berlin: runs the first time only"]),
        ("*/30 2 * * *", "Europe/Berlin",
         ["2027-03-28 02:00, 02:30 do not exist in Europe/Berlin: skipped, the clock goes from"
          " 02:00 to 03:00",
          "2027-10-31 02:00, 02:30 happen twice in Europe/Berlin: runs both times"]),
        ("0 * * * *", "Europe/Berlin", []),
        ("30 5 * * *", "Europe/Berlin", []),
        ("30 2 * * *", "UTC", []),
        ("0 * * * *", "Australia/Lord_Howe",
         ["2027-10-03 02:00 does not exist in Australia/Lord_Howe: skipped, the clock goes from"
          " 02:00 to 02:30"]),
    ],
)  # fmt: skip
def test_oddities_of_a_year(expression: str, zone: str, texts: list[str]) -> None:
    found = cron.oddities(cron.parse(expression, zone), utc("2027-01-01"), utc("2028-01-01"))
    assert [oddity.text for oddity in found] == texts


# --------------------------------------------------------------------------------------- jitter


DAILY = ("0 0 * * *", "UTC")


def test_jitter_is_stable_spread_and_bounded() -> None:
    slot = utc("2027-01-01")
    starts = [cron.jittered(f"job-{n}", slot, 60, *DAILY) for n in range(2000)]
    assert starts == [cron.jittered(f"job-{n}", slot, 60, *DAILY) for n in range(2000)]
    assert min(starts) >= slot
    assert max(starts) <= slot + 60 * SECOND
    per_second = [sum((start - slot) // SECOND == n for start in starts) for n in range(60)]
    assert min(per_second) > 10
    assert max(per_second) < 70
    assert (
        cron.jittered("job", slot, 60, *DAILY) != cron.jittered("job", slot + DAY, 60, *DAILY) - DAY
    )
    assert cron.jittered("job", slot, 0, *DAILY) == slot


def test_jitter_ends_before_the_next_slot() -> None:
    slot = utc("2027-01-01")
    starts = [cron.jittered(f"job-{n}", slot, 3600, "*/5 * * * *", "UTC") for n in range(2000)]
    assert max(starts) < slot + 300 * SECOND
    assert max(starts) > slot + 290 * SECOND


def test_jitter_never_changes_between_releases() -> None:
    found = cron.jittered("nightly-report", utc("2027-01-01T02:00"), 300, "0 2 * * *", "UTC")
    assert found.isoformat() == PINNED


PINNED = "2027-01-01T02:02:22.539000+00:00"


# ----------------------------------------------------------------------------------- properties

FIELDS = st.sampled_from(["*", "0", "*/7", "5-50/15", "30", "0,30", "59"])
HOURS = st.sampled_from(["*", "0", "1", "2", "3", "1-3", "*/2", "23", "0,12"])
DAYS_OF_MONTH = st.sampled_from(["*", "*", "*", "1", "L", "29,30", "*/2", "15-20"])
WEEKDAYS = st.sampled_from(["*", "*", "*", "0", "1-5", "5L", "1#1", "*/6"])
MONTHS = st.sampled_from(["*", "*", "2,3", "10", "4-9"])
SECONDS = st.sampled_from(["", "", "", "0 ", "*/20 ", "59 "])
SCHEDULES = st.builds(
    lambda s, m, h, d, mo, w, z: cron.parse(f"{s}{m} {h} {d} {mo} {w}", z),
    SECONDS, FIELDS, HOURS, DAYS_OF_MONTH, MONTHS, WEEKDAYS, st.sampled_from([*ZONES, "UTC"]),
)  # fmt: skip
INSTANTS = st.datetimes(datetime(1960, 1, 1), datetime(2090, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001


def first_slots(schedule: cron.Schedule, after: datetime) -> list[datetime]:
    def walk() -> object:
        slot = cron.next_slot(schedule, after)
        while slot is not None:
            yield slot
            slot = cron.next_slot(schedule, slot)

    return list(islice(walk(), 6))  # type: ignore[call-overload]


@settings(max_examples=250, deadline=None, derandomize=True)
@given(SCHEDULES, INSTANTS)
def test_next_previous_lists_and_counts_agree(schedule: cron.Schedule, after: datetime) -> None:
    slots = first_slots(schedule, after)
    assert slots == sorted(set(slots))
    assert slots[0] > after
    assert cron.slots_between(schedule, after, slots[-1]) == tuple(slots)
    assert cron.count_between(schedule, after, slots[-1]) == len(slots)
    assert cron.count_between(schedule, after, slots[-1] - SECOND) == len(slots) - 1
    assert [cron.previous_slot(schedule, slot) for slot in slots[1:]] == slots[:-1]
    before = cron.previous_slot(schedule, slots[0])
    assert before is None or before <= after


@settings(max_examples=250, deadline=None, derandomize=True)
@given(SCHEDULES, INSTANTS, st.floats(0, 1))
def test_next_is_the_same_for_every_instant_between_two_slots(
    schedule: cron.Schedule, after: datetime, part: float
) -> None:
    slot, following = first_slots(schedule, after)[:2]
    between = slot + (following - slot) * part
    if between < following:
        assert cron.next_slot(schedule, between) == following
    if between > slot:
        assert cron.previous_slot(schedule, between) == slot


@settings(max_examples=150, deadline=None, derandomize=True)
@given(SCHEDULES, INSTANTS, INSTANTS, INSTANTS)
def test_counts_add_up(schedule: cron.Schedule, a: datetime, b: datetime, c: datetime) -> None:
    first, middle, last = sorted((a, b, c))
    assert cron.count_between(schedule, first, last) == cron.count_between(
        schedule, first, middle
    ) + cron.count_between(schedule, middle, last)
