"""Verbs that work on the store in the state directory, without a daemon."""

from __future__ import annotations

import sqlite3
import stat
from contextlib import closing
from pathlib import Path

import pytest

from cli.calling import Cli, JobFile, valid_job
from gitrepo import GitRepo
from jobreconciler.cli import checks

STATE = Path(".jobreconciler")


@pytest.fixture(autouse=True)
def nothing_listens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JOBRECONCILER_SERVER", "http://127.0.0.1:1")


@pytest.fixture
def applied(cli: Cli, repo: GitRepo, job_file: JobFile) -> GitRepo:
    job_file("a")
    job_file("b")
    repo.commit("Add a and b")
    assert cli("apply").code == 0
    return repo


def test_apply_says_what_it_did_and_then_that_nothing_is_left(
    cli: Cli, repo: GitRepo, job_file: JobFile
) -> None:
    job_file("a")
    revision = repo.commit("Add a")
    first = cli("apply")
    assert (first.code, first.out) == (0, f"applied {revision[:12]}: 1 created\n")
    second = cli("apply", "-o", "json")
    assert (second.code, second.json["result"]) == (0, "unchanged")
    assert set(second.json) == {"result", "revision", "summary", "error", "errors"}


def test_apply_names_the_invalid_file_and_exits_with_one(
    cli: Cli, applied: GitRepo, job_file: JobFile
) -> None:
    job_file("a", valid_job("a", "0 99 * * *"))
    applied.commit("A mistake")
    answer = cli("apply")
    assert answer.code == 1
    assert "jobs.d/a.yaml:5:" in answer.out
    assert "error[bad_cron]" in answer.out
    assert "1 held" in answer.out
    held = cli("jobs", "--state", "held", "-o", "json").json["jobs"]
    assert [each["jobId"] for each in held] == ["a"]


def test_a_blocked_prune_is_approved_without_a_daemon(cli: Cli, applied: GitRepo) -> None:
    applied.delete("jobs.d/a.yaml", "jobs.d/b.yaml")
    applied.write({"jobs.d/keep.txt": "so that the directory stays"})
    revision = applied.commit("Delete all")
    blocked = cli("apply")
    assert blocked.code == 1
    assert f"approve-prune {revision}" in blocked.out
    assert cli("approve-prune", "0123456").code == 1
    assert cli("approve-prune", revision[:10]).code == 0
    assert cli("apply").out.startswith("applied ")
    assert cli("jobs").out == "no jobs yet\n"


def test_apply_without_a_repository_is_an_error_in_a_line(cli: Cli) -> None:
    answer = cli("apply")
    assert answer.code == 1
    assert "Traceback" not in answer.out + answer.err


@pytest.mark.usefixtures("applied")
@pytest.mark.parametrize("arguments", [["status"], ["jobs"], ["changes"], ["history", "a"]])
def test_reading_works_from_the_store_and_says_so(arguments: list[str], cli: Cli) -> None:
    answer = cli(*arguments)
    assert answer.code == 0
    assert answer.err == (
        "no daemon answers at http://127.0.0.1:1; read from .jobreconciler/store.db instead\n"
    )
    assert answer.out
    assert answer.widest <= 80


@pytest.mark.usefixtures("applied")
def test_json_from_the_store_has_the_shapes_of_the_api(cli: Cli) -> None:
    status = cli("status", "-o", "json").json
    assert set(status) == {
        "counts", "source", "attention", "running", "late", "overrunning", "suspensions",
        "warnings", "uncommitted",
    }  # fmt: skip
    assert status["counts"]["jobs"] == 2
    jobs = cli("jobs", "-o", "json").json
    assert set(jobs) == {"jobs", "nextCursor"}
    assert jobs["jobs"][0]["config"]["meta"]["id"] == "a"
    assert cli("history", "a", "-o", "json").json == {"executions": [], "nextCursor": None}
    changes = cli("changes", "a", "-o", "json").json["changes"]
    assert [(each["action"], each["message"].strip()) for each in changes] == [
        ("created", "Add a and b")
    ]
    assert changes[0]["author"]["name"] == "Ada Lovelace"


@pytest.mark.usefixtures("applied")
def test_stops_are_listed_from_the_store(cli: Cli) -> None:
    assert cli("changes", "--stops", "-o", "json").json == {"suspensions": [], "nextCursor": None}
    assert cli("changes", "--stops").out == "nothing was ever suspended or paused\n"
    assert cli("changes", "a", "--stops").code == 2


