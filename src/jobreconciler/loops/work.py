"""Executions → outcomes. Takes what was released, starts it when there is room, records its end.

Claims an execution in the store before its process is started: after a crash in between it goes
back into the line, and no attempt is ever run twice.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Coroutine, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import structlog

from jobreconciler.core import notices, suspension
from jobreconciler.core.admission import Overlap, at_release
from jobreconciler.core.repository_tree import starts_in_tree
from jobreconciler.errors import JobReconcilerError
from jobreconciler.loops.attempts import CLAIM_AGAIN_SECONDS, Attempts, Told, reason_of
from jobreconciler.loops.ends import Ends
from jobreconciler.loops.ids import new_execution_id
from jobreconciler.loops.inflight import Held, InFlight
from jobreconciler.loops.rulings import (
    in_spite_of,
    never_again,
    no_more,
    overlap_text,
    too_late,
    unwanted,
)
from jobreconciler.loops.stops import Stops
from jobreconciler.model.execution import Execution, Missed, Trigger
from jobreconciler.model.job import PinnedJob
from jobreconciler.model.suspension import Suspension
from jobreconciler.ports import Clock, Executor, Finished, Observer, Store

log = structlog.get_logger("jobreconciler.work")

MOST_TAKEN_BACK = 3
"""Launches of one execution that nobody began, after which the next one counts as an attempt."""
Write = Callable[[Execution, Mapping[str, Any]], Awaitable[bool]]
"""Stores a new execution, if nothing that it stands for was released before."""


@dataclass(frozen=True, slots=True)
class DueSlot:
    """A slot to release now; `due_at` is when it was to start, jitter included."""

    pinned: PinnedJob
    slot: datetime
    due_at: datetime


class Worker:
    """The work loop. Everything here runs on the event loop."""

    def __init__(
        self,
        store: Store,
        executor: Executor,
        clock: Clock,
        observer: Observer,
        stops: Stops,
        max_running: int,
        groups: Mapping[str, int],
    ) -> None:
        self._store = store
        self._executor = executor
        self._clock = clock
        self._observer = observer
        self._max_running = max_running
        self._stops = stops
        stops.on_changed(self._stops_changed)
        self._flight = InFlight(groups, self._stopped)
        self._wake = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self.admitting = True
        self.on_notices: Callable[[], None] = _nobody_listens
        self.on_ended: Callable[[str], None] = _nobody_waits
        self.tree_revision: Callable[[str], str | None] = _no_tree
        self._attempts = Attempts(
            store,
            executor,
            clock,
            observer,
            self._flight,
            Told(
                may=self._may_start,
                back=self._back_in_line,
                again=self._enqueue_again,
                room=self._wake.set,
                ended=lambda job_id: self.on_ended(job_id),
                notices=lambda: self.on_notices(),
            ),
        )
        self._ends = Ends(lambda ends: self._spawn(self._attempts.settle_all(ends)))

    @property
    def trouble(self) -> str | None:
        """What waits for the store; None where nothing does."""
        return self._attempts.trouble

    # ------------------------------------------------------------------ taking executions in

    async def release(
        self,
        pinned: PinnedJob,
        trigger: Trigger,
        *,
        due_at: datetime | None = None,
        dry_run: bool = False,
        retry_of: str | None = None,
        write: Write | None = None,
    ) -> Execution | None:
        """Store one execution and put it in the line. None: its slot was handled already.

        `write` stores it where more than the row has to be written in the same transaction.
        Raises Stalled for a manual run of a suspended job, unless it overrides that.
        """
        stop = self._stops.over(pinned.job_id, pinned.config)
        if stop is not None:
            trigger = in_spite_of(stop, pinned.job_id, trigger)
            if trigger.type in ("webhook", "dependency"):
                reason = suspension.skip_reason(stop)
                return await self.skip(pinned, trigger, reason, write or self._write)
        execution, choice = self._decided(
            self._new(pinned, trigger, dry_run=dry_run, retry_of=retry_of), pinned
        )
        if not await (write or self._write)(execution, pinned.config):
            return None
        await self._released(execution, choice, pinned, due_at)
        return execution

    async def release_all(self, due: Sequence[DueSlot]) -> list[Execution | None]:
        """As `release` for slots of as many different jobs, none of them stopped, in one
        transaction. Raises what the store raises: then none of them was written."""
        decided = [
            self._decided(self._new(one.pinned, Trigger("schedule", slot=one.slot)), one.pinned)
            for one in due
        ]
        releases = []
        starting: dict[str, Held] = {}
        try:
            for one, (execution, choice) in zip(due, decided, strict=True):
                held = Held(execution, one.pinned.config, one.due_at)
                start = choice == "start" and self.admitting
                attempt = None
                if start and self._flight.start(held, self._max_running):
                    starting[execution.id] = held
                    attempt = self._attempts.begin(held)
                releases.append((execution, one.pinned.config, attempt))
            written = await asyncio.wrap_future(self._store.release_all(releases))
        except BaseException:
            for execution_id in starting:
                self._attempts.forget(execution_id)
            raise
        new = {
            execution.id for (execution, _), is_new in zip(decided, written, strict=True) if is_new
        }
        begun = [held for execution_id, held in starting.items() if execution_id in new]
        if begun:
            self._spawn(self._attempts.launch_all(begun))
        for execution_id in starting.keys() - new:
            self._attempts.forget(execution_id)
        self._observer.running(len(self._flight.running))
        for one, (execution, choice) in zip(due, decided, strict=True):
            if execution.id in new and execution.id not in starting:
                await self._released(execution, choice, one.pinned, one.due_at)
        return [execution if execution.id in new else None for execution, _ in decided]

    async def release_ahead(self, coming: Sequence[DueSlot]) -> list[bool | None]:
        """As `release_all`, a moment before their time: each is claimed and only has to be launched
        then. False: it was handled before. None: it could not start as things are, or too many do
        already; nothing was written of it."""
        starting: dict[int, Held] = {}
        releases = []
        # By the clock that nobody sets: nothing that is claimed waits for a wall clock set back.
        ahead = asyncio.get_running_loop().time() - self._clock.now().timestamp()
        try:
            for index, one in enumerate(coming):
                trigger = Trigger("schedule", slot=one.slot)
                made = self._new(one.pinned, trigger, at=one.due_at)
                execution, choice = self._decided(made, one.pinned)
                held = Held(execution, one.pinned.config, one.due_at)
                start = choice == "start" and self.admitting
                if start and self._flight.start(held, self._max_running * 3 // 4):
                    starting[index] = held
                    attempt = self._attempts.begin(held, one.due_at)
                    releases.append((execution, one.pinned.config, attempt))
            if not releases:
                return [None] * len(coming)
            written = await asyncio.wrap_future(self._store.release_all(releases))
        except BaseException:
            for held in starting.values():
                self._attempts.forget(held.execution.id)
            raise
        results: list[bool | None] = [None] * len(coming)
        for (index, held), is_new in zip(starting.items(), written, strict=True):
            results[index] = is_new
            if is_new:
                self._spawn(self._launch_at(coming[index].due_at.timestamp() + ahead, held))
            else:
                self._attempts.forget(held.execution.id)
        self._observer.running(len(self._flight.running))
        return results

    async def _launch_at(self, moment: float, held: Held) -> None:
        """Launch what was claimed ahead."""
        await asyncio.sleep(moment - asyncio.get_running_loop().time())
        await self._attempts.launch_all([held])

    def _decided(self, execution: Execution, pinned: PinnedJob) -> tuple[Execution, Overlap]:
        """What becomes of it at its job's limit; as skipped where that is what becomes of it."""
        limits = pinned.config["payload"]["limits"]
        choice = at_release(
            limits["overlap"],
            self._flight.active(pinned.job_id),
            self._flight.waiting(pinned.job_id),
            limits["maxConcurrent"],
            execution.trigger.type,
            in_turn=execution.trigger.in_turn,
        )
        if choice == "skip":
            execution = replace(
                execution,
                status="skipped",
                finished_at=execution.queued_at,
                error=overlap_text(limits["maxConcurrent"], execution.trigger),
            )
        return execution, choice

    async def _released(
        self,
        execution: Execution,
        choice: Overlap,
        pinned: PinnedJob,
        due_at: datetime | None,
    ) -> None:
        """It is in the store: into the line with it, unless it was skipped."""
        if choice == "skip":
            self._observer.slot_skipped(pinned.job_id, "overlap")
            log.info("skipped", job=pinned.job_id, execution=execution.id, reason="overlap")
            return
        try:
            await self._make_room(choice, pinned.job_id)
        except (JobReconcilerError, OSError) as error:
            # Whatever it was to take the place of goes on, and it waits.
            log.error("room_not_made", job=pinned.job_id, execution=execution.id, error=str(error))
            self._observer.loop_error("work")
        self._enqueue(Held(execution, pinned.config, due_at))

    async def _write(self, execution: Execution, config: Mapping[str, Any]) -> bool:
        return await asyncio.wrap_future(self._store.release(execution, config))

    async def skip(
        self, pinned: PinnedJob, trigger: Trigger, reason: str, write: Write
    ) -> Execution | None:
        """Record a trigger that starts nothing, for `reason`."""
        made = self._new(pinned, trigger)
        execution = replace(made, status="skipped", finished_at=made.queued_at, error=reason)
        if not await write(execution, pinned.config):
            return None
        self._observer.slot_skipped(pinned.job_id, reason)
        log.info("skipped", job=pinned.job_id, execution=execution.id, reason=reason)
        return execution

    async def skip_slots(self, pinned: PinnedJob, missed: Missed, stop: Suspension) -> None:
        """Record slots that somebody's stop keeps from starting; they are not caught up."""
        made = self._new(pinned, Trigger("schedule"))
        execution = replace(
            made,
            status="skipped",
            missed=missed,
            finished_at=made.queued_at,
            error=suspension.sentence(stop),
        )
        written = self._store.skip_slots(execution, pinned.config, stop.created_at)
        if await asyncio.wrap_future(written):
            for _ in range(min(missed.count, 1000)):
                self._observer.slot_skipped(pinned.job_id, missed.reason)
            log.info("skipped", job=pinned.job_id, count=missed.count, reason=missed.reason)

    async def miss(self, pinned: PinnedJob, missed: Missed) -> None:
        """Record slots that nobody started."""
        execution = replace(
            self._new(pinned, Trigger("schedule")),
            status="missed",
            missed=missed,
            finished_at=self._clock.now(),
            error=missed.reason,
        )
        told = notices.of_missed(execution, pinned.config)
        if await asyncio.wrap_future(self._store.release(execution, pinned.config, told=told)):
            if told is not None:
                self.on_notices()
            self._observer.slot_missed(pinned.job_id, missed.count)
            log.warning("missed", job=pinned.job_id, count=missed.count, reason=missed.reason)

    def _new(
        self,
        pinned: PinnedJob,
        trigger: Trigger,
        *,
        dry_run: bool = False,
        retry_of: str | None = None,
        at: datetime | None = None,
    ) -> Execution:
        now = at or self._clock.now()
        revision = pinned.revision
        if starts_in_tree(pinned.config, trigger.parameters):
            # Files beside the job's own have changed since that was applied.
            revision = self.tree_revision(pinned.job_id) or revision
        return Execution(
            id=new_execution_id(now),
            job_id=pinned.job_id,
            status="queued",
            trigger=trigger,
            queued_at=now,
            revision=revision,
            generation=pinned.generation,
            config_digest=pinned.digest,
            dry_run=dry_run,
            retry_of=retry_of,
        )

    def _enqueue_again(self, held: Held) -> None:
        self._enqueue(held, counted=True)

    def _enqueue(self, held: Held, *, counted: bool = False) -> None:
        self._flight.wait(held, counted=counted)
        self._observer.waiting(len(self._flight.line))
        self._wake.set()

    async def _make_room(self, choice: Overlap, job_id: str) -> None:
        if choice == "replace":
            await self._replace_oldest(job_id)
        elif choice == "supersede":
            waiting = self._flight.superseded(job_id)
            if waiting is not None:
                await self.cancel(waiting, "replaced by a newer run: one of it may wait")

    def _may_start(self, held: Held) -> bool:
        """Whether one that was claimed is still to be launched."""
        wanted = held.stopped_for is None and held.no_more is None
        return wanted and self.admitting and not self._stopped(held)

    def _stopped(self, held: Held) -> bool:
        """Whether somebody's stop keeps it from starting now."""
        if held.execution.trigger.override:
            return False
        return self._stops.over(held.job_id, held.live or held.config) is not None

    def _stops_changed(self) -> None:
        self._flight.go_on()
        self._wake.set()

    async def recheck(self, job_ids: Collection[str] | None = None) -> None:
        """Jobs changed (None: any may have): what of them waits starts only if they are still
        declared and enabled, and by their new limits; what runs is tried again only if so."""
        found = [held for held in self._flight.all() if job_ids is None or held.job_id in job_ids]
        if not found:
            return
        live = await asyncio.to_thread(self._store.pinned, {held.job_id for held in found})
        for held in found:
            if self._flight.get(held.execution.id) is not held:
                continue
            pinned = live.get(held.job_id)
            held.no_more = no_more(pinned)
            if held.no_more is not None and held.execution.id not in self._flight.running:
                await self.cancel(held.execution.id, never_again(held, held.no_more))
            elif pinned is not None:
                same = pinned.digest == held.execution.config_digest
                self._flight.renew(held, None if same else pinned.config)
                self._wake.set()

    async def _drop(self, held: Held, reason: str) -> None:
        """Its job was given up while it ran, or was about to, and it came back into the line."""
        cancelled = self._store.cancel_queued(held.execution.id, self._clock.now(), reason)
        if await self._attempts.settle_unstarted(held, cancelled):
            self.on_ended(held.job_id)

    async def _miss_waiting(self, held: Held, slot: datetime) -> None:
        """It waited past its startingDeadlineSeconds: recorded as missed, never started."""
        execution = held.execution
        missed = Missed(slot, slot, 1, "deadline_exceeded")
        at = self._clock.now()
        ended = replace(execution, status="missed", missed=missed, finished_at=at)
        told = notices.of_missed(ended, held.config)
        written = self._store.miss_queued(execution.id, at, missed, told=told)
        if await self._attempts.settle_unstarted(held, written):
            if told is not None:
                self.on_notices()
            self._observer.slot_missed(held.job_id, 1)
            log.warning("missed", job=held.job_id, execution=execution.id, reason=missed.reason)

    async def _replace_oldest(self, job_id: str) -> None:
        """`overlap: replace`: what waits is dropped, else the oldest run is stopped."""
        replaceable = self._flight.replaceable
        waiting, running = self._flight.waiting_of(job_id), self._flight.running_of(job_id)
        replaced = replaceable(waiting) or replaceable(running)
        if replaced is not None:
            await self.cancel(replaced, "replaced by a newer run")

    async def cancel(self, execution_id: str, reason: str) -> bool:
        """Drop a waiting execution or stop a running one. False: it is neither."""
        running = self._flight.running.get(execution_id)
        if running is not None:
            running.stopped_for = running.stopped_for or reason
            # One that is about to be launched is not, or is stopped then.
            return await self._executor.stop(execution_id, "cancelled") or not running.launched
        held = self._flight.get(execution_id)
        if held is None:
            return False
        # It keeps its place until that is stored; one that begins first is not cancelled by it.
        cancelled = await asyncio.wrap_future(
            self._store.cancel_queued(execution_id, self._clock.now(), reason)
        )
        if cancelled:
            self._attempts.forget(execution_id)
            self.on_ended(held.job_id)
        return cancelled

    # ------------------------------------------------------------------------- starting up

    async def resume(self) -> None:
        """Take over what an earlier daemon left waiting, running or pausing between attempts."""
        left = await asyncio.to_thread(self._store.left_running)
        adopted = await self._executor.adopt(left)
        if left:
            log.info("adopted", running=len(adopted.running), of=len(left))
        unfinished, configs = await asyncio.to_thread(self._left_over)
        claimed: list[Held] = []
        for execution in unfinished:
            held = Held(
                execution,
                configs[execution.config_digest],
                attempts=len(execution.attempts),
                started_at=execution.started_at,
            )
            if execution.id in adopted.not_begun:
                claimed.append(held)
            elif execution.status == "running":
                held.launched = True
                self._flight.run(held)
            elif execution.not_before is not None:
                self._flight.rest(held, counted=False)
                self._attempts.rest(held, execution.not_before)
            else:
                self._enqueue(held)
        await self._give_back(claimed)
        if unfinished:
            log.info("resumed", unfinished=len(unfinished))

    async def _give_back(self, claimed: Sequence[Held]) -> None:
        """They were claimed and nobody began them: they wait again, and start only if they still
        may."""
        attempts = [(held.execution.id, held.attempts) for held in claimed]
        given = await asyncio.wrap_future(self._store.unclaim_all(attempts)) if attempts else []
        for held, done in zip(claimed, given, strict=True):
            if not done:
                self._attempts.forget(held.execution.id)
                continue
            held.attempts -= 1
            held.launched = False
            if not held.attempts:
                held.started_at = None
            reason = unwanted(held)
            if reason is not None:
                self._spawn(self._drop(held, reason))
                continue
            self._attempts.forget(held.execution.id)
            if held.attempts:
                self._flight.rest(held, counted=False)
            self._enqueue(held, counted=held.attempts > 0)

    async def _back_in_line(self, claimed: Sequence[Held]) -> None:
        """As `_give_back`, as soon as the store takes it."""
        while True:
            try:
                return await self._give_back(claimed)
            except Exception as error:
                log.error(
                    "claim_waits_for_store",
                    executions=[held.execution.id for held in claimed],
                    **reason_of(error),
                )
                self._observer.loop_error("work")
            await asyncio.sleep(CLAIM_AGAIN_SECONDS)

    def _left_over(self) -> tuple[list[Execution], dict[str, dict[str, Any]]]:
        """In a thread: what is unfinished, and its configs by digest."""
        unfinished = self._store.unfinished()
        return unfinished, self._store.config_versions({one.config_digest for one in unfinished})

    async def quiet(self, within: float) -> None:
        """Wait, `within` seconds at most, until nothing is half started or half recorded."""
        with suppress(TimeoutError):
            async with asyncio.timeout(within):
                self._ends.flush()
                while self._tasks:
                    await asyncio.wait(set(self._tasks))
                    self._ends.flush()

    # ---------------------------------------------------------------------------- the loop

    async def run(self) -> None:
        """Start what may start, whenever something was released or ended."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            starting = []
            while self.admitting and (held := self._flight.take(self._max_running)) is not None:
                reason = unwanted(held)
                if reason is not None:
                    self._spawn(self._drop(held, reason))
                    continue
                slot = too_late(held, self._clock.now())
                if slot is not None:
                    self._spawn(self._miss_waiting(held, slot))
                    continue
                starting.append(held)
            if starting:
                self._spawn(self._start(starting))
            self._observer.waiting(len(self._flight.line))
            self._observer.running(len(self._flight.running))

    async def _start(self, starting: Sequence[Held]) -> None:
        if not self.admitting:
            for held in starting:  # they stay queued in the store, for the next daemon
                self._attempts.forget(held.execution.id)
            return
        begun = await self._attempts.claim(starting)
        if begun:
            await self._attempts.launch_all(begun)

    async def collect(self) -> None:
        """Record the end of every attempt; many at once, so that they share commits."""
        async for finished in self._executor.finished():
            ends = [finished, *self._executor.more_finished()]
            self._attempts.leave(ends)
            if not all(one.begun for one in ends):
                ends = self._take_back(ends)
            self._ends.add(ends, running=self._flight.at_work > 0)

    def _take_back(self, ends: Sequence[Finished]) -> list[Finished]:
        """What nobody began may start again, if it still may at all. Returns what has ended."""
        ended, again = [], []
        for one in ends:
            held = self._flight.running.get(one.execution_id)
            if one.begun or held is None or held.taken_back >= MOST_TAKEN_BACK:
                ended.append(one)
                continue
            held.taken_back += 1
            again.append(held)
            log.warning(
                "not_begun",
                job=held.job_id,
                execution=one.execution_id,
                attempt=one.attempt,
                error=one.outcome.error,
            )
        if again:
            self._spawn(self._back_in_line(again))
        return ended

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._is_over)

    def _is_over(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None:
            log.error("work_crashed", exc_info=error)
            self._observer.loop_error("work")

    def waits_for(self, execution_id: str) -> str | None:
        """What keeps it from starting; for any thread."""
        return self._flight.waits_for(execution_id, self._max_running)

    def counts(self) -> Mapping[str, int]:
        return {"running": len(self._flight.running), "queued": len(self._flight.line)}


def _nobody_listens() -> None:
    """Notices are in the store; who sends them looks there by itself, only later."""


def _no_tree(_job_id: str) -> None:
    """Without a repository a run starts at its job's own revision."""


def _nobody_waits(_job_id: str) -> None:
    """What was to follow an outcome is found again by whoever looks at the store."""
