"""The daemon's end of the supervisor server: starts it, asks it to launch, notices its end."""

from __future__ import annotations

import asyncio
import fcntl
import functools
import os
import resource
import socket
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from jobreconciler.errors import Transient
from jobreconciler.execute import frames, processes
from jobreconciler.execute.encoding import decoded
from jobreconciler.execute.processes import LONGEST_ID
from jobreconciler.execute.request import Sent

_PROGRAMS = Path(__file__).with_name("supervisor_server.py")
_PYTHON = Path(__file__).with_name("warm_server.py")
_LOG = "supervisors.log"
_READY_WITHIN = 30.0
_ENDED_WITHIN = 3.0
_ROOM = 4096
"""Descriptors that the table has room for from the beginning: 32 KiB."""


class ServerGone(Exception):
    """The server ended before it answered; whether it forked is for the run's claim to tell."""


class _Answers:
    """Those to several launches; `all` is done when the last one is there."""

    __slots__ = ("_left", "all", "errors")

    def __init__(self, all_: asyncio.Future[None], count: int) -> None:
        self.all = all_
        self.errors: list[Exception | None] = [None] * count
        self._left = count

    def give(self, index: int, error: Exception | None) -> None:
        self.errors[index] = error
        self._left -= 1
        if not self._left and not self.all.done():
            self.all.set_result(None)


