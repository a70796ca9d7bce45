from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from jobreconciler.cli import tables
from jobreconciler.cli.output import Page

NOW = datetime(2025, 6, 1, 12, 0, tzinfo=UTC)
PAGE = Page(NOW)
ID = "01978f3a-1c5d-7abc-8def-0123456789ab"


def execution(status: str = "succeeded", **more: Any) -> dict[str, Any]:
    return {
        "id": ID,
        "jobId": "nightly-report",
        "status": status,
        "trigger": {
            "type": "schedule",
            "slot": "2025-06-01T02:00:00Z",
            "actor": None,
            "reason": None,
            "deliveryId": None,
            "upstream": [],
            "parameters": {},
        },
        "retryOf": None,
        "missed": None,
        "revision": "a" * 40,
        "generation": 3,
        "configDigest": "d" * 64,
        "queuedAt": "2025-06-01T11:50:00Z",
        "notBefore": None,
        "waitsFor": None,
        "startedAt": "2025-06-01T11:50:01Z",
        "finishedAt": "2025-06-01T11:52:13Z",
        "exitCode": 0,
        "signal": None,
        "error": None,
        "attempts": [{"number": 1}],
        "progress": None,
        "metrics": {},
        "result": None,
        "dryRun": False,
        **more,
    }


def job(job_id: str = "nightly-report", **more: Any) -> dict[str, Any]:
    return {
        "jobId": job_id,
        "config": {
            "meta": {"id": job_id, "title": "The nightly report", "owner": "team-data"},
            "payload": {
                "jobType": "command",
                "isEnabled": True,
                "schedule": {"cronExpression": "0 2 * * *", "timezone": "Europe/Berlin"},
            },
        },
        "generation": 3,
        "observedGeneration": 3,
        "revision": "a" * 40,
        "file": f"jobs.d/{job_id}.yaml",
        "conditions": [],
        "lastExecution": execution(),
        "nextSlot": "2025-06-02T00:00:00Z",
        "suspension": None,
        "deletedAt": None,
        **more,
    }


def condition(type_: str, status: str, message: str = "") -> dict[str, Any]:
    return {
        "type": type_,
        "status": status,
        "reason": "Because",
        "message": message,
        "since": "2025-06-01T11:00:00Z",
    }


SOURCE = {
    "revision": "a" * 40,
    "observedRevision": "a" * 40,
    "environment": None,
    "author": "Ada",
    "message": "Add the nightly report",
    "committedAt": "2025-06-01T11:00:00+02:00",
    "lastSuccessAt": "2025-06-01T11:59:30Z",
    "healthy": True,
    "conditions": [condition("Ready", "True"), condition("Stalled", "False")],
}
COUNTS = {
    "jobs": 3,
    "enabled": 2,
    "disabled": 1,
    "suspended": 0,
    "held": 0,
    "failing": 0,
    "running": 0,
    "queued": 0,
    "invalidFiles": 0,
}


def test_executions_show_a_line_each_and_the_whole_id() -> None:
    assert tables.executions_text([execution()], PAGE).splitlines() == [
        "execution                             status     trigger   when      took",
        f"{ID}  succeeded  schedule  9m ago  2m 12s",
    ]


def test_the_widest_execution_fits_eighty_columns() -> None:
    widest = execution("timed_out", dryRun=True)
    widest["trigger"]["type"] = "dependency"
    text = tables.executions_text([widest], PAGE)
    assert max(map(len, text.splitlines())) <= 80
    assert ID in text


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (execution(), ""),
        (execution(dryRun=True), "dry run"),
        (execution("failed", exitCode=2), "exit code 2"),
        (execution("failed", exitCode=None, signal=9), "ended by signal 9"),
        (execution("failed", exitCode=1, error="no such table"), "no such table"),
        (execution("failed", exitCode=1, attempts=[{}, {}, {}]), "exit code 1 · 3 attempts"),
        (
            execution("queued", waitsFor="its group db, 1 at once"),
            "waits for its group db, 1 at once",
        ),
        (
            execution("running", progress={"done": 1200, "total": 5000}),
            "1,200 of 5,000 items",
        ),
        (
            execution(
                "missed",
                missed={
                    "from": "2025-05-25T02:00:00Z",
                    "to": "2025-05-31T02:00:00Z",
                    "count": 7,
                    "reason": "the daemon was down",
                },
            ),
            "7 slots (2025-05-25T02:00:00Z to 2025-05-31T02:00:00Z): the daemon was down",
        ),
    ],
)
def test_what_there_is_to_say_about_an_execution(given: dict[str, Any], said: str) -> None:
    assert tables.why(given) == said


