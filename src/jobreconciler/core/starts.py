"""The coming starts of all schedules, and which of them are to be seen to next.

Three heaps: what starts within seconds, all that is later, and what waits for its very instant.
Entries are never taken out when a schedule changes: one that is no longer its job's next slot is
passed over.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable
from datetime import datetime, timedelta

AHEAD = timedelta(seconds=2)
"""How long before their start what jobs execute is read, many at a time."""
CLAIM_WITHIN = timedelta(milliseconds=40)
CLAIM_BY = timedelta(milliseconds=20)
"""What starts within 40 ms is released in one transaction, 20 ms before the first of it at the
latest: no start waits for a commit, and a busy minute takes fewer of them."""
EARLY_EACH = timedelta(microseconds=250)
MOST_EARLY = timedelta(milliseconds=500)
"""Of more that start at once than there is room for, those that will have to wait are released
earlier, by so much for each and no more than that: their time is then spent on running them."""
BATCH = 100
"""Jobs released together at most, so that the first of very many do not wait for the last."""
_MOST_TOGETHER = MOST_EARLY // EARLY_EACH

Start = tuple[datetime, str, datetime]
"""When, which job, its slot."""


class Starts:
    """`is_next` says whether a slot is still its job's next one; `room` below is how many could be
    claimed before their time."""

    def __init__(self, now: datetime, is_next: Callable[[str, datetime], bool]) -> None:
        self._is_next = is_next
        self._later: list[Start] = []
        self._soon: list[Start] = []
        self._on_time: list[Start] = []
        self._crowd: deque[Start] = deque()
        self._horizon = now

    def put(self, start: Start) -> None:
        heapq.heappush(self._soon if start[0] <= self._horizon else self._later, start)

    def put_on_time(self, start: Start) -> None:
        """Nothing is to be done for it before its instant."""
        heapq.heappush(self._on_time, start)

    def come_near(self, now: datetime) -> list[str]:
        """The jobs that start within the next seconds, each told once."""
        if not self._later or self._horizon - now > AHEAD / 2:
            return []
        self._horizon = max(self._horizon, now + AHEAD)
        near: dict[str, None] = {}
        while self._later and self._later[0][0] <= self._horizon:
            start = heapq.heappop(self._later)
            if self._is_next(*start[1:]):
                heapq.heappush(self._soon, start)
                near[start[1]] = None
        return list(near)

    def next_look(self, room: int) -> datetime | None:
        """When there is something to do next."""
        looks = [self._soon[0][0] - self._before_first(room)] if self._soon else []
        if self._on_time:
            looks.append(self._on_time[0][0])
        return min(looks, default=None)

    def due(self, now: datetime) -> list[str]:
        """Up to BATCH jobs whose start has come."""
        found: dict[str, None] = {}
        while self._crowd and self._crowd[0][0] <= now:
            heapq.heappush(self._on_time, self._crowd.popleft())
        for heap in (self._on_time, self._soon):
            while heap and heap[0][0] <= now and len(found) < BATCH:
                _, job_id, slot = heapq.heappop(heap)
                if self._is_next(job_id, slot):
                    found[job_id] = None
        return list(found)

    def coming(self, now: datetime) -> list[Start]:
        """Up to BATCH starts of the next moment, if there is one in half of it."""
        found: dict[str, Start] = {}
        if self._soon and self._soon[0][0] <= now + CLAIM_BY:
            while self._soon and self._soon[0][0] <= now + CLAIM_WITHIN and len(found) < BATCH:
                start = heapq.heappop(self._soon)
                if self._is_next(*start[1:]):
                    found[start[1]] = start
        return list(found.values())

    def crowd(self, now: datetime, room: int) -> list[Start]:
        """Up to BATCH of those that start together soon, but for as many as there is room for."""
        while self._crowd and self._crowd[0][0] > now + MOST_EARLY:  # the clock was set back
            heapq.heappush(self._soon, self._crowd.popleft())
        if self._soon and self._soon[0][0] <= now + self._before_first(room):
            together = [heapq.heappop(self._soon) for _ in range(self._together())]
            for start in together[:room]:
                heapq.heappush(self._soon, start)
            self._crowd.extend(together[room:])
        found: list[Start] = []
        while self._crowd and len(found) < BATCH:
            start = self._crowd.popleft()
            if self._is_next(*start[1:]):
                found.append(start)
        return found

    def _before_first(self, room: int) -> timedelta:
        """How long before the first start of `_soon` there is something to do."""
        together = self._together()
        if together <= room:
            return CLAIM_BY
        return min(CLAIM_BY + together * EARLY_EACH, MOST_EARLY)

    def _together(self) -> int:
        """How many of `_soon` start when its first does, up to as many as make a difference: a heap
        has them below one another."""
        heap, found, look = self._soon, 0, [0]
        while look and found < _MOST_TOGETHER:
            at = look.pop()
            if at < len(heap) and heap[at][0] == heap[0][0]:
                found += 1
                look += (2 * at + 1, 2 * at + 2)
        return found
