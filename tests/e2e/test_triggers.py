"""Webhooks, dependencies, retries, cancelling and backfills on a real daemon."""

from __future__ import annotations

import hashlib
import hmac
import json
import time
import urllib.error
import urllib.request
from contextlib import suppress
from itertools import pairwise
from typing import Any

from .running import Running, until
from .test_daemon import script

SECRET = "s3cret"


def hooked(job_id: str, **more: str) -> str:
    extra = "".join(f"  {key}: {value}\n" for key, value in more.items())
    return (
        script(job_id, "echo ran") + "  webhook: {secret: {file: hook}, scheme: github}\n" + extra
    )


def send(
    daemon: Running, job_id: str, body: bytes, *, secret: str = SECRET, delivery: str | None = None
) -> tuple[int, Any]:
    signed = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    request = urllib.request.Request(f"{daemon.url}/hooks/jobs/{job_id}", data=body, method="POST")
    request.add_header("X-Hub-Signature-256", f"sha256={signed}")
    request.add_header("Content-Type", "application/json")
    if delivery is not None:
        request.add_header("X-GitHub-Delivery", delivery)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.loads(error.read())


def ended(daemon: Running, job_id: str, count: int = 1) -> list[dict[str, Any]]:
    return until(
        lambda: (
            found
            if len(found := daemon.executions(job_id)) >= count
            and all(each["finishedAt"] for each in found)
            else None
        ),
        f"{count} ended executions of {job_id}; it said:\n{daemon.said()}",
    )


def with_secret(daemon: Running) -> str:
    secrets = daemon.path / "secrets"
    secrets.mkdir()
    (secrets / "hook").write_text(SECRET + "\n")
    return str(secrets)


def refused_while_sending(daemon: Running) -> int:
    """The answer to a body that is too large. It may come, and the connection end, while the body
    is still being sent: then this client sees a broken pipe instead and has to ask again."""
    for _ in range(20):
        with suppress(urllib.error.URLError, ConnectionError):
            return send(daemon, "hook", b"x" * (1024 * 1024 + 1))[0]
    raise AssertionError("no answer at all to a body that is too large")


def test_a_signed_request_starts_a_job_once_also_across_a_kill(daemon: Running) -> None:
    daemon.repo.write(
        {
            "jobs.d/hook.yaml": hooked("hook"),
            "jobs.d/off.yaml": hooked("off", isEnabled="false"),
            "jobs.d/plain.yaml": script("plain", "true"),
        }
    )
    daemon.repo.commit("Hooks")
    secrets = with_secret(daemon)
    daemon.start("--secrets-dir", secrets)
    status, first = send(daemon, "hook", b"{}", delivery="d1")
    assert status == 202
    assert send(daemon, "hook", b'{"other": 1}', delivery="d1") == (200, first)
    assert send(daemon, "hook", b"{}", delivery="d2") == (200, first)
    (run,) = ended(daemon, "hook")
    assert (run["id"], run["status"]) == (first["executionId"], "succeeded")
    assert (run["trigger"]["type"], run["trigger"]["deliveryId"]) == ("webhook", "d1")

    wrong = [
        send(daemon, "hook", b"{}", secret="wrong"),
        send(daemon, "nobody", b"{}"),
        send(daemon, "plain", b"{}"),
        send(daemon, "UPPER", b"{}"),
    ]
    assert {status for status, _ in wrong} == {401}
    assert len({json.dumps(body) for _, body in wrong}) == 1, "nothing tells them apart"
    status, problem = send(daemon, "off", b"{}")
    assert (status, problem["reason"]) == (409, "JobDisabled")
    assert refused_while_sending(daemon) == 413

    daemon.kill()
    daemon.start("--secrets-dir", secrets)
    assert send(daemon, "hook", b"{}", delivery="d3") == (200, first)
    assert send(daemon, "hook", b'{"n": 2}', delivery="d4")[0] == 202
    ended(daemon, "hook", 2)
    assert SECRET not in daemon.said()


