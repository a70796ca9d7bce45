"""Which runs have ended, where nobody but the run's own marks on disk can tell."""

from __future__ import annotations

import asyncio
from pathlib import Path

from execute.arena import Arena, within
from jobreconciler.clock import SystemClock
from jobreconciler.execute import processes, spool
from jobreconciler.execute.runs import Run
from jobreconciler.execute.settling import Settling


def refuse(what: str, error: BaseException) -> None:
    raise AssertionError(what) from error


def test_one_that_is_claimed_while_its_server_is_found_gone_is_not_lost(tmp_path: Path) -> None:
    """Its supervisor goes on without a server, and begins with the next of those it was given."""
    spool.make_folder(str(tmp_path))
    directory = str(tmp_path / "runs" / "one" / "1")
    holder = processes.own_identity()

    async def body() -> bool:
        settling = Settling(SystemClock(), refuse)
        run = Run("one", 1, directory)
        settling.add(run)
        settling.held(run, *holder)
        settling.left([run])
        assert spool.claim(directory, processes.boot_id(), *holder, None)
        for _ in range(20):
            await asyncio.sleep(0.01)
        watched = "one" in settling and run.pidfd >= 0
        await settling.stop()
        return watched

    assert within(body())


def test_one_that_is_to_stop_before_it_begins_is_stopped_at_once(arena: Arena) -> None:
    launch = arena.launch({"argv": ["/bin/sleep", "600"]})
    directory = arena.state_dir / "runs" / launch.execution_id / str(launch.attempt)
    directory.mkdir(parents=True)
    spool.ask_to_stop(str(directory), "cancelled")

    async def body() -> str:
        async with arena.executor() as executor:
            await executor.start(launch)
            return (await anext(executor.finished())).outcome.status

    assert within(body()) == "cancelled"
