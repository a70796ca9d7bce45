"""Ends of runs, gathered for a moment: many are stored in one transaction."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence

from jobreconciler.ports import Finished

GATHER_SECONDS = 0.02
ENOUGH = 50
"""As soon as there are so many they do not wait for others."""
SOME = 8
"""So many are the last of a burst where nothing runs any more: they do not wait either."""


class Ends:
    """Hands them to `store` together. Nobody waits for them as the next starts wait for theirs.

    Used on the event loop only.
    """

    def __init__(self, store: Callable[[Sequence[Finished]], None]) -> None:
        self._store = store
        self._gathered: list[Finished] = []
        self._timer: asyncio.TimerHandle | None = None

    def add(self, ends: Iterable[Finished], *, running: bool) -> None:
        """`running`: others may end soon."""
        self._gathered += ends
        if len(self._gathered) >= (ENOUGH if running else SOME):
            self.flush()
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(GATHER_SECONDS, self.flush)

    def flush(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._gathered:
            gathered, self._gathered = self._gathered, []
            self._store(gathered)
