"""The process that supervisors are forked from: small, single-threaded, standard library only.

Started by the daemon as `python -I -S supervisor_server.py SOCKET NOFILE_SOFT FOLDER`, never forked
from it. It hands each launch it reads from the socket to a supervisor that has nothing to do, or
forks one, answers with that one's pid and start time, and tells when it is done. A supervisor goes
through its runs one after another, and those that have none wait for one, because a fork costs more
than all the rest. Where runs are short one is handed several, of which it gives back those that
would have to wait long (see together.py); what a supervisor that was killed had not begun of them
goes to another. The server ends when the daemon's end of the socket closes: supervisors at work go
on and end with their runs.
"""

from __future__ import annotations

import _socket
import ctypes
import gc
import os
import resource
import select
import signal
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))

from jobreconciler.execute import frames, processes, spawn, spool, warming
from jobreconciler.execute.lane import Lane
from jobreconciler.execute.pace import Pace
from jobreconciler.execute.signals import DEFAULT, HANDLED, Signals, set_handler

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

PR_SET_CHILD_SUBREAPER = 36
MOST_IDLE = 64
"""Supervisors that may wait for work; more than these end with their run."""
IDLE_SECONDS = 10.0
MOST_RUNS = 1000
_CHANNEL = 3
_BLOCKED = (*HANDLED, signal.SIGINT, signal.SIGHUP)


class Seat:
    """One supervisor as the server sees it. `launches` is what it has still to answer, with their
    bodies where they may go to another; `several` is how many it was given, `since` when that
    was, or since when it waits."""

    __slots__ = (
        "answers",
        "channel",
        "gave_back",
        "launches",
        "pid",
        "runs",
        "several",
        "since",
        "started",
    )

    def __init__(self, channel: int, pid: int, started: int) -> None:
        self.channel = channel
        self.pid = pid
        self.started = started
        self.launches: dict[int, bytes] = {}
        self.several = 0
        self.gave_back = False
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
        self._seats: dict[int, Seat] = {}
        self._idle: list[Seat] = []
        self._poll = select.poll()
        self._poll.register(connection, select.POLLIN)
        self._launches = frames.Unpacker()
        self._said = b""
        self._pace = Pace(len(os.sched_getaffinity(0)))
        self._returned: list[tuple[int, bytes]] = []

    def serve(self) -> None:
        """Returns when the daemon is gone, or nothing was to be done for long."""
        frames.send(self._connection, frames.pack(0, {"ready": os.getpid()}))
        while True:
            ready = [descriptor for descriptor, _ in self._poll.poll(self._timeout())]
            for descriptor in ready:
                if descriptor != self._connection:
                    self._hear(self._seats[descriptor])
            # Last: giving work to one that is gone frees its descriptor, which a fork takes again.
            if self._connection in ready and not self._take():
                return
            returned, self._returned = self._returned, []
            for launch in returned:
                self._hand_out([launch])
            self._say()
            self._dismiss_old()
            if not self._seats and time.monotonic() - self._last > self._stay_seconds:
                return

    def _timeout(self) -> float | None:
        """Milliseconds until a supervisor, or the server, has waited long enough."""
        if self._idle:
            due = self._idle[0].since + self._idle_seconds
        elif not self._seats and self._stay_seconds < float("inf"):
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
        light = []
        for number, body in self._launches.feed(data):
            if number & frames.LIGHT:
                light.append((number ^ frames.LIGHT, body))
            else:
                self._hand_out([(number, body)])
        for together in self._pace.cut(light):
            self._hand_out(together)
        return bool(data)

    def _hand_out(self, launches: list[tuple[int, bytes]]) -> None:
        frame = frames.together(launches)
        while self._idle:
            seat = self._idle.pop()
            try:
                frames.send_parts(seat.channel, frame)
            except OSError:
                self._forget(seat)
                continue
            self._at_work(seat, launches)
            return
        self._fork(launches)

    def _fork(self, launches: list[tuple[int, bytes]]) -> None:
        try:
            ours, theirs = _socket.socketpair()
            pid = os.fork()
        except OSError as error:
            for number, _ in launches:
                self._tell(number, {"error": error.strerror or str(error)})
            return
        if pid == 0:
            files = (self._soft, self._hard)
            _be_supervisor(theirs.fileno(), launches, files, self._libc, self._starter())
        found = processes.stat(pid)
        seat = Seat(ours.detach(), pid, found.started if found else 0)
        theirs.close()
        self._seats[seat.channel] = seat
        self._poll.register(seat.channel, select.POLLIN)
        self._at_work(seat, launches)

    def _at_work(self, seat: Seat, launches: list[tuple[int, bytes]]) -> None:
        # One that has it alone never gives it back: nothing of it is to be kept here.
        seat.launches = dict(launches) if len(launches) > 1 else {launches[0][0]: b""}
        seat.several, seat.gave_back = len(launches), False
        seat.runs += len(launches)
        seat.since = time.monotonic()
        numbers = [number for number, _ in launches]
        self._tell(0, {"pid": seat.pid, "started": seat.started, "launches": numbers})

    def _hear(self, seat: Seat) -> None:
        """A supervisor is done with something, or gone."""
        try:
            said = os.read(seat.channel, 1 << 16)
        except ConnectionResetError:
            said = b""
        if not said:
            self._bury(seat)
            return
        for number, body in seat.answers.feed(said):
            launch = seat.launches.pop(number)
            if body == frames.BACK:
                if not seat.gave_back:
                    self._pace.guessed_wrong()
                    seat.gave_back = True
                self._returned.append((number, launch))
            else:
                self._end(number, body)
        if seat.launches:
            return
        self._last = time.monotonic()
        if not seat.gave_back:
            self._pace.took((self._last - seat.since) / seat.several, seat.several)
        if seat.runs >= MOST_RUNS or len(self._idle) >= MOST_IDLE:
            self._forget(seat)
        else:
            seat.since = self._last
            self._idle.append(seat)

    def _end(self, number: int, result: bytes) -> None:
        self._said += frames.pack_body(number, b'{"end":' + (result or b"{}") + b"}")

    def _bury(self, seat: Seat) -> None:
        """It has ended: by itself, or it was killed. What of several was not begun goes to another;
        one that has it alone may be what kills supervisors."""
        self._forget(seat)
        for number, body in seat.launches.items():
            self._last = time.monotonic()
            if seat.several > 1 and not _was_begun(body):
                self._returned.append((number, body))
            else:
                self._end(number, b"")

    def _dismiss_old(self) -> None:
        while self._idle and time.monotonic() - self._idle[0].since > self._idle_seconds:
            self._forget(self._idle.pop(0))

    def _forget(self, seat: Seat) -> None:
        """Closes its channel: a supervisor that waits for work ends."""
        if seat in self._idle:
            self._idle.remove(seat)
        self._poll.unregister(seat.channel)
        del self._seats[seat.channel]
        os.close(seat.channel)

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


