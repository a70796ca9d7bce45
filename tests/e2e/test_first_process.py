"""The daemon as process 1, the way a container runs it: in a pid namespace of its own."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from jobreconciler.execute.processes import descendants

from .running import Running, until

UNSHARE = ["unshare", "--user", "--map-root-user", "--pid", "--fork", "--mount-proc"]


class Contained(Running):
    """`start` makes the daemon process 1; `process` is unshare, which waits for it."""

    def command(self, *arguments: str) -> list[str]:
        command = super().command(*arguments)
        return [*UNSHARE, *command] if arguments[0] == "run" else command

    @property
    def first(self) -> int:
        """Process 1, by the pid it has here."""
        assert self.process is not None
        return descendants(self.process.pid)[0]

    def close(self) -> None:
        if self.process is not None and self.process.poll() is None:
            os.kill(self.first, signal.SIGKILL)
            self.process.wait(60)


@pytest.fixture
def contained(tmp_path: Path) -> Iterator[Contained]:
    if shutil.which("unshare") is None:
        pytest.skip("unshare is not installed")
    tried = subprocess.run([*UNSHARE, "true"], capture_output=True, text=True, timeout=60)
    if tried.returncode:
        pytest.skip(f"this machine allows no pid namespace: {tried.stderr.strip()}")
    made = Contained(tmp_path)
    yield made
    made.close()


def server_of(contained: Contained) -> int | None:
    """The server whose fork looks after a run, once that has begun."""
    for pid in descendants(contained.first):
        with suppress(OSError):
            line = Path(f"/proc/{pid}/cmdline").read_text(errors="replace")
            if "supervisor_server" in line and len(descendants(pid)) >= 2:
                return pid
    return None


def gone(pids: list[int]) -> bool:
    """Zombies are still there."""
    return not any(Path(f"/proc/{pid}").exists() for pid in pids)


def begin(contained: Contained, gate: Path) -> str:
    """Start a run that ends when `gate` is there; where it can be looked at."""
    contained.repo.write(
        {
            "jobs.d/slow.yaml": "meta: {id: slow}\npayload:\n  jobType: command\n"
            f"  parameters: {{shell: 'until [ -e {gate} ]; do sleep 0.05; done'}}\n"
        }
    ).commit("Add slow")
    contained.start()
    _, execution = contained.post("/api/v1/jobs/slow/trigger")
    path = f"/api/v1/executions/{execution['id']}"
    until(lambda: contained.get(path)["status"] == "running", "it to run")
    return path


def test_what_loses_its_parent_is_reaped(contained: Contained, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    path = begin(contained, gate)
    server = until(lambda: server_of(contained), "the run's own processes")
    orphans = descendants(server)
    os.kill(server, signal.SIGKILL)
    gate.touch()
    until(lambda: gone(orphans), "the run and its supervisor to be reaped")
    until(lambda: contained.get(path)["status"] == "succeeded", "the run's end")


def test_a_stop_waits_for_what_runs(contained: Contained, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    path = begin(contained, gate)
    assert contained.process is not None
    os.kill(contained.first, signal.SIGTERM)
    until(lambda: '"stopping"' in contained.said(), "the daemon to hear of it")
    gate.touch()
    assert contained.process.wait(60) == 0, contained.said()
    contained.start()
    assert contained.get(path)["status"] == "succeeded"
