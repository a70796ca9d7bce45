"""Whatever happens to git: the last good state keeps running, and everything says what is wrong."""

from __future__ import annotations

import json
import os
import shutil
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
import structlog
from structlog.testing import LogCapture

from e2e.running import Running, until
from loops.world import World, job_file

Fault = Callable[[World], None]


def repository_goes_away(world: World) -> None:
    world.repo.path.rename(world.path / "away")


def ref_goes_away(world: World) -> None:
    world.repo.branch("other").git("branch", "-D", "main")


def commit_object_is_missing(world: World) -> None:
    lose_object(world, world.commit(b=job_file("b")))


def blob_is_missing(world: World) -> None:
    world.commit(b=job_file("b"))
    lose_object(world, world.repo.git("rev-parse", "HEAD:jobs.d/b.yaml"))


def blob_is_corrupt(world: World) -> None:
    world.commit(b=job_file("b"))
    path = loose(world, world.repo.git("rev-parse", "HEAD:jobs.d/b.yaml"))
    path.chmod(0o644)
    path.write_bytes(b"this is no zlib stream")


def tree_is_corrupt(world: World) -> None:
    world.commit(b=job_file("b"))
    path = loose(world, world.repo.git("rev-parse", "HEAD:jobs.d"))
    path.chmod(0o644)
    path.write_bytes(path.read_bytes()[:10])


def jobs_directory_goes_away(world: World) -> None:
    world.repo.delete("jobs.d").write({"README": "empty"}).commit("oops")


def jobs_directory_becomes_a_link(world: World) -> None:
    world.repo.git("mv", "jobs.d", "elsewhere")
    world.repo.link("jobs.d", "elsewhere").commit("oops")


def loose(world: World, name: str) -> Path:
    return world.repo.path / ".git" / "objects" / name[:2] / name[2:]


def lose_object(world: World, name: str) -> None:
    loose(world, name).unlink()


