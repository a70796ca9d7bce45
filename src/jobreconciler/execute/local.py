"""Runs attempts as child processes of this machine, each under a supervisor of its own.

The daemon only asks for a launch and reads what the spool says: it may be stopped, upgraded or
killed while jobs run, and take them over again (`adopt`). See spool.py for the files.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from jobreconciler import boundaries
from jobreconciler.errors import NotFound, Transient
from jobreconciler.execute import capture, processes, request, spool
from jobreconciler.execute.connection import (
    ServerConnection,
    ServerGone,
    connect,
    raise_descriptor_limit,
)
from jobreconciler.execute.secret_values import SecretValues
from jobreconciler.execute.trees import RepositoryTrees
from jobreconciler.execute.watching import Watch
from jobreconciler.model.execution import Launch, Outcome
from jobreconciler.model.views import Live
from jobreconciler.ports import Adopted, Clock, Finished, JobTypes, LeftRunning, Started, Trees

_SLICE = 0.002
"""Seconds of the event loop that settling ended runs may take at a time."""
_LAUNCH_TRIES = 4


@dataclass(slots=True)
class _Run:
    """One attempt and the process that has it.

    The server tells of the ends of what it launched; `pidfd` watches everything else. `to_stop`: a
    stop was asked for before it was known who has it.
    """

    execution_id: str
    attempt: int
    directory: str
    boot: str = ""
    pid: int = 0
    pid_started: int = 0
    pidfd: int = -1
    to_stop: bool = False
    result: Mapping[str, Any] | None = None


class LocalExecutor:
    """The `Executor` for one machine.

    `environ` is where `{env: NAME}` secrets and PATH, HOME, LANG and TZ come from; `on_error`
    hears of failures that concern no single caller; `networks` are private ones that `http` jobs
    may reach; `trees` are what runs with `cwd: {repo: dir}` start in.
    """

    def __init__(
        self,
        state_dir: Path,
        job_types: JobTypes,
        clock: Clock,
        *,
        secrets_dir: Path | None,
        environ: Mapping[str, str],
        on_error: Callable[[str, BaseException], None],
        networks: Sequence[str] = (),
        trees: Trees | None = None,
    ) -> None:
        self._trees = RepositoryTrees(trees) if trees is not None else None
        self._networks = networks
        self._state_dir = state_dir.absolute()
        self._job_types = job_types
        self._clock = clock
        self._environ = environ
        self._secrets = SecretValues(environ, secrets_dir)
        self._on_error = on_error
        self._boot = processes.boot_id()
        self._runs: dict[str, _Run] = {}
        self._watched = Watch(self._has_ended)
        self._ended: deque[_Run] = deque()
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._queue: asyncio.Queue[Finished | None] = asyncio.Queue()
        self._connecting = asyncio.Lock()
        self._servers: dict[bool, ServerConnection] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._closing = False
        raise_descriptor_limit()

    # ------------------------------------------------------------------------------- the port

    async def start(self, launch: Launch) -> Started:
        """Starts one attempt, or takes it over where it was started before: never twice.

        Raises Invalid (unknown type, parameters, SecretMissing, DryRunUnsupported) and Transient.
        A program that cannot be executed is an outcome, with exit code 126 or 127.
        """
        directory = self._directory(launch.execution_id, launch.attempt)
        job_type = self._job_types.get(launch.config["payload"]["jobType"])
        wanted = request.build(
            launch,
            job_type,
            self._secrets,
            directory,
            self._environ,
            networks=self._networks,
            tree=await self._in_repository(launch),
        )
        run = _Run(launch.execution_id, launch.attempt, directory)
        for _ in range(_LAUNCH_TRIES):
            if self._closing:
                raise Transient("the executor is closing", reason="Closing")
            held = spool.claimed(directory)
            if held is not None:
                run.boot, run.pid, run.pid_started = held
                if self._runs.setdefault(run.execution_id, run) is run:
                    self._watch(run)
                return self._started(run)
            server = await self._connected(python=wanted["worker"] is not None)
            self._add(run)
            boundaries.passing(boundaries.BEFORE_LAUNCH)
            try:
                await server.launch(wanted, run)
            except ServerGone:
                self._remove(run)
                continue
            except Transient:
                self._remove(run)
                raise
            boundaries.passing(boundaries.AFTER_LAUNCH)
            return self._started(run)
        raise Transient(
            "the supervisor server ends again and again", reason="NoProcess", retry_after=5.0
        )

    async def _in_repository(self, launch: Launch) -> str | None:
        """The directory that `cwd: {repo: dir}` means to this launch; None where it has none."""
        cwd = launch.parameters.get("cwd")
        if self._trees is None or not isinstance(cwd, dict) or not isinstance(cwd.get("repo"), str):
            return None
        return await self._trees.directory(launch.revision, cwd["repo"])

    def secret(self, reference: Mapping[str, Any]) -> str:
        """The value behind a secret reference, as it is now. Raises Invalid; may read a file."""
        return self._secrets.resolve(reference)

    async def stop(self, execution_id: str, status: str) -> bool:
        run = self._runs.get(execution_id)
        if run is None:
            return False
        Path(run.directory).mkdir(mode=0o700, parents=True, exist_ok=True)
        spool.ask_to_stop(run.directory, status)
        if run.pid == 0:
            run.to_stop = True
            return True
        return processes.send(run.pid, run.pid_started, signal.SIGUSR1)

    async def finished(self) -> AsyncIterator[Finished]:
        """Every end, once, until the executor is closed. For one consumer."""
        while (one := await self._queue.get()) is not None:
            yield one

    def more_finished(self) -> list[Finished]:
        found = []
        while not self._queue.empty():
            one = self._queue.get_nowait()
            if one is None:
                self._queue.put_nowait(one)
                break
            found.append(one)
        return found

    def live(self, execution_id: str) -> Live | None:
        run = self._runs.get(execution_id)
        if run is None:
            return None
        try:
            said = spool.read_json(f"{run.directory}/{spool.LIVE}") or {}
        except ValueError:
            said = {}
        return Live(progress=_pair(said.get("progress")), metrics=said.get("metrics") or None)

    def output(self, execution_id: str, attempt: int) -> Path:
        """Where an attempt's output is; there is no file before the first byte of it."""
        return Path(self._directory(execution_id, attempt)) / spool.OUTPUT

    def read_output(
        self, execution_id: str, attempt: int, offset: int = 0, limit: int = 262_144
    ) -> capture.Chunk:
        """Follows the output also past the point where its middle is being cut out."""
        return capture.read_output(self.output(execution_id, attempt), offset, limit)

    async def adopt(self, left: Sequence[LeftRunning]) -> Adopted:
        left = [one for one in left if one.execution_id not in self._runs]
        found = await asyncio.to_thread(lambda: [*map(self._examine, left)])
        for run in found:
            if run is not None:
                self._watch_opened(run)
        return Adopted(
            [run.execution_id for run in found if run is not None and run.pidfd >= 0],
            {one.execution_id for one, run in zip(left, found, strict=True) if run is None},
        )

    def running(self) -> int:
        return len(self._runs)

    async def close(self, *, drain: bool = False) -> None:
        """Ends the executor; without `drain` jobs run on, for a later one to adopt."""
        self._closing = True
        if drain:
            await self._idle.wait()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for run in self._runs.values():
            self._unwatch(run)
        self._watched.close()
        for server in self._servers.values():
            await server.close()
        self._queue.put_nowait(None)

    # ---------------------------------------------------------------------------- the server

    def _modules(self) -> list[str]:
        """Where the job types are that run in Python."""
        names = self._job_types.names()
        return sorted({type(self._job_types.get(name)).__module__ for name in names})

    @property
    def server_pid(self) -> int | None:
        """Pid of the supervisor server, None where it is not running."""
        return self._pid_of(python=False)

    @property
    def warm_server_pid(self) -> int | None:
        """Pid of the server for Python jobs, None where it is not running."""
        return self._pid_of(python=True)

    def _pid_of(self, *, python: bool) -> int | None:
        server = self._servers.get(python)
        return None if server is None or server.gone else server.pid

    async def _connected(self, *, python: bool) -> ServerConnection:
        """The server for programs or the warm one, started where it does not run."""
        async with self._connecting:
            server = self._servers.get(python)
            if server is not None and server.gone:
                del self._servers[python]
                await server.close()
                server = None
            if server is None:
                self._state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
                preload = self._modules() if python else None
                server = await connect(
                    self._state_dir, preload, self._is_held, self._has_ended, self._on_server_gone
                )
                self._servers[python] = server
            return server

    # ------------------------------------------------------------------------ watching the runs

    def _directory(self, execution_id: str, attempt: int) -> str:
        try:
            return spool.directory(str(self._state_dir), execution_id, attempt)
        except ValueError as error:
            raise NotFound(str(error)) from None

    def _started(self, run: _Run) -> Started:
        if run.to_stop:  # asked for when nobody knew yet whom to wake: it may have looked already
            processes.send(run.pid, run.pid_started, signal.SIGUSR1)
        return Started(
            run.execution_id,
            run.attempt,
            self._clock.now(),
            run.pid,
            run.pid_started,
            run.boot,
        )

    def _is_held(self, run: _Run, pid: int, started: int) -> None:
        run.boot, run.pid, run.pid_started = self._boot, pid, started

    def _add(self, run: _Run) -> None:
        self._runs[run.execution_id] = run
        self._idle.clear()

    def _remove(self, run: _Run) -> None:
        self._runs.pop(run.execution_id, None)
        if not self._runs:
            self._idle.set()

    def _on_server_gone(self, runs: Iterable[_Run]) -> None:
        if not self._closing:
            for run in runs:
                run.boot = self._boot
                self._watch(run)

    def _examine(self, left: LeftRunning) -> _Run | None:
        """Which process has it, by its claim or else by the store, and a descriptor of that where
        it still has. None where nobody ever took it up: an older server may have a launch of it
        still to read, and `start` takes it over then. Blocks."""
        directory = self._directory(left.execution_id, left.attempt)
        run = _Run(left.execution_id, left.attempt, directory)
        claim = spool.claimed(run.directory)
        ended = _has_result(run)
        if claim is not None:
            run.boot, run.pid, run.pid_started = claim
        elif left.pid is not None:
            run.boot, run.pid = left.boot_id or "", left.pid
            run.pid_started = left.pid_started or 0
        elif not ended:
            return None
        if not ended:
            self._open(run)
        return run

    def _open(self, run: _Run) -> None:
        """Its supervisor's descriptor, where that is alive. Of a run without a result only: the
        supervisor may be at work on another one by now."""
        if run.boot != self._boot or run.pid <= 0:
            return
        try:
            run.pidfd = os.pidfd_open(run.pid)
        except ProcessLookupError:
            return
        if not processes.is_alive(run.pid, run.pid_started):
            os.close(run.pidfd)
            run.pidfd = -1

    def _watch(self, run: _Run) -> None:
        """From here on the run's end, which may be past, comes out of `finished`."""
        if not _has_result(run):
            self._open(run)
        self._watch_opened(run)

    def _watch_opened(self, run: _Run) -> None:
        self._add(run)
        if run.pidfd >= 0:
            self._watched.add(run.pidfd, run)
        else:
            self._has_ended(run)

    def _unwatch(self, run: _Run) -> None:
        if run.pidfd >= 0:
            self._watched.forget(run.pidfd)
            os.close(run.pidfd)
            run.pidfd = -1

    def _has_ended(self, run: _Run, result: Mapping[str, Any] | None = None) -> None:
        self._unwatch(run)
        run.result = result
        self._ended.append(run)
        if not self._wake.is_set():
            self._wake.set()
            self._spawn(self._settle_all())

    async def _settle_all(self) -> None:
        until = time.monotonic() + _SLICE
        while self._ended:
            run = self._ended.popleft()
            try:
                self._settle(run)
            except Exception as error:
                self._on_error(f"settling execution {run.execution_id}", error)
                self._spawn(self._lose(run, f"its result could not be read: {error}"))
            if time.monotonic() >= until:
                await asyncio.sleep(0)
                until = time.monotonic() + _SLICE
        self._wake.clear()

    def _settle(self, run: _Run) -> None:
        result = run.result or spool.read_json(f"{run.directory}/{spool.RESULT}")
        if result is not None and "finishedAt" in result:
            self._report(run, _outcome(result))
            return
        holder = spool.claimed(run.directory)
        if holder is not None and holder != (run.boot, run.pid, run.pid_started):
            run.boot, run.pid, run.pid_started = holder
            self._watch(run)
            return
        why = "its supervisor is gone" if run.boot == self._boot else "the machine was restarted"
        said = result.get("error") if result is not None else None
        self._spawn(self._lose(run, str(said or why)))

    async def _lose(self, run: _Run, why: str) -> None:
        """The run has no supervisor any more: nothing of it may go on, and its end is unknown."""
        try:
            if run.boot == self._boot:
                await asyncio.to_thread(_clear_away, run)
        except Exception as error:
            self._on_error(f"clearing away execution {run.execution_id}", error)
        self._report(run, Outcome(status="lost", finished_at=self._clock.now(), error=why))

    def _report(self, run: _Run, outcome: Outcome) -> None:
        boundaries.passing(boundaries.OUTCOME_READ)
        self._queue.put_nowait(Finished(run.execution_id, run.attempt, outcome))
        self._remove(run)

    def _spawn(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _has_result(run: _Run) -> bool:
    return os.access(f"{run.directory}/{spool.RESULT}", os.F_OK)


def _clear_away(run: _Run) -> None:
    """Kills what is left of a run and joins what it printed."""
    processes.kill_run(run.execution_id, spool.job_of(run.directory))
    try:
        left = capture.pieces(run.directory)
        if left:
            capture.compact(run.directory, left[0][0] * 2)
            capture.sweep(run.directory)
    except FileNotFoundError:
        return


def _outcome(result: Mapping[str, Any]) -> Outcome:
    return Outcome(
        status=result["status"],
        finished_at=datetime.fromisoformat(result["finishedAt"]),
        exit_code=result["exitCode"],
        signal=result["signal"],
        error=result["error"],
        result=result["result"],
        progress=_pair(result["progress"]),
        metrics=result["metrics"],
        output_bytes=result["outputBytes"],
        output_dropped=result["outputDropped"],
    )


def _pair(value: Any) -> tuple[int, int] | None:
    return None if value is None else (int(value[0]), int(value[1]))
