"""`jobreconciler jobs`: the jobs that are applied, filtered and sorted as the console does."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from jobreconciler.cli.answers import Json, read, stored_jobs
from jobreconciler.cli.errors import FINE
from jobreconciler.cli.options import DAEMON, verb
from jobreconciler.cli.output import note_more, page, write, write_json
from jobreconciler.cli.tables import jobs_text
from jobreconciler.errors import Refused
from jobreconciler.model.choices import SORTS, STATES, TRIGGERS
from jobreconciler.ports import Store
from jobreconciler.settings import Settings


@verb(*DAEMON, "store")
def command(
    settings: Settings,
    output: str,
    job_type: Annotated[
        str | None, typer.Option("--type", metavar="TYPE", help="Job type.")
    ] = None,
    trigger: Annotated[
        str | None, typer.Option(metavar="|".join(TRIGGERS), help="How it is started.")
    ] = None,
    state: Annotated[str | None, typer.Option(metavar="STATE", help=", ".join(STATES))] = None,
    tag: Annotated[str | None, typer.Option(metavar="TAG", help="One of its tags.")] = None,
    owner: Annotated[str | None, typer.Option(metavar="OWNER", help="Its owner.")] = None,
    q: Annotated[
        str | None,
        typer.Option("-q", metavar="TEXT", help="Text in id, title, owner, tags or path."),
    ] = None,
    sort: Annotated[str, typer.Option(metavar="|".join(SORTS), help="Order.")] = "name",
    limit: Annotated[
        int, typer.Option("--limit", "-n", metavar="N", min=1, max=500, help="How many.")
    ] = 50,
    cursor: Annotated[
        str | None, typer.Option(metavar="CURSOR", help="Go on where the last page ended.")
    ] = None,
) -> int:
    """List the applied jobs. Works without a daemon.

    \b
    Example:
      jobreconciler jobs --state failing --sort last
    """
    _one_of("--sort", sort, SORTS)
    _one_of("--state", state, STATES)
    _one_of("--trigger", trigger, TRIGGERS)
    query: dict[str, Any] = {
        "type": job_type,
        "trigger": trigger,
        "state": state,
        "tag": tag,
        "owner": owner,
        "q": q,
        "sort": sort,
        "limit": limit,
        "cursor": cursor,
    }

    def look(store: Store) -> Json:
        return stored_jobs(store, query)

    answer = read(settings, lambda client: client.get("/api/v1/jobs", **query), look)
    if output == "json":
        write_json(answer)
    elif not answer["jobs"]:
        write("no job matches" if any((job_type, trigger, state, tag, owner, q)) else "no jobs yet")
    else:
        write(jobs_text(answer["jobs"], page()))
        note_more(answer["nextCursor"])
    return FINE


def _one_of(flag: str, value: str | None, known: tuple[str, ...]) -> None:
    if value is not None and value not in known:
        raise Refused(f"{flag} {value}: expected one of {', '.join(known)}")
