"""`jobreconciler history`: what a job's triggers came to, newest first."""

from __future__ import annotations

from typing import Annotated

import typer

from jobreconciler.cli.answers import Json, read, stored_job
from jobreconciler.cli.client import segment
from jobreconciler.cli.errors import FINE
from jobreconciler.cli.options import DAEMON, verb
from jobreconciler.cli.output import note_more, page, write, write_json
from jobreconciler.cli.tables import executions_text
from jobreconciler.ports import Store
from jobreconciler.settings import Settings


@verb(*DAEMON, "store")
def command(
    settings: Settings,
    output: str,
    job: Annotated[str, typer.Argument(metavar="JOB", help="The job's id.")],
    limit: Annotated[
        int, typer.Option("--limit", "-n", metavar="N", min=1, max=500, help="How many.")
    ] = 20,
    cursor: Annotated[
        str | None, typer.Option(metavar="CURSOR", help="Go on where the last page ended.")
    ] = None,
) -> int:
    """List a job's executions, newest first. Works without a daemon.

    \b
    Example:
      jobreconciler history nightly-report -n 5
    """
    answer = read(
        settings,
        lambda client: client.get(
            f"/api/v1/jobs/{segment(job)}/executions", limit=limit, cursor=cursor
        ),
        lambda store: _stored(store, job, limit, cursor),
    )
    if output == "json":
        write_json(answer)
    elif not answer["executions"]:
        write(f"{job} has not run yet")
    else:
        write(executions_text(answer["executions"], page()))
        note_more(answer["nextCursor"])
    return FINE


def _stored(store: Store, job: str, limit: int, cursor: str | None) -> Json:
    from jobreconciler.core.views import executions_json

    stored_job(store, job)
    return executions_json(store.executions(job, limit=limit, cursor=cursor))
