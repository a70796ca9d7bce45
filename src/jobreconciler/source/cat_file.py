"""One `git cat-file --batch` child and its pipes: requests in, answers out, both bounded."""

from __future__ import annotations

import contextlib
import fcntl
import io
import os
import select
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from typing import IO, NamedTuple, cast

from jobreconciler.errors import Refused
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
    """The child and its pipes. Its stderr goes to an unnamed file: never blocks, kept for errors.

    Raises EOFError or OSError once it has died, TimeoutError after `timeout` seconds of silence.
    """

    def __init__(self, git: Git, git_dir: str, timeout: float) -> None:
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
        self._raw = _Bounded(self._child.stdout.fileno(), timeout)
        self._out = io.BufferedReader(cast(io.RawIOBase, self._raw), 1 << 18)
        self.closed = False
        # Two requests must fit: pipes shrink to one page once a user holds many of them.
        self.request_bytes = min(_REQUEST_BYTES, fcntl.fcntl(self._in, _F_GETPIPE_SZ) // 2)

    def alive(self) -> bool:
        return self._child.poll() is None

    def send(self, request: bytes) -> None:
        while request:
            request = request[os.write(self._in, request) :]

    def answers(self, count: int, limit: int) -> list[GitObject | None]:
        """The next `count` answers, or fewer where one was so large that this child was ended."""
        found: list[GitObject | None] = []
        readline, read = self._out.readline, self._out.read
        while len(found) < count and not self.closed:
            header = readline()
            if not header.endswith(b"\n"):
                raise EOFError
            if header.endswith((b" missing\n", b" ambiguous\n")):
                found.append(None)
                continue
            object_id, kind, text = header.decode("ascii").split()
            size = int(text)
            wanted = size + 1 if size <= limit else limit
            data = read(wanted)
            if len(data) < wanted:
                raise EOFError
            if size <= limit:
                data = data[:-1]
                check_hash(object_id, kind, data)
            else:
                self._skip(size + 1 - limit)
            found.append(GitObject(object_id, kind, size, data))
        return found

    def _skip(self, count: int) -> None:
        # Reading on through a huge object costs more than another child.
        if count > _SKIP_LIMIT:
            self.close()
            return
        while count:
            chunk = self._out.read(min(count, 1 << 16))
            if not chunk:
                raise EOFError
            count -= len(chunk)

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


class _Bounded(io.RawIOBase):
    """A pipe's reading end that raises TimeoutError after a silence of `timeout` seconds."""

    def __init__(self, fd: int, timeout: float) -> None:
        super().__init__()
        self._fd = fd
        self._poll = select.poll()
        self._poll.register(fd, select.POLLIN)
        self._timeout = timeout * 1000

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray) -> int:  # type: ignore[override]
        if not self._poll.poll(self._timeout):
            raise TimeoutError
        return os.readv(self._fd, [buffer])


def requests_of(names: Sequence[str], limit: int) -> Iterator[tuple[int, bytes]]:
    """Names as requests of at most about `limit` bytes, each with the number of its names."""
    longest = max(map(len, names), default=0) + 1
    step = max(1, limit // longest)
    for start in range(0, len(names), step):
        part = names[start : start + step]
        request = ("\n".join(part) + "\n").encode("utf-8", "surrogateescape")
        if request.count(b"\n") != len(part):
            raise Refused("an object's name cannot contain a line break", reason="RefRefused")
        yield len(part), request
