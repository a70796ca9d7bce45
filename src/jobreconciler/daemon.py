"""The running daemon: its three loops, its HTTP side, and how it starts and stops."""

from __future__ import annotations

import asyncio
import gc
import signal
import sys
from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import datetime
from functools import partial
from typing import Any

import structlog

from jobreconciler import __version__
from jobreconciler.app import (
    make_executor,
    make_loader,
    make_reconciler,
    make_retention,
    make_sender,
    make_source,
    make_trees,
    open_store,
    with_children,
)
from jobreconciler.clock import SystemClock
from jobreconciler.core.verdict import NOTHING_APPLIED
from jobreconciler.errors import Invalid, JobReconcilerError, Refused
from jobreconciler.execute.spool_space import SpoolSpace
from jobreconciler.jobtypes.registry import load_job_types
from jobreconciler.loops.dependencies import Dependencies
from jobreconciler.loops.expectations import ExpectationLoop
from jobreconciler.loops.notify import NotifyLoop
from jobreconciler.loops.reconcile_loop import ReconcileLoop
from jobreconciler.loops.records import record_json
from jobreconciler.loops.retention import RetentionLoop, as_json
from jobreconciler.loops.schedule import Scheduler
from jobreconciler.loops.stops import Stops
from jobreconciler.loops.supervise import Supervisor
from jobreconciler.loops.trees import TreesLoop
from jobreconciler.loops.triggers import Triggers
from jobreconciler.loops.work import Worker
from jobreconciler.model.execution import Execution, Trigger
from jobreconciler.model.suspension import Suspension, SuspensionScope
from jobreconciler.observe.logging import configure
from jobreconciler.observe.metrics import Metrics
from jobreconciler.ports import Backfilled, Received
from jobreconciler.settings import Settings
from jobreconciler.source.checks import check_parameters
from jobreconciler.source.watch import watch
from jobreconciler.tokens import is_loopback, leave_first_token
from jobreconciler.web.late import Application, LateApplication
from jobreconciler.web.server import Server, listen, make_server

log = structlog.get_logger("jobreconciler")

FIRST_RECONCILE_SECONDS = 10.0
STOP_SECONDS = 5.0
COLLECT_SECONDS = 600.0
LOADED_HERE = 300
"""From this many files on children load them: a thread of ours would make slots late meanwhile."""


