"""`jobreconciler logs`: what an execution, or a job's newest one, wrote."""

from __future__ import annotations

import re
from typing import Annotated

import typer

from jobreconciler.cli.client import Client, segment
from jobreconciler.cli.errors import FINE
from jobreconciler.cli.following import Follower
from jobreconciler.cli.options import DAEMON, verb
from jobreconciler.cli.output import note, write_json
from jobreconciler.errors import NotFound, Refused
from jobreconciler.settings import Settings

_EXECUTION_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@verb(*DAEMON)
def command(
    settings: Settings,
    output: str,
    execution: Annotated[
        str,
        typer.Argument(metavar="EXECUTION", help="An execution's id, or a job's: its newest."),
    ],
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Stay until it has ended.")
    ] = False,
    attempt: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Only this attempt; all by default.")
    ] = None,
) -> int:
    """Print what an execution wrote, as it wrote it.

    \b
    Example:
      jobreconciler logs nightly-report -f
    """
    if follow and output == "json":
        raise Refused("-f prints as it comes, which -o json cannot", hint="leave one of them out")
    client = Client(settings)
    found = execution if _EXECUTION_ID.fullmatch(execution) else _newest(client, execution)
    if output == "json":
        return _as_json(client, found, attempt)
    follower = Follower(client, found)
    ended = follower.follow(attempt) if follow else follower.look(attempt)
    if not ended["attempts"]:
        note(f"execution {found} is {ended['status']} and has not started")
    return FINE


def _newest(client: Client, job: str) -> str:
    """The job's newest execution that has started; its newest at all where none has."""
    listed = client.get(f"/api/v1/jobs/{segment(job)}/executions", limit=50)["executions"]
    if not listed:
        raise NotFound(f"{job} has not run yet", hint=f"`jobreconciler trigger {job}` runs it now")
    started = (each for each in listed if each["attempts"])
    return str(next(started, listed[0])["id"])


def _as_json(client: Client, execution_id: str, attempt: int | None) -> int:
    """`{execution, attempts:[{number, output}]}`; bytes that aren't UTF-8 are replaced."""
    path = f"/api/v1/executions/{segment(execution_id)}"
    execution = client.get(path)
    numbers = [each["number"] for each in execution["attempts"]]
    if attempt is not None and attempt not in numbers:
        raise NotFound(f"the execution has no attempt {attempt}")
    attempts = []
    for number in [attempt] if attempt is not None else numbers:
        whole = _whole_output(client, path, number).decode("utf-8", "replace")
        attempts.append({"number": number, "output": whole})
    write_json({"execution": execution_id, "attempts": attempts})
    return FINE


def _whole_output(client: Client, path: str, number: int) -> bytes:
    whole, offset = b"", 0
    while True:
        piece, headers = client.raw(f"{path}/logs", attempt=number, offset=offset)
        if not piece:
            return whole
        whole += piece
        offset = int(headers["x-next-offset"])
