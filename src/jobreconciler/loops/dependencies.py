"""Outcomes → executions of the jobs that wait for them.

Level-triggered: an ended run only says which jobs to look at; what was used up stands in the
store, written with the execution it released. Every job that waits is looked at again at start-up
and now and then, so an event that got lost costs latency and nothing else.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Collection, Mapping
from typing import Any

import structlog

from jobreconciler.core.dependency import UPSTREAM_FAILED, decide
from jobreconciler.errors import JobReconcilerError
from jobreconciler.loops.work import Worker
from jobreconciler.model.execution import Execution, Trigger
from jobreconciler.ports import Dependent, Observer, Store

log = structlog.get_logger("jobreconciler.dependencies")

SWEEP_SECONDS = 300.0
PAUSE_SECONDS = 1.0
AT_ONCE = 50


class Dependencies:
    """Which jobs wait for which, and those to look at. Used on the event loop only."""

    def __init__(self, store: Store, worker: Worker, observer: Observer) -> None:
        self._store = store
        self._worker = worker
        self._observer = observer
        self._known: dict[str, Dependent] = {}
        self._waiting_for: dict[str, set[str]] = {}
        self._due: set[str] = set()
        self._wake = asyncio.Event()

    def ended(self, job_id: str) -> None:
        """A run of this job has its final outcome."""
        waiting = self._waiting_for.get(job_id)
        if waiting:
            self._due |= waiting
            self._wake.set()

    async def load(self, job_ids: Collection[str] | None = None) -> None:
        """Read what these jobs (None: all) wait for now, and look at each of them."""
        found = await asyncio.to_thread(self._store.dependents, job_ids)
        for job_id in list(self._known) if job_ids is None else job_ids:
            self._forget(job_id)
        for dependent in found:
            self._known[dependent.job_id] = dependent
            self._due.add(dependent.job_id)
            for upstream in dependent.upstream if dependent.live else ():
                self._waiting_for.setdefault(upstream, set()).add(dependent.job_id)
        if self._due:
            self._wake.set()

    def _forget(self, job_id: str) -> None:
        """What it has used up is forgotten as well: declared again, it owes nothing to the past."""
        known = self._known.pop(job_id, None)
        if known is None:
            return
        for upstream in known.upstream:
            waiting = self._waiting_for.get(upstream, set())
            waiting.discard(job_id)
            if not waiting:
                self._waiting_for.pop(upstream, None)

    async def run(self) -> None:
        """Look at what is due; at all of them every few minutes."""
        while True:
            try:
                async with asyncio.timeout(SWEEP_SECONDS):
                    await self._wake.wait()
            except TimeoutError:
                self._due |= self._known.keys()
            self._wake.clear()
            while self._due and self._worker.admitting:
                await self._look_at(sorted(self._due)[:AT_ONCE])

    async def _look_at(self, job_ids: list[str]) -> None:
        self._due.difference_update(job_ids)
        known = [each for job_id in job_ids if (each := self._known.get(job_id)) is not None]
        results = await asyncio.gather(
            *(self._look(each) for each in known), return_exceptions=True
        )
        failed = False
        for dependent, result in zip(known, results, strict=True):
            if not isinstance(result, BaseException):
                continue
            failed = True
            self._due.add(dependent.job_id)
            reason = result.reason if isinstance(result, JobReconcilerError) else "Unexpected"
            log.error(
                "dependency_not_checked",
                job=dependent.job_id,
                reason=reason,
                error=f"{type(result).__name__}: {result}",
            )
        if failed:
            self._observer.loop_error("dependencies")
            with contextlib.suppress(TimeoutError):
                await asyncio.sleep(PAUSE_SECONDS)

    async def _look(self, dependent: Dependent) -> None:
        job_id, upstream = dependent.job_id, dependent.upstream
        latest, used = await asyncio.to_thread(self._store.upstream_outcomes, job_id, upstream)
        if not dependent.live:
            if used:
                await asyncio.wrap_future(self._store.settle_dependency(job_id, ()))
            return
        if used.keys() != set(upstream):
            await asyncio.wrap_future(self._store.settle_dependency(job_id, upstream))
            latest, used = await asyncio.to_thread(self._store.upstream_outcomes, job_id, upstream)
        if all(ended.execution_id == used.get(job) for job, ended in latest.items()):
            return
        pinned = (await asyncio.to_thread(self._store.pinned, [job_id])).get(job_id)
        dependency = None if pinned is None else pinned.config["payload"].get("dependency")
        if pinned is None or dependency is None:
            return
        release = decide(upstream, dependency["on"], dependency["mode"], latest, used)
        if release is None:
            return

        async def write(execution: Execution, config: Mapping[str, Any]) -> bool:
            return await asyncio.wrap_future(
                self._store.release_dependent(execution, config, used, release.consumed)
            )

        trigger = Trigger("dependency", upstream=release.upstream)
        if release.kind == "skip":
            await self._worker.releases.skip(pinned, trigger, UPSTREAM_FAILED, write)
            return
        execution = await self._worker.releases.release(pinned, trigger, write=write)
        if execution is not None:
            log.info("released", job=job_id, execution=execution.id, upstream=release.upstream)
