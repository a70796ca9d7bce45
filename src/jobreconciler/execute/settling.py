"""The runs that a daemon answers for: who has each of them, and how it ends."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from typing import Any

from jobreconciler import boundaries
from jobreconciler.execute import processes, spool
from jobreconciler.execute.runs import Run, clear_away, outcome
from jobreconciler.execute.watching import Watch
from jobreconciler.model.execution import Outcome
from jobreconciler.ports import Clock, Finished

_SLICE = 0.002
"""Seconds of the event loop that settling ended runs may take at a time."""


class Settling:
    """Used on the event loop only, but for `examine`. `idle` is set while there is no run.

    The server tells of most ends (`has_ended`); the others are noticed by the ends of supervisors.
    """

    def __init__(self, clock: Clock, on_error: Callable[[str, BaseException], None]) -> None:
        self._clock = clock
        self._on_error = on_error
        self._boot = processes.boot_id()
        self._runs: dict[str, Run] = {}
        self._watched = Watch(self.has_ended)
        self._last_of: dict[tuple[int, int], Run] = {}
        self._ended: deque[Run] = deque()
        self._settling = False
        self._queue: asyncio.Queue[Finished | None] = asyncio.Queue()
        self._tasks: set[asyncio.Task[None]] = set()
        self.idle = asyncio.Event()
        self.idle.set()

    def __contains__(self, execution_id: str) -> bool:
        return execution_id in self._runs

    def get(self, execution_id: str) -> Run | None:
        return self._runs.get(execution_id)

    async def finished(self) -> AsyncIterator[Finished]:
        """Every end, once, until this is closed. For one consumer."""
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

    async def stop(self) -> None:
        """Settles nothing more."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for run in self._runs.values():
            self._unwatch(run)
        self._watched.close()

    def close(self) -> None:
        """Ends `finished`."""
        self._queue.put_nowait(None)

    def held(self, run: Run, pid: int, started: int) -> None:
        run.boot, run.pid, run.pid_started = self._boot, pid, started
        if run.to_stop:  # it may have looked before that was asked for
            self.tell_to_look(run)

    def tell_to_look(self, run: Run) -> bool:
        """Whether somebody was there to be told."""
        if run.boot != self._boot:
            return False
        return processes.send(run.pid, run.pid_started, signal.SIGUSR1)

    def add(self, run: Run) -> None:
        self._runs[run.execution_id] = run
        self.idle.clear()

    def remove(self, run: Run) -> None:
        self._runs.pop(run.execution_id, None)
        if not self._runs:
            self.idle.set()

    def left(self, runs: Iterable[Run]) -> None:
        """The server that told of their ends is gone."""
        for run in runs:
            run.boot = self._boot
            self.watch(run)

    def examine(self, run: Run) -> bool:
        """Finds which process has it, and a descriptor of that where it still has. False where
        nobody took it up, nor will: an older server or supervisor may have a launch of it. Blocks.
        """
        ended = spool.has_result(run.directory)
        if not ended and self._is_withdrawn(run):
            return False
        claim = spool.claimed(run.directory)
        if claim is not None:
            run.boot, run.pid, run.pid_started = claim
        if not ended:
            self._open(run)
        return True

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
            return spool.withdraw(run.directory)
        except OSError as error:
            run.doubted = True
            self._on_error(f"looking whether execution {run.execution_id} was begun", error)
            return False

    def watch(self, run: Run) -> None:
        """From here on the run's end, which may be past, comes out of `finished`."""
        holder = spool.claimed(run.directory)
        if holder is None:
            # Nobody has begun it, whoever was given it: it is settled at once, unless somebody does
            # so meanwhile. That one is then not taken for a supervisor that is gone.
            run.pid = run.pid_started = 0
        else:
            run.boot, run.pid, run.pid_started = holder
            if not spool.has_result(run.directory):
                self._open(run)
                if run.to_stop:
                    self.tell_to_look(run)
        self.watch_opened(run)

    def watch_opened(self, run: Run) -> None:
        self.add(run)
        if run.pidfd < 0:
            self.has_ended(run)
            return
        self._watched.add(run.pidfd, run)
        holder = run.pid, run.pid_started
        before = self._last_of.get(holder)
        self._last_of[holder] = run
        # A supervisor goes on to its next run only when the one before is over.
        if before is not None and spool.has_result(before.directory):
            self.has_ended(before)

    def _unwatch(self, run: Run) -> None:
        if run.pidfd >= 0:
            holder = run.pid, run.pid_started
            if self._last_of.get(holder) is run:
                del self._last_of[holder]
            self._watched.forget(run.pidfd)
            os.close(run.pidfd)
            run.pidfd = -1

    def has_ended(self, run: Run, result: Mapping[str, Any] | None = None) -> None:
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
            self.watch(run)
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
        self.remove(run)

    def _spawn(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._is_over)

    def _is_over(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None:
            self._on_error("settling runs", error)
