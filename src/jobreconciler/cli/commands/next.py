"""`jobreconciler next`: when jobs will run, on their own wall clocks and in UTC."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from jobreconciler.cli.errors import FINE
from jobreconciler.cli.options import verb
from jobreconciler.cli.output import Page, note, page, write, write_json
from jobreconciler.cli.places import local_root
from jobreconciler.cli.words import count, instant, relative
from jobreconciler.errors import Invalid, NotFound, Refused
from jobreconciler.settings import Settings

Json = dict[str, Any]
NAMED = 8
"""Ids that a hint lists."""


@verb("repo", "jobs_dir", "environment")
def command(
    settings: Settings,
    output: str,
    job: Annotated[str | None, typer.Argument(metavar="JOB", help="Only this job.")] = None,
    number: Annotated[
        int, typer.Option("--number", "-n", metavar="N", min=1, max=1000, help="Slots of a job.")
    ] = 10,
    after: Annotated[
        str | None, typer.Option(metavar="INSTANT", help="From then on, such as 2026-03-28; now.")
    ] = None,
) -> int:
    """Show the coming slots of the working files' jobs; says what daylight saving does to them.

    Needs no daemon. INSTANT is a date or a time of RFC 3339; in UTC unless it says otherwise.

    \b
    Example:
      jobreconciler next nightly-report -n 3 --after 2026-03-28
    """
    from jobreconciler.core.views import next_json

    drawn = page()
    moment = parse_instant(after) if after is not None else drawn.now
    configs = declared_configs(settings, job)
    slots = [(job_id, coming(job_id, config, moment, number)) for job_id, config in configs.items()]
    answer = next_json(slots)
    if output == "json":
        write_json(answer)
    else:
        blocks = [
            job_slots_text(each, configs[each["jobId"]]["payload"], drawn)
            for each in answer["jobs"]
        ]
        write("\n\n".join(blocks) or "no jobs are declared")
    return FINE


def parse_instant(text: str) -> datetime:
    """A date, or a time with or without zone, as an instant in UTC. Raises Refused."""
    try:
        read = datetime.fromisoformat(text)
    except ValueError:
        raise Refused(
            f"--after {text}: expected a date or a time", hint="such as 2026-03-28T22:00:00Z"
        ) from None
    aware = read if read.tzinfo is not None else read.replace(tzinfo=UTC)
    return aware.astimezone(UTC)


def coming(job_id: str, config: Json, after: datetime, number: int) -> list[Json]:
    from jobreconciler.core.coming import coming_slots

    return coming_slots(job_id, config["payload"], after, number)


def _declared(wanted: str, known: Sequence[str]) -> str:
    """A hint: an id that is close, else the first few there are."""
    if not known:
        return ""
    if close := difflib.get_close_matches(wanted, known, n=1):
        return f"did you mean {close[0]}?"
    rest = f" and {count(len(known) - NAMED, 'other')}" if len(known) > NAMED else ""
    return f"declared are: {', '.join(known[:NAMED])}{rest}"


def declared_configs(settings: Settings, job: str | None) -> dict[str, Json]:
    """Configs of the valid working files by job id. Raises NotFound; Invalid if `job`'s is."""
    from jobreconciler.cli.declared import read_declared
    from jobreconciler.jobtypes.registry import load_job_types
    from jobreconciler.source.load import YamlLoader

    loader = YamlLoader(load_job_types())
    declared = read_declared(local_root(settings), settings.jobs_dir, (), loader)
    configs = {
        file.job.job_id: json.loads(file.job.config)
        for file in declared.valid
        if file.job is not None and _wanted(file.job.environments, settings.environment)
    }
    wrong = {problem.file for problem in declared.problems}
    if job is not None and job not in configs:
        if any(file.job_id == job for file in declared.files if file.path in wrong):
            raise Invalid(f"the file of {job} is invalid", hint="`jobreconciler validate` says why")
        raise NotFound(
            f"no file in {settings.jobs_dir} declares a job {job!r}",
            hint=_declared(job, sorted(configs)),
        )
    if wrong and job is None:
        note(f"{count(len(wrong), 'invalid file')} left out: `jobreconciler validate` says why")
    return {job: configs[job]} if job is not None else dict(sorted(configs.items()))


def _wanted(environments: tuple[str, ...], mine: str | None) -> bool:
    return not environments or mine is None or mine in environments


def job_slots_text(each: Json, payload: Mapping[str, Any], drawn: Page) -> str:
    """The schedule in words, then a line a slot: local, UTC, how far away, and below it why odd."""
    schedule = payload.get("schedule")
    head = drawn.styled(each["jobId"], "bold")
    if not each["slots"]:
        return f"{head}  {_why_none(payload)}"
    lines = [f"{head}  {_schedule_words(schedule or {})}"]
    for slot in each["slots"]:
        at = instant(slot["utc"])
        local = datetime.fromisoformat(slot["local"])
        lines.append(
            f"  {local:%a} {_plain(slot['local'])}  {_utc(slot['utc'])}  {relative(at, drawn.now)}"
        )
        lines += drawn.below(slot["note"], "      ") if slot["note"] else []
    return "\n".join(lines)


def _schedule_words(schedule: Mapping[str, Any]) -> str:
    from jobreconciler.core.cron import describe

    expression = schedule["cronExpression"]
    return f"{describe(expression)} ({expression}, {schedule['timezone']})"


def _why_none(payload: Mapping[str, Any]) -> str:
    if not payload.get("isEnabled", True):
        return "is disabled"
    schedule = payload.get("schedule")
    if schedule is None:
        return "has no schedule"
    return "never runs again" if schedule.get("isEnabled", True) else "its schedule is off"


def _plain(local: str) -> str:
    """`2026-03-29 03:00+02:00`: seconds only where there are any."""
    text = local.replace("T", " ")
    return text[:16] + text[19:] if text[16:19] == ":00" else text


def _utc(utc: str) -> str:
    return utc.removesuffix(":00Z") + "Z" if utc.endswith(":00Z") else utc
