"""Real child processes for tests: an executor in a directory of its own, and launches for it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import time
import uuid
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from pathlib import Path
from typing import Any

from jobreconciler.clock import SystemClock
from jobreconciler.execute import processes, spool
from jobreconciler.execute.local import LocalExecutor
from jobreconciler.jobtypes.registry import load_job_types
from jobreconciler.model.execution import Launch, Outcome, Trigger
from jobreconciler.ports import LeftRunning, Started, Trees

HANG = 60.0
"""Seconds after which a test is taken to hang; never a measure of speed."""
ENVIRON = {"PATH": os.environ["PATH"], "HOME": "/", "DAEMON_TOKEN": "daemon-token-value"}


def shell(script: str, **parameters: Any) -> dict[str, Any]:
    return {"shell": script, **parameters}


def python(code: str) -> dict[str, Any]:
    return {"argv": [sys.executable, "-c", code]}


class Arena:
    """Executors over one state directory, and what the tests ask of them."""

    def __init__(self, state_dir: Path) -> None:
        self.state_dir = state_dir
        self.errors: list[tuple[str, BaseException]] = []
        self.run_id = uuid.uuid4().hex[:12]
        self._count = 0

    @contextlib.asynccontextmanager
    async def executor(
        self,
        *,
        secrets_dir: Path | None = None,
        environ: Mapping[str, str] = ENVIRON,
        drain: bool = False,
        networks: tuple[str, ...] = (),
        trees: Trees | None = None,
    ) -> AsyncIterator[LocalExecutor]:
        executor = LocalExecutor(
            self.state_dir,
            load_job_types(),
            SystemClock(),
            secrets_dir=secrets_dir,
            environ=environ,
            on_error=lambda what, error: self.errors.append((what, error)),
            networks=networks,
            trees=trees,
        )
        try:
            yield executor
        finally:
            await executor.close(drain=drain)

    def launch(
        self,
        parameters: dict[str, Any],
        *,
        job_type: str = "command",
        trigger: Trigger | None = None,
        dry_run: bool = False,
        attempt: int = 1,
        revision: str = "f" * 40,
        **limits: Any,
    ) -> Launch:
        self._count += 1
        config = {
            "meta": {"id": "a-job"},
            "payload": {"jobType": job_type, "limits": {"killGraceSeconds": 5, **limits}},
        }
        return Launch(
            execution_id=f"{self.run_id}-{self._count}",
            job_id="a-job",
            attempt=attempt,
            config=config,
            parameters=parameters,
            trigger=trigger or Trigger("manual", actor="someone"),
            revision=revision,
            dry_run=dry_run,
        )

    async def outcome(
        self, executor: LocalExecutor, parameters: dict[str, Any], **kw: Any
    ) -> Outcome:
        """Starts one run and waits for its end."""
        await executor.start(self.launch(parameters, **kw))
        return await next_end(executor)

    def once(self, parameters: dict[str, Any], **kw: Any) -> Outcome:
        """One run in an executor of its own."""
        names = ("secrets_dir", "environ", "networks", "trees")
        options = {key: kw.pop(key) for key in names if key in kw}

        async def one() -> Outcome:
            async with self.executor(**options) as executor:
                return await self.outcome(executor, parameters, **kw)

        return within(one())

    def output(self, number: int = 1, attempt: int = 1) -> str:
        path = self.directory(number, attempt) / "output"
        return path.read_text() if path.exists() else ""

    def directory(self, number: int = 1, attempt: int = 1) -> Path:
        return self.state_dir / "runs" / f"{self.run_id}-{number}" / str(attempt)

    def left_over(self) -> list[int]:
        """Processes that carry the mark of one of this arena's runs."""
        mark = f"{processes.MARKER}={self.run_id}-".encode()
        return [pid for pid in pids() if mark in _environment(pid)]

    def holder(self, number: int = 1, attempt: int = 1) -> int:
        """Pid of the supervisor that has the run."""
        held = spool.claimed(str(self.directory(number, attempt)))
        assert held is not None
        return held[1]

    def supervisors(self) -> list[int]:
        """Processes that claimed one of this arena's runs and still live."""
        found = []
        for claim in self.state_dir.glob("runs/*@*"):
            held = spool.claimed(str(claim).replace("@", "/"))
            if held is not None and processes.is_alive(*held[1:]):
                found.append(held[1])
        return found


def within(work: Coroutine[Any, Any, Any]) -> Any:
    async def guarded() -> Any:
        return await asyncio.wait_for(work, HANG)

    return asyncio.run(guarded())


async def next_end(executor: LocalExecutor) -> Outcome:
    return (await anext(executor.finished())).outcome


async def eventually(holds: Callable[[], Any]) -> Any:
    """Waits until it holds and returns it; only the hang guard ends the waiting otherwise."""
    while not (held := holds()):
        await asyncio.sleep(0.01)
    return held


def eventually_now(holds: Callable[[], Any]) -> Any:
    until = time.monotonic() + HANG
    while not (held := holds()):
        assert time.monotonic() < until, "it never came true"
        time.sleep(0.01)
    return held


def pids() -> list[int]:
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]


def left_by(started: Started) -> LeftRunning:
    """What a store would hold of a run that was started."""
    return LeftRunning(started.execution_id, started.attempt)


def running(executor: LocalExecutor) -> int:
    """How many runs it answers for."""
    return len(executor._settling._runs)


def server_pid(executor: LocalExecutor, *, python: bool = False) -> int | None:
    """Of the server for programs, or the warm one; None where it is not running."""
    server = executor._servers._running.get(python)
    return None if server is None or server.gone or not server._process else server._process.pid


def _environment(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return b""
