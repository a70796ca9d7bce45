"""git → store. One pass: look, compare, read what differs, plan, apply in one transaction.

A pass is level-triggered and never waits for a run. It is synchronous and runs in a thread of
the daemon or directly in `apply`; whatever goes wrong becomes a result and a condition, and what
was applied before stays applied.
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

import structlog

from jobreconciler.core.index import JobIndex
from jobreconciler.core.plan import Desired, Rules, make_plan
from jobreconciler.core.verdict import applied_conditions, failed_conditions, hold_condition
from jobreconciler.errors import JobReconcilerError, Stalled, Transient
from jobreconciler.loops.changes import applied_changes, index_rows
from jobreconciler.loops.healing import heal
from jobreconciler.loops.selection import Selection, read_files, select
from jobreconciler.model.change import AppliedChange, ChangelogRow, Plan, ReconcileRecord
from jobreconciler.model.condition import Condition
from jobreconciler.model.desired import DesiredFile, DesiredJob
from jobreconciler.model.problem import Problem
from jobreconciler.model.views import SourceState
from jobreconciler.ports import (
    ChangeSet,
    Clock,
    History,
    Loader,
    Observer,
    Provenancer,
    Source,
    Store,
)

log = structlog.get_logger("jobreconciler.reconcile")


@dataclass(frozen=True, slots=True)
class PassResult:
    """How one pass ended. `changed` are the jobs whose schedule may now be another."""

    result: str
    revision: str | None
    summary: dict[str, int] = field(default_factory=dict)
    changed: frozenset[str] = frozenset()
    error: JobReconcilerError | None = None
    plan: Plan | None = None


@dataclass(frozen=True, slots=True)
class ReconcileOptions:
    """Settings of the reconcile loop."""

    jobs_dir: str
    environment: str | None = None
    atomic: bool = False
    require_fast_forward: bool = False


class Reconciler:
    """Holds the index between passes; one pass at a time."""

    def __init__(
        self,
        source: Source,
        store: Store,
        loader: Loader,
        provenancer: Provenancer,
        clock: Clock,
        observer: Observer,
        options: ReconcileOptions,
    ) -> None:
        self._source = source
        self._store = store
        self._loader = loader
        self._provenancer = provenancer
        self._clock = clock
        self._observer = observer
        self._options = options
        self._lock = threading.Lock()
        self._index: JobIndex | None = None
        self._state: SourceState | None = None
        self._held: dict[str, Condition] = {}
        # The first pass compares whole listings, so that a row deleted meanwhile is found.
        self._first = True
        self._invalid_paths: frozenset[str] = frozenset()

    @property
    def state(self) -> SourceState | None:
        """What the last pass left, without asking the store."""
        return self._state

    @property
    def index(self) -> JobIndex:
        return self._index if self._index is not None else JobIndex()

    def reconcile(self, trigger: str, *, force: bool = False) -> PassResult:
        """One pass. Never raises: an error is in the result, the condition and the log."""
        with self._lock:
            began, at = self._clock.monotonic(), self._clock.now()
            try:
                outcome = self._reconcile(trigger, at, force)
            except JobReconcilerError as error:
                outcome = self._failed(error, at)
            except Exception as error:
                log.exception("reconcile_crashed", trigger=trigger)
                outcome = self._failed(
                    Transient(f"unexpected {type(error).__name__}: {error}", reason="Unexpected"),
                    at,
                )
            self._observer.reconcile_finished(outcome.result, self._clock.monotonic() - began)
            return outcome

    def _reconcile(self, trigger: str, at: datetime, force: bool) -> PassResult:
        index = self._loaded()
        revision = self._source.resolve()
        self._observer.source_seen(revision, at)
        state = self._state
        if not (force or self._first) and self._is_current(state, revision):
            self._recovered(state, at)
            return PassResult("unchanged", revision)
        self._refuse_rewritten(state, revision)
        same_reader = self._same_reader(state)
        base = state.base_revision if state is not None and same_reader else None
        selection = select(
            self._source,
            index,
            revision,
            None if self._first else base,
            self._options.jobs_dir,
            reread=not same_reader,
        )
        files = read_files(self._source, self._loader, selection)
        plan = self._plan(selection, files, index)
        result = self._apply(plan, selection, index, trigger, at)
        self._first = False
        return result

    def _loaded(self) -> JobIndex:
        if self._index is None:
            index = JobIndex(self._store.index())
            self._held = self._store.held()
            problems = self._store.file_problems()
            self._invalid_paths = frozenset(problems)
            self._state = self._store.source_state()
            self._index = index
            self._observer.invalid_files(len(problems))
            if self._state is not None and self._state.revision is not None:
                self._observer.source_applied(self._state.revision)
        return self._index

    def _same_reader(self, state: SourceState | None) -> bool:
        return (
            state is not None
            and state.reader_version == self._loader.version
            and state.environment == self._options.environment
        )

    def _is_current(self, state: SourceState | None, revision: str) -> bool:
        return (
            state is not None and state.observed_revision == revision and self._same_reader(state)
        )

    def _recovered(self, state: SourceState | None, at: datetime) -> None:
        """The source answers again and nothing moved: only the conditions have to say so."""
        if state is None or not any(
            c.type == "SourceReady" and c.status != "True" for c in state.conditions
        ):
            return
        conditions = tuple(
            replace(c, status="True", reason="Recovered", message="", since=at)
            if c.type in ("SourceReady", "Ready") and c.status != "True"
            else replace(c, status="False", reason="Recovered", message="", since=at)
            if c.type == "Stalled" and c.status != "False"
            else c
            for c in state.conditions
        )
        self._save_state(replace(state, conditions=conditions, last_success_at=at))
        log.info("source_recovered", revision=state.revision)

    def _refuse_rewritten(self, state: SourceState | None, revision: str) -> None:
        if state is None or state.revision is None or state.revision == revision:
            return
        if not self._options.require_fast_forward:
            return
        if not self._source.is_ancestor(state.revision, revision):
            raise Stalled(
                f"{revision[:12]} does not descend from the applied {state.revision[:12]}",
                reason="HistoryRewritten",
                hint="restore the branch, or run once without --require-fast-forward",
            )

    def _plan(self, selection: Selection, files: Sequence[DesiredFile], index: JobIndex) -> Plan:
        desired = Desired(selection.revision, selection.base, tuple(files), selection.gone)
        rules = Rules(self._options.environment, self._options.atomic)
        plan = make_plan(desired, index, rules)
        if plan.blocked is not None and self._approved(selection):
            plan = make_plan(desired, index, replace(rules, allow_prune=True))
        return plan

    def _approved(self, selection: Selection) -> bool:
        """By an operator, or by a trailer in any commit since the last one applied in full."""
        if self._store.approved(selection.revision):
            return True
        history = self._history(selection, None)
        tip = self._source.commit(selection.revision)
        return any(
            self._provenancer.allows_prune(commit.message) for commit in (tip, *history.commits)
        )

    def _history(self, selection: Selection, paths: Collection[str] | None) -> History:
        base = self._state.base_revision if self._state is not None else None
        wanted = selection.gone | {e.path for e in selection.entries} if paths is None else paths
        return self._source.history(base, selection.revision, wanted)

    def _apply(
        self, plan: Plan, selection: Selection, index: JobIndex, trigger: str, at: datetime
    ) -> PassResult:
        state = self._state
        held = {c.job_id: hold_condition(c, at) for c in plan.changes if c.action == "hold"}
        clean = not (plan.problems or held or plan.refused)
        tip = self._source.commit(plan.revision)
        applied = (
            []
            if plan.refused
            else applied_changes(
                plan,
                self._source,
                self._store,
                self._provenancer,
                base=state.base_revision if state is not None else None,
                since=state.revision if state is not None else None,
                held_before=self._invalid_paths,
            )
        )
        problems: dict[str, list[Problem]] = {}
        for problem in plan.problems:
            problems.setdefault(problem.file, []).append(problem)
        kept_revision = state.revision if plan.refused and state is not None else plan.revision
        source = SourceState(
            revision=kept_revision,
            observed_revision=plan.revision,
            base_revision=plan.revision
            if clean
            else (state.base_revision if state is not None else None),
            environment=self._options.environment,
            reader_version=self._loader.version,
            conditions=applied_conditions(state.conditions if state else (), plan, at),
            last_success_at=at,
            author=tip.author_name,
            message=tip.message.split("\n", 1)[0],
            committed_at=tip.committed_at,
        )
        result = _result_word(plan, clean, bool(applied))
        seen = () if plan.refused else plan.seen
        if (
            state is not None
            and not applied
            and not seen
            and self._nothing_new(state, source, held, frozenset(problems))
        ):
            return PassResult(result, plan.revision, plan.summary(), plan=plan)
        finished = self._clock.now()
        rows = self._store.apply(
            ChangeSet(
                source=source,
                changes=tuple(applied),
                seen=seen,
                blobs=_kept_blobs(selection, applied, seen),
                problems={path: tuple(found) for path, found in sorted(problems.items())},
                problems_complete=True,
                held=held,
                released=frozenset(self._held) - frozenset(held),
                record=ReconcileRecord(
                    plan.revision,
                    at,
                    finished,
                    result,
                    trigger,
                    plan.summary(),
                    plan.refused or (plan.blocked.message if plan.blocked else ""),
                ),
                applied_at=finished,
            )
        ).result()
        self._held = held
        self._invalid_paths = frozenset(problems) | {
            c.path for c in plan.changes if c.action == "hold"
        }
        self._state = source
        index.put_all(index_rows(applied, seen, index))
        self._report(plan, rows, tip.committed_at, finished)
        return PassResult(
            result,
            plan.revision,
            plan.summary(),
            frozenset(change.job_id for change in applied),
            plan=plan,
        )

    def _nothing_new(
        self,
        state: SourceState,
        source: SourceState,
        held: dict[str, Condition],
        invalid: frozenset[str],
    ) -> bool:
        """A forced pass over the same commit that came to the same verdict writes nothing."""
        return (
            replace(source, last_success_at=state.last_success_at) == state
            and held.keys() == self._held.keys()
            and invalid <= self._invalid_paths
        )

    def _report(
        self, plan: Plan, rows: Sequence[ChangelogRow], committed_at: str, at: datetime
    ) -> None:
        observer = self._observer
        for action in sorted({row.action for row in rows}):
            observer.config_changed(action, sum(1 for row in rows if row.action == action))
        observer.invalid_files(len({problem.file for problem in plan.problems}))
        if rows:
            observer.audit_head(rows[-1].hash)
            observer.jobs_changed()
            observer.commit_applied(
                max(0.0, (at - datetime.fromisoformat(committed_at)).total_seconds())
            )
        if not plan.refused:
            observer.source_applied(plan.revision)
        write = log.warning if plan.problems or plan.blocked or plan.refused else log.info
        write("reconciled", revision=plan.revision, **plan.summary())
        for problem in plan.problems[:20]:
            log.warning("invalid_file", **problem.to_json())

    def _failed(self, error: JobReconcilerError, at: datetime) -> PassResult:
        log.warning("reconcile_failed", reason=error.reason, error=error.message, hint=error.hint)
        state = self._state or SourceState(
            None, None, self._options.environment, self._loader.version
        )
        conditions = failed_conditions(state.conditions, error, at)
        if conditions != state.conditions:
            self._save_state(replace(state, conditions=conditions))
        return PassResult("failed", state.revision, error=error)

    def _save_state(self, state: SourceState) -> None:
        """Best effort: a store that cannot be written must not hide the first error."""
        self._state = state if self._index is not None else self._state
        try:
            self._store.set_source(state).result()
        except JobReconcilerError as error:
            log.warning("condition_not_stored", reason=error.reason, error=error.message)

    def heal(self) -> frozenset[str]:
        """Put back what was changed behind the daemon's back. Returns those jobs' ids.

        Looking takes a second for 100,000 jobs, so it is done before anybody has to wait for it.
        """
        if not self._store.drifted():
            return frozenset()
        with self._lock:
            index = self._loaded()
            state = self._state
            if state is None:
                return frozenset()
            healed = heal(self._store, self._source, self._loader, index, state, self._clock.now())
            if healed:
                self._observer.drift_healed(len(healed))
                self._observer.jobs_changed()
                log.warning("drift_healed", jobs=sorted(healed))
            return healed


def _result_word(plan: Plan, clean: bool, wrote: bool) -> str:
    if plan.refused:
        return "refused"
    if plan.blocked is not None:
        return "blocked"
    if not clean:
        return "held"
    return "applied" if wrote else "unchanged"


def _kept_blobs(
    selection: Selection, applied: Sequence[AppliedChange], seen: Sequence[DesiredJob]
) -> dict[str, bytes]:
    """The texts that healing and rollback may need: of what was applied, not of what was held."""
    jobs = [change.desired for change in applied if change.desired is not None]
    ids = {blob for job in (*jobs, *seen) for blob in (job.blob, job.defaults_blob) if blob}
    return {blob: selection.contents[blob] for blob in sorted(ids) if blob in selection.contents}
