"""The supervisor's side of a warm worker: forks it, hands it a run, knows when it is free again.

Takes the place of spawn.py in supervisors that were forked from the warm server; everything else a
supervisor does for a program it does for a worker too.
"""

from __future__ import annotations

import _socket
import errno
import os
import signal
from collections.abc import Iterable
from typing import Any

from jobreconciler.execute import frames, processes, spawn, worker
from jobreconciler.execute.at_fork import AtFork
from jobreconciler.execute.shared import DONE, Shared
from jobreconciler.execute.signals import BLOCK, HANDLED, UNBLOCK, set_mask

_TRIES = 3
TAKES_WITHIN = 5.0
"""Seconds a worker has to take a run; a stopped one never would."""


class WarmStarter:
    """Keeps one worker and the pipes of all its runs. See spawn.Starter for the shape."""

    takes_within = TAKES_WITHIN

    def __init__(self, marker: worker.Marker, umask: int, at_fork: AtFork) -> None:
        at_fork.wanted = True
        self._marker = marker
        self._umask = umask
        self._process: tuple[int, int] | None = None
        self._used = False
        self._control = -1
        self._output = self._report = -1
        self.shared = Shared()
        self._unpacker = frames.Unpacker()
        self._frame: list[frames.Buffer] = []
        self._tries = 0

    @property
    def channel(self) -> int:
        """Becomes readable when the worker is done with its run; -1 where there is none."""
        return self._control

    @property
    def waiting(self) -> tuple[int, int] | None:
        """Pid and start time of the worker that will take the next run, where that is known."""
        return self._process

    def start(self, request: dict[str, Any]) -> tuple[int, int, int]:
        """As spawn.start, but the worker has still to take the run: see `taken`."""
        os.chdir(request["cwd"])
        self._frame = [frames.pack_body(worker.ONE, request["worker"])]
        self._tries = 0
        if not request["reuse"] and self._used:
            self.dismiss()
        return self.start_again()

    def start_again(self) -> tuple[int, int, int]:
        """Hands the run out to another worker than the last, which never took it. Raises OSError
        where none takes it."""
        while self._tries < _TRIES:
            self._tries += 1
            if self._process is None:
                self._fork()
            self._used = True
            self.shared.clear()
            try:
                frames.send_parts(self._control, self._frame)
            except OSError:
                self.dismiss()
                continue
            return self.given
        raise OSError(errno.EAGAIN, "no worker took the run")

    @property
    def given(self) -> tuple[int, int, int]:
        """As `start` returns it: of the worker that was handed something last."""
        assert self._process is not None
        return self._process[0], self._output, self._report

    def start_several(self, launches: Iterable[tuple[int, frames.Buffer]]) -> tuple[int, int, int]:
        """Hands out runs that the worker goes through by itself; see together.py."""
        self._frame = frames.together(launches, worker.SEVERAL)
        self._tries = 0
        return self.start_again()

    def taken(self) -> bool:
        """Whether the worker began with the run it was given last."""
        return self.shared.taken

    def has_ended(self) -> bool:
        """What the channel says: True where the run is over and the worker lives on."""
        said = self.hear()
        return said is not None and (0, DONE) in said

    def hear(self) -> list[tuple[int, bytes]] | None:
        """What the worker says: results of runs by number, and one of DONE and
        UNWANTED by 0. None where it has ended."""
        try:
            data = os.read(self._control, 1 << 13)
        except ConnectionResetError:
            return None
        return [*self._unpacker.feed(data)] if data else None

    def kill(self) -> None:
        """Ends a worker that is stuck; its end is still to be noticed."""
        if self._process is not None:
            os.kill(self._process[0], signal.SIGKILL)

    def is_dead(self) -> bool:
        """Whether the worker has ended; it is not reaped by that."""
        if self._process is None:
            return True
        options = os.WEXITED | os.WNOHANG | os.WNOWAIT
        return os.waitid(os.P_PID, self._process[0], options) is not None

    def gone(self) -> None:
        """The worker has ended and was reaped."""
        self._process = None
        self._unpacker = frames.Unpacker()
        if self._control >= 0:
            os.close(self._control)
            self._control = -1

    def finished(self, _output: int, _report: int) -> None:
        """The run's pipes are empty: they are kept for the worker's next one."""
        if self._process is None:
            self._close_pipes()

    def dismiss(self) -> None:
        """Ends the worker, which has no run."""
        if self._process is None:
            return
        pid = self._process[0]
        self.gone()
        self._close_pipes()
        try:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        except (ProcessLookupError, ChildProcessError):
            return

    def _close_pipes(self) -> None:
        if self._output >= 0:
            os.close(self._output)
            os.close(self._report)
            self._output = self._report = -1

    def _forked(self) -> int:
        """As os.fork; the child has our signals blocked until it no longer has our handlers."""
        set_mask(BLOCK, HANDLED)
        pid = -1
        try:
            pid = os.fork()
        finally:
            if pid != 0:
                set_mask(UNBLOCK, HANDLED)
        return pid

    def _fork(self) -> None:
        identity = processes.own_identity()
        ours: list[int] = []
        theirs: list[int] = []
        try:
            control, other = _socket.socketpair()
            ours.append(control.detach())
            theirs.append(other.detach())
            for _ in ("output", "report"):
                read, write = spawn.pipe()
                ours.append(read)
                theirs.append(write)
            pid = self._forked()
            if pid == 0:
                try:
                    worker.Worker(theirs, self.shared, self._marker, self._umask, identity).live()
                finally:
                    os._exit(1)
        except BaseException:
            _close(ours)
            raise
        finally:
            _close(theirs)
        found = processes.stat(pid)
        self._process = pid, 0 if found is None else found.started
        self._control, self._output, self._report = ours
        self._used = False


def _close(descriptors: Iterable[int]) -> None:
    for each in descriptors:
        os.close(each)
