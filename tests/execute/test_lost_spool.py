"""A spool that is removed or full: the run ends truly, or says why not, and the next one runs."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from execute.arena import Arena, eventually, next_end, shell, within
from jobreconciler.model.execution import Outcome


@pytest.fixture
def full_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MiB at the spool's place, where the machine permits it."""
    runs = tmp_path / "state" / "runs"
    runs.mkdir(parents=True)
    mount = shutil.which("mount")
    if os.geteuid() != 0 or mount is None:
        pytest.skip("only root may mount a small file system")
    options = ["-t", "tmpfs", "-o", "size=1m,mode=700", "tmpfs", str(runs)]
    if subprocess.run([mount, *options], capture_output=True, check=False).returncode != 0:
        pytest.skip("this machine lets nobody mount a file system")
    yield runs
    subprocess.run(["umount", "--lazy", str(runs)], check=True)


def test_a_run_whose_spool_is_removed_ends_with_its_true_result(
    arena: Arena, tmp_path: Path
) -> None:
    async def both() -> tuple[Outcome, Outcome]:
        async with arena.executor() as executor:
            script = f"echo begun; while [ ! -e {tmp_path}/go ]; do sleep 0.02; done; exit 7"
            launch = arena.launch(shell(script))
            await executor.start(launch)
            await eventually(arena.output)
            shutil.rmtree(arena.state_dir / "runs")
            (tmp_path / "go").touch()
            first = await next_end(executor)
            assert executor.read_output(launch.execution_id, 1).ended
            return first, await arena.outcome(executor, shell("echo next"))

    first, second = within(both())
    assert (first.status, first.exit_code) == ("failed", 7)
    assert second.status == "succeeded"
    assert arena.output(2) == "next\n"


def test_a_run_of_which_no_claim_can_be_made_says_so_and_the_next_one_runs(arena: Arena) -> None:
    """A file in the spool's place, which takes as little as a disk that is full or read-only."""

    async def both(parameters: dict[str, Any], job_type: str) -> tuple[Outcome, Outcome]:
        async with arena.executor() as executor:
            runs = arena.state_dir / "runs"
            runs.rename(arena.state_dir / "aside")
            runs.touch()
            first = await arena.outcome(executor, parameters, job_type=job_type)
            runs.unlink()
            return first, await arena.outcome(executor, parameters, job_type=job_type)

    (arena.state_dir / "runs").mkdir(parents=True)
    said = "it was not begun, since no claim of it could be made: Not a directory"
    python = {"entryPoint": "execute.example_jobs:say_nothing"}
    for parameters, job_type in ((shell("true"), "command"), (python, "python")):
        first, second = within(both(parameters, job_type))
        assert (first.status, first.error, second.status) == ("failed", said, "succeeded")
        shutil.rmtree(arena.state_dir / "aside")


def test_output_that_fills_the_disk_gives_way_to_the_result(arena: Arena, full_disk: Path) -> None:
    async def both() -> tuple[Outcome, Outcome]:
        async with arena.executor() as executor:
            flood = shell("head -c 3000000 /dev/zero; exit 3")
            first = await arena.outcome(executor, flood, outputKiB=8192)
            shutil.rmtree(full_disk / f"{arena.run_id}-1")
            return first, await arena.outcome(executor, shell("echo next"))

    first, second = within(both())
    assert (first.status, first.exit_code) == ("failed", 3)
    assert first.output_bytes - first.output_dropped <= 2**20
    assert first.output_dropped > 0
    assert second.status == "succeeded"
    assert arena.output(2) == "next\n"
