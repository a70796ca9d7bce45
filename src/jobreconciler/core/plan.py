"""Desired × stored → Plan. Decides everything a reconcile may do to jobs, and touches nothing.

The order of the rules is the order of this file: sort out invalid files, hold what they belong
to, compare the rest, find what is gone, and last ask the prune guard. Whatever cannot be done is
a `hold` with a reason; nothing is left out silently.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from jobreconciler.core.crossfile import cross_check
from jobreconciler.core.index import JobIndex
from jobreconciler.model.change import Blocked, Change, Plan, PlanAction
from jobreconciler.model.desired import DesiredFile, DesiredJob
from jobreconciler.model.job import IndexRow
from jobreconciler.model.problem import Problem

GUARD_COUNT = 5
GUARD_SHARE = 10


@dataclass(frozen=True, slots=True)
class Desired:
    """What one commit says, as far as it has to be looked at.

    `files` are the files that differ from what is stored, or were held; `gone` the paths of
    stored jobs that the commit no longer has. Files in neither are as they were.
    """

    revision: str
    base: str | None
    files: tuple[DesiredFile, ...]
    gone: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Rules:
    """How this daemon reconciles. `allow_prune`: this commit's deletions were approved."""

    environment: str | None = None
    atomic: bool = False
    allow_prune: bool = False


@dataclass
class _Draft:
    """A plan in the making; lives for one call of make_plan."""

    changes: dict[str, Change] = field(default_factory=dict)
    seen: list[DesiredJob] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    moved_away: set[str] = field(default_factory=set)
    unmatched: list[str] = field(default_factory=list)

    def hold(self, job_id: str, path: str, reason: str, problems: tuple[Problem, ...] = ()) -> None:
        self.changes[job_id] = Change("hold", job_id, path, problems=problems, reason=reason)


def make_plan(desired: Desired, index: JobIndex, rules: Rules) -> Plan:
    """The plan for `desired` over the stored jobs. The order of `desired.files` changes nothing."""
    files = sorted(desired.files, key=lambda file: file.path)
    considered = {file.path for file in files} | desired.gone
    mine = [_mine(file, rules.environment) for file in files]
    crossed = cross_check(
        [file for file in mine if file is not None],
        index.rows,
        untouched=lambda path: path not in considered,
    )
    draft = _Draft()
    valid: dict[str, DesiredJob] = {}
    for file, own in zip(files, mine, strict=True):
        found = (*file.problems, *crossed.get(file.path, ()))
        if found:
            _hold_invalid(draft, file, found, index)
        elif own is None:
            draft.moved_away.update(_elsewhere(file, index))
        elif own.job is not None:
            valid[own.job.job_id] = own.job
    if rules.atomic and draft.problems:
        return Plan(
            desired.revision,
            desired.base,
            problems=tuple(sorted(draft.problems)),
            unchanged=index.live,
            refused=f"{len(draft.problems)} problems in the commit, and --atomic applies all or "
            "nothing",
        )
    _hold_dependents(draft, valid, index)
    for job_id in sorted(valid):
        _compare(draft, valid[job_id], index.rows.get(job_id))
    deletes = _deletes(draft, valid, desired, files, index)
    _hold_deletes(draft, deletes, valid, index)
    blocked = None if rules.allow_prune else _guard(draft, deletes, index)
    return _finish(draft, desired, index, blocked)


def _mine(file: DesiredFile, environment: str | None) -> DesiredFile | None:
    """The file, or None where its job belongs to other environments only."""
    job = file.job
    if job is None or environment is None or not job.environments:
        return file
    return file if environment in job.environments else None


def _elsewhere(file: DesiredFile, index: JobIndex) -> Iterable[str]:
    """Stored jobs that this valid file moves to another environment."""
    row = index.at(file.path)
    ids = {file.job_id} if file.job_id else set()
    return ids | ({row.job_id} if row is not None else set())


def _hold_invalid(
    draft: _Draft, file: DesiredFile, found: tuple[Problem, ...], index: JobIndex
) -> None:
    """Match an invalid file to its job: by path first, then by the id it still shows."""
    draft.problems.extend(found)
    row = index.at(file.path)
    if row is None and file.job_id is not None:
        row = index.get(file.job_id)
        if row is not None and any(problem.code == "duplicate_id" for problem in found):
            return  # the id belongs to another, valid file, which is none the worse for this one
    if row is not None:
        draft.hold(row.job_id, file.path, "InvalidFile", found)
    elif file.job_id is None:
        draft.unmatched.append(file.path)


def _hold_dependents(draft: _Draft, valid: dict[str, DesiredJob], index: JobIndex) -> None:
    """Take out of `valid`, until nothing moves, every changed job that depends on a held one."""
    while True:
        caught = [
            (job, upstream)
            for job in valid.values()
            if _changes(job, index.rows.get(job.job_id))
            for upstream in job.depends_on
            if upstream in draft.changes
        ]
        if not caught:
            return
        for job, upstream in caught:
            if job.job_id not in valid:
                continue
            del valid[job.job_id]
            problem = Problem(
                job.path,
                *(job.depends_at[0] if job.depends_at else (0, 0)),
                "payload.dependency.jobs",
                "held_with_dependency",
                f"{job.job_id} depends on {upstream}, whose change is held",
                f"mend the file of {upstream}; both are then applied together",
            )
            draft.problems.append(problem)
            draft.hold(job.job_id, job.path, "DependencyHeld", (problem,))


