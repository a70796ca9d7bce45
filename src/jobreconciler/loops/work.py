"""Executions → outcomes. Takes what was released, starts it when there is room, records its end.

Claims an execution in the store before its process is started, so that a crash in between can
lose an attempt (found and recorded on restart) but never run one twice.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import structlog

from jobreconciler.core.admission import Waiting, WaitingLine, at_release
from jobreconciler.errors import JobReconcilerError
from jobreconciler.loops.ids import new_execution_id
from jobreconciler.model.execution import Attempt, Execution, Launch, Missed, Outcome, Trigger
from jobreconciler.model.job import PinnedJob
from jobreconciler.ports import Clock, Executor, Finished, Observer, Store

log = structlog.get_logger("jobreconciler.work")


@dataclass(slots=True)
class _Held:
    """One execution this loop answers for, with the config it was pinned to."""

    execution: Execution
    config: dict[str, Any]
    due_at: datetime | None


class Worker:
    """The work loop's state: what waits, what runs, and for how many of each job."""

    def __init__(
        self, store: Store, executor: Executor, clock: Clock, observer: Observer, max_running: int
    ) -> None:
        self._store = store
        self._executor = executor
        self._clock = clock
        self._observer = observer
        self._max_running = max_running
        self._line = WaitingLine()
        self._held: dict[str, _Held] = {}
        self._running: dict[str, str] = {}
        self._active: dict[str, int] = {}
        self._wake = asyncio.Event()
        self._starting: set[asyncio.Task[None]] = set()
        self.admitting = True

    # ------------------------------------------------------------------ taking executions in

    async def release(
        self,
        pinned: PinnedJob,
        trigger: Trigger,
        *,
        due_at: datetime | None = None,
        dry_run: bool = False,
        retry_of: str | None = None,
    ) -> Execution | None:
        """Store one execution and put it in the line. None: its slot was handled already."""
        execution = self._new(pinned, trigger, dry_run=dry_run, retry_of=retry_of)
        limits = pinned.config["payload"]["limits"]
        choice = at_release(
            limits["overlap"],
            self._active.get(pinned.job_id, 0),
            self._line.of_job(pinned.job_id),
            limits["maxConcurrent"],
            trigger.type,
        )
        if choice == "skip":
            execution = replace(
                execution,
                status="skipped",
                finished_at=execution.queued_at,
                error=f"overlap: {limits['maxConcurrent']} of it may run at once, and that many do",
            )
        if not await asyncio.wrap_future(self._store.release(execution, pinned.config)):
            return None
        if choice == "skip":
            self._observer.slot_skipped(pinned.job_id, "overlap")
            log.info("skipped", job=pinned.job_id, execution=execution.id, reason="overlap")
            return execution
        if choice == "replace":
            await self._replace_oldest(pinned.job_id)
        self._enqueue(execution, pinned.config, due_at)
        return execution

    async def miss(self, pinned: PinnedJob, missed: Missed) -> None:
        """Record slots that nobody started."""
        execution = replace(
            self._new(pinned, Trigger("schedule")),
            status="missed",
            missed=missed,
            finished_at=self._clock.now(),
            error=f"{missed.count} missed: {missed.reason}",
        )
        if await asyncio.wrap_future(self._store.release(execution, pinned.config)):
            self._observer.slot_missed(pinned.job_id, missed.count)
            log.warning("missed", job=pinned.job_id, count=missed.count, reason=missed.reason)

    def _new(
        self,
        pinned: PinnedJob,
        trigger: Trigger,
        *,
        dry_run: bool = False,
        retry_of: str | None = None,
    ) -> Execution:
        now = self._clock.now()
        return Execution(
            id=new_execution_id(now),
            job_id=pinned.job_id,
            status="queued",
            trigger=trigger,
            queued_at=now,
            revision=pinned.revision,
            generation=pinned.generation,
            config_digest=pinned.digest,
            dry_run=dry_run,
            retry_of=retry_of,
        )

    def _enqueue(
        self, execution: Execution, config: dict[str, Any], due_at: datetime | None
    ) -> None:
        payload = config["payload"]
        self._held[execution.id] = _Held(execution, config, due_at)
        self._line.add(
            Waiting(
                execution.id,
                execution.job_id,
                payload["priority"],
                execution.queued_at,
                payload["limits"]["maxConcurrent"],
            )
        )
        self._observer.waiting(len(self._line))
        self._wake.set()

    async def _replace_oldest(self, job_id: str) -> None:
        """`overlap: replace`: what waits is dropped, the oldest run is stopped."""
        for waiting in self._line.items():
            if waiting.job_id == job_id:
                await self.cancel(waiting.execution_id, "replaced by a newer run")
                return
        running = sorted(id for id, job in self._running.items() if job == job_id)
        if running:
            await self._executor.stop(running[0], "cancelled")

    async def cancel(self, execution_id: str, reason: str) -> bool:
        """Drop a waiting execution or stop a running one. False: it is neither."""
        if execution_id in self._running:
            return await self._executor.stop(execution_id, "cancelled")
        held = self._held.get(execution_id)
        if held is None:
            return False
        self._line.discard(execution_id)
        del self._held[execution_id]
        return await asyncio.wrap_future(
            self._store.cancel_queued(execution_id, self._clock.now(), reason)
        )

    # ------------------------------------------------------------------------- starting up

    async def resume(self) -> None:
        """Take over what an earlier daemon left waiting or running."""
        unfinished = await asyncio.to_thread(self._store.unfinished)
        configs: dict[str, dict[str, Any]] = {}
        for digest in sorted({execution.config_digest for execution in unfinished}):
            config = await asyncio.to_thread(self._store.config_version, digest)
            if config is not None:
                configs[digest] = config
        left = [execution for execution in unfinished if execution.status == "running"]
        for execution in left:
            self._held[execution.id] = _Held(
                execution, configs.get(execution.config_digest, {}), None
            )
            self._mark_running(execution)
        adopted = await self._executor.adopt(left)
        for execution in unfinished:
            if execution.status == "queued":
                self._enqueue(execution, configs[execution.config_digest], None)
        if unfinished:
            log.info("resumed", adopted=len(adopted), unfinished=len(unfinished))

    # ---------------------------------------------------------------------------- the loop

    async def run(self) -> None:
        """Start what may start, whenever something was released or ended."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self.admitting:
                waiting = self._line.take(self._active, len(self._running), self._max_running)
                if waiting is None:
                    break
                held = self._held[waiting.execution_id]
                self._mark_running(held.execution)
                task = asyncio.create_task(self._start(held))
                self._starting.add(task)
                task.add_done_callback(self._starting.discard)
            self._observer.waiting(len(self._line))
            self._observer.running(len(self._running))

    async def collect(self) -> None:
        """Record the end of every attempt."""
        async for finished in self._executor.finished():
            try:
                await self._finish(finished)
            except JobReconcilerError as error:
                # The result still lies in the spool: a restart reads it again.
                log.error(
                    "outcome_not_stored",
                    execution=finished.execution_id,
                    reason=error.reason,
                    error=error.message,
                )
                self._observer.loop_error("work")

    def _mark_running(self, execution: Execution) -> None:
        self._running[execution.id] = execution.job_id
        self._active[execution.job_id] = self._active.get(execution.job_id, 0) + 1

    def _mark_ended(self, execution_id: str) -> None:
        job_id = self._running.pop(execution_id, None)
        self._held.pop(execution_id, None)
        if job_id is None:
            return
        self._active[job_id] -= 1
        if not self._active[job_id]:
            del self._active[job_id]
        self._line.unpark(job_id)
        self._wake.set()

    async def _start(self, held: _Held) -> None:
        execution = held.execution
        number = len(execution.attempts) + 1
        try:
            claimed = await asyncio.wrap_future(
                self._store.start_attempt(execution.id, Attempt(number, self._clock.now()))
            )
            if not claimed:
                self._mark_ended(execution.id)
                return
            started = await self._executor.start(_launch(held, number))
            if held.due_at is not None:
                late = (started.started_at - held.due_at).total_seconds()
                self._observer.lateness(max(0.0, late))
            log.info(
                "started",
                job=execution.job_id,
                execution=execution.id,
                attempt=number,
                revision=execution.revision,
                pid=started.pid,
            )
        except JobReconcilerError as error:
            await self._could_not_start(execution, number, error.message)
        except Exception as error:
            log.exception("start_crashed", job=execution.job_id, execution=execution.id)
            self._observer.loop_error("work")
            await self._could_not_start(execution, number, f"{type(error).__name__}: {error}")

    async def _could_not_start(self, execution: Execution, number: int, error: str) -> None:
        log.warning("start_failed", job=execution.job_id, execution=execution.id, error=error)
        await self._finish(
            Finished(execution.id, number, Outcome("failed", self._clock.now(), error=error))
        )

    async def _finish(self, finished: Finished) -> None:
        outcome = finished.outcome
        held = self._held.get(finished.execution_id)
        try:
            stored = await asyncio.wrap_future(
                self._store.finish(finished.execution_id, finished.attempt, outcome)
            )
        finally:
            self._mark_ended(finished.execution_id)
        if not stored or held is None:
            return
        execution = held.execution
        began = execution.started_at or execution.queued_at
        seconds = max(0.0, (outcome.finished_at - began).total_seconds())
        job_type = held.config.get("payload", {}).get("jobType", "")
        self._observer.execution_finished(execution.job_id, job_type, outcome.status, seconds)
        self._observer.jobs_changed()
        write = log.info if outcome.status == "succeeded" else log.warning
        write(
            "finished",
            job=execution.job_id,
            execution=execution.id,
            status=outcome.status,
            exit_code=outcome.exit_code,
            error=outcome.error,
            revision=execution.revision,
        )

    def counts(self) -> Mapping[str, int]:
        return {"running": len(self._running), "queued": len(self._line)}


def _launch(held: _Held, number: int) -> Launch:
    execution, config = held.execution, held.config
    parameters = {**config["payload"]["parameters"], **execution.trigger.parameters}
    return Launch(
        execution.id,
        execution.job_id,
        number,
        config,
        parameters,
        execution.trigger,
        execution.revision,
        execution.dry_run,
    )
