"""The process that runs Python jobs one after another: forked by a supervisor from the warm server.

It is told a run through its control socket, notes in memory shared with its supervisor that it
took it, runs it, and says `DONE` if it can take another. Whatever is not as it was before the run
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
import json
import mmap
import os
import resource
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NoReturn

from jobreconciler.execute import processes, runner
from jobreconciler.execute.loaded_code import LoadedCode
from jobreconciler.execute.processes import LONGEST_ID

DONE = b"."
TAKEN = b"t"
CONTROL_FD = 4
_OUTPUT_FD, _TELL_FD, _NULL_FD = 5, 6, 7
MOST_GROWTH = 256 * 2**20
"""Bytes a worker may have gained since its fork and still take another run."""
_BY_PYTHON: dict[int, Any] = {
    signal.SIGPIPE: signal.SIG_IGN,
    signal.SIGXFSZ: signal.SIG_IGN,
    signal.SIGINT: signal.default_int_handler,
}
"""What an interpreter sets when it starts; every other signal has its default."""
_HANDLERS = {
    int(number): _BY_PYTHON.get(number, signal.SIG_DFL) for number in signal.valid_signals()
}
_handler_of: Callable[[int], Any] = getattr(signal.getsignal, "__wrapped__", signal.getsignal)
"""Without making an enum member of each answer: that took half of a short run's time."""
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
    """One worker, from its fork to its end. `live` never returns."""

    def __init__(
        self,
        control: int,
        output: int,
        tell: int,
        taken: mmap.mmap,
        marker: Marker,
        umask: int,
    ) -> None:
        os.setsid()
        signal.set_wakeup_fd(-1)
        _place(control, output, tell, os.open(os.devnull, os.O_RDWR))
        os.close(runner.REPORT_FD)
        os.closerange(_NULL_FD + 1, resource.getrlimit(resource.RLIMIT_NOFILE)[1])
        gc.enable()
        self._pid = os.getpid()
        self._control = socket.socket(fileno=CONTROL_FD)
        self._taken = taken
        self._marker = marker
        self._umask = umask
        self._path = list(sys.path)
        self._standing = _standing()
        self._resident = processes.resident([self._pid])
        self._code = LoadedCode()
        _mute()
        _reset_signals()

    def live(self) -> NoReturn:
        code = 1
        try:
            while (message := _receive(self._control)) is not None:
                if self._code.has_changed():
                    break
                self._take(message)
            code = 0
        except BaseException as error:
            code = runner.CANCELLED_CODE if isinstance(error, runner.Cancelled) else 1
        finally:
            os._exit(code)

    def _take(self, message: dict[str, Any]) -> None:
        began = time.time_ns()
        self._prepare(message)
        self._taken[0:1] = TAKEN
        code = runner.run(message["payload"], runner.REPORT_FD)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        if os.getpid() != self._pid or not self._may_stay(message, code, began):
            _leave(code)
        self._marker.set("")
        _mute()
        os.close(runner.REPORT_FD)
        _reset_signals()
        os.chdir("/")
        _set_environment(message["env"])
        self._control.send(DONE)

    def _prepare(self, message: dict[str, Any]) -> None:
        """Everything a fresh interpreter would find."""
        os.dup2(_OUTPUT_FD, 1)
        os.dup2(_OUTPUT_FD, 2)
        os.dup2(_TELL_FD, runner.REPORT_FD, inheritable=False)
        environment: dict[str, str] = message["env"]
        self._marker.set(environment[processes.MARKER])
        _set_environment(environment)
        time.tzset()
        os.chdir(message["cwd"])
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


def _standing() -> tuple[Any, ...]:
    """What a job could change of its process for good."""
    limits = tuple(resource.getrlimit(number) for number in _LIMITS)
    return (os.getresuid(), os.getresgid(), os.getpriority(os.PRIO_PROCESS, 0), limits)


def _has_children() -> bool:
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True


def _receive(control: socket.socket) -> dict[str, Any] | None:
    """The next run; None where the supervisor is gone."""
    data = control.recv(1 << 18)
    if not data:
        return None
    parts, size = [data], len(data)
    while size < 4 or size < 4 + int.from_bytes(b"".join(parts)[:4], "big"):
        part = control.recv(1 << 20)
        if not part:
            return None
        parts.append(part)
        size += len(part)
    message: dict[str, Any] = json.loads(b"".join(parts)[4:])
    return message


def _place(*descriptors: int) -> None:
    """Moves them to CONTROL_FD and the numbers after it, out of each other's way."""
    above = [fcntl.fcntl(each, fcntl.F_DUPFD_CLOEXEC, _NULL_FD + 1) for each in descriptors]
    for number, each in enumerate(above, CONTROL_FD):
        os.dup2(each, number, inheritable=False)


def _mute() -> None:
    """Nothing is to be read, and nowhere to print, between runs."""
    for number in (0, 1, 2):
        os.dup2(_NULL_FD, number)


def _set_environment(wanted: Mapping[str, str]) -> None:
    """Most of it is the same from one run to the next, and each change takes a while."""
    for name in [name for name in os.environ if name not in wanted]:
        del os.environ[name]
    for name, value in wanted.items():
        if os.environ.get(name) != value:
            os.environ[name] = value


def _reset_signals() -> None:
    signal.setitimer(signal.ITIMER_REAL, 0)
    for number, wanted in _HANDLERS.items():
        if _handler_of(number) not in (wanted, None):
            try:
                signal.signal(number, wanted)
            except OSError:
                continue
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def _flush() -> bool:
    """False where the job closed what it prints to."""
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
