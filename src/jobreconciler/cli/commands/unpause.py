"""`jobreconciler unpause`: let the fleet go on, and confirm a clock that was set."""

from __future__ import annotations

from jobreconciler.cli import stopping
from jobreconciler.cli.client import Client
from jobreconciler.cli.errors import FINE, NO
from jobreconciler.cli.options import DAEMON, verb
from jobreconciler.cli.output import note
from jobreconciler.settings import Settings


@verb(*DAEMON)
def command(settings: Settings, output: str) -> int:
    """Lift the fleet's pause. Where the daemon waits because the wall clock was set by more than
    5 minutes, this confirms the new time. Exits 1 where there was neither.

    \b
    Example:
      jobreconciler unpause
    """
    answer = Client(settings).post("/api/v1/unpause")
    stopping.say_lifted(answer, "the fleet", output, "the fleet was not paused")
    if answer["clockConfirmed"]:
        note("the wall clock is confirmed: slots start again")
    return FINE if answer["lifted"] or answer["clockConfirmed"] else NO
