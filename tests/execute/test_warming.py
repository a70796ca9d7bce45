"""Servers go through a few runs before the first: what that leaves, and where it cannot be done."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from execute import faulty
from execute.arena import Arena, shell

KINDS = ("programs", "python")
NOTHING = {"entryPoint": "execute.example_jobs:say_nothing"}
QUICKENED = """
import dis, os, signal, sys
from jobreconciler.execute import spawn, supervisor, warming

def is_quick(function):
    found = dis.get_instructions(function, adaptive=True)
    return any(each.opname not in dis.opmap for each in found)

before = is_quick(supervisor.Supervisor._conclude)
descriptors = len(os.listdir("/proc/self/fd"))
warming.programs(spawn.Starter(), sys.argv[1])
print(before, is_quick(supervisor.Supervisor._conclude))
print(descriptors == len(os.listdir("/proc/self/fd")), os.listdir(sys.argv[1]))
print(signal.set_wakeup_fd(-1), signal.SIGUSR1 in signal.pthread_sigmask(signal.SIG_BLOCK, ()))
"""


def test_the_code_that_supervisors_run_is_as_it_will_stay_and_nothing_else_is_left(
    tmp_path: Path,
) -> None:
    asked = [sys.executable, "-c", QUICKENED, str(tmp_path)]
    done = subprocess.run(asked, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["False True", "True []", "-1 True"]


def test_no_file_of_it_is_left_beside_the_runs(arena: Arena) -> None:
    assert arena.once(shell("echo said")).status == "succeeded"
    assert arena.once(NOTHING, job_type="python").status == "succeeded"
    assert not [*arena.state_dir.glob(".warming-up*")]


def test_what_one_that_was_killed_left_is_in_nobodys_way(arena: Arena) -> None:
    for kind in KINDS:
        left = arena.state_dir / f".warming-up-{kind}" / "runs"
        (left / "1" / "1").mkdir(parents=True)
        (left / "1@1").symlink_to("somebody:1:2")
    assert arena.once(shell("echo said")).status == "succeeded"
    assert arena.once(NOTHING, job_type="python").status == "succeeded"
    assert not [*arena.state_dir.glob(".warming-up*")]


FULL = """
import resource, signal, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (200 * 1024, resource.RLIM_INFINITY))
"""


def test_a_disk_that_is_nearly_full_holds_no_server_up(
    arena: Arena, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    faulty.warm(monkeypatch, tmp_path, FULL)
    assert arena.once(NOTHING, job_type="python").status == "succeeded"
    log = arena.state_dir / "supervisors.log"
    assert "File too large" in log.read_text()
    log.unlink()


FAULT = """
import time
from jobreconciler.execute import warming
warming.Nothing.run = lambda *_: {what}
"""


@pytest.mark.parametrize(("what", "status"), [("1 / 0", "failed"), ("time.sleep(60)", "timed_out")])
def test_a_run_that_does_not_go_well_is_the_last_of_them(
    arena: Arena, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, what: str, status: str
) -> None:
    faulty.warm(monkeypatch, tmp_path, FAULT.format(what=what))
    assert arena.once(NOTHING, job_type="python").status == "succeeded"
    log = arena.state_dir / "supervisors.log"
    assert log.read_text().count(f'"status":"{status}"') == 1
    log.unlink()


def test_runs_go_on_where_it_cannot_be_done(arena: Arena) -> None:
    arena.state_dir.mkdir(exist_ok=True)
    for kind in KINDS:
        (arena.state_dir / f".warming-up-{kind}").touch()
    assert arena.once(shell("echo said")).status == "succeeded"
    assert arena.once(NOTHING, job_type="python").status == "succeeded"
    log = arena.state_dir / "supervisors.log"
    assert log.read_text().count("FileExistsError") == len(KINDS)
    log.unlink()