class ServerConnection(asyncio.Protocol):
    """One server process and its socket, made by `connect`; of no use once `gone` is set.

    `on_held` is told which process has a run (pid and start time), again where that is another,
    `on_end` each launched run that is over, with its result where that is short, `on_gone` all that
    were still going on when the server ended, of which it then knows nothing any more.
    """

    def __init__(
        self,
        on_held: Callable[[Any, int, int], None],
        on_end: Callable[[Any, dict[str, Any]], None],
        on_gone: Callable[[Iterable[Any]], None],
    ) -> None:
        self.gone = False
        self._loop = asyncio.get_running_loop()
        self.ready: asyncio.Future[int] = self._loop.create_future()
        self._on_held = on_held
        self._on_end = on_end
        self._on_gone = on_gone
        self._transport: asyncio.Transport | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._unpacker = frames.Unpacker()
        self._pending: dict[int, tuple[_Answers, int]] = {}
        self._going_on: dict[int, Any] = {}
        self._unsent: list[bytes] = []
        self._last = 0

    async def launch_all(self, asked: Sequence[tuple[Sent, Any]]) -> list[Exception | None]:
        """Requests, and what the callbacks are given as the run. Returns when each has a supervisor
        or an error: ServerGone, TooLarge, or Transient where no process could be made."""
        if self.gone or self._transport is None:
            return [ServerGone() for _ in asked]
        answers = _Answers(self._loop.create_future(), len(asked))
        if not self._unsent:
            self._loop.call_soon(self._send)
        for index, (request, run) in enumerate(asked):
            self._last += 1
            number = self._last
            named = number | frames.LIGHT if request.light else number
            try:
                self._unsent.append(frames.pack_body(named, request.body))
            except frames.TooLarge as error:
                answers.give(index, error)
                continue
            self._pending[number] = answers, index
            self._going_on[number] = run
        await answers.all
        return answers.errors

    def _send(self) -> None:
        """All launches of one turn of the loop at once: each write wakes the server."""
        unsent, self._unsent = self._unsent, []
        if self._transport is not None:
            self._transport.write(b"".join(unsent))

    async def close(self) -> None:
        """Lets the server end; supervisors go on with their runs."""
        self._going_on.clear()
        if self._transport is not None:
            self._transport.close()
        if self._process is not None:
            await asyncio.to_thread(_wait, self._process)

    def own(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        for number, body in self._unpacker.feed(data):
            message = decoded(body)
            if "end" in message:
                self._on_end(self._going_on.pop(number), message["end"])
            elif "ready" in message:
                self.ready.set_result(message["ready"])
            elif "error" in message:
                self._refused(number, message["error"])
            else:
                for launch in message["launches"]:
                    self._held(launch, message["pid"], message["started"])

    def _held(self, number: int, pid: int, started: int) -> None:
        self._on_held(self._going_on[number], pid, started)
        if number in self._pending:
            answers, index = self._pending.pop(number)
            answers.give(index, None)

    def _refused(self, number: int, error: str) -> None:
        run = self._going_on.pop(number)
        if number not in self._pending:  # the process that had it is gone, and there is no other
            self._on_end(run, {"error": f"no process could be started: {error}"})
            return
        answers, index = self._pending.pop(number)
        answers.give(
            index,
            Transient(
                f"no process could be started: {error}",
                reason="NoProcess",
                hint="the machine is out of processes or memory",
                retry_after=1.0,
            ),
        )

    def connection_lost(self, _: Exception | None) -> None:
        self.gone = True
        answered = [run for number, run in self._going_on.items() if number not in self._pending]
        waiting = [*self._pending.values()]
        self._pending.clear()
        self._going_on.clear()
        for answers, index in waiting:
            answers.give(index, ServerGone())
        if not self.ready.done():
            self.ready.set_exception(ServerGone())
            self.ready.exception()
        self._on_gone(answered)


async def connect(
    state_dir: Path,
    preload: Iterable[str] | None,
    on_held: Callable[[Any, int, int], None],
    on_end: Callable[[Any, dict[str, Any]], None],
    on_gone: Callable[[Iterable[Any]], None],
) -> ServerConnection:
    """Starts the server for programs, or the warm one that loads the modules in `preload`.

    Raises Transient where it does not come up.
    """
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    try:
        process = await asyncio.to_thread(_spawn, theirs, state_dir, preload)
    except OSError as error:
        ours.close()
        raise Transient(
            f"the supervisor server could not be started: {error}", reason="NoProcess"
        ) from error
    finally:
        theirs.close()
    loop = asyncio.get_running_loop()
    _, connection = await loop.create_connection(
        lambda: ServerConnection(on_held, on_end, on_gone), sock=ours
    )
    connection.own(process)
    try:
        await asyncio.wait_for(asyncio.shield(connection.ready), _READY_WITHIN)
    except (ServerGone, TimeoutError) as error:
        process.kill()
        await connection.close()
        raise Transient(
            "the supervisor server did not come up",
            reason="NoProcess",
            hint=f"see {state_dir / _LOG}",
            retry_after=1.0,
        ) from error
    return connection


def _wait(process: subprocess.Popen[bytes]) -> None:
    try:
        process.wait(_ENDED_WITHIN)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _spawn(
    theirs: socket.socket, state_dir: Path, preload: Iterable[str] | None
) -> subprocess.Popen[bytes]:
    arguments = [str(theirs.fileno()), str(raise_descriptor_limit()), str(state_dir)]
    environment = {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "LD_BIND_NOW": "1"}
    if preload is not None:
        program = ["-I", str(_PYTHON)]
        arguments += [
            ",".join(preload),
            *(str(Path(entry).absolute()) for entry in sys.path if entry),
        ]
        environment |= {processes.MARKER: " " * LONGEST_ID, "PYDANTIC_DISABLE_PLUGINS": "__all__"}
    else:
        program = ["-I", "-S", str(_PROGRAMS)]
    with (state_dir / _LOG).open("ab") as errors:
        return subprocess.Popen(
            [sys.executable, *program, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=errors,
            cwd="/",
            env=environment,
            pass_fds=(theirs.fileno(),),
            start_new_session=True,
        )


@functools.cache
def raise_descriptor_limit() -> int:
    """Lets the daemon hold one descriptor a run; returns the soft limit that jobs are to have.

    Best called while there is one thread: the kernel's table of descriptors is made large here, and
    later each doubling of it would have one that opens something wait for 5 to 10 ms.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    last = _ROOM if hard == resource.RLIM_INFINITY else min(hard, _ROOM)
    with Path(os.devnull).open("rb") as some, suppress(OSError):
        os.close(fcntl.fcntl(some, fcntl.F_DUPFD_CLOEXEC, last - 1))
    return soft
