"""A command line to call: hermetic, in a directory of its own, 80 columns wide, without colour."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from jobreconciler.cli.main import main

SOURCE = Path(__file__).resolve().parents[2] / "src"


@dataclass(frozen=True)
class Answer:
    """What one call of the command line came to."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def widest(self) -> int:
        return max((len(line) for line in self.out.splitlines()), default=0)


Cli = Callable[..., Answer]


@pytest.fixture(autouse=True)
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory, a home of its own, no git or program settings from outside."""
    for name in list(os.environ):
        if name.startswith(("JOBRECONCILER_", "GIT_")) or name in {"NO_COLOR", "FORCE_COLOR"}:
            monkeypatch.delenv(name)
    home, here = tmp_path / "home", tmp_path / "here"
    home.mkdir()
    here.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TZ", "UTC")
    monkeypatch.chdir(here)
    return here


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> Cli:
    """Call the command line in this process."""

    def call(*arguments: str) -> Answer:
        capsys.readouterr()
        code = main(list(arguments))
        captured = capsys.readouterr()
        return Answer(code, captured.out, captured.err)

    return call


@pytest.fixture
def spawn() -> Cli:
    """Call the command line as a process of its own."""

    def call(*arguments: str, python: tuple[str, ...] = ("-m", "jobreconciler")) -> Answer:
        done = subprocess.run(
            [sys.executable, *python, *arguments],
            capture_output=True,
            text=True,
            timeout=60,
            env={**os.environ, "PYTHONPATH": str(SOURCE)},
            check=False,
        )
        return Answer(done.returncode, done.stdout, done.stderr)

    return call


@pytest.fixture
def job_file(workplace: Path) -> Callable[..., Path]:
    """Write `jobs.d/<name>.yaml`; without text, a small valid job of that id."""

    def write(name: str, text: str | None = None) -> Path:
        path = workplace / "jobs.d" / f"{name}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text if text is not None else valid_job(name), encoding="utf-8")
        return path

    return write


def valid_job(job_id: str, cron: str = "0 2 * * *", timezone: str = "UTC") -> str:
    return (
        f"meta:\n  id: {job_id}\n"
        "payload:\n  jobType: command\n"
        f'  schedule: {{cronExpression: "{cron}", timezone: {timezone}}}\n'
        '  parameters: {argv: ["true"]}\n'
    )
