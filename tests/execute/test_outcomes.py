"""How a run ends, and what is recorded of it."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

import pytest

from execute.arena import (
    Arena,
    eventually,
    eventually_now,
    next_end,
    python,
    running,
    shell,
    within,
)
from jobreconciler.errors import Invalid, NotFound

OUTCOMES = {
    "a program that ends with 0 has succeeded": (
        {"argv": ["/bin/true"]},
        ("succeeded", 0, None, None),
    ),
    "a program that ends with another code has failed": (
        shell("exit 3"),
        ("failed", 3, None, "exit code 3"),
    ),
    "a code that the job declares a success is one": (
        shell("exit 24", successExitCodes=[0, 24]),
        ("succeeded", 24, None, None),
    ),
    "0 is a failure where only another code means success": (
        shell("true", successExitCodes=[1]),
        ("failed", 0, None, "exit code 0"),
    ),
    "a signal is told apart from an exit code": (
        shell("kill -9 $$"),
        ("failed", None, 9, "killed by signal 9 (SIGKILL)"),
    ),
    "a program that does not exist fails with 127": (
        {"argv": ["no-such-program-anywhere"]},
        ("failed", 127, None, "there is no program 'no-such-program-anywhere' in PATH"),
    ),
    "a path that does not exist fails with 127": (
        {"argv": ["/no/such/program"]},
        ("failed", 127, None, "there is no program '/no/such/program'"),
    ),
    "a file that is no program fails with 126": (
        {"argv": ["/etc/passwd"]},
        ("failed", 126, None, "'/etc/passwd' may not be executed"),
    ),
    "a missing working directory fails with 127": (
        {"argv": ["/bin/true"], "cwd": "/no/such/directory"},
        ("failed", 127, None, "the working directory /no/such/directory does not exist"),
    ),
}


@pytest.mark.parametrize("case", OUTCOMES.values(), ids=OUTCOMES.keys())
def test_outcomes(arena: Arena, case: tuple[dict[str, Any], tuple[Any, ...]]) -> None:
    parameters, expected = case
    outcome = arena.once(parameters)
    assert (outcome.status, outcome.exit_code, outcome.signal, outcome.error) == expected


def test_a_program_that_could_not_start_says_so_in_its_output_too(arena: Arena) -> None:
    arena.once({"argv": ["/no/such/program"]})
    assert arena.output() == "[jobreconciler: there is no program '/no/such/program']\n"


def test_a_program_is_looked_up_in_the_jobs_own_path(arena: Arena, tmp_path: Path) -> None:
    program = tmp_path / "bin" / "greet"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\necho hello\n")
    program.chmod(0o755)
    assert arena.once({"argv": ["greet"], "env": {"PATH": str(program.parent)}}).exit_code == 0
    assert arena.output() == "hello\n"


def test_a_script_without_a_first_line_is_explained(arena: Arena, tmp_path: Path) -> None:
    script = tmp_path / "script"
    script.write_text("echo hello\n")
    script.chmod(0o755)
    outcome = arena.once({"argv": [str(script)]})
    assert outcome.exit_code == 126
    assert (
        outcome.error == f"{str(script)!r} is no program: it lacks a first line such as #!/bin/sh"
    )


def test_the_environment_holds_what_is_documented_and_nothing_else(arena: Arena) -> None:
    arena.once(shell("env -u PWD -u _ -u SHLVL | sort", env={"GREETING": "hello"}))
    names = [line.split("=")[0] for line in arena.output().splitlines()]
    assert names == [
        "GREETING",
        "HOME",
        "JOBRECONCILER_ATTEMPT",
        "JOBRECONCILER_DRY_RUN",
        "JOBRECONCILER_EXECUTION",
        "JOBRECONCILER_JOB",
        "JOBRECONCILER_REPORT_FD",
        "JOBRECONCILER_REVISION",
        "JOBRECONCILER_SLOT",
        "JOBRECONCILER_TRIGGER",
        "LANG",
        "PATH",
        "TZ",
    ]
    assert "daemon-token-value" not in arena.output()


def test_a_job_cannot_pretend_to_be_another_execution(arena: Arena) -> None:
    arena.once(shell("echo $JOBRECONCILER_JOB", env={"JOBRECONCILER_JOB": "another"}))
    assert arena.output() == "a-job\n"


def test_input_is_empty_and_no_other_descriptor_is_open(arena: Arena) -> None:
    code = (
        "import os,sys; print(len(sys.stdin.read()), sorted(map(int, os.listdir('/proc/self/fd'))))"
    )
    arena.once(python(code))
    assert arena.output() == "0 [0, 1, 2, 3, 4]\n", "4 is the listing itself"


def test_signals_are_as_a_program_expects_them(arena: Arena) -> None:
    arena.once(shell("grep -E 'Sig(Blk|Ign)' /proc/self/status"))
    masks = {line.split(":")[0]: int(line.split()[1], 16) for line in arena.output().splitlines()}
    masks["SigIgn"] &= 2**31 - 1  # signals 32 and 33 belong to the C library
    assert masks == {"SigBlk": 0, "SigIgn": 0}


def test_output_and_errors_come_in_the_order_they_were_written(arena: Arena) -> None:
    arena.once(shell("echo one; echo two >&2; echo three"))
    assert arena.output() == "one\ntwo\nthree\n"


def test_a_relative_state_directory_works_from_anywhere(
    arena: Arena, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    arena.state_dir = Path("state")
    assert arena.once(shell("echo hello")).status == "succeeded"
    arena.state_dir = tmp_path / "state"
    assert arena.output() == "hello\n"


def test_parameters_are_checked_before_anything_starts(arena: Arena) -> None:
    with pytest.raises(Invalid) as caught:
        arena.once({"argv": ["/bin/true"], "shell": "true"})
    assert caught.value.reason == "InvalidParameters"
    assert not (arena.state_dir / "runs").exists()


def test_a_type_that_cannot_run_dry_never_runs_for_real_instead(arena: Arena) -> None:
    with pytest.raises(Invalid) as caught:
        arena.once({"argv": ["/bin/true"]}, dry_run=True)
    assert caught.value.reason == "DryRunUnsupported"


def test_an_unknown_type_is_not_found(arena: Arena) -> None:
    with pytest.raises(NotFound):
        arena.once({}, job_type="no-such-type")


def test_an_execution_id_cannot_leave_the_spool(arena: Arena) -> None:
    async def ask() -> None:
        async with arena.executor() as executor:
            executor.output("../../etc", 1)

    with pytest.raises(NotFound):
        within(ask())


def test_two_hundred_runs_at_once_all_end_as_they_should(arena: Arena) -> None:
    async def many() -> dict[str, int | None]:
        async with arena.executor() as executor:
            launches = [arena.launch(shell(f"exit {number % 7}")) for number in range(200)]
            await asyncio.gather(*map(executor.start, launches))
            ends = executor.finished()
            found = {}
            for _ in launches:
                one = await anext(ends)
                found[one.execution_id] = one.outcome.exit_code
            assert running(executor) == 0
            return found

    assert within(many()) == {f"{arena.run_id}-{n + 1}": n % 7 for n in range(200)}


def test_a_run_that_was_started_before_is_taken_over_not_started_twice(arena: Arena) -> None:
    async def twice() -> None:
        async with arena.executor() as executor:
            launch = arena.launch(shell("echo began; sleep 600"))
            first = await executor.start(launch)
            await eventually(arena.output)
            async with arena.executor() as other:
                second = await other.start(launch)
                assert second.pid == first.pid
            assert await executor.stop(launch.execution_id, "cancelled")
            assert (await next_end(executor)).status == "cancelled"

    within(twice())
    assert arena.output() == "began\n"


def test_draining_waits_and_closing_does_not(arena: Arena, tmp_path: Path) -> None:
    gate = tmp_path / "gate"

    async def close() -> None:
        async with arena.executor() as executor:
            await executor.start(arena.launch(shell(f"until [ -e {gate} ]; do sleep 0.01; done")))
            assert running(executor) == 1

    async def drain() -> None:
        async with arena.executor(drain=True) as executor:
            await executor.start(arena.launch(shell("sleep 0.1; echo done")))

    within(close())
    eventually_now(lambda: len(arena.supervisors()) == 1)
    gate.touch()
    within(drain())
    assert arena.output(2) == "done\n"


def test_the_server_loads_nothing_but_a_few_modules_of_the_standard_library() -> None:
    import subprocess

    server = Path(sys.modules["jobreconciler.execute.local"].__file__ or "").with_name(
        "supervisor_server.py"
    )
    code = (
        f"import sys; file = {str(server)!r}\n"
        "exec(compile(open(file).read(), file, 'exec'), {'__name__': 'loaded', '__file__': file})\n"
        "print(*sorted(name for name in sys.modules if '.' not in name))"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=True
    )
    loaded = set(done.stdout.split())
    assert "json" in loaded
    assert not loaded & {"asyncio", "subprocess", "pathlib", "typing", "socket", "pydantic", "site"}
