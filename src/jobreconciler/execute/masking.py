"""Hides secrets in a stream of bytes, also where a secret arrives in several pieces.

Standard library only: runs inside the supervisor.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

STARS = b"***"
_SHORTEST_LINE = 8


class Mask:
    """Replaces every occurrence of every secret by `***`; overlapping ones by one `***`.

    What could be the beginning of a secret is held back until the next bytes decide.
    """

    __slots__ = ("_covered", "_held", "_secrets")

    def __init__(self, secrets: Iterable[str]) -> None:
        self._secrets = _pieces(secrets)
        self._held = b""
        self._covered = 0

    def feed(self, data: bytes) -> bytes:
        """The masked bytes that are certain by now."""
        if not self._secrets:
            return data
        data = self._held + data
        return self._emit(data, len(data) - self._undecided(data))

    def flush(self) -> bytes:
        """What was held back; the stream has ended."""
        return self._emit(self._held, len(self._held))

    def text(self, text: str) -> str:
        """One whole text, masked, independent of the stream."""
        for secret in self._secrets:
            text = text.replace(secret.decode("utf-8", "surrogateescape"), "***")
        return text

    def value(self, value: Any) -> Any:
        """A JSON value with every text in it masked, keys too."""
        if not self._secrets:
            return value
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, list):
            return [self.value(item) for item in value]
        if isinstance(value, dict):
            return {self.text(str(key)): self.value(item) for key, item in value.items()}
        return value

    def _undecided(self, data: bytes) -> int:
        """Length of the longest end of `data` that begins a secret without completing it."""
        longest = 0
        for secret in self._secrets:
            for length in range(min(len(secret) - 1, len(data)), longest, -1):
                if data.endswith(secret[:length]):
                    longest = length
                    break
        return longest

    def _emit(self, data: bytes, end: int) -> bytes:
        """Masks `data[:end]`, keeps the rest, and remembers a mask that reaches into the rest."""
        if end == 0:
            self._held = data
            return b""
        out = []
        position = 0
        covered = 0
        for start, stop in _merged(self._found(data), self._covered):
            if start >= end:
                break
            out.append(data[position:start])
            if not (start == 0 and self._covered):
                out.append(STARS)
            position = stop
            covered = max(0, stop - end)
        if position < end:
            out.append(data[position:end])
        self._held = data[end:]
        self._covered = covered
        return b"".join(out)

    def _found(self, data: bytes) -> list[tuple[int, int]]:
        spans = []
        for secret in self._secrets:
            at = data.find(secret)
            while at >= 0:
                spans.append((at, at + len(secret)))
                at = data.find(secret, at + 1)
        return spans


def _merged(spans: list[tuple[int, int]], covered: int) -> list[tuple[int, int]]:
    if covered:
        spans.append((0, covered))
    merged: list[tuple[int, int]] = []
    for start, stop in sorted(spans):
        if merged and start < merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], stop))
        else:
            merged.append((start, stop))
    return merged


def _pieces(secrets: Iterable[str]) -> list[bytes]:
    """The secrets and, of those with several lines, each long line: tools reformat keys."""
    pieces = set()
    for secret in secrets:
        if secret:
            pieces.add(secret)
            pieces.update(line for line in secret.split("\n") if len(line) >= _SHORTEST_LINE)
    ordered = sorted(pieces, key=lambda piece: (-len(piece), piece))
    return [piece.encode("utf-8", "surrogateescape") for piece in ordered]
