"""The only place that builds adapters and wires them; also the operations that need no daemon."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jobreconciler.clock import SystemClock
from jobreconciler.core.index import JobIndex
from jobreconciler.core.plan import Desired, Rules, make_plan
from jobreconciler.core.retention import Retention
from jobreconciler.errors import NotFound, Refused
from jobreconciler.jobtypes.registry import load_job_types
from jobreconciler.loops.changes import index_row
from jobreconciler.loops.reconcile import PassResult, Reconciler
from jobreconciler.loops.selection import Selection, read_files, select
from jobreconciler.loops.verdicts import ReconcileOptions
from jobreconciler.model.change import Plan
from jobreconciler.ports import Clock, JobTypes, Loader, Observer, Sender, Source, Trees
from jobreconciler.settings import Settings
from jobreconciler.source import provenance
from jobreconciler.source.child_loader import ChildLoader
from jobreconciler.source.load import YamlLoader

if TYPE_CHECKING:
    from jobreconciler.execute.local import LocalExecutor
    from jobreconciler.loops.retention import Swept
    from jobreconciler.store.store import SqlStore

GIT_TIMEOUT_SECONDS = 60.0
MANY_FILES = 2_000
"""From here on a one-shot command has help with loading: below, starting a child takes longer."""

GitOperation = Callable[[str, str], None]


def make_state_dir(settings: Settings) -> Path:
    """The state directory, made with mode 0700 if it is not there. Raises Refused."""
    path = settings.state_dir
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise Refused(
            f"the state directory {path} cannot be made: {error.strerror}",
            hint="name a directory you may write with --state-dir",
        ) from None
    ignore = path / ".gitignore"
    if not ignore.exists() and os.access(path, os.W_OK):
        ignore.write_text("*\n")
    return path


def make_source(settings: Settings, observe: GitOperation | None = None) -> Source:
    """The repository as settings name it. Opens nothing yet: faults show in `resolve`."""
    if settings.working_tree:
        from jobreconciler.source.working_tree import WorkingTreeSource

        return WorkingTreeSource(settings.repo, settings.jobs_dir)
    from jobreconciler.source.git import GitSource

    return GitSource(
        settings.repo,
        settings.ref,
        settings.jobs_dir,
        settings.state_dir,
        timeout=GIT_TIMEOUT_SECONDS,
        observer=observe or _unobserved,
    )


def _unobserved(_operation: str, _result: str) -> None:
    """One-shot commands keep no metrics."""


def make_trees(settings: Settings) -> Trees:
    """The repository's own files, for runs that start among them. Opens nothing yet."""
    from jobreconciler.source.export import TreeExport, WorkTree

    if settings.working_tree:
        from jobreconciler.source.working_tree import local_work_tree

        return WorkTree(lambda: local_work_tree(settings.repo))
    return TreeExport(settings.repo, settings.state_dir)


def make_loader(job_types: JobTypes | None = None) -> Loader:
    return YamlLoader(job_types if job_types is not None else load_job_types())


def with_children(loader: Loader, *, worth_it: int, helping: bool) -> Loader:
    """`loader`, but from `worth_it` files on child processes load them, or a part (`helping`)."""
    command = (sys.executable, "-P", "-m", "jobreconciler.reader")
    return ChildLoader(loader, command, worth_it=worth_it, helping=helping)


def open_store(
    settings: Settings,
    *,
    on_death: Callable[[BaseException], None] | None = None,
    read_only: bool = False,
    shared: bool = False,
) -> SqlStore:
    """The store, locked for this process unless `read_only` or `shared` (tokens, approvals).

    Raises Refused, NotFound, Stalled.
    """
    from jobreconciler.store.opening import open_store as opened

    if not read_only:
        make_state_dir(settings)
    return opened(
        settings.store,
        settings.state_dir,
        SystemClock(),
        instance=settings.instance,
        on_death=on_death,
        read_only=read_only,
        shared=shared,
    )


def store_in_use(settings: Settings) -> bool:
    """Whether a daemon has the store. Writes nothing."""
    from jobreconciler.store.opening import has_writer

    return has_writer(settings.store, settings.state_dir)


def make_executor(
    settings: Settings,
    job_types: JobTypes,
    clock: Clock,
    on_error: Callable[[str, BaseException], None],
    trees: Trees | None = None,
) -> LocalExecutor:
    from jobreconciler.execute.local import LocalExecutor

    return LocalExecutor(
        settings.state_dir,
        job_types,
        clock,
        secrets_dir=settings.secrets_path,
        environ=os.environ,
        on_error=on_error,
        networks=settings.http_networks,
        trees=trees,
    )


def make_sender(settings: Settings) -> Sender:
    """What sends notifications. Looks no secret up before a message is sent."""
    from jobreconciler.execute.secret_values import SecretValues
    from jobreconciler.observe.notify import ChannelSender

    secrets = SecretValues(os.environ, settings.secrets_path)
    return ChannelSender(secrets.resolve, settings.smtp_url)


def make_retention(settings: Settings) -> Retention:
    return Retention(
        executions=timedelta(seconds=settings.keep_executions),
        executions_a_job=settings.keep_executions_per_job,
        output=timedelta(seconds=settings.keep_output),
        output_bytes=int(settings.keep_output_gib * 2**30),
    )


