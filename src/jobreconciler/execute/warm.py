"""The supervisor's side of a warm worker: forks it, hands it a run, knows when it is free again.

Takes the place of spawn.py in supervisors that were forked from the warm server; everything else a
supervisor does for a program it does for a worker too.
"""

from __future__ import annotations

import array
import errno
import json
import os
import select
import signal
import socket
from typing import Any

from jobreconciler.execute import spawn, worker

_TRIES = 3
_ANSWERS_WITHIN = 10_000
"""Milliseconds a worker has to take a run; a stopped one never would."""


class WarmStarter:
    """Keeps one worker. See spawn.Starter for the shape."""

    def __init__(self, marker: worker.Marker, umask: int) -> None:
        self._marker = marker
        self._umask = umask
        self._pid = 0
        self._used = False
        self._control: socket.socket | None = None

    @property
    def channel(self) -> int:
        """Becomes readable when the worker is done with its run; -1 where there is none."""
        return -1 if self._control is None else self._control.fileno()

    def start(self, request: dict[str, Any]) -> tuple[int, int, int]:
        """As spawn.start. Raises OSError where no worker takes the run."""
        os.chdir(request["cwd"])
        output, write = spawn.pipe()
        report, tell = spawn.pipe()
        try:
            pid = self._hand_out(request, [write, tell])
        except BaseException:
            os.close(output)
            os.close(report)
            raise
        finally:
            os.close(write)
            os.close(tell)
        return pid, output, report

    def has_ended(self) -> bool:
        """What the channel says: True where the run is over and the worker lives on."""
        assert self._control is not None
        return self._control.recv(1) == worker.DONE

    def gone(self) -> None:
        """The worker has ended and was reaped."""
        self._pid = 0
        if self._control is not None:
            self._control.close()
            self._control = None

    def dismiss(self) -> None:
        """Ends the worker, which has no run."""
        pid = self._pid
        self.gone()
        if pid:
            try:
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
            except (ProcessLookupError, ChildProcessError):
                return

    def _hand_out(self, request: dict[str, Any], descriptors: list[int]) -> int:
        alone = not request["reuse"] or bool(request["memoryBytes"])
        message = {
            "env": request["env"],
            "cwd": request["cwd"],
            "umask": self._umask,
            "memoryBytes": request["memoryBytes"],
            "reuse": not alone,
            "payload": request["payload"],
        }
        body = json.dumps(message).encode()
        frame = len(body).to_bytes(4, "big") + body
        if alone and self._used:
            self.dismiss()
        for _ in range(_TRIES):
            if self._pid == 0:
                self._fork()
            self._used = True
            if self._accepts(frame, descriptors):
                return self._pid
            self.dismiss()
        raise OSError(errno.EAGAIN, "no worker took the run")

    def _fork(self) -> None:
        ours, theirs = socket.socketpair()
        try:
            pid = os.fork()
        except OSError:
            ours.close()
            theirs.close()
            raise
        end = theirs.detach()
        if pid == 0:
            try:
                worker.Worker(end, self._marker).live()
            finally:
                os._exit(1)
        os.close(end)
        self._pid, self._control, self._used = pid, ours, False

    def _accepts(self, frame: bytes, descriptors: list[int]) -> bool:
        assert self._control is not None
        passed = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))
        try:
            sent = self._control.sendmsg([frame], [passed])
            self._control.sendall(memoryview(frame)[sent:])
            poll = select.poll()
            poll.register(self._control, select.POLLIN)
            return bool(poll.poll(_ANSWERS_WITHIN)) and self._control.recv(1) == worker.READY
        except OSError:
            return False
