"""Which waiting execution starts next, and what happens at a job's own limit.

Priority gains one point a minute waited. Everybody ages alike, so the order of two waiting
executions never changes and one heap serves: `order_key` needs no `now`.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

Overlap = Literal["start", "queue", "skip", "replace"]


@dataclass(frozen=True, slots=True)
class Waiting:
    """One queued execution as admission sees it.

    `counted`: it waits for another attempt and counts towards its job's limit already, so that
    nothing of its job takes the place it had.
    """

    execution_id: str
    job_id: str
    priority: int
    queued_at: datetime
    max_concurrent: int
    counted: bool = False


def order_key(waiting: Waiting) -> tuple[float, float, str]:
    """Smaller starts first: aged priority, then queue time, then id."""
    queued = waiting.queued_at.timestamp()
    return (queued / 60 - waiting.priority, queued, waiting.execution_id)


def at_release(
    overlap: str, active: int, waiting: int, max_concurrent: int, trigger: str
) -> Overlap:
    """What a newly released execution does, given its job's running and waiting ones.

    A backfill was asked for slot by slot: none is dropped, and it stops nothing that runs.
    A webhook's payload matters, so `skip` queues it too when nothing of its job waits yet.
    """
    if active + waiting < max_concurrent:
        return "start"
    if trigger == "backfill":
        return "queue"
    if overlap == "replace":
        return "replace"
    if overlap == "queue" or trigger in ("manual", "webhook"):
        return "queue"
    return "skip"


class WaitingLine:
    """Waiting executions in starting order; a job at its own limit never blocks another."""

    def __init__(self) -> None:
        self._heap: list[tuple[tuple[float, float, str], Waiting]] = []
        self._parked: dict[str, list[tuple[tuple[float, float, str], Waiting]]] = {}
        self._present: dict[str, Waiting] = {}
        self._by_job: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._present)

    def of_job(self, job_id: str) -> int:
        return self._by_job.get(job_id, 0)

    def items(self) -> Iterator[Waiting]:
        return iter(tuple(self._present.values()))

    def add(self, waiting: Waiting) -> None:
        self._present[waiting.execution_id] = waiting
        self._by_job[waiting.job_id] = self.of_job(waiting.job_id) + 1
        heapq.heappush(self._heap, (order_key(waiting), waiting))

    def discard(self, execution_id: str) -> Waiting | None:
        """Take one out of the line; its heap entry is passed over later. None: it is not there."""
        waiting = self._present.pop(execution_id, None)
        if waiting is not None:
            self._by_job[waiting.job_id] -= 1
            if not self._by_job[waiting.job_id]:
                del self._by_job[waiting.job_id]
        return waiting

    def unpark(self, job_id: str) -> None:
        """A run of this job ended: those that waited for its own limit may start again."""
        for item in self._parked.pop(job_id, ()):
            heapq.heappush(self._heap, item)

    def take(self, active: dict[str, int], running: int, max_running: int) -> Waiting | None:
        """Remove and return the next execution that may start, or None."""
        while self._heap and running < max_running:
            item = heapq.heappop(self._heap)
            waiting = item[1]
            if waiting.execution_id not in self._present:
                continue
            others = active.get(waiting.job_id, 0) - waiting.counted
            if others >= waiting.max_concurrent:
                self._parked.setdefault(waiting.job_id, []).append(item)
                continue
            self.discard(waiting.execution_id)
            return waiting
        return None
