"""`jobreconciler suspend`: start nothing of a job, a tag or an owner for a while."""

from __future__ import annotations

from jobreconciler.cli import stopping
from jobreconciler.cli.client import Client, segment
from jobreconciler.cli.errors import FINE
from jobreconciler.cli.options import DAEMON, verb
from jobreconciler.settings import Settings


@verb(*DAEMON)
def command(
    settings: Settings,
    output: str,
    job: stopping.OptionalJob = None,
    tag: stopping.Tag = None,
    owner: stopping.Owner = None,
    lasting: stopping.For = None,
    until: stopping.Until = None,
    reason: stopping.Reason = None,
) -> int:
    """Start nothing of a job for a while, whatever triggers it. What runs goes on.

    Its slots are recorded as skipped and not caught up. With neither --for nor --until it holds
    until `resume`.

    \b
    Example:
      jobreconciler suspend nightly-report --for 2h --reason "disk is full"
    """
    stopping.check_target(job, tag, owner)
    body = stopping.body(lasting, until, reason)
    client = Client(settings)
    if job is not None:
        made = client.post(f"/api/v1/jobs/{segment(job)}/suspend", body)
    else:
        target = {"tag": tag} if tag is not None else {"owner": owner}
        made = client.post("/api/v1/suspensions", {**body, **target})
    what = stopping.named(job, tag, owner)
    stopping.say_stopped(made, f"{what} suspended", output)
    return FINE
