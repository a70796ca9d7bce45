"""`fmt`: files in canonical order, or which files are not."""

from __future__ import annotations

from pathlib import Path

from cli.calling import Cli, JobFile, valid_job

MIXED = "payload:\n  jobType: command\n  parameters: {argv: [x]}\n# mine\nmeta: {title: b, id: b}\n"
ORDERED = (
    "# mine\nmeta: {id: b, title: b}\npayload:\n  jobType: command\n  parameters: {argv: [x]}\n"
)


def test_files_are_put_in_order_once(cli: Cli, job_file: JobFile) -> None:
    job_file("a")
    path = job_file("b", MIXED)
    path.chmod(0o640)
    first = cli("fmt")
    assert (first.code, first.out, first.err) == (
        0,
        "changed jobs.d/b.yaml\n",
        "2 files, 1 change\n",
    )
    assert path.read_text(encoding="utf-8") == ORDERED
    assert path.stat().st_mode & 0o777 == 0o640
    assert sorted(each.name for each in path.parent.iterdir()) == ["a.yaml", "b.yaml"]
    assert cli("fmt").out == ""


def test_check_writes_nothing_and_answers_no(cli: Cli, job_file: JobFile) -> None:
    path = job_file("b", MIXED)
    answer = cli("fmt", "--check")
    assert (answer.code, answer.out) == (1, "would change jobs.d/b.yaml\n")
    assert path.read_text(encoding="utf-8") == MIXED
    listed = cli("fmt", "--check", "-o", "json").json
    assert listed == {"files": 1, "changed": ["jobs.d/b.yaml"], "errors": []}


def test_only_the_named_files_are_looked_at(cli: Cli, job_file: JobFile) -> None:
    job_file("b", MIXED)
    other = job_file("c", MIXED)
    assert cli("fmt", str(other)).out == "changed jobs.d/c.yaml\n"


def test_the_defaults_are_among_them(cli: Cli, job_file: JobFile, workplace: Path) -> None:
    job_file("a", valid_job("a"))
    defaults = workplace / "jobs.d" / "_defaults.yaml"
    defaults.write_text("limits: {timeoutSeconds: 5}\ntimezone: UTC\n", encoding="utf-8")
    assert cli("fmt").out == "changed jobs.d/_defaults.yaml\n"
    assert defaults.read_text(encoding="utf-8") == "timezone: UTC\nlimits: {timeoutSeconds: 5}\n"


def test_what_is_no_yaml_is_reported_and_the_others_are_done(cli: Cli, job_file: JobFile) -> None:
    bad = job_file("a", "meta: [\n")
    job_file("b", MIXED)
    answer = cli("fmt")
    assert answer.code == 1
    assert answer.out.startswith("jobs.d/a.yaml:2:1: error[syntax]")
    assert "changed jobs.d/b.yaml" in answer.out
    assert bad.read_text(encoding="utf-8") == "meta: [\n"
