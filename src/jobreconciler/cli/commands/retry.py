"""`jobreconciler retry`: run again what an execution was for."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from jobreconciler.cli.client import Client, segment
from jobreconciler.cli.commands.trigger import await_end
from jobreconciler.cli.errors import FINE
from jobreconciler.cli.options import DAEMON, verb
from jobreconciler.cli.output import note, write, write_json
from jobreconciler.settings import Settings


@verb(*DAEMON)
def command(
    settings: Settings,
    output: str,
    execution: Annotated[str, typer.Argument(metavar="EXECUTION", help="An execution's id.")],
    reason: Annotated[str | None, typer.Option(metavar="TEXT", help="Why; recorded.")] = None,
    wait: Annotated[
        bool, typer.Option("--wait", help="Print its output; exit 1 unless it succeeds.")
    ] = False,
) -> int:
    """Run the job as it is now with an ended execution's parameters, dry run and slot.

    \b
    Example:
      jobreconciler retry 0195a000-0000-7000-8000-000000000001 --wait
    """
    body: dict[str, Any] = {} if reason is None else {"reason": reason}
    client = Client(settings)
    made = client.post(f"/api/v1/executions/{segment(execution)}/retry", body)
    if wait:
        return await_end(client, made, output)
    if output == "json":
        write_json(made)
    else:
        write(f"{made['jobId']} is {made['status']}: execution {made['id']}")
        note(f"`jobreconciler logs {made['id']} -f` shows what it writes")
    return FINE
