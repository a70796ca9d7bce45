"""Faults among runs that were handed out together: each ends what it must and nothing else."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import pytest

from execute import faulty
from execute.arena import Arena
from execute.test_together import ends_of, job, start_all, together
from jobreconciler.execute.local import LocalExecutor


def test_one_that_cuts_its_worker_off_takes_no_other_with_it(arena: Arena, tmp_path: Path) -> None:
    async def body(executor: LocalExecutor) -> None:
        notes = str(tmp_path / "notes")
        deaf, bad = job(arena, "close_control"), job(arena, "end_badly", how="raise")
        others = [job(arena, "note", path=notes) for _ in range(14)]
        await start_all(executor, [deaf, bad, *others])
        ends = await ends_of(executor, [deaf, bad, *others])
        assert ends.pop(deaf.execution_id).status == "succeeded"
        assert ends.pop(bad.execution_id).error == "RuntimeError: no"
        assert {(end.status, end.error) for end in ends.values()} == {("succeeded", None)}
        ran = Counter(Path(notes).read_text().split())
        assert ran == Counter(launch.execution_id for launch in others)

    together(arena, body)


def test_where_no_claims_can_be_made_each_of_them_says_so(arena: Arena) -> None:
    async def body(executor: LocalExecutor) -> None:
        runs = arena.state_dir / "runs"
        runs.rename(arena.state_dir / "aside")
        runs.touch()
        launches = [job(arena) for _ in range(8)]
        await start_all(executor, launches)
        ends = await ends_of(executor, launches)
        runs.unlink()
        assert Counter((end.status, end.error) for end in ends.values()) == {
            ("failed", "it was not begun, since no claim of it could be made: Not a directory"): 8
        }
        launches = [job(arena) for _ in range(8)]
        await start_all(executor, launches)
        ends = await ends_of(executor, launches)
        assert {end.status for end in ends.values()} == {"succeeded"}

    together(arena, body)


DIES_WITH_ITS_CLAIM = """
from jobreconciler.execute import spool
claim = spool.claim
def claim_and_die(run, boot, pid, *rest):
    made = claim(run, boot, pid, *rest)
    if pid != os.getpid() and os.path.exists({armed!r}):
        os.unlink({armed!r})
        os.kill(os.getpid(), 9)
    return made
spool.claim = claim_and_die
"""


def test_a_worker_that_dies_with_its_first_claim_ends_that_run_alone(
    arena: Arena, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    armed = tmp_path / "armed"
    faulty.warm(monkeypatch, tmp_path, DIES_WITH_ITS_CLAIM.format(armed=str(armed)))

    async def body(executor: LocalExecutor) -> None:
        armed.touch()
        launches = [job(arena) for _ in range(8)]
        await start_all(executor, launches)
        ends = await ends_of(executor, launches)
        assert Counter((end.status, end.error) for end in ends.values()) == {
            ("failed", "killed by signal 9 (SIGKILL)"): 1,
            ("succeeded", None): 7,
        }

    together(arena, body)


RESTLESS = """
from jobreconciler.execute import signals
make = signals.Signals.__init__
def make_restless(self):
    make(self)
    self.wake = os.open("/dev/zero", os.O_RDONLY)
signals.Signals.__init__ = make_restless
"""


def test_a_limit_holds_though_orphans_wake_the_supervisor_all_the_time(
    arena: Arena, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    faulty.warm(monkeypatch, tmp_path, RESTLESS)

    async def body(executor: LocalExecutor) -> None:
        never = {"path": str(tmp_path / "never")}
        launches = [job(arena, "wait_for", seconds=1, **never), job(arena), job(arena)]
        await start_all(executor, launches)
        ends = await ends_of(executor, launches)
        statuses = [ends[launch.execution_id].status for launch in launches]
        assert statuses == ["timed_out", "succeeded", "succeeded"]

    together(arena, body)


CHANGES_ITSELF = """
import os
import time
from pathlib import Path

def run(context, notes, changed=None):
    with open(notes, "a") as file:
        file.write(f"{os.getpid()}\\n")
    if changed:
        Path(__file__).write_text(Path(__file__).read_text() + "# changed")
        os.utime(__file__, (1_700_000_060, 1_700_000_060))
        with open(notes, "a") as file:
            file.write(f"changed by {os.getpid()}\\n")
        time.sleep(0.002)
"""


def test_none_follows_in_a_worker_whose_code_has_changed(
    arena: Arena, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    module, notes = tmp_path / "changing_itself.py", tmp_path / "notes"
    module.write_text(CHANGES_ITSELF)
    os.utime(module, (1_700_000_000, 1_700_000_000))

    async def body(executor: LocalExecutor) -> None:
        launches = []
        for number in range(8):
            kwargs = {"notes": str(notes), "changed": number == 1}
            parameters = {"entryPoint": "changing_itself:run", "kwargs": kwargs}
            launches.append(arena.launch(parameters, job_type="python"))
        await executor.start_all(launches)
        ends = await ends_of(executor, launches)
        assert {(end.status, end.error) for end in ends.values()} == {("succeeded", None)}
        before, _, after = notes.read_text().partition("changed by ")
        worker, *later = after.split()
        assert worker in before.split()
        assert worker not in later

    together(arena, body)


FAILS_AFTER_THE_RESULT = """
from jobreconciler.execute import supervisor
def fail(self):
    if os.path.exists({armed!r}):
        os.unlink({armed!r})
        raise RuntimeError("a fault")
supervisor.Capture.sweep = fail
"""
FAILS_AMONG_SEVERAL = """
from jobreconciler.execute import together
halt = together.Together._halt
def fail(self):
    if os.path.exists({armed!r}):
        os.unlink({armed!r})
        raise OSError(5, "a fault")
    return halt(self)
together.Together._halt = fail
"""


def test_a_result_that_was_written_is_not_overwritten(
    arena: Arena, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    armed = tmp_path / "armed"
    faulty.warm(monkeypatch, tmp_path, FAILS_AFTER_THE_RESULT.format(armed=str(armed)))

    async def body(executor: LocalExecutor) -> None:
        armed.touch()
        launch = job(arena, "print_words", words="x")
        await start_all(executor, [launch])
        assert (await ends_of(executor, [launch]))[launch.execution_id].status == "succeeded"
        assert log(arena).endswith("RuntimeError: a fault\n")

    together(arena, body)


def test_the_run_it_was_at_is_lost_for_that_reason_and_the_others_run_once(
    arena: Arena, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    armed, notes = tmp_path / "armed", tmp_path / "notes"
    faulty.warm(monkeypatch, tmp_path, FAILS_AMONG_SEVERAL.format(armed=str(armed)))

    async def body(executor: LocalExecutor) -> None:
        armed.touch()
        at_work = job(arena, "wait_for", path=str(tmp_path / "gate"))
        others = [job(arena, "note", path=str(notes)) for _ in range(7)]
        await start_all(executor, [at_work, *others])
        ends = await ends_of(executor, [at_work, *others])
        lost = ends.pop(at_work.execution_id)
        assert lost.status == "lost"
        assert lost.error == "its supervisor failed: OSError: [Errno 5] a fault"
        assert {end.status for end in ends.values()} == {"succeeded"}
        ran = Counter(notes.read_text().split())
        assert ran == Counter(launch.execution_id for launch in others)
        assert log(arena).endswith("OSError: [Errno 5] a fault\n")

    together(arena, body)


def log(arena: Arena) -> str:
    """What the servers had to say, which no other test may leave behind."""
    path = arena.state_dir / "supervisors.log"
    text = path.read_text()
    path.write_text("")
    return text
