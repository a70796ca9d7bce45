"""Messages between the daemon, the supervisor server and its supervisors.

A frame is the length of its body (four bytes), a number that names a launch (eight bytes), both
big-endian, and the body, which is JSON. The server passes launches on without reading them.
Standard library only: runs inside the server too.
"""

from __future__ import annotations

import json
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

LARGEST = 64 * 1024 * 1024
_HEAD = 12


class TooLarge(ValueError):
    """A message that no honest peer sends."""


def pack(number: int, message: dict[str, Any]) -> bytes:
    return pack_body(number, json.dumps(message).encode())


def pack_body(number: int, body: bytes) -> bytes:
    if len(body) > LARGEST:
        raise TooLarge(f"a message of {len(body)} bytes")
    return len(body).to_bytes(4, "big") + number.to_bytes(8, "big") + body


class Unpacker:
    """Cuts a stream of bytes into frames: (number, body)."""

    def __init__(self) -> None:
        self._buffer = b""

    def feed(self, data: bytes) -> Iterator[tuple[int, bytes]]:
        buffer = self._buffer + data if self._buffer else data
        at = 0
        try:
            while len(buffer) - at >= _HEAD:
                size = int.from_bytes(buffer[at : at + 4], "big")
                if size > LARGEST:
                    raise TooLarge(f"a message of {size} bytes")
                end = at + _HEAD + size
                if len(buffer) < end:
                    break
                number = int.from_bytes(buffer[at + 4 : at + _HEAD], "big")
                body = buffer[at + _HEAD : end]
                at = end
                yield number, body
        finally:  # also where the caller wants no more of them now
            self._buffer = buffer[at:]


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
