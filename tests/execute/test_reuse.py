"""A supervisor that is done with one run takes the next, and nothing of the first is left."""

from __future__ import annotations

import asyncio
import functools
import os
import signal
from pathlib import Path

from execute.arena import (
    Arena,
    eventually,
    eventually_now,
    left_by,
    next_end,
    python,
    server_pid,
    shell,
    within,
)
from jobreconciler.execute import processes
from jobreconciler.ports import Started


def test_runs_one_after_another_share_a_supervisor(arena: Arena) -> None:
    async def several() -> set[int]:
        async with arena.executor() as executor:
            pids = set()
            for _ in range(5):
                pids.add((await executor.start(arena.launch(shell("true")))).pid)
                await next_end(executor)
            return pids

    assert len(within(several())) == 1


def test_nothing_of_a_run_is_left_for_the_next_one(arena: Arena, tmp_path: Path) -> None:
    look = python(
        "import os, resource; print(os.getcwd(), sorted(map(int, os.listdir('/proc/self/fd'))),"
        "resource.getrlimit(resource.RLIMIT_DATA)[0] == resource.RLIM_INFINITY,"
        "'FIRST' in os.environ)"
    )

    async def several() -> None:
        async with arena.executor() as executor:
            await arena.outcome(executor, look)
            first = {**shell("exit 3"), "cwd": str(tmp_path), "env": {"FIRST": "x"}}
            await arena.outcome(executor, first, memoryMiB=256, timeoutSeconds=1)
            await arena.outcome(executor, {"argv": ["/no/such/program"]}, memoryMiB=256)
            await arena.outcome(executor, shell("kill -9 $$"))
            assert (await arena.outcome(executor, look)).status == "succeeded"

    within(several())
    assert arena.output(5) == arena.output(1) == "/ [0, 1, 2, 3, 4] True False\n"


def test_a_stop_that_comes_too_late_does_not_stop_the_next_run(arena: Arena) -> None:
    async def late() -> None:
        async with arena.executor() as executor:
            first = await executor.start(arena.launch(shell("true")))
            await next_end(executor)
            assert processes.send(first.pid, None, signal.SIGUSR1)
            second = await executor.start(arena.launch(shell("echo up; sleep 0.3")))
            assert second.pid == first.pid
            await eventually(lambda: arena.output(2))
            assert processes.send(first.pid, None, signal.SIGUSR1)
            assert (await next_end(executor)).status == "succeeded"

    within(late())


def test_a_result_counts_though_its_supervisor_is_at_work_again(arena: Arena) -> None:
    async def adopt() -> None:
        async with arena.executor() as executor:
            launch = arena.launch(shell("exit 9"))
            first = await executor.start(launch)
            await next_end(executor)
            busy = arena.launch(shell("echo up; sleep 600"))
            started = await executor.start(busy)
            assert first.pid == started.pid
            async with arena.executor() as other:
                assert (await other.adopt([left_by(first)])).running == []
                assert (await next_end(other)).exit_code == 9
            await executor.stop(busy.execution_id, "cancelled")
            assert (await next_end(executor)).status == "cancelled"

    within(adopt())


def test_a_supervisor_that_vanished_between_runs_is_replaced(arena: Arena) -> None:
    async def replaced() -> None:
        async with arena.executor() as executor:
            for number in (signal.SIGTERM, signal.SIGKILL):
                first = await executor.start(arena.launch(shell("true")))
                await next_end(executor)
                os.kill(first.pid, number)
                await eventually(functools.partial(has_ended, first))
                second = await executor.start(arena.launch(shell("exit 4")))
                assert second.pid != first.pid
                assert (await next_end(executor)).exit_code == 4

    within(replaced())


def has_ended(started: Started) -> bool:
    return processes.stat(started.pid) is None


def test_a_supervisor_that_vanishes_while_work_comes_in_holds_nothing_up(arena: Arena) -> None:
    async def both_at_once() -> list[str]:
        async with arena.executor() as executor:
            first = await executor.start(arena.launch(shell("true")))
            await next_end(executor)
            server = server_pid(executor)
            assert server is not None
            os.kill(server, signal.SIGSTOP)
            os.kill(first.pid, signal.SIGKILL)
            await eventually(lambda: has_ended(first))
            starting = asyncio.create_task(executor.start(arena.launch(shell("sleep 600"))))
            await asyncio.sleep(0.1)
            os.kill(server, signal.SIGCONT)
            started = await starting
            os.kill(started.pid, signal.SIGTERM)
            second = await next_end(executor)
            assert server_pid(executor) == server
            return [second.status, (await arena.outcome(executor, shell("true"))).status]

    assert within(both_at_once()) == ["lost", "succeeded"]


def test_supervisors_that_wait_for_work_end_with_the_daemon(arena: Arena) -> None:
    async def leave() -> Started:
        async with arena.executor() as executor:
            started = await executor.start(arena.launch(shell("true")))
            await next_end(executor)
            assert not has_ended(started)
            return started

    left = within(leave())
    eventually_now(lambda: has_ended(left))
