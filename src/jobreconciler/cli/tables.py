"""Public JSON of jobs, executions and changes → text for people. Pure: values, now and a width in.

The same functions draw what a daemon answered and what was read from the store.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from jobreconciler.cli.output import Cell, Column, Page, Style, flatten, status_cell
from jobreconciler.cli.words import clean, count, fit, instant, span

Json = Mapping[str, Any]
SHORT = 12
"""Characters of a revision that are shown; git takes them back."""
UNCOMMITTED_SHOWN = 5
LONGEST_VALUE = 40
"""Characters of a parameter's value that are shown."""
STOPS_SHOWN = 5


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


def execution_text(execution: Json, page: Page) -> str:
    """One execution, all that a person asks first."""
    rows: list[tuple[str, Cell | str]] = [
        ("execution", execution["id"]),
        ("job", execution["jobId"]),
        ("status", status_cell(execution["status"])),
        ("queued", f"{page.ago(execution['queuedAt'])} ({execution['queuedAt']})"),
        ("took", took(execution, page.now)),
        ("revision", execution["revision"][:SHORT]),
    ]
    reason = why(execution)
    return page.pairs([*rows, ("note", reason)] if reason else rows)


# ----------------------------------------------------------------------------------------- jobs


def jobs_text(jobs: Sequence[Json], page: Page) -> str:
    heads: list[Column | str] = [
        Column("job", shrinks=True, least=20),
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
        job["config"]["payload"]["jobType"],
        state_cell(job),
        status_cell(last.get("status")),
        page.ago(_moment(last)) if last else "-",
        page.ago(job["nextSlot"]) if job["nextSlot"] else "-",
    ]


def _moment(execution: Json) -> str | None:
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
        ("type", payload["jobType"]),
        ("state", state_cell(job)),
        ("schedule", _schedule_words(payload)),
        ("next run", _next_words(job, page)),
        ("last run", status_cell(last["status"] if last else None)),
        ("file", job["file"]),
        ("revision", f"{job['revision'][:SHORT]}, generation {job['generation']}"),
    ]
    text = [page.pairs(rows)]
    for condition in job["conditions"]:
        text += ["", *_condition_lines(condition, page)]
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


def _condition_lines(condition: Json, page: Page) -> list[str]:
    name = condition["type"] if condition["status"] == "True" else f"not {condition['type']}"
    head = f"{name} ({condition['reason']}), {page.ago(condition['since'])}"
    return [page.styled(clean(head), "warn"), *page.below(condition["message"], "  ")]


# --------------------------------------------------------------------------------------- changes


def changes_text(changes: Sequence[Json], page: Page) -> str:
    """Newest first: what happened to which job, by whom, and each field's old and new value."""
    blocks = []
    for change in changes:
        head = page.styled(f"#{change['sequence']}", "dim")
        head += f" {page.styled(change['action'], _ACTIONS.get(change['action'], 'plain'))}"
        head += f" {page.styled(change['jobId'], 'bold')} {page.ago(change['appliedAt'])}"
        lines = [head, *page.below(_who(change), "  ")]
        if change["action"] == "moved":
            lines += page.below(f"to {change['file']}", "  ")
        for item in change["fields"]:
            if not _is_whole(change, item):
                lines += field_lines(item, page, "  ")
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


def _who(change: Json) -> str:
    author = (change["author"] or {}).get("name") or change["actor"]
    subject = (change["message"] or "").partition("\n")[0]
    parts = [change["revision"][:SHORT], author]
    if change["pullRequest"]:
        parts.append(f"pull request {change['pullRequest']}")
    return " · ".join(filter(None, [*parts, subject]))


