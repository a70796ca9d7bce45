"""The process that runs Python jobs one after another: forked by a supervisor from the warm server.

It is told a run through its control socket, notes in memory shared with its supervisor that it
took it, runs it, and says `DONE` if it can take another; or it is told several short ones, which it
goes through by itself (see together.py). Whatever is not as it was before the run
(a code other than 0, a thread, a child, another user, much memory) ends the process in the ordinary
way instead, so that nothing of one run reaches the next but the state of modules. Its pipes are
the same for all its runs. It never outlives its supervisor's interest: end of file on the socket
ends it. So does a run that it cannot take, which its supervisor then gives to another.
"""

from __future__ import annotations

import _thread
import atexit
import ctypes
import fcntl
import gc
import os
import resource
import signal
import socket
import sys
import termios
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from jobreconciler.execute import frames, processes, runner, spool
from jobreconciler.execute.encoding import decoded
from jobreconciler.execute.ending import silent
from jobreconciler.execute.environment import Environment
from jobreconciler.execute.loaded_code import LoadedCode
from jobreconciler.execute.processes import LONGEST_ID
from jobreconciler.execute.shared import DONE, ENDING, RUNNING, UNWANTED, WEIGHING, Shared
from jobreconciler.execute.signals import (
    DEFAULT,
    IGNORE,
    SET_MASK,
    handler_of,
    set_handler,
    set_mask,
)

ONE, SEVERAL = 1, 2
"""What a frame to a worker holds."""
SAY_AFTER = 0.005
"""Seconds that the result of one of several may wait for those of others."""
LOOK_AGAIN = 0.001
"""Seconds for which code that was found unchanged counts as that: each look takes as long as a
hundredth of a short run."""
CONTROL_FD = 4
_OUTPUT_FD, _TELL_FD, _NULL_FD = 5, 6, 7
MOST_GROWTH = 256 * 2**20
"""Bytes a worker may have gained since its fork and still take another run."""
_BY_PYTHON: dict[int, Any] = {
    signal.SIGPIPE: IGNORE,
    signal.SIGXFSZ: IGNORE,
    signal.SIGINT: signal.default_int_handler,
}
"""What an interpreter sets when it starts; every other signal has its default."""
_HANDLERS = {int(number): _BY_PYTHON.get(number, DEFAULT) for number in signal.valid_signals()}
_AS_TOLD = [*_HANDLERS.values()]
_TIMERS = (signal.ITIMER_REAL, signal.ITIMER_VIRTUAL, signal.ITIMER_PROF)
_LIMITS = tuple(
    getattr(resource, name) for name in sorted(dir(resource)) if name.startswith("RLIMIT_")
)


class Marker:
    """The variable by which a run's processes are found (see processes.kill_run), in place.

    /proc shows the environment a process was *started* with; a fork shows its server's. So its
    bytes there are overwritten; processes the job forks inherit them.
    """

    def __init__(self) -> None:
        self._address = 0
        name = f"{processes.MARKER}=".encode()
        try:
            at = b"\0" + Path("/proc/self/environ").read_bytes()
            start = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[47])
        except (OSError, IndexError, ValueError):
            return
        found = at.find(b"\0" + name)
        if found >= 0 and start:
            self._address = start + found + len(name)

    def set(self, execution_id: str) -> None:
        if self._address:
            text = execution_id.encode()[:LONGEST_ID].ljust(LONGEST_ID, b"\0")
            ctypes.memmove(self._address, text, LONGEST_ID)


