"""`jobreconciler reconcile`: have the daemon look at the repository now; say what came of it."""

from __future__ import annotations

from jobreconciler.cli.client import Client
from jobreconciler.cli.errors import FINE, NO
from jobreconciler.cli.options import DAEMON, verb
from jobreconciler.cli.output import write, write_json
from jobreconciler.cli.passes import pass_text, went_well
from jobreconciler.settings import Settings

PATIENCE_SECONDS = 300.0


@verb(*DAEMON)
def command(settings: Settings, output: str) -> int:
    """Have the daemon look at the repository now and wait for that pass.

    Exits with 1 when the pass failed, was refused, or held or blocked a change.

    \b
    Example:
      jobreconciler reconcile -o json
    """
    record = Client(settings, timeout=PATIENCE_SECONDS).post("/api/v1/reconcile")
    if output == "json":
        write_json(record)
    else:
        write(pass_text(record))
    return FINE if went_well(record) else NO
