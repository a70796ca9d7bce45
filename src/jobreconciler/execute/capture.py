"""A job's output on disk: the head and the tail of it, never more than the cap.

While a job runs, the first half of the cap lies in `output` and what follows in pieces, of which
the last two are kept: following sees the newest lines, memory holds none of them. `compact` joins
the two into one `output` when the run has ended, with a mark where the middle was left out.
Standard library only: runs inside the supervisor too.
"""

from __future__ import annotations

import os

from jobreconciler.execute import spool

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_APPEND = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
_LINE_SEARCH = 8192


class Capture:
    """Writes one attempt's output. `total` counts every byte that was given, kept or not.

    A full disk is not the job's fault: bytes that cannot be written are counted in `unwritten`.
    """

    def __init__(self, run: str, cap: int) -> None:
        self.total = 0
        self.unwritten = 0
        self._run = run
        self._cap = cap
        self._head_limit = cap // 2
        self._tail_limit = cap - self._head_limit
        self._file = -1
        self._in_tail = False
        self._room = self._head_limit
        self._pieces: list[str] = []

    def write(self, data: bytes) -> None:
        try:
            self._write(data)
        except OSError:
            self.unwritten += len(data)

    def close(self) -> dict[str, int]:
        """Joins the pieces; what `compact` returns."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
        if not self._in_tail:
            return {"outputBytes": self.total, "outputDropped": 0}
        return compact(self._run, self._cap)

    def discard(self) -> None:
        """Gives up the output, for the room it takes."""
        self._in_tail = False
        for path in (f"{self._run}/{spool.OUTPUT}", f"{self._run}/{spool.OUTPUT}.part"):
            if os.path.exists(path):
                os.unlink(path)
        if os.path.isdir(self._run):
            sweep(self._run)

    def sweep(self) -> None:
        """Removes the pieces; only after the result was written (see `read_output`)."""
        if self._in_tail:
            sweep(self._run)

    def _write(self, data: bytes) -> None:
        if not self._in_tail and data:
            part = data[: self._room]
            if self._file < 0:
                self._file = os.open(f"{self._run}/{spool.OUTPUT}", _APPEND, 0o600)
            self._append(part)
            data = data[len(part) :]
            if data:
                self._in_tail = True
                self._room = 0
        if len(data) > self._tail_limit:
            self._forget_pieces(0)
            self.total += len(data) - self._tail_limit
            data = data[-self._tail_limit :]
            self._room = 0
        while data:
            if self._room == 0:
                self._next_piece()
            part = data[: self._room]
            self._append(part)
            data = data[len(part) :]

    def _append(self, data: bytes) -> None:
        self.total += len(data)
        self._room -= len(data)
        while data:
            data = data[os.write(self._file, data) :]

    def _next_piece(self) -> None:
        os.close(self._file)
        self._forget_pieces(1)
        path = f"{self._run}/tail.{self._head_limit}.{self.total}"
        self._file = os.open(path, _APPEND, 0o600)
        self._pieces.append(path)
        self._room = self._tail_limit

    def _forget_pieces(self, keep: int) -> None:
        while len(self._pieces) > keep:
            os.unlink(self._pieces.pop(0))


def compact(run: str, cap: int) -> dict[str, int]:
    """Joins head and tail into `output`; returns the figures a result carries about it.

    outputBytes: how many were printed; outputDropped: how many are left out; outputHead and
    outputMarker: where in the file the mark is and how long, both absent where nothing was cut.
    """
    found = pieces(run)
    path = f"{run}/{spool.OUTPUT}"
    if not found:
        return {"outputBytes": _size(path), "outputDropped": 0}
    head, start, _ = found[0]
    tail = b"".join(_read(piece) for _, _, piece in found)
    total = start + len(tail)
    keep = min(len(tail), cap - head)
    tail = tail[len(tail) - keep :]
    dropped = total - head - keep
    if dropped:
        line = tail.find(b"\n", 0, _LINE_SEARCH) + 1
        tail, dropped = tail[line:], dropped + line
    mark = marker(dropped, cap) if dropped else b""
    part = f"{path}.part"
    with open(part, "wb") as out:
        out.write(_read(path)[:head] + mark + tail)
    os.chmod(part, 0o600)
    os.rename(part, path)
    figures = {"outputBytes": total, "outputDropped": dropped}
    if dropped:
        figures |= {"outputHead": head, "outputMarker": len(mark)}
    return figures


def marker(dropped: int, cap: int) -> bytes:
    """The line that stands where the middle was."""
    return (
        f"\n[jobreconciler: {dropped} bytes left out here; limits.outputKiB is {cap // 1024}]\n"
    ).encode()


def pieces(run: str) -> list[tuple[int, int, str]]:
    """The pieces of a tail that lie there now, in order: head's size, start, path."""
    found = []
    for name in os.listdir(run):
        if name.startswith("tail."):
            _, head, start = name.split(".")
            found.append((int(head), int(start), f"{run}/{name}"))
    return sorted(found, key=lambda piece: piece[1])


