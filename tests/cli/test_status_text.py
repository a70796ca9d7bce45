from __future__ import annotations

from typing import Any

from cli.api_answers import PAGE, condition, execution, job
from jobreconciler.cli.status_text import status_text, stops_text

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
    lines = status_text(status(suspensions=[stop("tag"), paused]), PAGE).splitlines()
    assert lines[:4] == [
        "paused · 3 jobs, 2 enabled, 0 running, 0 waiting",
        "    the fleet is paused by ada (operator) until 2025-06-01T14:00:00Z, in 2h:",
        "    upgrade",
        "    jobs tagged red are suspended by ada (operator) until it is lifted",
    ]


def test_of_many_suspensions_the_first_are_named() -> None:
    text = status_text(status(suspensions=[stop("job")] * 7), PAGE)
    assert text.startswith("all well · ")
    assert text.count("red is suspended by ada") == 5
    assert "2 other suspensions: `jobreconciler jobs --state suspended` lists the jobs" in text


def test_late_and_overrunning_jobs_are_counted_as_what_is_wrong() -> None:
    text = status_text(status(late=2, overrunning=1), PAGE)
    assert text.startswith("2 late, 1 overrunning · 3 jobs")


def test_what_hinders_the_daemon_comes_first_and_uncommitted_edits_last() -> None:
    edited = [f"jobs.d/{name}.yaml" for name in "abcdefg"]
    text = status_text(
        status(warnings=["the daemon is not ready: slots wait"], uncommitted=edited), PAGE
    )
    lines = text.splitlines()
    assert lines[0].startswith("1 warning · ")
    assert "warning: the daemon is not ready: slots wait" in lines
    assert lines[-2].startswith("not committed, so not applied: jobs.d/a.yaml, ")
    assert lines[-1].endswith(" and 2 others")


def test_a_healthy_fleet_is_said_in_its_first_line() -> None:
    assert status_text(status(), PAGE).splitlines() == [
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
    text = status_text(
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
    text = status_text(status(source=trouble), PAGE)
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
    text = status_text(status(source=trouble, counts={**COUNTS, "failing": 1}), PAGE)
    assert text.startswith("1 failing, the source needs attention · ")
    assert text.count("no ref") == 1


def test_what_the_prune_guard_holds_is_explained_once_and_not_under_each_job() -> None:
    held = {**condition("Held", "True", "too many at once"), "reason": "PruneBlocked"}
    blocked = condition("PruneBlocked", "True", "the commit deletes 7 of 7 jobs")
    text = status_text(
        status(
            attention=[job(conditions=[held]), job("other", conditions=[held])],
            source={**SOURCE, "conditions": [blocked]},
        ),
        PAGE,
    )
    assert "too many at once" not in text
    assert text.count("the commit deletes 7 of 7 jobs") == 1


def test_invalid_files_come_with_the_command_that_lists_their_mistakes() -> None:
    text = status_text(status(counts={**COUNTS, "invalidFiles": 1}), PAGE)
    assert "\n1 invalid file: `jobreconciler validate` lists every mistake\n" in text


def test_before_anything_was_applied_status_says_so() -> None:
    nothing = {"revision": None, "healthy": False, "conditions": []}
    assert "no revision has been applied yet" in status_text(status(source=nothing), PAGE)


def test_stops_say_whom_they_were_for_how_they_ended_and_cannot_drive_the_terminal() -> None:
    past = {"endedAt": "2025-06-01T11:30:00Z", "endedBy": "bob"}
    stops = [
        {**stop("fleet"), "endedAt": None, "endedBy": None},
        {**stop("tag", target="\x1b]0;x\x07"), **past},
        {**stop("owner", target="ops", reason="moving"), **past, "endedBy": None},
    ]
    text = stops_text(stops, PAGE)
    assert text.splitlines() == [
        "the fleet 60m ago",
        "    by ada (operator)",
        "    until it is lifted",
        "jobs tagged  ]0;x  60m ago",
        "    by ada (operator)",
        "    lifted by bob 30m ago, 2025-06-01T11:30:00Z",
        "jobs of ops 60m ago",
        "    by ada (operator): moving",
        "    ended by itself 30m ago, 2025-06-01T11:30:00Z",
    ]
