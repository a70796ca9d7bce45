"""`jobreconciler resume`: lift a suspension."""

from __future__ import annotations

from jobreconciler.cli import stopping
from jobreconciler.cli.client import Client, segment
from jobreconciler.cli.errors import FINE, NO
from jobreconciler.cli.options import DAEMON, verb
from jobreconciler.settings import Settings


@verb(*DAEMON)
def command(
    settings: Settings,
    output: str,
    job: stopping.OptionalJob = None,
    tag: stopping.Tag = None,
    owner: stopping.Owner = None,
) -> int:
    """Lift the suspension of a job, a tag or an owner. Exits 1 where there was none.

    \b
    Example:
      jobreconciler resume nightly-report
    """
    stopping.check_target(job, tag, owner)
    client = Client(settings)
    if job is not None:
        answer = client.post(f"/api/v1/jobs/{segment(job)}/resume")
    else:
        target = {"tag": tag} if tag is not None else {"owner": owner}
        answer = client.post("/api/v1/suspensions/lift", target)
    what = stopping.named(job, tag, owner)
    stopping.say_lifted(answer, what, output, f"{what}: nothing was suspended")
    return FINE if answer["lifted"] else NO
