from __future__ import annotations

from datetime import UTC, datetime

import pytest

from cli.calling import Cli, JobFile, valid_job
from jobreconciler.cli.commands.next import parse_instant
from jobreconciler.errors import Refused


def test_slots_are_shown_on_the_wall_clock_in_utc_and_with_what_is_odd(
    cli: Cli, job_file: JobFile
) -> None:
    job_file("a", valid_job("a", "30 2 * * *", "Europe/Berlin"))
    answer = cli("next", "a", "-n", "2", "--after", "2026-03-28")
    head, first, second, note = answer.out.splitlines()
    assert head == "a  every day at 02:30 (30 2 * * *, Europe/Berlin)"
    assert first.startswith("  Sat 2026-03-28 02:30+01:00  2026-03-28T01:30Z  ")
    assert second.startswith("  Sun 2026-03-29 03:00+02:00  2026-03-29T01:00Z  ")
    assert note.strip().startswith("2026-03-29 02:30 does not exist in Europe/Berlin")
    assert answer.widest <= 80


def test_json_lists_the_slots_of_each_job(cli: Cli, job_file: JobFile) -> None:
    job_file("b", valid_job("b", "0 2 * * *"))
    job_file("a", valid_job("a", "0 1 * * *"))
    answer = cli("next", "-n", "1", "--after", "2026-03-28", "-o", "json")
    assert answer.json == {
        "jobs": [
            {
                "jobId": "a",
                "slots": [
                    {
                        "utc": "2026-03-28T01:00:00Z",
                        "local": "2026-03-28T01:00:00+00:00",
                        "note": "",
                    }
                ],
            },
            {
                "jobId": "b",
                "slots": [
                    {
                        "utc": "2026-03-28T02:00:00Z",
                        "local": "2026-03-28T02:00:00+00:00",
                        "note": "",
                    }
                ],
            },
        ]
    }


def test_ten_slots_are_shown_when_no_number_is_named(cli: Cli, job_file: JobFile) -> None:
    job_file("a")
    [job] = cli("next", "-o", "json").json["jobs"]
    assert len(job["slots"]) == 10


@pytest.mark.parametrize(
    ("payload", "said"),
    [
        ("  jobType: command\n", "a  has no schedule"),
        (
            '  jobType: command\n  schedule: {cronExpression: "@daily", isEnabled: false}\n',
            "a  its schedule is off",
        ),
        (
            '  jobType: command\n  isEnabled: false\n  schedule: {cronExpression: "@daily"}\n',
            "a  is disabled",
        ),
    ],
)
def test_a_job_without_slots_says_why(payload: str, said: str, cli: Cli, job_file: JobFile) -> None:
    job_file("a", f'meta: {{id: a}}\npayload:\n{payload}  parameters: {{argv: ["true"]}}\n')
    assert cli("next", "a").out == said + "\n"


def test_invalid_files_are_left_out_and_counted(cli: Cli, job_file: JobFile) -> None:
    job_file("a")
    job_file("bad", "meta: {id: bad}\n")
    answer = cli("next", "-n", "1")
    assert answer.code == 0
    assert answer.err == "1 invalid file left out: `jobreconciler validate` says why\n"
    asked = cli("next", "bad")
    assert asked.code == 1
    assert asked.err.startswith("error: the file of bad is invalid\n")


def test_an_unknown_job_is_not_found(cli: Cli, job_file: JobFile) -> None:
    job_file("a")
    answer = cli("next", "b")
    assert answer.code == 1
    assert answer.err == ("error: no file in jobs.d declares a job 'b'\nhint: declared are: a\n")


def test_of_many_jobs_the_closest_is_named_or_the_first_and_how_many_more(
    cli: Cli, job_file: JobFile
) -> None:
    for number in range(10):
        job_file(f"report-{number}")
    assert cli("next", "reprot-3").err.endswith("\nhint: did you mean report-3?\n")
    first = ", ".join(f"report-{number}" for number in range(8))
    assert cli("next", "zzz").err.endswith(f"\nhint: declared are: {first} and 2 others\n")


def test_jobs_of_another_environment_are_left_out(cli: Cli, job_file: JobFile) -> None:
    job_file("a")
    text = valid_job("b").replace("id: b", "id: b\n  environments: [production]")
    job_file("b", text)
    ids = [each["jobId"] for each in cli("next", "-o", "json").json["jobs"]]
    assert ids == ["a", "b"]
    staging = cli("next", "--environment", "staging", "-o", "json").json["jobs"]
    assert [each["jobId"] for each in staging] == ["a"]


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-03-28", datetime(2026, 3, 28, tzinfo=UTC)),
        ("2026-03-28T12:30", datetime(2026, 3, 28, 12, 30, tzinfo=UTC)),
        ("2026-03-28T12:30:00Z", datetime(2026, 3, 28, 12, 30, tzinfo=UTC)),
        ("2026-03-28T12:30:00+02:00", datetime(2026, 3, 28, 10, 30, tzinfo=UTC)),
    ],
)
def test_instants_are_dates_or_times(text: str, moment: datetime) -> None:
    assert parse_instant(text) == moment


def test_what_is_no_instant_is_refused() -> None:
    with pytest.raises(Refused, match="--after tomorrow: expected a date or a time"):
        parse_instant("tomorrow")
