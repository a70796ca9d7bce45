"""A command line to call: hermetic, in a directory of its own, 80 columns wide, without colour."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from cli.calling import SOURCE, Answer, Cli, JobFile, valid_job
from gitrepo import GitRepo
from jobreconciler.cli.main import main


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
def job_file(workplace: Path) -> JobFile:
    """Write `jobs.d/<name>.yaml`; without text, a small valid job of that id."""

    def write(name: str, text: str | None = None) -> Path:
        path = workplace / "jobs.d" / f"{name}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text if text is not None else valid_job(name), encoding="utf-8")
        return path

    return write


@pytest.fixture
def repo(workplace: Path) -> GitRepo:
    """A repository in the working directory."""
    made = GitRepo(workplace)
    made.write({".gitignore": ".jobreconciler/\n"})
    return made