def field_lines(item: Json, page: Page, indent: str) -> list[str]:
    """`path: old → new` on one line where it fits, else old and new below each other."""
    old, new = clean(flatten(item["old"])), clean(flatten(item["new"]))
    whole = f"{indent}{item['path']}: {old} → {new}"
    if len(whole) <= page.width:
        return [whole]
    room = page.width - len(indent) - 4
    return [
        f"{indent}{fit(item['path'], page.width - len(indent) - 1)}:",
        f"{indent}  " + page.styled(f"- {fit(old, room)}", "bad"),
        f"{indent}  " + page.styled(f"+ {fit(new, room)}", "good"),
    ]


# ---------------------------------------------------------------------------------------- status


def status_text(status: Json, page: Page) -> str:
    """What failed first, then what runs, then where the source stands."""
    counts, source = status["counts"], status["source"]
    text = [_headline(status, page), *_stops(status["suspensions"], page)]
    for title, jobs in (("Needs attention", status["attention"]), ("Running", status["running"])):
        if jobs:
            text += ["", page.styled(title, "bold"), _attention(jobs, page)]
    if counts["invalidFiles"]:
        files = count(counts["invalidFiles"], "invalid file")
        text += ["", *page.below(f"{files}: `jobreconciler validate` lists every mistake", "")]
    for warning in status["warnings"]:
        text += ["", *page.below(f"warning: {warning}", "")]
    text += ["", page.styled("Source", "bold"), _source_text(source, page)]
    if status["uncommitted"]:
        text += page.below(_uncommitted_text(status["uncommitted"]), "")
    return "\n".join(text)


def _uncommitted_text(paths: Sequence[str]) -> str:
    """Which edits wait for a commit: the first few by name."""
    named = ", ".join(paths[:UNCOMMITTED_SHOWN])
    more = len(paths) - UNCOMMITTED_SHOWN
    rest = f" and {count(more, 'other')}" if more > 0 else ""
    return f"not committed, so not applied: {named}{rest}"


def _headline(status: Json, page: Page) -> str:
    counts = status["counts"]
    bad = ["paused"] if any(stop["scope"] == "fleet" for stop in status["suspensions"]) else []
    bad += [f"{counts[name]:,} {name}" for name in ("failing", "held") if counts[name]]
    bad += [f"{status[name]:,} {name}" for name in ("late", "overrunning") if status[name]]
    if counts["invalidFiles"]:
        bad.append(count(counts["invalidFiles"], "invalid file"))
    good = [
        count(counts["jobs"], "job"),
        f"{counts['enabled']:,} enabled",
        f"{counts['running']:,} running",
        f"{counts['queued']:,} waiting",
    ]
    if counts["suspended"]:
        good.append(f"{counts['suspended']:,} suspended")
    line = ", ".join(good)
    if not status["source"]["healthy"]:
        bad.append("the source needs attention")
    if status["warnings"]:
        bad.append(count(len(status["warnings"]), "warning"))
    if bad:
        return page.styled(", ".join(bad), "bad") + " · " + line
    return page.styled("all well", "good") + f" · {line}"


def _stops(suspensions: Sequence[Json], page: Page) -> list[str]:
    """Who stops what, until when and why: the fleet's pause first, then the oldest."""
    stops = sorted(suspensions, key=lambda stop: stop["scope"] != "fleet")
    lines = [line for stop in stops[:STOPS_SHOWN] for line in page.below(stop_text(stop, page))]
    if len(stops) > STOPS_SHOWN:
        more = count(len(stops) - STOPS_SHOWN, "other suspension")
        lines += page.below(f"{more}: `jobreconciler jobs --state suspended` lists the jobs")
    return lines


def stops_text(stops: Sequence[Json], page: Page) -> str:
    """Newest first: what was stopped by whom and when, how it ended, and why it was."""
    lines = []
    for stop in stops:
        what = {
            "fleet": "the fleet",
            "job": str(stop["target"]),
            "tag": f"jobs tagged {stop['target']}",
            "owner": f"jobs of {stop['target']}",
        }[stop["scope"]]
        holds = stop["endedAt"] is None
        lines.append(f"{page.styled(what, 'warn' if holds else 'plain')} {page.ago(stop['since'])}")
        lines += page.below(
            f"by {stop['actor']}" + (f": {stop['reason']}" if stop["reason"] else "")
        )
        lines += page.below(_end_text(stop, page))
    return "\n".join(lines)


