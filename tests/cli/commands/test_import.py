"""`import`: files in, job files and a report out; nothing is overwritten, nothing half done."""

from __future__ import annotations

import io
from pathlib import Path
from types import SimpleNamespace

import pytest

from cli.calling import Cli, valid_job

FIXTURES = Path(__file__).parents[2] / "importing" / "fixtures"
LINES = "# Nightly\n0 3 * * * /bin/backup\n@reboot /bin/warm\n"


@pytest.fixture
def crontab(workplace: Path) -> Path:
    path = workplace / "tab"
    path.write_text(LINES, encoding="utf-8")
    return path


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_a_crontab_becomes_job_files_that_validate(
    cli: Cli, crontab: Path, workplace: Path
) -> None:
    answer = cli("import", "crontab", str(crontab))
    assert answer.code == 0
    assert answer.out.splitlines()[:2] == ["wrote jobs.d/backup.yaml", "wrote jobs.d/warm.yaml"]
    assert f"{crontab}:3: left out: the schedule @reboot (warm)" in answer.out
    assert "to do: start the job by hand or by webhook" in answer.out
    assert answer.widest <= 80 + len(str(crontab))
    assert cli("validate").code == 0
    assert sorted(files(workplace / "jobs.d")) == ["backup.yaml", "warm.yaml"]


def test_importing_again_gives_the_same_files_and_overwrites_only_when_told(
    cli: Cli, crontab: Path, workplace: Path
) -> None:
    cli("import", "crontab", str(crontab))
    before = files(workplace / "jobs.d")
    refused = cli("import", "crontab", str(crontab))
    assert refused.code == 2
    assert "jobs.d/backup.yaml exists already; nothing was written" in refused.err
    assert "--overwrite" in refused.err
    assert files(workplace / "jobs.d") == before
    assert cli("import", "crontab", str(crontab), "--overwrite").code == 0
    assert files(workplace / "jobs.d") == before


def test_one_file_in_the_way_keeps_all_from_being_written(
    cli: Cli, crontab: Path, workplace: Path
) -> None:
    (workplace / "jobs.d").mkdir()
    (workplace / "jobs.d" / "warm.yaml").write_text("mine\n", encoding="utf-8")
    assert cli("import", "crontab", str(crontab)).code == 2
    assert files(workplace / "jobs.d") == {"warm.yaml": b"mine\n"}


def test_a_symlink_is_never_written_through(cli: Cli, crontab: Path, workplace: Path) -> None:
    (workplace / "jobs.d").mkdir()
    (workplace / "elsewhere").write_text("mine\n", encoding="utf-8")
    (workplace / "jobs.d" / "warm.yaml").symlink_to(workplace / "elsewhere")
    assert cli("import", "crontab", str(crontab), "--overwrite").code == 2
    assert (workplace / "elsewhere").read_text(encoding="utf-8") == "mine\n"


def test_an_id_of_another_file_is_not_taken(cli: Cli, crontab: Path, workplace: Path) -> None:
    (workplace / "jobs.d" / "old").mkdir(parents=True)
    (workplace / "jobs.d" / "old" / "b.yaml").write_text(valid_job("backup"), encoding="utf-8")
    answer = cli("import", "crontab", str(crontab))
    assert answer.code == 2
    assert "the id backup belongs to jobs.d/old/b.yaml; nothing was written" in answer.err
    assert cli("import", "crontab", str(crontab), "--prefix", "web1-").code == 0
    assert sorted(path.name for path in (workplace / "jobs.d").glob("*.yaml")) == [
        "web1-backup.yaml",
        "web1-warm.yaml",
    ]
    assert cli("validate").code == 0


def test_a_dry_run_prints_and_writes_nothing(cli: Cli, crontab: Path, workplace: Path) -> None:
    answer = cli("import", "crontab", str(crontab), "--dry-run")
    assert answer.code == 0
    assert "# --- jobs.d/backup.yaml\n" in answer.out
    assert '    cronExpression: "0 3 * * *"\n' in answer.out
    assert "2 jobs, " in answer.err and "nothing was written" in answer.err
    assert not (workplace / "jobs.d").exists()


def test_another_directory_can_be_named(cli: Cli, crontab: Path, workplace: Path) -> None:
    answer = cli(
        "import", "crontab", str(crontab), "--out", "made/here", "--timezone", "Asia/Tokyo"
    )
    assert answer.code == 0
    text = (workplace / "made" / "here" / "backup.yaml").read_text(encoding="utf-8")
    assert "    timezone: Asia/Tokyo\n" in text


def test_the_report_as_json(cli: Cli, crontab: Path) -> None:
    answer = cli("import", "crontab", str(crontab), "-o", "json").json
    assert list(answer) == ["jobs", "findings", "errors", "written"]
    assert answer["jobs"][0]["jobId"] == "backup"
    assert answer["jobs"][0]["source"] == {"file": str(crontab), "line": 2}
    [reboot] = [one for one in answer["findings"] if "@reboot" in one["what"]]
    assert (reboot["file"], reboot["line"], reboot["jobIds"]) == (str(crontab), 3, ["warm"])
    assert reboot["kind"] == "left_out" and reboot["why"] and reboot["hint"]
    assert answer["written"] is True


