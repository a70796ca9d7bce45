"""The running daemon: its three loops, its HTTP side, and how it starts and stops."""

from __future__ import annotations

import asyncio
import gc
import signal
import sys
from contextlib import suppress
from functools import partial
from typing import Any

import structlog

from jobreconciler import __version__
from jobreconciler.app import make_executor, make_sender, make_source, make_trees, open_store
from jobreconciler.clock import SystemClock
from jobreconciler.errors import JobReconcilerError, Refused
from jobreconciler.jobtypes.registry import load_job_types
from jobreconciler.observe.logging import configure
from jobreconciler.observe.metrics import Metrics
from jobreconciler.service import DaemonService
from jobreconciler.settings import Settings
from jobreconciler.source.watch import watch
from jobreconciler.tokens import is_loopback, leave_first_token
from jobreconciler.web.late import Application, LateApplication
from jobreconciler.web.server import Server, listen, make_server
from jobreconciler.wiring import Adapters, make_loops

log = structlog.get_logger("jobreconciler")

FIRST_RECONCILE_SECONDS = 10.0
STOP_SECONDS = 5.0
COLLECT_SECONDS = 600.0


class Daemon:
    """Builds the loops around one store, starts them and stops them."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.metrics = Metrics(__version__)
        self.stopping = asyncio.Event()
        self.failed: BaseException | None = None
        self._loop = asyncio.get_running_loop()
        self._adapters = self._open()
        self.store = self._adapters.store
        self.loops = make_loops(settings, self._adapters, self._applied)
        self.service = DaemonService(self._adapters, self.loops)
        self._tasks: list[asyncio.Task[None]] = []

    def _open(self) -> Adapters:
        """The store last: with that open, what runs is looked after first."""
        settings, clock, job_types = self.settings, SystemClock(), load_job_types()
        source = make_source(settings, self.metrics.git_operation)
        trees = make_trees(settings)
        sender = make_sender(settings)
        executor = make_executor(settings, job_types, clock, self._executor_failed, trees)
        store = open_store(settings, on_death=self._store_died)
        log.info("store_open")
        return Adapters(clock, self.metrics, job_types, source, trees, sender, executor, store)

    def _store_died(self, error: BaseException) -> None:
        """Without its writer the daemon can record nothing: it ends, and what runs goes on.

        Called in the writer's thread.
        """
        self.failed = error
        self._loop.call_soon_threadsafe(self.stopping.set)

    def _executor_failed(self, what: str, error: BaseException) -> None:
        self.metrics.loop_error("execute")
        log.error("executor_failed", what=what, error=f"{type(error).__name__}: {error}")

    async def _applied(self, job_ids: frozenset[str]) -> None:
        """Jobs changed: act on their schedules, and say that we do."""
        await self.loops.scheduler.load(job_ids)
        await self.loops.worker.recheck(job_ids)
        await self.loops.dependencies.load(job_ids)
        await asyncio.wrap_future(self.store.observed(job_ids))
        if len(job_ids) > 500:
            _settle_memory()

    async def serve(self) -> None:
        """Run until told to stop. Raises Refused where the address cannot be listened on."""
        await asyncio.to_thread(self._check_access)
        listening = listen(self.settings)
        application = LateApplication(self._application, self.service.ready)
        server = make_server(application)
        self._install_signals()
        web = asyncio.create_task(server.serve([listening]))
        try:
            await self._take_over()
            if await self._looked():
                await self._start_up()
                self._keep("web", partial(_load, application))
                live = self.loops.reconciler.index.live
                log.info("ready", listen=f"http://{self.settings.listen}", jobs=live)
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
        return create_app(self.service, self.metrics, access)

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

    async def _take_over(self) -> None:
        """Know every stop, and what an earlier daemon left, before anybody may add to that."""
        await self.loops.stops.load()
        await self.loops.worker.resume()
        self.service.open()

    async def _looked(self) -> bool:
        """Reconcile, bounded when git is away. False: it was told to stop meanwhile."""
        self._keep("reconcile", self.loops.reconciling.run)
        looking = asyncio.create_task(self.loops.reconciling.first(FIRST_RECONCILE_SECONDS))
        stopping = asyncio.create_task(self.stopping.wait())
        await asyncio.wait({looking, stopping}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if not looking.done():
            looking.cancel()
            return False
        first = looking.result()
        if first is None or first.error is not None:
            log.warning(
                "starting_from_the_store",
                reason="the source did not answer in time"
                if first is None
                else first.error and first.error.message,
            )
        return True

    async def _start_up(self) -> None:
        """Take up the schedules, and start what waits."""
        loops = self.loops
        await loops.worker.recheck()
        self._keep("stops", loops.stops.run)
        self._keep("work", loops.worker.run)
        self._keep("results", loops.worker.collect)
        await loops.scheduler.load()
        await loops.dependencies.load()
        self._keep("dependencies", loops.dependencies.run)
        await asyncio.wrap_future(self.store.observed(None))
        self._keep("schedule", loops.scheduler.run)
        self._keep("notify", loops.notifying.run)
        self._keep("reminders", loops.notifying.keep_reminding)
        self._keep("expectations", loops.expecting.run)
        self._keep("healing", loops.reconciling.keep_healing)
        self._keep("watch", self._watch)
        self._keep("retention", loops.retention.run)
        self._keep("trees", loops.trees.run)
        self._keep("garbage", _keep_collecting)
        # Nothing was collected since the process began, and there was hardly any garbage.
        gc.freeze()
        gc.enable()
        self.service.started()

    def _keep(self, name: str, body: Any) -> None:
        self._tasks.append(asyncio.create_task(self.loops.supervisor.keep(name, body), name=name))

    async def _watch(self) -> None:
        """Refs move: look at once. Ends for a remote; the poll finds what no watch tells."""
        async for _ in watch(self._adapters.source.watch_paths, self.stopping, self._watch_failed):
            self.loops.reconciling.wake("watch")

    def _watch_failed(self, error: str) -> None:
        self.metrics.loop_error("watch")
        log.warning("watch_failed", error=error)

    async def _shut_down(self, server: Server, web: asyncio.Task[None]) -> None:
        """Stop admitting, leave children running (or wait for them, draining), flush, end."""
        worker, adapters = self.loops.worker, self._adapters
        log.info("stopping", drain=self.settings.drain, **worker.counts())
        worker.admitting = False
        await worker.quiet(STOP_SECONDS / 4)
        if self.settings.drain:
            await self._drain()
        # Without its store, what runs is left to the next daemon, as all is that drains nothing.
        drain = self.settings.drain and self.failed is None
        for task in self._tasks:
            if task.get_name() != "results":
                task.cancel()
        self.service.close()
        server.stop()
        with suppress(TimeoutError, asyncio.CancelledError):
            await asyncio.wait_for(asyncio.shield(web), STOP_SECONDS / 2)
        await adapters.executor.close(drain=drain)
        await worker.quiet(STOP_SECONDS / 4)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        with suppress(JobReconcilerError):
            await asyncio.to_thread(self.store.close)
        await asyncio.to_thread(adapters.trees.close)
        await asyncio.to_thread(adapters.source.close)

    async def _drain(self) -> None:
        if not any(task.get_name() == "results" for task in self._tasks):
            self._keep("results", self.loops.worker.collect)  # it was told to stop while it started
        while self.loops.worker.counts()["running"] and self.failed is None:
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
