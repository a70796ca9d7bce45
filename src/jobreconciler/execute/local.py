"""Runs attempts as child processes of this machine, each seen to by a supervisor process.

The daemon only asks for a launch and reads what the spool says: it may be stopped, upgraded or
killed while jobs run, and take them over again (`adopt`). See spool.py for the files.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from jobreconciler import boundaries
from jobreconciler.errors import NotFound, Transient
from jobreconciler.execute import capture, request, spool
from jobreconciler.execute.connection import (
    ServerGone,
    raise_descriptor_limit,
)
from jobreconciler.execute.request import Sent
from jobreconciler.execute.runs import Run, pair
from jobreconciler.execute.secret_values import SecretValues
from jobreconciler.execute.servers import Servers
from jobreconciler.execute.settling import Settling
from jobreconciler.execute.templates import Templates
from jobreconciler.execute.trees import RepositoryTrees
from jobreconciler.model.execution import Launch
from jobreconciler.model.views import Live, Printed
from jobreconciler.ports import Adopted, Clock, Finished, JobTypes, LeftRunning, Started, Trees

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
        self._settling = Settling(clock, on_error)
        self._servers = Servers(
            self._state_dir,
            job_types,
            self._settling.held,
            self._settling.has_ended,
            self._on_server_gone,
        )
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
                if run.execution_id not in self._settling:
                    self._settling.watch(run)
                return self._started(run)
            server = await self._servers.connected(python=wanted.python)
            self._settling.add(run)
            boundaries.passing(boundaries.BEFORE_LAUNCH)
            (refused,) = await server.launch_all([(wanted, run)])
            if refused is not None:
                self._settling.remove(run)
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
            self._settling.add(run)
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
            self._settling.remove(run)
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
        if launch.again:
            spool.permit(directory)
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
        run = self._settling.get(execution_id)
        if run is None:
            return False
        Path(run.directory).mkdir(mode=0o700, parents=True, exist_ok=True)
        spool.ask_to_stop(run.directory, status)
        run.to_stop = True
        if run.pid == 0 or self._settling.tell_to_look(run):
            return True
        # Another than the one that is known of is told as soon as it is known.
        return spool.claimed(run.directory) != (run.boot, run.pid, run.pid_started)

    def finished(self) -> AsyncIterator[Finished]:
        """Every end, once, until the executor is closed. For one consumer."""
        return self._settling.finished()

    def more_finished(self) -> list[Finished]:
        return self._settling.more_finished()

    def live(self, execution_id: str) -> Live | None:
        run = self._settling.get(execution_id)
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
        left = [one for one in left if one.execution_id not in self._settling]
        runs = [
            Run(one.execution_id, one.attempt, self._directory(one.execution_id, one.attempt))
            for one in left
        ]
        begun = await asyncio.to_thread(lambda: [*map(self._settling.examine, runs)])
        await asyncio.to_thread(spool.make_folder, str(self._state_dir))
        taken = [run for run, was_begun in zip(runs, begun, strict=True) if was_begun]
        for run in taken:
            self._settling.watch_opened(run)
        return Adopted(
            [run.execution_id for run in taken if run.pidfd >= 0],
            {run.execution_id for run, was in zip(runs, begun, strict=True) if not was},
        )

    async def close(self, *, drain: bool = False) -> None:
        """Ends the executor; without `drain` jobs run on, for a later one to adopt."""
        self._closing = True
        if drain:
            await self._settling.idle.wait()
        await self._settling.stop()
        await self._servers.close()
        self._settling.close()

    def _directory(self, execution_id: str, attempt: int) -> str:
        try:
            return spool.directory(str(self._state_dir), execution_id, attempt)
        except ValueError as error:
            raise NotFound(str(error)) from None

    def _started(self, run: Run) -> Started:
        return Started(run.execution_id, run.attempt, self._clock.now(), run.pid)

    def _on_server_gone(self, runs: Iterable[Run]) -> None:
        if not self._closing:
            self._settling.left(runs)
