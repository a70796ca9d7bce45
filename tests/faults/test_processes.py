"""Processes of a run that are killed from outside, with the daemon there or away.

A job leaves a mark with its own pid and its supervisor's. Its first attempt waits to be killed, its
second succeeds: what was recorded of the first is held against what was done to it.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from e2e.running import Running, until

from .aftermath import left_behind

VICTIMS = {
    "child": ["failed", "the job itself is killed: it failed, by that signal"],
    "supervisor": ["lost", "its supervisor is killed: nobody knows how it would have ended"],
    "both": ["lost", "both are killed"],
}


def waits_to_be_killed(name: str, marks: Path) -> str:
    return f"""\
meta: {{id: {name}}}
payload:
  jobType: command
  retry: {{maxAttempts: 2, initialDelay: 1s, backoffStrategy: fixed}}
  parameters:
    shell: |
      echo "$$ $PPID" > {marks}/{name}-$JOBRECONCILER_ATTEMPT
      [ "$JOBRECONCILER_ATTEMPT" = 2 ] || sleep 600
"""


def pids(daemon: Running, name: str) -> tuple[int, int]:
    """The job's and its supervisor's."""
    path = daemon.path / f"{name}-1"
    until(lambda: path.exists() and path.read_text().endswith("\n"), f"{name} to run")
    job, supervisor = map(int, path.read_text().split())
    return job, supervisor


def kill(daemon: Running, name: str) -> None:
    job, supervisor = pids(daemon, name)
    for victim in {"child": [job], "supervisor": [supervisor], "both": [supervisor, job]}[name]:
        os.kill(victim, signal.SIGKILL)


def ended(daemon: Running, name: str) -> dict[str, Any] | None:
    [execution] = daemon.executions(name)
    return execution if execution["finishedAt"] else None


@pytest.mark.parametrize("away", [False, True], ids=["the daemon is there", "the daemon is away"])
def test_what_is_killed_is_recorded_as_it_was_and_tried_again(daemon: Running, away: bool) -> None:
    files = {f"jobs.d/{name}.yaml": waits_to_be_killed(name, daemon.path) for name in VICTIMS}
    daemon.repo.write(files).commit("jobs")
    daemon.start()
    for name in VICTIMS:
        assert daemon.post(f"/api/v1/jobs/{name}/trigger")[0] == 202
        pids(daemon, name)
    if away:
        daemon.kill()
    for name in VICTIMS:
        kill(daemon, name)
    if away:
        daemon.start()
    for name, (status, told) in VICTIMS.items():
        execution = until(lambda name=name: ended(daemon, name), f"{name} to end")
        assert execution["status"] == "succeeded", told
        first, second = execution["attempts"]
        signal_ = signal.SIGKILL if status == "failed" else None
        assert (first["signal"], second["exitCode"]) == (signal_, 0), told
        assert ("supervisor" in first["error"]) is (status == "lost"), told
    assert daemon.stop() == 0
    until(lambda: not left_behind(daemon.path), "no process to be left")
