"""Which waiting execution starts next, and what happens at a job's own limit.

Priority gains one point a minute waited. Everybody ages alike, so the order of two waiting
executions never changes and one heap serves: `order_key` needs no `now`.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

Overlap = Literal["start", "queue", "supersede", "skip", "replace"]

WEBHOOK_QUEUE = 100
"""So many runs of one job may wait for its limit when webhooks start it."""

Hindrance = tuple[str, str]
"""What keeps an execution from starting: a kind (`job`, `group`, `stop`, `turn`, `slot`) and a
name."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """One queued execution as admission sees it.

    `counted`: it waits for another attempt and counts towards its job's limit already, so that
    nothing of its job takes the place it had. `group`: its concurrency group.
    """

    execution_id: str
    job_id: str
    priority: int
    queued_at: datetime
    max_concurrent: int
    counted: bool = False
    group: str | None = None


def order_key(waiting: Waiting) -> tuple[float, float, str]:
    """Smaller starts first: aged priority, then queue time, then id."""
    queued = waiting.queued_at.timestamp()
    return (queued / 60 - waiting.priority, queued, waiting.execution_id)


def at_release(
    overlap: str,
    active: int,
    waiting: int,
    max_concurrent: int,
    trigger: str,
    *,
    in_turn: bool = False,
) -> Overlap:
    """What a newly released execution does, given its job's running and waiting ones.

    What runs in its turn (backfills, slots caught up with all others) is owed slot by slot: none
    is dropped, and it stops nothing that runs. A webhook's payload matters, so
    it waits also where `skip` is asked for, among 100 at most. With `queue` one waits: a newer
    scheduled one takes its place (`supersede`).
    """
    if active + waiting < max_concurrent:
        return "start"
    if in_turn:
        return "queue"
    if overlap == "replace":
        return "replace"
    if trigger == "webhook":
        return "queue" if waiting < WEBHOOK_QUEUE else "skip"
    if trigger == "manual":
        return "queue"
    if overlap == "queue":
        return "supersede" if waiting else "queue"
    return "skip"


def _free(_waiting: Waiting) -> Hindrance | None:
    return None


class WaitingLine:
    """Waiting executions in starting order; a job at its own limit never blocks another."""

    def __init__(self) -> None:
        self._heap: list[tuple[tuple[float, float, str], Waiting]] = []
        self._parked: dict[Hindrance, list[tuple[tuple[float, float, str], Waiting]]] = {}
        self._present: dict[str, Waiting] = {}
        self._by_job: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._present)

    @property
    def has_next(self) -> bool:
        """Whether one may be waiting that nothing but room keeps from starting."""
        return bool(self._heap)

    def of_job(self, job_id: str) -> int:
        return self._by_job.get(job_id, 0)

    def items(self) -> Iterator[Waiting]:
        return iter(tuple(self._present.values()))

    def get(self, execution_id: str) -> Waiting | None:
        return self._present.get(execution_id)

    def add(self, waiting: Waiting, hindrance: Hindrance | None = None) -> None:
        """With `hindrance` it stands aside from the beginning."""
        self._present[waiting.execution_id] = waiting
        self._by_job[waiting.job_id] = self.of_job(waiting.job_id) + 1
        item = order_key(waiting), waiting
        if hindrance is None:
            heapq.heappush(self._heap, item)
        else:
            self._parked.setdefault(hindrance, []).append(item)

    def discard(self, execution_id: str) -> Waiting | None:
        """Take one out of the line; its heap entry is passed over later. None: it is not there."""
        waiting = self._present.pop(execution_id, None)
        if waiting is not None:
            self._by_job[waiting.job_id] -= 1
            if not self._by_job[waiting.job_id]:
                del self._by_job[waiting.job_id]
        return waiting

    def unpark(self, name: str, kind: str = "job") -> None:
        """What kept them from starting may be over: a run of this job or group ended, a stop."""
        for item in self._parked.pop((kind, name), ()):
            heapq.heappush(self._heap, item)

    def take(
        self,
        active: dict[str, int],
        running: int,
        max_running: int,
        hindered: Callable[[Waiting], Hindrance | None] = _free,
    ) -> Waiting | None:
        """Remove and return the next execution that may start, or None.

        One that may not (its job's limit, or what `hindered` says) steps aside until `unpark`.
        """
        while self._heap and running < max_running:
            item = heapq.heappop(self._heap)
            waiting = item[1]
            if self._present.get(waiting.execution_id) is not waiting:
                continue
            others = active.get(waiting.job_id, 0) - waiting.counted
            if others >= waiting.max_concurrent:
                self._parked.setdefault(("job", waiting.job_id), []).append(item)
                continue
            hindrance = hindered(waiting)
            if hindrance is not None:
                self._parked.setdefault(hindrance, []).append(item)
                continue
            self.discard(waiting.execution_id)
            return waiting
        return None