def test_status_names_edits_that_no_commit_holds(
    cli: Cli, applied: GitRepo, job_file: JobFile
) -> None:
    assert cli("status", "-o", "json").json["uncommitted"] == []
    job_file("a", valid_job("a", "5 * * * *"))
    job_file("new")
    applied.write({"README": "no job file"})
    assert cli("status", "-o", "json").json["uncommitted"] == ["jobs.d/a.yaml", "jobs.d/new.yaml"]
    assert "not committed, so not applied: jobs.d/a.yaml, jobs.d/new.yaml\n" in cli("status").out
    elsewhere = cli("status", "-o", "json", "--repo", "nowhere")
    assert (elsewhere.code, elsewhere.json["uncommitted"]) == (0, None)


@pytest.mark.usefixtures("applied")
def test_without_a_daemon_status_does_not_say_that_all_is_well(cli: Cli) -> None:
    answer = cli("status")
    assert answer.out.startswith("1 warning · 2 jobs")
    assert "warning: no daemon answers: no job starts, and no commit is applied\n" in answer.out
    assert len(cli("status", "-o", "json").json["warnings"]) == 1


def test_status_says_when_the_disk_is_nearly_full(
    cli: Cli, applied: GitRepo, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert applied.path.is_dir()
    monkeypatch.setattr(checks, "NO_SPACE_MIB", 10**9)
    answer = cli("status")
    assert answer.out.startswith("2 warnings · 2 jobs")
    assert "warning: .jobreconciler: " in answer.out
    assert "make room: runs cannot be recorded soon" in answer.out


@pytest.mark.usefixtures("applied")
@pytest.mark.parametrize("arguments", [["history", "z"], ["changes", "z"], ["status", "z"]])
def test_an_unknown_job_is_not_found(arguments: list[str], cli: Cli) -> None:
    answer = cli(*arguments)
    assert answer.code == 1
    assert "there is no job 'z'\nhint: `jobreconciler jobs` lists them" in answer.err


@pytest.mark.usefixtures("applied")
def test_pages_go_on_where_the_last_one_ended(cli: Cli) -> None:
    first = cli("jobs", "-n", "1", "-o", "json").json
    second = cli("jobs", "-n", "1", "--cursor", first["nextCursor"], "-o", "json").json
    assert [page["jobs"][0]["jobId"] for page in (first, second)] == ["a", "b"]


@pytest.mark.parametrize("verb", ["status", "jobs", "changes", "logs", "trigger", "reconcile"])
def test_without_daemon_and_store_the_hint_says_how_to_start_one(verb: str, cli: Cli) -> None:
    arguments = ["a"] if verb in ("logs", "trigger") else []
    answer = cli(verb, *arguments)
    assert answer.code == 2
    assert answer.err == (
        "error: no daemon answers at http://127.0.0.1:1\n"
        "hint: start one with `jobreconciler run`, or name another with --server\n"
    )


@pytest.mark.usefixtures("applied")
def test_a_row_that_somebody_broke_breaks_no_list(cli: Cli) -> None:
    with closing(sqlite3.connect(".jobreconciler/store.db", isolation_level=None)) as behind:
        behind.execute("UPDATE job_configs SET config = 'x' WHERE job_id = 'a'")
    answer = cli("jobs")
    assert answer.code == 0, answer.err
    assert [line.split()[:2] for line in answer.out.splitlines()[1:]] == [
        ["a", "-"],
        ["b", "command"],
    ]
    for arguments in (["status"], ["status", "a"], ["history", "a"], ["changes", "a"]):
        assert cli(*arguments).code == 0, arguments


@pytest.mark.usefixtures("applied")
def test_a_daemon_elsewhere_is_never_answered_for_from_here(cli: Cli) -> None:
    answer = cli("jobs", "--server", "http://nowhere.invalid:8484")
    assert answer.code == 2
    assert answer.out == ""


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["jobs", "--sort", "age"], "--sort age: expected one of attention, next, last, name"),
        (["jobs", "--state", "bad"], "--state bad: expected one of enabled, disabled"),
        (["approve-prune", "main"], "'main' is not a commit id"),
        (["trigger", "a", "--param", "x"], "--param x: expected KEY=VALUE"),
        (["trigger", "a", "--param", "x=1", "--param", "x=2"], "--param x is given twice"),
        (["logs", "a", "-f", "-o", "json"], "-f prints as it comes, which -o json cannot"),
        (["token", "create", "x", "--role", "root"], "--role root: expected one of reader"),
        (["migrate", "sideways"], "'sideways' is no direction"),
    ],
)
def test_wrong_values_are_refused_before_anything_is_asked(
    arguments: list[str], said: str, cli: Cli
) -> None:
    answer = cli(*arguments)
    assert answer.code == 2
    assert answer.err.startswith(f"error: {said}")


