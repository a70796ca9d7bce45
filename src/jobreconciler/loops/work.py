"""Executions → outcomes. Starts what was released (releasing.py) when there is room, and records
its end.

Claims an execution in the store before its process is started: after a crash in between it goes
back into the line, and no attempt is ever run twice.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Coroutine, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from typing import Any

import structlog

from jobreconciler.core import notices
from jobreconciler.core.starts import MOST_EARLY
from jobreconciler.loops.attempts import CLAIM_AGAIN_SECONDS, Attempts, Told, reason_of
from jobreconciler.loops.ends import Ends
from jobreconciler.loops.inflight import Held, InFlight
from jobreconciler.loops.releasing import Line, Releases
from jobreconciler.loops.rulings import never_again, no_more, too_late, unwanted
from jobreconciler.loops.stops import Stops
from jobreconciler.model.execution import Execution, Missed
from jobreconciler.ports import Clock, Executor, Finished, Observer, Store

log = structlog.get_logger("jobreconciler.work")

MOST_TAKEN_BACK = 3
"""Launches of one execution that nobody began, after which the next one counts as an attempt."""


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
        self.releases = Releases(
            store,
            clock,
            observer,
            stops,
            self._flight,
            self._attempts,
            Line(
                admits=lambda: self.admitting,
                add=self._enqueue,
                cancel=self.cancel,
                spawn=self._spawn,
                notices=lambda: self.on_notices(),
                look=self._wake.set,
            ),
            max_running,
        )
        self._ends = Ends(lambda ends: self._spawn(self._attempts.settle_all(ends)))

    @property
    def trouble(self) -> str | None:
        """What waits for the store; None where nothing does."""
        return self._attempts.trouble

    def _enqueue_again(self, held: Held) -> None:
        self._enqueue(held, counted=True)

    def _enqueue(self, held: Held, *, counted: bool = False) -> None:
        self._flight.wait(held, counted=counted)
        self._observer.waiting(len(self._flight.line))
        self._wake.set()

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
        early: list[Held] = []
        now = self._clock.now()
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
            elif now < execution.queued_at <= now + MOST_EARLY:
                early.append(held)
            else:
                self._enqueue(held)
        self.releases.hold(early)
        await self._give_back(claimed)
        if unfinished:
            log.info("resumed", unfinished=len(unfinished))

    async def _give_back(self, claimed: Sequence[Held]) -> None:
        """They were claimed and nobody began them: they wait again, and start only if they still
        may."""
        if claimed:
            self._given_back(claimed, await self._unclaim(claimed))

    async def _unclaim(self, claimed: Sequence[Held]) -> list[bool]:
        attempts = [(held.execution.id, held.attempts) for held in claimed]
        return await asyncio.wrap_future(self._store.unclaim_all(attempts))

    def _given_back(self, claimed: Sequence[Held], given: Sequence[bool]) -> None:
        for held, done in zip(claimed, given, strict=True):
            if not done:
                self._attempts.forget(held.execution.id)
                continue
            held.attempts -= 1
            held.launched = held.fresh = False
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
                given = await self._unclaim(claimed)
            except Exception as error:
                log.error(
                    "claim_waits_for_store",
                    executions=[held.execution.id for held in claimed],
                    **reason_of(error),
                )
                self._observer.loop_error("work")
                await asyncio.sleep(CLAIM_AGAIN_SECONDS)
            else:
                self._given_back(claimed, given)
                return

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
            held.launched = held.fresh = False
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


def _nobody_waits(_job_id: str) -> None:
    """What was to follow an outcome is found again by whoever looks at the store."""