def _end_text(stop: Json, page: Page) -> str:
    if stop["endedAt"] is not None:
        how = f"lifted by {stop['endedBy']}" if stop["endedBy"] else "ended by itself"
        return f"{how} {page.ago(stop['endedAt'])}, {stop['endedAt']}"
    return _until_text(stop, page)


def _until_text(stop: Json, page: Page) -> str:
    until = stop["until"]
    return f"until {until}, {page.ago(until)}" if until else "until it is lifted"


def stop_text(stop: Json, page: Page) -> str:
    """`the fleet is paused by ada until …, in 2h: upgrade`."""
    what = {
        "fleet": "the fleet is paused",
        "job": f"{stop['target']} is suspended",
        "tag": f"jobs tagged {stop['target']} are suspended",
        "owner": f"jobs of {stop['target']} are suspended",
    }[stop["scope"]]
    reason = f": {stop['reason']}" if stop["reason"] else ""
    return f"{what} by {stop['actor']} {_until_text(stop, page)}{reason}"


def _attention(jobs: Sequence[Json], page: Page) -> str:
    lines = page.table(
        [Column("job", shrinks=True, least=20), "state", "last run", Column("when", right=True)],
        [
            [
                Cell(job["jobId"], "bold"),
                state_cell(job),
                status_cell((job["lastExecution"] or {}).get("status")),
                page.ago(_moment(job["lastExecution"])) if job["lastExecution"] else "-",
            ]
            for job in jobs
        ],
    ).splitlines()
    text = lines[:1]
    for line, job in zip(lines[1:], jobs, strict=True):
        text.append(line)
        for remark in _remarks(job):
            text += page.below(remark)
    return "\n".join(text)


def _remarks(job: Json) -> list[str]:
    remarks = [why(job["lastExecution"])] if job["lastExecution"] else []
    remarks += [
        condition["message"]
        for condition in job["conditions"]
        if condition["status"] == "True"
        and condition["type"] in {"Held", "Drifted", "Late", "Overrunning"}
        # What holds many jobs at once is said once, below the source.
        and condition["reason"] != "PruneBlocked"
    ]
    return [remark for remark in remarks if remark]


def _source_text(source: Json, page: Page) -> str:
    if not source.get("revision"):
        return "\n".join(["no revision has been applied yet", *_conditions(source, page)])
    subject = (source.get("message") or "").partition("\n")[0]
    rows: list[tuple[str, Cell | str]] = [
        ("revision", source["revision"][:SHORT] + (f" {subject}" if subject else "")),
        ("author", f"{source.get('author') or '-'}, {page.ago(source.get('committedAt') or None)}"),
        ("checked", page.ago(source.get("lastSuccessAt"))),
    ]
    observed = source.get("observedRevision")
    if observed and observed != source["revision"]:
        rows.append(("seen", Cell(f"{observed[:SHORT]}, not applied", "warn")))
    if source.get("environment"):
        rows.append(("environment", source["environment"]))
    return "\n".join([page.pairs(rows), *_conditions(source, page)])


def _conditions(source: Json, page: Page) -> list[str]:
    """Conditions worth a line: what is wrong, or what a person has to decide."""
    lines = []
    said = set()
    for condition in source.get("conditions", ()):
        fine = ("SourceReady", "True"), ("Ready", "True"), ("Stalled", "False")
        quiet = (("PruneBlocked", "False"),)
        # One fault shows in several conditions; the first of them says it in full.
        if (condition["type"], condition["status"]) not in (*fine, *quiet) and (
            condition["reason"] not in said
        ):
            said.add(condition["reason"])
            lines += ["", *_condition_lines(condition, page)]
    return lines
