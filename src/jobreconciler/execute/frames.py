"""Messages between the daemon and the supervisor server: a length and that many bytes of JSON.

The length is four bytes, big-endian. Standard library only: runs inside the server too.
"""

from __future__ import annotations

import json
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

LARGEST = 64 * 1024 * 1024


class TooLarge(ValueError):
    """A message that no honest peer sends."""


def pack(message: dict[str, Any]) -> bytes:
    body = json.dumps(message, separators=(",", ":")).encode()
    if len(body) > LARGEST:
        raise TooLarge(f"a message of {len(body)} bytes")
    return len(body).to_bytes(4, "big") + body


class Unpacker:
    """Cuts a stream of bytes into messages."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[dict[str, Any]]:
        self._buffer += data
        while len(self._buffer) >= 4:
            size = int.from_bytes(self._buffer[:4], "big")
            if size > LARGEST:
                raise TooLarge(f"a message of {size} bytes")
            if len(self._buffer) < 4 + size:
                return
            body = bytes(self._buffer[4 : 4 + size])
            del self._buffer[: 4 + size]
            yield json.loads(body)


def write(descriptor: int, message: dict[str, Any]) -> None:
    """Writes one message to a blocking descriptor."""
    data = memoryview(pack(message))
    while data:
        data = data[os.write(descriptor, data) :]
