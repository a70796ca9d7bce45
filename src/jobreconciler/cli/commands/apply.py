"""`jobreconciler apply`: one reconcile in this process, for CI, cron and the first look."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING, Any

from jobreconciler.cli.errors import FINE, NO
from jobreconciler.cli.options import REPOSITORY, STATE, verb
from jobreconciler.cli.output import coloured, styled, write, write_json
from jobreconciler.cli.passes import pass_text, went_well
from jobreconciler.cli.problems import one_line
from jobreconciler.settings import Settings

if TYPE_CHECKING:
    from jobreconciler.loops.reconcile import PassResult

_RULES = ("environment", "atomic", "require_fast_forward", "working_tree")


@verb(*REPOSITORY, *STATE, *_RULES, "instance")
def command(settings: Settings, output: str) -> int:
    """Reconcile once and exit: what the ref says becomes what is stored. Starts no job.

    Refused while a daemon holds the store. Exits with 1 when the pass failed, was refused, or
    held or blocked a change.

    \b
    Example:
      jobreconciler apply --repo https://git.example.org/jobs.git
    """
    # One pass over thousands of files makes many objects that all stay, and no cycles.
    gc.disable()
    from jobreconciler import __version__
    from jobreconciler.app import reconcile_once
    from jobreconciler.observe.logging import configure
    from jobreconciler.observe.metrics import Metrics

    # What a pass has to say is in its result; only crashes are worth a log line here.
    configure(settings.log_format, "error")
    done = reconcile_once(settings, Metrics(__version__))
    record = as_record(done)
    if output == "json":
        write_json(record)
        return FINE if went_well(record) else NO
    for problem in done.plan.problems if done.plan is not None else ():
        write(styled(one_line(problem), "bad", coloured()))
    write(pass_text(record))
    return FINE if went_well(record) else NO


def as_record(done: PassResult) -> dict[str, Any]:
    """`{result, revision, summary, error:{reason, message, hint}, errors}`.

    `error` is what stopped the pass or a part of it, `errors` are the mistakes in files.
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
        "errors": [problem.to_json() for problem in plan.problems] if plan is not None else [],
    }


def _error(reason: str, message: str, hint: str) -> dict[str, str]:
    return {"reason": reason, "message": message, "hint": hint}
