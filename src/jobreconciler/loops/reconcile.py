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
from jobreconciler.core.verdict import failed_conditions
from jobreconciler.errors import JobReconcilerError, Stalled, Transient
from jobreconciler.loops.changes import Range, applied_changes, index_rows
from jobreconciler.loops.healing import heal
from jobreconciler.loops.selection import Selection, defaults_path, read_files, select
from jobreconciler.loops.verdicts import ReconcileOptions, Verdict, judge, next_state
from jobreconciler.model.change import AppliedChange, ChangelogRow, Plan, ReconcileRecord
from jobreconciler.model.condition import Condition
from jobreconciler.model.desired import DesiredFile
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
        # Whether jobs may be marked as drifted; what an earlier daemon marked is not known.
        self._drifted = True

    @property
    def state(self) -> SourceState | None:
        """What the last pass left, without asking the store."""
        return self._state

    @property
    def index(self) -> JobIndex:
        return self._index if self._index is not None else JobIndex()

    def tree_revision(self, job_id: str) -> str | None:
        """The commit whose files a run of this job is to find: the one that is applied, but for
        a held job the last one that was applied in full, as its config was."""
        state = self._state
        if state is None:
            return None
        return state.base_revision if job_id in self._held else state.revision

    def tree_revisions(self) -> frozenset[str]:
        """All that `tree_revision` may answer now."""
        state = self._state
        known = () if state is None else (state.revision, state.base_revision)
        return frozenset(revision for revision in known if revision is not None)

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
        self._check_descent(state, revision)
        same_reader = self._same_reader(state)
        selection = select(
            self._source,
            index,
            revision,
            self._base(state) if same_reader else None,
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
            self._observer.held_jobs(len(self._held))
            self._observer.audit_head(self._store.audit_head())
            if self._state is not None and self._state.revision is not None:
                self._observer.source_applied(self._state.revision)
        return self._index

    def _same_reader(self, state: SourceState | None) -> bool:
        return (
            state is not None
            and state.reader_version == self._loader.version
            and state.environment == self._options.environment
        )

    def _base(self, state: SourceState | None) -> str | None:
        """The commit that what is stored equals: then what differs from it is all there is to do.
        While something is held it equals none, and all that is stored is compared."""
        if self._first or state is None or state.base_revision != state.revision:
            return None
        return state.base_revision

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

    def _check_descent(self, state: SourceState | None, revision: str) -> None:
        """Say when history was rewritten; refuse it where only fast-forwards are allowed."""
        if state is None or state.revision is None or state.revision == revision:
            return
        if self._source.is_ancestor(state.revision, revision):
            return
        what = f"{revision[:12]} does not descend from the applied {state.revision[:12]}"
        self._observer.git_operation("descend", "HistoryRewritten")
        if self._options.require_fast_forward:
            raise Stalled(
                what,
                reason="HistoryRewritten",
                hint="restore the branch, or run once without --require-fast-forward",
            )
        log.warning("history_rewritten", revision=revision, applied=state.revision)

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
        tip = self._source.commit(plan.revision)
        verdict = judge(plan, () if plan.refused else self._changes(plan, index), at)
        source = next_state(state, verdict, tip, self._options, self._loader.version, at)
        if state is not None and not verdict.writes and self._nothing_new(state, source, verdict):
            return PassResult(verdict.result, plan.revision, plan.summary(), plan=plan)
        finished = self._clock.now()
        record = ReconcileRecord(
            plan.revision, at, finished, verdict.result, trigger, plan.summary(), verdict.error
        )
        rows = self._store.apply(
            ChangeSet(
                source=source,
                changes=verdict.applied,
                seen=verdict.seen,
                blobs=verdict.kept_blobs(selection.contents),
                problems=verdict.problems,
                problems_complete=True,
                held=verdict.held,
                released=frozenset(self._held) - frozenset(verdict.held),
                record=record,
                applied_at=finished,
            )
        ).result()
        self._held = verdict.held
        self._invalid_paths = verdict.unsettled_paths
        self._state = source
        index.put_all(index_rows(verdict.applied, verdict.seen, index))
        self._report(plan, rows, tip.committed_at, finished)
        changed = frozenset(change.job_id for change in verdict.applied)
        return PassResult(verdict.result, plan.revision, plan.summary(), changed, plan=plan)

    def _changes(self, plan: Plan, index: JobIndex) -> tuple[AppliedChange, ...]:
        state = self._state
        within = Range(
            base=state.base_revision if state is not None else None,
            since=state.revision if state is not None else None,
            held_before=self._invalid_paths,
            defaults_path=defaults_path(self._options.jobs_dir),
        )
        return applied_changes(plan, self._source, self._store, self._provenancer, index, within)

    def _nothing_new(self, state: SourceState, source: SourceState, verdict: Verdict) -> bool:
        """A forced pass over the same commit that came to the same verdict writes nothing."""
        return (
            replace(source, last_success_at=state.last_success_at) == state
            and verdict.held.keys() == self._held.keys()
            and verdict.problems.keys() <= self._invalid_paths
        )

    def _report(
        self, plan: Plan, rows: Sequence[ChangelogRow], committed_at: str, at: datetime
    ) -> None:
        observer = self._observer
        for action in sorted({row.action for row in rows}):
            observer.config_changed(action, sum(1 for row in rows if row.action == action))
        observer.invalid_files(len({problem.file for problem in plan.problems}))
        observer.held_jobs(len(self._held))
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
        conditions = failed_conditions(
            state.conditions, error, at, applied=state.revision is not None
        )
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

    def _undrifted(self) -> frozenset[str]:
        """No row differs from what was stored: none stays marked."""
        if self._drifted:
            self._store.set_drifted({}).result()
            self._drifted = False
        return frozenset()

    def heal(self) -> frozenset[str]:
        """Put back what was changed behind the daemon's back. Returns those jobs' ids.

        Looking takes a second for 100,000 jobs, so it is done before anybody has to wait for it.
        """
        if not self._store.drifted():
            return self._undrifted()
        with self._lock:
            index = self._loaded()
            state = self._state
            if state is None:
                return frozenset()
            healed = heal(self._store, self._source, self._loader, index, state, self._clock.now())
            for job_id, condition in sorted(healed.left.items()):
                log.error("drift_not_healed", job=job_id, error=condition.message)
            self._store.set_drifted(healed.left).result()
            self._drifted = bool(healed.left)
            if healed.jobs:
                self._observer.drift_healed(len(healed.jobs))
                self._observer.config_changed("healed", len(healed.jobs))
                self._observer.audit_head(self._store.audit_head())
                self._observer.jobs_changed()
                log.warning("drift_healed", jobs=sorted(healed.jobs))
            return healed.jobs
