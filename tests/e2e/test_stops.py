"""Suspending, pausing and live checks, with real daemons: nothing starts, nothing is lost."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from .running import Running, until


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    made = Running(tmp_path)
    yield made
    made.close()


def job(job_id: str, *, cron: str | None = None, argv: str = "[/bin/true]", **extra: Any) -> str:
    lines = [f"meta: {{id: {job_id}, tags: [red]}}", "payload:", "  jobType: command"]
    lines.append(f"  parameters: {{argv: {argv}}}")
    if cron is not None:
        lines.append(f'  schedule: {{cronExpression: "{cron}"}}')
    return "\n".join([*lines, *(f"  {key}: {value}" for key, value in extra.items())]) + "\n"


def declare(running: Running, **files: str) -> None:
    running.repo.write({f"jobs.d/{name}.yaml": text for name, text in files.items()})
    running.repo.commit("jobs")


def statuses(running: Running, job_id: str) -> list[str]:
    return [each["status"] for each in reversed(running.executions(job_id))]


def trigger(running: Running, job_id: str, **body: Any) -> tuple[int, Any]:
    return running.post(f"/api/v1/jobs/{job_id}/trigger", body)


def test_a_suspended_jobs_slots_become_one_row_also_across_a_kill(running: Running) -> None:
    declare(running, ticking=job("ticking", cron="* * * * * *"))
    running.start()
    until(lambda: "succeeded" in statuses(running, "ticking"), "a first run")
    said = running.cli("suspend", "ticking", "--for", "1h", "--reason", "disk full")
    assert said.returncode == 0, said.stderr

    def skipped() -> int:
        rows = [each for each in running.executions("ticking") if each["status"] == "skipped"]
        assert len(rows) <= 1
        assert all(row["missed"]["reason"] == "suspended" for row in rows)
        return sum(row["missed"]["count"] for row in rows)

    until(lambda: skipped() >= 2, "skipped slots")
    before = skipped()
    running.kill()
    running.start()
    until(lambda: skipped() > before, "more skipped slots in the same row")
    seen = running.get("/api/v1/jobs/ticking")
    assert seen["suspension"]["reason"] == "disk full"
    assert [each["type"] for each in seen["conditions"]] == ["Suspended"]
    assert [each["jobId"] for each in running.get("/api/v1/jobs?state=suspended")["jobs"]] == [
        "ticking"
    ]
    metrics = running.get("/metrics", raw=True)
    assert 'job_suspended{job="ticking"} 1' in metrics
    with closing(sqlite3.connect(running.state / "store.db")) as connection:
        query = "SELECT action, hash FROM changelog ORDER BY sequence DESC LIMIT 1"
        action, newest = connection.execute(query).fetchone()
    assert action == "suspended"
    assert f'audit_head_info{{hash="{newest}"}} 1' in metrics
    ran = statuses(running, "ticking").count("succeeded")
    assert running.cli("resume", "ticking").returncode == 0
    assert running.cli("resume", "ticking").returncode == 1
    until(lambda: statuses(running, "ticking").count("succeeded") > ran, "a run afterwards")
    actions = [each["action"] for each in running.get("/api/v1/jobs/ticking/changelog")["changes"]]
    assert actions == ["resumed", "suspended", "created"]


def test_a_pause_refuses_what_is_not_overridden_and_ends_by_itself(running: Running) -> None:
    declare(running, byhand=job("byhand"))
    running.start()
    status, made = running.post("/api/v1/pause", {"for": 20, "reason": "upgrade"})
    assert (status, made["scope"]) == (201, "fleet")
    said = running.cli("status").stdout
    assert said.startswith("paused"), said
    assert "the fleet is paused by " in said and "upgrade" in said
    looked = running.cli("doctor", "-o", "json", "--listen", f"127.0.0.1:{running.port}")
    [check] = [each for each in json.loads(looked.stdout)["checks"] if each["name"] == "pause"]
    assert (check["status"], check["hint"]) == ("warn", "`jobreconciler unpause` lifts it")
    status, problem = trigger(running, "byhand")
    assert (status, problem["reason"]) == (409, "Suspended")
    assert "`jobreconciler trigger byhand --override`" in problem["hint"]
    status, execution = trigger(running, "byhand", override=True, reason="now")
    assert status == 202
    assert execution["trigger"]["reason"].startswith("now; in spite of: the fleet is paused")
    until(lambda: statuses(running, "byhand") == ["succeeded"], "the overriding run")
    running.post("/api/v1/pause", {"for": 2})
    until(lambda: trigger(running, "byhand")[0] == 202, "the pause to end by itself")
    running.post("/api/v1/suspensions", {"tag": "red", "reason": "too hot"})
    running.post("/api/v1/suspensions/lift", {"tag": "red"})
    listed = running.get("/api/v1/suspensions?all=1&limit=2")
    tag, second = listed["suspensions"]
    assert (tag["target"], tag["reason"], tag["endedBy"]) == ("red", "too hot", "operator")
    assert (second["endedAt"], second["endedBy"]) == (second["until"], None)
    [first] = running.get(f"/api/v1/suspensions?all=1&cursor={listed['nextCursor']}")["suspensions"]
    assert (first["reason"], first["endedBy"]) == ("upgrade", "operator")
    assert running.get("/api/v1/suspensions") == {"suspensions": []}
    said = running.cli("changes", "--stops").stdout
    assert said.startswith("jobs tagged red ") and said.count("lifted by operator") == 2
    assert "ended by itself" in said
    until(lambda: statuses(running, "byhand") == ["succeeded"] * 2, "a run after the pause")


def test_what_waits_starts_when_the_suspension_of_its_tag_is_lifted(running: Running) -> None:
    declare(running, slow=job("slow", argv="[/bin/sleep, '2']"))
    running.start()
    trigger(running, "slow")
    until(lambda: statuses(running, "slow") == ["running"], "the first to run")
    trigger(running, "slow")
    assert running.post("/api/v1/suspensions", {"tag": "red"})[0] == 201
    until(lambda: statuses(running, "slow") == ["succeeded", "queued"], "what runs to go on")
    assert running.post("/api/v1/suspensions/lift", {"tag": "red"})[1] == {"lifted": 1}
    until(lambda: statuses(running, "slow") == ["succeeded"] * 2, "what waited to run")


def test_what_waits_is_cancelled_when_its_job_is_disabled_and_what_runs_ends(
    running: Running,
) -> None:
    declare(running, slow=job("slow", argv="[/bin/sleep, '3']"))
    running.start()
    trigger(running, "slow")
    until(lambda: statuses(running, "slow") == ["running"], "the first to run")
    trigger(running, "slow")
    declare(running, slow=job("slow", argv="[/bin/sleep, '3']", isEnabled="false"))
    running.post("/api/v1/prune-approvals", {"revision": running.repo.git("rev-parse", "HEAD")})
    until(lambda: statuses(running, "slow") == ["succeeded", "cancelled"], "one end each")
    assert "disabled" in running.executions("slow")[0]["error"]


def test_a_group_runs_one_at_a_time_and_holds_up_nobody_else(running: Running) -> None:
    slow, group = "[/bin/sleep, '2']", "{concurrencyGroup: database}"
    declare(
        running,
        first=job("first", argv=slow, limits=group),
        second=job("second", argv=slow, limits=group),
        other=job("other"),
    )
    running.start()
    for name in ("first", "second", "other"):
        trigger(running, name)
    until(lambda: statuses(running, "other") == ["succeeded"], "the one of no group")
    assert statuses(running, "second") == ["queued"]
    until(lambda: statuses(running, "second") == ["succeeded"], "the second of the group")
    first, second = (running.executions(name)[0] for name in ("first", "second"))
    assert second["startedAt"] >= first["finishedAt"]


def test_a_slot_that_waits_past_its_deadline_is_missed(running: Running) -> None:
    schedule = '{cronExpression: "* * * * * *", startingDeadlineSeconds: 1}'
    declare(
        running,
        late=job(
            "late",
            argv="[/bin/sleep, '4']",
            schedule=schedule,
            limits="{overlap: queue}",
        ),
    )
    running.start()

    def missed() -> list[Any]:
        rows = [each["missed"] for each in running.executions("late") if each["missed"]]
        return [row for row in rows if row["reason"] == "deadline_exceeded"]

    # Newer slots take the place of the waiting one; once they stop coming, it is too old.
    until(lambda: statuses(running, "late").count("cancelled") >= 1, "a newer slot to replace one")
    running.post("/api/v1/jobs/late/suspend", {"for": 20})
    until(lambda: "running" not in statuses(running, "late"), "the run to end")
    running.post("/api/v1/jobs/late/resume")
    until(missed, "the slot that waited too long")


def test_a_late_job_is_listed_and_counted(running: Running) -> None:
    declare(
        running,
        rare=job("rare", expect="{successWithin: 1s}"),
        slow=job("slow", argv="[/bin/sleep, '30']", expect="{runtimeWithin: 1s}"),
    )
    running.start()
    _, slow = trigger(running, "slow")
    until(lambda: running.get("/api/v1/jobs?state=late")["jobs"], "it to be late")
    until(lambda: running.get("/api/v1/jobs?state=overrunning")["jobs"], "another to overrun")
    assert running.cli("status").stdout.startswith("1 late, 1 overrunning")
    running.post(f"/api/v1/executions/{slow['id']}/cancel")
    assert 'job_late{job="rare"} 1' in running.get("/metrics", raw=True)
    trigger(running, "rare")
