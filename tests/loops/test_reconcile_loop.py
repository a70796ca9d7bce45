"""The loop around reconcile passes: what it owes to those who act on a change."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

import pytest

from jobreconciler.loops.reconcile_loop import ReconcileLoop
from jobreconciler.loops.supervise import Supervisor

from .world import World, job_file

LONG = 3600.0


class Listener:
    """Somebody who acts on changes and fails a few times first."""

    def __init__(self, failures: int) -> None:
        self.told: list[frozenset[str]] = []
        self._failures = failures
        self.done = asyncio.Event()

    async def __call__(self, changed: frozenset[str]) -> None:
        self.told.append(changed)
        if len(self.told) <= self._failures:
            raise OSError("the store is locked")
        self.done.set()


async def _kept(world: World, name: str, body: Callable[[], Awaitable[None]]) -> None:
    await Supervisor(world.metrics).keep(name, body)


def _loop(world: World, listener: Listener) -> ReconcileLoop:
    return ReconcileLoop(world.reconciler, listener, poll_seconds=LONG, instance="test")


async def _cancelled(*tasks: asyncio.Task[None]) -> None:
    for task in tasks:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


@pytest.mark.parametrize("failures", [0, 1, 2])
def test_a_change_that_could_not_be_acted_on_is_told_again(world: World, failures: int) -> None:
    world.commit(a=job_file("a"), b=job_file("b"))

    async def scenario() -> list[frozenset[str]]:
        listener = Listener(failures)
        loop = _loop(world, listener)
        running = asyncio.create_task(_kept(world, "reconcile", loop.run))
        loop.wake("test")
        await asyncio.wait_for(listener.done.wait(), 30)
        await _cancelled(running)
        return listener.told

    assert asyncio.run(scenario()) == [frozenset({"a", "b"})] * (failures + 1)


def test_what_healing_could_not_tell_the_next_pass_tells(world: World) -> None:
    world.commit(a=job_file("a"))
    world.reconcile()
    connection = world.sqlite()
    connection.execute(
        "UPDATE job_configs SET config = replace(config, '\"priority\":50', '\"priority\":99')"
    )
    connection.close()

    async def scenario() -> list[frozenset[str]]:
        listener = Listener(1)
        loop = _loop(world, listener)
        running = asyncio.create_task(_kept(world, "reconcile", loop.run))
        healing = asyncio.create_task(_kept(world, "healing", loop.keep_healing))
        await asyncio.wait_for(listener.done.wait(), 30)
        await _cancelled(running, healing)
        return listener.told

    assert asyncio.run(scenario()) == [frozenset({"a"})] * 2