class Worker:
    """One worker, from its fork to its end. `live` never returns. `descriptors`: the socket that it
    is told by, the pipes for what it prints and reports. `supervisor` (pid, start time) is told to
    it: who asks for its parent after the fork may get another, where that died at once."""

    def __init__(
        self,
        descriptors: Sequence[int],
        shared: Shared,
        marker: Marker,
        umask: int,
        supervisor: tuple[int, int],
    ) -> None:
        os.setsid()
        _reset_signals()  # before its supervisor's descriptors, the one to wake by too, are moved
        _place(*descriptors, os.open(os.devnull, os.O_RDWR))
        os.close(runner.REPORT_FD)
        os.closerange(_NULL_FD + 1, resource.getrlimit(resource.RLIMIT_NOFILE)[1])
        gc.enable()
        self._supervisor = supervisor
        self._identity = processes.own_identity()
        self._pid = os.getpid()
        self._boot = processes.boot_id()
        self._siblings = _open_children(self._supervisor[0])
        self._given = frames.Unpacker()
        self._control = socket.socket(fileno=CONTROL_FD)
        self._shared = shared
        self._marker = marker
        self._umask = umask
        self._path = list(sys.path)
        self._standing = _standing()
        self._resident = processes.resident([self._pid])
        self._code = LoadedCode()
        self._look_again_at = 0.0
        self._environment = Environment()
        _mute()

    def live(self) -> NoReturn:
        code = 1
        try:
            while (given := self._receive()) is not None:
                what, body = given
                if self._has_changed(time.monotonic()):
                    break
                if what == ONE:
                    self._take(decoded(body))
                else:
                    self._take_several(frames.apart(body))
            code = 0
        except BaseException as error:
            code = runner.CANCELLED_CODE if isinstance(error, runner.Cancelled) else 1
        finally:
            os._exit(code)

    def _receive(self) -> tuple[int, bytes] | None:
        """What is given next; None where the supervisor is gone."""
        while data := self._control.recv(1 << 18):
            for given in self._given.feed(data):
                return given
        return None

    def _take(self, message: dict[str, Any]) -> None:
        began = time.time_ns()
        os.chdir(message["cwd"])
        self._prepare(message)
        self._shared.take()
        self._run(message, began)
        self._rest()
        self._say([(0, DONE)])

    def _run(self, message: dict[str, Any], began: int) -> None:
        """Returns where all is as it was before; otherwise the process ends."""
        code = runner.run(message["payload"], runner.REPORT_FD)
        set_handler(signal.SIGTERM, DEFAULT)
        if os.getpid() != self._pid or not self._may_stay(message, code, began):
            _leave(code)
        _reset_signals()
        self._environment.put_back()

    def _rest(self) -> None:
        """From a run to waiting: it is nobody's, and nothing of that run's is held."""
        self._marker.set("")
        _mute()
        os.close(runner.REPORT_FD)
        os.chdir("/")

    # --------------------------------------------------------------------------------- several

    def _take_several(self, launches: Sequence[tuple[int, frames.Buffer]]) -> None:
        said: list[tuple[int, bytes]] = []
        say_at = time.monotonic() + SAY_AFTER
        for index, (number, body) in enumerate(launches):
            answer = self._one_of_several(index, number, decoded(frames.for_worker(body)))
            said.append(answer)
            if not answer[0]:
                break
            if time.monotonic() >= say_at:
                self._say(said)
                say_at = time.monotonic() + SAY_AFTER
        if index or answer != (0, UNWANTED):
            self._rest()
        else:
            os.chdir("/")
        self._say(said)

    def _one_of_several(
        self, index: int, number: int, message: dict[str, Any]
    ) -> tuple[int, bytes]:
        """Its number and result, which is recorded; 0 and why where the supervisor has to see to
        it: nothing of a run that printed or left anything may be taken for another's."""
        directory: str = message["directory"]
        self._shared.at(index, WEIGHING)
        began = time.time_ns()
        if not self._may_begin(message):
            return 0, UNWANTED
        self._shared.begin(began / 1e9)
        self._shared.take()  # first: who dies with a claim must not seem to have taken nothing
        try:
            if not spool.claim(directory, self._boot, *self._supervisor, self._identity):
                return 0, UNWANTED
        except OSError:  # its supervisor meets the same, and says so
            return 0, UNWANTED
        self._prepare(message)
        self._shared.at(index, RUNNING)
        self._run(message, began)
        ended = time.time_ns()
        self._shared.at(index, ENDING)
        try:
            # In this order: who reads what a run wrote has it halted first.
            left = _holds(_OUTPUT_FD) or _holds(_TELL_FD) or not self._alone()
            if left or self._shared.halted:
                return 0, DONE
            result = silent(began, ended)
            spool.write_silent(directory, *self._supervisor, result)
            return number, result
        except OSError:
            return 0, DONE

    def _may_begin(self, message: dict[str, Any]) -> bool:
        try:
            os.chdir(message["cwd"])
        except OSError:
            return False
        # The look at the pipe is also what parts "it is weighed" from "is it to halt".
        now = time.monotonic()
        if now >= self._look_again_at and self._has_changed(now):
            return False
        supervised = os.getppid() == self._supervisor[0] and not _holds(_OUTPUT_FD)
        return supervised and not self._shared.halted

    def _has_changed(self, now: float) -> bool:
        self._look_again_at = now + LOOK_AGAIN
        return self._code.has_changed()

    def _alone(self) -> bool:
        """Whether it is the only process below its supervisor, which gets what a job orphans."""
        return os.pread(self._siblings, 64, 0) == b"%d " % self._pid

    def _say(self, said: list[tuple[int, bytes]]) -> None:
        if not said:
            return
        try:
            self._control.sendall(b"".join([frames.pack_body(*one) for one in said]))
        except OSError:  # a job closed it, or nobody is there: what has ended has ended well
            os._exit(0)
        said.clear()

    def _prepare(self, message: dict[str, Any]) -> None:
        """Everything a fresh interpreter would find; the directory is there already."""
        os.dup2(_NULL_FD, 0)
        os.dup2(_OUTPUT_FD, 1)
        os.dup2(_OUTPUT_FD, 2)
        os.dup2(_TELL_FD, runner.REPORT_FD, inheritable=False)
        environment: dict[str, str] = message["env"]
        self._marker.set(environment[processes.MARKER])
        # From here on who clears away after a dead supervisor finds this process; before, it may
        # have looked already.
        if os.getppid() != self._supervisor[0]:
            os._exit(1)
        self._environment.set(environment)
        time.tzset()
        os.umask(self._umask)
        if message["memoryBytes"]:
            resource.setrlimit(resource.RLIMIT_DATA, (message["memoryBytes"],) * 2)
        known = set(self._path)
        given = [entry for entry in message["payload"]["sysPath"] if entry not in known]
        sys.path[:] = given + self._path
        sys.argv[:] = [runner.__file__]
        sys.stdin, sys.stdout, sys.stderr = sys.__stdin__, sys.__stdout__, sys.__stderr__
        for stream in (sys.stdout, sys.stderr):
            stream.reconfigure(line_buffering=True)  # type: ignore[union-attr]

    def _may_stay(self, message: dict[str, Any], code: int, began: int) -> bool:
        if code != 0 or not message["reuse"] or not _flush():
            return False
        return (
            _thread._count() == 0
            and not _has_children()
            and _standing() == self._standing
            and not self._has_grown()
            and self._code.learn(began)
        )

    def _has_grown(self) -> bool:
        """Asks the kernel for the peak first: that is quick, and nearly always enough."""
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        if peak - self._resident <= MOST_GROWTH:
            return False
        return processes.resident([self._pid]) - self._resident > MOST_GROWTH


