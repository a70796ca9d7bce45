"""`jobreconciler backfill`: run slots of the past on purpose."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from jobreconciler.cli.client import Client, segment
from jobreconciler.cli.errors import FINE
from jobreconciler.cli.options import DAEMON, verb
from jobreconciler.cli.output import note, write, write_json
from jobreconciler.settings import Settings


@verb(*DAEMON)
def command(
    settings: Settings,
    output: str,
    job: Annotated[str, typer.Argument(metavar="JOB", help="The job's id.")],
    first: Annotated[
        str, typer.Option("--from", metavar="INSTANT", help="First slot, RFC 3339; included.")
    ],
    last: Annotated[
        str, typer.Option("--to", metavar="INSTANT", help="Last slot, RFC 3339; included.")
    ],
    limit: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, max=10_000, help="How many slots at most; else 100."),
    ] = None,
    reason: Annotated[str | None, typer.Option(metavar="TEXT", help="Why; recorded.")] = None,
) -> int:
    """Run the slots of a past span that never ran, oldest first, one after another.

    \b
    Example:
      jobreconciler backfill daily --from 2026-03-01T00:00Z --to 2026-03-02T00:00Z
    """
    body: dict[str, Any] = {"from": first, "to": last}
    if limit is not None:
        body["limit"] = limit
    if reason is not None:
        body["reason"] = reason
    done = Client(settings).post(f"/api/v1/jobs/{segment(job)}/backfill", body)
    if output == "json":
        write_json(done)
        return FINE
    queued, ran = len(done["executions"]), len(done["ranBefore"])
    write(f"{job}: {queued} of {queued + ran} slots queued; {ran} had run")
    if queued:
        note(f"`jobreconciler history {job}` shows what becomes of them")
    return FINE
