"""Whether launches are handed out together. Standard library only."""

from __future__ import annotations

SHORT = 0.05
"""Seconds; machines with much to do need that long for the shortest of runs."""
IN_A_ROW = 16
MOST_IN_A_ROW = 1024
"""Short runs after which the next are expected to be short too: at first; after wrong guesses."""
FEWEST, MOST = 4, 16
"""Launches that share a supervisor."""


class Pace:
    """What the last runs took decides how the next are handed out: a guess that costs little where
    it is wrong, since a supervisor gives back what waits behind a run that is not short; and that
    is made the more seldom the more often it was."""

    def __init__(self, cores: int) -> None:
        self._cores = cores
        self._short = 0
        self._needed = IN_A_ROW

    def took(self, seconds: float, together: int) -> None:
        """So long each of so many that shared a supervisor."""
        self._short = self._short + together if seconds <= SHORT else 0
        if together > 1:
            self._needed = IN_A_ROW

    def guessed_wrong(self) -> None:
        self._short = 0
        self._needed = min(2 * self._needed, MOST_IN_A_ROW)

    def cut(self, launches: list[tuple[int, bytes]]) -> list[list[tuple[int, bytes]]]:
        """Those that were read at once, as they are to be handed out."""
        size = 1
        if self._short >= self._needed:
            size = min(max(FEWEST, -(-len(launches) // self._cores)), MOST)
        return [launches[at : at + size] for at in range(0, len(launches), size)]
