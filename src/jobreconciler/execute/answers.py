"""What a supervisor tells the server: the ends of its runs, and which it gives back.

Standard library only.
"""

from __future__ import annotations

from jobreconciler.execute import frames

_SHORT = 32_768
"""A longer result is read from its file: it would fill the channel."""


class Answers:
    """Gathers frames for the server. `unheard` is set when that is gone, which stops nothing."""

    def __init__(self, channel: int) -> None:
        self.unheard = False
        self._channel = channel
        self._unsent = b""

    def add(self, number: int, result: bytes) -> None:
        """A run is over; without its result that is read from its file."""
        self._unsent += frames.pack_body(number, result if len(result) <= _SHORT else b"")

    def give_back(self, number: int) -> None:
        self._unsent += frames.pack_body(number, frames.BACK)

    def send(self) -> None:
        """Each sending wakes the server."""
        unsent, self._unsent = self._unsent, b""
        if unsent and not self.unheard:
            try:
                frames.send(self._channel, unsent)
            except OSError:
                self.unheard = True
