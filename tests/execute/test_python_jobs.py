"""Python job types in their child process."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from execute.arena import ENVIRON, Arena, eventually, next_end, within
from jobreconciler.model.execution import Outcome, Trigger


def call(arena: Arena, function: str, kwargs: dict[str, Any] | None = None, **kw: Any) -> Outcome:
    parameters = {
        "entryPoint": f"execute.example_jobs:{function}",
        "kwargs": kwargs or {},
        **kw.pop("parameters", {}),
    }
    outcome = arena.once(parameters, job_type="python", **kw)
    assert isinstance(outcome, Outcome)
    return outcome


def test_a_function_is_told_everything_about_its_run(arena: Arena) -> None:
    slot = datetime(2026, 3, 29, 0, 30, tzinfo=UTC)
    outcome = call(
        arena,
        "describe",
        {"days": 7},
        trigger=Trigger("schedule", slot=slot),
        dry_run=True,
        attempt=2,
        batchSize=50,
    )
    assert outcome.error is None
    assert outcome.result == {
        "kwargs": {"days": 7},
        "batchSize": 50,
        "dryRun": True,
        "executionId": f"{arena.run_id}-1",
        "attempt": 2,
        "slot": slot.isoformat(),
        "trigger": "schedule",
        "revision": "f" * 40,
        "job": "a-job",
    }


def test_an_exception_is_a_failure_with_a_short_traceback(arena: Arena) -> None:
    outcome = call(arena, "fail")
    assert (outcome.status, outcome.exit_code) == ("failed", 1)
    assert outcome.error == "ValueError: the figures do not add up"
    text = arena.output()
    assert text.startswith("about to fail\nTraceback (most recent call last):\n")
    assert text.endswith("ValueError: the figures\ndo not add up\n")
    assert text.count('  File "') == 1, "only the job's own frames are shown"


EXITS = {
    "nothing": (None, "succeeded", 0),
    "0": (0, "succeeded", 0),
    "a number": (3, "failed", 3),
    "a text": ("no input", "failed", 1),
}


@pytest.mark.parametrize("case", EXITS.values(), ids=EXITS.keys())
def test_sys_exit_means_what_it_means_to_the_interpreter(
    arena: Arena, case: tuple[Any, str, int]
) -> None:
    code, status, exit_code = case
    outcome = call(arena, "leave", {"code": code})
    assert (outcome.status, outcome.exit_code) == (status, exit_code)
    assert arena.output() == ("no input\n" if code == "no input" else "")
    assert outcome.error == {3: "exit code 3", "no input": "no input"}.get(code)


def test_an_exception_without_end_or_without_words_still_has_a_reason(arena: Arena) -> None:
    endless = call(arena, "fail_at_length")
    assert endless.error is not None
    assert endless.error.startswith("ValueError: xxx")
    assert len(endless.error) == 2000
    assert call(arena, "fail_without_words").error == "Unspeakable"


MISTAKES = {
    "a module that does not exist": (
        "no_such_module:main",
        "entry point no_such_module:main: there is no module 'no_such_module'",
    ),
    "a function that does not exist": (
        "execute.example_jobs:nothing",
        "entry point execute.example_jobs:nothing: module 'execute.example_jobs' has no 'nothing'",
    ),
    "something that is no function": (
        "sys:path",
        "entry point sys:path is not callable",
    ),
    "a result that is no dict": (
        "execute.example_jobs:wrong_result",
        "execute.example_jobs:wrong_result returned int, not a dict or None",
    ),
}


@pytest.mark.parametrize("case", MISTAKES.values(), ids=MISTAKES.keys())
def test_mistakes_are_explained(arena: Arena, case: tuple[str, str]) -> None:
    entry_point, error = case
    outcome = arena.once({"entryPoint": entry_point}, job_type="python")
    assert (outcome.status, outcome.error) == ("failed", error)
    assert "Traceback" not in arena.output()


def test_a_secret_reaches_the_function_and_not_its_output(arena: Arena) -> None:
    outcome = call(
        arena,
        "secret_length",
        parameters={"env": {"TOKEN": {"env": "HELD"}}},
        environ={**ENVIRON, "HELD": "0123456789"},
    )
    assert outcome.result == {"length": 10}
    assert arena.output() == "***\n"


def test_a_function_that_asks_may_end_in_its_own_way(arena: Arena) -> None:
    async def stop() -> Outcome:
        async with arena.executor() as executor:
            entry_point = "execute.example_jobs:wait_politely"
            launch = arena.launch({"entryPoint": entry_point}, job_type="python")
            await executor.start(launch)
            await eventually(lambda: (live := executor.live(launch.execution_id)) and live.progress)
            await executor.stop(launch.execution_id, "cancelled")
            return await next_end(executor)

    outcome = within(stop())
    assert (outcome.status, outcome.exit_code) == ("cancelled", 0)
    assert outcome.result == {"saved": True}


def test_a_function_that_never_asks_is_interrupted(arena: Arena, tmp_path: Path) -> None:
    async def stop() -> Outcome:
        async with arena.executor() as executor:
            parameters = {
                "entryPoint": "execute.example_jobs:wait_stubbornly",
                "kwargs": {"path": str(tmp_path / "tidied")},
            }
            launch = arena.launch(parameters, job_type="python", killGraceSeconds=60)
            await executor.start(launch)
            await eventually(arena.output)
            await executor.stop(launch.execution_id, "cancelled")
            return await next_end(executor)

    outcome = within(stop())
    assert (outcome.status, outcome.exit_code) == ("cancelled", 143)
    assert (tmp_path / "tidied").read_text() == "tidied"


def test_the_last_progress_is_never_lost(arena: Arena) -> None:
    assert call(arena, "flood").progress == (20_000, 20_000)


def test_the_example_counts_down(arena: Arena) -> None:
    outcome = arena.once(
        {
            "entryPoint": "jobreconciler.jobtypes.examples:countdown",
            "kwargs": {"steps": 3, "seconds": 0.01},
        },
        job_type="python",
    )
    assert outcome.status == "succeeded"
    assert outcome.progress == (3, 3)
    assert outcome.result is not None
    assert outcome.result["itemsProcessed"] == 3
    assert set(outcome.metrics) == {"steps_per_second"}
    assert [line.split(" ", 1)[1] for line in arena.output().splitlines()] == [
        "info counting down steps=3",
        "info lift-off done=3",
    ]


def test_the_environment_of_the_daemon_stays_out(arena: Arena) -> None:
    arena.once(
        {"entryPoint": "execute.example_jobs:leave"},
        job_type="python",
        environ={**ENVIRON, "PYTHONSTARTUP": "/no/such/file", "PYTHONPATH": "/no/such"},
    )
    assert os.environ["PATH"]
    assert arena.output() == ""
