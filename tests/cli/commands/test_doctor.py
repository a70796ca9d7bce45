from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from cli.calling import Cli, JobFile
from gitrepo import GitRepo
from jobreconciler.app import open_store
from jobreconciler.cli.checks import examine
from jobreconciler.settings import Settings


@pytest.fixture(autouse=True)
def free_port(monkeypatch: pytest.MonkeyPatch) -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    monkeypatch.setenv("JOBRECONCILER_LISTEN", address)
    return address


@pytest.fixture
def jobs(repo: GitRepo, job_file: JobFile) -> GitRepo:
    job_file("a")
    repo.commit("Add a")
    return repo


def checks(cli: Cli, *arguments: str) -> dict[str, tuple[str, str, str]]:
    """The worst line of each check by its name: status, message, hint."""
    order = {"ok": 0, "warn": 1, "fail": 2}
    listed = cli("doctor", "-o", "json", *arguments).json["checks"]
    return {
        each["name"]: (each["status"], each["message"], each["hint"])
        for each in sorted(listed, key=lambda each: order[each["status"]])
    }


@pytest.mark.usefixtures("jobs")
def test_a_fresh_repository_has_nothing_that_fails(cli: Cli) -> None:
    answer = cli("doctor")
    assert answer.code == 0, answer.out
    assert answer.widest <= 80
    assert "jobs dir    jobs.d holds 1 file" in answer.out
    assert cli("doctor", "-o", "json").json["ok"] is True


def test_a_directory_without_a_repository_fails_and_says_how_to_mend_it(cli: Cli) -> None:
    answer = cli("doctor")
    assert answer.code == 1
    status, _, hint = checks(cli)["repository"]
    assert status == "fail"
    assert hint


@pytest.mark.usefixtures("jobs")
def test_a_missing_ref_fails(cli: Cli) -> None:
    status, message, _ = checks(cli, "--ref", "nowhere")["repository"]
    assert status == "fail"
    assert "nowhere" in message


@pytest.fixture
def read_only_state() -> Iterator[Path]:
    """The state directory on a file system that takes nothing, where the machine permits it."""
    state = Path(".jobreconciler").absolute()
    state.mkdir(mode=0o700)
    mount = shutil.which("mount")
    if os.geteuid() != 0 or mount is None:
        pytest.skip("only root may mount a file system")
    command = [mount, "-t", "tmpfs", "-o", "ro,size=80m,mode=700", "tmpfs", str(state)]
    if subprocess.run(command, capture_output=True, check=False).returncode != 0:
        pytest.skip("this machine lets nobody mount a file system")
    yield state
    subprocess.run(["umount", "--lazy", str(state)], check=True)


@pytest.mark.usefixtures("jobs", "read_only_state")
def test_a_read_only_file_system_is_no_question_of_ownership(cli: Cli) -> None:
    status, message, hint = checks(cli)["state dir"]
    assert (status, message) == ("fail", ".jobreconciler lies on a read-only file system")
    assert hint == "mount it for writing, or name another with --state-dir"


@pytest.mark.usefixtures("jobs")
def test_a_token_that_others_can_read_fails_and_an_open_state_directory_warns(cli: Cli) -> None:
    state = Path(".jobreconciler")
    state.mkdir(mode=0o755)
    state.chmod(0o755)
    (state / "token").write_text("x", encoding="utf-8")
    (state / "token").chmod(0o644)
    found = checks(cli)
    assert found["state dir"][0] == "warn"
    assert found["state dir"][2] == "chmod 700 .jobreconciler"
    assert found["token"] == (
        "fail",
        ".jobreconciler/token can be read by others (0644)",
        "chmod 600 .jobreconciler/token",
    )


@pytest.mark.usefixtures("jobs")
def test_another_program_on_the_port_fails(cli: Cli) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{other.getsockname()[1]}"
        status, message, hint = checks(cli, "--listen", address)["listen"]
    assert status == "fail"
    assert message.startswith(address)
    assert "--listen" in hint


@pytest.mark.usefixtures("jobs")
def test_listening_for_others_without_a_token_fails(cli: Cli, free_port: str) -> None:
    elsewhere = "0.0.0.0:" + free_port.rpartition(":")[2]
    assert checks(cli, "--listen", elsewhere)["access"][0] == "fail", "before there is a store"
    cli("apply")
    assert checks(cli, "--listen", elsewhere)["access"][0] == "fail"
    cli("token", "create", "ci")
    assert "access" not in checks(cli, "--listen", elsewhere)


@pytest.mark.usefixtures("jobs")
def test_secrets_that_others_can_read_warn(cli: Cli, tmp_path: Path) -> None:
    folder = tmp_path / "secrets"
    named = ("--secrets-dir", str(folder))
    assert checks(cli)["secrets"][0] == "ok"
    assert checks(cli, *named)["secrets"][0] == "warn"
    folder.mkdir(mode=0o755)
    folder.chmod(0o755)
    secret = folder / "password"
    secret.write_text("hunter2", encoding="utf-8")
    secret.chmod(0o600)
    assert checks(cli, *named)["secrets"] == ("ok", str(folder), "")
    secret.chmod(0o644)
    status, message, hint = checks(cli, *named)["secrets"]
    assert (status, hint) == ("warn", f"chmod 700 {folder}")
    assert "0755" in message
    folder.chmod(0o700)
    assert checks(cli, *named)["secrets"][0] == "ok"


@pytest.mark.usefixtures("jobs")
def test_a_store_that_is_none_of_ours_fails(cli: Cli) -> None:
    Path(".jobreconciler").mkdir(mode=0o700)
    Path(".jobreconciler/store.db").write_bytes(b"not a database at all" * 100)
    assert checks(cli)["store"][0] == "fail"


@pytest.mark.usefixtures("jobs")
def test_a_clock_behind_the_store_fails(cli: Cli) -> None:
    cli("apply")
    store = open_store(Settings(), read_only=True)
    try:
        state = store.source_state()
    finally:
        store.close()
    assert state is not None and state.last_success_at is not None
    earlier = state.last_success_at - timedelta(hours=2)
    found = [check for check in examine(Settings(), earlier) if check.name == "clock"]
    assert [check.status for check in found if "gone back" in check.message] == ["fail"]


@pytest.mark.usefixtures("jobs")
def test_doctor_changes_nothing(cli: Cli, workplace: Path) -> None:
    def everything() -> set[str]:
        return {
            str(path.relative_to(workplace))
            for path in workplace.rglob("*")
            if ".git" not in path.parts
        }

    before = everything()
    cli("doctor")
    assert everything() == before
