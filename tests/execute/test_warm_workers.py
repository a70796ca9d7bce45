"""Python jobs share workers; what one does to its worker reaches no other."""

from __future__ import annotations

import os
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from execute.arena import (
    ENVIRON,
    Arena,
    eventually,
    eventually_now,
    left_by,
    next_end,
    server_pid,
    within,
)
from jobreconciler.execute import processes
from jobreconciler.execute.local import LocalExecutor
from jobreconciler.model.execution import Outcome

Call = Callable[..., Awaitable[Outcome]]


def parameters(function: str, isolation: str = "worker", **kwargs: Any) -> dict[str, Any]:
    entry_point = function if ":" in function else f"execute.example_jobs:{function}"
    return {"entryPoint": entry_point, "kwargs": kwargs, "isolation": isolation}


def several(arena: Arena, body: Callable[[Call, LocalExecutor], Awaitable[Any]], **kw: Any) -> Any:
    """Runs `body` with a function that runs one Python job to its end in a shared executor."""

    async def all_of_it() -> Any:
        async with arena.executor(**kw) as executor:

            async def call(function: str, **given: Any) -> Outcome:
                limits = given.pop("limits", {})
                wanted = parameters(function, **given)
                return await arena.outcome(executor, wanted, job_type="python", **limits)

            return await body(call, executor)

    return within(all_of_it())


def result(outcome: Outcome) -> dict[str, Any]:
    assert outcome.result is not None, outcome
    return outcome.result


def test_runs_share_a_worker_and_what_its_modules_hold(arena: Arena) -> None:
    async def body(call: Call, _: LocalExecutor) -> list[dict[str, Any]]:
        return [result(await call("look_around")) for _ in range(3)]

    seen = several(arena, body)
    assert len({one["pid"] for one in seen}) == 1
    assert [one["runs"] for one in seen] == [1, 2, 3]
    assert all(one["group"] for one in seen), "a worker leads its own session and group"


def test_a_fork_for_each_run_shares_nothing(arena: Arena) -> None:
    async def body(call: Call, _: LocalExecutor) -> list[dict[str, Any]]:
        return [result(await call("look_around", isolation="fork")) for _ in range(3)]

    seen = several(arena, body)
    assert len({one["pid"] for one in seen}) == 3
    assert [one["runs"] for one in seen] == [1, 1, 1]


def test_a_run_finds_everything_as_the_one_before_it_did(arena: Arena) -> None:
    async def body(call: Call, _: LocalExecutor) -> list[dict[str, Any]]:
        first = result(await call("look_around"))
        assert result(await call("leave_traces"))["pid"] == first["pid"]
        await call("print_words", words="to the next")
        return [first, result(await call("look_around"))]

    first, later = several(arena, body)
    assert (first.pop("runs"), later.pop("runs")) == (1, 2)
    assert later == first
    # Its own, the report's, and what the worker keeps for all its runs.
    assert first["descriptors"] == [0, 1, 2, 3, 4, 5, 6, 7, 8]
    assert arena.output(1) == arena.output(4) == ""
    assert arena.output(3) == "to the next\nno line break"


def test_a_run_that_closes_its_input_is_the_last_of_its_worker(arena: Arena) -> None:
    async def body(call: Call, _: LocalExecutor) -> None:
        closed = await call("close_input")
        after = result(await call("look_around"))
        assert closed.status == "succeeded"
        assert (after["pid"] != result(closed)["pid"], after["input"]) == (True, "")

    several(arena, body)


BAD_ENDS: dict[str, tuple[dict[str, Any], dict[str, Any], str, int | None]] = {
    "is killed": ({"how": "kill"}, {}, "failed", None),
    "ends its process": ({"how": "exit"}, {}, "succeeded", 0),
    "raises": ({"how": "raise"}, {}, "failed", 1),
    "takes all memory": ({"how": "memory"}, {"memoryMiB": 300}, "failed", 1),
    "closes every descriptor": ({"how": "close"}, {}, "failed", 1),
    "takes too long": (
        {"how": "sleep"},
        {"timeoutSeconds": 1, "killGraceSeconds": 1},
        "timed_out",
        None,
    ),
}


@pytest.mark.parametrize("case", BAD_ENDS.values(), ids=BAD_ENDS.keys())
def test_a_run_that_ends_badly_harms_itself_alone(
    arena: Arena, case: tuple[dict[str, Any], dict[str, Any], str, int | None]
) -> None:
    kwargs, limits, status, code = case

    async def body(call: Call, _: LocalExecutor) -> None:
        first = result(await call("look_around"))
        bad = await call("end_badly", limits=limits, **kwargs)
        assert (bad.status, bad.exit_code) == (status, code)
        assert bad.error or status == "succeeded"
        after = await call("look_around")
        assert after.status == "succeeded"
        assert result(after)["pid"] != first["pid"], "the worker was replaced"
        assert result(after)["runs"] == 1

    several(arena, body)


LEFT_OVERS: dict[str, tuple[str, dict[str, Any]]] = {
    "a thread": ("leave_a_thread", {}),
    "a child": ("leave_a_child", {"apart": False}),
    "a child in a session of its own": ("leave_a_child", {"apart": True}),
    "a fork of the worker itself": ("go_on_in_a_fork", {}),
}


