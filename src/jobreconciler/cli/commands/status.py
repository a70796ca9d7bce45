"""`jobreconciler status`: what an operator asks first: what failed, what runs, what is applied."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated
from urllib.parse import urlsplit

import typer

from jobreconciler.cli.answers import Json, read, stored_job, stored_jobs
from jobreconciler.cli.checks import WRITABLE, read_only, space
from jobreconciler.cli.client import LOOPBACK, Client, segment
from jobreconciler.cli.errors import FINE
from jobreconciler.cli.options import DAEMON, REPOSITORY, verb
from jobreconciler.cli.output import page, write, write_json
from jobreconciler.cli.status_text import status_text
from jobreconciler.cli.tables import job_text
from jobreconciler.cli.uncommitted import uncommitted
from jobreconciler.ports import Store
from jobreconciler.settings import Settings

WORRYING = ("failing", "held", "late", "overrunning")
SHOWN = 20
COUNTED = 500
"""So many late jobs are counted, a page of the API at most: nothing else counts them."""


@verb(*REPOSITORY, *DAEMON, "store")
def command(
    settings: Settings,
    output: str,
    job: Annotated[str | None, typer.Argument(metavar="JOB", help="Show this job.")] = None,
) -> int:
    """Show what needs attention, what runs, and which revision is applied; or one job.

    Names edited job files of --repo that no commit holds: they are not applied.
    Works without a daemon, from what is stored.

    \b
    Example:
      jobreconciler status nightly-report
    """
    if job is None:
        fleet = read(settings, _ask_fleet, _look_fleet)
        fleet["warnings"] += _of_this_machine(settings)
        # A daemon that reads the work tree applies such edits, and its revision says so.
        dirty = "-dirty-" in (fleet["source"]["observedRevision"] or "")
        fleet["uncommitted"] = [] if dirty else uncommitted(settings)
        _answer(output, fleet, lambda: status_text(fleet, page()))
        return FINE
    one = read(settings, lambda client: _ask_job(client, job), lambda store: _look_job(store, job))
    _answer(output, one, lambda: job_text(one["job"], one["executions"], page()))
    return FINE


def _answer(output: str, answer: Json, text: Callable[[], str]) -> None:
    if output == "json":
        write_json(answer)
    else:
        write(text())


def _ask_fleet(client: Client) -> Json:
    fleet = client.get("/api/v1/status", limit=1)["state"]["fleet"]
    return _fleet(
        fleet["counts"],
        fleet["source"],
        lambda state: client.get("/api/v1/jobs", state=state, limit=_limit(state))["jobs"],
        client.get("/api/v1/suspensions")["suspensions"],
        [] if (said := client.hindrance()) is None else [f"the daemon is not ready: {said}"],
    )


def _look_fleet(store: Store) -> Json:
    from jobreconciler.core.suspension import suspension_json
    from jobreconciler.core.views import counts_json, source_json

    return _fleet(
        counts_json(store.fleet_counts()),
        source_json(store.source_state()),
        lambda state: stored_jobs(store, {"state": state, "limit": _limit(state)})["jobs"],
        [suspension_json(each) for each in store.suspensions()],
        ["no daemon answers: no job starts, and no commit is applied"],
    )


def _of_this_machine(settings: Settings) -> list[str]:
    """What only somebody beside the daemon can see: whether its disk takes any more."""
    if urlsplit(settings.server).hostname not in LOOPBACK or not settings.state_dir.exists():
        return []
    if read_only(settings.state_dir):
        said = f"{settings.state_dir} lies on a read-only file system: no run can be recorded"
        return [f"{said}; {WRITABLE}"]
    room = space(settings.state_dir)
    return [] if room.status == "ok" else [f"{settings.state_dir}: {room.message}; {room.hint}"]


def _limit(state: str) -> int:
    return COUNTED if state in ("late", "overrunning") else SHOWN


def _fleet(
    counts: Json,
    source: Json,
    of_state: Callable[[str], list[Json]],
    suspensions: list[Json],
    warnings: list[str],
) -> Json:
    """The first jobs of each worrying state, each once, the running ones, and what is stopped."""
    attention: dict[str, Json] = {}
    of = {state: of_state(state) for state in WORRYING}
    for state in WORRYING:
        for found in of[state]:
            attention.setdefault(found["jobId"], found)
    running = of_state("running") if counts["running"] else []
    return {
        "counts": counts,
        "source": source,
        "attention": list(attention.values())[:SHOWN],
        "running": running,
        "late": len(of["late"]),
        "overrunning": len(of["overrunning"]),
        "suspensions": suspensions,
        "warnings": warnings,
        "uncommitted": None,
    }


def _ask_job(client: Client, job: str) -> Json:
    path = f"/api/v1/jobs/{segment(job)}"
    executions = client.get(f"{path}/executions", limit=5)["executions"]
    return {"job": client.get(path), "executions": executions}


def _look_job(store: Store, job: str) -> Json:
    from jobreconciler.core.views import executions_json

    found = stored_job(store, job)
    return {
        "job": found,
        "executions": executions_json(store.executions(job, limit=5))["executions"],
    }
