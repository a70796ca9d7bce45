"""Time zones as runs of one offset each, in whole seconds.

Instants (`at`) and wall-clock readings (`wall = at + offset`) are integers: seconds since
1970-01-01 00:00, of UTC or of the zone's clock. Everything is asked from zoneinfo's public
interface; changes of offset are found by looking at it in steps shorter than any two changes
have ever been apart (held by a test over the whole tz database).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo, available_timezones

from jobreconciler.core.cron_refusals import InvalidSchedule

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_SECOND: Final = timedelta(seconds=1)

FIRST: Final = (datetime(1, 1, 3, tzinfo=UTC) - EPOCH) // _SECOND
END: Final = (datetime(9999, 12, 27, tzinfo=UTC) - EPOCH) // _SECOND
"""Instants are kept within [FIRST, END), so that no offset leads out of datetime's years."""

LONGEST_SHIFT: Final = 93_600
"""No clock has ever been moved by more than a day (Manila 1844); two hours on top."""

_BLOCK_BITS: Final = 25
_STEP: Final = 1 << 18
"""Three days. The nearest changes of one zone are 3.98 days apart: Freetown, September 1939."""
_MOST_BLOCKS: Final = 1024

_ALWAYS_UTC: Final = frozenset({"UTC", "Etc/UTC", "GMT", "Etc/GMT", "Zulu", "Etc/Zulu", "UCT"})
_NOT_FOR_SCHEDULES: Final = ("right/", "posix/", "localtime", "posixrules", "Factory")
_FIXED_OFFSET = re.compile(r"(?:UTC|GMT)([+-])0?([0-9]{1,2})(?::?00)?", re.I)


class Run(NamedTuple):
    """[start, end) with one offset; `before` is the offset just before start.

    A run ends at a change of offset, or where a block of the table does; then the next one's
    `before` equals its offset. A run that a change has begun shortly before its block starts
    with that change, so an hour that is repeated across a block's edge is still known as such.
    """

    start: int
    end: int
    before: int
    offset: int


def to_seconds(instant: datetime) -> int:
    """Whole seconds since the epoch, rounded down. Raises TypeError for a naive datetime."""
    return (instant - EPOCH) // _SECOND


def to_instant(at: int) -> datetime:
    return datetime.fromtimestamp(at, UTC)


class Zone:
    """One zone's runs, read in blocks of about a year when first asked for, then kept."""

    __slots__ = ("_blocks", "_epoch", "_info", "name")

    def __init__(self, name: str, info: ZoneInfo) -> None:
        self.name = name
        self._info = info
        self._epoch = datetime(1970, 1, 1, tzinfo=info)
        self._blocks: dict[int, tuple[Run, ...]] = {}

    def run(self, at: int) -> Run:
        """The run that holds `at`."""
        block = at >> _BLOCK_BITS
        runs = self._blocks.get(block)
        if runs is None:
            runs = self._keep(block)
        for run in runs:
            if at < run.end:
                return run
        raise AssertionError("a block's last run reaches its end")

    def changes(self, after: int, until: int) -> Iterator[Run]:
        """Runs that begin with a change of offset in (after, until]."""
        at = after + 1
        while at <= until:
            run = self.run(at)
            if run.start == at and run.before != run.offset:
                yield run
            at = run.end

    def _keep(self, block: int) -> tuple[Run, ...]:
        if len(self._blocks) >= _MOST_BLOCKS:
            self._blocks.clear()
        first, end = block << _BLOCK_BITS, (block + 1) << _BLOCK_BITS
        runs = self._blocks[block] = tuple(self._read(first, end))
        return runs

    def _read(self, first: int, end: int) -> Iterator[Run]:
        """The runs of [first, end)."""
        start = first - _STEP
        low = max(first - 2 * _STEP, FIRST)
        before = offset = self._offset(low)
        for high, turned in self._turns(low, min(end + LONGEST_SHIFT, END)):
            change = self._turn(high - _STEP, high, offset) - max(offset, turned)
            if change >= end:
                break
            if change > first:
                yield Run(start, change, before, offset)
            start, before, offset = change, offset, turned
        yield Run(start, end, before, offset)

    def _turns(self, low: int, high: int) -> Iterator[tuple[int, int]]:
        """Readings, a step apart, whose offset is not the one a step before; and that offset.

        Asked by wall clock, which is ten times as fast as by instant. For a reading (fold=0)
        zoneinfo's answer turns at the later one of the two readings that a change has.
        """
        ask, step = self._info.utcoffset, timedelta(seconds=_STEP)
        reading = self._epoch + timedelta(seconds=low)
        known = ask(reading)
        for at in range(low + _STEP, high + _STEP, _STEP):
            reading += step
            found = ask(reading)
            if found is not known and found != known:
                known = found
                yield at, self._offset(at)

    def _turn(self, low: int, high: int, offset: int) -> int:
        """The first reading in (low, high] with another offset: a full quarter in most cases."""
        quarter = 900
        early, late = low // quarter, -(-high // quarter)
        while late - early > 1:
            middle = (early + late) // 2
            if self._offset(middle * quarter) == offset:
                early = middle
            else:
                late = middle
        if self._offset(late * quarter - 1) == offset:
            return late * quarter
        low, high = early * quarter, late * quarter
        while high - low > 1:
            middle = (low + high) // 2
            if self._offset(middle) == offset:
                low = middle
            else:
                high = middle
        return high

    def _offset(self, reading: int) -> int:
        found = self._info.utcoffset(self._epoch + timedelta(seconds=reading))
        return 0 if found is None else found.days * 86_400 + found.seconds


