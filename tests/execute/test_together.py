"""Short Python runs are handed out together; each is claimed, limited and recorded by itself."""

from __future__ import annotations

import asyncio
import os
import signal
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from execute.arena import Arena, eventually, left_by, server_pid, within
from jobreconciler.execute import processes, spool
from jobreconciler.execute.local import LocalExecutor
from jobreconciler.execute.pace import IN_A_ROW, MOST, Pace
from jobreconciler.execute.runs import Run
from jobreconciler.model.execution import Launch, Outcome
from jobreconciler.ports import LeftRunning, Started

Ends = dict[str, Outcome]
SILENT = (
    b'{"status":"succeeded","exitCode":0,"signal":null,"error":null,'
    b'"startedAt":"2026-01-01T00:00:00+00:00","finishedAt":"2026-01-01T00:00:01+00:00",'
    b'"result":null,"progress":null,"metrics":{},"malformedReports":0,"outputBytes":0,'
    b'"outputDropped":0}'
)


def job(arena: Arena, function: str = "say_nothing", seconds: int = 30, **kwargs: Any) -> Launch:
    parameters = {"entryPoint": f"execute.example_jobs:{function}", "kwargs": kwargs}
    return arena.launch(parameters, job_type="python", timeoutSeconds=seconds)


async def start_all(executor: LocalExecutor, launches: list[Launch]) -> None:
    await asyncio.gather(*map(executor.start, launches))


async def ends_of(executor: LocalExecutor, launches: list[Launch]) -> Ends:
    """Waits for all of them, and takes care that each ended once."""
    wanted = {launch.execution_id for launch in launches}
    ends: Ends = {}
    async for finished in executor.finished():
        assert finished.execution_id not in ends
        ends[finished.execution_id] = finished.outcome
        if wanted <= ends.keys():
            return ends
    raise AssertionError("the executor was closed")


def together(arena: Arena, body: Callable[[LocalExecutor], Awaitable[Any]]) -> Any:
    """Runs `body` with an executor whose server expects short runs by now."""

    async def all_of_it() -> Any:
        async with arena.executor() as executor:
            alone = True
            while alone:
                short = [job(arena) for _ in range(8)]
                await start_all(executor, short)
                await ends_of(executor, short)
                alone = len({holder(arena, launch) for launch in short}) == len(short)
            return await body(executor)

    return within(all_of_it())


def holder(arena: Arena, launch: Launch) -> tuple[str, int, int] | None:
    return spool.claimed(str(arena.state_dir / "runs" / launch.execution_id / "1"))


def test_each_has_a_claim_and_a_result_and_none_overlaps_another_of_its_worker(
    arena: Arena,
) -> None:
    async def body(executor: LocalExecutor) -> None:
        launches = [job(arena, "note", path=str(arena.state_dir / "notes")) for _ in range(40)]
        await start_all(executor, launches)
        ends = await ends_of(executor, launches)
        assert Counter(end.status for end in ends.values()) == {"succeeded": 40}
        holders = Counter(holder(arena, launch) for launch in launches)
        assert None not in holders
        assert max(holders.values()) > 1, "nothing was handed out together"
        notes = (arena.state_dir / "notes").read_text().split()
        assert sorted(notes) == sorted(launch.execution_id for launch in launches)

    together(arena, body)


def test_the_result_of_a_silent_run_reads_as_the_one_its_supervisor_writes(arena: Arena) -> None:
    async def body(executor: LocalExecutor) -> None:
        launches = [job(arena) for _ in range(8)]
        await start_all(executor, launches)
        await ends_of(executor, launches)
        alone = job(arena)
        await start_all(executor, [alone])
        await ends_of(executor, [alone])

        def said(launch: Launch) -> dict[str, Any]:
            found = spool.result(str(arena.state_dir / "runs" / launch.execution_id / "1"))
            assert found is not None
            assert found.pop("startedAt") < found.pop("finishedAt")
            return found

        assert [said(launch) for launch in launches] == [said(alone)] * 8

    together(arena, body)


def test_what_one_prints_or_reports_is_its_own(arena: Arena) -> None:
    async def body(executor: LocalExecutor) -> None:
        launches = []
        for number in range(24):
            kind = ("say_nothing", "print_words", "describe", "leave_traces")[number % 4]
            launches.append(job(arena, kind, **({"words": str(number)} if number % 4 == 1 else {})))
        await start_all(executor, launches)
        ends = await ends_of(executor, launches)
        for number, launch in enumerate(launches):
            end = ends[launch.execution_id]
            output = executor.output(launch.execution_id, 1)
            said = output.read_text() if output.exists() else ""
            assert end.status == "succeeded"
            if number % 4 == 0:
                assert (said, end.result, end.output_bytes) == ("", None, 0)
            elif number % 4 == 1:
                assert said == f"{number}\nno line break"
                assert end.output_bytes == len(said)
            elif number % 4 == 2:
                assert end.result is not None
                assert end.result["executionId"] == launch.execution_id
            else:
                assert said.endswith(" info done\n")

    together(arena, body)


