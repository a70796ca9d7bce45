"""Starts a job's own process: its descriptors, session, directory and memory limit.

Standard library only: runs inside the supervisor.
"""

from __future__ import annotations

import errno
import os
import resource
import signal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

REPORT_FD = 3
NOT_STARTED = 126
_TO_DEFAULT = (
    signal.SIGPIPE,
    signal.SIGXFSZ,
    signal.SIGTERM,
    signal.SIGCHLD,
    signal.SIGUSR1,
    signal.SIGINT,
    signal.SIGHUP,
)


class Starter:
    """Starts each run's program as a process of its own; warm.py has another of this shape."""

    channel = -1
    """A descriptor that is readable when a run ended whose process lives on; -1: there is none."""
    waiting: tuple[int, int] | None = None
    """Pid and start time of the process that will take the next run, where there is one."""
    takes_within = float("inf")
    """Seconds in which a process takes the run that it was given, or another is to have it."""

    def start(self, request: dict[str, Any]) -> tuple[int, int, int]:
        return start(request)

    def start_again(self) -> tuple[int, int, int]:
        """Gives a run that was not taken to another process."""
        raise NotImplementedError("a program takes its run when it is started")

    def taken(self) -> bool:
        """Whether the process began with its run."""
        return True

    def has_ended(self) -> bool:
        """Reads the channel. True where the run is over and its process waits for another."""
        return False

    def gone(self) -> None:
        """The process has ended and was reaped."""

    def finished(self, output: int, report: int) -> None:
        """Nothing more is to be read from the ends that `start` returned."""
        os.close(output)
        os.close(report)

    def dismiss(self) -> None:
        """Ends a process that waits for a run."""


def start(request: dict[str, Any]) -> tuple[int, int, int]:
    """Pid of the job, and the ends to read its output and its reports from.

    Input is this process's own (/dev/null), output and errors share one pipe, REPORT_FD is the
    report's. Changes this process's working directory. Raises OSError or ValueError where the
    program cannot be started.
    """
    environment: dict[str, str] = request["env"]
    os.chdir(request["cwd"])
    program = _find(request["argv"][0], environment.get("PATH", os.defpath))
    output, write = pipe()
    report, tell = pipe()
    actions = [(os.POSIX_SPAWN_DUP2, write, 1), (os.POSIX_SPAWN_DUP2, tell, REPORT_FD)]
    try:
        with _Limit(request.get("memoryBytes")) as limit:
            pid = os.posix_spawn(
                program,
                request["argv"],
                environment,
                file_actions=[*actions, (os.POSIX_SPAWN_DUP2, 1, 2)],
                setsid=True,
                setsigmask=(),
                setsigdef=_TO_DEFAULT,
            )
            limit.fix(pid)
    except BaseException:
        os.close(output)
        os.close(report)
        raise
    finally:
        os.close(write)
        os.close(tell)
    return pid, output, report


class _Limit:
    """Caps private memory (RLIMIT_DATA) of what is spawned inside the block.

    Not RLIMIT_AS: runtimes reserve far more addresses than they ever use. The cap is the soft
    limit of the spawning process for that moment, since a spawn takes no limits; `fix` then makes
    it the child's hard limit too.
    """

    def __init__(self, size: int | None) -> None:
        self._size = size
        self._before = resource.getrlimit(resource.RLIMIT_DATA) if size else (0, 0)

    def __enter__(self) -> _Limit:
        if self._size:
            resource.setrlimit(resource.RLIMIT_DATA, (self._size, self._before[1]))
        return self

    def fix(self, pid: int) -> None:
        if self._size:
            resource.prlimit(pid, resource.RLIMIT_DATA, (self._size, self._size))

    def __exit__(self, *_: object) -> None:
        if self._size:
            resource.setrlimit(resource.RLIMIT_DATA, self._before)


def _find(name: str, path: str) -> str:
    """The file a program's name means, by the job's own PATH. Raises FileNotFoundError."""
    if "/" in name:
        return name
    denied = None
    for part in path.split(":"):
        candidate = f"{part or '.'}/{name}"
        if os.path.isfile(candidate):
            if os.access(candidate, os.X_OK):
                return candidate
            denied = candidate
    if denied is not None:
        raise PermissionError(errno.EACCES, "permission denied", denied)
    raise FileNotFoundError(errno.ENOENT, f"not found in PATH={path}", name)


def failure(request: dict[str, Any], error: OSError | ValueError) -> tuple[int, str]:
    """Exit code by the shell's convention (127 missing, 126 not startable) and a sentence."""
    program, cwd = request["argv"][0], request["cwd"]
    if isinstance(error, ValueError):
        return NOT_STARTED, f"{program!r} could not be started: {error}"
    if not os.path.isdir(cwd):
        return 127, f"the working directory {cwd} does not exist"
    if isinstance(error, PermissionError) and not os.access(cwd, os.X_OK):
        return NOT_STARTED, f"the working directory {cwd} may not be entered"
    if isinstance(error, FileNotFoundError):
        if "/" in program and os.path.exists(program):
            return 127, f"{program}: the interpreter its first line names does not exist"
        where = "" if "/" in program else " in PATH"
        return 127, f"there is no program {program!r}{where}"
    if isinstance(error, PermissionError):
        return NOT_STARTED, f"{program!r} may not be executed"
    if error.errno == errno.ENOEXEC:
        return NOT_STARTED, f"{program!r} is no program: it lacks a first line such as #!/bin/sh"
    return NOT_STARTED, f"{program!r} could not be started: {error.strerror}"


def ending(status: int | None) -> tuple[int | None, int | None]:
    """Exit code and signal of a wait status; neither while the process cannot be killed."""
    if status is None:
        return None, None
    if os.WIFSIGNALED(status):
        return None, os.WTERMSIG(status)
    return os.WEXITSTATUS(status), None


def pipe() -> tuple[int, int]:
    """A pipe whose reading end does not block; the writing end is the job's and does."""
    read, write = os.pipe()
    os.set_blocking(read, False)
    return read, write
