"""`jobreconciler logs`: what an execution, or a job's newest one, wrote."""

from __future__ import annotations

import re
from typing import Annotated

import typer

from jobreconciler.cli.answers import Json, store_instead
from jobreconciler.cli.client import Client
from jobreconciler.cli.errors import FINE, Unreachable
from jobreconciler.cli.following import Follower
from jobreconciler.cli.options import DAEMON, verb
from jobreconciler.cli.output import note, write_json
from jobreconciler.cli.runs import Runs, ServedRuns, StoredRuns
from jobreconciler.errors import NotFound, Refused
from jobreconciler.model.execution import FINAL_STATUSES
from jobreconciler.settings import Settings

_EXECUTION_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@verb(*DAEMON, "store")
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
    """Print what an execution wrote, as it wrote it. Works without a daemon.

    \b
    Example:
      jobreconciler logs nightly-report -f
    """
    if follow and output == "json":
        raise Refused("-f prints as it comes, which -o json cannot", hint="leave one of them out")
    runs: Runs = ServedRuns(Client(settings))
    try:
        found = _named(runs, execution)
    except Unreachable as unreachable:
        with store_instead(settings, unreachable) as store:
            runs = StoredRuns(store, settings.state_dir)
            found = _named(runs, execution)
            _show(runs, found, output, attempt, follow=False)
            if follow and runs.execution(found)["status"] not in FINAL_STATUSES:
                raise unreachable
        return FINE
    _show(runs, found, output, attempt, follow=follow)
    return FINE


def _named(runs: Runs, execution: str) -> str:
    """The execution of this id; of a job its newest that has started, or its newest at all."""
    if _EXECUTION_ID.fullmatch(execution):
        return str(runs.execution(execution)["id"])
    listed = runs.of_job(execution)
    if not listed:
        raise NotFound(
            f"{execution} has not run yet",
            hint=f"`jobreconciler trigger {execution}` runs it now",
        )
    started = (each for each in listed if each["attempts"])
    return str(next(started, listed[0])["id"])


def _show(runs: Runs, execution_id: str, output: str, attempt: int | None, *, follow: bool) -> None:
    if output == "json":
        write_json(_as_json(runs, execution_id, attempt))
        return
    follower = Follower(runs, execution_id)
    ended = follower.follow(attempt) if follow else follower.look(attempt)
    if not ended["attempts"]:
        note(f"execution {execution_id} is {ended['status']} and has not started")


def _as_json(runs: Runs, execution_id: str, attempt: int | None) -> Json:
    """`{execution, attempts:[{number, output}]}`; bytes that aren't UTF-8 are replaced."""
    numbers = [each["number"] for each in runs.execution(execution_id)["attempts"]]
    if attempt is not None and attempt not in numbers:
        raise NotFound(f"the execution has no attempt {attempt}")
    attempts = []
    for number in [attempt] if attempt is not None else numbers:
        whole = _whole_output(runs, execution_id, number).decode("utf-8", "replace")
        attempts.append({"number": number, "output": whole})
    return {"execution": execution_id, "attempts": attempts}


def _whole_output(runs: Runs, execution_id: str, number: int) -> bytes:
    whole, offset = b"", 0
    while True:
        piece, offset = runs.output(execution_id, number, offset)
        if not piece:
            return whole
        whole += piece
