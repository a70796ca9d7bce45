"""Triggers → executions: each is stored, and then waits, starts, or stays where it was skipped."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import structlog

from jobreconciler.core import notices, suspension
from jobreconciler.core.admission import Overlap, at_release
from jobreconciler.core.repository_tree import starts_in_tree
from jobreconciler.loops.attempts import Attempts
from jobreconciler.loops.ids import new_execution_id
from jobreconciler.loops.inflight import Held, InFlight
from jobreconciler.loops.rulings import in_spite_of, overlap_text
from jobreconciler.loops.stops import Stops
from jobreconciler.model.execution import Attempt, Execution, Missed, Trigger
from jobreconciler.model.job import PinnedJob
from jobreconciler.model.suspension import Suspension
from jobreconciler.ports import Clock, Observer, Store

log = structlog.get_logger("jobreconciler.work")

Write = Callable[[Execution, Mapping[str, Any]], Awaitable[bool]]
"""Stores a new execution, if nothing that it stands for was released before."""
_Then = Callable[[Sequence[Held]], Coroutine[Any, Any, None]]
_Decided = tuple[Held, Overlap]
"""An execution, and what becomes of it at its job's limit."""


@dataclass(frozen=True, slots=True)
class DueSlot:
    """A slot to release now; `due_at` is when it was to start, jitter included."""

    pinned: PinnedJob
    slot: datetime
    due_at: datetime


@dataclass(frozen=True, slots=True)
class Line:
    """What takes in what was released. `admits`: whether anything may start; `add`: it waits;
    `cancel`: for another; `spawn`: nobody waits for that; `notices`: there is something to send;
    `look`: something may start."""

    admits: Callable[[], bool]
    add: Callable[[Held], None]
    cancel: Callable[[str, str], Awaitable[bool]]
    spawn: Callable[[Coroutine[Any, Any, None]], None]
    notices: Callable[[], None]
    look: Callable[[], None]


