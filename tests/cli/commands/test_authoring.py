"""`new`, `schema` and `job-types`: what helps to write job files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cli.calling import Cli


@pytest.mark.parametrize("job_type", ["command", "python"])
def test_a_new_file_is_valid_as_it_stands(job_type: str, cli: Cli, workplace: Path) -> None:
    answer = cli("new", job_type, "nightly-report")
    assert (answer.code, answer.out) == (0, "wrote jobs.d/nightly-report.yaml\n")
    assert (workplace / "jobs.d" / "nightly-report.yaml").is_file()
    assert cli("validate").code == 0


def test_a_new_file_never_replaces_one_that_is_there(cli: Cli, workplace: Path) -> None:
    cli("new", "command", "a")
    before = (workplace / "jobs.d" / "a.yaml").read_text(encoding="utf-8")
    answer = cli("new", "python", "a")
    assert answer.code == 2
    assert "jobs.d/a.yaml exists already" in answer.err
    assert (workplace / "jobs.d" / "a.yaml").read_text(encoding="utf-8") == before


def test_a_new_file_can_be_printed_instead(cli: Cli, workplace: Path) -> None:
    answer = cli("new", "command", "a", "--print")
    assert "  id: a\n" in answer.out
    assert not (workplace / "jobs.d").exists()


@pytest.mark.parametrize(
    ("job_type", "job_id", "said"),
    [
        ("comand", "a", "there is no job type 'comand'\nhint: did you mean 'command'?"),
        ("command", "Nightly", "'Nightly' cannot be the id of a job"),
        ("command", "../a", "'../a' cannot be the id of a job"),
    ],
)
def test_what_cannot_be_made_is_said(job_type: str, job_id: str, said: str, cli: Cli) -> None:
    answer = cli("new", job_type, job_id)
    assert answer.code == 1
    assert said in answer.err


def test_schemas_are_written_once_and_checked_afterwards(cli: Cli, workplace: Path) -> None:
    missing = cli("schema", "--check")
    assert missing.code == 1
    assert "stale schemas/job-config.schema.json" in missing.out
    assert cli("schema").code == 0
    written = {str(path.relative_to(workplace)) for path in workplace.rglob("*.json")}
    assert written >= {
        "schemas/job-config.schema.json",
        "schemas/defaults.schema.json",
        "schemas/render-tree.schema.json",
        "schemas/job-types/command.schema.json",
    }
    assert cli("schema", "--check").code == 0
    (workplace / "schemas" / "defaults.schema.json").write_text("{}", encoding="utf-8")
    stale = cli("schema", "--check", "-o", "json")
    assert (stale.code, stale.json["stale"]) == (1, ["defaults.schema.json"])


def test_job_types_are_listed_with_what_they_can(cli: Cli) -> None:
    answer = cli("job-types")
    assert answer.code == 0
    assert answer.widest <= 80
    assert answer.out.splitlines()[0].split()[:2] == ["type", "can"]
    listed = {each["name"]: each for each in cli("job-types", "-o", "json").json["jobTypes"]}
    assert listed["python"]["batches"] is True
    assert listed["command"]["parameters"]["type"] == "object"


def test_one_job_type_shows_its_parameters(cli: Cli) -> None:
    answer = cli("job-types", "command")
    assert answer.widest <= 80
    assert "argv" in answer.out
    assert json.loads(cli("job-types", "command", "-o", "json").out)["name"] == "command"
    assert cli("job-types", "nope").code == 1
