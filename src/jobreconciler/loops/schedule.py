"""Time → executions. A heap of coming starts; sleeps until the first, decides, releases.

Knows each job's schedule in a few words, so 10,000 of them cost little. The store's watermark and
unique slot, not this heap, are why nothing starts twice.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta

import structlog

from jobreconciler.core import clock_watch, cron, suspension
from jobreconciler.core.misfire import due_slots, only_due, owed_after, start_of, stopped_slots
from jobreconciler.core.starts import Start, Starts
from jobreconciler.errors import JobReconcilerError, Transient
from jobreconciler.loops.releasing import DueSlot, Releases
from jobreconciler.loops.stops import Stops
from jobreconciler.model.execution import Trigger
from jobreconciler.model.job import PinnedJob, ScheduleRow
from jobreconciler.ports import Clock, Observer, Store

log = structlog.get_logger("jobreconciler.schedule")

LONGEST_SLEEP = 1.0
MOST_AHEAD = 2_000
"""Jobs of which what they execute is held ahead of time."""
AGAIN = timedelta(seconds=1)
"""After how long a slot is tried again that could not be released."""
_TAKES_NOTHING = frozenset({"StoreReadOnly", "StoreClosed", "StoreWriterEnded"})
_TICK = timedelta(microseconds=1)
_Ahead = Callable[[Sequence[DueSlot]], Awaitable[list[bool | None]]]


class Scheduler:
    """The schedule loop's state: the row and the next slot of every scheduled job."""

    def __init__(
        self, store: Store, releases: Releases, clock: Clock, observer: Observer, stops: Stops
    ) -> None:
        self._store = store
        self._releases = releases
        self._clock = clock
        self._observer = observer
        self._rows: dict[str, ScheduleRow] = {}
        self._next: dict[str, datetime] = {}
        self._starts = Starts(clock.now(), self._is_next)
        self._ahead: dict[str, PinnedJob] = {}
        self._loads = 0
        self._stops = stops
        self._anchor = clock_watch.Anchor(clock.now(), clock.monotonic())
        self.clock_fault: str | None = None
        self._unreleased: dict[str, tuple[datetime, str]] = {}
        self._reading: asyncio.Task[None] | None = None
        self._wake = asyncio.Event()

    def confirm_clock(self) -> bool:
        """An operator says that the wall clock is right. False: nobody doubted it."""
        doubted = self.clock_fault is not None
        self._anchor = clock_watch.Anchor(self._clock.now(), self._clock.monotonic())
        self._wake.set()
        return doubted

    def _believes(self, now: datetime) -> bool:
        """Whether to act on the wall clock; says so when that changes."""
        monotonic = self._clock.monotonic()
        fine = clock_watch.believable(self._anchor, now, monotonic)
        parted = 0.0 if fine else clock_watch.parted_by(self._anchor, now, monotonic)
        if fine != (self.clock_fault is None):
            self.clock_fault = None if fine else clock_watch.sentence(parted)
            if fine:
                log.info("clock_believed_again")
            else:
                log.error("clock_parted", seconds=parted, error=self.clock_fault)
            self._observer.clock_parted(parted)
        return fine

    @property
    def trouble(self) -> str | None:
        """Why a slot that is due could not be released; None where all could. For any thread."""
        for job_id, (slot, why) in tuple(self._unreleased.items()):
            if self._next.get(job_id) == slot:
                return f"slots of {job_id} wait for the store: {why}"
        return None

    def next_slots(self) -> Mapping[str, datetime]:
        """The next slot of every scheduled job, before jitter."""
        return self._next

    async def load(self, job_ids: Collection[str] | None = None) -> None:
        """Read the schedules of these jobs (None: of all) and act on them from now on."""
        self._loads += 1
        for job_id in list(self._ahead) if job_ids is None else job_ids:
            self._ahead.pop(job_id, None)
        rows, starts = await asyncio.to_thread(self._read, job_ids)
        for job_id in list(self._rows) if job_ids is None else job_ids:
            self._rows.pop(job_id, None)
            self._next.pop(job_id, None)
            self._unreleased.pop(job_id, None)
        for row, (slot, start) in zip(rows, starts, strict=True):
            self._rows[row.job_id] = row
            if slot is not None and start is not None:
                self._next[row.job_id] = slot
                self._starts.put((start, row.job_id, slot))
        self._observer.jobs_changed()
        self._wake.set()

    def _read(
        self, job_ids: Collection[str] | None
    ) -> tuple[list[ScheduleRow], list[tuple[datetime | None, datetime | None]]]:
        rows = self._store.schedules(job_ids)
        slots = [cron.slot_after(row.expression, row.timezone, owed_after(row)) for row in rows]
        return rows, [_starting(row, slot) for row, slot in zip(rows, slots, strict=True)]

    async def run(self) -> None:
        """Release what is due, then sleep until the next start or an early wake."""
        while True:
            now = self._clock.now()
            self._look_ahead(now)
            believes = self._believes(now)
            if believes and (due := self._starts.due(now)):
                await self._release(due, now)
                continue
            if believes and (coming := self._starts.coming(now)):
                await self._release_ahead(coming, self._releases.release_ahead)
                continue
            if believes and (crowd := self._starts.crowd(now, self._releases.room_ahead)):
                await self._release_ahead(crowd, self._releases.release_early)
                continue
            self._wake.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._pause()):
                    await self._wake.wait()

    def _is_next(self, job_id: str, slot: datetime) -> bool:
        return self._next.get(job_id) == slot

    def _look_ahead(self, now: datetime) -> None:
        """Have read meanwhile what starts within the next seconds."""
        near = self._starts.come_near(now)
        room = MOST_AHEAD - len(self._ahead)
        if near and room > 0:
            self._reading = asyncio.create_task(self._read_ahead(near[:room]))

    async def _read_ahead(self, job_ids: list[str]) -> None:
        """What is not there in time is read when it is due; so is what changed meanwhile."""
        loads = self._loads
        with contextlib.suppress(JobReconcilerError):
            pinned = await asyncio.to_thread(self._store.pinned, job_ids)
            if loads == self._loads:
                self._ahead.update(pinned)

    def _pause(self) -> float:
        """Seconds to sleep: short enough to notice that the wall clock was set."""
        look = self._starts.next_look(self._releases.room_ahead)
        if look is None or self.clock_fault is not None:
            return LONGEST_SLEEP
        left = (look - self._clock.now()).total_seconds()
        return min(max(left, 0.0), LONGEST_SLEEP)

    async def _release_ahead(self, coming: Iterable[Start], release: _Ahead) -> None:
        """Release those of which it is certain what will become of them; with the others it waits
        for their time."""
        plain: list[DueSlot] = []
        entries: list[Start] = []
        for entry in coming:
            start, job_id, slot = entry
            row, job = self._rows.get(job_id), self._ahead.get(job_id)
            if row is None or job is None or not self._is_plain(row, job, slot, start):
                self._starts.put_on_time(entry)
                continue
            plain.append(DueSlot(job, slot, start))
            entries.append(entry)
        if not plain:
            return
        try:
            released = await release(plain)
        except Exception:  # when their time has come it is tried again, and told what is wrong
            released = [None] * len(plain)
        for entry, result in zip(entries, released, strict=True):
            _, job_id, slot = entry
            if result is None:
                self._starts.put_on_time(entry)
                continue
            self._ahead.pop(job_id, None)
            if not result:
                _say_handled(job_id, slot)
            self._advance(job_id, slot)

    async def _release(self, job_ids: list[str], now: datetime) -> None:
        try:
            pinned = await self._pinned(job_ids)
        except JobReconcilerError as error:
            await self._try_again(dict.fromkeys(job_ids, error))
            return
        try:
            left = await self._release_plain(job_ids, pinned, now)
        except Exception:  # one of them is to blame: each by itself shows which
            left = job_ids
        results = await asyncio.gather(
            *(self._release_one(job_id, pinned.get(job_id), now) for job_id in left),
            return_exceptions=True,
        )
        failed = {
            job_id: result
            for job_id, result in zip(left, results, strict=True)
            if isinstance(result, BaseException)
        }
        if failed:
            await self._try_again(failed)

    async def _pinned(self, job_ids: list[str]) -> dict[str, PinnedJob]:
        """What these jobs execute: read ahead, else now. Raises what the store raises."""
        loads = self._loads
        ahead = {id: self._ahead.pop(id) for id in job_ids if id in self._ahead}
        unread = [job_id for job_id in job_ids if job_id not in ahead]
        found = await asyncio.to_thread(self._store.pinned, unread) if unread else {}
        if ahead and loads != self._loads:  # jobs changed meanwhile, perhaps these
            ahead = await asyncio.to_thread(self._store.pinned, list(ahead))
        return ahead | found

    async def _release_plain(
        self, job_ids: list[str], pinned: Mapping[str, PinnedJob], now: datetime
    ) -> list[str]:
        """Release, in one transaction, those jobs of which one slot is due, on time, with nobody's
        stop in the way. Returns the ids of the others; raises where none could be released."""
        plain: list[DueSlot] = []
        left: list[str] = []
        for job_id in job_ids:
            row, slot, job = self._rows.get(job_id), self._next.get(job_id), pinned.get(job_id)
            if row is None or slot is None or job is None:
                left.append(job_id)
            elif self._is_plain(row, job, slot, now):
                start = start_of(row, slot)
                plain.append(DueSlot(job, slot, start))
            else:
                left.append(job_id)
        if not plain:
            return left
        released = await self._releases.release_all(plain)
        for due, execution in zip(plain, released, strict=True):
            if execution is None:
                _say_handled(due.pinned.job_id, due.slot)
            self._advance(due.pinned.job_id, due.slot)
        return left

    def _is_plain(self, row: ScheduleRow, job: PinnedJob, slot: datetime, now: datetime) -> bool:
        following = cron.slot_after(row.expression, row.timezone, slot)
        return not self._was_stopped(row, job) and only_due(row, slot, following, now)

    def _was_stopped(self, row: ScheduleRow, pinned: PinnedJob) -> bool:
        """Whether somebody's stop keeps slots of it from starting, or did."""
        stop = self._stops.over(row.job_id, pinned.config)
        return (
            stop is not None
            or self._stops.ended(row.job_id, pinned.config, owed_after(row)) is not None
        )

    async def _try_again(self, failed: Mapping[str, BaseException]) -> None:
        """Put these jobs' slots back: nothing of them was stored, so nothing can run twice. Only a
        store that takes nothing at all holds up the other jobs."""
        self._observer.loop_error("schedule")
        of_all = any(_takes_nothing(error) for error in failed.values())
        jobs: dict[str, list[str]] = {}
        later = self._clock.now() + AGAIN
        for job_id, error in failed.items():
            jobs.setdefault(f"{type(error).__name__}: {error}", []).append(job_id)
            slot, row = self._next.get(job_id), self._rows.get(job_id)
            if slot is not None and row is not None:
                self._unreleased[job_id] = slot, str(error)
                again = start_of(row, slot) if of_all else later
                self._starts.put_on_time((again, job_id, slot))
        for why, of in jobs.items():
            log.error("slots_not_released", jobs=of[:20], count=len(of), error=why)
        if of_all:
            await asyncio.sleep(AGAIN.total_seconds())

    async def _skip_stopped(
        self, row: ScheduleRow, pinned: PinnedJob, now: datetime
    ) -> ScheduleRow:
        """Settle the slots that somebody's stop kept, or keeps, from starting."""
        stop = self._stops.over(row.job_id, pinned.config)
        until = now
        if stop is None:
            stop = self._stops.ended(row.job_id, pinned.config, owed_after(row))
            end = suspension.end_of(stop) if stop is not None else None
            if stop is None or end is None:
                return row
            until = min(end - _TICK, now)
        missed = stopped_slots(row, until, suspension.skip_reason(stop))
        if missed is None:
            return row
        await self._releases.skip_slots(pinned, missed, stop)
        return row._replace(watermark=missed.last)

    async def _release_one(self, job_id: str, pinned: PinnedJob | None, now: datetime) -> None:
        row = self._rows.get(job_id)
        if row is None or pinned is None:
            self._next.pop(job_id, None)
            return
        row = await self._skip_stopped(row, pinned, now)
        due = due_slots(row, now)
        for missed in due.missed:
            await self._releases.miss(pinned, missed)
        for slot in due.run:
            start = start_of(row, slot)
            trigger = Trigger("schedule", slot=slot, caught_up=due.caught_up)
            released = await self._releases.release(pinned, trigger, due_at=start)
            if released is None:
                _say_handled(job_id, slot)
        settled = [*due.run, *(missed.last for missed in due.missed)]
        if settled:
            row = row._replace(watermark=max(settled))
        self._advance(job_id, row.watermark)

    def _advance(self, job_id: str, watermark: datetime | None) -> None:
        """On to the next slot, of the schedule as it is by now: it may have been loaded anew."""
        row = self._rows.get(job_id)
        if row is None:
            return
        if watermark is not None and (row.watermark is None or row.watermark < watermark):
            row = row._replace(watermark=watermark)
        self._rows[job_id] = row
        self._unreleased.pop(job_id, None)
        next_slot = cron.slot_after(row.expression, row.timezone, owed_after(row))
        slot, start = _starting(row, next_slot)
        if slot is None or start is None:
            self._next.pop(row.job_id, None)
            return
        self._next[row.job_id] = slot
        self._starts.put((start, row.job_id, slot))


def _takes_nothing(error: BaseException) -> bool:
    """Whether the store takes nothing of anybody now, where others it refuses of one job alone."""
    if isinstance(error, Transient):
        return True
    return isinstance(error, JobReconcilerError) and error.reason in _TAKES_NOTHING


def _say_handled(job_id: str, slot: datetime) -> None:
    log.info("slot_handled_before", job=job_id, slot=slot.isoformat())


def _starting(row: ScheduleRow, slot: datetime | None) -> tuple[datetime | None, datetime | None]:
    """A slot and its jittered start."""
    return slot, None if slot is None else start_of(row, slot)
