"""How the fleet stands → text for people: what `status` shows, and who stops what. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from jobreconciler.cli.output import Cell, Column, Page, status_cell
from jobreconciler.cli.tables import condition_lines, moment, state_cell, why
from jobreconciler.cli.uncommitted import uncommitted_text
from jobreconciler.cli.words import SHORT, clean, count, to_the_second, until_when
from jobreconciler.core.suspension import whom

Json = Mapping[str, Any]
STOPS_SHOWN = 5


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
        text += page.below(uncommitted_text(status["uncommitted"], "applied"), "")
    return "\n".join(text)


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
        what = clean(whom(stop["scope"], stop["target"]))
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
        return f"{how} {page.ago(stop['endedAt'])}, {to_the_second(stop['endedAt'])}"
    return _until_text(stop, page)


def _until_text(stop: Json, page: Page) -> str:
    until = stop["until"]
    return until_when(until) + (f", {page.ago(until)}" if until else "")


def stop_text(stop: Json, page: Page) -> str:
    """`the fleet is paused by ada until …, in 2h: upgrade`."""
    stopped = {"fleet": "is paused", "job": "is suspended"}.get(stop["scope"], "are suspended")
    what = f"{whom(stop['scope'], stop['target'])} {stopped}"
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
                page.ago(moment(job["lastExecution"])) if job["lastExecution"] else "-",
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
            lines += ["", *condition_lines(condition, page)]
    return lines
