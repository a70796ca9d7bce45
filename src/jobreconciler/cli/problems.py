"""Mistakes in job files, said to people and to the places where people look for them. Pure.

Text like a compiler's, GitHub annotations, GitLab code quality, SARIF 2.1.0 and JUnit XML.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from jobreconciler import __version__
from jobreconciler.cli.output import json_text, styled
from jobreconciler.cli.words import clean, columns_of, count, fit
from jobreconciler.model.problem import Problem

FEW = 25
"""Up to this many mistakes are shown with their line also where there is no terminal."""


class Checked(NamedTuple):
    """What `validate` found. `lines` holds the lines of the files that have mistakes."""

    files: Sequence[str]
    jobs: int
    problems: Sequence[Problem]
    lines: Mapping[str, Sequence[str]]


def as_text(found: Checked, *, excerpts: bool, colour: bool, limit: int) -> str:
    """One block a mistake, then `3 files, 2 jobs, 1 error`."""
    blocks = [_block(problem, found, excerpts, colour, limit) for problem in found.problems]
    return "\n".join([*blocks, summary(found, colour)])


def summary(found: Checked, colour: bool = False) -> str:
    errors = len(found.problems)
    said = styled(count(errors, "error"), "bad" if errors else "good", colour)
    return f"{count(len(found.files), 'file')}, {count(found.jobs, 'job')}, {said}"


def place(problem: Problem) -> str:
    """`file:line:column`, or the file alone where the whole of it is meant."""
    if not problem.line:
        return problem.file
    return f"{problem.file}:{problem.line}:{problem.column}"


def one_line(problem: Problem) -> str:
    """`place: error[code] path: message (hint: …)`."""
    where = f"{problem.path}: " if problem.path else ""
    hint = f" (hint: {problem.hint})" if problem.hint else ""
    return clean(f"{place(problem)}: error[{problem.code}] {where}{problem.message}{hint}")


def _block(problem: Problem, found: Checked, excerpts: bool, colour: bool, limit: int) -> str:
    where = f"{problem.path}: " if problem.path else ""
    hint = f" (hint: {problem.hint})" if problem.hint else ""
    head = (
        styled(clean(place(problem)) + ":", "bold", colour)
        + " "
        + styled(f"error[{problem.code}]", "bad", colour)
        + clean(f" {where}{problem.message}{hint}")
    )
    lines = found.lines.get(problem.file, ())
    if not excerpts or not 0 < problem.line <= len(lines):
        return head
    return "\n".join([head, *_excerpt(problem, lines[problem.line - 1], colour, limit)])


def _excerpt(problem: Problem, line: str, colour: bool, limit: int) -> list[str]:
    """The line and a caret below the column. A long line is shown from near the column on."""
    number = f"{problem.line:>5} | "
    room = limit - len(number)
    source = line.replace("\t", " ")
    column = min(max(problem.column, 1), len(source) + 1) - 1
    start = max(0, column - room // 2) if columns_of(source) > room else 0
    shown = fit(clean(source[start:]), room)
    before = columns_of(clean(source[start:column]))
    margin = " " * (len(number) - 2) + "| "
    caret = styled("^", "bad", colour)
    return [styled(number, "dim", colour) + shown, margin + " " * before + caret]


# ------------------------------------------------------------------------------------- machines


def as_json(found: Checked) -> dict[str, Any]:
    return {
        "files": len(found.files),
        "jobs": found.jobs,
        "errors": [problem.to_json() for problem in found.problems],
    }


def as_github(found: Checked) -> str:
    """Workflow commands. Data escapes %, CR and LF; properties also colon and comma."""
    lines = []
    for problem in found.problems:
        properties = {"file": problem.file}
        if problem.line:
            properties |= {"line": str(problem.line), "col": str(problem.column)}
        properties["title"] = f"{problem.code} {problem.path}".strip()
        listed = ",".join(f"{name}={_property(value)}" for name, value in properties.items())
        lines.append(f"::error {listed}::{_data(_said(problem))}")
    return "\n".join([*lines, summary(found)])


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")


def _said(problem: Problem) -> str:
    return f"{problem.message}\nhint: {problem.hint}" if problem.hint else problem.message


def fingerprints(problems: Sequence[Problem]) -> list[str]:
    """One each, unique, and the same when lines move: the place is the path, not the line."""
    from hashlib import sha256

    seen: dict[str, int] = {}
    prints = []
    for problem in problems:
        what = "\n".join((problem.file, problem.path, problem.code, problem.message))
        seen[what] = seen.get(what, 0) + 1
        prints.append(sha256(f"{what}\n{seen[what]}".encode()).hexdigest())
    return prints


def as_gitlab(found: Checked) -> str:
    """A code quality report; GitLab wants a line, so a whole file's mistake stands on its first."""
    rows = [
        {
            "description": _titled(problem),
            "check_name": problem.code,
            "fingerprint": fingerprint,
            "severity": "major",
            "location": {"path": problem.file, "lines": {"begin": max(problem.line, 1)}},
        }
        for problem, fingerprint in zip(found.problems, fingerprints(found.problems), strict=True)
    ]
    return json_text(rows)