def _changes(job: DesiredJob, row: IndexRow | None) -> bool:
    return row is None or row.deleted or row.digest != job.digest


def _compare(draft: _Draft, job: DesiredJob, row: IndexRow | None) -> None:
    if row is None or row.deleted:
        action: PlanAction = "create" if row is None else "restore"
        draft.changes[job.job_id] = Change(action, job.job_id, job.path, desired=job)
        return
    same_source = (row.blob, row.defaults_blob) == (job.blob, job.defaults_blob)
    if row.path != job.path:
        draft.changes[job.job_id] = Change(
            "move", job.job_id, job.path, old_path=row.path, desired=job
        )
    elif row.digest != job.digest:
        draft.changes[job.job_id] = Change(
            "update", job.job_id, job.path, desired=job, reason="migrated" if same_source else ""
        )
    elif not same_source:
        draft.seen.append(job)


def _deletes(
    draft: _Draft,
    valid: Mapping[str, DesiredJob],
    desired: Desired,
    files: Iterable[DesiredFile],
    index: JobIndex,
) -> dict[str, str]:
    """Ids that no file declares any more, with what the plan should say about each."""
    named = {file.path: file.job_id for file in files}
    found: dict[str, str] = {}
    for path in (*sorted(desired.gone), *named):
        row = index.at(path)
        if row is None or row.job_id in valid or row.job_id in draft.changes:
            continue
        if row.job_id == named.get(path) and row.job_id not in draft.moved_away:
            continue
        successor = named.get(path)
        renamed = successor is not None and successor != row.job_id
        found[row.job_id] = (
            f"{path} now declares {successor}: this deletes {row.job_id} and its history stays "
            "behind; was a rename meant?"
            if renamed
            else ""
        )
    return found


def _hold_deletes(
    draft: _Draft, deletes: dict[str, str], valid: Mapping[str, DesiredJob], index: JobIndex
) -> None:
    """Plan the deletions, and hold those that would leave a dependent or an unknown file behind."""
    for job_id, note in deletes.items():
        row = index.rows[job_id]
        draft.changes[job_id] = Change("delete", job_id, row.path, reason=note)
    if draft.unmatched:
        for job_id in list(deletes):
            if job_id in draft.moved_away:
                continue
            del deletes[job_id]
            draft.hold(job_id, index.rows[job_id].path, "UnmatchedInvalidFile")
    held = True
    while held:
        held = False
        for job_id in sorted(deletes):
            if any(
                _still_needs(user, job_id, deletes, valid, index)
                for user in index.dependents(job_id)
            ):
                del deletes[job_id]
                draft.hold(job_id, index.rows[job_id].path, "HasDependents")
                held = True


def _still_needs(
    user: str,
    job_id: str,
    deletes: Mapping[str, str],
    valid: Mapping[str, DesiredJob],
    index: JobIndex,
) -> bool:
    if user in deletes:
        return False
    declared = valid[user].depends_on if user in valid else index.rows[user].depends_on
    return job_id in declared


def _guard(draft: _Draft, deletes: Mapping[str, str], index: JobIndex) -> Blocked | None:
    """Hold deletions and disablings that are too many at once, and mass edits by the defaults."""
    gone = tuple(job_id for job_id in sorted(deletes) if job_id not in draft.moved_away)
    disabled: list[str] = []
    altered: list[str] = []
    for job_id, change in sorted(draft.changes.items()):
        row = index.get(job_id)
        if row is None or change.desired is None:
            continue
        if row.enabled and not change.desired.enabled:
            disabled.append(job_id)
        if row.blob == change.desired.blob and row.defaults_blob != change.desired.defaults_blob:
            altered.append(job_id)
    messages = []
    caught: set[str] = set()
    lost = len(gone) + len(disabled)
    if _too_many(lost, index.live) or (lost and lost >= index.live):
        caught.update(gone, disabled)
        done = ((f"deletes {len(gone)}", gone), (f"disables {len(disabled)}", disabled))
        what = " and ".join(words for words, jobs in done if jobs)
        messages.append(f"the commit {what} of {index.live} jobs")
    if _too_many(len(altered), index.live):
        caught.update(altered)
        messages.append(f"a change of the defaults alters {len(altered)} of {index.live} jobs")
    if not caught:
        return None
    for job_id in sorted(caught):
        draft.hold(job_id, index.rows[job_id].path, "PruneBlocked")
    return Blocked(gone, tuple(disabled), index.live, "; ".join(messages))


def _too_many(count: int, total: int) -> bool:
    return count > GUARD_COUNT and count * GUARD_SHARE > total


def _finish(draft: _Draft, desired: Desired, index: JobIndex, blocked: Blocked | None) -> Plan:
    touched = sum(1 for job_id in draft.changes if index.get(job_id) is not None)
    return Plan(
        desired.revision,
        desired.base,
        changes=tuple(draft.changes[job_id] for job_id in sorted(draft.changes)),
        seen=tuple(draft.seen),
        problems=tuple(sorted(draft.problems)),
        unchanged=index.live - touched,
        blocked=blocked,
    )
