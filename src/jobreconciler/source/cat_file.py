"""One `git cat-file --batch` child and its pipes: requests in, answers out, both bounded."""

from __future__ import annotations

import contextlib
import fcntl
import io
import os
import select
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from typing import IO, NamedTuple, cast

from jobreconciler.source.command import Git
from jobreconciler.source.git_objects import check_hash

_SKIP_LIMIT = 4 << 20
_REQUEST_BYTES = 16384
_F_GETPIPE_SZ = getattr(fcntl, "F_GETPIPE_SZ", 1032)


class GitObject(NamedTuple):
    """`data` is shorter than `size` where a limit cut it off."""

    id: str
    type: str
    size: int
    data: bytes


class CatFile:
    """The child and its pipes. Raises EOFError or OSError once it has died, TimeoutError past a
    deadline. Its stderr goes to an unnamed file: never blocks, kept for errors."""

    def __init__(self, git: Git, git_dir: str) -> None:
        self._git = git
        self._stderr: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115
        try:
            self._child = git.start(
                [f"--git-dir={git_dir}", "cat-file", "--batch"],
                cwd="/",
                stdin=subprocess.PIPE,
                stderr=self._stderr,
            )
        except BaseException:
            self._stderr.close()
            raise
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        self._in = self._child.stdin.fileno()
        self._raw = _Bounded(self._child.stdout.fileno())
        self._out = io.BufferedReader(cast(io.RawIOBase, self._raw), 1 << 18)
        self.closed = False
        # Two requests must fit: pipes shrink to one page once a user holds many of them.
        self.request_bytes = min(_REQUEST_BYTES, fcntl.fcntl(self._in, _F_GETPIPE_SZ) // 2)

    def alive(self) -> bool:
        return self._child.poll() is None

    def send(self, names: Sequence[bytes]) -> None:
        data = b"".join(names)
        while data:
            data = data[os.write(self._in, data) :]

    def answer(self, limit: int, deadline: float) -> GitObject | None:
        self._raw.deadline = deadline
        header = self._out.readline()
        if not header.endswith(b"\n"):
            raise EOFError
        if header.endswith((b" missing\n", b" ambiguous\n")):
            return None
        object_id, kind, text = header.decode("ascii").split()
        size = int(text)
        data = self._out.read(min(size, limit))
        if len(data) < min(size, limit):
            raise EOFError
        if size <= limit:
            self._out.read(1)
            check_hash(object_id, kind, data)
        else:
            self._skip(size + 1 - limit)
        return GitObject(object_id, kind, size, data)

    def _skip(self, count: int) -> None:
        # Reading on through a huge object costs more than another child.
        if count > _SKIP_LIMIT:
            self.close()
            return
        while count:
            count -= len(self._out.read(min(count, 1 << 16)) or _end())

    def stderr(self, *, dying: bool = False) -> str:
        if dying:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._child.wait(0.2)
        self._stderr.seek(0)
        return self._stderr.read(65536).decode("utf-8", "replace").strip()

    def close(self) -> None:
        if self.closed:
            return
        self.closed = True
        child = self._child
        # End of input ends an idle cat-file at once; one that is busy or stuck is stopped.
        assert child.stdin is not None
        with contextlib.suppress(OSError):
            child.stdin.close()
        self._git.end(child, grace=0.2)
        self._stderr.close()


def _end() -> bytes:
    raise EOFError


class _Bounded(io.RawIOBase):
    """A pipe's reading end that raises TimeoutError past `deadline` (monotonic seconds)."""

    def __init__(self, fd: int) -> None:
        super().__init__()
        self._fd = fd
        self._poll = select.poll()
        self._poll.register(fd, select.POLLIN)
        self.deadline = 0.0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray) -> int:  # type: ignore[override]
        if not self._poll.poll(max(0.0, self.deadline - time.monotonic()) * 1000):
            raise TimeoutError
        return os.readv(self._fd, [buffer])


def requests_of(names: Sequence[str], limit: int) -> Iterator[list[bytes]]:
    """Names as request lines, in batches of at most `limit` bytes."""
    request: list[bytes] = []
    size = 0
    for name in names:
        line = name.encode("utf-8", "surrogateescape") + b"\n"
        if request and size + len(line) > limit:
            yield request
            request, size = [], 0
        request.append(line)
        size += len(line)
    if request:
        yield request
