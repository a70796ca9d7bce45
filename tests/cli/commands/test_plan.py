from __future__ import annotations

from typing import Any

import pytest

from cli.calling import Cli, JobFile, valid_job
from cli.commands.plans import NOW, change, plan
from gitrepo import GitRepo
from jobreconciler.cli.output import Page
from jobreconciler.cli.plan_text import COMMENT_LIMIT, code, plan_markdown, plan_text


@pytest.fixture
def feature(repo: GitRepo, job_file: JobFile) -> GitRepo:
    """`main` with jobs a and b; `feature` changes a's schedule, deletes b and adds c."""
    job_file("a")
    job_file("b", valid_job("b", "0 4 * * *"))
    repo.commit("first jobs")
    repo.branch("feature")
    job_file("a", valid_job("a", "*/15 * * * *"))
    job_file("c")
    repo.delete("jobs.d/b.yaml")
    repo.commit("change them")
    return repo


@pytest.mark.usefixtures("feature")
def test_a_plan_against_another_ref_shows_jobs_fields_and_runs_a_day(cli: Cli) -> None:
    answer = cli("plan", "--ref", "feature", "--against", "main")
    assert answer.code == 0
    assert "~ update   a  jobs.d/a.yaml" in answer.out
    assert "payload.schedule.cronExpression  0 2 * * * → */15 * * * *" in answer.out
    assert "96 runs a day, was 1 run" in answer.out
    assert "- delete   b  jobs.d/b.yaml" in answer.out
    assert "+ create   c  jobs.d/c.yaml" in answer.out
    assert answer.out.endswith("1 to create, 1 to update, 1 to delete\n")
    assert answer.widest <= 80


def test_a_plan_names_the_edits_that_it_cannot_see(
    cli: Cli, feature: GitRepo, job_file: JobFile
) -> None:
    assert cli("plan", "--against", "main").err == ""
    job_file("a", valid_job("a", "5 5 * * *"))
    job_file("new")
    answer = cli("plan", "--against", "main")
    assert "5 5 * * *" not in answer.out
    assert answer.err == "not committed, so not in this plan: jobs.d/a.yaml, jobs.d/new.yaml\n"
    assert cli("plan", "--against", "main", "--ref", "feature").err == ""
    assert cli("plan", "--against", "main", "--working-tree").err == ""
    assert feature.path.is_dir()


@pytest.mark.usefixtures("feature")
def test_json_is_the_documented_shape(cli: Cli, feature: GitRepo) -> None:
    answer = cli("plan", "--ref", "feature", "--against", "main", "-o", "json").json
    assert answer["revision"] == feature.head
    assert answer["base"] == feature.git("rev-parse", "main")
    assert answer["summary"] == {
        "create": 1,
        "update": 1,
        "move": 0,
        "delete": 1,
        "hold": 0,
        "unchanged": 0,
    }
    update = answer["changes"][0]
    assert (update["jobId"], update["action"], update["file"]) == ("a", "update", "jobs.d/a.yaml")
    assert update["fields"] == [
        {"path": "payload.schedule.cronExpression", "old": "0 2 * * *", "new": "*/15 * * * *"}
    ]
    assert update["impact"]["runsPerDay"] == {"old": 1.0, "new": 96.0}
    assert answer["errors"] == []


@pytest.mark.usefixtures("feature")
def test_changes_exit_with_three_only_when_asked(cli: Cli) -> None:
    against = ("plan", "--ref", "feature", "--exit-code", "--against")
    assert cli(*against, "main").code == 3
    assert cli(*against, "feature").code == 0


def test_before_anything_is_applied_all_is_to_be_created(
    cli: Cli, repo: GitRepo, job_file: JobFile
) -> None:
    job_file("a")
    repo.commit("a")
    answer = cli("plan", "-o", "json").json
    assert (answer["base"], answer["summary"]["create"]) == (None, 1)
    assert answer["impact"]["after"]["jobs"] == 1


def test_a_plan_against_what_is_applied_counts_what_is_unchanged(
    cli: Cli, repo: GitRepo, job_file: JobFile
) -> None:
    job_file("a")
    job_file("b")
    repo.commit("a and b")
    applied = repo.head
    assert cli("apply").code == 0
    job_file("b", valid_job("b", "0 5 * * *"))
    repo.commit("later")
    answer = cli("plan")
    assert answer.out.endswith("1 to update, 1 unchanged\n")
    assert f"against {applied[:12]}" in answer.out


def test_a_prune_that_an_earlier_commit_allowed_and_another_file_held_is_planned_as_it_happens(
    cli: Cli, repo: GitRepo, job_file: JobFile
) -> None:
    jobs = [f"job-{number}" for number in range(8)]
    for name in jobs:
        job_file(name)
    repo.commit("Eight jobs")
    assert cli("apply").code == 0
    repo.delete(*(f"jobs.d/{name}.yaml" for name in jobs[1:]))
    job_file("nobodys", "meta: [")
    repo.commit("Retire most\n\nAllow-Prune: true\n")
    assert cli("apply", "-o", "json").json["summary"]["delete"] == 0
    job_file("nobodys", valid_job("somebodys"))
    repo.commit("Mend the file that was nobody's")
    planned = cli("plan", "-o", "json").json
    assert (planned["blocked"], planned["summary"]["delete"]) == (None, 7)
    assert cli("apply", "-o", "json").json["summary"]["delete"] == 7