class Daemon:
    """Builds the loops around one store. Implements ports.Service for the HTTP side."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.clock = SystemClock()
        self.metrics = Metrics(__version__)
        self.job_types = load_job_types()
        self.stopping = asyncio.Event()
        self.failed: BaseException | None = None
        self._loop = asyncio.get_running_loop()
        # Before the store: with that open, what runs is looked after first.
        self.source = make_source(settings, self.metrics.git_operation)
        self.trees = make_trees(settings)
        sender = make_sender(settings)
        self.executor = make_executor(
            settings, self.job_types, self.clock, self._executor_failed, self.trees
        )
        self.store = open_store(settings, on_death=self._store_died)
        log.info("store_open")
        self.reconciler = make_reconciler(
            settings,
            self.source,
            self.store,
            with_children(make_loader(self.job_types), worth_it=LOADED_HERE, helping=False),
            self.clock,
            self.metrics,
        )
        self.stops = Stops(self.store, self.clock, self.metrics)
        self.worker = Worker(
            self.store,
            self.executor,
            self.clock,
            self.metrics,
            self.stops,
            settings.max_running,
            settings.concurrency_groups,
        )
        self.scheduler = Scheduler(self.store, self.worker, self.clock, self.metrics, self.stops)
        self.dependencies = Dependencies(self.store, self.worker, self.metrics)
        self.worker.on_ended = self.dependencies.ended
        self.worker.tree_revision = self.reconciler.tree_revision
        self.tree_sweeps = TreesLoop(self.trees, self.store, self.reconciler.tree_revisions)
        self.triggers = Triggers(
            self.store,
            self.worker,
            self.clock,
            partial(check_parameters, self.job_types),
            self.executor.secret,
        )
        self.notifying = NotifyLoop(
            self.store,
            self.executor,
            sender,
            self.clock,
            self.metrics,
            self.scheduler.next_slots,
        )
        self.worker.on_notices = self.notifying.wake
        self.expecting = ExpectationLoop(
            self.store, self.clock, self.metrics, self.stops, self.notifying.wake
        )
        self.retention = RetentionLoop(
            self.store, SpoolSpace(settings.state_dir), self.clock, make_retention(settings)
        )
        self.reconciling = ReconcileLoop(
            self.reconciler,
            self._applied,
            poll_seconds=settings.poll_interval,
            instance=settings.instance,
        )
        self.supervisor = Supervisor(self.metrics)
        self._ready = False
        self._closing = False
        self._tasks: list[asyncio.Task[None]] = []

    def _store_died(self, error: BaseException) -> None:
        """Without its writer the daemon can record nothing: it ends, and what runs goes on.

        Called in the writer's thread.
        """
        self.failed = error
        self._loop.call_soon_threadsafe(self.stopping.set)

    def _executor_failed(self, what: str, error: BaseException) -> None:
        self.metrics.loop_error("execute")
        log.error("executor_failed", what=what, error=f"{type(error).__name__}: {error}")

    # ------------------------------------------------------------------------- ports.Service

    def ready(self) -> tuple[bool, str]:
        if not self._ready:
            return False, "starting: the schedules are not loaded yet"
        if self.supervisor.failing:
            name, error = sorted(self.supervisor.failing.items())[0]
            return False, f"the {name} loop failed and is started again: {error}"
        if self.scheduler.clock_fault is not None:
            return False, self.scheduler.clock_fault
        for trouble in (self.scheduler.trouble, self.worker.trouble):
            if trouble is not None:
                return False, trouble
        state = self.reconciler.state
        if state is None or state.revision is None:
            return True, f"{NOTHING_APPLIED}; `jobreconciler status` says why"
        return True, "ready"

    def closing(self) -> bool:
        return self._closing

    def next_slots(self, job_ids: Iterable[str]) -> dict[str, datetime]:
        slots = self.scheduler.next_slots()
        return {job_id: slots[job_id] for job_id in job_ids if job_id in slots}

    def waits_for(self, execution_id: str) -> str | None:
        return self.worker.waits_for(execution_id)

    def all_next_slots(self) -> Mapping[str, datetime]:
        return self.scheduler.next_slots()

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
        pinned = await self.triggers.startable(job_id)
        job_type = self.job_types.get(pinned.config["payload"]["jobType"])
        if dry_run and not job_type.dry_runs:
            raise Invalid(
                f"jobs of type {job_type.name} cannot run dry",
                reason="NoDryRun",
                hint="leave out the dry run",
            )
        overrides = self.triggers.overrides(pinned, parameters or {})
        trigger = Trigger(
            "manual", actor=actor, reason=reason, parameters=overrides, override=override
        )
        return await self.triggers.release_keyed(pinned, trigger, key, dry_run=dry_run)

    async def webhook(self, job_id: str, headers: Mapping[str, str], body: bytes) -> Received:
        return await self.triggers.received(job_id, headers, body)

    async def retry(
        self, execution_id: str, *, actor: str, reason: str | None, key: str | None
    ) -> Execution:
        return await self.triggers.retry(execution_id, actor=actor, reason=reason, key=key)

    async def cancel(self, execution_id: str, *, actor: str, reason: str | None) -> Execution:
        return await self.triggers.cancel(execution_id, actor=actor, reason=reason)

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
        return await self.triggers.backfill(
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
        return await self.stops.put(scope, target, actor=actor, reason=reason, until=until)

    async def lift(self, scope: SuspensionScope, target: str, *, actor: str) -> int:
        return await self.stops.lift(scope, target, actor=actor)

    def confirm_clock(self, actor: str) -> bool:
        confirmed = self.scheduler.confirm_clock()
        if confirmed:
            log.warning("clock_confirmed", actor=actor)
        return confirmed

    async def reconcile_now(self, actor: str) -> dict[str, Any]:
        result = await self.reconciling.now(f"manual: {actor}")
        return record_json(result)

    async def approve_prune(self, revision: str, actor: str) -> None:
        await asyncio.wrap_future(self.store.approve(revision, actor, self.clock.now()))
        await self.reconciling.now(f"approved by {actor}")

    async def forget(self, actor: str, *, dry_run: bool) -> dict[str, Any]:
        swept = as_json(await self.retention.sweep(dry_run=dry_run))
        if not dry_run:
            log.info("forgotten_on_request", actor=actor)
        return {**swept, "dryRun": dry_run}

    # ------------------------------------------------------------------------------- running

    async def _applied(self, job_ids: frozenset[str]) -> None:
        """Jobs changed: act on their schedules, and say that we do."""
        await self.scheduler.load(job_ids)
        await self.worker.recheck(job_ids)
        await self.dependencies.load(job_ids)
        await asyncio.wrap_future(self.store.observed(job_ids))
        if len(job_ids) > 500:
            _settle_memory()

    async def serve(self) -> None:
        """Run until told to stop. Raises Refused where the address cannot be listened on."""
        await asyncio.to_thread(self._check_access)
        listening = listen(self.settings)
        application = LateApplication(self._application, self.ready)
        server = make_server(application)
        self._install_signals()
        web = asyncio.create_task(server.serve([listening]))
        try:
            await self._start_up()
            self._keep("web", partial(_load, application))
            log.info(
                "ready", listen=f"http://{self.settings.listen}", jobs=self.reconciler.index.live
            )
            await self.stopping.wait()
        finally:
            await self._shut_down(server, web)
        if self.failed is not None:
            raise self.failed

    def _application(self) -> Application:
        """The HTTP side. Imported here: the slots of a daemon that starts do not wait for it."""
        from jobreconciler.web.app import create_app
        from jobreconciler.web.auth import Access

        access = Access(self.store, loopback=is_loopback(self.settings.listen_host))
        return create_app(self, self.metrics, access)

    def _check_access(self) -> None:
        """Leave the first token. Raises Refused where anybody could reach a daemon without one."""
        if not is_loopback(self.settings.listen_host) and not any(
            not token.first_start and token.revoked_at is None for token in self.store.list_tokens()
        ):
            raise Refused(
                f"{self.settings.listen} can be reached from other machines, and no token exists",
                hint="`jobreconciler token create NAME --role operator` first, or listen on "
                "127.0.0.1",
            )
        leave_first_token(
            self.settings.operator_token_file,
            lambda token: self.store.check_token(token) is not None,
            lambda: self.store.create_token("first-start", "operator", first_start=True).result(),
        )

    def _install_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stopping.set)

    async def _start_up(self) -> None:
        """Adopt what runs, reconcile (bounded when git is away), then take up the schedules."""
        await self.worker.resume()
        self._keep("reconcile", self.reconciling.run)
        first = await self.reconciling.first(FIRST_RECONCILE_SECONDS)
        if first is None or first.error is not None:
            log.warning(
                "starting_from_the_store",
                reason="the source did not answer in time"
                if first is None
                else first.error and first.error.message,
            )
        await self.stops.load()
        await self.worker.recheck()
        self._keep("stops", self.stops.run)
        self._keep("work", self.worker.run)
        self._keep("results", self.worker.collect)
        await self.scheduler.load()
        await self.dependencies.load()
        self._keep("dependencies", self.dependencies.run)
        await asyncio.wrap_future(self.store.observed(None))
        self._keep("schedule", self.scheduler.run)
        self._keep("notify", self.notifying.run)
        self._keep("reminders", self.notifying.keep_reminding)
        self._keep("expectations", self.expecting.run)
        self._keep("healing", self.reconciling.keep_healing)
        self._keep("watch", self._watch)
        self._keep("retention", self.retention.run)
        self._keep("trees", self.tree_sweeps.run)
        self._keep("garbage", _keep_collecting)
        # Nothing was collected since the process began, and there was hardly any garbage.
        gc.freeze()
        gc.enable()
        self._ready = True

    def _keep(self, name: str, body: Any) -> None:
        self._tasks.append(asyncio.create_task(self.supervisor.keep(name, body), name=name))

    async def _watch(self) -> None:
        """Refs move: look at once. Ends for a remote; the poll finds what no watch tells."""
        async for _ in watch(self.source.watch_paths, self.stopping, self._watch_failed):
            self.reconciling.wake("watch")

    def _watch_failed(self, error: str) -> None:
        self.metrics.loop_error("watch")
        log.warning("watch_failed", error=error)

    async def _shut_down(self, server: Server, web: asyncio.Task[None]) -> None:
        """Stop admitting, leave children running (or wait for them, draining), flush, end."""
        log.info("stopping", drain=self.settings.drain, **self.worker.counts())
        self.worker.admitting = False
        await self.worker.quiet(STOP_SECONDS / 4)
        if self.settings.drain:
            await self._drain()
        for task in self._tasks:
            if task.get_name() != "results":
                task.cancel()
        self._closing = True
        server.stop()
        with suppress(TimeoutError, asyncio.CancelledError):
            await asyncio.wait_for(asyncio.shield(web), STOP_SECONDS / 2)
        await self.executor.close(drain=self.settings.drain)
        await self.worker.quiet(STOP_SECONDS / 4)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        with suppress(JobReconcilerError):
            await asyncio.to_thread(self.store.close)
        await asyncio.to_thread(self.trees.close)
        await asyncio.to_thread(self.source.close)

    async def _drain(self) -> None:
        while self.worker.counts()["running"]:
            await asyncio.sleep(0.05)


async def _load(application: LateApplication) -> None:
    """What it is made of lives as long as the daemon: nothing to collect meanwhile or later."""
    gc.disable()
    try:
        await application.load()
        gc.freeze()
    finally:
        gc.enable()


def _settle_memory() -> None:
    """What lives now lives long: keep the collector from walking it, which costs pauses."""
    gc.collect()
    gc.freeze()
    gc.enable()


async def _keep_collecting() -> None:
    """Collections that walk everything happen when we say so, not in the middle of a start."""
    while True:
        await asyncio.sleep(COLLECT_SECONDS)
        gc.collect(1)


def run(settings: Settings) -> int:
    """Run the daemon until SIGTERM or SIGINT. Returns the exit code."""
    configure(settings.log_format)
    # Between a slot and its start lie several changes of threads: none of them waits 5 ms.
    sys.setswitchinterval(0.0005)
    gc.freeze()

    async def main() -> None:
        await Daemon(settings).serve()

    with asyncio.Runner() as runner:
        runner.run(main())
    return 0
