"""What an import comes to: drafts of job files, what to look at, and what was no such file."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, NamedTuple

from jobreconciler.model.problem import Problem

Kind = Literal["left_out", "changed", "assumed", "secret"]
"""Not carried over; carried over with a difference; chosen, since the source doesn't say; a value
that was not written, since a job file never holds a secret."""

LONGEST_SECONDS = 2_592_000
MOST_AT_ONCE = 1000
"""The bounds of `limits`: what stands for "none" where the source has no limit."""


class Place(NamedTuple):
    """A line of a file that is not the draft's own, such as a service beside its timer."""

    file: str
    line: int


@dataclass(frozen=True, slots=True, order=True)
class Finding:
    """One thing a person has to look at. `line` counts from 1; 0 means the file as a whole."""

    file: str
    line: int
    kind: Kind
    what: str
    why: str
    hint: str = ""
    job_ids: tuple[str, ...] = ()

    def sentence(self) -> str:
        """`what: why. Hint.`"""
        hint = self.hint
        if re.match(r"[a-z]+(?![.=:A-Z])\b", hint):
            hint = hint[:1].upper() + hint[1:]
        return f"{self.what}: {self.why}." + (f" {hint}." if hint else "")


@dataclass
class Draft:
    """One job file being written. `names` are the ids it would like to have, best first.

    `remarks` are comments at the end of a key's line, by its dotted path below `payload`.
    """

    file: str
    line: int
    names: tuple[str, ...] = ()
    meta: dict[str, Any] = field(default_factory=dict)
    payload: dict[str, Any] = field(default_factory=lambda: {"jobType": "command"})
    remarks: dict[str, str] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)

    def note(
        self, kind: Kind, what: str, why: str, hint: str = "", at: int | Place | None = None
    ) -> None:
        """Without a place, the draft's own line is meant."""
        if not isinstance(at, Place):
            at = Place(self.file, self.line if at is None else at)
        finding = Finding(at.file, at.line, kind, what, why, hint)
        if finding not in self.findings:
            self.findings.append(finding)

    def section(self, name: str) -> dict[str, Any]:
        """A map of the payload, made when it is first asked for."""
        section: dict[str, Any] = self.payload.setdefault(name, {})
        return section

    def set(self, path: str, value: Any, remark: str = "") -> None:
        """Set `section.key`, with a comment behind it."""
        section, _, key = path.partition(".")
        if key:
            self.section(section)[key] = value
        else:
            self.payload[section] = value
        if remark:
            self.remarks[path] = remark

    def switch_off(self, why: str) -> None:
        """Have nothing start the job before somebody has looked at it."""
        self.set("isEnabled", False, why)


@dataclass
class Imported:
    """What one or more files came to. With an error in it, nothing is to be written."""

    drafts: list[Draft] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    errors: list[Problem] = field(default_factory=list)

    def note(self, file: str, line: int, kind: Kind, what: str, why: str, hint: str = "") -> None:
        self.findings.append(Finding(file, line, kind, what, why, hint))

    def error(
        self, file: str, line: int, code: str, message: str, hint: str = "", column: int = 1
    ) -> None:
        self.errors.append(Problem(file, line, column if line else 0, "", code, message, hint))

    def add(self, other: Imported) -> None:
        self.drafts += other.drafts
        self.findings += other.findings
        self.errors += other.errors


def all_findings(imported: Imported, ids: Sequence[str]) -> list[Finding]:
    """Every finding once, in the files' order, each with the jobs that it concerns."""
    owners: dict[Finding, list[str]] = {}
    for draft, job_id in zip(imported.drafts, ids, strict=True):
        for finding in draft.findings:
            owners.setdefault(finding, []).append(job_id)
    files = list(dict.fromkeys(each.file for each in (*imported.findings, *owners)))
    named = [replace(finding, job_ids=tuple(jobs)) for finding, jobs in owners.items()]
    found = dict.fromkeys([*imported.findings, *named])
    return sorted(found, key=lambda one: (files.index(one.file), one.line))
