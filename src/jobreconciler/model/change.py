"""Changes: what a plan would do, and what an applied change leaves in the changelog."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from jobreconciler.model.desired import Commit, DesiredJob
from jobreconciler.model.problem import Problem

PlanAction = Literal["create", "update", "move", "delete", "restore", "hold"]
LogAction = Literal[
    "created",
    "updated",
    "moved",
    "deleted",
    "restored",
    "healed",
    "migrated",
    "suspended",
    "resumed",
]

RESULTS = ("applied", "unchanged", "held", "blocked", "refused", "failed")
"""How a reconcile pass may end."""


@dataclass(frozen=True, slots=True)
class FieldChange:
    """One field, by its dotted path (`payload.schedule.cronExpression`, `meta.tags[1]`).

    `old` or `new` is None where the field is absent on that side.
    """

    path: str
    old: Any
    new: Any

    def to_json(self) -> dict[str, Any]:
        return {"path": self.path, "old": self.old, "new": self.new}


@dataclass(frozen=True, slots=True)
class Change:
    """One job's difference between desired and stored. `desired` is None for delete and hold."""

    action: PlanAction
    job_id: str
    path: str
    old_path: str | None = None
    desired: DesiredJob | None = None
    problems: tuple[Problem, ...] = ()
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Blocked:
    """Deletions or disablings that the prune guard holds back."""

    deletes: tuple[str, ...]
    disables: tuple[str, ...]
    total: int
    message: str


@dataclass(frozen=True, slots=True)
class Plan:
    """What a reconcile of `revision` would do. `changes` are sorted by job id.

    `seen` are jobs whose files are other blobs (or lie elsewhere) but mean the same: their rows
    take the new blob ids, generation and changelog stay.
    """

    revision: str
    base: str | None
    changes: tuple[Change, ...] = ()
    seen: tuple[DesiredJob, ...] = ()
    problems: tuple[Problem, ...] = ()
    unchanged: int = 0
    blocked: Blocked | None = None
    refused: str = ""

    def summary(self) -> dict[str, int]:
        counts = {"create": 0, "update": 0, "move": 0, "delete": 0, "hold": 0}
        for change in self.changes:
            counts["create" if change.action == "restore" else change.action] += 1
        return {**counts, "unchanged": self.unchanged}


@dataclass(frozen=True, slots=True)
class Provenance:
    """Which commits made a change. `commits` are newest first; the first one decides."""

    revision: str
    commits: tuple[Commit, ...]
    pull_request: str | None = None
    reviewers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class AppliedChange:
    """One changelog row before the store gives it a sequence, a generation and its hash."""

    job_id: str
    action: LogAction
    file: str
    revision: str
    provenance: Provenance
    fields: tuple[FieldChange, ...] = ()
    desired: DesiredJob | None = None
    actor: str = "reconcile"


@dataclass(frozen=True, slots=True)
class ChangelogRow:
    """One changelog row as stored; `hash` covers the row and `previous_hash`."""

    sequence: int
    job_id: str
    action: str
    generation: int
    file: str
    revision: str
    commits: tuple[str, ...]
    author: dict[str, Any]
    committer: dict[str, Any]
    message: str
    pull_request: str | None
    reviewers: tuple[str, ...]
    signature: str | None
    fields: tuple[FieldChange, ...]
    applied_at: datetime
    actor: str
    instance: str
    hash: str
    previous_hash: str


@dataclass(frozen=True, slots=True)
class ReconcileRecord:
    """One reconcile that wrote something or failed; quiet ones leave no row."""

    revision: str
    started_at: datetime
    finished_at: datetime
    result: str
    trigger: str
    summary: dict[str, int] = field(default_factory=dict)
    error: str = ""