def sweep_once(settings: Settings, *, dry_run: bool) -> Swept:
    """Forget what may go, without a daemon. Raises Refused where one holds the store."""
    from jobreconciler.execute.spool_space import SpoolSpace
    from jobreconciler.loops.retention import Sweeper

    store = open_store(settings, read_only=dry_run)
    try:
        spool = SpoolSpace(settings.state_dir)
        sweeper = Sweeper(store, spool, SystemClock(), make_retention(settings), dry_run=dry_run)
        for _ in sweeper.steps():
            continue
        return sweeper.swept
    finally:
        store.close()


def make_reconciler(
    settings: Settings,
    source: Source,
    store: SqlStore,
    loader: Loader,
    clock: Clock,
    observer: Observer,
) -> Reconciler:
    options = ReconcileOptions(
        settings.jobs_dir, settings.environment, settings.atomic, settings.require_fast_forward
    )
    return Reconciler(source, store, loader, provenance, clock, observer, options)


def reconcile_once(settings: Settings, observer: Observer) -> PassResult:
    """One reconcile without a daemon. Raises Refused where a daemon holds the store."""
    store = open_store(settings)
    source = make_source(settings, observer.git_operation)
    loader = with_children(make_loader(), worth_it=MANY_FILES, helping=True)
    try:
        reconciler = make_reconciler(settings, source, store, loader, SystemClock(), observer)
        reconciler.heal()
        return reconciler.reconcile("apply", force=True)
    finally:
        source.close()
        store.close()


@dataclass(frozen=True, slots=True)
class Planned:
    """A plan and the configs it compares, by job id, for diffs and schedule impact."""

    plan: Plan
    old: Mapping[str, dict[str, Any]]
    new: Mapping[str, dict[str, Any]]


def plan_once(settings: Settings, against: str | None) -> Planned:
    """What applying the ref would change: against the store (None), or against another ref.

    `--ref` and `against` are branches, tags or commit ids, also with `~n`.
    """
    loader = make_loader()
    source = make_source(settings.model_copy(update={"ref": None}))
    try:
        stored = (
            _stored_live(settings)
            if against is None
            else _stored_as_of(source, _revision(source, against), loader, settings)
        )
        revision = _revision(source, settings.ref)
        selection = select(source, stored.index, revision, None, settings.jobs_dir)
        files = read_files(source, loader, selection)
        desired = Desired(revision, stored.revision, tuple(files), selection.gone)
        rules = Rules(settings.environment, settings.atomic)
        plan = make_plan(desired, stored.index, rules)
        if plan.blocked is not None and _allowed(source, stored, selection):
            plan = make_plan(desired, stored.index, replace(rules, allow_prune=True))
    finally:
        source.close()
    new = {
        change.job_id: json.loads(change.desired.config)
        for change in plan.changes
        if change.desired is not None
    }
    return Planned(plan, stored.configs(plan), new)


def _revision(source: Source, name: str | None) -> str:
    """The commit that `name` means; what the source follows where none is given."""
    followed = source.resolve()
    return followed if name is None else source.lookup(name)


def _allowed(source: Source, stored: Stored, selection: Selection) -> bool:
    """Whether a reconcile would let this prune pass: approved, or asked for by a trailer."""
    if stored.approved(selection.revision):
        return True
    paths = selection.gone | {entry.path for entry in selection.entries}
    history = source.history(stored.base_revision, selection.revision, paths)
    tip = source.commit(selection.revision)
    return any(provenance.allows_prune(commit.message) for commit in (tip, *history.commits))


@dataclass(frozen=True, slots=True)
class Stored:
    """What a plan starts from: a revision (None before anything is applied) and its jobs;
    `base_revision` is the last one that was applied in full."""

    revision: str | None
    base_revision: str | None
    index: JobIndex
    configs: Callable[[Plan], Mapping[str, dict[str, Any]]]
    approved: Callable[[str], bool] = lambda _: False


def _stored_as_of(source: Source, revision: str, loader: Loader, settings: Settings) -> Stored:
    """The state that `revision` would have left behind, had all of its valid files been applied."""
    selection = select(source, JobIndex(), revision, None, settings.jobs_dir)
    files = read_files(source, loader, selection)
    plan = make_plan(Desired(revision, None, tuple(files)), JobIndex(), Rules(settings.environment))
    jobs = {change.job_id: change.desired for change in plan.changes if change.desired is not None}

    def configs(made: Plan) -> dict[str, dict[str, Any]]:
        ids = [change.job_id for change in made.changes if change.job_id in jobs]
        return {job_id: json.loads(jobs[job_id].config) for job_id in ids}

    index = JobIndex({job_id: index_row(job) for job_id, job in jobs.items()})
    return Stored(revision, revision, index, configs)


def _stored_live(settings: Settings) -> Stored:
    try:
        store = open_store(settings, read_only=True)
    except NotFound:
        return Stored(None, None, JobIndex(), lambda _: {})
    try:
        state = store.source_state()
        index = JobIndex(store.index())
        configs = store.configs(list(index.by_path.values()))
        observed = state.observed_revision if state is not None else None
        approved = observed is not None and store.approved(observed)
    finally:
        store.close()
    return Stored(
        state.revision if state is not None else None,
        state.base_revision if state is not None else None,
        index,
        lambda _: configs,
        lambda revision: approved and revision == observed,
    )
