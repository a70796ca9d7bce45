"""`jobreconciler trigger`: start a job now, and if asked wait for what becomes of it."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from jobreconciler.cli.client import Client, segment
from jobreconciler.cli.errors import FINE, NO
from jobreconciler.cli.following import Follower
from jobreconciler.cli.options import DAEMON, verb
from jobreconciler.cli.output import note, page, styled, write, write_json
from jobreconciler.cli.runs import ServedRuns
from jobreconciler.cli.tables import Json, took, why
from jobreconciler.cli.words import clean
from jobreconciler.errors import Refused
from jobreconciler.settings import Settings


@verb(*DAEMON)
def command(
    settings: Settings,
    output: str,
    job: Annotated[str, typer.Argument(metavar="JOB", help="The job's id.")],
    param: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY=VALUE",
            help="Override what the job's manual.allowParameters allows; VALUE is JSON or text.",
        ),
    ] = None,
    reason: Annotated[str | None, typer.Option(metavar="TEXT", help="Why; recorded.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what it would do.")] = False,
    override: Annotated[
        bool, typer.Option("--override", help="Also while it is suspended; recorded.")
    ] = False,
    wait: Annotated[
        bool, typer.Option("--wait", help="Print its output; exit 1 unless it succeeds.")
    ] = False,
) -> int:
    """Start a job now, also one whose schedule is off.

    \b
    Example:
      jobreconciler trigger nightly-report --reason "late data" --wait
    """
    body: dict[str, Any] = {"dryRun": dry_run, "parameters": parameters(param or [])}
    if reason:
        body["reason"] = reason
    if override:
        body["override"] = True
    client = Client(settings)
    execution = client.post(f"/api/v1/jobs/{segment(job)}/trigger", body)
    if wait:
        return await_end(client, execution, output)
    if output == "json":
        write_json(execution)
    else:
        write(f"{job} is {execution['status']}: execution {execution['id']}")
        note(f"`jobreconciler logs {execution['id']} -f` shows what it writes")
    return FINE


def parameters(given: list[str]) -> dict[str, Any]:
    """`key=value` pairs. A value that reads as JSON is that, anything else is text."""
    read: dict[str, Any] = {}
    for pair in given:
        key, equals, value = pair.partition("=")
        if not equals or not key:
            raise Refused(f"--param {pair}: expected KEY=VALUE", hint="such as batchSize=100")
        if key in read:
            raise Refused(f"--param {key} is given twice")
        try:
            read[key] = json.loads(value)
        except ValueError:
            read[key] = value
    return read


def await_end(client: Client, execution: Json, output: str) -> int:
    try:
        ended = Follower(ServedRuns(client), execution["id"], show_output=output == "text").follow()
    except KeyboardInterrupt:
        note(f"it goes on without you: `jobreconciler logs {execution['id']} -f`")
        raise
    fine = ended["status"] == "succeeded"
    if output == "json":
        write_json(ended)
    else:
        drawn = page()
        verdict = styled(ended["status"], "good" if fine else "bad")
        said = clean(why(ended))
        note(
            f"{verdict} after {took(ended, drawn.now)}"
            + (f"{' · ' if fine else ': '}{said}" if said else "")
        )
    return FINE if fine else NO