def test_nothing_waits_behind_a_long_one(arena: Arena, tmp_path: Path) -> None:
    async def body(executor: LocalExecutor) -> None:
        gate = tmp_path / "gate"
        long = job(arena, "wait_for", path=str(gate))
        others = [job(arena) for _ in range(15)]
        await start_all(executor, [long, *others])
        ends = await ends_of(executor, others)
        assert {end.status for end in ends.values()} == {"succeeded"}
        assert long.execution_id not in ends
        gate.touch()
        assert (await ends_of(executor, [long]))[long.execution_id].status == "succeeded"

    together(arena, body)


WRONG: dict[str, tuple[str, dict[str, Any], str]] = {
    "one that raises": ("end_badly", {"how": "raise"}, "failed"),
    "one that is killed": ("end_badly", {"how": "kill"}, "failed"),
    "one that ends its process": ("end_badly", {"how": "exit"}, "succeeded"),
    "one that leaves a thread": ("leave_a_thread", {}, "succeeded"),
    "one that leaves a child": ("leave_a_child", {"apart": False}, "succeeded"),
    "one that leaves a child in a session of its own": (
        "leave_a_child",
        {"apart": True},
        "succeeded",
    ),
    "one that forks itself": ("go_on_in_a_fork", {}, "succeeded"),
    "one that closes every descriptor": ("end_badly", {"how": "close"}, "failed"),
}


@pytest.mark.parametrize("case", WRONG.values(), ids=WRONG.keys())
def test_harms_itself_alone(arena: Arena, case: tuple[str, dict[str, Any], str]) -> None:
    function, kwargs, status = case

    async def body(executor: LocalExecutor) -> None:
        launches = [job(arena) for _ in range(16)]
        bad = launches[2] = job(arena, function, **kwargs)
        await start_all(executor, launches)
        ends = await ends_of(executor, launches)
        assert ends.pop(bad.execution_id).status == status
        assert Counter((end.status, end.error) for end in ends.values()) == {
            ("succeeded", None): 15
        }

    together(arena, body)


def test_those_that_a_killed_supervisor_had_not_begun_run_once_elsewhere(
    arena: Arena, tmp_path: Path
) -> None:
    async def body(executor: LocalExecutor) -> None:
        notes = str(tmp_path / "notes")
        killer = job(arena, "kill_supervisor")
        launches = [job(arena, "note", path=notes) for _ in range(15)]
        await start_all(executor, [killer, *launches])
        ends = await ends_of(executor, [killer, *launches])
        lost = ends.pop(killer.execution_id)
        assert (lost.status, lost.error) == ("lost", "its supervisor is gone")
        assert {end.status for end in ends.values()} == {"succeeded"}
        ran = Counter(Path(notes).read_text().split())
        assert ran == Counter(launch.execution_id for launch in launches)

    together(arena, body)


async def handed_out(executor: LocalExecutor, launches: list[Launch], arena: Arena) -> None:
    """All at once, and the first of them has begun; the server's answers may not be read yet."""
    server = server_pid(executor, python=True)
    assert server is not None
    os.kill(server, signal.SIGSTOP)
    starting = asyncio.gather(*map(executor.start, launches), return_exceptions=True)
    await asyncio.sleep(0)
    os.kill(server, signal.SIGCONT)
    await eventually(lambda: holder(arena, launches[0]))
    assert not any(isinstance(one, BaseException) for one in await starting)


def test_what_waits_when_the_server_is_killed_is_not_begun_and_may_start_elsewhere(
    arena: Arena, tmp_path: Path
) -> None:
    """Not behind the one that goes on: not one of them ends only when that does."""

    async def body(executor: LocalExecutor) -> None:
        gate, notes = tmp_path / "gate", tmp_path / "notes"
        long = job(arena, "wait_for", path=str(gate))
        others = [job(arena, "note", path=str(notes)) for _ in range(7)]
        await handed_out(executor, [long, *others], arena)
        server = server_pid(executor, python=True)
        assert server is not None
        os.kill(server, signal.SIGKILL)
        waiting = {launch.execution_id: launch for launch in others}
        async for finished in executor.finished():
            if finished.begun:
                assert finished.outcome.status == "succeeded"
                del waiting[finished.execution_id]
            else:
                await executor.start(waiting[finished.execution_id])
            if not waiting:
                break
        gate.touch()
        assert (await ends_of(executor, [long]))[long.execution_id].status == "succeeded"
        await eventually(lambda: len(arena.supervisors()) <= 7)
        assert Counter(notes.read_text().split()) == {one.execution_id: 1 for one in others}

    together(arena, body)


