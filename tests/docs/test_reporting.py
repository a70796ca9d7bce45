"""The programs in job-reporting.md run as they stand there, and what they report arrives."""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from execute.arena import ENVIRON, Arena
from execute.conftest import arena
from jobreconciler.execute.runner import RunnerContext
from jobreconciler.ports import JobContext

__all__ = ["arena"]

PAGE = (Path(__file__).parents[2] / "docs/job-reporting.md").read_text("utf-8")


def example(heading: str) -> str:
    """The code below a heading of the page."""
    section = PAGE.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    [code] = re.findall(r"```[a-z]+\n(.*?)```", section, re.DOTALL)
    return str(code)


@pytest.fixture
def inbox(tmp_path: Path) -> Path:
    folder = tmp_path / "inbox"
    folder.mkdir()
    (folder / "a.csv").write_text("1\n2\n")
    (folder / "b.csv").write_text("3\n")
    return folder


PROGRAMS: dict[str, tuple[str, str, dict[str, Any], dict[str, Any]]] = {
    "In a shell script": ("sh", "job.sh", {"files": 2}, {"files": {"value": 2, "unit": ""}}),
    "In Python": ("python3", "job.py", {"rows": 3}, {"rows": {"value": 3, "unit": "1"}}),
    "In Node": ("node", "job.js", {"bytes": 6}, {"read": {"value": 6, "unit": "bytes"}}),
}


@pytest.mark.parametrize("heading", PROGRAMS)
def test_a_program_reports(arena: Arena, tmp_path: Path, inbox: Path, heading: str) -> None:
    language, name, result, metrics = PROGRAMS[heading]
    interpreter = sys.executable if language == "python3" else shutil.which(language)
    if interpreter is None:
        pytest.skip(f"{language} is not installed (apt-get install nodejs)")
    (tmp_path / name).write_text(example(heading))
    parameters = {"argv": [interpreter, str(tmp_path / name)], "env": {"INBOX": str(inbox)}}
    outcome = arena.once(parameters, environ={**ENVIRON, "HOME": str(tmp_path)})
    assert outcome.error is None, arena.output()
    assert outcome.status == "succeeded"
    assert outcome.progress == (2, 2)
    assert outcome.result == result
    assert outcome.metrics == metrics
    assert "not understood" not in arena.output()


def test_a_program_s_error_is_what_the_history_shows(arena: Arena, tmp_path: Path) -> None:
    (tmp_path / "job.sh").write_text(example("In a shell script"))
    parameters = {"argv": ["/bin/sh", str(tmp_path / "job.sh")], "env": {"INBOX": "/nothing/here"}}
    assert arena.once(parameters).error == "a file could not be packed"


@pytest.mark.parametrize("dry_run", [False, True])
def test_a_function_is_given_a_context(
    arena: Arena, tmp_path: Path, inbox: Path, dry_run: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = f"reporting_example_{dry_run}".lower()
    (tmp_path / f"{module}.py").write_text(example("In a job of type `python`").split("\n\n|")[0])
    monkeypatch.syspath_prepend(str(tmp_path))
    parameters = {"entryPoint": f"{module}:nightly", "kwargs": {"inbox": str(inbox)}}
    outcome = arena.once(parameters, job_type="python", dry_run=dry_run)
    assert outcome.error is None
    assert outcome.progress == (2, 2)
    assert outcome.result == {"rows": 3}
    assert outcome.metrics == {"rows": {"value": 3, "unit": "1"}}
    assert "info read all files=2" in arena.output()
    assert len(list(inbox.iterdir())) == (2 if dry_run else 0)


def test_all_of_the_context_has_its_row() -> None:
    rows = re.findall(r"^\| (`.*?) \|", PAGE.split("| of the context | |")[1], re.MULTILINE)
    named = {name for row in rows for name in re.findall(r"`(\w+)(?:\(|`)", row)}
    known = {*JobContext.__annotations__, *(n for n in vars(JobContext) if not n.startswith("_"))}
    assert {name for name in known if name not in named} == set()
    assert known <= {*vars(RunnerContext), *RunnerContext.__init__.__code__.co_names}
