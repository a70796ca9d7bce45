"""A daemon that is gone: its runs go on, and the next daemon takes them over."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from execute.arena import (
    Arena,
    eventually,
    eventually_now,
    left_by,
    next_end,
    running,
    server_pid,
    shell,
    within,
)
from jobreconciler.execute import processes, spool
from jobreconciler.ports import LeftRunning

DAEMON = """
import asyncio, json, sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from execute.arena import Arena

async def main():
    arena = Arena(Path(sys.argv[2]))
    arena.run_id = sys.argv[3]
    async with arena.executor() as executor:
        for script in sys.argv[4:]:
            started = await executor.start(arena.launch({"shell": script}))
            print(started.execution_id, flush=True)
        await asyncio.sleep(600)

asyncio.run(main())
"""


def killed_daemon(arena: Arena, *scripts: str) -> list[LeftRunning]:
    """Starts runs from a real process, which is killed once they have begun; what its store would
    hold."""
    daemon = subprocess.Popen(
        [
            sys.executable,
            "-c",
            DAEMON,
            str(Path(__file__).parents[1]),
            str(arena.state_dir),
            arena.run_id,
            *scripts,
        ],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert daemon.stdout is not None
    try:
        ids = [daemon.stdout.readline().strip() for _ in scripts]
        eventually_now(
            lambda: all(spool.claimed(f"{arena.state_dir}/runs/{each}/1") for each in ids)
        )
    finally:
        daemon.send_signal(signal.SIGKILL)
        daemon.wait()
        daemon.stdout.close()
    return [LeftRunning(each, 1) for each in ids]


def test_a_run_goes_on_when_the_daemon_is_killed_and_its_true_end_is_told(
    arena: Arena, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    script = f"echo before; until [ -e {gate} ]; do sleep 0.01; done; echo after; exit 7"
    left = killed_daemon(arena, script)

    async def adopt() -> None:
        async with arena.executor() as executor:
            assert (await executor.adopt(left)).running == [left[0].execution_id]
            assert running(executor) == 1
            gate.touch()
            outcome = await next_end(executor)
            assert (outcome.status, outcome.exit_code) == ("failed", 7)

    within(adopt())
    assert arena.output() == "before\nafter\n"


def test_a_run_that_ended_while_no_daemon_was_there_is_told_too(arena: Arena) -> None:
    left = killed_daemon(arena, "sleep 0.2; exit 4", 'echo \'{"result": {"rows": 3}}\' >&3')

    async def adopt() -> None:
        await eventually(lambda: len([*arena.state_dir.glob("runs/*/*/result.json")]) == 2)
        await eventually(lambda: not arena.supervisors())
        async with arena.executor() as executor:
            assert (await executor.adopt(left)).running == []
            ends = executor.finished()
            found = {}
            for _ in left:
                one = await anext(ends)
                found[one.execution_id] = one.outcome
            assert found[left[0].execution_id].exit_code == 4
            assert found[left[1].execution_id].result == {"rows": 3}

    within(adopt())


def test_limits_hold_while_no_daemon_is_there(arena: Arena) -> None:
    async def leave() -> LeftRunning:
        async with arena.executor() as executor:
            launch = arena.launch(shell("sleep 600"), timeoutSeconds=0.5)
            started = await executor.start(launch)
            await eventually(arena.supervisors)
            return left_by(started)

    left = within(leave())

    async def adopt() -> str:
        await eventually(lambda: [*arena.state_dir.glob("runs/*/*/result.json")])
        async with arena.executor() as executor:
            await executor.adopt([left])
            return (await next_end(executor)).status

    assert within(adopt()) == "timed_out"


def test_an_adopted_run_can_be_stopped_and_shows_its_progress(arena: Arena) -> None:
    left = killed_daemon(
        arena, """echo '{"progress": {"done": 2, "total": 5}}' >&3; echo up; sleep 600"""
    )

    async def adopt() -> None:
        async with arena.executor() as executor:
            await executor.adopt(left)
            live = await eventually(
                lambda: (seen := executor.live(left[0].execution_id)) and seen.progress and seen
            )
            assert live.progress == (2, 5)
            assert await executor.stop(left[0].execution_id, "cancelled")
            assert (await next_end(executor)).status == "cancelled"
            assert executor.live(left[0].execution_id) is None

    within(adopt())


def test_adopting_what_runs_here_already_tells_its_end_once(arena: Arena, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    left = killed_daemon(arena, f"until [ -e {gate} ]; do sleep 0.01; done")

    async def adopt() -> int:
        async with arena.executor() as executor:
            assert (await executor.adopt(left)).running == [left[0].execution_id]
            assert (await executor.adopt(left)).running == []
            gate.touch()
            ends = executor.finished()
            await anext(ends)
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(anext(ends), 0.2)
            return running(executor)

    assert within(adopt()) == 0


def test_the_supervisor_was_killed_with_the_daemon(arena: Arena) -> None:
    left = killed_daemon(arena, "echo up; setsid sleep 600 & sleep 600")

    async def adopt() -> None:
        await eventually(arena.output)
        os.kill(arena.holder(), signal.SIGKILL)
        async with arena.executor() as executor:
            await executor.adopt(left)
            outcome = await next_end(executor)
            assert (outcome.status, outcome.error) == ("lost", "its supervisor is gone")
            assert arena.left_over() == []

    within(adopt())


@pytest.mark.parametrize(
    ("boot", "earlier", "error"),
    [
        pytest.param(processes.boot_id(), 1, "its supervisor is gone", id="started since"),
        pytest.param("another-boot", 0, "the machine was restarted", id="of another boot"),
    ],
)
def test_a_pid_that_another_process_has_by_now_is_not_touched(
    arena: Arena, boot: str, earlier: int, error: str
) -> None:
    foreign = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    try:
        found = processes.stat(foreign.pid)
        assert found is not None
        run = spool.directory(str(arena.state_dir), "gone", 1)
        assert spool.claim(run, boot, foreign.pid, found.started - earlier)

        async def adopt() -> None:
            async with arena.executor() as executor:
                assert (await executor.adopt([LeftRunning("gone", 1)])).running == []
                outcome = await next_end(executor)
                assert (outcome.status, outcome.error) == ("lost", error)

        within(adopt())
        assert processes.is_alive(foreign.pid, found.started)
    finally:
        foreign.kill()
        foreign.wait()


def test_a_result_that_cannot_be_read_is_a_lost_run(arena: Arena) -> None:
    async def adopt() -> str:
        run = Path(spool.directory(str(arena.state_dir), "broken", 1))
        run.mkdir(parents=True)
        (run / "result.json").write_text("{")
        async with arena.executor() as executor:
            await executor.adopt([LeftRunning("broken", 1)])
            status = (await next_end(executor)).status
        assert [what for what, _ in arena.errors] == ["settling execution broken"]
        arena.errors.clear()
        return status

    assert within(adopt()) == "lost"


def test_what_was_claimed_and_never_begun_is_left_alone(arena: Arena) -> None:
    async def adopt() -> int:
        async with arena.executor() as executor:
            await executor.adopt([])  # as a first daemon does
        async with arena.executor() as executor:
            adopted = await executor.adopt([LeftRunning("claimed", 1)])
            assert (adopted.running, adopted.not_begun) == ([], {"claimed"})
            return running(executor)

    assert within(adopt()) == 0


def test_nobody_can_tell_what_was_begun_where_the_spool_was_removed(arena: Arena) -> None:
    async def adopt() -> str:
        async with arena.executor() as executor:
            adopted = await executor.adopt([LeftRunning("claimed", 1)])
            assert (adopted.running, adopted.not_begun) == ([], set())
            finished = await anext(executor.finished())
            assert finished.begun
        assert [what for what, _ in arena.errors] == ["looking whether execution claimed was begun"]
        arena.errors.clear()
        return finished.outcome.status

    assert within(adopt()) == "lost"


@pytest.mark.parametrize("dies", ["its supervisor", "the server"])
def test_a_launch_that_was_handed_out_and_not_begun_may_be_made_again(
    arena: Arena, dies: str
) -> None:
    async def again() -> None:
        async with arena.executor() as executor:
            await arena.outcome(executor, shell("true"))
            [supervisor] = arena.supervisors()
            os.kill(supervisor, signal.SIGSTOP)
            launch = arena.launch(shell("echo once"))
            started = await executor.start(launch)
            assert started.pid == supervisor
            server = server_pid(executor)
            assert server is not None
            os.kill(supervisor if dies == "its supervisor" else server, signal.SIGKILL)
            finished = await anext(executor.finished())
            assert (finished.execution_id, finished.begun) == (launch.execution_id, False)
            assert finished.outcome.error == "no supervisor took it up"
            await executor.start(launch)
            assert (await next_end(executor)).status == "succeeded"
            if dies == "the server":
                os.kill(supervisor, signal.SIGCONT)

    within(again())
    eventually_now(lambda: not arena.supervisors())
    assert arena.output(2) == "once\n"


def test_who_has_a_launch_that_was_withdrawn_cannot_begin_it(arena: Arena) -> None:
    async def hold() -> None:
        async with arena.executor() as executor:
            await arena.outcome(executor, shell("true"))
            [supervisor] = arena.supervisors()
            os.kill(supervisor, signal.SIGSTOP)
            launch = arena.launch(shell("echo never"))
            await executor.start(launch)
            left = [LeftRunning(launch.execution_id, 1)]
            async with arena.executor() as other:
                assert (await other.adopt(left)).not_begun == {launch.execution_id}
                os.kill(supervisor, signal.SIGCONT)
                finished = await anext(executor.finished())
                assert not finished.begun
                assert not (arena.directory(2) / "output").exists()

    within(hold())