def _open_children(pid: int) -> int:
    """The kernel's list of a process's children; -1 where it keeps none."""
    try:
        found = os.open(f"/proc/{pid}/task/{pid}/children", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return -1
    above = fcntl.fcntl(found, fcntl.F_DUPFD_CLOEXEC, _NULL_FD + 1)
    os.close(found)
    return above


def _standing() -> tuple[Any, ...]:
    """What a job could change of its process for good."""
    limits = tuple(map(resource.getrlimit, _LIMITS))
    return (os.getresuid(), os.getresgid(), os.getpriority(os.PRIO_PROCESS, 0), limits)


def _has_children() -> bool:
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True


def _holds(pipe: int) -> bool:
    """Whether something was written to it that nobody has read."""
    return fcntl.ioctl(pipe, termios.FIONREAD, b"\0\0\0\0") != b"\0\0\0\0"


def _place(*descriptors: int) -> None:
    """Moves them to CONTROL_FD and the numbers after it, out of each other's way."""
    above = [fcntl.fcntl(each, fcntl.F_DUPFD_CLOEXEC, _NULL_FD + 1) for each in descriptors]
    for number, each in enumerate(above, CONTROL_FD):
        os.dup2(each, number, inheritable=False)


def _mute() -> None:
    """Nothing is to be read, and nowhere to print, between runs."""
    for number in (0, 1, 2):
        os.dup2(_NULL_FD, number)


def _reset_signals() -> None:
    for timer in _TIMERS:
        signal.setitimer(timer, 0)
    signal.set_wakeup_fd(-1)
    if [*map(handler_of, _HANDLERS)] != _AS_TOLD:
        _set_handlers()
    set_mask(SET_MASK, ())


def _set_handlers() -> None:
    for number, wanted in _HANDLERS.items():
        if handler_of(number) not in (wanted, None):
            try:
                set_handler(number, wanted)
            except OSError:
                continue


def _flush() -> bool:
    """False where the job closed what it reads from or prints to."""
    if sys.__stdin__ is None or sys.__stdin__.closed:
        return False
    try:
        for stream in (sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__):
            if stream is not None:
                stream.flush()
    except (OSError, ValueError):
        return False
    return True


def _leave(code: int) -> NoReturn:
    """Ends as an interpreter does: waits for threads, calls what was registered for the exit."""
    try:
        threading._shutdown()  # type: ignore[attr-defined]
        atexit._run_exitfuncs()
    finally:
        _flush()
        os._exit(code)
