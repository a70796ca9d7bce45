"""`jobreconciler pause`: start nothing in the whole fleet for a while."""

from __future__ import annotations

from jobreconciler.cli import stopping
from jobreconciler.cli.client import Client
from jobreconciler.cli.errors import FINE
from jobreconciler.cli.options import DAEMON, verb
from jobreconciler.settings import Settings


@verb(*DAEMON)
def command(
    settings: Settings,
    output: str,
    lasting: stopping.For = None,
    until: stopping.Until = None,
    reason: stopping.Reason = None,
) -> int:
    """Start nothing in the whole fleet for a while. What runs goes on; slots are skipped.

    \b
    Example:
      jobreconciler pause --for 30m --reason "database maintenance"
    """
    made = Client(settings).post("/api/v1/pause", stopping.body(lasting, until, reason))
    stopping.say_stopped(made, "the fleet is paused", output)
    return FINE
