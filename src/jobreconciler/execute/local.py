"""Runs attempts as child processes of this machine, each seen to by a supervisor process.

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
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from jobreconciler import boundaries
from jobreconciler.errors import NotFound, Transient
from jobreconciler.execute import capture, processes, request, spool
from jobreconciler.execute.connection import (
    ServerGone,
    raise_descriptor_limit,
)
from jobreconciler.execute.request import Sent
from jobreconciler.execute.runs import Run, clear_away, outcome, pair
from jobreconciler.execute.secret_values import SecretValues
from jobreconciler.execute.servers import Servers
from jobreconciler.execute.templates import Templates
from jobreconciler.execute.trees import RepositoryTrees
from jobreconciler.execute.watching import Watch
from jobreconciler.model.execution import Launch, Outcome
from jobreconciler.model.views import Live, Printed
from jobreconciler.ports import Adopted, Clock, Finished, JobTypes, LeftRunning, Started, Trees

_SLICE = 0.002
"""Seconds of the event loop that settling ended runs may take at a time."""
_LAUNCH_TRIES = 4
_Asked = tuple[int, Sent, Run]
"""Which of several launches, its request, and the run it becomes."""


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
        self._environ = dict(environ)
        self._secrets = SecretValues(environ, secrets_dir)
        self._templates = Templates(self._whole_request)
        self._on_error = on_error
        self._boot = processes.boot_id()
        self._runs: dict[str, Run] = {}
        self._watched = Watch(self._has_ended)
        self._last_of: dict[tuple[int, int], Run] = {}
        self._withdrawn: set[str] = set()
        self._ended: deque[Run] = deque()
        self._settling = False
        self._idle = asyncio.Event()
        self._idle.set()
        self._queue: asyncio.Queue[Finished | None] = asyncio.Queue()
        self._servers = Servers(
            self._state_dir, job_types, self._is_held, self._has_ended, self._on_server_gone
        )
        self._tasks: set[asyncio.Task[None]] = set()
        self._closing = False
        raise_descriptor_limit()

    # ------------------------------------------------------------------------------- the port

    async def start(self, launch: Launch) -> Started:
        """Starts one attempt, or takes it over where it was started before: never twice.

        Raises Invalid (unknown type, parameters, SecretMissing, DryRunUnsupported) and Transient.
        A program that cannot be executed is an outcome, with exit code 126 or 127.
        """
        run = self._run_of(launch)
        tree = await self._in_repository(launch)
        wanted = self._whole_request(launch, run.directory, tree)
        for _ in range(_LAUNCH_TRIES):
            if self._closing:
                raise Transient("the executor is closing", reason="Closing")
            held = spool.claimed(run.directory)
            if held is not None:
                run.boot, run.pid, run.pid_started = held
                if self._runs.setdefault(run.execution_id, run) is run:
                    self._watch(run)
                return self._started(run)
            server = await self._servers.connected(python=wanted.python)
            self._add(run)
            boundaries.passing(boundaries.BEFORE_LAUNCH)
            (refused,) = await server.launch_all([(wanted, run)])
            if refused is not None:
                self._remove(run)
                if isinstance(refused, ServerGone):
                    continue
                raise refused
            boundaries.passing(boundaries.AFTER_LAUNCH)
            return self._started(run)
        raise Transient(
            "the supervisor server ends again and again", reason="NoProcess", retry_after=5.0
        )

    async def start_all(self, launches: Sequence[Launch]) -> list[Started | BaseException]:
        """As `start` for each of them, many in one message to the server; an error stands in the
        place of what raises it."""
        results: dict[int, Started | BaseException] = {}
        asked: dict[bool, list[_Asked]] = {}
        for index, launch in enumerate(launches):
            if self._trees is not None and isinstance(launch.parameters.get("cwd"), dict):
                continue
            try:
                run = self._run_of(launch)
                one = index, self._templates.request(launch, run.directory), run
            except Exception as error:
                results[index] = error
            else:
                asked.setdefault(one[1].python, []).append(one)
        for python, group in asked.items():
            results |= await self._ask_for(group, python=python)
        left = [index for index in range(len(launches)) if index not in results]
        alone = [self.start(launches[index]) for index in left]
        results |= zip(left, await asyncio.gather(*alone, return_exceptions=True), strict=True)
        return [results[index] for index in range(len(launches))]

    async def _ask_for(
        self, asked: Sequence[_Asked], *, python: bool
    ) -> dict[int, Started | BaseException]:
        """What came of them, by index; nothing of those that the server ended before it took."""
        if self._closing:
            return {}
        try:
            server = await self._servers.connected(python=python)
        except Exception as error:
            return dict.fromkeys([index for index, _, _ in asked], error)
        for _, _, run in asked:
            self._add(run)
            boundaries.passing(boundaries.BEFORE_LAUNCH)
        try:
            errors = await server.launch_all([(wanted, run) for _, wanted, run in asked])
        except Exception as error:
            errors = [error] * len(asked)
        results: dict[int, Started | BaseException] = {}
        for (index, _, run), refused in zip(asked, errors, strict=True):
            if refused is None:
                boundaries.passing(boundaries.AFTER_LAUNCH)
                results[index] = self._started(run)
                continue
            self._remove(run)
            if not isinstance(refused, ServerGone):
                results[index] = refused
        return results

    def _whole_request(self, launch: Launch, directory: str, tree: str | None = None) -> Sent:
        job_type = self._job_types.get(launch.config["payload"]["jobType"])
        return request.sent(
            request.build(
                launch,
                job_type,
                self._secrets,
                directory,
                self._environ,
                networks=self._networks,
                tree=tree,
            )
        )

    def _run_of(self, launch: Launch) -> Run:
        directory = self._directory(launch.execution_id, launch.attempt)
        if directory in self._withdrawn:
            spool.permit(directory)
            self._withdrawn.discard(directory)
        return Run(launch.execution_id, launch.attempt, directory)

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
        run.to_stop = True
        if run.pid == 0 or self._tell_to_look(run):
            return True
        # Another than the one that is known of is told as soon as it is known.
        return spool.claimed(run.directory) != (run.boot, run.pid, run.pid_started)

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
        return Live(progress=pair(said.get("progress")), metrics=said.get("metrics") or None)

    def output(self, execution_id: str, attempt: int) -> Path:
        """Where an attempt's output is; there is no file before the first byte of it."""
        return Path(self._directory(execution_id, attempt)) / spool.OUTPUT

    def read_output(
        self, execution_id: str, attempt: int, offset: int = 0, limit: int = 262_144
    ) -> capture.Chunk:
        """Follows the output also past the point where its middle is being cut out."""
        return capture.read_output(self.output(execution_id, attempt), offset, limit)

    def tail(self, execution_id: str, attempt: int) -> Printed | None:
        data, at = capture.read_tail(self.output(execution_id, attempt))
        return Printed(data, datetime.fromtimestamp(at, UTC)) if data else None

    async def adopt(self, left: Sequence[LeftRunning]) -> Adopted:
        left = [one for one in left if one.execution_id not in self._runs]
        found = await asyncio.to_thread(lambda: [*map(self._examine, left)])
        await asyncio.to_thread(spool.make_folder, str(self._state_dir))
        for run in found:
            if run is not None:
                self._watch_opened(run)
        return Adopted(
            [run.execution_id for run in found if run is not None and run.pidfd >= 0],
            {one.execution_id for one, run in zip(left, found, strict=True) if run is None},
        )

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
        await self._servers.close()
        self._queue.put_nowait(None)

    # ------------------------------------------------------------------------ watching the runs

    def _directory(self, execution_id: str, attempt: int) -> str:
        try:
            return spool.directory(str(self._state_dir), execution_id, attempt)
        except ValueError as error:
            raise NotFound(str(error)) from None

    def _started(self, run: Run) -> Started:
        return Started(run.execution_id, run.attempt, self._clock.now(), run.pid)

    def _is_held(self, run: Run, pid: int, started: int) -> None:
        run.boot, run.pid, run.pid_started = self._boot, pid, started
        if run.to_stop:  # it may have looked before that was asked for
            self._tell_to_look(run)

    def _tell_to_look(self, run: Run) -> bool:
        """Whether somebody was there to be told."""
        if run.boot != self._boot:
            return False
        return processes.send(run.pid, run.pid_started, signal.SIGUSR1)

    def _add(self, run: Run) -> None:
        self._runs[run.execution_id] = run
        self._idle.clear()

    def _remove(self, run: Run) -> None:
        self._runs.pop(run.execution_id, None)
        if not self._runs:
            self._idle.set()

    def _on_server_gone(self, runs: Iterable[Run]) -> None:
        if not self._closing:
            for run in runs:
                run.boot = self._boot
                self._watch(run)

    def _examine(self, left: LeftRunning) -> Run | None:
        """Which process has it, and a descriptor of that where it still has. None where nobody took
        it up, nor will: an older server or supervisor may have a launch of it. Blocks."""
        directory = self._directory(left.execution_id, left.attempt)
        run = Run(left.execution_id, left.attempt, directory)
        ended = spool.has_result(run.directory)
        if not ended and self._is_withdrawn(run):
            return None
        claim = spool.claimed(run.directory)
        if claim is not None:
            run.boot, run.pid, run.pid_started = claim
        if not ended:
            self._open(run)
        return run

    def _open(self, run: Run) -> None:
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

    def _is_withdrawn(self, run: Run) -> bool:
        """Whether nobody has begun it, and nobody can any more."""
        if run.doubted or spool.claimed(run.directory) is not None:
            return False
        try:
            withdrawn = spool.withdraw(run.directory)
        except OSError as error:
            run.doubted = True
            self._on_error(f"looking whether execution {run.execution_id} was begun", error)
            return False
        if withdrawn:
            self._withdrawn.add(run.directory)
        return withdrawn

    def _watch(self, run: Run) -> None:
        """From here on the run's end, which may be past, comes out of `finished`."""
        holder = spool.claimed(run.directory)
        if holder is not None:  # else nobody began it: it is settled at once
            run.boot, run.pid, run.pid_started = holder
            if not spool.has_result(run.directory):
                self._open(run)
                if run.to_stop:
                    self._tell_to_look(run)
        self._watch_opened(run)

    def _watch_opened(self, run: Run) -> None:
        self._add(run)
        if run.pidfd < 0:
            self._has_ended(run)
            return
        self._watched.add(run.pidfd, run)
        holder = run.pid, run.pid_started
        before = self._last_of.get(holder)
        self._last_of[holder] = run
        # A supervisor goes on to its next run only when the one before is over.
        if before is not None and spool.has_result(before.directory):
            self._has_ended(before)

    def _unwatch(self, run: Run) -> None:
        if run.pidfd >= 0:
            holder = run.pid, run.pid_started
            if self._last_of.get(holder) is run:
                del self._last_of[holder]
            self._watched.forget(run.pidfd)
            os.close(run.pidfd)
            run.pidfd = -1

    def _has_ended(self, run: Run, result: Mapping[str, Any] | None = None) -> None:
        self._unwatch(run)
        run.result = result
        self._ended.append(run)
        if not self._settling:
            self._settling = True
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
        self._settling = False

    def _settle(self, run: Run) -> None:
        result = run.result or spool.result(run.directory)
        if result is not None and "finishedAt" in result:
            self._report(run, outcome(result))
            return
        said = result.get("error") if result is not None else None
        if self._is_withdrawn(run):
            self._spawn(self._lose(run, str(said or "no supervisor took it up"), begun=False))
            return
        holder = spool.claimed(run.directory)
        if holder is not None and holder != (run.boot, run.pid, run.pid_started):
            self._watch(run)
            return
        why = "its supervisor is gone"
        if run.boot not in ("", self._boot):
            why = "the machine was restarted"
        self._spawn(self._lose(run, str(said or why)))

    async def _lose(self, run: Run, why: str, *, begun: bool = True) -> None:
        """The run has no supervisor any more: nothing of it may go on, and its end is unknown;
        or nobody has begun it, unless something of it is there after all."""
        try:
            if run.boot in ("", self._boot):
                begun = await asyncio.to_thread(clear_away, run) or begun
        except Exception as error:
            self._on_error(f"clearing away execution {run.execution_id}", error)
            begun = True
        outcome = Outcome(status="lost", finished_at=self._clock.now(), error=why)
        self._report(run, outcome, begun=begun)

    def _report(self, run: Run, outcome: Outcome, *, begun: bool = True) -> None:
        boundaries.passing(boundaries.OUTCOME_READ)
        self._queue.put_nowait(Finished(run.execution_id, run.attempt, outcome, begun))
        self._remove(run)

    def _spawn(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._is_over)

    def _is_over(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None:
            self._on_error("settling runs", error)