def test_an_invalid_file_holds_its_job_and_exits_with_one(
    cli: Cli, repo: GitRepo, job_file: JobFile
) -> None:
    job_file("a")
    repo.commit("a")
    cli("apply")
    job_file("a", valid_job("a", "0 99 * * *"))
    repo.commit("a mistake")
    answer = cli("plan")
    assert answer.code == 1
    assert "! hold     a  jobs.d/a.yaml" in answer.out
    assert "jobs.d/a.yaml:5:" in answer.out
    assert answer.out.endswith("1 held\n")


def test_a_changed_id_is_asked_about(cli: Cli, repo: GitRepo, job_file: JobFile) -> None:
    job_file("a", valid_job("old-name"))
    job_file("other")
    repo.commit("a")
    repo.branch("feature")
    job_file("a", valid_job("new-name"))
    repo.commit("another id")
    assert "was old-name renamed?" in cli("plan", "--ref", "feature", "--against", "main").out


def test_a_ref_that_is_not_there_is_said(cli: Cli, repo: GitRepo, job_file: JobFile) -> None:
    job_file("a")
    repo.commit("a")
    answer = cli("plan", "--ref", "nowhere")
    assert answer.code == 1
    assert answer.err.startswith("error: ")
    assert "nowhere" in answer.err


@pytest.mark.parametrize(
    ("text", "span"),
    [
        ("plain", "`plain`"),
        ("a|b", "`a\\|b`"),
        ("`x` and ``y``", "``` `x` and ``y`` ```"),
        ("two\nlines", "`two lines`"),
        ("", "` `"),
        ("@team <b>", "`@team <b>`"),
    ],
)
def test_text_of_others_stays_inside_its_code_span(text: str, span: str) -> None:
    assert code(text) == span


def test_markdown_shows_a_table_and_folds_the_details() -> None:
    fields = [{"path": "payload.parameters.shell", "old": "a | b", "new": "`c`"}]
    text = plan_markdown(plan(change("a", "update", fields=fields)))
    assert text.startswith("### jobreconciler plan: 1 to update\n")
    assert "| `~` update | `a` | `jobs.d/a.yaml` |" in text
    assert "<details><summary>update <code>a</code></summary>" in text
    assert "| `payload.parameters.shell` | `a \\| b` | `` `c` `` |" in text


def test_a_comment_never_grows_past_what_a_host_takes() -> None:
    fields = [{"path": f"payload.parameters.x{n}", "old": n, "new": n + 1} for n in range(40)]
    text = plan_markdown(plan(*(change(f"job-{n}", "update", fields=fields) for n in range(100))))
    assert len(text) <= COMMENT_LIMIT + 200
    assert "more: `jobreconciler plan` shows them." in text


def test_values_too_long_for_a_line_stand_below_each_other() -> None:
    fields: list[dict[str, Any]] = [
        {"path": "payload.parameters.shell", "old": "x" * 100, "new": "y" * 100}
    ]
    text = plan_text(plan(change("a", "update", fields=fields)), Page(NOW))
    lines = text.splitlines()
    assert max(map(len, lines)) <= 80
    at = lines.index("    payload.parameters.shell")
    assert lines[at + 1].startswith("      - xxx") and lines[at + 2].startswith("      + yyy")


def test_no_text_of_a_commit_drives_the_terminal_of_whoever_plans() -> None:
    nasty = "\x1b]0;x\x07"
    fields = [
        {"path": f"payload.parameters.kwargs.{nasty}", "old": nasty, "new": value}
        for value in (1, "y" * 100)
    ]
    changes = [change("a", "update", fields=fields, file=f"jobs.d/{nasty}.yaml", message=nasty)]
    whole = plan(*changes, change(f"b{nasty}", "delete"))
    assert "\x1b" not in plan_text(whole, Page(NOW))
    assert "\x1b" not in plan_markdown(whole)


def test_what_keeps_a_plan_from_being_applied_stands_last() -> None:
    blocked = {**plan(change("a", "delete")), "blocked": "7 of 9 jobs would be deleted"}
    last = plan_text(blocked, Page(NOW)).splitlines()[-1]
    assert last.startswith("blocked: 7 of 9 jobs would be deleted; ")
    assert "approve-prune" in last


def test_jobs_that_wait_for_approval_say_so_in_three_words_each() -> None:
    held = {"reason": "PruneBlocked", "message": "too many jobs would be deleted at once"}
    text = plan_text(plan(change("a", "hold", **held), change("b", "hold", **held)), Page(NOW))
    assert text.count("    waits for approval") == 2
    assert "too many" not in text
