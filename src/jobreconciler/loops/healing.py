"""Drift: rows that were changed behind the daemon's back go back to what their files say.

The text of every applied file is kept in the store, so this works when git is away and when
history was rewritten.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from jobreconciler.core.diff import diff_configs
from jobreconciler.core.index import JobIndex
from jobreconciler.errors import JobReconcilerError
from jobreconciler.loops.changes import index_row
from jobreconciler.model.change import AppliedChange, Provenance
from jobreconciler.model.condition import Condition
from jobreconciler.model.desired import DesiredFile, DesiredJob, Entry
from jobreconciler.model.job import IndexRow
from jobreconciler.model.views import SourceState
from jobreconciler.ports import ChangeSet, DriftedRow, Loader, Source, Store


@dataclass(frozen=True, slots=True)
class Healed:
    """Ids of the jobs that were put back, and, by id, why others drifted and could not be."""

    jobs: frozenset[str] = frozenset()
    left: Mapping[str, Condition] = field(default_factory=dict)


def heal(
    store: Store,
    source: Source,
    loader: Loader,
    index: JobIndex,
    state: SourceState,
    now: datetime,
) -> Healed:
    """Restore every drifted row whose file can be read, in one transaction."""
    drifted = {row.job_id: row for row in store.drifted()}
    rows = [index.rows[job_id] for job_id in sorted(drifted) if index.get(job_id) is not None]
    changes = []
    left = {}
    for row in rows:
        job = _declared(store, source, loader, row)
        if isinstance(job, str):
            left[row.job_id] = _drifted(row, job, now)
            continue
        changes.append(
            AppliedChange(
                job_id=row.job_id,
                action="healed",
                file=row.path,
                revision=state.revision or "",
                provenance=_provenance(source, state),
                fields=diff_configs(_tampered(drifted[row.job_id]), json.loads(job.config)),
                desired=job,
                actor="drift-healing",
            )
        )
    if changes:
        store.apply(ChangeSet(source=state, changes=tuple(changes), applied_at=now)).result()
        index.put_all(index_row(c.desired) for c in changes if c.desired is not None)
    return Healed(frozenset(change.job_id for change in changes), left)


def _drifted(row: IndexRow, why: str, now: datetime) -> Condition:
    message = f"somebody changed the stored job, and {row.path} cannot put it back: {why}"
    return Condition("Drifted", "True", "NotHealed", message, now)


def _declared(store: Store, source: Source, loader: Loader, row: IndexRow) -> DesiredJob | str:
    """What its file says; in words why that cannot be read any more."""
    try:
        file = _loaded(store, source, loader, row)
    except JobReconcilerError as error:
        return error.message
    if file is None:
        return "its text is not kept"
    if file.job is None:
        return "; ".join(problem.message for problem in file.problems)
    return file.job


def _loaded(store: Store, source: Source, loader: Loader, row: IndexRow) -> DesiredFile | None:
    wanted = [blob for blob in (row.blob, row.defaults_blob) if blob]
    contents = store.blobs(wanted)
    missing = [blob for blob in wanted if blob not in contents]
    if missing:
        contents = {**contents, **source.read(missing)}
    defaults = Entry("_defaults.yaml", row.defaults_blob) if row.defaults_blob else None
    files = loader.load([Entry(row.path, row.blob)], contents, defaults)
    return next((file for file in files if file.path == row.path), None)


def _provenance(source: Source, state: SourceState) -> Provenance:
    """The commit that is applied; nameless when git cannot be asked right now."""
    revision = state.revision or ""
    try:
        return Provenance(revision, (source.commit(revision),))
    except JobReconcilerError:
        return Provenance(revision, ())


def _tampered(row: DriftedRow) -> dict[str, Any]:
    """What stood in the row; text that is no JSON object any more is shown as it is."""
    try:
        config = json.loads(row.config)
    except ValueError:
        config = None
    return config if isinstance(config, dict) else {"unreadable": row.config[:200]}
