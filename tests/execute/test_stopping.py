"""Ending runs before they end themselves: all of them, and nothing else."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path
from subprocess import PIPE

import pytest

from execute.arena import (
    Arena,
    eventually,
    eventually_now,
    next_end,
    python,
    server_pid,
    shell,
    within,
)
from jobreconciler.execute import processes
from jobreconciler.model.execution import Outcome

DAEMONISE = """
import os, sys, time
def detach(path):
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            os.closerange(0, 3)
            with open(path, "w") as file:
                file.write(str(os.getpid()))
            while True:
                time.sleep(60)
        os._exit(0)
    os.wait()
"""


def daemonise(path: Path, then: str) -> dict[str, object]:
    return python(f"{DAEMONISE}\ndetach({str(path)!r})\n{then}")


WAITS_FOR_USR1 = """
import signal
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
print("waits", flush=True)
signal.sigwait([signal.SIGUSR1])
"""


def written_pid(path: Path) -> int:
    return int(path.read_text()) if path.exists() and path.read_text() else 0


def test_a_run_past_its_timeout_is_told_to_end(arena: Arena) -> None:
    outcome = arena.once(shell("sleep 600"), timeoutSeconds=0.2)
    assert outcome.status == "timed_out"
    assert outcome.signal == signal.SIGTERM
    assert outcome.error == "timed out after 0.2 s"


def test_a_run_that_ignores_term_is_killed_after_the_grace(arena: Arena) -> None:
    script = "trap '' TERM; echo ready; while :; do sleep 0.1; done"
    outcome = arena.once(shell(script), timeoutSeconds=0.3, killGraceSeconds=0.2)
    assert (outcome.status, outcome.signal) == ("timed_out", signal.SIGKILL)


def test_a_run_may_tidy_up_within_its_grace(arena: Arena) -> None:
    script = "trap 'echo tidied; exit 0' TERM; while :; do sleep 0.05; done"
    outcome = arena.once(shell(script), timeoutSeconds=0.3)
    assert (outcome.status, outcome.exit_code) == ("timed_out", 0)
    assert arena.output().endswith("tidied\n")


def test_a_stop_gives_the_status_it_was_asked_for(arena: Arena) -> None:
    async def stop() -> None:
        async with arena.executor() as executor:
            launch = arena.launch(shell("echo up; sleep 600"))
            await executor.start(launch)
            await eventually(arena.output)
            assert await executor.stop(launch.execution_id, "cancelled")
            outcome = await next_end(executor)
            assert (outcome.status, outcome.signal) == ("cancelled", signal.SIGTERM)
            assert outcome.error == "cancelled while it ran"
            assert not await executor.stop(launch.execution_id, "cancelled"), "it is over"

    within(stop())


def test_a_stop_right_after_the_start_stops_it_too(arena: Arena) -> None:
    async def stop() -> None:
        async with arena.executor() as executor:
            launch = arena.launch(shell("sleep 600"))
            await executor.start(launch)
            assert await executor.stop(launch.execution_id, "cancelled")
            assert (await next_end(executor)).status == "cancelled"

    within(stop())


def test_a_stop_before_it_is_known_who_has_the_run_stops_it_too(arena: Arena) -> None:
    async def unanswered() -> Outcome:
        async with arena.executor() as executor:
            await arena.outcome(executor, shell("true"))
            server = executor._servers._running[False]._transport
            assert server is not None
            server.pause_reading()
            launch = arena.launch(shell("echo up; sleep 600"))
            starting = asyncio.create_task(executor.start(launch))
            await eventually(lambda: arena.output(2))
            assert await executor.stop(launch.execution_id, "cancelled")
            server.resume_reading()
            await starting
            return await next_end(executor)

    assert within(unanswered()).status == "cancelled"


def test_a_stop_finds_whoever_has_the_run_by_then(arena: Arena) -> None:
    """It was handed to another supervisor than the one that is known of, which began it and has
    already looked whether it is to stop."""

    async def handed_on() -> Outcome:
        async with arena.executor() as executor:
            launch = arena.launch(shell("echo up; sleep 600"))
            started = await executor.start(launch)
            await eventually(arena.output)
            run = executor._settling._runs[launch.execution_id]
            former = subprocess.Popen([sys.executable, "-c", WAITS_FOR_USR1], stdout=PIPE)
            assert former.stdout is not None
            with former:
                former.stdout.readline()
                found = processes.stat(former.pid)
                assert found is not None
                run.pid, run.pid_started = former.pid, found.started
                assert await executor.stop(launch.execution_id, "cancelled")
            now = processes.stat(started.pid)
            assert now is not None
            executor._settling.held(run, now.pid, now.started)
            return await next_end(executor)

    assert within(handed_on()).status == "cancelled"


def test_stopping_what_does_not_run_says_so(arena: Arena) -> None:
    async def stop() -> bool:
        async with arena.executor() as executor:
            return await executor.stop("nothing", "cancelled")

    assert within(stop()) is False


def test_a_stopped_process_is_woken_to_hear_that_it_is_to_end(arena: Arena) -> None:
    outcome = arena.once(shell("kill -STOP $$"), timeoutSeconds=0.3)
    assert (outcome.status, outcome.signal) == ("timed_out", signal.SIGTERM)


@pytest.mark.parametrize(
    ("then", "status"),
    [
        pytest.param("sys.exit(0)", "succeeded", id="when the job ends by itself"),
        pytest.param("time.sleep(600)", "timed_out", id="when the job is stopped"),
    ],
)
def test_a_descendant_that_became_a_daemon_is_gone(
    arena: Arena, tmp_path: Path, then: str, status: str
) -> None:
    path = tmp_path / "pid"
    outcome = arena.once(daemonise(path, then), timeoutSeconds=1.5, killGraceSeconds=0.5)
    assert outcome.status == status
    pid = written_pid(path)
    assert pid
    assert processes.stat(pid) is None


def test_what_a_job_left_running_may_end_by_itself_first(arena: Arena) -> None:
    arena.once(shell("(sleep 0.2; echo late) & echo early"))
    assert arena.output() == "early\nlate\n"


def test_a_tree_that_forks_while_it_is_killed_does_not_get_away(arena: Arena) -> None:
    bomb = (
        "import os, time\n"
        "until = time.monotonic() + 300\n"
        "for _ in range(3):\n"
        "    if os.fork() == 0: os.setsid()\n"
        "while time.monotonic() < until:\n"
        "    pid = os.fork()\n"
        "    if pid == 0: os.setsid(); time.sleep(0.02); os._exit(0)\n"
        "    os.waitpid(pid, 0)\n"
    )
    trapped = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
    outcome = arena.once(python(trapped + bomb), timeoutSeconds=0.5, killGraceSeconds=0.1)
    assert outcome.status == "timed_out"
    assert arena.left_over() == []


def test_a_run_over_its_memory_limit_fails_by_itself(arena: Arena) -> None:
    code = "import sys\ntry: bytearray(400 << 20)\nexcept MemoryError: sys.exit('no memory')"
    outcome = arena.once(python(code), memoryMiB=128)
    assert (outcome.status, outcome.exit_code) == ("failed", 1)
    assert arena.output() == "no memory\n"


def test_many_processes_cannot_share_out_a_memory_limit(arena: Arena) -> None:
    code = (
        "import os, time\n"
        "for _ in range(5):\n"
        "    if os.fork() == 0: break\n"
        "held = b'x' * (40 << 20)\n"
        "time.sleep(600)\n"
    )
    outcome = arena.once(python(code), memoryMiB=128)
    assert outcome.status == "failed"
    assert outcome.error is not None
    assert "limits.memoryMiB is 128" in outcome.error


def test_a_memory_limit_below_what_is_used_lets_a_small_run_succeed(arena: Arena) -> None:
    assert arena.once(python("print('x' * 10)"), memoryMiB=128).status == "succeeded"


def test_a_supervisor_told_to_end_from_outside_stops_its_run(arena: Arena) -> None:
    async def end() -> None:
        async with arena.executor() as executor:
            started = await executor.start(arena.launch(shell("echo up; sleep 600")))
            await eventually(arena.output)
            os.kill(started.pid, signal.SIGTERM)
            outcome = await next_end(executor)
            assert outcome.status == "lost"
            assert outcome.error == "its supervisor was told to stop from outside"

    within(end())


def test_a_vanished_supervisor_means_lost_and_nothing_of_the_run_goes_on(
    arena: Arena, tmp_path: Path
) -> None:
    path = tmp_path / "pid"

    async def kill() -> None:
        async with arena.executor() as executor:
            then = "print('up', flush=True); time.sleep(600)"
            started = await executor.start(arena.launch(daemonise(path, then)))
            await eventually(lambda: written_pid(path) and arena.output())
            os.kill(started.pid, signal.SIGKILL)
            outcome = await next_end(executor)
            assert (outcome.status, outcome.error) == ("lost", "its supervisor is gone")
            assert arena.left_over() == []

    within(kill())
    assert processes.stat(written_pid(path)) is None
    assert arena.output() == "up\n"


def test_the_server_may_die_without_a_run_noticing(arena: Arena, tmp_path: Path) -> None:
    gate = tmp_path / "gate"

    async def kill() -> None:
        async with arena.executor() as executor:
            script = f"until [ -e {gate} ]; do sleep 0.01; done; exit 5"
            await executor.start(arena.launch(shell(script)))
            await eventually(arena.supervisors)
            first = server_pid(executor)
            assert first is not None
            os.kill(first, signal.SIGKILL)
            await eventually(lambda: server_pid(executor) is None)
            assert (await arena.outcome(executor, shell("exit 6"))).exit_code == 6
            assert server_pid(executor) not in (None, first)
            gate.touch()
            assert (await next_end(executor)).exit_code == 5

    within(kill())


def test_a_signal_goes_only_to_the_very_process() -> None:
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    try:
        found = processes.stat(child.pid)
        assert found is not None
        assert not processes.send(child.pid, found.started + 1, signal.SIGKILL)
        assert processes.is_alive(child.pid, found.started)
        assert processes.send(child.pid, found.started, signal.SIGKILL)
        eventually_now(lambda: not processes.is_alive(child.pid, found.started))
    finally:
        child.kill()
        child.wait()
