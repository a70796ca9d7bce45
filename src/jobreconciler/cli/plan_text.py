"""A plan for people, and as Markdown for a pull request's comment. Pure: the plan's JSON in."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from jobreconciler.cli.output import Page, Style, flatten
from jobreconciler.cli.tables import field_lines
from jobreconciler.cli.words import SHORT, clean, columns_of, count, fit

Json = Mapping[str, Any]

_SIGNS: dict[str, tuple[str, Style]] = {
    "create": ("+", "good"),
    "restore": ("+", "good"),
    "update": ("~", "warn"),
    "move": (">", "warn"),
    "delete": ("-", "bad"),
    "hold": ("!", "bad"),
}
_COUNTED = (
    ("create", "to create"),
    ("update", "to update"),
    ("move", "to move"),
    ("delete", "to delete"),
    ("hold", "held"),
    ("unchanged", "unchanged"),
)
COMMENT_LIMIT = 60_000
"""Characters: a comment on GitHub holds 65,536."""


def plan_text(plan: Json, page: Page) -> str:
    """Each change with its field diffs and what it does to the schedule, then the summary."""
    lines = [page.styled(_title(plan), "bold")]
    for change in plan["changes"]:
        lines += ["", *_change_lines(change, page)]
    loose = loose_errors(plan)
    if loose:
        lines += ["", page.styled("Errors", "bold")]
        for error in loose:
            lines += page.below(error_line(error), "  ")
    if sentences(plan):
        lines += ["", page.styled("Fleet", "bold")]
        for said in sentences(plan):
            lines += page.below(said, "  ")
    lines += ["", summary_line(plan)]
    for problem in stops(plan):
        lines.append(page.styled(clean(problem), "bad"))
    return "\n".join(lines)


def _title(plan: Json) -> str:
    base = plan["base"]
    against = f", against {base[:SHORT]}" if base else ", against nothing applied yet"
    return f"Plan for {plan['revision'][:SHORT]}{against}"


def summary_line(plan: Json) -> str:
    """`1 to create, 2 held, 12 unchanged`."""
    summary = plan["summary"]
    said = [f"{summary[key]:,} {words}" for key, words in _COUNTED if summary.get(key)]
    return ", ".join(said) or "no jobs"


def sentences(item: Json) -> Sequence[str]:
    """What the plan, or one change of it, does to schedules."""
    impact = item["impact"]
    return impact["text"] if impact else ()


def stops(plan: Json) -> list[str]:
    """Why applying would not do all of this."""
    said = []
    if plan["refused"]:
        said.append(f"refused: {plan['refused']}")
    if plan["blocked"]:
        said.append(
            f"blocked: {plan['blocked']}; a commit trailer 'Allow-Prune: true' or "
            "`jobreconciler approve-prune` lets it"
        )
    return said


def loose_errors(plan: Json) -> list[Json]:
    """Errors of files that hold no job: those are not shown beside a change."""
    shown = {line for change in plan["changes"] for line in map(error_line, change["errors"])}
    return [error for error in plan["errors"] if error_line(error) not in shown]


def error_line(error: Json) -> str:
    place = f"{error['file']}:{error['line']}:{error['column']}" if error["line"] else error["file"]
    where = f" {error['path']}:" if error["path"] else ""
    hint = f" (hint: {error['hint']})" if error["hint"] else ""
    return f"{place}: error[{error['code']}]{where} {error['message']}{hint}"


def _message(change: Json) -> str:
    """What its errors don't say. What blocks many jobs at once is said once, at the end."""
    if change["reason"] == "PruneBlocked":
        return "waits for approval"
    return "" if change["errors"] else str(change["message"] or "")


def _change_lines(change: Json, page: Page) -> list[str]:
    sign, style = _SIGNS[change["action"]]
    where = change["file"]
    if change["oldFile"]:
        where = f"{change['oldFile']} → {where}"
    head = f"{sign} {change['action']:<8}"
    job = fit(clean(change["jobId"]), max(20, page.width - 12 - columns_of(where)))
    room = page.width - columns_of(head) - columns_of(job) - 3
    line = page.styled(head, style) + " " + page.styled(job, "bold")
    shown = fit(clean(where), room) if room >= 10 else ""
    lines = [f"{line}  {page.styled(shown, 'dim')}" if shown else line]
    if change["action"] not in {"create", "restore", "delete"}:
        lines += field_lines(change["fields"], page, "    ")
    for said in sentences(change):
        lines += page.below(said)
    if message := _message(change):
        lines += page.below(message)
    for error in change["errors"]:
        lines += page.below(error_line(error))
    return lines


# ------------------------------------------------------------------------------------- markdown


def plan_markdown(plan: Json) -> str:
    """A comment: the summary in sight, each job's details folded. Text of others is in code."""
    lines = [f"### jobreconciler plan: {summary_line(plan)}", "", _title(plan) + "."]
    lines += [f"\n> **{code(problem)}**" for problem in stops(plan)]
    if plan["changes"]:
        lines += ["", "| | job | file |", "|---|---|---|"]
        lines += [_markdown_row(change) for change in plan["changes"]]
    loose = loose_errors(plan)
    if loose:
        lines += ["", "**Errors**", "", *(f"- {code(error_line(error))}" for error in loose)]
    fleet = [f"- {code(said)}" for said in sentences(plan)]
    lines += ["", "**Fleet**", "", *fleet] if fleet else []
    return _within_limit("\n".join(lines), [_details(change) for change in plan["changes"]])


def _within_limit(head: str, details: Sequence[str]) -> str:
    """As many details as a comment holds, and how many were left out."""
    text = (
        head if len(head) <= COMMENT_LIMIT else head[:COMMENT_LIMIT].rpartition("\n")[0] + "\n\n…"
    )
    wanted = [detail for detail in details if detail]
    for number, detail in enumerate(wanted):
        if len(text) + len(detail) > COMMENT_LIMIT:
            left = count(len(wanted) - number, "job")
            return f"{text}\n\n… and the details of {left} more: `jobreconciler plan` shows them.\n"
        text += "\n" + detail
    return text + "\n"


def _markdown_row(change: Json) -> str:
    sign, _ = _SIGNS[change["action"]]
    file = code(change["file"])
    if change["oldFile"]:
        file = f"{code(change['oldFile'])} → {file}"
    return f"| {code(sign)} {change['action']} | {code(change['jobId'])} | {file} |"


def _details(change: Json) -> str:
    lines = [f"- {code(said)}" for said in sentences(change)]
    lines += [f"- {code(error_line(error))}" for error in change["errors"]]
    if message := _message(change):
        lines.append(f"- {code(message)}")
    if change["fields"] and change["action"] not in {"create", "restore", "delete"}:
        lines += ["", "| field | old | new |", "|---|---|---|"]
        lines += [_field_row(field) for field in change["fields"]]
    if not lines:
        return ""
    job = escape(clean(change["jobId"]))
    head = f"\n<details><summary>{change['action']} <code>{job}</code></summary>\n"
    return "\n".join([head, *lines, "\n</details>"])


def _field_row(field: Json) -> str:
    values = (code(fit(flatten(field[side]), 300)) for side in ("old", "new"))
    return f"| {code(field['path'])} | " + " | ".join(values) + " |"


def code(text: str) -> str:
    """A code span that holds any text, inside a table too: backticks, pipes and newlines."""
    line = clean(text).replace("|", "\\|") or " "
    longest = max((len(run) for run in re.findall(r"`+", line)), default=0)
    fence = "`" * (longest + 1)
    padding = " " if longest else ""
    return f"{fence}{padding}{line}{padding}{fence}"
