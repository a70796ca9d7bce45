"""Runs of one offset, against the tz database's own tables."""

from __future__ import annotations

import struct
from datetime import datetime, timedelta
from importlib import resources
from itertools import pairwise
from pathlib import Path
from zoneinfo import TZPATH, ZoneInfo, available_timezones

import pytest

from jobreconciler.core import cron
from jobreconciler.core.zones import to_instant, to_seconds, zone

from .cron_cases import ZONES, utc

DAY = 86_400


def changes_in_file(name: str) -> list[tuple[int, int]]:
    """(instant, offset after it) for every real change of offset, from the TZif file itself."""
    content = tzif(name)
    skip = 44 + _body(content, 0, 4)
    _, _, leaps, times, types, chars = struct.unpack_from(">6L", content, skip + 20)
    del leaps, chars
    at = skip + 44
    instants = struct.unpack_from(f">{times}q", content, at)
    indices = struct.unpack_from(f">{times}B", content, at + 8 * times)
    offsets = [struct.unpack_from(">l", content, at + 9 * times + 6 * n)[0] for n in range(types)]
    found, before = [], offsets[0]
    for instant, index in zip(instants, indices, strict=True):
        if offsets[index] != before:
            found.append((instant, offsets[index]))
        before = offsets[index]
    return found


def _body(content: bytes, at: int, size: int) -> int:
    isut, isstd, leaps, times, types, chars = struct.unpack_from(">6L", content, at + 20)
    return times * size + times + types * 6 + chars + leaps * (size + 4) + isstd + isut


def tzif(name: str) -> bytes:
    for folder in TZPATH:
        path = Path(folder) / name
        if path.is_file():
            return path.read_bytes()
    package, _, file = f"tzdata/zoneinfo/{name}".rpartition("/")
    return resources.files(package.replace("/", ".")).joinpath(file).read_bytes()


@pytest.mark.parametrize("name", [*ZONES, "Europe/London", "Asia/Tokyo", "Africa/Freetown"])
def test_changes_are_those_of_the_database(name: str) -> None:
    first, last = to_seconds(utc("1900-01-01")), to_seconds(utc("2025-01-01"))
    expected = [change for change in changes_in_file(name) if first < change[0] <= last]
    runs = list(zone(name).changes(first, last))
    assert [(run.start, run.offset) for run in runs] == expected
    for earlier, later in pairwise(runs):
        assert later.before == earlier.offset


def test_changes_that_follow_the_rule_after_the_table() -> None:
    found = zone("America/New_York").changes(
        to_seconds(utc("2088-01-01")), to_seconds(utc("2089-01-01"))
    )
    assert [to_instant(run.start) for run in found] == [
        utc("2088-03-14T07:00"),
        utc("2088-11-07T06:00"),
    ]


def test_no_two_changes_are_nearer_than_the_steps_that_look_for_them() -> None:
    apart = []
    for name in sorted(available_timezones()):
        instants = [instant for instant, _ in changes_in_file(name)]
        for earlier, later in pairwise(instants):
            apart.append(later - earlier)
    assert len(apart) > 10_000
    assert min(apart) > 1 << 18


@pytest.mark.parametrize("name", ["Europe/Berlin", "Pacific/Apia"])
def test_every_block_edge_is_crossed_without_a_break(name: str) -> None:
    where = zone(name)
    at = to_seconds(utc("1975-01-01"))
    while at < to_seconds(utc("2035-01-01")):
        run = where.run(at)
        assert run.start <= at < run.end
        last = to_instant(run.end - 1).astimezone(ZoneInfo(name))
        assert last.utcoffset() == timedelta(seconds=run.offset)
        following = where.run(run.end)
        if following.start == run.end:
            assert following.before == run.offset
        else:
            assert following.start < run.end
            assert following.offset == run.offset
        at = run.end


def test_an_hour_repeated_across_a_block_edge_is_still_known_as_repeated() -> None:
    """In 2185 Tijuana's second pass lies over an edge of the table (a multiple of 2^25 s)."""
    edge = 203 << 25
    run = zone("America/Tijuana").run(edge)
    assert to_instant(run.start) == utc("2185-11-06T09:00") < to_instant(edge)
    assert (run.before, run.offset) == (-7 * 3600, -8 * 3600)
    schedule = cron.parse("10 1 * * *", "America/Tijuana")
    assert cron.next_slot(schedule, to_instant(edge)) == utc("2185-11-07T09:10")
    assert cron.previous_slot(schedule, to_instant(edge)) == utc("2185-11-06T08:10")
    assert cron.count_between(schedule, to_instant(edge), utc("2185-11-07T09:10")) == 1


# what was written, what the hint says
UNKNOWN = [
    ("a misspelling", "Europe/Berln", "Did you mean Europe/Berlin?"),
    ("wrong case", "europe/berlin", "Did you mean Europe/Berlin?"),
    ("the city alone", "Berlin", "Did you mean Europe/Berlin?"),
    ("a blank for the underscore", "America/New York", "Did you mean America/New_York?"),
    ("the wrong continent", "Africa/Istanbul", "Did you mean "),
    ("an offset", "UTC+2", "Fixed offsets are named the other way round: Etc/GMT-2."),
    ("an offset with minutes", "GMT-05:00", "Etc/GMT+5."),
    ("an abbreviation", "PST", "IANA name"),
    ("nothing", "", "IANA name"),
    ("a path", "../../etc/passwd", "IANA name"),
    ("an absolute path", "/etc/localtime", "IANA name"),
    ("a directory", "America", "IANA name"),
    ("the machine's own zone", "localtime", "IANA name"),
    ("a zone with leap seconds", "right/Europe/Berlin", "Did you mean Europe/Berlin?"),
    ("a NUL", "Europe\0", "IANA name"),
    ("a lone surrogate", "\udcff", "IANA name"),
    ("a very long name", "x" * 5000, "IANA name"),
]


@pytest.mark.parametrize(
    ("name", "hint"), [row[1:] for row in UNKNOWN], ids=[row[0] for row in UNKNOWN]
)
def test_unknown_zones_are_refused_with_the_nearest(name: str, hint: str) -> None:
    with pytest.raises(cron.InvalidSchedule) as caught:
        cron.parse("0 0 * * *", name)
    assert caught.value.reason == "UnknownTimezone"
    assert caught.value.column == 0
    assert hint in caught.value.hint
    assert len(caught.value.message) < 120
    caught.value.message.encode()


@pytest.mark.parametrize("name", ["UTC", "Etc/UTC", "Zulu", "Etc/GMT-14", "EST5EDT", "US/Eastern"])
def test_links_and_fixed_offsets_are_zones_too(name: str) -> None:
    assert cron.next_slot(cron.parse("0 0 * * *", name), utc("2027-01-01")) is not None


def test_seconds_round_down_and_back() -> None:
    assert to_seconds(datetime.fromisoformat("1969-12-31T23:59:59.5+00:00")) == -1
    assert to_instant(-1) == utc("1969-12-31T23:59:59")
