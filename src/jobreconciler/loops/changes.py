"""A plan's changes with their provenance and field differences, ready to be stored."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from pydantic_core import from_json

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


@dataclass(frozen=True, slots=True)
class Range:
    """Where a change's commits are looked for.

    A file that was not held before owes its change to commits after `since`, the last applied
    revision; one that was (`held_before`), to commits after `base`, the last one applied in full.
    """

    base: str | None
    since: str | None
    held_before: frozenset[str]
    defaults_path: str


_Origin = tuple[tuple[Commit, ...], tuple[Commit, ...]]
"""The commits that made a change, and the merges that brought them in."""


def applied_changes(
    plan: Plan,
    source: Source,
    store: Store,
    provenancer: Provenancer,
    index: JobIndex,
    within: Range,
) -> tuple[AppliedChange, ...]:
    """What `plan` changes, in its order."""
    changes = [change for change in plan.changes if change.action != "hold"]
    if not changes:
        return ()
    origins = _origins(changes, plan.revision, source, index, within)
    old = store.configs([c.job_id for c in changes if c.action in ("update", "move", "delete")])
    built: dict[_Origin, Provenance] = {}
    applied = []
    for change in changes:
        origin = origins[change.job_id]
        if origin not in built:
            built[origin] = provenancer.build(plan.revision, *origin)
        desired = change.desired
        new = from_json(desired.config) if desired is not None else None
        applied.append(
            AppliedChange(
                job_id=change.job_id,
                action="migrated" if change.reason == "migrated" else _LOG_ACTIONS[change.action],
                file=change.path,
                revision=plan.revision,
                provenance=built[origin],
                fields=diff_configs(old.get(change.job_id), new),
                desired=desired,
            )
        )
    return tuple(applied)


def _origins(
    changes: Sequence[Change], revision: str, source: Source, index: JobIndex, within: Range
) -> dict[str, _Origin]:
    """Each change's commits, by job id. Where none lies in the range (rewritten history, another
    environment, a daemon upgrade) the newest one that touched the file stands; for a deletion
    the tip."""
    paths = {change.job_id: _paths(change, index, within) for change in changes}
    found: dict[str, _Origin] = {}
    held = [c for c in changes if paths[c.job_id] & within.held_before]
    fresh = [c for c in changes if not paths[c.job_id] & within.held_before]
    for group, start in ((held, within.base), (fresh, within.since)):
        if group and start is not None:
            _look(found, group, paths, source, start, revision)
    present = [c for c in changes if c.job_id not in found and c.action != "delete"]
    if present:
        _look(
            found, present, {c.job_id: frozenset({c.path}) for c in present}, source, None, revision
        )
    left = [c for c in changes if c.job_id not in found]
    if left:
        tip = (source.commit(revision),)
        found.update({c.job_id: (tip, ()) for c in left})
    return found


def _look(
    found: dict[str, _Origin],
    changes: Sequence[Change],
    paths: Mapping[str, frozenset[str]],
    source: Source,
    start: str | None,
    revision: str,
) -> None:
    wanted = frozenset[str]().union(*(paths[c.job_id] for c in changes))
    history = source.history(start, revision, wanted)
    for change in changes:
        own = sorted(paths[change.job_id])
        commits = history.of(*own)
        if commits:
            found[change.job_id] = (commits, history.merged(*own))


def _paths(change: Change, index: JobIndex, within: Range) -> frozenset[str]:
    """The files that may have made the change: its own, where it was, and the defaults."""
    paths = {change.path, change.old_path} - {None}
    row = index.get(change.job_id)
    if row and change.desired and row.defaults_blob != change.desired.defaults_blob:
        paths.add(within.defaults_path)
    return frozenset(path for path in paths if path is not None)


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