def sweep(run: str) -> None:
    for _, _, path in pieces(run):
        os.unlink(path)


class Chunk:
    """A part of a job's output. `offset` is where to go on; `skipped` bytes before it are gone.

    `ended`: the run is over and nothing follows.
    """

    __slots__ = ("data", "ended", "offset", "skipped")

    def __init__(self, data: bytes, offset: int, skipped: int, ended: bool) -> None:
        self.data = data
        self.offset = offset
        self.skipped = skipped
        self.ended = ended


def read_output(path: str | os.PathLike[str], offset: int = 0, limit: int = 262_144) -> Chunk:
    """Output from `offset` (in bytes of all that was printed), at most `limit` bytes of it.

    Works while the job runs and after it ended; an empty chunk that has not ended means: come
    back later. `path` is the attempt's `output`.
    """
    run = os.path.dirname(os.path.abspath(path))
    for _ in range(10):
        result = spool.result(run)
        if result is not None:
            return _read_ended(run, result, offset, limit)
        chunk = _read_running(run, offset, limit)
        if chunk is not None and not spool.has_result(run):
            return chunk
    return Chunk(b"", offset, 0, False)


def _read_ended(run: str, result: dict[str, Any], offset: int, limit: int) -> Chunk:
    total = int(result.get("outputBytes", 0))
    dropped = int(result.get("outputDropped", 0))
    head = int(result.get("outputHead", total))
    path = f"{run}/{spool.OUTPUT}"
    skipped = 0
    if head <= offset < head + dropped:
        skipped = head + dropped - offset
        offset = head + dropped
    if offset >= total:
        return Chunk(b"", offset, skipped, True)
    try:
        if offset < head:
            data = _read(path, offset, min(limit, head - offset))
        else:
            data = _read(path, offset - dropped + int(result.get("outputMarker", 0)), limit)
    except FileNotFoundError:
        return Chunk(b"", total, total - offset + skipped, True)
    after = offset + len(data)
    return Chunk(data, after, skipped, after >= total or not data)


def _read_running(run: str, offset: int, limit: int) -> Chunk | None:
    """None where a piece vanished under the reader's hands, so that it has to look again."""
    try:
        head_file = os.open(f"{run}/{spool.OUTPUT}", os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return Chunk(b"", offset, 0, False)
    try:
        found = pieces(run)
        head = found[0][0] if found else None
        if head is None or offset < head:
            size = limit if head is None else min(limit, head - offset)
            data = os.pread(head_file, size, offset)
            return Chunk(data, offset + len(data), 0, False)
    finally:
        os.close(head_file)
    skipped = max(0, found[0][1] - offset)
    offset += skipped
    for _, start, path in reversed(found):
        if start <= offset:
            try:
                data = _read(path, offset - start, limit)
            except FileNotFoundError:
                return None
            return Chunk(data, offset + len(data), skipped, False)
    return None


def read_tail(path: str | os.PathLike[str], limit: int = 16_384) -> tuple[bytes, float]:
    """The newest bytes of a running attempt's output, at most `limit` and without a gap, and when
    the last of them were written, in seconds since the epoch."""
    run = os.path.dirname(os.path.abspath(path))
    try:
        files = [(0, f"{run}/{spool.OUTPUT}")] + [(start, name) for _, start, name in pieces(run)]
    except FileNotFoundError:
        return b"", 0.0
    tail, at, begins = b"", 0.0, None
    for start, name in reversed(files):
        try:
            with open(name, "rb") as file:
                state = os.fstat(file.fileno())
                if begins is not None and start + state.st_size != begins:
                    break
                room = limit - len(tail)
                file.seek(max(0, state.st_size - room))
                tail = file.read(room) + tail
        except FileNotFoundError:
            break
        at = max(at, state.st_mtime)
        begins = start
        if len(tail) >= limit:
            break
    return tail, at


def _read(path: str, offset: int = 0, limit: int = -1) -> bytes:
    with open(path, "rb") as file:
        file.seek(offset)
        return file.read(limit)


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except FileNotFoundError:
        return 0
