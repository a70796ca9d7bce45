"""Public JSON of jobs, executions and changes → text for people. Pure: values, now and a width in.

The same functions draw what a daemon answered and what was read from the store.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from jobreconciler.cli.output import Cell, Column, Page, Style, flatten, status_cell
from jobreconciler.cli.words import (
    SHORT,
    clean,
    columns_of,
    count,
    fit,
    instant,
    span,
    until_when,
)

Json = Mapping[str, Any]
LONGEST_VALUE = 40
"""Characters of a parameter's value that are shown."""


# ---------------------------------------------------------------------------------- executions


def executions_text(executions: Sequence[Json], page: Page) -> str:
    """One line an execution, newest first; why it failed stands below it."""
    heads: list[Column | str] = [
        "execution",
        "status",
        "trigger",
        "when",
        Column("took", right=True),
    ]
    rows = [_execution_row(each, page) for each in executions]
    head, *lines = page.table(heads, rows).splitlines()
    text = [head]
    for line, execution in zip(lines, executions, strict=True):
        text.append(line)
        reason = why(execution)
        text += page.below(reason) if reason else []
    return "\n".join(text)


def _execution_row(execution: Json, page: Page) -> list[Cell | str]:
    began = execution["startedAt"] or execution["queuedAt"]
    return [
        execution["id"],
        status_cell(execution["status"]),
        execution["trigger"]["type"],
        page.ago(began),
        took(execution, page.now),
    ]


def took(execution: Json, now: datetime) -> str:
    """From its start to its end, or to now while it runs; a dash if it never started."""
    began = instant(execution["startedAt"])
    if began is None:
        return "-"
    ended = instant(execution["finishedAt"])
    if ended is None and execution["status"] != "running":
        return "-"
    return span(((ended or now) - began).total_seconds())


_MISSED = {
    "catch_up_none": "never ran (catchUp: none)",
    "catch_up_latest": "a later run stood for them (catchUp: latest)",
    "catch_up_limit": "only the newest 100 ran (catchUp: all)",
    "deadline_exceeded": "could not start within startingDeadlineSeconds",
}


def why(execution: Json) -> str:
    """What there is to say about an execution beyond its status; empty when all is well."""
    parts = ["dry run"] if execution["dryRun"] else []
    missed = execution["missed"]
    if missed:
        slots = count(missed["count"], "slot")
        between = missed["from"] if missed["count"] == 1 else f"{missed['from']} to {missed['to']}"
        parts.append(f"{slots} ({between}): {_MISSED.get(missed['reason'], missed['reason'])}")
    elif execution["error"]:
        parts.append(str(execution["error"]))
    elif execution["signal"]:
        parts.append(f"ended by signal {execution['signal']}")
    elif execution["exitCode"]:
        parts.append(f"exit code {execution['exitCode']}")
    if len(execution["attempts"]) > 1:
        parts.append(f"{len(execution['attempts'])} attempts")
    if execution["waitsFor"]:
        parts.append(f"waits for {execution['waitsFor']}")
    progress = execution["progress"]
    if progress and execution["status"] in {"running", "queued"}:
        parts.append(f"{progress['done']:,} of {progress['total']:,} items")
    if execution["trigger"]["parameters"]:
        parts.append(f"with {_set(execution['trigger']['parameters'])}")
    if execution["trigger"]["actor"] and execution["trigger"]["type"] == "manual":
        reason = execution["trigger"]["reason"]
        parts.append(f"by {execution['trigger']['actor']}" + (f": {reason}" if reason else ""))
    return " · ".join(parts)


def _set(parameters: Json) -> str:
    """What a trigger set, long values cut short: those of a webhook can be anything."""
    return ", ".join(
        f"{name}={fit(json.dumps(value, ensure_ascii=False), LONGEST_VALUE)}"
        for name, value in parameters.items()
    )


# ----------------------------------------------------------------------------------------- jobs


def jobs_text(jobs: Sequence[Json], page: Page) -> str:
    heads: list[Column | str] = [
        # An id is what other commands are told, so the type gives way first.
        Column("job", shrinks=True, least=30),
        Column("type", shrinks=True),
        "state",
        Column("last run", least=8),
        Column("when", right=True),
        Column("next", right=True),
    ]
    return page.table(heads, [_job_row(job, page) for job in jobs])


def _job_row(job: Json, page: Page) -> list[Cell | str]:
    last = job["lastExecution"] or {}
    return [
        Cell(job["jobId"], "bold"),
        _type_of(job),
        state_cell(job),
        status_cell(last.get("status")),
        page.ago(moment(last)) if last else "-",
        page.ago(job["nextSlot"]) if job["nextSlot"] else "-",
    ]


def _type_of(job: Json) -> str:
    """A dash where somebody broke the stored config: the rest is still worth a line."""
    return str(job["config"]["payload"].get("jobType", "-"))


def moment(execution: Json) -> str | None:
    return execution.get("finishedAt") or execution.get("startedAt") or execution.get("queuedAt")


def state_cell(job: Json) -> Cell:
    """The one word that matters most about a job."""
    on = {item["type"] for item in job["conditions"] if item["status"] == "True"}
    if job.get("deletedAt"):
        return Cell("deleted", "dim")
    for condition in ("Held", "Suspended", "Late", "Overrunning"):
        if condition in on:
            return Cell(condition.lower(), "warn")
    if not job["config"]["payload"].get("isEnabled", True):
        return Cell("disabled", "dim")
    return Cell("enabled")