def _was_begun(body: bytes) -> bool:
    directory = frames.request_of(body)["directory"]
    return spool.claimed(directory) is not None or spool.has_result(directory)


def _be_supervisor(
    channel: int,
    launches: list[tuple[int, bytes]],
    files: tuple[int, int],
    libc: Any,
    starter: Any,
) -> None:
    """The forked child's whole life; never returns."""
    code = 1
    lane: Lane | None = None
    try:
        os.dup2(channel, _CHANNEL, inheritable=False)
        os.closerange(_CHANNEL + 1, files[1])
        os.setsid()
        resource.setrlimit(resource.RLIMIT_NOFILE, files)
        set_handler(signal.SIGCHLD, DEFAULT)
        if libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER) failed")
        lane = Lane(_CHANNEL, Signals(), starter)
        lane.live(launches)
        code = 0
    except BaseException as error:
        _give_up(lane.directory if lane is not None else "", error)
    finally:
        os._exit(code)


def _give_up(run: str, error: BaseException) -> None:
    """A supervisor that cannot go on leaves no process behind and says what became of its run."""
    import traceback

    traceback.print_exc()
    while processes.descendants(os.getpid()):
        processes.kill_descendants(os.getpid())
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            break
    claim = spool.claimed(run) if run else None
    if claim is None or claim[1:] != processes.own_identity() or spool.has_result(run):
        return
    result = {"status": "lost", "error": f"its supervisor failed: {type(error).__name__}: {error}"}
    try:
        spool.make(run)
        spool.write_json(f"{run}/{spool.RESULT}", result)
    except OSError:
        sys.stderr.write("no result could be written\n")


def serve(
    starter: Callable[[], Any],
    warm_up: Callable[[Any, str], None],
    *,
    idle_seconds: float,
    stay_seconds: float,
) -> None:
    """As the whole program: `starter` and the rest as for `Server`, `warm_up` see warming.py."""
    connection, soft = int(sys.argv[1]), int(sys.argv[2])
    os.set_inheritable(connection, False)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, _BLOCKED)
    server = Server(connection, soft, starter, idle_seconds, stay_seconds)
    _warmed_up(starter, warm_up)
    gc.collect()
    gc.disable()
    gc.freeze()
    server.serve()


def _warmed_up(starter: Callable[[], Any], warm_up: Callable[[Any, str], None]) -> None:
    """Without it supervisors take more memory, which keeps none from its work: it is given up where
    it does not go well at once."""
    try:
        warm_up(starter(), sys.argv[3])
    except Exception:
        import traceback

        traceback.print_exc()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # again: the warm-up reaped its own


if __name__ == "__main__":
    serve(spawn.Starter, warming.programs, idle_seconds=IDLE_SECONDS, stay_seconds=float("inf"))
