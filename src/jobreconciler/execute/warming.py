"""Gets a server ready to be forked from: it goes through a few runs as its supervisors will.

An interpreter writes into the code that it runs: it counts the first calls, then puts quicker
instructions in place. Each supervisor would do that anew, in memory that it shares with its server
until then; what the server did before is there for all of them. Standard library only.
"""

from __future__ import annotations

import _socket
import os
import time

from jobreconciler.execute import frames, processes, spool
from jobreconciler.execute.lane import Lane
from jobreconciler.execute.signals import Signals

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

ROUNDS = 12
"""An interpreter looks at a function again after eight calls of it."""
_TOGETHER = 2
_POOL = 16 * 1024
_BYTES = 33
"""What an empty bytes object takes."""
_SECONDS = 1.0
"""After so long what is ready by then will have to do."""
_SPACE = 512 * 1024
"""More than all of the runs write: a run would wait long for a disk that is full."""
_MOST_SAID = 65536
_SAYS = """echo said; echo '{"progress": {"done": 1, "total": 1}}' >&3"""


class Nothing:
    """A job type that does nothing; it is its own parameters too."""

    @property
    def parameters(self) -> Nothing:
        return self

    def model_validate(self, _parameters: Any) -> Nothing:
        return self

    def run(self, _context: Any) -> None:
        return None


def programs(starter: Any, folder: str) -> None:
    """As supervisors of programs. What the runs write goes to a folder in `folder`, which is gone
    afterwards. Raises OSError."""
    with _Launches(f"{folder}/.warming-up-programs") as launches:
        _go_through(starter, [[launches.program()] for _ in range(ROUNDS)])


def python(starter: Any, folder: str) -> None:
    """As supervisors of Python jobs, else as `programs`."""
    with _Launches(f"{folder}/.warming-up-python") as launches:
        alone = [[launches.python()] for _ in range(ROUNDS)]
        together = [[launches.python() for _ in range(_TOGETHER)] for _ in range(ROUNDS)]
        _go_through(starter, alone + together)


def full_pools() -> list[bytes]:
    """Objects that fill at least one of the interpreter's pools of each size. As long as they are
    kept, what a supervisor makes lies together in new ones; in gaps between what a large program
    imported it would be spread over many pages."""
    sizes = range(48, 512 + 1, 16)
    return [bytes(size - _BYTES) for size in sizes for _ in range(_POOL // size)]


def _go_through(starter: Any, rounds: list[list[tuple[int, bytes]]]) -> None:
    ours, theirs = _socket.socketpair()
    signals = Signals()
    try:
        _Rounds(ours, theirs.fileno(), signals, starter, rounds[1:]).live(rounds[0])
    finally:
        signals.close()
        ours.close()
        theirs.close()


class _Rounds(Lane):
    """Is its own server, for as long as all goes well and quickly."""

    def __init__(
        self,
        server: _socket.socket,
        channel: int,
        signals: Signals,
        starter: Any,
        rounds: list[list[tuple[int, bytes]]],
    ) -> None:
        super().__init__(channel, signals, starter)
        self._server = server
        self._rounds = rounds
        self._until = time.monotonic() + _SECONDS

    def _next(self) -> Sequence[tuple[int, frames.Buffer]] | None:
        self._answers.send()
        for _, result in frames.Unpacker().feed(self._server.recv(_MOST_SAID)):
            if b'"succeeded"' not in result:
                raise RuntimeError(f"a run that warms up ended so: {result.decode()}")
        if not self._rounds or time.monotonic() > self._until:
            return None
        frames.send_parts(self._server.fileno(), frames.together(self._rounds.pop(0)))
        return super()._next()


class _Launches:
    """Makes them, each of a run of its own."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._made = 0

    def __enter__(self) -> _Launches:
        os.makedirs(self._folder, 0o700, exist_ok=True)
        _empty(self._folder)  # of what one that was killed left
        with open(f"{self._folder}/space", "wb") as space:
            space.write(bytes(_SPACE))
        return self

    def __exit__(self, *_: object) -> None:
        _empty(self._folder)
        os.rmdir(self._folder)

    def program(self) -> tuple[int, bytes]:
        head = {**self._head(), "argv": ["/bin/sh", "-c", _SAYS], "env": {}}
        return self._made, spool.encoded(head)

    def python(self) -> tuple[int, bytes]:
        head = {**self._head(), "argv": ["python"], "reuse": True}
        payload = {
            "sysPath": [],
            "jobType": f"{Nothing.__module__}:{Nothing.__qualname__}",
            "parameters": {},
            "secrets": {},
            "batchSize": None,
            "timeoutSeconds": head["timeoutSeconds"],
            "networks": [],
            "dryRun": False,
            "executionId": str(self._made),
            "attempt": 1,
            "slot": None,
            "trigger": "manual",
            "revision": "",
        }
        named = ("cwd", "directory", "memoryBytes", "reuse")
        worker = {name: head[name] for name in named}
        worker |= {"env": {processes.MARKER: str(self._made)}, "payload": payload}
        return self._made, frames.launch(spool.encoded(head), spool.encoded(worker))

    def _head(self) -> dict[str, Any]:
        self._made += 1
        return {
            "directory": spool.directory(self._folder, str(self._made), 1),
            "bootId": processes.boot_id(),
            "cwd": "/",
            "successExitCodes": [0],
            "timeoutSeconds": 1,
            "killGraceSeconds": 0,
            "outputBytes": 4096,
            "memoryBytes": None,
            "secrets": [],
        }


def _empty(folder: str) -> None:
    for entry in os.scandir(folder):
        if entry.is_dir(follow_symlinks=False):
            _empty(entry.path)
            os.rmdir(entry.path)
        else:
            os.unlink(entry.path)
