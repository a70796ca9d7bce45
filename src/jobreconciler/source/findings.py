"""Mistakes by the path of the field they stand in, before anybody has looked for the line."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from jobreconciler.model.problem import Problem

if TYPE_CHECKING:
    from jobreconciler.source.located_yaml import Located, Mistake

Path = tuple[str | int, ...]

MAX_PROBLEMS = 1000
"""So many mistakes of one file are listed; a last one says that or how many more there are."""


class Finding(NamedTuple):
    """One mistake. `at` says whether its key or its value is to blame.

    `inside` counts characters from the start of a one-line text to the fault in it; -1 means the
    whole value.
    """

    path: Path
    code: str
    message: str
    hint: str = ""
    at: Literal["key", "value"] = "value"
    inside: int = -1


class Text(NamedTuple):
    """One file's name and its located content."""

    file: str
    located: Located


def dotted(path: Path) -> str:
    """`payload.schedule.cronExpression`, `meta.tags[1]`; long keys are cut."""
    shown = ""
    for step in path:
        if isinstance(step, int):
            shown += f"[{step}]"
        else:
            shown += ("." if shown else "") + (step if len(step) <= 64 else step[:63] + "…")
    return shown


def problems_of(text: Text, findings: list[Finding], blame: Blame | None = None) -> list[Problem]:
    """Every mistake of one file, by line. `blame` may find a value in the defaults file."""
    found = [_of_mistake(text.file, mistake) for mistake in text.located.mistakes]
    others = sorted(locate(text, finding, blame) for finding in findings)
    room = max(0, MAX_PROBLEMS - len(found))
    found += others[:room]
    if len(others) > room:
        found.append(_cut_off(text.file, len(others) - room))
    return sorted(found, key=lambda one: (one.code == "too_many_problems", one))


def _cut_off(file: str, count: int) -> Problem:
    message = f"{count} more mistakes are not listed"
    return Problem(file, 0, 0, "", "too_many_problems", message, "mend those above first")


class Blame(NamedTuple):
    """The defaults file, and how a job's path reads in it (None where it has no such path)."""

    text: Text
    translate: Any

    def place(self, finding: Finding) -> Problem | None:
        path = self.translate(finding.path)
        if path is None:
            return None
        mark, steps = self.text.located.find(path)
        if steps < len(path):
            return None
        line, column = mark.key if finding.at == "key" else mark.value
        return _problem(self.text.file, line, column, finding)


def locate(text: Text, finding: Finding, blame: Blame | None = None) -> Problem:
    """The finding with the line to look at: in the job file, or in the defaults it came from."""
    mark, steps = text.located.find(finding.path)
    if steps < len(finding.path):
        if blame is not None and (problem := blame.place(finding)) is not None:
            return problem
        return _problem(text.file, *mark.key, finding)
    line, column = mark.key if finding.at == "key" else mark.value
    if finding.inside >= 0 and finding.at == "value":
        column += mark.inner + finding.inside
    return _problem(text.file, line, column, finding)


def _problem(file: str, line: int, column: int, finding: Finding) -> Problem:
    return Problem(
        file, line, column, dotted(finding.path), finding.code, finding.message, finding.hint
    )


def _of_mistake(file: str, mistake: Mistake) -> Problem:
    return Problem(file, *mistake.at, "", mistake.code, mistake.message, mistake.hint)
