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
    from typing import Any

LARGEST = 64 * 1024 * 1024
LIGHT = 1 << 63
"""Set in the number of a launch that may be handed out together with others."""
BACK = b"-"
"""A supervisor's answer for a launch that it has not begun and gives back."""
HEAD = 12
"""Bytes before the body."""


class TooLarge(ValueError):
    """A message that no honest peer sends."""


def pack(number: int, message: dict[str, Any]) -> bytes:
    return pack_body(number, json.dumps(message).encode())


def pack_body(number: int, body: bytes) -> bytes:
    if len(body) > LARGEST:
        raise TooLarge(f"a message of {len(body)} bytes")
    return len(body).to_bytes(4, "big") + number.to_bytes(8, "big") + body


def together(launches: Iterable[tuple[int, bytes]]) -> bytes:
    return pack_body(0, b"".join([pack_body(number, body) for number, body in launches]))


def apart(body: bytes) -> list[tuple[int, bytes]]:
    """What `together` put into one frame."""
    return [*Unpacker().feed(body)]


class Unpacker:
    """Cuts a stream of bytes into frames: (number, body)."""

    def __init__(self) -> None:
        self._buffer = b""

    def feed(self, data: bytes) -> Iterator[tuple[int, bytes]]:
        buffer = self._buffer + data if self._buffer else data
        at = 0
        try:
            while len(buffer) - at >= HEAD:
                size = int.from_bytes(buffer[at : at + 4], "big")
                if size > LARGEST:
                    raise TooLarge(f"a message of {size} bytes")
                end = at + HEAD + size
                if len(buffer) < end:
                    break
                number = int.from_bytes(buffer[at + 4 : at + HEAD], "big")
                body = buffer[at + HEAD : end]
                at = end
                yield number, body
        finally:  # also where the caller wants no more of them now
            self._buffer = buffer[at:]


def launch(request: bytes, for_worker: bytes) -> bytes:
    """The body of a Python job's launch."""
    return request + b"\n" + for_worker


def request_of(body: bytes) -> dict[str, Any]:
    """What a launch's supervisor goes by; `worker` in it is what is for the worker, unread."""
    head, _, worker = body.partition(b"\n")
    request: dict[str, Any] = json.loads(head)
    request["worker"] = worker
    return request


def for_worker(body: bytes) -> bytes:
    """What a launch's worker is told."""
    return body.partition(b"\n")[2]


def send(descriptor: int, frame: bytes) -> None:
    """Writes a frame to a blocking descriptor."""
    sent = os.write(descriptor, frame)
    while sent < len(frame):
        sent += os.write(descriptor, memoryview(frame)[sent:])


def receive(descriptor: int) -> bytes | None:
    """The body of the next frame of a blocking descriptor; None where the peer is gone."""
    unpacker = Unpacker()
    while data := os.read(descriptor, 1 << 16):
        for _, body in unpacker.feed(data):
            return body
    return None