def test_a_manual_run_names_who_started_it_and_why() -> None:
    manual = execution()
    manual["trigger"] |= {"type": "manual", "actor": "ada (operator)", "reason": "late data"}
    assert tables.why(manual) == "by ada (operator): late data"


def test_parameters_that_a_trigger_set_are_named_and_long_ones_cut() -> None:
    hook = execution()
    hook["trigger"]["parameters"] = {"limits.batchSize": 5, "text": "x" * 5000}
    assert tables.why(hook) == f'with limits.batchSize=5, text="{"x" * 38}…'


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (execution(), "2m 12s"),
        (execution("running", finishedAt=None), "9m 59s"),
        (execution("queued", startedAt=None, finishedAt=None), "-"),
        (execution("queued", finishedAt=None), "-"),
        (execution("skipped", startedAt=None), "-"),
    ],
)
def test_how_long_an_execution_took(given: dict[str, Any], said: str) -> None:
    assert tables.took(given, NOW) == said


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (job(), "enabled"),
        (job(conditions=[condition("Held", "True")]), "held"),
        (job(conditions=[condition("Held", "False")]), "enabled"),
        (job(conditions=[condition("Late", "True"), condition("Held", "True")]), "held"),
        (job(deletedAt="2025-05-01T00:00:00Z", conditions=[condition("Held", "True")]), "deleted"),
    ],
)
def test_the_word_that_matters_most_about_a_job(given: dict[str, Any], said: str) -> None:
    assert tables.state_cell(given).text == said


def test_jobs_fit_eighty_columns_whatever_their_names() -> None:
    long = job("x" * 63)
    long["config"]["payload"]["jobType"] = "signal-aggregation-all"
    text = tables.jobs_text([job(), long, job("new", lastExecution=None, nextSlot=None)], PAGE)
    head, first, second, third = text.splitlines()
    assert head.split() == ["job", "type", "state", "last", "run", "when", "next"]
    assert first.split() == [
        "nightly-report",
        "command",
        "enabled",
        "succeeded",
        "7m",
        "ago",
        "in",
        "12h",
    ]
    assert max(map(len, text.splitlines())) <= 80
    assert "…" in second
    assert third.split() == ["new", "command", "enabled", "-", "-", "-"]


def test_one_job_shows_its_schedule_its_revision_and_what_is_wrong() -> None:
    held = job(conditions=[condition("Held", "True", "jobs.d/nightly-report.yaml:4:3: bad cron")])
    text = tables.job_text(held, [execution("failed", exitCode=2)], PAGE)
    assert "schedule  0 2 * * * (Europe/Berlin)" in text
    assert "next run  in 12h (2025-06-02T00:00:00Z)" in text
    assert "revision  aaaaaaaaaaaa, generation 3" in text
    assert "Held (Because), 60m ago\n  jobs.d/nightly-report.yaml:4:3: bad cron" in text
    assert text.endswith("    exit code 2")


def status(**more: Any) -> dict[str, Any]:
    lists = ("attention", "running", "suspensions", "warnings", "uncommitted")
    empty: dict[str, Any] = {name: [] for name in lists}
    return {"counts": COUNTS, "source": SOURCE, "late": 0, "overrunning": 0, **empty, **more}


