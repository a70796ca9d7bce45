"""The daemon as a whole: a commit becomes a validated, applied, scheduled, running, seen job."""

from __future__ import annotations

import json
import os
import signal
import socket
import sqlite3
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from loops.world import job_file

from .running import Running, free_port, until

EVERY_SECOND = "* * * * * *"


@pytest.fixture
def silent() -> Iterator[int]:
    """The port of a server that accepts connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def script(job_id: str, text: str, *, cron: str | None = None, **limits: object) -> str:
    """A command job that runs a shell script."""
    lines = ["meta:", f"  id: {job_id}", "payload:", "  jobType: command"]
    if cron:
        lines.append(f'  schedule: {{cronExpression: "{cron}"}}')
    if limits:
        lines.append("  limits: {" + ", ".join(f"{k}: {v}" for k, v in limits.items()) + "}")
    lines += ["  parameters:", "    shell: |", *(f"      {line}" for line in text.splitlines())]
    return "\n".join(lines) + "\n"


def test_a_commit_is_applied_run_and_shown(daemon: Running) -> None:
    daemon.repo.write(
        {
            "jobs.d/tick.yaml": script(
                "tick", "echo hello; echo $JOBRECONCILER_SLOT", cron=EVERY_SECOND
            )
        }
    )
    first = daemon.repo.commit("Tick every second (#3)")
    daemon.start()
    ran = until(
        lambda: [e for e in daemon.executions("tick") if e["status"] == "succeeded"][1:],
        "two runs of tick",
    )
    assert ran[0]["revision"] == first
    assert ran[0]["trigger"]["type"] == "schedule"
    logs = daemon.get(f"/api/v1/executions/{ran[0]['id']}/logs", raw=True)
    assert logs.splitlines()[0] == "hello"
    assert logs.splitlines()[1].rstrip("Z") in ran[0]["trigger"]["slot"]
    (change,) = daemon.get("/api/v1/jobs/tick/changelog")["changes"]
    assert (change["pullRequest"], change["author"]["name"]) == ("#3", "Ada Lovelace")

    daemon.repo.write({"jobs.d/tick.yaml": script("tick", "echo changed", cron=EVERY_SECOND)})
    second = daemon.repo.commit("Say something else")
    until(lambda: daemon.generation("tick") == 2, "the commit to be applied by the watch alone")
    until(
        lambda: [
            e
            for e in daemon.executions("tick")
            if e["revision"] == second and e["status"] == "succeeded"
        ],
        "a run of the new generation",
    )
    metrics = daemon.get("/metrics", raw=True)
    assert f'jobreconciler_source_info{{revision="{second}"}} 1.0' in metrics
    assert 'jobreconciler_config_changes_total{action="updated"} 1.0' in metrics
    status = daemon.get("/api/v1/status")
    assert status["root"] in status["elements"]

    daemon.repo.write({"jobs.d/tick.yaml": "meta: {id: tick}\npayload: ["})
    daemon.repo.commit("Break it")
    until(
        lambda: [c for c in daemon.get("/api/v1/jobs/tick")["conditions"] if c["type"] == "Held"],
        "the job to be held",
    )
    assert daemon.generation("tick") == 2
    assert daemon.stop() == 0


def test_kill_9_in_the_middle_of_a_run_loses_and_repeats_nothing(daemon: Running) -> None:
    daemon.repo.write(
        {
            "jobs.d/long.yaml": script("long", "sleep 3; echo done; exit 7"),
            "jobs.d/tick.yaml": script(
                "tick",
                "echo $JOBRECONCILER_SLOT >> " + str(daemon.path / "slots"),
                cron=EVERY_SECOND,
                maxConcurrent=50,
            ),
        }
    )
    daemon.repo.commit("jobs")
    daemon.start()
    status, execution = daemon.post("/api/v1/jobs/long/trigger", {"reason": "test"})
    assert status in (200, 201, 202)
    until(lambda: daemon.executions("long")[0]["status"] == "running", "long to run")
    time.sleep(1.0)
    daemon.kill()
    time.sleep(3.0)
    daemon.start()
    ended = until(
        lambda: [e for e in daemon.executions("long") if e["status"] not in ("queued", "running")],
        "the run that outlived the daemon",
    )
    assert [(e["id"], e["status"], e["exitCode"]) for e in ended] == [
        (execution["id"], "failed", 7)
    ]
    assert len(ended[0]["attempts"]) == 1
    logs = daemon.get(f"/api/v1/executions/{execution['id']}/logs", raw=True)
    assert logs == "done\n"
    time.sleep(1.5)
    assert daemon.stop() == 0
    slots = (daemon.path / "slots").read_text().split()
    assert len(slots) == len(set(slots)), "a slot ran twice"
    handled = accounted(daemon.state / "store.db")
    assert handled == list(range(handled[0], handled[-1] + 1)), "a slot is in no row, or in two"


def accounted(database: Path) -> list[int]:
    """Every second that an execution or a missed row of `tick` answers for, sorted."""
    connection = sqlite3.connect(database)
    rows = connection.execute(
        "SELECT slot, missed_from, missed_to, missed_count FROM job_executions "
        "WHERE job_id = 'tick'"
    ).fetchall()
    connection.close()
    seconds: list[int] = []
    for slot, first, last, count in rows:
        if slot is not None:
            seconds.append(slot // 1_000_000)
        else:
            covered = range(first // 1_000_000, last // 1_000_000 + 1)
            assert len(covered) == count
            seconds += covered
    return sorted(seconds)


def test_sigterm_ends_the_daemon_and_leaves_the_run_alone(daemon: Running) -> None:
    daemon.repo.write({"jobs.d/long.yaml": script("long", "sleep 2; echo done")})
    daemon.repo.commit("jobs")
    daemon.start()
    _, execution = daemon.post("/api/v1/jobs/long/trigger")
    until(lambda: daemon.executions("long")[0]["status"] == "running", "long to run")
    assert daemon.stop() == 0
    daemon.start()
    done = until(
        lambda: [e for e in daemon.executions("long") if e["status"] == "succeeded"], "its result"
    )
    assert done[0]["id"] == execution["id"]


def test_who_follows_an_output_is_let_go_without_an_error(daemon: Running) -> None:
    daemon.repo.write({"jobs.d/long.yaml": script("long", "echo begun; sleep 3; echo done")})
    daemon.repo.commit("jobs")
    daemon.start()
    _, execution = daemon.post("/api/v1/jobs/long/trigger")
    until(lambda: daemon.executions("long")[0]["status"] == "running", "long to run")
    path = f"{daemon.url}/api/v1/executions/{execution['id']}/logs?follow=1"
    with urllib.request.urlopen(path, timeout=60) as followed:
        assert followed.readline() == b"begun\n"
        assert daemon.stop() == 0
        assert followed.read() == b""
    said = [json.loads(line) for line in daemon.said().splitlines()]
    assert [line for line in said if line["level"] in ("error", "critical")] == []


def test_who_waits_for_a_pass_that_never_ends_is_told_when_the_daemon_does(
    daemon: Running, silent: int
) -> None:
    daemon.repo.write({"jobs.d/a.yaml": job_file("a")})
    revision = daemon.repo.commit("one")
    assert daemon.cli("apply").returncode == 0
    daemon.start("--repo", f"git://127.0.0.1:{silent}/repo.git", ready=False)
    until((daemon.state / "token").exists, "the token")
    until(daemon.answers, "the HTTP side")
    assert daemon.generation("a") == 1, "reading waits for nothing"
    requests = [
        ("/api/v1/reconcile", {}),
        ("/api/v1/prune-approvals", {"revision": revision}),
    ]
    with ThreadPoolExecutor() as pool:
        asked = [pool.submit(daemon.post, path, body) for path, body in requests]
        time.sleep(1.0)
        assert daemon.stop() == 0
        (reconciled, problem), (approved, _) = [each.result() for each in asked]
    assert (reconciled, problem["reason"]) == (503, "Closing")
    assert approved < 300, "it is stored, whoever goes by it"
    assert "Traceback" not in daemon.said()


def test_who_waits_for_a_sweep_is_told_when_the_daemon_ends_meanwhile(daemon: Running) -> None:
    """Somebody else holds the store locked, so that nothing can be forgotten."""
    daemon.repo.write({"jobs.d/a.yaml": job_file("a")}).commit("one")
    daemon.start()
    with ThreadPoolExecutor() as pool, closing(sqlite3.connect(daemon.state / "store.db")) as other:
        other.execute("BEGIN IMMEDIATE")
        asked = pool.submit(daemon.post, "/api/v1/gc")
        time.sleep(1.0)
        assert daemon.stop() == 0
        status, body = asked.result()
    assert (status, body["reason"]) == (503, "Closing")
    assert "Traceback" not in daemon.said()


def test_drain_waits_for_what_runs(daemon: Running) -> None:
    daemon.repo.write({"jobs.d/long.yaml": script("long", f"sleep 1; touch {daemon.path}/mark")})
    daemon.repo.commit("jobs")
    daemon.start("--drain")
    daemon.post("/api/v1/jobs/long/trigger")
    until(lambda: daemon.executions("long")[0]["status"] == "running", "long to run")
    assert daemon.stop() == 0
    assert (daemon.path / "mark").exists()
    daemon.start()
    assert daemon.executions("long")[0]["status"] == "succeeded"


def test_drain_waits_for_what_it_took_over_though_it_is_stopped_while_it_starts(
    daemon: Running, silent: int
) -> None:
    gate = daemon.path / "gate"
    waiting = f"while [ ! -e {gate} ]; do sleep 0.05; done"
    daemon.repo.write({"jobs.d/long.yaml": script("long", waiting)}).commit("jobs")
    daemon.start()
    daemon.post("/api/v1/jobs/long/trigger")
    until(lambda: daemon.executions("long")[0]["status"] == "running", "long to run")
    daemon.kill()
    away = ("--repo", f"git://127.0.0.1:{silent}/repo.git")
    daemon.start("--drain", *away, ready=False)
    until(daemon.answers, "the HTTP side")
    until(lambda: daemon.said().count('"adopted"') == 1, "the run to be taken over")
    assert daemon.process is not None
    daemon.process.send_signal(signal.SIGTERM)
    gate.touch()
    assert daemon.ended() == 0
    daemon.start()
    assert daemon.executions("long")[0]["status"] == "succeeded"


def test_the_working_tree_is_followed_for_local_development(daemon: Running) -> None:
    daemon.repo.write({"jobs.d/a.yaml": job_file("a")}).commit("one")
    daemon.start("--working-tree", "--poll-interval", "1")
    daemon.repo.write({"jobs.d/a.yaml": job_file("a", priority=60)})
    until(lambda: daemon.generation("a") == 2, "the uncommitted edit")


def test_reconcile_can_be_asked_for(daemon: Running) -> None:
    daemon.repo.write({"jobs.d/a.yaml": job_file("a")}).commit("one")
    daemon.start()
    status, record = daemon.post("/api/v1/reconcile")
    assert (status, record["result"]) == (200, "unchanged")
    assert set(record) == {"result", "revision", "summary", "error"}


def test_a_suspended_job_stays_so_while_the_daemon_waits_for_its_repository(
    daemon: Running, silent: int
) -> None:
    daemon.repo.write({"jobs.d/a.yaml": job_file("a")}).commit("one")
    daemon.start()
    assert daemon.post("/api/v1/jobs/a/suspend", {"reason": "night"})[0] == 201
    assert daemon.stop() == 0
    daemon.start("--repo", f"git://127.0.0.1:{silent}/repo.git", ready=False)
    until(daemon.answers, "the HTTP side")
    assert daemon.get("/api/v1/jobs/a")["suspension"]["reason"] == "night"
    status, problem = daemon.post("/api/v1/jobs/a/trigger")
    assert (status, problem["reason"]) == (409, "Suspended")
    assert daemon.executions("a") == []


def test_a_daemon_starts_without_its_repository_and_waits(daemon: Running) -> None:
    daemon.repo.write({"jobs.d/a.yaml": job_file("a")}).commit("one")
    daemon.start()
    assert daemon.stop() == 0
    daemon.repo.path.rename(daemon.path / "away")
    daemon.start()
    assert daemon.generation("a") == 1
    (daemon.path / "away").rename(daemon.repo.path)
    daemon.repo.write({"jobs.d/a.yaml": job_file("a", priority=60)}).commit("two")
    until(lambda: daemon.generation("a") == 2, "the daemon to find its repository again")


# --------------------------------------------------------------------------- refused at the start


def refused(daemon: Running, *arguments: str) -> str:
    daemon.start(*arguments, ready=False)
    assert daemon.ended() == 2
    said = daemon.said()
    assert "Traceback" not in said
    return said


def test_a_second_daemon_on_the_same_state_is_refused(daemon: Running, tmp_path: Path) -> None:
    daemon.repo.write({"jobs.d/a.yaml": job_file("a")}).commit("one")
    daemon.start()
    second = Running(tmp_path / "second")
    second.repo, second.state = daemon.repo, daemon.state
    assert "in use by process" in refused(second)
    assert daemon.cli("apply").returncode == 2


def test_a_taken_port_is_refused(daemon: Running, tmp_path: Path) -> None:
    daemon.repo.write({"jobs.d/a.yaml": job_file("a")}).commit("one")
    daemon.start()
    second = Running(tmp_path / "second")
    second.repo, second.port = daemon.repo, daemon.port
    assert "cannot listen on" in refused(second)


def test_an_open_address_needs_a_token_made_on_purpose(daemon: Running) -> None:
    daemon.repo.write({"jobs.d/a.yaml": job_file("a")}).commit("one")
    said = refused(daemon, "--listen", f"0.0.0.0:{free_port()}")
    assert "token create" in said


def test_a_store_of_a_newer_program_is_refused(daemon: Running) -> None:
    daemon.repo.write({"jobs.d/a.yaml": job_file("a")}).commit("one")
    daemon.start()
    assert daemon.stop() == 0
    connection = sqlite3.connect(daemon.state / "store.db")
    connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.commit()
    connection.close()
    said = refused(daemon)
    assert "9999" in said
    assert "hint: install jobreconciler" in said


# ------------------------------------------------------------------------------------ access


def test_writing_needs_the_token(daemon: Running) -> None:
    daemon.repo.write({"jobs.d/a.yaml": job_file("a")}).commit("one")
    daemon.start()
    assert (daemon.state / "token").stat().st_mode & 0o777 == 0o600
    for token in (None, "jr_wrong"):
        status, problem = daemon.post("/api/v1/jobs/a/trigger", token=token)
        assert status == 401
        assert problem["hint"]
    assert daemon.executions("a") == []


def test_the_daemons_token_and_environment_never_reach_a_child(daemon: Running) -> None:
    daemon.repo.write({"jobs.d/env.yaml": script("env", "env")}).commit("one")
    os.environ["SOME_DAEMON_SECRET"] = "leaked"
    try:
        daemon.environment = lambda: {**Running.environment(daemon), "SOME_DAEMON_SECRET": "leaked"}  # type: ignore[method-assign]
        daemon.start()
        _, execution = daemon.post("/api/v1/jobs/env/trigger")
        until(lambda: daemon.executions("env")[0]["status"] == "succeeded", "env to end")
        shown = daemon.get(f"/api/v1/executions/{execution['id']}/logs", raw=True)
    finally:
        del os.environ["SOME_DAEMON_SECRET"]
    names = {line.partition("=")[0] for line in shown.splitlines()}
    assert "SOME_DAEMON_SECRET" not in names
    assert "PYTHONPATH" not in names
    assert {"PATH", "HOME", "LANG", "TZ", "JOBRECONCILER_JOB", "JOBRECONCILER_EXECUTION"} <= names


def test_a_signal_that_ends_the_daemon_is_no_traceback(daemon: Running) -> None:
    daemon.repo.write({"jobs.d/a.yaml": job_file("a")}).commit("one")
    daemon.start()
    assert daemon.process is not None
    daemon.process.send_signal(signal.SIGINT)
    assert daemon.ended() == 0
    assert "Traceback" not in daemon.said()
    daemon.process = None


def flaky(job_id: str, counter: Path, *, succeed_at: int, retry: str) -> str:
    """A job that fails until its `succeed_at`th attempt."""
    text = script(
        job_id,
        f"echo x >> {counter}\n"
        "echo attempt $JOBRECONCILER_ATTEMPT\n"
        f"[ $JOBRECONCILER_ATTEMPT -ge {succeed_at} ] || exit 9",
    )
    return text.replace("payload:\n", f"payload:\n  retry: {{{retry}}}\n")


def test_a_failed_attempt_is_tried_again_also_across_kill_9(daemon: Running) -> None:
    counter = daemon.path / "counter"
    text = flaky(
        "flaky",
        counter,
        succeed_at=3,
        retry="maxAttempts: 5, initialDelay: 2s, backoffStrategy: fixed",
    )
    daemon.repo.write({"jobs.d/flaky.yaml": text}).commit("one")
    daemon.start()
    _, execution = daemon.post("/api/v1/jobs/flaky/trigger")
    until(lambda: daemon.executions("flaky")[0]["notBefore"], "the pause after the first attempt")
    assert daemon.executions("flaky")[0]["status"] == "queued"
    daemon.kill()
    daemon.start()
    (done,) = until(
        lambda: [e for e in daemon.executions("flaky") if e["status"] == "succeeded"], "success"
    )
    assert done["id"] == execution["id"]
    assert [a["exitCode"] for a in done["attempts"]] == [9, 9, 0]
    assert counter.read_text().split() == ["x"] * 3
    first = daemon.get(f"/api/v1/executions/{execution['id']}/logs?attempt=1", raw=True)
    assert first == "attempt 1\n"


def test_an_exit_code_that_is_not_listed_is_not_tried_again(daemon: Running) -> None:
    counter = daemon.path / "counter"
    text = flaky(
        "once", counter, succeed_at=3, retry="maxAttempts: 5, initialDelay: 1s, onExitCodes: [75]"
    )
    daemon.repo.write({"jobs.d/once.yaml": text}).commit("one")
    daemon.start()
    daemon.post("/api/v1/jobs/once/trigger")
    until(lambda: daemon.executions("once")[0]["status"] == "failed", "its end")
    time.sleep(1.5)
    assert counter.read_text().split() == ["x"]


def test_a_missing_secret_is_never_tried_again_and_says_so(daemon: Running) -> None:
    text = (
        script("secretive", "true").replace(
            "payload:\n", "payload:\n  retry: {maxAttempts: 5, initialDelay: 1s}\n"
        )
        + "    env: {TOKEN: {env: NOT_SET_ANYWHERE}}\n"
    )
    daemon.repo.write({"jobs.d/secretive.yaml": text}).commit("one")
    daemon.start()
    daemon.post("/api/v1/jobs/secretive/trigger")
    until(lambda: daemon.executions("secretive")[0]["status"] == "failed", "its end")
    (execution,) = daemon.executions("secretive")
    assert len(execution["attempts"]) == 1
    assert "NOT_SET_ANYWHERE" in execution["error"]


def test_a_daemon_that_never_applied_anything_says_so_wherever_it_is_asked(
    daemon: Running,
) -> None:
    daemon.start()
    said = "no revision has been applied yet, so nothing runs"
    assert daemon.get("/readyz") == {
        "ready": True,
        "message": f"{said}; `jobreconciler status` says why",
    }
    shown = daemon.cli("status").stdout
    assert f"{said}: " in shown.replace("\n  ", " ")
    assert "last good revision" not in shown
    daemon.repo.write({"jobs.d/a.yaml": job_file("a")}).commit("Add a")
    until(lambda: daemon.get("/readyz")["message"] == "ready", "the first revision")
