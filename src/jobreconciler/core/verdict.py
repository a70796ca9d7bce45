"""Results and errors → conditions and retry times. The one place that words a final status."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from datetime import datetime

from jobreconciler.errors import JobReconcilerError, Stalled, Transient
from jobreconciler.model.change import Change, Plan
from jobreconciler.model.condition import Condition, ConditionStatus, ConditionType

FIRST_RETRY_SECONDS = 1.0
LAST_RETRY_SECONDS = 300.0

_HOLD_MESSAGES = {
    "DependencyHeld": "a job it depends on is held, so its own change waits with it",
    "HasDependents": "its file is gone, but other jobs still depend on it; change those first",
    "UnmatchedInvalidFile": "its file is gone, but an invalid file that names no job might be it "
    "under a new name; mend that file and the deletion goes on",
    "PruneBlocked": "too many jobs would be deleted, disabled or altered at once; approve with the "
    "commit trailer 'Allow-Prune: true' or `jobreconciler approve-prune REVISION`",
}


def hold_condition(change: Change, now: datetime) -> Condition:
    """Why a job keeps its last good generation, in words for the person who has to mend it."""
    message = _HOLD_MESSAGES.get(change.reason, "")
    if change.problems:
        first = change.problems[0]
        more = f" (and {len(change.problems) - 1} more)" if len(change.problems) > 1 else ""
        message = f"{first.file}:{first.line}:{first.column}: {first.message}{more}"
        if _disables(change):
            message += "; the job keeps running: use `jobreconciler suspend` to stop it now"
    return Condition("Held", "True", change.reason, message, now)


def _disables(change: Change) -> bool:
    return any(problem.code == "disable_held" for problem in change.problems)


NOTHING_APPLIED = "no revision has been applied yet, so nothing runs"


def applied_conditions(
    previous: Iterable[Condition], plan: Plan, now: datetime
) -> tuple[Condition, ...]:
    """The source's conditions after a reconcile that read the commit in full."""
    held = sum(1 for change in plan.changes if change.action == "hold")
    if plan.refused:
        ready: tuple[ConditionStatus, str, str] = ("False", "CommitRefused", plan.refused)
    elif plan.problems or held:
        files = len({problem.file for problem in plan.problems})
        ready = (
            "True",
            "AppliedWithHolds",
            f"applied {plan.revision[:12]}; {held} jobs held, {files} files invalid",
        )
    else:
        ready = ("True", "Applied", f"applied {plan.revision[:12]}")
    wanted: list[tuple[ConditionType, ConditionStatus, str, str]] = [
        ("Ready", *ready),
        ("SourceReady", "True", "Fetched", "the source can be read"),
        ("Stalled", "False", "Progressing", ""),
    ]
    if plan.blocked is not None:
        wanted.append(
            (
                "PruneBlocked",
                "True",
                "TooManyAtOnce",
                f"{plan.blocked.message}; approve with the commit trailer 'Allow-Prune: true' or "
                f"`jobreconciler approve-prune {plan.revision}`",
            )
        )
    return _carry(previous, wanted, now)


def failed_conditions(
    previous: Iterable[Condition], error: JobReconcilerError, now: datetime, *, applied: bool
) -> tuple[Condition, ...]:
    """The source's conditions after an error: what is applied stays applied, and says so.

    `applied`: there is a revision that was.
    """
    kept = [(c.type, c.status, c.reason, c.message) for c in previous if c.type == "PruneBlocked"]
    text = f"{error.message}. {error.hint}" if error.hint else error.message
    stalled: ConditionStatus = "True" if isinstance(error, Stalled) else "False"
    running = "the last good revision keeps running" if applied else NOTHING_APPLIED
    return _carry(
        previous,
        [
            ("Ready", "False", error.reason, f"{running}: {text}"),
            ("SourceReady", "False", error.reason, text),
            ("Stalled", stalled, error.reason, text if stalled == "True" else ""),
            *kept,
        ],
        now,
    )


def _carry(
    previous: Iterable[Condition],
    wanted: Iterable[tuple[ConditionType, ConditionStatus, str, str]],
    now: datetime,
) -> tuple[Condition, ...]:
    """A condition that says the same as before has held since before."""
    before = {condition.type: condition for condition in previous}
    result = []
    for kind, status, reason, message in wanted:
        old = before.get(kind)
        same = old is not None and (old.status, old.reason) == (status, reason)
        result.append(Condition(kind, status, reason, message, old.since if old and same else now))
    return tuple(result)


def retry_delay(failures: int, error: JobReconcilerError | None, seed: str) -> float:
    """Seconds until the next try: 1 s doubling to 5 min, less up to a quarter by a stable hash.

    `failures` counts from 1. An error that names its own delay is believed.
    """
    if isinstance(error, Transient) and error.retry_after is not None:
        return error.retry_after
    full = min(FIRST_RETRY_SECONDS * 2.0 ** min(failures - 1, 20), LAST_RETRY_SECONDS)
    share = int.from_bytes(hashlib.sha256(f"{seed}:{failures}".encode()).digest()[:4], "big")
    return float(full * (1 - 0.25 * share / 2**32))
