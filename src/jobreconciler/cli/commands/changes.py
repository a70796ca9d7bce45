"""`jobreconciler changes`: what was applied, when, by whose commit, and which fields changed."""

from __future__ import annotations

from typing import Annotated

import typer

from jobreconciler.cli.answers import Json, read, stored_job
from jobreconciler.cli.client import segment
from jobreconciler.cli.errors import FINE
from jobreconciler.cli.options import DAEMON, verb
from jobreconciler.cli.output import note_more, page, write, write_json
from jobreconciler.cli.status_text import stops_text
from jobreconciler.cli.tables import changes_text
from jobreconciler.errors import Refused
from jobreconciler.ports import Store
from jobreconciler.settings import Settings


@verb(*DAEMON, "store")
def command(
    settings: Settings,
    output: str,
    job: Annotated[
        str | None, typer.Argument(metavar="JOB", help="Only this job's changes.")
    ] = None,
    limit: Annotated[
        int, typer.Option("--limit", "-n", metavar="N", min=1, max=500, help="How many.")
    ] = 20,
    cursor: Annotated[
        str | None, typer.Option(metavar="CURSOR", help="Go on where the last page ended.")
    ] = None,
    stops: Annotated[
        bool, typer.Option("--stops", help="Suspensions and pauses instead, ended ones too.")
    ] = False,
) -> int:
    """List applied changes, newest first. Works without a daemon.

    \b
    Example:
      jobreconciler changes nightly-report
    """
    if stops:
        return _list_stops(settings, output, job, limit, cursor)
    path = f"/api/v1/jobs/{segment(job)}/changelog" if job else "/api/v1/changelog"
    answer = read(
        settings,
        lambda client: client.get(path, limit=limit, cursor=cursor),
        lambda store: _stored(store, job, limit, cursor),
    )
    if output == "json":
        write_json(answer)
    elif not answer["changes"]:
        write("nothing has been applied yet")
    else:
        write(changes_text(answer["changes"], page()))
        note_more(answer["nextCursor"])
    return FINE


def _list_stops(
    settings: Settings, output: str, job: str | None, limit: int, cursor: str | None
) -> int:
    if job is not None:
        raise Refused("--stops lists those of the whole fleet", hint="leave out the job")
    answer = read(
        settings,
        lambda client: client.get("/api/v1/suspensions", all=1, limit=limit, cursor=cursor),
        lambda store: _stored_stops(store, limit, cursor),
    )
    if output == "json":
        write_json(answer)
    elif not answer["suspensions"]:
        write("nothing was ever suspended or paused")
    else:
        write(stops_text(answer["suspensions"], page()))
        note_more(answer["nextCursor"])
    return FINE


def _stored_stops(store: Store, limit: int, cursor: str | None) -> Json:
    from jobreconciler.clock import SystemClock
    from jobreconciler.core.suspension import past_json
    from jobreconciler.core.views import page_json

    now = SystemClock().now()
    found = store.past_suspensions(limit=limit, cursor=cursor)
    return page_json("suspensions", found, lambda each: past_json(each, now))


def _stored(store: Store, job: str | None, limit: int, cursor: str | None) -> Json:
    from jobreconciler.core.views import changes_json

    if job is not None:
        stored_job(store, job)
    return changes_json(store.changelog(job, limit=limit, cursor=cursor))
