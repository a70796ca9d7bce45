"""The daemon's end of the supervisor server: starts it, asks it to launch, notices its end."""

from __future__ import annotations

import asyncio
import functools
import resource
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

from jobreconciler.errors import Transient
from jobreconciler.execute import frames

_SERVER = Path(__file__).with_name("supervisor_server.py")
_LOG = "supervisors.log"
_READY_WITHIN = 30.0


class ServerGone(Exception):
    """The server ended before it answered; whether it forked is for the run's claim to tell."""


class ServerConnection(asyncio.Protocol):
    """One server process and its socket. Made by `connect`; of no use once `gone` is set."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.gone = False
        self.ready: asyncio.Future[int] = loop.create_future()
        self._loop = loop
        self._transport: asyncio.Transport | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._unpacker = frames.Unpacker()
        self._pending: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._last = 0

    async def launch(self, request: dict[str, Any]) -> tuple[int, int]:
        """Pid and start time of the supervisor. Raises ServerGone, and Transient if no fork."""
        if self.gone or self._transport is None:
            raise ServerGone
        self._last += 1
        answer: asyncio.Future[dict[str, Any]] = self._loop.create_future()
        self._pending[self._last] = answer
        self._transport.write(frames.pack({"id": self._last, **request}))
        said = await answer
        if "error" in said:
            raise Transient(
                f"no process could be started: {said['error']}",
                reason="NoProcess",
                hint="the machine is out of processes or memory",
                retry_after=1.0,
            )
        return said["pid"], said["started"]

    async def close(self) -> None:
        """Lets the server end; supervisors go on."""
        if self._transport is not None:
            self._transport.close()
        if self._process is not None:
            await asyncio.to_thread(self._process.wait)

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process is not None else None

    def own(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        for message in self._unpacker.feed(data):
            if "ready" in message:
                self.ready.set_result(message["ready"])
                continue
            answer = self._pending.pop(message["id"], None)
            if answer is not None and not answer.done():
                answer.set_result(message)

    def connection_lost(self, _: Exception | None) -> None:
        self.gone = True
        waiting: list[asyncio.Future[Any]] = [*self._pending.values(), self.ready]
        self._pending.clear()
        for answer in waiting:
            if not answer.done():
                answer.set_exception(ServerGone())
                answer.exception()


async def connect(state_dir: Path) -> ServerConnection:
    """Starts a server. Raises Transient where it does not come up."""
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    try:
        process = await asyncio.to_thread(_spawn, theirs, state_dir / _LOG)
    except OSError as error:
        ours.close()
        raise Transient(
            f"the supervisor server could not be started: {error}", reason="NoProcess"
        ) from error
    finally:
        theirs.close()
    loop = asyncio.get_running_loop()
    _, connection = await loop.create_connection(ServerConnection, sock=ours)
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


def _spawn(theirs: socket.socket, log: Path) -> subprocess.Popen[bytes]:
    soft = _raise_descriptor_limit()
    with log.open("ab") as errors:
        return subprocess.Popen(
            [sys.executable, "-I", "-S", str(_SERVER), str(theirs.fileno()), str(soft)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=errors,
            cwd="/",
            env={"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"},
            pass_fds=(theirs.fileno(),),
            start_new_session=True,
        )


@functools.cache
def _raise_descriptor_limit() -> int:
    """Lets the daemon hold one descriptor a run; returns the soft limit that jobs are to have."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return soft
