"""Time → executions. A heap of coming starts; sleeps until the first, decides, releases.

Knows each job's schedule in a few words, so 10,000 of them cost little. The store's watermark and
unique slot, not this heap, are why nothing starts twice.
"""

from __future__ import annotations

import asyncio
import contextlib
import heapq
from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from functools import cache

import structlog

from jobreconciler.core import cron
from jobreconciler.core.misfire import due_slots, owed_after
from jobreconciler.errors import JobReconcilerError
from jobreconciler.loops.work import Worker
from jobreconciler.model.execution import Trigger
from jobreconciler.model.job import PinnedJob, ScheduleRow
from jobreconciler.ports import Clock, Observer, Store

log = structlog.get_logger("jobreconciler.schedule")

LONGEST_SLEEP = 1.0
BATCH = 50


class Scheduler:
    """The schedule loop's state: the row and the next slot of every scheduled job."""

    def __init__(self, store: Store, worker: Worker, clock: Clock, observer: Observer) -> None:
        self._store = store
        self._worker = worker
        self._clock = clock
        self._observer = observer
        self._rows: dict[str, ScheduleRow] = {}
        self._next: dict[str, datetime] = {}
        self._heap: list[tuple[datetime, str, datetime]] = []
        self._wake = asyncio.Event()

    def next_slots(self) -> Mapping[str, datetime]:
        """The next slot of every scheduled job, before jitter."""
        return self._next

    async def load(self, job_ids: Collection[str] | None = None) -> None:
        """Read the schedules of these jobs (None: of all) and act on them from now on."""
        rows, starts = await asyncio.to_thread(self._read, job_ids)
        for job_id in list(self._rows) if job_ids is None else job_ids:
            self._rows.pop(job_id, None)
            self._next.pop(job_id, None)
        for row, (slot, start) in zip(rows, starts, strict=True):
            self._rows[row.job_id] = row
            if slot is not None and start is not None:
                self._next[row.job_id] = slot
                heapq.heappush(self._heap, (start, row.job_id, slot))
        self._observer.jobs_changed()
        self._wake.set()

    def _read(
        self, job_ids: Collection[str] | None
    ) -> tuple[list[ScheduleRow], list[tuple[datetime | None, datetime | None]]]:
        rows = self._store.schedules(job_ids)
        # Fleets repeat themselves: thousands of jobs share a few hundred schedules.
        next_slot = cache(_next_slot)
        slots = [next_slot(row.expression, row.timezone, owed_after(row)) for row in rows]
        return rows, [_starting(row, slot) for row, slot in zip(rows, slots, strict=True)]

    async def run(self) -> None:
        """Release what is due, then sleep until the next start or an early wake."""
        while True:
            due = self._due(self._clock.now())
            if due:
                await self._release(due)
                continue
            self._wake.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._pause()):
                    await self._wake.wait()

    def _pause(self) -> float:
        """Seconds to sleep: short enough to notice that the wall clock was set."""
        if not self._heap:
            return LONGEST_SLEEP
        left = (self._heap[0][0] - self._clock.now()).total_seconds()
        return min(max(left, 0.0), LONGEST_SLEEP)

    def _due(self, now: datetime) -> list[str]:
        """Up to BATCH jobs whose start has come; entries of older schedules are passed over."""
        due: list[str] = []
        while self._heap and self._heap[0][0] <= now and len(due) < BATCH:
            _, job_id, slot = heapq.heappop(self._heap)
            if self._next.get(job_id) == slot:
                due.append(job_id)
        return due

    async def _release(self, job_ids: list[str]) -> None:
        try:
            pinned = await asyncio.to_thread(self._store.pinned, job_ids)
        except JobReconcilerError as error:
            log.error(
                "slots_wait_for_store", jobs=len(job_ids), reason=error.reason, error=error.message
            )
            self._observer.loop_error("schedule")
            self._put_back(job_ids)
            await asyncio.sleep(LONGEST_SLEEP)
            return
        results = await asyncio.gather(
            *(self._release_one(job_id, pinned.get(job_id)) for job_id in job_ids),
            return_exceptions=True,
        )
        failed = [
            id
            for id, result in zip(job_ids, results, strict=True)
            if isinstance(result, BaseException)
        ]
        for crash in (r for r in results if isinstance(r, BaseException)):
            log.error("slot_not_released", error=f"{type(crash).__name__}: {crash}")
        if failed:
            self._observer.loop_error("schedule")
            self._put_back(failed)
            await asyncio.sleep(LONGEST_SLEEP)

    def _put_back(self, job_ids: Iterable[str]) -> None:
        """Try these slots again: nothing of them was stored, so nothing can run twice."""
        for job_id in job_ids:
            slot = self._next.get(job_id)
            row = self._rows.get(job_id)
            if slot is not None and row is not None:
                start = cron.jittered(job_id, slot, row.jitter_seconds)
                heapq.heappush(self._heap, (start, job_id, slot))

    async def _release_one(self, job_id: str, pinned: PinnedJob | None) -> None:
        row = self._rows.get(job_id)
        if row is None or pinned is None:
            self._next.pop(job_id, None)
            return
        due = due_slots(row, self._clock.now())
        for missed in due.missed:
            await self._worker.miss(pinned, missed)
        for slot in due.run:
            start = cron.jittered(job_id, slot, row.jitter_seconds)
            released = await self._worker.release(
                pinned, Trigger("schedule", slot=slot), due_at=start
            )
            if released is None:
                log.info("slot_handled_before", job=job_id, slot=slot.isoformat())
        settled = [*due.run, *(missed.last for missed in due.missed)]
        if settled:
            row = row._replace(watermark=max(settled))
        if self._rows.get(job_id) is not None:
            self._advance(row)

    def _advance(self, row: ScheduleRow) -> None:
        self._rows[row.job_id] = row
        slot, start = _starting(row, _next_slot(row.expression, row.timezone, owed_after(row)))
        if slot is None or start is None:
            self._next.pop(row.job_id, None)
            return
        self._next[row.job_id] = slot
        heapq.heappush(self._heap, (start, row.job_id, slot))


def _next_slot(expression: str, timezone: str, after: datetime) -> datetime | None:
    return cron.next_slot(cron.parse(expression, timezone), after)


def _starting(row: ScheduleRow, slot: datetime | None) -> tuple[datetime | None, datetime | None]:
    """A slot and its jittered start."""
    return slot, None if slot is None else cron.jittered(row.job_id, slot, row.jitter_seconds)
