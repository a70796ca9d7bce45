"""The process that supervisors are forked from: small, single-threaded, standard library only.

Started by the daemon as `python -I -S supervisor_server.py SOCKET NOFILE_SOFT`, never forked from
it. It hands each launch it reads from the socket to a supervisor that has nothing to do, or forks
one, answers with that one's pid and start time, and tells when it is done. A supervisor has one
run at a time; a few wait for the next one, because a fork costs more than all the rest. The server
ends when the daemon's end of the socket closes: supervisors at work go on and end with their run.
"""

from __future__ import annotations

import _socket
import ctypes
import gc
import json
import os
import resource
import select
import signal
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))

from jobreconciler.execute import frames, processes, spawn, spool
from jobreconciler.execute.signals import HANDLED, Signals
from jobreconciler.execute.supervisor import Supervisor

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

PR_SET_CHILD_SUBREAPER = 36
MOST_IDLE = 64
"""Supervisors that may wait for work; more than these end with their run."""
IDLE_SECONDS = 10.0
MOST_RUNS = 1000
_COLLECT_EVERY = 50
_CHANNEL = 3
_BLOCKED = (*HANDLED, signal.SIGINT, signal.SIGHUP)
_SHORT = 32_768
"""A longer result is read from its file: it would fill the channel."""


class Worker:
    """One supervisor as the server sees it; `launch` is 0 while it waits for work."""

    __slots__ = ("answers", "channel", "launch", "pid", "runs", "since", "started")

    def __init__(self, channel: int, pid: int, started: int) -> None:
        self.channel = channel
        self.pid = pid
        self.started = started
        self.launch = 0
        self.runs = 0
        self.since = 0.0
        self.answers = frames.Unpacker()


class Server:
    """Keeps the supervisors. `soft` is the descriptor limit that jobs are to have.

    `starter` makes what a supervisor starts jobs with, `idle` is how many seconds one waits for
    work, `stay` how many the server itself does.
    """

    def __init__(
        self, connection: int, soft: int, starter: Callable[[], Any], idle: float, stay: float
    ) -> None:
        self._connection = connection
        self._soft = soft
        self._starter = starter
        self._idle_seconds = idle
        self._stay_seconds = stay
        self._last = time.monotonic()
        self._hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (self._hard, self._hard))
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._workers: dict[int, Worker] = {}
        self._idle: list[Worker] = []
        self._poll = select.poll()
        self._poll.register(connection, select.POLLIN)
        self._launches = frames.Unpacker()
        self._said = b""

    def serve(self) -> None:
        """Returns when the daemon is gone, or nothing was to be done for long."""
        frames.send(self._connection, frames.pack(0, {"ready": os.getpid()}))
        while True:
            ready = [descriptor for descriptor, _ in self._poll.poll(self._timeout())]
            for descriptor in ready:
                if descriptor != self._connection:
                    self._hear(self._workers[descriptor])
            # Last: giving work to one that is gone frees its descriptor, which a fork takes again.
            if self._connection in ready and not self._take():
                return
            self._say()
            self._dismiss_old()
            if not self._workers and time.monotonic() - self._last > self._stay_seconds:
                return

    def _timeout(self) -> float | None:
        """Milliseconds until a supervisor, or the server, has waited long enough."""
        if self._idle:
            due = self._idle[0].since + self._idle_seconds
        elif not self._workers and self._stay_seconds < float("inf"):
            due = self._last + self._stay_seconds
        else:
            return None
        return max(0.0, due - time.monotonic()) * 1000 + 1

    def _take(self) -> bool:
        """Reads launches. False at the end of the connection."""
        try:
            data = os.read(self._connection, 1 << 18)
        except ConnectionResetError:
            return False
        for number, body in self._launches.feed(data):
            frame = frames.pack_body(number, body)
            while self._idle:
                worker = self._idle.pop()
                try:
                    frames.send(worker.channel, frame)
                except OSError:
                    self._forget(worker)
                    continue
                self._at_work(worker, number)
                break
            else:
                self._fork(number, body)
        return bool(data)

    def _fork(self, number: int, body: bytes) -> None:
        try:
            ours, theirs = _socket.socketpair()
            pid = os.fork()
        except OSError as error:
            self._tell(number, {"error": error.strerror or str(error)})
            return
        if pid == 0:
            files = (self._soft, self._hard)
            _be_supervisor(theirs.fileno(), body, files, self._libc, self._starter())
        found = processes.stat(pid)
        worker = Worker(ours.detach(), pid, found.started if found else 0)
        theirs.close()
        self._workers[worker.channel] = worker
        self._poll.register(worker.channel, select.POLLIN)
        self._at_work(worker, number)

    def _at_work(self, worker: Worker, number: int) -> None:
        worker.launch = number
        worker.runs += 1
        self._tell(number, {"pid": worker.pid, "started": worker.started})

    def _hear(self, worker: Worker) -> None:
        """A supervisor is done, or gone."""
        try:
            said = os.read(worker.channel, 1 << 16)
        except ConnectionResetError:
            said = b""
        result = next((body for _, body in worker.answers.feed(said)), None)
        if said and result is None:
            return
        launch, worker.launch = worker.launch, 0
        if launch:
            self._last = time.monotonic()
            self._said += frames.pack_body(launch, b'{"end":' + (result or b"{}") + b"}")
        if not said or worker.runs >= MOST_RUNS or len(self._idle) >= MOST_IDLE:
            self._forget(worker)
        else:
            worker.since = time.monotonic()
            self._idle.append(worker)

    def _dismiss_old(self) -> None:
        while self._idle and time.monotonic() - self._idle[0].since > self._idle_seconds:
            self._forget(self._idle.pop(0))

    def _forget(self, worker: Worker) -> None:
        """Closes its channel: a supervisor that waits for work ends."""
        if worker in self._idle:
            self._idle.remove(worker)
        self._poll.unregister(worker.channel)
        del self._workers[worker.channel]
        os.close(worker.channel)

    def _tell(self, number: int, message: dict[str, Any]) -> None:
        self._said += frames.pack(number, message)

    def _say(self) -> None:
        """All that one look at the descriptors led to, at once: each write wakes the daemon."""
        said, self._said = self._said, b""
        if said:
            try:
                frames.send(self._connection, said)
            except OSError:
                return


