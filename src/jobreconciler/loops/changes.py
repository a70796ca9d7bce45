"""A plan's changes with their provenance and field differences, ready to be stored."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Sequence

from jobreconciler.core.diff import diff_configs
from jobreconciler.core.index import JobIndex
from jobreconciler.model.change import AppliedChange, Change, LogAction, Plan, Provenance
from jobreconciler.model.desired import Commit, DesiredJob
from jobreconciler.model.job import IndexRow
from jobreconciler.ports import Provenancer, Source, Store

_LOG_ACTIONS: dict[str, LogAction] = {
    "create": "created",
    "update": "updated",
    "move": "moved",
    "delete": "deleted",
    "restore": "restored",
}


def applied_changes(
    plan: Plan,
    source: Source,
    store: Store,
    provenancer: Provenancer,
    *,
    base: str | None,
    since: str | None,
    held_before: Collection[str],
) -> list[AppliedChange]:
    """What `plan` changes, in its order.

    A file that was not held before owes its change to commits after `since`, the last applied
    revision; one that was held, to commits after `base`, the last revision applied in full.
    """
    changes = [change for change in plan.changes if change.action != "hold"]
    if not changes:
        return []
    commits = _commits(changes, plan.revision, source, base, since, frozenset(held_before))
    old = store.configs([c.job_id for c in changes if c.action in ("update", "move", "delete")])
    built: dict[tuple[str, ...], Provenance] = {}
    applied = []
    for change in changes:
        own = commits[change.path]
        key = tuple(commit.revision for commit in own)
        if key not in built:
            built[key] = provenancer.build(plan.revision, own)
        desired = change.desired
        new = json.loads(desired.config) if desired is not None else None
        applied.append(
            AppliedChange(
                job_id=change.job_id,
                action="migrated" if change.reason == "migrated" else _LOG_ACTIONS[change.action],
                file=change.path,
                revision=plan.revision,
                provenance=built[key],
                fields=diff_configs(old.get(change.job_id), new),
                desired=desired,
            )
        )
    return applied


def _commits(
    changes: Sequence[Change],
    revision: str,
    source: Source,
    base: str | None,
    since: str | None,
    held_before: frozenset[str],
) -> dict[str, tuple[Commit, ...]]:
    """Commits by path. Where none lies in the range (rewritten history, another environment, a
    daemon upgrade) the newest one that touched the path stands; for a deletion the tip."""
    found: dict[str, tuple[Commit, ...]] = {}
    held = [c for c in changes if {c.path, c.old_path} & held_before]
    fresh = [c for c in changes if not {c.path, c.old_path} & held_before]
    for group, start in ((held, base), (fresh, since)):
        if group and start is not None:
            history = source.history(start, revision, _paths(group))
            found.update({c.path: history.of(c.path, c.old_path) for c in group})
    missing = [c for c in changes if not found.get(c.path)]
    present = [c for c in missing if c.action != "delete"]
    if present:
        history = source.history(None, revision, _paths(present))
        found.update({c.path: history.of(c.path) for c in present})
    if any(not found.get(c.path) for c in changes):
        tip = (source.commit(revision),)
        found.update({c.path: tip for c in changes if not found.get(c.path)})
    return found


def _paths(changes: Iterable[Change]) -> set[str]:
    return {path for c in changes for path in (c.path, c.old_path) if path is not None}


def index_row(job: DesiredJob) -> IndexRow:
    """The row the planner will see for a job that has just been applied."""
    return IndexRow(
        job.job_id, job.path, job.blob, job.defaults_blob, job.digest, job.enabled, job.depends_on
    )


def index_rows(
    applied: Iterable[AppliedChange], seen: Iterable[DesiredJob], index: JobIndex
) -> list[IndexRow]:
    """The index rows that a stored change set leaves behind."""
    rows = [index_row(job) for job in seen]
    for change in applied:
        if change.desired is not None:
            rows.append(index_row(change.desired))
        else:
            rows.append(index.rows[change.job_id]._replace(deleted=True))
    return rows
