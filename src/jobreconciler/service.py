"""The running daemon as its HTTP side sees it: what operators and other systems ask of it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

import structlog

from jobreconciler.core.verdict import NOTHING_APPLIED
from jobreconciler.errors import Invalid, Transient
from jobreconciler.loops.records import record_json
from jobreconciler.loops.retention import as_json
from jobreconciler.model.execution import Execution, Trigger
from jobreconciler.model.suspension import Suspension, SuspensionScope
from jobreconciler.ports import Backfilled, Received
from jobreconciler.wiring import Adapters, Loops

log = structlog.get_logger("jobreconciler")


class DaemonService:
    """Implements ports.Service over a daemon's loops.

    Reading works from the first moment. Whatever releases, stops or suspends waits until `open`.
    """

    def __init__(self, adapters: Adapters, loops: Loops) -> None:
        self.store = adapters.store
        self.executor = adapters.executor
        self.clock = adapters.clock
        self._job_types = adapters.job_types
        self._loops = loops
        self._open = False
        self._decided = asyncio.Event()
        self._started = False
        self._closing = False

    def open(self) -> None:
        """Every stop is known, and what an earlier daemon left: from now on that is added to."""
        self._open = True
        self._decided.set()

    def started(self) -> None:
        """The schedules are loaded and every loop runs."""
        self._started = True

    def close(self) -> None:
        """The HTTP side is about to end: whoever waits for what may never come is told so."""
        self._closing = True
        self._decided.set()
        self._loops.reconciling.close()

    async def _until_open(self) -> None:
        """Raises Transient (Closing) where this daemon ends before that."""
        await self._decided.wait()
        if not self._open:
            raise Transient(
                "the daemon ended before it had started, so nothing was done",
                reason="Closing",
                hint="ask again once it runs; its log says why it ended",
            )

    def ready(self) -> tuple[bool, str]:
        if not self._started:
            return False, "starting: the schedules are not loaded yet"
        trouble = self._loops.trouble()
        if trouble is not None:
            return False, trouble
        state = self._loops.reconciler.state
        if state is None or state.revision is None:
            return True, f"{NOTHING_APPLIED}; `jobreconciler status` says why"
        return True, "ready"

    def closing(self) -> bool:
        return self._closing

    def next_slots(self, job_ids: Iterable[str]) -> dict[str, datetime]:
        slots = self._loops.scheduler.next_slots()
        return {job_id: slots[job_id] for job_id in job_ids if job_id in slots}

    def waits_for(self, execution_id: str) -> str | None:
        return self._loops.worker.waits_for(execution_id)

    def all_next_slots(self) -> Mapping[str, datetime]:
        return self._loops.scheduler.next_slots()

    async def trigger(
        self,
        job_id: str,
        *,
        actor: str,
        reason: str | None = None,
        dry_run: bool = False,
        parameters: Mapping[str, Any] | None = None,
        key: str | None = None,
        override: bool = False,
    ) -> Execution:
        await self._until_open()
        triggers = self._loops.triggers
        pinned = await triggers.startable(job_id)
        job_type = self._job_types.get(pinned.config["payload"]["jobType"])
        if dry_run and not job_type.dry_runs:
            raise Invalid(
                f"jobs of type {job_type.name} cannot run dry",
                reason="NoDryRun",
                hint="leave out the dry run",
            )
        overrides = triggers.overrides(pinned, parameters or {})
        trigger = Trigger(
            "manual", actor=actor, reason=reason, parameters=overrides, override=override
        )
        return await triggers.release_keyed(pinned, trigger, key, dry_run=dry_run)

    async def webhook(self, job_id: str, headers: Mapping[str, str], body: bytes) -> Received:
        await self._until_open()
        return await self._loops.triggers.received(job_id, headers, body)

    async def retry(
        self, execution_id: str, *, actor: str, reason: str | None, key: str | None
    ) -> Execution:
        await self._until_open()
        return await self._loops.triggers.retry(execution_id, actor=actor, reason=reason, key=key)

    async def cancel(self, execution_id: str, *, actor: str, reason: str | None) -> Execution:
        await self._until_open()
        return await self._loops.triggers.cancel(execution_id, actor=actor, reason=reason)

    async def backfill(
        self,
        job_id: str,
        first: datetime,
        last: datetime,
        *,
        actor: str,
        reason: str | None,
        limit: int | None,
    ) -> Backfilled:
        await self._until_open()
        return await self._loops.triggers.backfill(
            job_id, first, last, actor=actor, reason=reason, limit=limit
        )

    async def suspend(
        self,
        scope: SuspensionScope,
        target: str,
        *,
        actor: str,
        reason: str | None,
        until: datetime | None,
    ) -> Suspension:
        await self._until_open()
        stops = self._loops.stops
        return await stops.put(scope, target, actor=actor, reason=reason, until=until)

    async def lift(self, scope: SuspensionScope, target: str, *, actor: str) -> int:
        await self._until_open()
        return await self._loops.stops.lift(scope, target, actor=actor)

    def confirm_clock(self, actor: str) -> bool:
        confirmed = self._loops.scheduler.confirm_clock()
        if confirmed:
            log.warning("clock_confirmed", actor=actor)
        return confirmed

    async def reconcile_now(self, actor: str) -> dict[str, Any]:
        return record_json(await self._loops.reconciling.now(f"manual: {actor}"))

    async def approve_prune(self, revision: str, actor: str) -> None:
        await asyncio.wrap_future(self.store.approve(revision, actor, self.clock.now()))
        try:
            await self._loops.reconciling.now(f"approved by {actor}")
        except Transient as error:
            if error.reason != "Closing":  # it is stored: the next daemon goes by it
                raise

    async def forget(self, actor: str, *, dry_run: bool) -> dict[str, Any]:
        swept = as_json(await self._loops.retention.sweep(dry_run=dry_run))
        if not dry_run:
            log.info("forgotten_on_request", actor=actor)
        return {**swept, "dryRun": dry_run}