def test_what_waits_when_the_daemon_is_gone_is_the_next_ones_alone(
    arena: Arena, tmp_path: Path
) -> None:
    """Whatever it does with it: the supervisor of the one that goes on begins nothing more."""
    gate, notes = tmp_path / "gate", tmp_path / "notes"

    async def body(executor: LocalExecutor) -> list[Launch]:
        long = job(arena, "wait_for", path=str(gate))
        launches = [long, *[job(arena, "note", path=str(notes)) for _ in range(3)]]
        server = server_pid(executor, python=True)
        assert server is not None
        os.kill(server, signal.SIGSTOP)
        starting = asyncio.gather(*map(executor.start, launches), return_exceptions=True)
        await asyncio.sleep(0)
        os.kill(server, signal.SIGCONT)
        await eventually(lambda: holder(arena, long))
        os.kill(server, signal.SIGKILL)
        starting.cancel()
        return launches

    async def adopt(launches: list[Launch]) -> None:
        async with arena.executor() as executor:
            long, *others = launches
            adopted = await executor.adopt([LeftRunning(one.execution_id, 1) for one in launches])
            assert adopted.running == [long.execution_id]
            assert adopted.not_begun == {one.execution_id for one in others}
            gate.touch()
            assert (await ends_of(executor, [long]))[long.execution_id].status == "succeeded"
            await eventually(lambda: not arena.supervisors())
            assert not notes.exists()
            await start_all(executor, others)
            ends = await ends_of(executor, others)
            assert {end.status for end in ends.values()} == {"succeeded"}

    within(adopt(together(arena, body)))


def test_the_end_of_one_is_told_though_its_supervisor_goes_on_with_the_next(arena: Arena) -> None:
    """The next was claimed in the moment in which the server was found to be gone."""

    async def adopt() -> None:
        first, second = "first", "second"
        mine = processes.boot_id(), *processes.own_identity()
        runs = {one: str(arena.state_dir / "runs" / one / "1") for one in (first, second)}
        for run in runs.values():
            assert spool.claim(run, *mine)
        async with arena.executor() as executor:
            left = [LeftRunning(one, 1) for one in (first, second)]
            examine = executor._settling.examine

            def as_it_ends(run: Run) -> bool:
                begun = examine(run)
                if run.execution_id == first:
                    spool.write_silent(run.directory, *mine[1:], SILENT)
                return begun

            executor._settling.examine = as_it_ends  # type: ignore[method-assign]
            await executor.adopt(left)
            finished = await anext(executor.finished())
            assert (finished.execution_id, finished.outcome.status) == (first, "succeeded")

    within(adopt())
    for claim in (arena.state_dir / "runs").glob("*@1"):
        claim.unlink()  # it is this process's own


def test_one_that_waits_is_stopped_before_it_does_anything(arena: Arena, tmp_path: Path) -> None:
    async def body(executor: LocalExecutor) -> None:
        gate = tmp_path / "gate"
        long = job(arena, "wait_for", path=str(gate))
        stopped = job(arena, "wait_for", path=str(gate))
        others = [job(arena) for _ in range(6)]
        await start_all(executor, [long, *others, stopped])
        assert await executor.stop(stopped.execution_id, "cancelled")
        ends = await ends_of(executor, [*others, stopped])
        assert ends.pop(stopped.execution_id).status == "cancelled"
        assert {end.status for end in ends.values()} == {"succeeded"}
        gate.touch()
        await ends_of(executor, [long])

    together(arena, body)


def test_a_limit_holds_though_the_run_was_handed_out_with_others(
    arena: Arena, tmp_path: Path
) -> None:
    async def body(executor: LocalExecutor) -> None:
        launches = [job(arena) for _ in range(8)]
        parameters = {
            "entryPoint": "execute.example_jobs:wait_for",
            "kwargs": {"path": str(tmp_path / "never")},
        }
        limits = {"timeoutSeconds": 1, "killGraceSeconds": 1}
        late = launches[3] = arena.launch(parameters, job_type="python", **limits)
        await start_all(executor, launches)
        ends = await ends_of(executor, launches)
        assert ends.pop(late.execution_id).status == "timed_out"
        assert {end.status for end in ends.values()} == {"succeeded"}

    together(arena, body)


