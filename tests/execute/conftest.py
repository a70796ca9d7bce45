from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from execute.arena import Arena, eventually_now
from jobreconciler.execute import processes


@pytest.fixture
def arena(tmp_path: Path) -> Iterator[Arena]:
    """An arena that in the end must have left no process behind and reported no error."""
    arena = Arena(tmp_path / "state")
    yield arena
    try:
        eventually_now(lambda: not arena.supervisors())
        assert arena.left_over() == []
        assert arena.errors == []
        log = arena.state_dir / "supervisors.log"
        assert not log.exists() or log.read_text() == ""
    finally:
        processes.signal_all([*arena.supervisors(), *arena.left_over()], signal.SIGKILL)
