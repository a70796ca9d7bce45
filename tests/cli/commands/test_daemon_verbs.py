"""Verbs that ask a daemon: a real one, in a process of its own, started once for them all."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cli.calling import Answer, Cli
from e2e.running import Running, until

JOBS = {
    "jobs.d/greet.yaml": (
        "meta: {id: greet}\n"
        "payload:\n"
        "  jobType: command\n"
        "  manual: {allowParameters: [shell]}\n"
        '  schedule: {cronExpression: "0 2 * * *"}\n'
        "  parameters: {shell: 'echo hello; echo oops >&2'}\n"
    ),
    "jobs.d/fail.yaml": (
        "meta: {id: fail}\n"
        "payload:\n"
        "  jobType: command\n"
        "  parameters: {shell: 'echo trying; exit 3'}\n"
    ),
    "jobs.d/off.yaml": (
        "meta: {id: off}\n"
        "payload: {jobType: command, isEnabled: false, parameters: {argv: ['true']}}\n"
    ),
}


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    made = Running(tmp_path_factory.mktemp("daemon"))
    made.repo.write(JOBS).commit("Add greet, fail and off")
    try:
        yield made.start()
    finally:
        made.close()


@pytest.fixture
def ask(daemon: Running, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Answer]:
    """The command line, pointed at the daemon and its state directory."""
    monkeypatch.setenv("JOBRECONCILER_SERVER", daemon.url)
    monkeypatch.setenv("JOBRECONCILER_STATE_DIR", str(daemon.state))
    monkeypatch.setenv("JOBRECONCILER_REPO", str(daemon.repo.path))
    return cli


def test_lifting_a_stop_that_is_not_there_is_a_no_in_its_own_words(ask: Cli) -> None:
    unpaused, resumed = ask("unpause"), ask("resume", "greet")
    assert (unpaused.code, unpaused.out) == (1, "the fleet was not paused\n")
    assert (resumed.code, resumed.out) == (1, "greet: nothing was suspended\n")


def test_a_run_is_waited_for_and_its_output_printed(ask: Cli) -> None:
    answer = ask("trigger", "greet", "--wait", "--reason", "a test")
    assert (answer.code, answer.out) == (0, "hello\noops\n"), answer.err
    assert answer.err.startswith("succeeded after ")
    assert ": a test\n" in answer.err


def test_a_run_that_fails_exits_with_one_and_says_why(ask: Cli) -> None:
    answer = ask("trigger", "fail", "--wait")
    assert answer.code == 1
    assert answer.out == "trying\n"
    assert answer.err.startswith("failed after ")
    assert "exit code 3" in answer.err
    executions = ask("history", "fail", "-n", "1", "-o", "json").json["executions"]
    assert [each["status"] for each in executions] == ["failed"]


def test_waiting_with_json_prints_only_the_execution(ask: Cli) -> None:
    answer = ask("trigger", "greet", "--wait", "-o", "json")
    assert answer.code == 0
    assert answer.json["status"] == "succeeded"
    assert answer.json["trigger"]["type"] == "manual"


def test_without_waiting_the_execution_is_named(ask: Cli) -> None:
    answer = ask("trigger", "greet")
    assert answer.code == 0
    assert answer.out.startswith("greet is queued: execution ")
    execution = answer.out.split()[-1]
    followed = ask("logs", execution, "-f")
    assert (followed.code, followed.out) == (0, "hello\noops\n")
    assert ask("logs", "greet").out == "hello\noops\n"
    assert ask("logs", execution, "-o", "json").json == {
        "execution": execution,
        "attempts": [{"number": 1, "output": "hello\noops\n"}],
    }


def test_logs_are_read_from_the_spool_where_no_daemon_answers(ask: Cli) -> None:
    assert ask("trigger", "fail", "--wait").code == 1
    assert ask("trigger", "greet", "--wait").code == 0
    nobody = ("--server", "http://127.0.0.1:1")
    for arguments in (["logs", "greet"], ["logs", "greet", "-f"]):
        answer = ask(*arguments, *nobody)
        assert (answer.code, answer.out) == (0, "hello\noops\n")
        assert "instead" in answer.err
    [execution] = ask("history", "fail", "-n", "1", "-o", "json", *nobody).json["executions"]
    assert ask("logs", execution["id"], "-o", "json", *nobody).json == {
        "execution": execution["id"],
        "attempts": [{"number": 1, "output": "trying\n"}],
    }
    assert ask("logs", "off", *nobody).code == 1
    assert ask("logs", "01978f3a-1c5d-7abc-8def-0123456789ab", *nobody).code == 1


def test_a_run_that_goes_on_cannot_be_followed_without_a_daemon(ask: Cli, daemon: Running) -> None:
    script = "echo begun; sleep 600"
    execution = ask("trigger", "greet", "--param", f"shell={script}").out.split()[-1]
    until(lambda: ask("logs", execution).out == "begun\n", "its first line")
    drawn = daemon.get("/api/v1/status/greet")["state"]["job"]["log"]
    assert [line["message"] for line in drawn] == ["begun"]
    alone = ask("logs", execution, "-f", "--server", "http://127.0.0.1:1")
    assert (alone.code, alone.out) == (2, "begun\n")
    assert ask("cancel", execution).code == 0


def test_an_allowed_parameter_overrides_the_file(ask: Cli) -> None:
    answer = ask("trigger", "greet", "--wait", "--param", "shell=echo other")
    assert (answer.code, answer.out) == (0, "other\n"), answer.err
    [execution] = ask("history", "greet", "-n", "1", "-o", "json").json["executions"]
    assert execution["trigger"]["parameters"] == {"shell": "echo other"}
    assert 'with shell="echo other"' in ask("history", "greet", "-n", "1").out


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["trigger", "nobody"], 1, "nobody"),
        (["trigger", "off"], 1, "off is disabled"),
        (["trigger", "fail", "--param", "shell=true"], 1, "shell may not be set by hand"),
        (["trigger", "greet", "--param", "shell=[1]"], 1, "shell: expected text, found a list"),
        (["trigger", "greet", "--dry-run"], 1, "cannot run dry"),
        (["trigger", "greet", "--token", "wrong"], 2, "the daemon refuses access"),
        (["logs", "nobody"], 1, "nobody"),
        (["logs", "01978f3a-1c5d-7abc-8def-0123456789ab"], 1, "no execution"),
        (["history", "nobody"], 1, "nobody"),
        (["apply"], 2, "the store is in use by process"),
        (["restore", "x.db"], 1, "there is no file x.db"),
    ],
)
def test_a_no_of_the_daemon_is_said_in_its_words(
    arguments: list[str], code: int, said: str, ask: Cli
) -> None:
    answer = ask(*arguments)
    assert answer.code == code
    assert said.lower() in answer.err.lower()
    assert answer.err.startswith("error: ")
    assert "Traceback" not in answer.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["pause", "--for", "xx"], "--for: expected a duration such as 30s, 5m, 1h30m or"),
        (["suspend", "off", "--until", "soon"], "--until: Input should be a valid datetime"),
        (["backfill", "greet", "--from", "x", "--to", "2026-01-01T00:00Z"], "--from: Input"),
    ],
)
def test_a_value_that_the_daemon_cannot_read_is_named_by_its_flag(
    arguments: list[str], said: str, ask: Cli
) -> None:
    answer = ask(*arguments)
    assert answer.code == 2
    assert answer.err.startswith(f"error: {said}")
    assert "openapi" not in answer.err


def test_without_a_token_writing_is_refused_and_reading_is_not(ask: Cli, tmp_path: Path) -> None:
    elsewhere = ("--state-dir", str(tmp_path / "elsewhere"))
    refused = ask("trigger", "greet", *elsewhere)
    assert refused.code == 2
    assert "no token was found" in refused.err
    assert ask("jobs", *elsewhere).code == 0


@pytest.mark.parametrize("arguments", [["status"], ["jobs"], ["changes"], ["status", "greet"]])
def test_what_is_shown_fits_eighty_columns_and_is_json_on_request(
    arguments: list[str], ask: Cli
) -> None:
    answer = ask(*arguments)
    assert answer.code == 0
    assert answer.err == ""
    assert answer.widest <= 80
    assert json.loads(ask(*arguments, "-o", "json").out)


def test_jobs_can_be_filtered(ask: Cli) -> None:
    disabled = ask("jobs", "--state", "disabled", "-o", "json").json["jobs"]
    assert [each["jobId"] for each in disabled] == ["off"]
    assert ask("jobs", "-q", "nothing-like-it").out == "no job matches\n"


def test_a_commit_is_applied_on_request(ask: Cli, daemon: Running) -> None:
    daemon.repo.write({"jobs.d/late.yaml": JOBS["jobs.d/greet.yaml"].replace("greet", "late")})
    revision = daemon.repo.commit("Add late")
    answer = ask("reconcile")
    assert answer.code == 0
    assert revision[:12] in answer.out
    assert ask("status", "late").code == 0


def test_tokens_are_made_beside_the_daemon_and_work_at_once(ask: Cli) -> None:
    made = ask("token", "create", f"ci-{time.monotonic_ns()}", "--role", "operator")
    assert made.code == 0, made.err
    assert ask("reconcile", "--token", made.out.strip()).code == 0


def test_a_backup_is_made_beside_the_daemon(ask: Cli, tmp_path: Path) -> None:
    answer = ask("backup", str(tmp_path / "copy.db"))
    assert answer.code == 0, answer.err
    assert "jobs" in answer.out


def test_gc_is_done_by_the_daemon_that_has_the_store(ask: Cli, daemon: Running) -> None:
    gone = daemon.state / "runs" / "gone" / "1"
    gone.mkdir(parents=True)
    (gone / "output").write_text("long ago\n")
    long_ago = time.time() - 30 * 86_400
    for path in (gone / "output", gone, gone.parent):
        os.utime(path, (long_ago, long_ago))
    would = ask("gc", "--dry-run", "-o", "json", "--keep-output", "60d")
    assert would.err == "the daemon goes by its own --keep settings\n"
    assert (would.code, would.json["outputs"], gone.exists()) == (0, 1, True), would.err
    swept = ask("gc", "-o", "json", "--keep-output", "30d")
    assert (swept.code, swept.json) == (0, {**would.json, "dryRun": False}), swept.err
    assert swept.err == "the daemon goes by its own --keep settings\n"
    assert not gone.exists()
    refused = ask("gc", "--token", "wrong")
    assert (refused.code, "refuses access" in refused.err) == (2, True)


def test_doctor_finds_the_daemon(ask: Cli, daemon: Running) -> None:
    answer = ask("doctor", "--listen", f"127.0.0.1:{daemon.port}")
    assert answer.code == 0, answer.out
    assert "a daemon answers at" in answer.out


def test_whoever_waits_for_a_run_outlives_a_daemon_that_is_killed(tmp_path: Path) -> None:
    made = Running(tmp_path)
    script = f"echo begun; until [ -e {tmp_path}/go ]; do sleep 0.1; done; echo ended"
    made.repo.write(
        {
            "jobs.d/long.yaml": "meta: {id: long}\npayload:\n  jobType: command\n"
            f"  parameters: {{shell: '{script}'}}\n"
        }
    ).commit("Add long")
    try:
        made.start()
        waiting = subprocess.Popen(
            made.command("trigger", "long", "--wait", "--server", made.url),
            env={**made.environment(), "JOBRECONCILER_STATE_DIR": str(made.state)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert waiting.stdout is not None
        assert waiting.stdout.readline() == "begun\n"
        made.kill()
        made.start()
        (tmp_path / "go").touch()
        out, err = waiting.communicate(timeout=60)
    finally:
        made.close()
    assert (waiting.returncode, out) == (0, "ended\n"), err