def stop(scope: str, **more: Any) -> dict[str, Any]:
    return {
        "id": 1,
        "scope": scope,
        "target": None if scope == "fleet" else "red",
        "actor": "ada (operator)",
        "reason": None,
        "since": "2025-06-01T11:00:00Z",
        "until": None,
        **more,
    }


def test_a_pause_is_said_first_with_who_until_when_and_why() -> None:
    paused = stop("fleet", until="2025-06-01T14:00:00Z", reason="upgrade")
    lines = tables.status_text(status(suspensions=[stop("tag"), paused]), PAGE).splitlines()
    assert lines[:4] == [
        "paused · 3 jobs, 2 enabled, 0 running, 0 waiting",
        "    the fleet is paused by ada (operator) until 2025-06-01T14:00:00Z, in 2h:",
        "    upgrade",
        "    jobs tagged red are suspended by ada (operator) until it is lifted",
    ]


def test_of_many_suspensions_the_first_are_named() -> None:
    text = tables.status_text(status(suspensions=[stop("job")] * 7), PAGE)
    assert text.startswith("all well · ")
    assert text.count("red is suspended by ada") == 5
    assert "2 other suspensions: `jobreconciler jobs --state suspended` lists the jobs" in text


def test_late_and_overrunning_jobs_are_counted_as_what_is_wrong() -> None:
    text = tables.status_text(status(late=2, overrunning=1), PAGE)
    assert text.startswith("2 late, 1 overrunning · 3 jobs")


def test_what_hinders_the_daemon_comes_first_and_uncommitted_edits_last() -> None:
    edited = [f"jobs.d/{name}.yaml" for name in "abcdefg"]
    text = tables.status_text(
        status(warnings=["the daemon is not ready: slots wait"], uncommitted=edited), PAGE
    )
    lines = text.splitlines()
    assert lines[0].startswith("1 warning · ")
    assert "warning: the daemon is not ready: slots wait" in lines
    assert lines[-2].startswith("not committed, so not applied: jobs.d/a.yaml, ")
    assert lines[-1].endswith(" and 2 others")


def test_a_healthy_fleet_is_said_in_its_first_line() -> None:
    assert tables.status_text(status(), PAGE).splitlines() == [
        "all well · 3 jobs, 2 enabled, 0 running, 0 waiting",
        "",
        "Source",
        "revision  aaaaaaaaaaaa Add the nightly report",
        "author    Ada, 3h ago",
        "checked   30s ago",
    ]


def test_what_failed_comes_before_what_runs_and_before_the_source() -> None:
    failed = job(lastExecution=execution("failed", exitCode=2))
    running = job("slow", lastExecution=execution("running", finishedAt=None))
    text = tables.status_text(
        status(
            counts={**COUNTS, "failing": 1, "running": 1, "invalidFiles": 2},
            attention=[failed],
            running=[running],
        ),
        PAGE,
    )
    lines = text.splitlines()
    assert lines[0] == ("1 failing, 2 invalid files · 3 jobs, 2 enabled, 1 running, 0 waiting")
    order = [lines.index(title) for title in ("Needs attention", "Running", "Source")]
    assert order == sorted(order)
    assert "    exit code 2" in lines
    assert max(map(len, lines)) <= 80


def test_a_source_in_trouble_is_said_with_its_condition() -> None:
    trouble = {
        **SOURCE,
        "healthy": False,
        "observedRevision": "b" * 40,
        "conditions": [condition("SourceReady", "False", "the remote does not answer")],
    }
    text = tables.status_text(status(source=trouble), PAGE)
    assert text.startswith("the source needs attention · ")
    assert "seen      bbbbbbbbbbbb, not applied" in text
    assert "not SourceReady (Because), 60m ago\n  the remote does not answer" in text


def test_one_fault_is_said_once_and_shows_beside_failing_jobs() -> None:
    conditions = [
        condition("Ready", "False", "the last good revision keeps running: no ref"),
        condition("SourceReady", "False", "no ref"),
        condition("Stalled", "True", "no ref"),
    ]
    trouble = {**SOURCE, "healthy": False, "conditions": conditions}
    text = tables.status_text(status(source=trouble, counts={**COUNTS, "failing": 1}), PAGE)
    assert text.startswith("1 failing, the source needs attention · ")
    assert text.count("no ref") == 1


