"""A reconcile pass as JSON."""

from __future__ import annotations

from typing import Any

from jobreconciler.loops.reconcile import PassResult


def pass_json(done: PassResult) -> dict[str, Any]:
    """`{result, revision, summary, error:{reason, message, hint}, errors}`, of any length.

    `errors` are the mistakes in files.
    """
    problems = done.plan.problems if done.plan is not None else ()
    return {**record_json(done), "errors": [problem.to_json() for problem in problems]}


def record_json(done: PassResult) -> dict[str, Any]:
    """As `pass_json` without `errors`: short, however many files are invalid.

    `error` is what stopped the pass or a part of it.
    """
    plan = done.plan
    error = None
    if done.error is not None:
        error = _error(done.error.reason, done.error.message, done.error.hint)
    elif plan is not None and plan.refused:
        error = _error("CommitRefused", plan.refused, "mend the files, or leave out --atomic")
    elif plan is not None and plan.blocked is not None:
        approve = f"`jobreconciler approve-prune {plan.revision}` lets it"
        error = _error("PruneBlocked", plan.blocked.message, approve)
    return {
        "result": done.result,
        "revision": done.revision,
        "summary": done.summary,
        "error": error,
    }


def _error(reason: str, message: str, hint: str) -> dict[str, str]:
    return {"reason": reason, "message": message, "hint": hint}