@pytest.mark.parametrize("case", LEFT_OVERS.values(), ids=LEFT_OVERS.keys())
def test_what_a_run_leaves_running_ends_with_it(
    arena: Arena, case: tuple[str, dict[str, Any]]
) -> None:
    function, kwargs = case

    async def body(call: Call, _: LocalExecutor) -> None:
        left = await call(function, **kwargs)
        assert (left.status, left.exit_code) == ("succeeded", 0)
        assert arena.left_over() == []
        assert result(await call("look_around"))["pid"] != result(left)["pid"]

    several(arena, body)


def test_changed_code_is_what_the_next_run_runs(
    arena: Arena, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    module = tmp_path / "changing_job.py"
    text = "import os\ndef run(context):\n    return {'version': %d, 'pid': os.getpid()}\n"

    def write(version: int, age: int) -> None:
        module.write_text(text % version)
        os.utime(module, (1_700_000_000 + age, 1_700_000_000 + age))

    async def body(call: Call, _: LocalExecutor) -> list[dict[str, Any]]:
        write(1, 0)
        seen = [result(await call("changing_job:run")) for _ in range(2)]
        write(2, 60)
        return [*seen, result(await call("changing_job:run"))]

    first, second, third = several(arena, body)
    assert [one["version"] for one in (first, second, third)] == [1, 1, 2]
    assert first["pid"] == second["pid"] != third["pid"]


def test_a_secret_of_one_run_is_not_there_for_the_next(arena: Arena) -> None:
    async def both() -> Outcome:
        async with arena.executor(environ={**ENVIRON, "HELD": "0123456789"}) as executor:
            wanted = {**parameters("secret_length"), "env": {"TOKEN": {"env": "HELD"}}}
            await arena.outcome(executor, wanted, job_type="python")
            return await arena.outcome(executor, parameters("look_around"), job_type="python")

    outcome = within(both())
    assert "TOKEN" not in result(outcome)["variables"]
    assert arena.output(1) == "***\n"


def test_a_worker_that_vanished_between_runs_is_replaced(arena: Arena) -> None:
    async def body(call: Call, _: LocalExecutor) -> None:
        for number in (signal.SIGKILL, signal.SIGTERM):
            pid = result(await call("look_around"))["pid"]
            os.kill(pid, number)
            assert result(await call("look_around"))["pid"] != pid

    several(arena, body)


def test_a_worker_that_does_not_take_its_run_is_replaced(arena: Arena) -> None:
    async def body(call: Call, _: LocalExecutor) -> tuple[Outcome, int, Outcome]:
        first = await call("look_around")
        worker = result(first)["pid"]
        os.kill(worker, signal.SIGSTOP)
        return first, worker, await call("look_around")

    first, stopped, second = several(arena, body)
    assert (first.status, second.status) == ("succeeded", "succeeded")
    assert result(second)["pid"] != stopped
    assert processes.stat(stopped) is None


def test_workers_that_wait_for_a_run_end_with_the_daemon(arena: Arena) -> None:
    async def body(call: Call, executor: LocalExecutor) -> tuple[int, int | None]:
        return result(await call("look_around"))["pid"], server_pid(executor, python=True)

    worker, server = several(arena, body)
    assert server is not None
    eventually_now(lambda: processes.stat(worker) is None and processes.stat(server) is None)


def test_no_server_for_python_jobs_runs_before_the_first_of_them(arena: Arena) -> None:
    async def body(call: Call, executor: LocalExecutor) -> None:
        await arena.outcome(executor, {"shell": "true"})
        assert server_pid(executor, python=True) is None
        await call("look_around")
        assert server_pid(executor, python=True) is not None

    several(arena, body)


def test_a_run_outlives_the_executor_and_is_taken_over_with_its_result(arena: Arena) -> None:
    async def adopt() -> Outcome:
        async with arena.executor() as first:
            launch = arena.launch(parameters("wait_politely"), job_type="python")
            left = left_by(await first.start(launch))
            await eventually(lambda: (live := first.live(launch.execution_id)) and live.progress)
        async with arena.executor() as second:
            assert (await second.adopt([left])).running == [launch.execution_id]
            await second.stop(launch.execution_id, "cancelled")
            return await next_end(second)

    outcome = within(adopt())
    assert (outcome.status, outcome.result) == ("cancelled", {"saved": True})


@pytest.mark.parametrize("function", ["wait_politely", "fork_and_wait"])
def test_a_run_whose_supervisor_is_killed_is_lost_and_leaves_nothing(
    arena: Arena, function: str
) -> None:
    async def lose() -> Outcome:
        async with arena.executor() as executor:
            launch = arena.launch(parameters(function), job_type="python")
            started = await executor.start(launch)
            await eventually(lambda: (live := executor.live(launch.execution_id)) and live.progress)
            os.kill(started.pid, signal.SIGKILL)
            return await next_end(executor)

    assert within(lose()).status == "lost"
    assert arena.left_over() == []


def test_a_killed_server_harms_no_run(arena: Arena) -> None:
    async def body(call: Call, executor: LocalExecutor) -> None:
        launch = arena.launch(parameters("wait_politely"), job_type="python")
        await executor.start(launch)
        await eventually(lambda: (live := executor.live(launch.execution_id)) and live.progress)
        server = server_pid(executor, python=True)
        assert server is not None
        os.kill(server, signal.SIGKILL)
        await eventually(lambda: server_pid(executor, python=True) is None)
        await executor.stop(launch.execution_id, "cancelled")
        assert (await next_end(executor)).result == {"saved": True}
        assert (await call("look_around")).status == "succeeded"

    several(arena, body)
