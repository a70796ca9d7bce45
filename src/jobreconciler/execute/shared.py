"""What a worker and its supervisor tell each other without waking one another: a page of memory.

It says whether the worker took what it was given, and where it is in several runs that it goes
through by itself (see together.py). The worker writes the position, then looks whether it is to
halt; the supervisor asks it to halt, then reads the position: so one of them sees the other, as
there is a system call between the two steps on either side. Standard library only.
"""

from __future__ import annotations

import mmap
import struct

WEIGHING, RUNNING, ENDING = 0, 1, 2
"""Before a run is claimed; while it runs; from its end until it is known who records that."""
DONE = b"."
"""The worker's word that a run is over, what it printed is still to be read, and it waits."""
UNWANTED = b"-"
"""That the next of several is not for it to begin, and it waits."""
_BEGAN = struct.Struct("=d")
_TAKEN, _HALT, _POSITION, _TIME = 0, 1, 2, 8


class Shared:
    """Made by the supervisor before it forks the worker."""

    def __init__(self) -> None:
        self._page = mmap.mmap(-1, _TIME + _BEGAN.size)

    def clear(self) -> None:
        """For what is given next."""
        self._page[:_TIME] = bytes(_TIME)

    @property
    def taken(self) -> bool:
        return self._page[_TAKEN] != 0

    def take(self) -> None:
        self._page[_TAKEN] = 1

    @property
    def halted(self) -> bool:
        return self._page[_HALT] != 0

    def halt(self) -> None:
        self._page[_HALT] = 1

    @property
    def position(self) -> tuple[int, int]:
        """Which of several, and which of the phases above."""
        index, phase = self._page[_POSITION : _POSITION + 2]
        return index, phase

    def at(self, index: int, phase: int) -> None:
        self._page[_POSITION : _POSITION + 2] = bytes((index, phase))

    @property
    def began(self) -> float:
        """When the run that is at work began (seconds of the epoch)."""
        return float(_BEGAN.unpack_from(self._page, _TIME)[0])

    def begin(self, epoch: float) -> None:
        _BEGAN.pack_into(self._page, _TIME, epoch)
