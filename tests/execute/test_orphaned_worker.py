"""A worker whose supervisor is killed before it could look round begins nothing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from execute.arena import ENVIRON, Arena, eventually_now
from jobreconciler.execute import processes, request, spool
from jobreconciler.execute.secret_values import SecretValues
from jobreconciler.jobtypes.registry import load_job_types

SUPERVISOR = """
import os, sys, time
from jobreconciler.execute.at_fork import AtFork
from jobreconciler.execute import frames
from jobreconciler.execute.warm import WarmStarter
from jobreconciler.execute.worker import Marker

gate, how = sys.argv[1:]
body = sys.stdin.buffer.read()


def wait():
    while not os.path.exists(gate):
        time.sleep(0.01)


os.register_at_fork(after_in_child=wait)
starter = WarmStarter(Marker(), 0o022, AtFork())
if how == "one":
    starter.start({"cwd": "/", "reuse": True, "worker": frames.for_worker(body)})
else:
    starter.start_several([(1, body)])
print(*starter.waiting, flush=True)
os.kill(os.getpid(), 9)
"""


@pytest.mark.parametrize("how", ["one", "several"])
def test_begins_nothing(arena: Arena, tmp_path: Path, how: str) -> None:
    notes, gate = tmp_path / "notes", tmp_path / "gate"
    parameters = {"entryPoint": "execute.example_jobs:note", "kwargs": {"path": str(notes)}}
    run = str(arena.directory())
    sent = request.sent(
        request.build(
            arena.launch(parameters, job_type="python"),
            load_job_types().get("python"),
            SecretValues({}, None),
            run,
            ENVIRON,
        )
    )
    command = [sys.executable, "-c", SUPERVISOR, str(gate), how]
    said = tmp_path / "said"  # no pipe: the worker would keep that open
    with said.open("wb") as out:
        ended = subprocess.run(command, input=sent.body, stdout=out, check=False)
    assert ended.returncode == -9
    pid, started = map(int, said.read_text().split())
    gate.touch()
    eventually_now(lambda: not processes.is_alive(pid, started))
    assert spool.claimed(run) is None
    assert not notes.exists()


STOPPED = """
import os, signal
from jobreconciler.execute.at_fork import AtFork
from jobreconciler.execute.signals import Signals
from jobreconciler.execute.warm import WarmStarter
from jobreconciler.execute.worker import Marker

Signals()
os.register_at_fork(after_in_child=lambda: os.kill(os.getpid(), signal.SIGTERM))
starter = WarmStarter(Marker(), 0o022, AtFork())
starter.start({"cwd": "/", "worker": b"", "reuse": True})
_, status = os.waitpid(starter.waiting[0], 0)
print(os.waitstatus_to_exitcode(status))
"""


def test_a_worker_that_is_stopped_while_it_is_forked_ends() -> None:
    """It has its supervisor's handlers for a moment, which would let it go on."""
    command = [sys.executable, "-c", STOPPED]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.split() == ["-15"]
