from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

from cli.calling import Cli, JobFile, valid_job

BROKEN = """\
meta:
  id: broken
payload:
  jobType: command
  schedul: {}
  parameters: {argv: ["true"]}
"""


def depending(job_id: str, *upstream: str) -> str:
    return valid_job(job_id) + f"  dependency: {{jobs: [{', '.join(upstream)}]}}\n"


def test_valid_files_are_counted_and_exit_with_zero(cli: Cli, job_file: JobFile) -> None:
    job_file("a")
    job_file("b")
    answer = cli("validate")
    assert (answer.code, answer.out) == (0, "2 files, 2 jobs, 0 errors\n")


def test_a_mistake_is_shown_with_its_place_its_line_and_a_hint(cli: Cli, job_file: JobFile) -> None:
    job_file("a")
    job_file("broken", BROKEN)
    answer = cli("validate")
    assert answer.code == 1
    first, source, caret, last = answer.out.splitlines()
    assert first.startswith("jobs.d/broken.yaml:5:3: error[unknown_key] payload.schedul: ")
    assert first.endswith("(hint: did you mean schedule?)")
    assert source == "    5 |   schedul: {}"
    assert caret == "      |   ^"
    assert last == "2 files, 1 job, 1 error"


def test_every_mistake_of_every_file_is_reported_in_one_pass(cli: Cli, job_file: JobFile) -> None:
    job_file("broken", BROKEN.replace("jobType: command", "jobType: command\n  priority: 101"))
    job_file("other", "meta: {id: Other}\npayload: {jobType: nope}\n")
    found = {(each["file"], each["path"]) for each in cli("validate", "-o", "json").json["errors"]}
    assert found >= {
        ("jobs.d/broken.yaml", "payload.priority"),
        ("jobs.d/broken.yaml", "payload.schedul"),
        ("jobs.d/other.yaml", "meta.id"),
        ("jobs.d/other.yaml", "payload.jobType"),
    }


def test_json_has_the_documented_keys(cli: Cli, job_file: JobFile) -> None:
    job_file("broken", BROKEN)
    answer = cli("validate", "-o", "json")
    assert answer.code == 1
    assert set(answer.json) == {"files", "jobs", "errors"}
    assert (answer.json["files"], answer.json["jobs"]) == (1, 0)
    [error] = answer.json["errors"]
    assert set(error) == {"file", "line", "column", "path", "code", "message", "hint"}
    assert (error["line"], error["column"]) == (5, 3)


@pytest.mark.parametrize("form", ["github", "gitlab", "sarif", "junit"])
def test_each_machine_format_can_be_read_and_exits_like_the_text(
    form: str, cli: Cli, job_file: JobFile
) -> None:
    job_file("broken", BROKEN)
    answer = cli("validate", "-o", form)
    assert answer.code == 1
    assert "jobs.d/broken.yaml" in answer.out
    if form in ("gitlab", "sarif"):
        assert json.loads(answer.out)
    if form == "junit":
        assert ElementTree.fromstring(answer.out).get("failures") == "1"
    job_file("broken")
    assert cli("validate", "-o", form).code == 0


def test_named_files_alone_are_reported(cli: Cli, job_file: JobFile) -> None:
    job_file("broken", BROKEN)
    path = job_file("fine")
    assert cli("validate", str(path)).out == "1 file, 1 job, 0 errors\n"
    assert cli("validate", "jobs.d/fine.yaml").code == 0
    assert cli("validate", "jobs.d").code == 1


def test_a_named_file_is_held_against_the_files_beside_it(cli: Cli, job_file: JobFile) -> None:
    job_file("upstream")
    job_file("known", depending("known", "upstream"))
    assert cli("validate", "jobs.d/known.yaml").code == 0
    job_file("unknown", depending("unknown", "nobody"))
    answer = cli("validate", "jobs.d/unknown.yaml")
    assert answer.code == 1
    assert "nobody" in answer.out


def test_an_id_that_another_file_has_is_found_from_either_file(cli: Cli, job_file: JobFile) -> None:
    job_file("first", valid_job("same"))
    job_file("second", valid_job("same"))
    assert cli("validate", "jobs.d/first.yaml", "jobs.d/second.yaml").code == 1
    assert cli("validate", "jobs.d/second.yaml").code == 1


def test_a_cycle_through_files_that_were_not_named_is_found(cli: Cli, job_file: JobFile) -> None:
    job_file("a", depending("a", "b"))
    job_file("b", depending("b", "c"))
    job_file("c", depending("c", "a"))
    answer = cli("validate", "jobs.d/a.yaml", "-o", "json")
    assert answer.code == 1
    assert {error["file"] for error in answer.json["errors"]} == {"jobs.d/a.yaml"}


def test_an_invalid_defaults_file_is_reported_with_the_named_file(
    cli: Cli, job_file: JobFile
) -> None:
    job_file("a")
    job_file("_defaults", "retry: {maxAttempts: 0}\n")
    answer = cli("validate", "jobs.d/a.yaml")
    assert answer.code == 1
    assert "jobs.d/_defaults.yaml:1:22: error[" in answer.out


def test_the_repository_is_found_from_a_directory_inside_it(
    cli: Cli, job_file: JobFile, workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_file("a")
    monkeypatch.chdir(workplace / "jobs.d")
    assert cli("validate").out == "1 file, 1 job, 0 errors\n"
    assert cli("validate", "a.yaml").out == "1 file, 1 job, 0 errors\n"


def test_another_jobs_directory_can_be_named_before_or_after_the_verb(
    cli: Cli, workplace: Path
) -> None:
    (workplace / "ops" / "jobs").mkdir(parents=True)
    (workplace / "ops" / "jobs" / "a.yaml").write_text(valid_job("a"), encoding="utf-8")
    assert cli("--jobs-dir", "ops/jobs", "validate").code == 0
    assert cli("validate", "--jobs-dir", "ops/jobs").out == "1 file, 1 job, 0 errors\n"


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["validate"], 1, "there is no directory"),
        (["validate", "gone.yaml"], 1, "there is no file"),
        (["validate", "--repo", "gone"], 2, "there is no directory gone"),
        (["validate", "--repo", "https://git.example/x.git"], 2, "has no working files here"),
        (["validate", "-o", "xml"], 2, "answers in text, json, github, gitlab, sarif, junit"),
    ],
)
def test_what_cannot_be_looked_at_is_said(
    arguments: list[str], code: int, said: str, cli: Cli
) -> None:
    answer = cli(*arguments)
    assert answer.code == code
    assert said in answer.err
    assert answer.out == ""


def test_validating_a_file_imports_nothing_it_does_not_need(spawn: Cli, job_file: JobFile) -> None:
    job_file("a")
    code = (
        "import os, sys; from jobreconciler.cli.main import main; "
        "sys.argv[1:] = ['validate', 'jobs.d/a.yaml']; os._exit = sys.exit; "
        "code = main(); print(*sorted(sys.modules)); sys.exit(code)"
    )
    answer = spawn(python=("-c", code))
    assert answer.code == 0
    loaded = answer.out.split()
    assert "jobreconciler.source.load" in loaded
    unneeded = "sqlalchemy fastapi git croniter rich alembic uvicorn typer email shutil json"
    for heavy in unneeded.split():
        assert heavy not in loaded
    for layer in ("store", "web", "execute", "observe", "loops", "app", "daemon"):
        assert f"jobreconciler.{layer}" not in loaded