# ---------------------------------------------------------------------------------------- tokens


def test_a_token_is_shown_once_and_listed_without_its_text(cli: Cli) -> None:
    made = cli("token", "create", "ci", "--role", "operator")
    text = made.out.strip()
    assert made.code == 0
    assert len(text) >= 40
    listed = cli("token", "list", "-o", "json")
    assert text not in listed.out
    [token] = listed.json["tokens"]
    assert (token["name"], token["role"], token["revokedAt"]) == ("ci", "operator", None)
    assert cli("token", "list").widest <= 80


def test_a_revoked_token_keeps_its_name(cli: Cli) -> None:
    cli("token", "create", "ci")
    assert cli("token", "revoke", "ci").out == "revoked ci\n"
    assert cli("token", "revoke", "ci").code == 1
    again = cli("token", "create", "ci")
    assert again.code == 1
    assert "already a token named 'ci'" in again.err


def test_revoking_makes_no_store(cli: Cli, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere" / "store.db"
    assert cli("token", "revoke", "ci", "--store", f"sqlite:///{elsewhere}").code == 1
    assert not elsewhere.parent.exists()
    answer = cli("token", "revoke", "ci")
    assert answer.code == 1
    assert answer.err.startswith("error: there is no store, so there is no token\nhint: ")
    assert not STATE.exists()


def test_an_unknown_action_on_tokens_is_answered_with_the_nearest(cli: Cli) -> None:
    answer = cli("token", "creat", "x")
    assert answer.code == 2
    assert "create" in answer.err


# ---------------------------------------------------------------------------------------- upkeep


@pytest.mark.usefixtures("applied")
def test_what_is_backed_up_can_be_restored(cli: Cli, job_file: JobFile, applied: GitRepo) -> None:
    assert cli("backup", "copy.db").out == "wrote copy.db: 2 jobs, 0 executions\n"
    assert stat.S_IMODE(Path("copy.db").stat().st_mode) == 0o600
    job_file("c")
    applied.commit("Add c")
    cli("apply")
    assert len(cli("jobs", "-o", "json").json["jobs"]) == 3
    restored = cli("restore", "copy.db", "-o", "json")
    assert restored.code == 0
    assert Path(restored.json["kept"]).is_file()
    assert len(cli("jobs", "-o", "json").json["jobs"]) == 2


@pytest.mark.usefixtures("applied")
def test_a_backup_without_a_name_goes_to_the_state_directory(cli: Cli) -> None:
    made = Path(cli("backup", "-o", "json").json["file"])
    assert made.parent == STATE / "backups"
    assert made.is_file()


@pytest.mark.usefixtures("applied")
def test_a_backup_never_replaces_a_file(cli: Cli) -> None:
    Path("there").write_text("mine", encoding="utf-8")
    answer = cli("backup", "there")
    assert answer.code == 2
    assert Path("there").read_text(encoding="utf-8") == "mine"


@pytest.mark.usefixtures("applied")
def test_what_is_no_backup_is_not_restored(cli: Cli) -> None:
    Path("nonsense").write_text("mine", encoding="utf-8")
    answer = cli("restore", "nonsense")
    assert answer.code == 1
    assert "no backup of a store" in answer.err
    assert len(cli("jobs", "-o", "json").json["jobs"]) == 2


def test_a_postgresql_database_is_replaced_only_with_a_yes(cli: Cli) -> None:
    answer = cli("restore", "x.dump", "--store", "postgresql://nobody@127.0.0.1:1/jobs")
    assert answer.code == 2
    assert "repeat with --yes" in answer.err


@pytest.mark.usefixtures("applied")
def test_the_schema_goes_down_and_up_again(cli: Cli) -> None:
    assert cli("migrate").out.endswith("already\n")
    down = cli("migrate", "down", "-o", "json").json
    assert down["before"] != down["after"]
    assert Path(down["backup"]).is_file()
    up = cli("migrate", "up", "-o", "json").json
    assert (up["before"], up["after"]) == (down["after"], down["before"])
    assert len(cli("jobs", "-o", "json").json["jobs"]) == 2