def test_jobs_follow_those_they_wait_for_also_across_a_kill(daemon: Running) -> None:
    def waits(job_id: str, words: str) -> str:
        return script(job_id, "true") + f"  dependency: {{{words}}}\n"

    daemon.repo.write(
        {
            "jobs.d/a.yaml": script("a", "true"),
            "jobs.d/b.yaml": script("b", "test ! -e $HOME/broken"),
            "jobs.d/both.yaml": waits("both", "jobs: [a, b]"),
            "jobs.d/failed.yaml": waits("failed", "jobs: [a, b], on: failure, mode: any"),
        }
    )
    daemon.repo.commit("Wait")
    daemon.start()
    daemon.post("/api/v1/jobs/a/trigger")
    (a,) = ended(daemon, "a")
    assert daemon.executions("both") == []
    daemon.kill()
    daemon.start()
    daemon.post("/api/v1/jobs/b/trigger")
    (b,) = ended(daemon, "b")
    (both,) = ended(daemon, "both")
    assert both["trigger"]["type"] == "dependency"
    assert both["trigger"]["upstream"] == [a["id"], b["id"]]
    daemon.kill()
    daemon.start()

    daemon.post("/api/v1/jobs/a/trigger")
    ended(daemon, "a", 2)
    (daemon.path / "broken").touch()
    daemon.post("/api/v1/jobs/b/trigger")
    broken = ended(daemon, "b", 2)[0]
    assert broken["status"] == "failed"
    skipped, _ = ended(daemon, "both", 2)
    assert (skipped["status"], skipped["error"]) == ("skipped", "upstream_failed")
    (on_failure,) = ended(daemon, "failed")
    assert on_failure["trigger"]["upstream"] == [broken["id"]]


def test_cancel_retry_and_backfill(daemon: Running) -> None:
    daemon.repo.write(
        {
            "jobs.d/long.yaml": script("long", "sleep 600"),
            "jobs.d/daily.yaml": script("daily", "echo $JOBRECONCILER_SLOT", cron="0 0 * * *"),
        }
    )
    daemon.repo.commit("Operate")
    daemon.start()
    _, long = daemon.post("/api/v1/jobs/long/trigger")
    until(lambda: daemon.executions("long")[0]["status"] == "running", "long to run")
    done = daemon.cli("cancel", long["id"], "--reason", "enough")
    assert done.returncode == 0, done.stderr
    (run,) = ended(daemon, "long")
    assert run["status"] == "cancelled"
    assert run["error"].startswith("cancelled by") and run["error"].endswith(": enough")
    again = daemon.cli("cancel", long["id"])
    assert again.returncode == 1 and "has ended" in again.stderr

    today = int(time.time()) // 86400 * 86400
    first, last = (
        time.strftime("%Y-%m-%dT00:00:00Z", time.gmtime(today - back * 86400)) for back in (4, 2)
    )
    filled = daemon.cli("backfill", "daily", "--from", first, "--to", last, "-o", "json")
    assert filled.returncode == 0, filled.stderr
    assert len(json.loads(filled.stdout)["executions"]) == 3
    runs = list(reversed(ended(daemon, "daily", 3)))
    assert {each["status"] for each in runs} == {"succeeded"}
    slots = [each["trigger"]["slot"] for each in runs]
    assert slots == sorted(slots)
    assert all(a["finishedAt"] <= b["startedAt"] for a, b in pairwise(runs))
    repeat = json.loads(
        daemon.cli("backfill", "daily", "--from", first, "--to", last, "-o", "json").stdout
    )
    assert (repeat["executions"], len(repeat["ranBefore"])) == ([], 3)

    retried = json.loads(daemon.cli("retry", runs[0]["id"], "--wait", "-o", "json").stdout)
    assert (retried["retryOf"], retried["status"]) == (runs[0]["id"], "succeeded")
    assert retried["trigger"]["slot"] == runs[0]["trigger"]["slot"]
