"""`gc`: forgetting on request, without a daemon."""

from __future__ import annotations

from pathlib import Path

import pytest

from cli.calling import Cli, JobFile, valid_job
from gitrepo import GitRepo
from jobreconciler.clock import SystemClock
from jobreconciler.store.opening import open_store

STATE = Path(".jobreconciler")


@pytest.fixture
def changed(cli: Cli, repo: GitRepo, job_file: JobFile) -> GitRepo:
    """A job in its second version, and output of a run that nobody remembers."""
    job_file("a")
    repo.commit("Add a")
    assert cli("apply").code == 0
    job_file("a", valid_job("a", "0 3 * * *"))
    repo.commit("Later")
    assert cli("apply").code == 0
    attempt = STATE / "runs" / "gone" / "1"
    attempt.mkdir(parents=True)
    (attempt / "output").write_text("long ago\n")
    return repo


def test_a_dry_run_only_says_what_would_go(cli: Cli, changed: GitRepo) -> None:  # noqa: ARG001
    answer = cli("gc", "--dry-run", "--keep-output", "0", "-o", "json")
    assert answer.code == 0
    said = answer.json
    assert (said["dryRun"], said["blobs"], said["outputs"]) == (True, 1, 1)
    assert (STATE / "runs" / "gone").exists()
    assert cli("gc", "--dry-run", "--keep-output", "0", "-o", "json").json == said


def test_what_went_is_said_and_is_gone(cli: Cli, changed: GitRepo) -> None:  # noqa: ARG001
    answer = cli("gc", "--keep-output", "0")
    assert answer.code == 0
    assert answer.out.startswith("forgot 0 executions, the output of 1 (0.0 MiB)")
    assert "1 file version" in answer.out.replace("\n", " ")
    assert answer.widest <= 80
    assert not (STATE / "runs" / "gone").exists()
    assert cli("gc", "-o", "json").json["blobs"] == 0
    assert len(cli("changes", "-o", "json").json["changes"]) == 2, "the changelog stays"


def test_it_is_refused_while_a_daemon_holds_the_store(
    cli: Cli,
    changed: GitRepo,  # noqa: ARG001
) -> None:
    held = open_store(None, STATE, SystemClock(), instance="a daemon")
    try:
        refused = cli("gc")
        assert refused.code == 2
        assert "in use" in refused.err or "another" in refused.err
        would = cli("gc", "--dry-run")
        assert would.code == 0
        assert would.err.endswith("; counted by the --keep settings of this command\n")
    finally:
        held.close()