class Releases:
    """Used on the event loop only. `tree_revision` is where a run of a job starts that needs the
    repository's files; None: at its own revision."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        observer: Observer,
        stops: Stops,
        flight: InFlight,
        attempts: Attempts,
        line: Line,
        max_running: int,
    ) -> None:
        self._store = store
        self._clock = clock
        self._observer = observer
        self._stops = stops
        self._flight = flight
        self._attempts = attempts
        self._line = line
        self._max_running = max_running
        self._most_ahead = max_running * 3 // 4
        self.tree_revision: Callable[[str], str | None] = _no_tree

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
        await self._released(Held(execution, pinned.config, due_at, fresh=True), choice)
        return execution

    async def release_all(self, due: Sequence[DueSlot]) -> list[Execution | None]:
        """As `release` for slots of as many different jobs, none of them stopped, in one
        transaction. Raises what the store raises: then none of them was written."""
        wanted = [self._of_slot(one) for one in due]
        written, starting = await self._write_all(wanted, self._max_running)
        begun = [wanted[index][0] for index in starting if written[index]]
        if begun:
            self._line.spawn(self._attempts.launch_all(begun))
        for index, (held, choice) in enumerate(wanted):
            if written[index] and index not in starting:
                await self._released(held, choice)
        return [
            held.execution if is_new else None
            for (held, _), is_new in zip(wanted, written, strict=True)
        ]

    async def release_ahead(self, coming: Sequence[DueSlot]) -> list[bool | None]:
        """As `release_all`, a moment before their time: each is claimed and only has to be launched
        then. False: it was handled before. None: it could not start as things are, or too many do
        already; nothing was written of it."""
        ahead = self._ahead_of_clock()
        wanted = [self._of_slot(one, at=one.due_at) for one in coming]
        written, starting = await self._write_all(wanted, self._most_ahead, ahead=True)
        claimed = [wanted[index][0] for index in starting if written[index]]
        self._in_time(claimed, self._attempts.launch_all, ahead)
        return written

    @property
    def room_ahead(self) -> int:
        """How many `release_ahead` could claim as things are."""
        return max(0, self._most_ahead - self._flight.at_work)

    async def release_early(self, coming: Sequence[DueSlot]) -> list[bool | None]:
        """As `release_ahead`, of slots for which there will be no room at their time: each is in
        the store before it, and waits."""
        wanted = [self._of_slot(one, at=one.due_at) for one in coming]
        chosen = [index for index, (_, choice) in enumerate(wanted) if choice == "start"]
        if not chosen or not self._line.admits():
            return [None] * len(wanted)
        early = [wanted[index][0] for index in chosen]
        self._wait_for_their_time(early)  # first: who gives a job up looks at what waits
        try:
            stored = await asyncio.wrap_future(
                self._store.release_all([(held.execution, held.config, None) for held in early])
            )
        except BaseException:
            for held in early:
                self._attempts.forget(held.execution.id)
            raise
        written: list[bool | None] = [None] * len(wanted)
        for index, held, is_new in zip(chosen, early, stored, strict=True):
            written[index] = is_new
            if not is_new:
                self._attempts.forget(held.execution.id)
        waiting = [held for held, is_new in zip(early, stored, strict=True) if is_new]
        self._in_time(waiting, self._let_go, self._ahead_of_clock())
        return written

    def hold(self, early: Sequence[Held]) -> None:
        """They are in the store, and wait from their time on, which is when they were queued."""
        self._wait_for_their_time(early)
        self._in_time(early, self._let_go, self._ahead_of_clock())

    def _wait_for_their_time(self, early: Sequence[Held]) -> None:
        for held in early:
            held.early = True
            self._flight.wait(held)

    def _in_time(self, early: Sequence[Held], then: _Then, ahead: float) -> None:
        """When the time of each has come, which is when it was queued. `ahead` as in
        `_ahead_of_clock`."""
        times: dict[datetime, list[Held]] = {}
        for held in early:
            times.setdefault(held.execution.queued_at, []).append(held)
        for at, those in times.items():
            self._line.spawn(_at(at.timestamp() + ahead, those, then))

    async def _let_go(self, early: Sequence[Held]) -> None:
        """What became of their jobs meanwhile decides as if each had come in now."""
        for held in early:
            if self._flight.get(held.execution.id) is not held:
                continue
            stop = self._stops.over(held.job_id, held.live or held.config)
            choice = self._choice(held.job_id, held.limits, held.execution.trigger)
            if stop is not None or choice == "skip":
                self._line.spawn(self._skip_early(held, stop))
                continue
            await self._make_room_for(held, choice)
            self._flight.its_time_has_come(held)  # unless it was given up meanwhile
        self._line.look()

    async def _skip_early(self, held: Held, stop: Suspension | None) -> None:
        execution, missed = held.execution, None
        error = overlap_text(held.limits["maxConcurrent"], execution.trigger)
        if stop is not None:
            slot = execution.trigger.slot or execution.queued_at
            missed = Missed(slot, slot, 1, suspension.skip_reason(stop))
            error = suspension.sentence(stop)
        reason = "overlap" if missed is None else missed.reason
        skipped = self._store.skip_queued(execution.id, self._clock.now(), error, missed)
        try:
            done = await asyncio.wrap_future(skipped)
        except Exception as failure:
            # It waits in spite of it, rather than be lost.
            log.error("not_skipped", execution=execution.id, job=held.job_id, error=str(failure))
            self._observer.loop_error("work")
            self._flight.its_time_has_come(held)
            self._line.look()
            return
        self._attempts.forget(execution.id)
        if done:
            self._say_skipped(execution, reason)

    def _ahead_of_clock(self) -> float:
        """The clock that nobody sets, less the wall clock: what was released before its time waits
        for no wall clock set back."""
        return asyncio.get_running_loop().time() - self._clock.now().timestamp()

    async def _write_all(
        self, wanted: Sequence[_Decided], most: int, *, ahead: bool = False
    ) -> tuple[list[bool | None], dict[int, Attempt]]:
        """Stores them in one transaction, those that may start with their first attempt. Of each
        whether it is new, None where it was not written: `ahead` leaves out what may not start. And
        what starts, by index: no longer where it was not new."""
        releases: list[tuple[Execution, dict[str, Any], Attempt | None]] = []
        of_release: list[int] = []
        starting: dict[int, Attempt] = {}
        try:
            for index, (held, choice) in enumerate(wanted):
                start = choice == "start" and self._line.admits()
                if start and self._flight.start(held, most):
                    starting[index] = self._attempts.begin(held, held.due_at if ahead else None)
                elif ahead:
                    continue
                of_release.append(index)
                releases.append((held.execution, held.config, starting.get(index)))
            stored = (
                await asyncio.wrap_future(self._store.release_all(releases)) if releases else []
            )
        except BaseException:
            for index in starting:
                self._attempts.forget(wanted[index][0].execution.id)
            raise
        written: list[bool | None] = [None] * len(wanted)
        for index, is_new in zip(of_release, stored, strict=True):
            written[index] = is_new
            if not is_new and index in starting:
                self._attempts.forget(wanted[index][0].execution.id)
        self._observer.running(len(self._flight.running))
        return written, starting

    def _of_slot(self, due: DueSlot, at: datetime | None = None) -> _Decided:
        made = self._new(due.pinned, Trigger("schedule", slot=due.slot), at=at)
        execution, choice = self._decided(made, due.pinned)
        return Held(execution, due.pinned.config, due.due_at, fresh=True), choice

    def _decided(self, execution: Execution, pinned: PinnedJob) -> tuple[Execution, Overlap]:
        """What becomes of it at its job's limit; as skipped where that is what becomes of it."""
        limits = pinned.config["payload"]["limits"]
        choice = self._choice(pinned.job_id, limits, execution.trigger)
        if choice == "skip":
            execution = replace(
                execution,
                status="skipped",
                finished_at=execution.queued_at,
                error=overlap_text(limits["maxConcurrent"], execution.trigger),
            )
        return execution, choice

    def _choice(self, job_id: str, limits: Mapping[str, Any], trigger: Trigger) -> Overlap:
        return at_release(
            limits["overlap"],
            self._flight.active(job_id),
            self._flight.waiting(job_id),
            limits["maxConcurrent"],
            trigger.type,
            in_turn=trigger.in_turn,
        )

    async def _released(self, held: Held, choice: Overlap) -> None:
        """It is in the store: into the line with it, unless it was skipped."""
        if choice == "skip":
            self._say_skipped(held.execution, "overlap")
            return
        await self._make_room_for(held, choice)
        self._line.add(held)

    async def _write(self, execution: Execution, config: Mapping[str, Any]) -> bool:
        return await asyncio.wrap_future(self._store.release(execution, config))

    async def _make_room_for(self, held: Held, choice: Overlap) -> None:
        try:
            await self._make_room(choice, held.job_id)
        except Exception as error:
            # Whatever it was to take the place of goes on, and it waits.
            execution_id = held.execution.id
            log.error("room_not_made", job=held.job_id, execution=execution_id, error=str(error))
            self._observer.loop_error("work")

    async def _make_room(self, choice: Overlap, job_id: str) -> None:
        if choice == "replace":
            await self._replace_oldest(job_id)
        elif choice == "supersede":
            waiting = self._flight.superseded(job_id)
            if waiting is not None:
                await self._line.cancel(waiting, "replaced by a newer run: one of it may wait")

    async def _replace_oldest(self, job_id: str) -> None:
        """`overlap: replace`: what waits is dropped, else the oldest run is stopped."""
        replaceable = self._flight.replaceable
        waiting, running = self._flight.waiting_of(job_id), self._flight.running_of(job_id)
        replaced = replaceable(waiting) or replaceable(running)
        if replaced is not None:
            await self._line.cancel(replaced, "replaced by a newer run")

    async def skip(
        self, pinned: PinnedJob, trigger: Trigger, reason: str, write: Write
    ) -> Execution | None:
        """Record a trigger that starts nothing, for `reason`."""
        made = self._new(pinned, trigger)
        execution = replace(made, status="skipped", finished_at=made.queued_at, error=reason)
        if not await write(execution, pinned.config):
            return None
        self._say_skipped(execution, reason)
        return execution

    def _say_skipped(self, execution: Execution, reason: str) -> None:
        self._observer.slot_skipped(execution.job_id, reason)
        log.info("skipped", job=execution.job_id, execution=execution.id, reason=reason)

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
                self._line.notices()
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


async def _at(moment: float, those: Sequence[Held], then: _Then) -> None:
    """`moment` by the event loop's clock."""
    await asyncio.sleep(moment - asyncio.get_running_loop().time())
    await then(those)


def _no_tree(_job_id: str) -> None:
    """Without a repository a run starts at its job's own revision."""
