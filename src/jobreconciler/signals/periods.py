"""Which events a period counts. Pure: instants are whole microseconds since 1970, in UTC.

The rule of the edge: at the instant `now`, a period of length L counts every event with
`created_at >= now - L`. An event exactly L old is still in; a microsecond later it is out. There is
no upper edge: an event that is dated in the future counts at once, as one from a clock that is a
little ahead should.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

PeriodName = Literal["all_time", "last_7d", "last_30d"]

SECOND = 1_000_000
DAY = 86_400 * SECOND
BEGINNING = -(2**63)
"""Before every instant that a database can hold."""


@dataclass(frozen=True, slots=True)
class Period:
    """One period of aggregation. `length` in microseconds; None: nothing ever leaves it."""

    name: PeriodName
    length: int | None

    def start(self, now: int) -> int:
        """The first instant that counts."""
        return BEGINNING if self.length is None else now - self.length

    def crossed(self, before: int, now: int) -> tuple[int, int]:
        """From (included) and to (excluded): events in between are in at one of the two instants
        and out at the other, whichever way the clock went."""
        edges = sorted((self.start(before), self.start(now)))
        return edges[0], edges[1]


ALL_TIME = Period("all_time", None)
LAST_7D = Period("last_7d", 7 * DAY)
LAST_30D = Period("last_30d", 30 * DAY)
PERIODS: tuple[Period, ...] = (ALL_TIME, LAST_7D, LAST_30D)


def period_of(name: PeriodName) -> Period:
    return next(period for period in PERIODS if period.name == name)
