"""A daemon whose jobs start in the repository's own tree, over commits, holds and restarts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .running import Running, until

JOB = """\
meta: {id: report}
payload:
  jobType: command
  retry: {maxAttempts: 2, initialDelay: 1s}
  parameters: {argv: [sh, run.sh], cwd: {repo: scripts}}
"""


def run(daemon: Running, job_id: str = "report") -> dict[str, Any]:
    """The job's next run, once it is over."""
    status, answer = daemon.post(f"/api/v1/jobs/{job_id}/trigger")
    assert status in (200, 201, 202), answer
    return until(lambda: ended(daemon, job_id), f"{job_id} to end")


def ended(daemon: Running, job_id: str) -> dict[str, Any] | None:
    newest = daemon.executions(job_id)[0]
    return newest if newest["status"] not in ("queued", "running") else None


def output(daemon: Running, execution: dict[str, Any], attempt: int = 1) -> str:
    return (daemon.state / "runs" / execution["id"] / str(attempt) / "output").read_text()


def applied(daemon: Running, revision: str) -> None:
    daemon.post("/api/v1/reconcile")
    until(lambda: revision[:12] in daemon.cli("status").stdout, "the commit to be applied")


def exported(daemon: Running) -> set[str]:
    return {path.name for path in (daemon.state / "trees").glob("*/[0-9a-f]*")}


def test_a_run_finds_the_files_of_the_commit_that_is_applied(daemon: Running) -> None:
    repo = daemon.repo
    script = 'echo v1 "$JOBRECONCILER_REVISION"\n'
    first = repo.write({"jobs.d/report.yaml": JOB, "scripts/run.sh": script}).commit("v1")
    daemon.start("--ref", "main")
    execution = run(daemon)
    assert (execution["status"], execution["revision"]) == ("succeeded", first)
    assert output(daemon, execution) == f"v1 {first}\n"

    # The job's own file is as it was: its generation stays, and yet it runs the new script.
    second = repo.write({"scripts/run.sh": "echo v2\n"}).commit("v2")
    applied(daemon, second)
    execution = run(daemon)
    assert (execution["revision"], execution["generation"]) == (second, 1)
    assert output(daemon, execution) == "v2\n"

    # Held, it keeps the files of the last commit that was applied in full.
    broken = JOB.replace("argv", "argw")
    third = repo.write({"jobs.d/report.yaml": broken, "scripts/run.sh": "echo v3\n"}).commit("v3")
    applied(daemon, third)
    execution = run(daemon)
    assert execution["revision"] == second
    assert output(daemon, execution) == "v2\n"
    assert exported(daemon) == {first, second}

    daemon.stop()
    daemon.start("--ref", "main")
    until(lambda: exported(daemon) == {second}, "the tree that nobody needs to go")


def test_another_try_finds_what_the_first_one_found_though_history_was_rewritten(
    daemon: Running, tmp_path: Path
) -> None:
    repo = daemon.repo
    go = tmp_path / "go"
    script = f"echo v1; while ! [ -e {go} ]; do sleep 0.05; done; [ $JOBRECONCILER_ATTEMPT = 2 ]\n"
    repo.write({"jobs.d/report.yaml": JOB, "scripts/run.sh": "true\n"}).commit("before")
    first = repo.write({"scripts/run.sh": script}).commit("v1")
    daemon.start("--ref", "main")
    daemon.post("/api/v1/jobs/report/trigger")
    until(lambda: exported(daemon) == {first}, "the first tree")
    repo.reset("HEAD~1")
    second = repo.write({"scripts/run.sh": "echo v2\n"}).commit("v2")
    repo.git("reflog", "expire", "--expire=now", "--all")
    repo.git("gc", "-q", "--prune=now")
    applied(daemon, second)
    go.touch()
    until(lambda: daemon.executions("report")[0]["attempts"][0]["finishedAt"], "a first failure")
    daemon.stop()
    daemon.start("--ref", "main")
    execution = until(lambda: ended(daemon, "report"), "the second try")
    assert (execution["status"], execution["revision"]) == ("succeeded", first)
    assert [output(daemon, execution, number) for number in (1, 2)] == ["v1\n", "v1\n"]
    assert output(daemon, run(daemon)) == "v2\n"


def test_uncommitted_files_are_found_with_the_working_tree(daemon: Running) -> None:
    daemon.repo.write({"jobs.d/report.yaml": JOB, "scripts/run.sh": "echo v1\n"}).commit("v1")
    daemon.start("--working-tree")
    daemon.repo.write({"scripts/run.sh": "echo not committed; pwd\n"})
    scripts = daemon.repo.path / "scripts"
    assert output(daemon, run(daemon)) == f"not committed\n{scripts}\n"