def _be_supervisor(
    channel: int, body: bytes, files: tuple[int, int], libc: Any, starter: Any
) -> None:
    """The forked child's whole life; never returns."""
    code = 1
    request: dict[str, Any] = {}
    runs = 0
    try:
        os.dup2(channel, _CHANNEL, inheritable=False)
        os.closerange(_CHANNEL + 1, files[1])
        os.setsid()
        resource.setrlimit(resource.RLIMIT_NOFILE, files)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        if libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER) failed")
        signals = Signals()
        next_body: bytes | None = body
        while next_body is not None:
            request = json.loads(next_body)
            signals.idle = False
            supervisor = Supervisor(request, signals, starter)
            if not supervisor.run():
                break
            signals.idle = True
            runs += 1
            if runs % _COLLECT_EVERY == 0:
                gc.collect()
            next_body = _next(supervisor.result)
        starter.dismiss()
        code = 0
    except BaseException as error:
        _give_up(request, error)
    finally:
        os._exit(code)


def _next(result: bytes) -> bytes | None:
    """Says that the run is done, and how if that is short, and waits for another; None where none
    will come."""
    try:
        frames.send(_CHANNEL, frames.pack_body(0, result if len(result) <= _SHORT else b""))
        return frames.receive(_CHANNEL)
    except OSError:
        return None


def _give_up(request: dict[str, Any], error: BaseException) -> None:
    """A supervisor that cannot go on leaves no process behind and says what became of it."""
    import traceback

    traceback.print_exc()
    while processes.descendants(os.getpid()):
        processes.kill_descendants(os.getpid())
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            break
    run = request.get("directory")
    claim = spool.claimed(run) if run else None
    if claim is None or claim[1] != os.getpid():
        return
    result = {"status": "lost", "error": f"its supervisor failed: {type(error).__name__}: {error}"}
    try:
        spool.write_json(f"{run}/{spool.RESULT}", result)
    except OSError:
        sys.stderr.write("no result could be written\n")


def serve(starter: Callable[[], Any], *, idle_seconds: float, stay_seconds: float) -> None:
    connection, soft = int(sys.argv[1]), int(sys.argv[2])
    os.set_inheritable(connection, False)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, _BLOCKED)
    server = Server(connection, soft, starter, idle_seconds, stay_seconds)
    gc.collect()
    gc.disable()
    gc.freeze()
    server.serve()


if __name__ == "__main__":
    serve(spawn.Starter, idle_seconds=IDLE_SECONDS, stay_seconds=float("inf"))