def _titled(problem: Problem) -> str:
    return f"{problem.path}: {problem.message}" if problem.path else problem.message


def as_sarif(found: Checked) -> str:
    codes = sorted({problem.code for problem in found.problems})
    results = [
        _sarif_result(problem, codes.index(problem.code), fingerprint)
        for problem, fingerprint in zip(found.problems, fingerprints(found.problems), strict=True)
    ]
    driver = {
        "name": "jobreconciler",
        "version": __version__,
        "rules": [{"id": code, "shortDescription": {"text": _words(code)}} for code in codes],
    }
    log = {
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [
            {
                "tool": {"driver": driver},
                "columnKind": "unicodeCodePoints",
                "results": results,
            }
        ],
    }
    return json_text(log)


def _words(code: str) -> str:
    return code.replace("_", " ").capitalize()


def _sarif_result(problem: Problem, rule: int, fingerprint: str) -> dict[str, Any]:
    from urllib.parse import quote

    physical: dict[str, Any] = {"artifactLocation": {"uri": quote(problem.file)}}
    if problem.line:
        region = {"startLine": problem.line}
        if problem.column:
            region["startColumn"] = problem.column
        physical["region"] = region
    location: dict[str, Any] = {"physicalLocation": physical}
    if problem.path:
        location["logicalLocations"] = [{"fullyQualifiedName": problem.path}]
    return {
        "ruleId": problem.code,
        "ruleIndex": rule,
        "level": "error",
        "message": {"text": _said(problem)},
        "locations": [location],
        "partialFingerprints": {"jobreconciler/v1": fingerprint},
    }


def as_junit(found: Checked) -> str:
    """One test case a file, one failure for all of its mistakes."""
    by_file: dict[str, list[Problem]] = {}
    for problem in found.problems:
        by_file.setdefault(problem.file, []).append(problem)
    files = sorted({*found.files, *by_file})
    size = f'tests="{len(files)}" failures="{len(by_file)}" errors="0"'
    lines = ['<?xml version="1.0" encoding="UTF-8"?>', f"<testsuites {size}>"]
    lines.append(f'  <testsuite name="jobreconciler validate" {size}>')
    for file in files:
        head = f'    <testcase classname="jobreconciler.validate" name={_attribute(file)}'
        head += f" file={_attribute(file)}"
        if file not in by_file:
            lines.append(head + "/>")
            continue
        first = by_file[file][0]
        text = "\n".join(one_line(problem) for problem in by_file[file])
        lines.append(head + ">")
        lines.append(
            f"      <failure type={_attribute(first.code)} message={_attribute(first.message)}>"
            f"{_xml(text)}</failure>"
        )
        lines.append("    </testcase>")
    return "\n".join([*lines, "  </testsuite>", "</testsuites>"])


def _xml(text: str) -> str:
    """Escaped, and without the characters XML 1.0 cannot hold at all."""
    kept = "".join(
        char
        if char in "\t\n\r"
        or "\x20" <= char <= "\ud7ff"
        or "\ue000" <= char <= "\ufffd"
        or char >= "\U00010000"
        else "\ufffd"
        for char in text
    )
    return kept.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _attribute(text: str) -> str:
    escaped = _xml(text).replace('"', "&quot;").replace("\n", "&#10;").replace("\r", "&#13;")
    return f'"{escaped}"'