FAULTS: dict[str, tuple[Fault, set[str]]] = {
    "the repository goes away": (repository_goes_away, {"RepositoryMissing"}),
    "the ref goes away": (ref_goes_away, {"RefMissing"}),
    "the commit is missing": (commit_object_is_missing, {"ObjectMissing"}),
    "a blob is missing": (blob_is_missing, {"ObjectMissing"}),
    "a blob is corrupt": (blob_is_corrupt, {"ObjectCorrupt"}),
    "a tree is corrupt": (tree_is_corrupt, {"ObjectCorrupt"}),
    "the jobs directory goes away": (jobs_directory_goes_away, {"JobsDirMissing"}),
    "the jobs directory becomes a link": (
        jobs_directory_becomes_a_link,
        {"JobsDirMissing", "JobsDirRefused", "NotADirectory"},
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_the_last_good_state_keeps_running_and_says_why(
    world: World, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    cause, reasons = FAULTS[name]
    applied = world.commit(a=job_file("a"))
    world.reconcile()
    cause(world)
    logs = LogCapture()
    every_level = structlog.make_filtering_bound_logger(0)
    said = structlog.wrap_logger(None, processors=[logs], wrapper_class=every_level)
    monkeypatch.setattr("jobreconciler.loops.reconcile.log", said)
    result = world.reconcile()
    assert result.result == "failed"
    assert result.error is not None and result.error.reason in reasons
    assert result.error.hint, "an error says what to do"
    assert world.jobs() == {"a": 1}
    state = world.store.source_state()
    assert state is not None and state.revision == applied
    assert world.condition("Ready") == ("False", result.error.reason)
    assert world.condition("SourceReady") == ("False", result.error.reason)
    assert world.figure("reconcile_total", result="failed") == 1
    (line,) = [entry for entry in logs.entries if entry["event"] == "reconcile_failed"]
    assert line["reason"] == result.error.reason


def test_a_newer_commit_supersedes_one_that_could_not_be_applied(world: World) -> None:
    world.commit(a=job_file("a"))
    world.reconcile()
    blob_is_missing(world)
    assert world.reconcile().result == "failed"
    newer = world.commit(b=job_file("b", priority=70), a=job_file("a", priority=70))
    result = world.reconcile()
    assert (result.result, result.revision) == ("applied", newer)
    assert world.jobs() == {"a": 2, "b": 1}
    assert world.changelog("a")[0].revision == newer


def test_the_same_fault_again_writes_nothing(world: World) -> None:
    world.commit(a=job_file("a"))
    world.reconcile()
    repository_goes_away(world)
    world.reconcile()
    size = (world.state / "store.db-wal").stat().st_size
    since = world.store.source_state()
    world.reconcile()
    assert (world.state / "store.db-wal").stat().st_size == size
    assert world.store.source_state() == since


def test_the_source_recovers_without_a_new_commit(world: World) -> None:
    world.commit(a=job_file("a"))
    world.reconcile()
    repository_goes_away(world)
    world.reconcile()
    (world.path / "away").rename(world.repo.path)
    assert world.reconcile().result == "unchanged"
    assert world.condition("SourceReady")[0] == "True"
    assert world.condition("Ready")[0] == "True"
    assert world.condition("Stalled")[0] == "False"


@pytest.mark.parametrize("state", ["missing", "no repository", "empty"])
def test_a_daemon_that_starts_without_a_commit_waits_for_one(tmp_path: Path, state: str) -> None:
    world = World(tmp_path)
    try:
        if state != "empty":
            world.repo.path.rename(tmp_path / "away")
        if state == "no repository":
            world.repo.path.mkdir()
        result = world.reconcile()
        assert result.result == "failed"
        assert world.condition("Ready")[0] == "False"
        if state != "empty":
            if world.repo.path.exists():
                world.repo.path.rmdir()
            (tmp_path / "away").rename(world.repo.path)
        world.commit(a=job_file("a"))
        assert world.reconcile().result == "applied"
        assert world.jobs() == {"a": 1}
    finally:
        world.close()


def test_rewritten_history_is_followed(world: World) -> None:
    first = world.commit(a=job_file("a"))
    world.commit(a=job_file("a", priority=60), b=job_file("b"))
    world.reconcile()
    world.repo.reset(first)
    rewritten = world.commit("again", a=job_file("a", priority=70), b=job_file("b"))
    assert world.reconcile().result == "applied"
    assert world.changelog("a")[0].commits == (rewritten,)
    assert world.jobs()["b"] == 1
    assert world.figure("git_operations_total", operation="descend", result="HistoryRewritten") == 1


def test_rewritten_history_whose_old_commits_are_gone_is_followed(world: World) -> None:
    first = world.commit(a=job_file("a"))
    world.commit(b=job_file("b"))
    world.reconcile()
    world.repo.reset(first)
    world.commit(a=job_file("a", priority=70), b=job_file("b"))
    world.repo.git("reflog", "expire", "--expire=now", "--all")
    world.repo.git("gc", "-q", "--prune=now")
    assert world.reconcile().result == "applied"
    assert world.jobs() == {"a": 2, "b": 1}


def test_rewritten_history_is_refused_where_only_fast_forwards_are_allowed(world: World) -> None:
    first = world.commit(a=job_file("a"))
    second = world.commit(a=job_file("a", priority=60))
    world.restart(require_fast_forward=True)
    world.reconcile()
    world.repo.reset(first)
    world.commit(a=job_file("a", priority=70))
    result = world.reconcile()
    assert result.error is not None and result.error.reason == "HistoryRewritten"
    assert world.condition("Stalled") == ("True", "HistoryRewritten")
    assert world.jobs() == {"a": 1}
    world.repo.reset(second)
    world.commit(a=job_file("a", priority=80))
    assert world.reconcile().result == "applied"
    assert world.jobs() == {"a": 2}


def test_a_remote_that_hangs_costs_its_time_limit_and_no_more(tmp_path: Path) -> None:
    silent = socket.socket()
    silent.bind(("127.0.0.1", 0))
    silent.listen()
    world = World(tmp_path, git_timeout=2.0)
    try:
        world.commit(a=job_file("a"))
        world.reconcile()
        world.repo_url = f"git://127.0.0.1:{silent.getsockname()[1]}/jobs"
        world.restart()
        result = world.reconcile()
        assert result.error is not None and result.error.reason == "GitTimeout"
        assert world.jobs() == {"a": 1}
        assert world.condition("SourceReady") == ("False", "GitTimeout")
    finally:
        world.close()
        silent.close()


def test_a_remote_is_mirrored_and_followed_through_a_forced_push(tmp_path: Path) -> None:
    world = World(tmp_path)
    try:
        first = world.commit(a=job_file("a"))
        bare = world.repo.bare_clone(tmp_path / "remote.git")
        world.repo_url = f"file://{bare}"
        world.restart()
        assert world.reconcile().revision == first
        world.repo.git("remote", "add", "origin", str(bare))
        world.commit(a=job_file("a", priority=60))
        world.repo.git("push", "-q", "origin", "main")
        assert world.reconcile().result == "applied"
        world.repo.reset(first)
        world.commit(a=job_file("a", priority=70))
        world.repo.git("push", "-qf", "origin", "main")
        assert world.reconcile().result == "applied"
        assert world.jobs() == {"a": 3}
    finally:
        world.close()


class SlowGit(Running):
    """A daemon whose git does not come back before it is let go."""

    slow = False

    @property
    def let_go(self) -> Path:
        return self.path / "let-go"

    def environment(self) -> dict[str, str]:
        found = super().environment()
        if self.slow:
            git = self.path / "bin" / "git"
            git.parent.mkdir(exist_ok=True)
            wait = f"while [ ! -e {self.let_go} ]; do sleep 0.1; done"
            git.write_text(f'#!/bin/sh\n{wait}\nexec {shutil.which("git")} "$@"\n')
            git.chmod(0o755)
            found["PATH"] = f"{git.parent}{os.pathsep}{found['PATH']}"
        return found


def test_a_daemon_whose_git_is_slow_starts_with_what_it_has_and_catches_up(tmp_path: Path) -> None:
    daemon = SlowGit(tmp_path)
    try:
        daemon.repo.write({"jobs.d/a.yaml": job_file("a", cron="* * * * * *")}).commit("a")
        daemon.start()
        until(lambda: daemon.executions("a"), "a first run")
        daemon.kill()
        daemon.repo.write({"jobs.d/b.yaml": job_file("b")}).commit("b")
        daemon.slow = True
        daemon.start()
        assert not daemon.let_go.exists()
        [line] = [line for line in daemon.said().splitlines() if "starting_from_the_store" in line]
        assert json.loads(line)["reason"] == "the source did not answer in time"
        started = len(daemon.executions("a"))
        until(lambda: len(daemon.executions("a")) > started + 1, "slots to run without git")
        assert daemon.generation("b") is None
        daemon.let_go.touch()
        until(lambda: daemon.generation("b"), "the new commit to be applied")
    finally:
        daemon.close()
