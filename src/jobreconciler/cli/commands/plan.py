"""`jobreconciler plan`: what applying a ref would change, and what that does to schedules."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from jobreconciler.cli.errors import CHANGES, FINE, NO
from jobreconciler.cli.options import REPOSITORY, STATE, verb
from jobreconciler.cli.output import note, page, write, write_json
from jobreconciler.settings import Settings

if TYPE_CHECKING:
    from jobreconciler.app import Planned
    from jobreconciler.model.change import Change

Json = dict[str, Any]
_RULES = ("environment", "atomic", "working_tree", "max_running", "log_format")


@verb(*REPOSITORY, *STATE, *_RULES, output=("text", "json", "markdown"))
def command(
    settings: Settings,
    output: str,
    against: Annotated[
        str, typer.Option(metavar="live|REF", help="What is applied now, or another ref.")
    ] = "live",
    exit_code: Annotated[
        bool, typer.Option("--exit-code", help="Exit with 3 when there are changes.")
    ] = False,
) -> int:
    """Show what applying the ref would change: jobs, fields, runs a day, daylight saving.

    Applies nothing. With --against REF no store is needed, only the repository. Exits with 1 when
    files are invalid.

    \b
    Example:
      jobreconciler plan --ref feature --against main -o markdown
    """
    from jobreconciler.app import plan_once
    from jobreconciler.cli.plan_text import plan_markdown, plan_text
    from jobreconciler.observe.logging import configure

    configure(settings.log_format, "error")
    planned = plan_once(settings, None if against == "live" else against)
    drawn = page()
    whole = plan_json(planned, drawn.now)
    if against == "live":
        whole["impact"] = fleet_json(planned, drawn.now, settings.max_running)
    if output == "json":
        write_json(whole)
    elif output == "markdown":
        write(plan_markdown(whole), end="")
    else:
        write(plan_text(whole, drawn))
        _note_uncommitted(settings)
    if whole["errors"] or whole["refused"]:
        return NO
    return CHANGES if exit_code and whole["changes"] else FINE


def _note_uncommitted(settings: Settings) -> None:
    """Whoever edits a file and asks for a plan at once would look for it in vain."""
    from jobreconciler.cli.uncommitted import uncommitted, uncommitted_text

    if settings.working_tree or settings.ref is not None:
        return
    if paths := uncommitted(settings):
        note(uncommitted_text(paths, "in this plan"))


def plan_json(planned: Planned, now: datetime) -> Json:
    """The documented shape. `impact` is what the plan does to the fleet, null if unknown."""
    plan = planned.plan
    renamed = _renamed(plan.changes)
    return {
        "base": plan.base,
        "revision": plan.revision,
        "changes": [_change_json(change, planned, renamed, now) for change in plan.changes],
        "errors": [problem.to_json() for problem in plan.problems],
        "summary": plan.summary(),
        "blocked": plan.blocked.message if plan.blocked is not None else None,
        "refused": plan.refused or None,
        "impact": None,
    }


def _change_json(
    change: Change, planned: Planned, renamed: Mapping[str, str], now: datetime
) -> Json:
    from jobreconciler.core.diff import diff_configs
    from jobreconciler.core.impact import job_impact
    from jobreconciler.core.verdict import hold_condition

    held = change.action == "hold"
    old = planned.old.get(change.job_id)
    new = old if held else planned.new.get(change.job_id)
    message = hold_condition(change, now).message if held else renamed.get(change.job_id, "")
    return {
        "jobId": change.job_id,
        "action": change.action,
        "file": change.path,
        "oldFile": change.old_path,
        "reason": change.reason or None,
        "message": message,
        "fields": [field.to_json() for field in diff_configs(old, new)],
        "impact": job_impact(old, new, now),
        "errors": [problem.to_json() for problem in change.problems],
    }


def _renamed(changes: tuple[Change, ...]) -> dict[str, str]:
    """A question for each job that looks like another one under a new id."""
    gone = {change.path: change.job_id for change in changes if change.action == "delete"}
    return {
        change.job_id: (
            f"was {gone[change.path]} renamed? A changed id is a delete and a create: history, "
            "suspensions and what depends on it stay with the old id"
        )
        for change in changes
        if change.action == "create" and change.path in gone
    }


def fleet_json(planned: Planned, now: datetime, capacity: int) -> Json:
    """Starts a minute, before and after. `planned.old` has to hold every job for this."""
    from jobreconciler.core.impact import fleet_impact

    after = dict(planned.old)
    for change in planned.plan.changes:
        if change.action == "delete":
            after.pop(change.job_id, None)
        elif change.action != "hold" and change.job_id in planned.new:
            after[change.job_id] = planned.new[change.job_id]
    before = _schedules(planned.old)
    return fleet_impact(before, _schedules(after), now, capacity=capacity)


def _schedules(configs: Mapping[str, Json]) -> Iterator[tuple[str, str]]:
    for config in configs.values():
        payload = config["payload"]
        schedule = payload.get("schedule")
        if schedule and payload.get("isEnabled", True) and schedule.get("isEnabled", True):
            yield schedule["cronExpression"], schedule.get("timezone", "UTC")
