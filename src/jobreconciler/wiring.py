"""A daemon's loops, made around one store, and what each tells the others."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from jobreconciler.app import make_loader, make_reconciler, make_retention, with_children
from jobreconciler.execute.spool_space import SpoolSpace
from jobreconciler.loops.dependencies import Dependencies
from jobreconciler.loops.expectations import ExpectationLoop
from jobreconciler.loops.notify import NotifyLoop
from jobreconciler.loops.reconcile import Reconciler
from jobreconciler.loops.reconcile_loop import ReconcileLoop
from jobreconciler.loops.retention import RetentionLoop
from jobreconciler.loops.schedule import Scheduler
from jobreconciler.loops.stops import Stops
from jobreconciler.loops.supervise import Supervisor
from jobreconciler.loops.trees import TreesLoop
from jobreconciler.loops.triggers import Triggers
from jobreconciler.loops.work import Worker
from jobreconciler.observe.metrics import Metrics
from jobreconciler.ports import Clock, JobTypes, Sender, Source, Trees
from jobreconciler.settings import Settings
from jobreconciler.source.checks import check_parameters

if TYPE_CHECKING:
    from jobreconciler.execute.local import LocalExecutor
    from jobreconciler.store.store import SqlStore

LOADED_HERE = 300
"""From this many files on children load them: a thread of ours would make slots late meanwhile."""


@dataclass(frozen=True, slots=True)
class Adapters:
    """What the loops stand on, each opened once and closed by the daemon."""

    clock: Clock
    metrics: Metrics
    job_types: JobTypes
    source: Source
    trees: Trees
    sender: Sender
    executor: LocalExecutor
    store: SqlStore


@dataclass(frozen=True, slots=True)
class Loops:
    """Made, but not yet running."""

    reconciler: Reconciler
    reconciling: ReconcileLoop
    stops: Stops
    worker: Worker
    scheduler: Scheduler
    dependencies: Dependencies
    triggers: Triggers
    notifying: NotifyLoop
    expecting: ExpectationLoop
    retention: RetentionLoop
    trees: TreesLoop
    supervisor: Supervisor

    def trouble(self) -> str | None:
        """What keeps one of them from doing its work; None where nothing does. For any thread."""
        failing = sorted(self.supervisor.failing.items())
        if failing:
            return "the {} loop failed and is started again: {}".format(*failing[0])
        return self.scheduler.clock_fault or self.scheduler.trouble or self.worker.trouble


def make_loops(
    settings: Settings, on: Adapters, applied: Callable[[frozenset[str]], Awaitable[None]]
) -> Loops:
    """`applied` is told which jobs changed."""
    store, clock, metrics = on.store, on.clock, on.metrics
    loader = with_children(make_loader(on.job_types), worth_it=LOADED_HERE, helping=False)
    reconciler = make_reconciler(settings, on.source, store, loader, clock, metrics)
    stops = Stops(store, clock, metrics)
    groups = settings.concurrency_groups
    worker = Worker(store, on.executor, clock, metrics, stops, settings.max_running, groups)
    scheduler = Scheduler(store, worker.releases, clock, metrics, stops)
    dependencies = Dependencies(store, worker, metrics)
    notifying = NotifyLoop(store, on.executor, on.sender, clock, metrics, scheduler.next_slots)
    worker.on_ended = dependencies.ended
    worker.on_notices = notifying.wake
    worker.releases.tree_revision = reconciler.tree_revision
    return Loops(
        reconciler,
        ReconcileLoop(
            reconciler,
            applied,
            poll_seconds=settings.poll_interval,
            instance=settings.instance,
        ),
        stops,
        worker,
        scheduler,
        dependencies,
        Triggers(store, worker, clock, partial(check_parameters, on.job_types), on.executor.secret),
        notifying,
        ExpectationLoop(store, clock, metrics, stops, notifying.wake),
        RetentionLoop(store, SpoolSpace(settings.state_dir), clock, make_retention(settings)),
        TreesLoop(on.trees, store, reconciler.tree_revisions),
        Supervisor(metrics),
    )
