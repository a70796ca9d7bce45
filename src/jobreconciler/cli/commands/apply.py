"""`jobreconciler apply`: one reconcile in this process, for CI, cron and the first look."""

from __future__ import annotations

import gc

from jobreconciler.cli.errors import FINE, NO
from jobreconciler.cli.options import REPOSITORY, STATE, verb
from jobreconciler.cli.output import coloured, styled, write, write_json
from jobreconciler.cli.passes import pass_text, went_well
from jobreconciler.cli.problems import one_line
from jobreconciler.settings import Settings

_RULES = ("environment", "atomic", "require_fast_forward", "working_tree")


@verb(*REPOSITORY, *STATE, *_RULES, "instance", "log_format")
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
    from jobreconciler.loops.records import pass_json
    from jobreconciler.observe.logging import configure
    from jobreconciler.observe.metrics import Metrics

    # What a pass has to say is in its result; only crashes are worth a log line here.
    configure(settings.log_format, "error")
    done = reconcile_once(settings, Metrics(__version__))
    record = pass_json(done)
    if output == "json":
        write_json(record)
        return FINE if went_well(record) else NO
    for problem in done.plan.problems if done.plan is not None else ():
        write(styled(one_line(problem), "bad", coloured()))
    write(pass_text(record))
    return FINE if went_well(record) else NO