def job_text(job: Json, executions: Sequence[Json], page: Page) -> str:
    """One job: what it is, how it stands, when it runs next, and its newest executions."""
    meta, payload = job["config"]["meta"], job["config"]["payload"]
    last = job["lastExecution"]
    title = meta.get("title")
    rows: list[tuple[str, Cell | str]] = [
        ("job", Cell(job["jobId"], "bold")),
        *([("title", title)] if title else []),
        *([("owner", meta["owner"])] if meta.get("owner") else []),
        ("type", _type_of(job)),
        ("state", state_cell(job)),
        ("schedule", _schedule_words(payload)),
        ("next run", _next_words(job, page)),
        ("last run", status_cell(last["status"] if last else None)),
        ("file", job["file"]),
        ("revision", f"{job['revision'][:SHORT]}, generation {job['generation']}"),
    ]
    text = [page.pairs(rows)]
    for condition in job["conditions"]:
        text += ["", *condition_lines(condition, page)]
    if executions:
        text += ["", executions_text(executions, page)]
    return "\n".join(text)


def _schedule_words(payload: Json) -> str:
    schedule = payload.get("schedule")
    if not schedule:
        return "none"
    words = f"{schedule['cronExpression']} ({schedule.get('timezone', 'UTC')})"
    return words if schedule.get("isEnabled", True) else f"{words}, switched off"


def _next_words(job: Json, page: Page) -> str:
    return f"{page.ago(job['nextSlot'])} ({job['nextSlot']})" if job["nextSlot"] else "-"


def condition_lines(condition: Json, page: Page) -> list[str]:
    name = condition["type"] if condition["status"] == "True" else f"not {condition['type']}"
    head = f"{name} ({condition['reason']}), {page.ago(condition['since'])}"
    return [page.styled(clean(head), "warn"), *page.below(condition["message"], "  ")]


# --------------------------------------------------------------------------------------- changes


def changes_text(changes: Sequence[Json], page: Page) -> str:
    """Newest first: what happened to which job, by whom, and each field's old and new value."""
    blocks = []
    for change in changes:
        head = page.styled(f"#{change['sequence']}", "dim")
        head += f" {page.styled(clean(change['action']), _ACTIONS.get(change['action'], 'plain'))}"
        head += f" {page.styled(clean(change['jobId']), 'bold')} {page.ago(change['appliedAt'])}"
        lines = [head, *page.below(_who(change), "  ")]
        if change["action"] == "moved":
            lines += page.below(f"to {change['file']}", "  ")
        said = [item for item in change["fields"] if not _is_whole(change, item)]
        if change["action"] in {"suspended", "resumed"}:
            lines += page.below(_stop(said), "  ")
            said = [item for item in said if item["path"] != "suspension"]
        lines += field_lines(said, page, "  ")
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks)


_ACTIONS: dict[str, Style] = {
    "created": "good",
    "restored": "good",
    "updated": "bold",
    "moved": "bold",
    "deleted": "bad",
    "healed": "warn",
    "migrated": "dim",
    "suspended": "warn",
    "resumed": "good",
}


def _is_whole(change: Json, item: Json) -> bool:
    """The whole config of a job that came or went says nothing that its file does not."""
    came = item["old"] is None and change["action"] in {"created", "restored"}
    return came or (item["new"] is None and change["action"] == "deleted")


def _stop(fields: Sequence[Json]) -> str:
    """How long and why a job is stopped from now on; empty where it goes on."""
    stops = (item["new"] for item in fields if item["path"] == "suspension")
    stop = next((each for each in stops if isinstance(each, Mapping)), None)
    if stop is None:
        return ""
    return until_when(stop["until"]) + (f": {stop['reason']}" if stop["reason"] else "")


def _who(change: Json) -> str:
    author = (change["author"] or {}).get("name") or change["actor"]
    subject = (change["message"] or "").partition("\n")[0]
    parts = [_commit(change), author]
    if change["pullRequest"]:
        parts.append(f"pull request {change['pullRequest']}")
    return " · ".join(filter(None, [*parts, subject]))


def _commit(change: Json) -> str:
    """The commit that author and message are of; with it the revision that brought it, if another:
    several commits can be applied at once."""
    applied = str(change["revision"][:SHORT])
    decisive = str(change["commits"][0][:SHORT]) if change["commits"] else applied
    return decisive if decisive == applied else f"{decisive}, applied with {applied}"


def field_lines(fields: Sequence[Json], page: Page, indent: str) -> list[str]:
    """`path  old → new` with the paths aligned; what is too long goes on two lines of its own."""
    shown = [[clean(flatten(field[key])) for key in ("path", "old", "new")] for field in fields]
    room = page.width - len(indent)
    left = min(max((columns_of(path) for path, _, _ in shown), default=0), page.width // 2)
    lines = []
    for path, old, new in shown:
        line = f"{path}{' ' * (left - columns_of(path))}  {old} → {new}"
        if columns_of(line) <= room:
            lines.append(indent + line)
            continue
        lines.append(indent + fit(path, room))
        lines.append(f"{indent}  " + page.styled(f"- {fit(old, room - 4)}", "bad"))
        lines.append(f"{indent}  " + page.styled(f"+ {fit(new, room - 4)}", "good"))
    return lines
