"""Messages between the daemon, the supervisor server and its supervisors.

A frame is the length of its body (four bytes), a number that names a launch (eight bytes), both
big-endian, and the body, which is JSON; for a Python job a second line of it is what its worker is
told. The server passes launches on without reading them. Several frames that are to be taken
together are the body of one whose number is 0.
Standard library only: runs inside the server too.
"""

from __future__ import annotations

import json
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any, TypeVar

    Buffer = bytes | memoryview
    B = TypeVar("B", bytes, memoryview)

LARGEST = 64 * 1024 * 1024
LIGHT = 1 << 63
"""Set in the number of a launch that may be handed out together with others."""
BACK = b"-"
"""A supervisor's answer for a launch that it has not begun and gives back."""
_PARSE = json.JSONDecoder().scan_once  # type: ignore[attr-defined]
"""What `json.loads` comes to, and a tenth of the memory that its steps write to."""
HEAD = 12
"""Bytes before the body."""


class TooLarge(ValueError):
    """A message that no honest peer sends."""


def pack(number: int, message: dict[str, Any]) -> bytes:
    return pack_body(number, json.dumps(message).encode())


def pack_body(number: int, body: bytes) -> bytes:
    return _head(len(body), number) + body


def _head(size: int, number: int) -> bytes:
    return _allowed(size).to_bytes(4, "big") + number.to_bytes(8, "big")


def _size(field: bytes) -> int:
    return _allowed(int.from_bytes(field, "big"))


def _allowed(size: int) -> int:
    if size > LARGEST:
        raise TooLarge(f"a message of {size} bytes")
    return size


def together(launches: Iterable[tuple[int, Buffer]], number: int = 0) -> list[Buffer]:
    """One frame of several, in parts that `send_parts` takes: what is in it is not copied."""
    parts: list[Buffer] = [b""]
    size = 0
    for each, body in launches:
        parts += (_head(len(body), each), body)
        size += HEAD + len(body)
    parts[0] = _head(size, number)
    return parts


def apart(body: bytes) -> list[tuple[int, Buffer]]:
    """What `together` put into one frame, as parts of `body`."""
    return [*Unpacker().feed(memoryview(body))]


class Unpacker:
    """Cuts a stream of bytes into frames: (number, body). Bodies are parts of what they came in."""

    def __init__(self) -> None:
        self._buffer = b""

    def feed(self, data: B) -> Iterator[tuple[int, B]]:
        buffer: Any = self._buffer + data if self._buffer else data
        at = 0
        try:
            while len(buffer) - at >= HEAD:
                end = at + HEAD + _size(buffer[at : at + 4])
                if len(buffer) < end:
                    break
                number = int.from_bytes(buffer[at + 4 : at + HEAD], "big")
                body = buffer[at + HEAD : end]
                at = end
                yield number, body
        finally:  # also where the caller wants no more of them now
            self._buffer = bytes(buffer[at:])


def launch(request: bytes, for_worker: bytes) -> bytes:
    """The body of a Python job's launch."""
    return request + b"\n" + for_worker


def request_of(body: Buffer) -> dict[str, Any]:
    """What a launch's supervisor goes by; `worker` in it is what is for the worker, unread."""
    head, _, worker = bytes(body).partition(b"\n")
    request: dict[str, Any] = _PARSE(head.decode("utf-8", "surrogatepass"), 0)[0]
    request["worker"] = worker
    return request


def for_worker(body: Buffer) -> bytes:
    """What a launch's worker is told."""
    return bytes(body).partition(b"\n")[2]


def send(descriptor: int, frame: bytes) -> None:
    """Writes a frame to a blocking descriptor."""
    sent = os.write(descriptor, frame)
    while sent < len(frame):
        sent += os.write(descriptor, memoryview(frame)[sent:])


def send_parts(descriptor: int, parts: list[Buffer]) -> None:
    """As `send`, a frame in parts."""
    sent = os.writev(descriptor, parts)
    if sent < sum(map(len, parts)):
        send(descriptor, b"".join(parts)[sent:])


def receive(descriptor: int) -> bytes | None:
    """The body of the next frame of a blocking descriptor; None where the peer is gone."""
    head = _read(descriptor, HEAD)
    return None if head is None else _read(descriptor, _size(head[:4]))


def _read(descriptor: int, size: int) -> bytes | None:
    data = os.read(descriptor, size)
    while len(data) < size:
        more = os.read(descriptor, size - len(data))
        if not more:
            return None
        data += more
    return data
