"""Forgets the past once a day, in steps so small that nobody waits for one of them.

What may go is decided in core/retention.py. Executions go before their output is looked at, so
that the output of a forgotten one is old enough to go by itself; blobs and pinned configs go when
nothing refers to them any more.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

import structlog

from jobreconciler.core.retention import Retention, executions_to_forget, outputs_to_forget
from jobreconciler.ports import Clock, HistoryStore, OutputSpool

log = structlog.get_logger("jobreconciler")

BATCH = 500
"""Rows a unit of the store may delete."""
EVERY_SECONDS = 24 * 3600.0
FIRST_AFTER_SECONDS = 600.0
"""A daemon that has just started has better things to do."""
PAUSE_SECONDS = 0.02

T = TypeVar("T")


@dataclass(slots=True)
class Swept:
    """What went, or would go. `output_bytes` is what the files took on disk."""

    executions: int = 0
    outputs: int = 0
    output_bytes: int = 0
    deliveries: int = 0
    config_versions: int = 0
    blobs: int = 0


class Sweeper:
    """One sweep over store and spool. `steps` blocks in each step: for threads."""

    def __init__(
        self,
        store: HistoryStore,
        spool: OutputSpool,
        clock: Clock,
        retention: Retention,
        *,
        dry_run: bool = False,
    ) -> None:
        self._store = store
        self._spool = spool
        self._clock = clock
        self._retention = retention
        self._dry_run = dry_run
        self.swept = Swept()

    def steps(self) -> Iterator[None]:
        """Does a little between each of its yields."""
        yield from self._executions()
        yield from self._outputs()
        yield from self._deliveries()
        yield from self._versions()
        yield from self._blobs()

    def _executions(self) -> Iterator[None]:
        now = self._clock.now()
        for job_id in self._store.jobs_with_old_executions(now - self._retention.executions):
            yield
            ended = self._store.ended_executions(job_id)
            gone = executions_to_forget(ended, self._retention, now)
            for batch in _batches(gone):
                self.swept.executions += self._forget(self._store.forget_executions, batch)
                yield

    def _outputs(self) -> Iterator[None]:
        found = []
        for number, output in enumerate(self._spool.outputs()):
            found.append(output)
            if number % BATCH == 0:
                yield
        unfinished = {execution.id for execution in self._store.unfinished()}
        now = self._clock.now()
        for output in outputs_to_forget(found, unfinished, self._retention, now):
            if not self._dry_run:
                self._spool.forget(output.execution_id)
            self.swept.outputs += 1
            self.swept.output_bytes += output.size
            yield

    def _deliveries(self) -> Iterator[None]:
        before = self._clock.now() - self._retention.executions
        for batch in _batches(self._store.old_deliveries(before)):
            self.swept.deliveries += self._forget(self._store.forget_deliveries, batch)
            yield

    def _versions(self) -> Iterator[None]:
        watched = -1 if self._dry_run else self._store.watch_pins().result()
        for batch in _batches(self._store.unused_versions()):
            self.swept.config_versions += self._forget(
                lambda digests: self._store.forget_versions(digests, watched), batch
            )
            yield

    def _blobs(self) -> Iterator[None]:
        for batch in _batches(self._store.unused_blobs()):
            self.swept.blobs += self._forget(self._store.forget_blobs, batch)
            yield

    def _forget(self, forget: Callable[[Collection[T]], Future[int]], batch: Collection[T]) -> int:
        return len(batch) if self._dry_run else forget(batch).result()


class RetentionLoop:
    """A sweep a while after the start, then once a day, and whenever somebody asks for one."""

    def __init__(
        self, store: HistoryStore, spool: OutputSpool, clock: Clock, retention: Retention
    ) -> None:
        self._store = store
        self._spool = spool
        self._clock = clock
        self._retention = retention
        self._turn = asyncio.Lock()

    async def run(self) -> None:
        await asyncio.sleep(FIRST_AFTER_SECONDS)
        while True:
            await self.sweep()
            await asyncio.sleep(EVERY_SECONDS)

    async def sweep(self, *, dry_run: bool = False) -> Swept:
        """One sweep, after one that goes on. `dry_run` only counts what would go."""
        async with self._turn:
            sweeper = Sweeper(
                self._store, self._spool, self._clock, self._retention, dry_run=dry_run
            )
            steps = sweeper.steps()
            while await asyncio.to_thread(next, steps, self) is not self:
                await asyncio.sleep(PAUSE_SECONDS)
        if not dry_run:
            log.info("forgotten", **as_json(sweeper.swept))
        return sweeper.swept


def as_json(swept: Swept) -> dict[str, Any]:
    """The figures under their public names."""
    names = {"output_bytes": "outputBytes", "config_versions": "configVersions"}
    return {names.get(name, name): value for name, value in asdict(swept).items()}


def _batches(ids: Sequence[T]) -> Iterator[Sequence[T]]:
    for at in range(0, len(ids), BATCH):
        yield ids[at : at + BATCH]
