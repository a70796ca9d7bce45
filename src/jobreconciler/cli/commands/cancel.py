"""`jobreconciler cancel`: drop an execution from the line, or stop it."""

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
    execution: Annotated[str, typer.Argument(metavar="EXECUTION", help="An execution's id.")],
    reason: Annotated[str | None, typer.Option(metavar="TEXT", help="Why; recorded.")] = None,
) -> int:
    """Drop an execution that waits, or stop one that runs: TERM, its grace, KILL.

    \b
    Example:
      jobreconciler cancel 0195a000-0000-7000-8000-000000000001 --reason wrong
    """
    body: dict[str, Any] = {} if reason is None else {"reason": reason}
    found = Client(settings).post(f"/api/v1/executions/{segment(execution)}/cancel", body)
    if output == "json":
        write_json(found)
    elif found["status"] == "running":
        write(f"execution {execution} was asked to stop")
        note(f"`jobreconciler logs {execution} -f` shows when it has")
    else:
        write(f"execution {execution} is {found['status']}")
    return FINE
