"""Secrets reach the child's environment and nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from execute.arena import ENVIRON, Arena, shell
from jobreconciler.errors import Invalid

VALUE = "correct-horse-battery"


@pytest.fixture
def secrets_dir(tmp_path: Path) -> Path:
    """As Kubernetes mounts it: files are links into a directory that is swapped as a whole."""
    root = tmp_path / "secrets"
    (root / "..v1").mkdir(parents=True)
    (root / "..data").symlink_to("..v1")
    (root / "..v1" / "token").write_text(f"{VALUE}\n")
    (root / "..v1" / "empty").write_text("")
    (root / "token").symlink_to("..data/token")
    (root / "empty").symlink_to("..data/empty")
    (tmp_path / "outside").write_text("outside-value")
    (root / "leak").symlink_to("../outside")
    return root


def test_a_secret_of_the_environment_reaches_the_child(arena: Arena) -> None:
    outcome = arena.once(
        shell(f'[ "$TOKEN" = {VALUE} ] && echo "$TOKEN"', env={"TOKEN": {"env": "HELD"}}),
        environ={**ENVIRON, "HELD": VALUE},
    )
    assert outcome.status == "succeeded"
    assert arena.output() == "***\n"


def test_a_secret_file_reaches_the_child_without_its_last_line_break(
    arena: Arena, secrets_dir: Path
) -> None:
    script = f'[ "$TOKEN" = {VALUE} ]'
    parameters = shell(script, env={"TOKEN": {"file": "token"}})
    assert arena.once(parameters, secrets_dir=secrets_dir).status == "succeeded"


def test_a_secret_is_on_no_disk_and_in_no_command_line(arena: Arena, secrets_dir: Path) -> None:
    script = (
        "echo $TOKEN; cat /proc/$PPID/cmdline /proc/self/cmdline | tr '\\0' ' ';"
        'echo \'{"result": {"token": "\'$TOKEN\'"}}\' >&3; echo \'{"error": "\'$TOKEN\'"}\' >&3;'
        'echo \'{"log": {"message": "\'$TOKEN\'", "x": "\'$TOKEN\'"}}\' >&3; exit 1'
    )
    parameters = shell(script, env={"TOKEN": {"file": "token"}})
    outcome = arena.once(parameters, secrets_dir=secrets_dir)
    assert outcome.result == {"token": "***"}
    assert outcome.error == "***"
    for path in arena.state_dir.rglob("*"):
        if path.is_file():
            assert VALUE not in path.read_text(), path


MISSING: dict[str, tuple[dict[str, Any], str]] = {
    "a variable that is not set": (
        {"env": "NOT_SET_ANYWHERE"},
        "the secret {env: NOT_SET_ANYWHERE} is not set in the daemon's environment",
    ),
    "a file that does not exist": (
        {"file": "nothing"},
        "the secret {file: nothing} is not a readable file in the secrets directory",
    ),
    "a file that is empty": (
        {"file": "empty"},
        "the secret {file: empty} is not a readable file in the secrets directory or is empty",
    ),
    "a link that leads out of the directory": (
        {"file": "leak"},
        "the secret {file: leak} is not a readable file in the secrets directory",
    ),
}


@pytest.mark.parametrize("case", MISSING.values(), ids=MISSING.keys())
def test_a_missing_secret_starts_nothing(
    arena: Arena, secrets_dir: Path, case: tuple[dict[str, Any], str]
) -> None:
    reference, message = case
    with pytest.raises(Invalid) as caught:
        arena.once(shell("true", env={"TOKEN": reference}), secrets_dir=secrets_dir)
    assert caught.value.reason == "SecretMissing"
    assert caught.value.message == message
    assert caught.value.hint
    assert not (arena.state_dir / "runs").exists()


def test_a_path_that_climbs_is_refused_by_the_model_already(
    arena: Arena, secrets_dir: Path
) -> None:
    with pytest.raises(Invalid) as caught:
        arena.once(shell("true", env={"TOKEN": {"file": "../outside"}}), secrets_dir=secrets_dir)
    assert caught.value.reason == "InvalidParameters"


def test_a_secret_with_a_nul_byte_is_refused_without_showing_it(
    arena: Arena, secrets_dir: Path
) -> None:
    (secrets_dir / "binary").write_bytes(b"abc\0def")
    with pytest.raises(Invalid) as caught:
        arena.once(shell("true", env={"TOKEN": {"file": "binary"}}), secrets_dir=secrets_dir)
    assert caught.value.reason == "SecretInvalid"
    assert "abc" not in str(caught.value)
