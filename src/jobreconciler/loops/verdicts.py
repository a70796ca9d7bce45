"""What a pass came to: everything that is written and shown about it, worked out in one place."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from jobreconciler.core.verdict import applied_conditions, hold_condition
from jobreconciler.model.change import AppliedChange, Plan
from jobreconciler.model.condition import Condition
from jobreconciler.model.desired import Commit, DesiredJob
from jobreconciler.model.problem import Problem
from jobreconciler.model.views import SourceState


@dataclass(frozen=True, slots=True)
class ReconcileOptions:
    """Settings of the reconcile loop."""

    jobs_dir: str
    environment: str | None = None
    atomic: bool = False
    require_fast_forward: bool = False


@dataclass(frozen=True, slots=True)
class Verdict:
    """One plan, judged. `clean`: applied with nothing invalid, held or refused."""

    plan: Plan
    result: str
    clean: bool
    applied: tuple[AppliedChange, ...]
    seen: tuple[DesiredJob, ...]
    held: dict[str, Condition]
    problems: dict[str, tuple[Problem, ...]]

    @property
    def writes(self) -> bool:
        """Whether any job's row changes."""
        return bool(self.applied or self.seen)

    @property
    def error(self) -> str:
        blocked = self.plan.blocked
        return self.plan.refused or (blocked.message if blocked is not None else "")

    @property
    def unsettled_paths(self) -> frozenset[str]:
        """Files that were not applied as they are: their next change began before this commit."""
        held = {change.path for change in self.plan.changes if change.action == "hold"}
        return frozenset(self.problems) | held

    def kept_blobs(self, contents: Mapping[str, bytes]) -> dict[str, bytes]:
        """The texts that healing and rollback may need: of what was applied, not what was held."""
        jobs = [change.desired for change in self.applied if change.desired is not None]
        ids = {
            blob for job in (*jobs, *self.seen) for blob in (job.blob, job.defaults_blob) if blob
        }
        return {blob: contents[blob] for blob in sorted(ids) if blob in contents}


def judge(plan: Plan, applied: tuple[AppliedChange, ...], at: datetime) -> Verdict:
    """The verdict on a plan whose changes are `applied` (none where it was refused)."""
    held = {c.job_id: hold_condition(c, at) for c in plan.changes if c.action == "hold"}
    problems: dict[str, list[Problem]] = {}
    for problem in plan.problems:
        problems.setdefault(problem.file, []).append(problem)
    clean = not (plan.problems or held or plan.refused)
    return Verdict(
        plan=plan,
        result=_word(plan, clean, bool(applied)),
        clean=clean,
        applied=applied,
        seen=() if plan.refused else plan.seen,
        held=held,
        problems={path: tuple(problems[path]) for path in sorted(problems)},
    )


def _word(plan: Plan, clean: bool, wrote: bool) -> str:
    if plan.refused:
        return "refused"
    if plan.blocked is not None:
        return "blocked"
    if not clean:
        return "held"
    return "applied" if wrote else "unchanged"


def next_state(
    before: SourceState | None,
    verdict: Verdict,
    tip: Commit,
    options: ReconcileOptions,
    reader_version: str,
    at: datetime,
) -> SourceState:
    """How far the source has got with this verdict. A refused commit is seen, not applied."""
    revision = verdict.plan.revision
    kept = before if verdict.plan.refused else None
    return SourceState(
        revision=before.revision if kept and before else revision,
        observed_revision=revision,
        base_revision=revision if verdict.clean else before.base_revision if before else None,
        environment=options.environment,
        reader_version=reader_version,
        conditions=applied_conditions(before.conditions if before else (), verdict.plan, at),
        last_success_at=at,
        author=kept.author if kept else tip.author_name,
        message=kept.message if kept else tip.message.split("\n", 1)[0],
        committed_at=kept.committed_at if kept else tip.committed_at,
    )
