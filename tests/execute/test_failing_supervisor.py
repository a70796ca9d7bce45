"""A supervisor that cannot go on: what it had brought to an end stays as it was."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from execute import faulty
from execute.arena import Arena
from execute.test_together import ends_of, job, start_all, together
from jobreconciler.execute.local import LocalExecutor

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