def test_a_stop_of_the_supervisor_from_outside_loses_only_what_it_ran(
    arena: Arena, tmp_path: Path
) -> None:
    async def body(executor: LocalExecutor) -> None:
        long = job(arena, "wait_for", path=str(tmp_path / "never"))
        others = [job(arena) for _ in range(7)]
        await start_all(executor, [long, *others])
        await eventually(lambda: holder(arena, long))
        held = holder(arena, long)
        assert held is not None
        assert processes.send(held[1], held[2], signal.SIGTERM)
        ends = await ends_of(executor, [long, *others])
        assert ends.pop(long.execution_id).status == "lost"
        assert {end.status for end in ends.values()} == {"succeeded"}

    together(arena, body)


def test_one_that_printed_does_not_end_the_handing_out_together(arena: Arena) -> None:
    async def body(executor: LocalExecutor) -> None:
        launches = [job(arena, "print_words", words="x") for _ in range(12)]
        await start_all(executor, launches)
        await ends_of(executor, launches)
        assert max(Counter(holder(arena, launch) for launch in launches).values()) > 1

    together(arena, body)


def test_ends_that_no_daemon_heard_of_are_found_by_the_next(arena: Arena) -> None:
    async def body(executor: LocalExecutor) -> list[LeftRunning]:
        launches = [job(arena) for _ in range(20)]
        started = await executor.start_all(launches)
        await eventually(lambda: all(has_result(arena, launch) for launch in launches))
        return [left_by(one) for one in started if isinstance(one, Started)]

    async def adopt(left: list[LeftRunning]) -> None:
        async with arena.executor() as executor:
            adopted = await executor.adopt(left)
            assert (adopted.running, adopted.not_begun) == ([], set())
            found = [await anext(executor.finished()) for _ in left]
            assert {one.execution_id for one in found} == {one.execution_id for one in left}
            assert {one.outcome.status for one in found} == {"succeeded"}
            assert executor.read_output(left[0].execution_id, 1).ended

    left = together(arena, body)
    assert len(left) == 20
    within(adopt(left))


def has_result(arena: Arena, launch: Launch) -> bool:
    return spool.has_result(str(arena.state_dir / "runs" / launch.execution_id / "1"))


def test_a_part_of_a_result_that_the_disk_did_not_take_hides_no_other(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    first, second = str(runs / "a" / "1"), str(runs / "b" / "1")
    for run in (first, second):
        assert spool.claim(run, processes.boot_id(), 7, 8)
        assert not spool.claim(run, processes.boot_id(), 9, 9)
    (runs / ".ended@7.8").write_bytes(b'\na@1 {"status":"succ')
    assert spool.result(first) is None
    spool.write_silent(second, 7, 8, b'{"status":"succeeded"}')
    assert spool.result(first) is None
    assert spool.result(second) == {"status": "succeeded"}
    assert spool.claimed(first) == (processes.boot_id(), 7, 8)


def launches(count: int) -> list[tuple[int, bytes]]:
    return [(number, b"") for number in range(1, count + 1)]


@pytest.mark.parametrize(
    ("took", "count", "sizes"),
    [
        pytest.param([0.01] * (IN_A_ROW - 1), 8, [1] * 8, id="too few were short to tell"),
        pytest.param([0.01] * IN_A_ROW, 8, [4, 4], id="short ones are spread over the cores"),
        pytest.param([0.01] * IN_A_ROW, 3, [3], id="a few share one supervisor"),
        pytest.param([0.01] * IN_A_ROW, 64, [MOST] * 4, id="never too many share one"),
        pytest.param([*[0.01] * IN_A_ROW, 2.0], 8, [1] * 8, id="the last one was long"),
    ],
)
def test_how_launches_are_handed_out(took: list[float], count: int, sizes: list[int]) -> None:
    pace = Pace(cores=2)
    for seconds in took:
        pace.took(seconds, 1)
    cut = pace.cut(launches(count))
    assert [len(each) for each in cut] == sizes
    assert [one for each in cut for one in each] == launches(count)


def test_a_wrong_guess_is_made_the_more_seldom() -> None:
    pace = Pace(cores=2)
    for needed in (IN_A_ROW, 2 * IN_A_ROW, 4 * IN_A_ROW):
        for _ in range(needed - 1):
            pace.took(0.01, 1)
        assert [len(each) for each in pace.cut(launches(3))] == [1, 1, 1]
        pace.took(0.01, 1)
        assert [len(each) for each in pace.cut(launches(3))] == [3]
        pace.guessed_wrong()
    pace.took(0.01, 3)
    for _ in range(IN_A_ROW - 3):
        pace.took(0.01, 1)
    assert [len(each) for each in pace.cut(launches(3))] == [3], "one was right since"