def test_what_the_prune_guard_holds_is_explained_once_and_not_under_each_job() -> None:
    held = {**condition("Held", "True", "too many at once"), "reason": "PruneBlocked"}
    blocked = condition("PruneBlocked", "True", "the commit deletes 7 of 7 jobs")
    text = tables.status_text(
        status(
            attention=[job(conditions=[held]), job("other", conditions=[held])],
            source={**SOURCE, "conditions": [blocked]},
        ),
        PAGE,
    )
    assert "too many at once" not in text
    assert text.count("the commit deletes 7 of 7 jobs") == 1


def test_invalid_files_come_with_the_command_that_lists_their_mistakes() -> None:
    text = tables.status_text(status(counts={**COUNTS, "invalidFiles": 1}), PAGE)
    assert "\n1 invalid file: `jobreconciler validate` lists every mistake\n" in text


def test_before_anything_was_applied_status_says_so() -> None:
    nothing = {"revision": None, "healthy": False, "conditions": []}
    assert "no revision has been applied yet" in tables.status_text(status(source=nothing), PAGE)


def change(**more: Any) -> dict[str, Any]:
    return {
        "sequence": 7,
        "jobId": "nightly-report",
        "action": "updated",
        "generation": 4,
        "file": "jobs.d/nightly-report.yaml",
        "revision": "a" * 40,
        "commits": ["a" * 40],
        "author": {"name": "Ada", "email": "ada@example.org", "at": "2025-06-01T11:00:00Z"},
        "committer": {},
        "message": "Run later\n\nBecause the data is late.",
        "pullRequest": "#12",
        "reviewers": [],
        "signature": None,
        "fields": [
            {"path": "payload.schedule.cronExpression", "old": "0 2 * * *", "new": "0 3 * * *"}
        ],
        "appliedAt": "2025-06-01T11:58:00Z",
        "actor": "reconcile",
        "instance": "box",
        "hash": "h",
        "previousHash": "p",
        **more,
    }


def test_a_change_names_the_commit_the_author_and_each_field() -> None:
    assert tables.changes_text([change()], PAGE).splitlines() == [
        "#7 updated nightly-report 2m ago",
        "  aaaaaaaaaaaa · Ada · pull request #12 · Run later",
        "  payload.schedule.cronExpression: 0 2 * * * → 0 3 * * *",
    ]


def test_long_values_stand_below_each_other_within_the_width() -> None:
    fields = [{"path": "payload.parameters.shell", "old": "x" * 90, "new": None}]
    lines = tables.changes_text([change(fields=fields)], PAGE).splitlines()
    assert lines[2] == "  payload.parameters.shell:"
    assert lines[3].startswith("    - xxx") and lines[3].endswith("…")
    assert lines[4] == "    + -"
    assert max(map(len, lines)) <= 80


def test_a_created_job_is_not_spelled_out_field_by_field() -> None:
    created = change(action="created", fields=[{"path": "meta", "old": None, "new": {"id": "a"}}])
    assert len(tables.changes_text([created], PAGE).splitlines()) == 2


def test_a_deleted_job_is_not_spelled_out_either() -> None:
    deleted = change(action="deleted", fields=[{"path": "meta", "old": {"id": "a"}, "new": None}])
    assert len(tables.changes_text([deleted], PAGE).splitlines()) == 2


def test_a_moved_job_says_where_it_is_now() -> None:
    moved = change(action="moved", file="jobs.d/reports/nightly.yaml", fields=[])
    assert tables.changes_text([moved], PAGE).endswith("\n  to jobs.d/reports/nightly.yaml")


def test_a_commit_message_cannot_drive_the_terminal() -> None:
    nasty = change(message="\x1b]0;owned\x07 hello", jobId="a")
    assert "\x1b" not in tables.changes_text([nasty], PAGE)