class _Utc(Zone):
    """UTC never changes: nothing to look up."""

    __slots__ = ()
    _ONLY = Run(FIRST - 2 * LONGEST_SHIFT, END + 2 * LONGEST_SHIFT, 0, 0)

    def run(self, at: int) -> Run:  # noqa: ARG002
        return self._ONLY

    def changes(self, after: int, until: int) -> Iterator[Run]:  # noqa: ARG002
        return iter(())


@lru_cache(maxsize=1024)
def zone(name: str) -> Zone:
    """The zone of an IANA name. Raises InvalidSchedule (`UnknownTimezone`) with the nearest."""
    if not name.startswith(_NOT_FOR_SCHEDULES):
        try:
            return (_Utc if name in _ALWAYS_UTC else Zone)(name, ZoneInfo(name))
        except (KeyError, ValueError, OSError):
            pass
    shown = name[:64]
    raise InvalidSchedule(
        f"unknown time zone {shown!a}", reason="UnknownTimezone", hint=_hint(shown)
    )


@lru_cache(maxsize=256)
def _hint(name: str) -> str:
    fixed = _FIXED_OFFSET.fullmatch(name)
    if fixed:
        sign = "-" if fixed[1] == "+" else "+"
        return f"Fixed offsets are named the other way round: Etc/GMT{sign}{fixed[2]}."
    near = _nearest(name)
    return f"Did you mean {near}?" if near else "Use an IANA name such as Europe/Berlin or UTC."


def _nearest(name: str) -> str | None:
    """The known name that is nearest: by case, by its city, then by spelling."""
    wanted = name.strip().replace(" ", "_").lower()
    known = {
        known.lower(): known
        for known in sorted(available_timezones())
        if not known.startswith(_NOT_FOR_SCHEDULES)
    }
    if wanted in known:
        return known[wanted]
    cities = {lower.rpartition("/")[2]: full for lower, full in known.items() if "/" in lower}
    city = wanted.rpartition("/")[2]
    if city in known or city in cities:
        return known.get(city) or cities[city]
    import difflib

    close = difflib.get_close_matches(wanted, known, n=1, cutoff=0.8)
    if close:
        return known[close[0]]
    close = difflib.get_close_matches(city, cities, n=1, cutoff=0.8)
    return cities[close[0]] if close else None