@pytest.mark.parametrize(
    ("kind", "name", "data", "said"),
    [
        ("crontab", "a.pdf", b"%PDF-1.7\n\x80", "a.pdf:1:1: error[not_the_kind] this is a PDF"),
        ("crontab", "a", b"0 3 * * * x\nnonsense here\n", "a:2:1: error[not_a_crontab_line]"),
        ("crontab", "a", b"# caf\xe9\n", "a:1:1: error[not_utf8] the byte 0xE9 is not UTF-8"),
        ("cronjob", "d.yaml", b"kind: Deployment\n", "d.yaml:1:1: error[not_a_cronjob] this is a"),
        ("cronjob", "d.yaml", b"a: [\n", "d.yaml:2:1: error[bad_yaml] this is no YAML"),
        ("systemd", "a.timer", b"[Timer]\nOnCalendar=daily\n", "a.timer: error[service_missing]"),
        ("systemd", "a.service", b"[Service]\n", "a.service: error[not_a_timer]"),
    ],
)
def test_a_file_that_is_something_else_is_an_error_and_nothing_is_written(
    kind: str, name: str, data: bytes, said: str, cli: Cli, crontab: Path, workplace: Path
) -> None:
    (workplace / name).write_bytes(data)
    good = [str(crontab)] if kind == "crontab" else []
    answer = cli("import", kind, *good, name)
    assert answer.code == 1
    assert answer.out.startswith(said)
    assert answer.err == "1 error: nothing was written\n"
    assert not (workplace / "jobs.d").exists()
    errors = cli("import", kind, *good, name, "-o", "json").json
    assert errors["errors"] and errors["written"] is False


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["launchd", "tab"], "error: 'launchd' cannot be imported\nhint: known are crontab"),
        (["crontab", "gone"], "error: gone cannot be read: No such file or directory"),
        (["crontab", "tab", "--prefix", "A_"], "error: --prefix 'A_' cannot begin an id"),
        (["crontab", "tab", "--timezone", "Berlin"], "error: --timezone: unknown time zone"),
        (["cronjob", "tab", "--user"], "error: --system and --user are about crontabs"),
        (["systemd", "-"], "error: a timer has a service beside it"),
    ],
)
@pytest.mark.usefixtures("crontab")
def test_wrong_usage(arguments: list[str], said: str, cli: Cli) -> None:
    answer = cli("import", *arguments)
    assert (answer.code, answer.out) == (2, "")
    assert answer.err.startswith(said)


def test_a_file_without_jobs_answers_no(cli: Cli, workplace: Path) -> None:
    (workplace / "empty").write_text("# nothing\n", encoding="utf-8")
    answer = cli("import", "crontab", "empty")
    assert answer.code == 1
    assert "there is no job in it" in answer.out


def test_standard_input_is_read(cli: Cli, monkeypatch: pytest.MonkeyPatch, workplace: Path) -> None:
    data = (FIXTURES / "cronjobs" / "list.json").read_bytes()
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(data)))
    assert cli("import", "cronjob", "-").code == 0
    assert sorted(files(workplace / "jobs.d")) == ["every.yaml", "hello.yaml"]
    assert b"# Imported from standard input, line " in files(workplace / "jobs.d")["hello.yaml"]


def test_a_timer_s_service_and_drop_ins_are_found_beside_it(cli: Cli, workplace: Path) -> None:
    (workplace / "a.timer").write_text("[Timer]\nOnCalendar=daily\n", encoding="utf-8")
    (workplace / "a.service").write_text("[Service]\nExecStart=/bin/a\n", encoding="utf-8")
    for name, text in (("a.timer", "[Timer]\nOnCalendar=\nOnCalendar=hourly\n"),
                       ("a.service", "[Service]\nUser=bob\n")):  # fmt: skip
        (workplace / f"{name}.d").mkdir()
        (workplace / f"{name}.d" / "mine.conf").write_text(text, encoding="utf-8")
    answer = cli("import", "systemd", "a.timer")
    assert answer.code == 0
    assert "a.service.d/mine.conf:2: left out: User=bob (a)" in answer.out
    assert b'cronExpression: "0 * * * *"' in files(workplace / "jobs.d")["a.yaml"]


def test_every_fixture_in_one_go(cli: Cli) -> None:
    tabs = [FIXTURES / name for name in ("etc/crontab", "etc/cron.d/shop", "crontabs/alice")]
    assert cli("import", "crontab", *map(str, tabs), "--prefix", "cron-").code == 0
    manifests = map(str, sorted((FIXTURES / "cronjobs").iterdir()))
    assert cli("import", "cronjob", *manifests, "--prefix", "k8s-").code == 0
    timers = map(str, sorted((FIXTURES / "systemd").glob("*.timer")))
    assert cli("import", "systemd", *timers, "--prefix", "unit-").code == 0
    answer = cli("validate", "-o", "json").json
    assert (answer["files"], answer["errors"]) == (29, [])
