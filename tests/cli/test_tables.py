from __future__ import annotations

from typing import Any

import pytest

from cli.api_answers import ID, NOW, PAGE, condition, execution, job
from jobreconciler.cli import tables


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


def test_an_id_that_other_commands_want_is_not_cut_before_its_type() -> None:
    rows = [job("signal-aggregation-30d"), job("signal-aggregation-all")]
    for row in rows:
        row["config"]["payload"]["jobType"] = row["jobId"]
    first, second = tables.jobs_text(rows, PAGE).splitlines()[1:]
    assert first.startswith("signal-aggregation-30d  signal-a")
    assert second.startswith("signal-aggregation-all  signal-a")
    assert max(len(first), len(second)) <= 80


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
        "  payload.schedule.cronExpression  0 2 * * * → 0 3 * * *",
    ]


def test_a_change_that_came_with_later_commits_names_its_own_and_the_one_it_came_with() -> None:
    later = change(commits=["b" * 40, "c" * 40])
    assert tables.changes_text([later], PAGE).splitlines()[1] == (
        "  bbbbbbbbbbbb, applied with aaaaaaaaaaaa · Ada · pull request #12 · Run later"
    )
    by_hand = change(commits=[], message="", author=None, pullRequest=None, actor="ada")
    assert tables.changes_text([by_hand], PAGE).splitlines()[1] == "  aaaaaaaaaaaa · ada"


def test_long_values_stand_below_each_other_within_the_width() -> None:
    fields = [{"path": "payload.parameters.shell", "old": "x" * 90, "new": None}]
    lines = tables.changes_text([change(fields=fields)], PAGE).splitlines()
    assert lines[2] == "  payload.parameters.shell"
    assert lines[3].startswith("    - xxx") and lines[3].endswith("…")
    assert lines[4] == "    + -"
    assert max(map(len, lines)) <= 80


def test_a_created_job_is_not_spelled_out_field_by_field() -> None:
    created = change(action="created", fields=[{"path": "meta", "old": None, "new": {"id": "a"}}])
    assert len(tables.changes_text([created], PAGE).splitlines()) == 2


def test_a_deleted_job_is_not_spelled_out_either() -> None:
    deleted = change(action="deleted", fields=[{"path": "meta", "old": {"id": "a"}, "new": None}])
    assert len(tables.changes_text([deleted], PAGE).splitlines()) == 2


def test_a_stopped_job_says_until_when_and_why_and_a_resumed_one_only_by_whom() -> None:
    stop = {"id": 1, "scope": "job", "target": "a", "actor": "ada", "since": "2025-06-01T11:00:00Z"}
    stop |= {"until": "2025-06-01T14:00:00.838868Z", "reason": "disk is full"}
    by_hand = {"commits": [], "message": "", "author": None, "pullRequest": None, "actor": "ada"}
    fields = [{"path": "suspension", "old": None, "new": stop}]
    suspended = change(action="suspended", fields=fields, **by_hand)
    assert tables.changes_text([suspended], PAGE).splitlines()[1:] == [
        "  aaaaaaaaaaaa · ada",
        "  until 2025-06-01T14:00:00Z: disk is full",
    ]
    fields = [{"path": "suspension", "old": stop, "new": None}]
    resumed = change(action="resumed", fields=fields, **by_hand)
    assert tables.changes_text([resumed], PAGE).splitlines()[1:] == ["  aaaaaaaaaaaa · ada"]


def test_a_moved_job_says_where_it_is_now() -> None:
    moved = change(action="moved", file="jobs.d/reports/nightly.yaml", fields=[])
    assert tables.changes_text([moved], PAGE).endswith("\n  to jobs.d/reports/nightly.yaml")


def test_a_commit_message_cannot_drive_the_terminal() -> None:
    nasty = change(message="\x1b]0;owned\x07 hello", jobId="a")
    assert "\x1b" not in tables.changes_text([nasty], PAGE)


@pytest.mark.parametrize("value", ["short", "long" * 30])
def test_nor_can_a_key_that_a_commit_is_free_to_choose(value: str) -> None:
    fields = [{"path": "payload.parameters.kwargs.\x1b]0;x\x07", "old": 1, "new": value}]
    text = tables.changes_text([change(fields=fields)], PAGE)
    assert "kwargs. ]0;x" in text
    assert "\x1b" not in text


def test_a_job_whose_stored_config_somebody_broke_is_listed_with_the_others() -> None:
    broken = job(config={"meta": {"id": "broken"}, "payload": {}})
    lines = tables.jobs_text([broken, job()], PAGE).splitlines()
    assert lines[1].split()[:3] == ["nightly-report", "-", "enabled"]
    assert lines[2].split()[:3] == ["nightly-report", "command", "enabled"]
    assert "type      -" in tables.job_text(broken, [], PAGE)
