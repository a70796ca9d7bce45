"""One run, watched from beside: starts the job, keeps its limits, stops all of it, writes its end.

A supervisor is a fork of the supervisor server and needs neither it nor the daemon once it has
begun. Everything it is told comes in `request` (see request.py), which is never on disk. When the
run is over nothing of it is left in the process, which may then take the next one.
Standard library only.
"""

from __future__ import annotations

import os
import select
import signal
import time
from contextlib import suppress

from jobreconciler.execute import processes, spawn, spool, wording
from jobreconciler.execute.capture import Capture
from jobreconciler.execute.ending import NO_OUTPUT, ending
from jobreconciler.execute.lines import Lines
from jobreconciler.execute.masking import Mask
from jobreconciler.execute.reports import Reports
from jobreconciler.execute.signals import Signals

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

LINGER = 0.5
"""Seconds that what a job left running may still take to end by itself."""
GIVE_UP = 30.0
"""Seconds of SIGKILL after which processes that cannot be killed are reported instead."""
LIVE_INTERVAL = 0.5
MEMORY_INTERVAL = 0.2
_CHUNK = 65536
_RESULT_TRIES = (0.0, 0.1, 1.0, 5.0, 20.0)
"""Seconds to wait after each try to write a result that the disk does not take."""


class Supervisor:
    """Runs one attempt from claim to result."""

    def __init__(self, request: dict[str, Any], signals: Signals, starter: Any) -> None:
        self._request = request
        self._starter: spawn.Starter = starter
        self._lives_on = False
        self._run: str = request["directory"]
        self._signals = signals
        self._mask = Mask(request.get("secrets", ()))
        self._capture = Capture(self._run, max(1024, int(request["outputBytes"])))
        self._lines = Lines(self._capture, self._mask)
        self._reports = Reports(self._mask.value, self._lines.log, self._lines.note)
        self._poll = select.poll()
        self._output = self._report = self._channel = -1
        self._job = 0
        self._job_status: int | None = None
        self._alone = False
        self._status: str | None = None
        self._error: str | None = None
        self._stopping = False
        self._killing_since: float | None = None
        self._deadline = self._next_kill = self._linger_until = self._take_by = float("inf")
        self._next_live = self._next_memory = 0.0
        self._unkillable: list[int] = []
        self._long_at = float("inf")
        self._on_long: Callable[[], None] = _nobody_waits
        self.result = b""
        """What the run's result file holds, once it is over."""

    def when_long(self, seconds: float, call: Callable[[], None]) -> None:
        """Calls it once where the run takes longer than that from here on."""
        self._long_at, self._on_long = time.monotonic() + seconds, call

    def run(self) -> bool:
        """Everything, once. False where this process cannot take another run afterwards."""
        waiting = self._starter.waiting
        identity = processes.own_identity()
        started = time.time()
        try:
            if not spool.claim(self._run, self._request["bootId"], *identity, waiting):
                return True
        except OSError as failure:  # nobody may begin it: only who is told of this end knows of it
            error = f"it was not begun, since no claim of it could be made: {failure.strerror}"
            self.result = spool.encoded(self._ending(started, "failed", error))
            return True
        self._make_directory()
        try:
            self._begin(self._starter.start(self._request), waiting)
        except (OSError, ValueError) as error:
            code, text = spawn.failure(self._request, error)
            self._finish(started, code, None, "failed", text)
            return True
        return self._see_through(started)

    def take_over(self, given: tuple[int, int, int], started: float, *, over: bool) -> bool:
        """As `run`, for what a worker claimed and began by itself; `over`: and is done with."""
        self._make_directory()
        self._begin(given, self._starter.waiting)
        if over:
            self._job_status, self._lives_on = 0, True
            self._reap()
        return self._see_through(started)

    def _make_directory(self) -> None:
        with suppress(OSError):  # its output is counted all the same, its result tried again
            spool.make(self._run)
        self._signals.look = True

    def _see_through(self, started: float) -> bool:
        now = time.monotonic()
        self._deadline = now + float(self._request["timeoutSeconds"]) - (time.time() - started)
        if self._request.get("memoryBytes"):
            self._next_memory = now
        while not self._over():
            self._step()
        self._drain()
        self._conclude(started)
        if self._lives_on and self._stopping:
            self._starter.dismiss()
        os.chdir("/")
        self._starter.finished(self._output, self._report)
        return not (self._unkillable or self._signals.told_to_end)

    def _begin(self, given: tuple[int, int, int], waiting: tuple[int, int] | None) -> None:
        """Watches the process that was given the run; `waiting` is the one that the claim names."""
        self._job, self._output, self._report = given
        self._take_by = time.monotonic() + self._starter.takes_within
        if waiting is None or waiting[0] != self._job:
            found = processes.stat(self._job)
            if found is not None:
                with suppress(OSError):  # it runs; who looks for it later has its mark
                    spool.name_job(self._run, found.pid, found.started)
        for descriptor in (self._signals.wake, self._output, self._report):
            self._poll.register(descriptor, select.POLLIN)
        self._channel = self._starter.channel
        if self._channel >= 0:
            self._poll.register(self._channel, select.POLLIN)

    def _begin_again(self) -> None:
        """The process that was given the run has ended and never took it."""
        self._poll = select.poll()
        self._starter.finished(self._output, self._report)
        try:
            self._begin(self._starter.start_again(), None)
        except OSError as error:
            self._output = self._report = -1
            self._job_status = spawn.NOT_STARTED << 8
            self._status, self._error = "failed", spawn.failure(self._request, error)[1]

    # --------------------------------------------------------------------------------- running

    def _step(self) -> None:
        now = time.monotonic()
        for descriptor, _ in self._poll.poll(self._timeout(now)):
            if descriptor == self._signals.wake:
                os.read(descriptor, 512)
            elif descriptor == self._channel:
                self._hear()
            elif not self._read(descriptor):
                self._poll.unregister(descriptor)
        self._reap()
        now = time.monotonic()
        self._limits(now)
        self._stops(now)
        if self._reports.changed and now >= self._next_live:
            self._write_live(now)
        if now >= self._long_at:
            self._long_at = float("inf")
            self._on_long()

    def _timeout(self, now: float) -> float:
        """Milliseconds until something is due."""
        if self._signals.look and self._job_status is None and not self._stopping:
            return 0.0
        due = min(self._next_kill, self._linger_until, self._long_at)
        if self._job_status is None and not self._stopping:
            due = min(due, self._deadline, self._take_by)
            if self._next_memory:
                due = min(due, self._next_memory)
        if self._reports.changed:
            due = min(due, self._next_live)
        return min(max(0.0, due - now), 3600.0) * 1000 + 1

    def _read(self, descriptor: int) -> bool:
        """Takes what is there. False at the end of the stream."""
        try:
            data = os.read(descriptor, _CHUNK)
        except BlockingIOError:
            return True
        if descriptor == self._report:
            self._reports.feed(data)
        elif data:
            self._capture.write(self._mask.feed(data))
        return bool(data)

    def _hear(self) -> None:
        """The job's process says that the run is over, or is about to end."""
        if self._starter.has_ended():
            self._job_status, self._lives_on = 0, True
        else:
            self._forget_channel()

    def _forget_channel(self) -> None:
        if self._channel >= 0:
            self._poll.unregister(self._channel)
            self._channel = -1

    def _reap(self) -> None:
        """Collects ended children, the job's orphans among them (this is their subreaper)."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                self._alone = True
                return
            if pid == 0:
                if self._lives_on:
                    self._alone = processes.own_children() == [self._job]
                return
            if pid == self._job:
                self._lives_on = False
                self._forget_channel()
                self._starter.gone()
                if self._job_status is None and not self._stopping and not self._starter.taken():
                    self._begin_again()
                elif self._job_status is None:
                    self._job_status = status

    def _over(self) -> bool:
        return bool(self._unkillable) or (self._job_status is not None and self._alone)

    def _limits(self, now: float) -> None:
        if self._job_status is not None or self._stopping:
            return
        if self._signals.told_to_end:
            self._status = "lost"
            self._error = "its supervisor was told to stop from outside"
            self._begin_stop(now)
        elif self._signals.look and self._is_to_stop():
            self._begin_stop(now)
        elif now >= self._deadline:
            self._status = "timed_out"
            self._error = f"timed out after {wording.number(self._request['timeoutSeconds'])} s"
            self._begin_stop(now)
        elif self._next_memory and now >= self._next_memory:
            self._next_memory = now + MEMORY_INTERVAL
            self._check_memory(now)
        if now >= self._take_by:
            self._take_by = float("inf")
            if not self._stopping and not self._starter.taken():
                os.kill(self._job, signal.SIGKILL)

    def _is_to_stop(self) -> bool:
        self._signals.look = False
        self._status = spool.asked_to_stop(self._run)
        return self._status is not None

    def _check_memory(self, now: float) -> None:
        limit = int(self._request["memoryBytes"])
        tree = processes.descendants(os.getpid())
        if processes.resident(tree) <= limit:
            return
        held = processes.memory(tree)
        if held > limit:
            self._status = "failed"
            self._error = (
                f"used {held // 2**20} MiB of memory; limits.memoryMiB is {limit // 2**20}"
            )
            self._stopping = True
            self._next_kill = now

    def _stops(self, now: float) -> None:
        if self._job_status is not None and not self._alone and not self._stopping:
            if self._linger_until == float("inf"):
                self._linger_until = now + LINGER
            elif now >= self._linger_until:
                self._linger_until = float("inf")
                self._begin_stop(now)
        if now >= self._next_kill and not self._alone:
            self._kill(now)

    def _begin_stop(self, now: float) -> None:
        """TERM to the job's group and to whoever left it; KILL follows after the grace."""
        self._stopping = True
        self._linger_until = float("inf")
        self._next_kill = now + float(self._request["killGraceSeconds"])
        tree = processes.descendants(os.getpid())
        group = [pid for pid in tree if processes.group(pid) == self._job]
        if self._job_status is None or group:
            processes.signal_group(self._job, signal.SIGTERM)
            processes.signal_group(self._job, signal.SIGCONT)
        apart = [pid for pid in tree if pid not in group]
        processes.signal_all(apart, signal.SIGTERM)
        processes.signal_all(apart, signal.SIGCONT)

    def _kill(self, now: float) -> None:
        if self._killing_since is None:
            self._killing_since = now
        refused = processes.kill_descendants(os.getpid())
        self._next_kill = now + 0.05
        if now - self._killing_since > GIVE_UP:
            self._unkillable = refused or processes.descendants(os.getpid())

    # ---------------------------------------------------------------------------- what it says

    def _write_live(self, now: float) -> None:
        self._reports.changed = False
        self._next_live = now + LIVE_INTERVAL
        live = {"progress": self._reports.progress, "metrics": self._reports.metrics}
        try:
            spool.write_json(f"{self._run}/{spool.LIVE}", live)
        except OSError:
            return

    # --------------------------------------------------------------------------------- the end

    def _drain(self) -> None:
        """Everything that wrote is gone: what the pipes still hold is the rest."""
        for descriptor in (self._output, self._report):
            while descriptor >= 0:
                try:
                    data = os.read(descriptor, _CHUNK)
                except BlockingIOError:
                    break
                if not data:
                    break
                if descriptor == self._report:
                    self._reports.feed(data)
                else:
                    self._capture.write(self._mask.feed(data))
        self._capture.write(self._mask.flush())
        self._reports.flush()

    def _conclude(self, started: float) -> None:
        code, number = spawn.ending(self._job_status)
        if self._status is None:
            if code is not None and code in self._request["successExitCodes"]:
                self._status, self._error = "succeeded", None
            else:
                self._status = "failed"
                self._error = self._reports.error or wording.why(code, number)
        elif self._error is None:
            self._error = f"{self._status} while it ran"
        if self._unkillable:
            left = ", ".join(map(str, self._unkillable))
            self._error = f"{self._error or 'it ended'}; could not kill process {left}"
        if self._reports.malformed:
            self._lines.note(f"{self._reports.malformed} report lines were not understood")
        self._finish(started, code, number, self._status, self._error)

    def _finish(
        self, started: float, code: int | None, number: int | None, status: str, error: str | None
    ) -> None:
        if code in (126, 127) and error and self._job == 0:
            self._lines.note(error)
        try:
            figures = self._capture.close()
        except OSError as failure:
            figures = {"outputBytes": self._capture.total, "outputDropped": 0}
            error = error or f"its output could not be kept: {failure.strerror}"
        figures["outputDropped"] += self._capture.unwritten
        self._keep(self._ending(started, status, error, code, number, figures))
        self._capture.sweep()

    def _ending(
        self,
        started: float,
        status: str,
        error: str | None,
        code: int | None = None,
        number: int | None = None,
        figures: dict[str, int] = NO_OUTPUT,
    ) -> dict[str, Any]:
        return ending(
            status,
            self._mask.text(error) if error else None,
            wording.instant(started, 6),
            wording.instant(time.time(), 6),
            code=code,
            number=number,
            said=self._reports,
            figures=figures,
        )

    def _keep(self, result: dict[str, Any]) -> None:
        """Writes the result, though the spool was removed or the disk is full: it comes before the
        output, which makes room for it. Where even that does not help, only who is told of this end
        knows of it."""
        path = f"{self._run}/{spool.RESULT}"
        for pause in _RESULT_TRIES:
            try:
                spool.make(self._run)
                self.result = spool.write_json(path, result)
            except OSError as failure:
                lost = result["outputBytes"] - result["outputDropped"]
                if not result["error"]:
                    result["error"] = f"its output could not be kept: {failure.strerror}"
                result["outputDropped"] += lost
                self._capture.discard()
                time.sleep(pause)
            else:
                return
        with suppress(OSError):
            spool.make(self._run)
            spool.write_json(path, result)
        self.result = spool.encoded(result)


def _nobody_waits() -> None:
    """Nothing depends on how long the run takes."""
