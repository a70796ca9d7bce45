"""Whether launches are handed out together. Standard library only."""

from __future__ import annotations

SHORT = 0.05
"""Seconds; machines with much to do need that long for the shortest of runs."""
IN_A_ROW = 16
"""Short runs after which the next are expected to be short too."""
FEWEST, MOST = 4, 16
"""Launches that share a supervisor."""


class Pace:
    """What the last runs took decides how the next are handed out: a guess that costs little where
    it is wrong, since a supervisor gives back what waits behind a run that is not short."""

    def __init__(self, cores: int) -> None:
        self._cores = cores
        self._short = 0

    def took(self, seconds: float) -> None:
        self._short = self._short + 1 if seconds <= SHORT else 0

    def guessed_wrong(self) -> None:
        self._short = 0

    def cut(self, launches: list[tuple[int, bytes]]) -> list[list[tuple[int, bytes]]]:
        """Those that were read at once, as they are to be handed out."""
        size = 1
        if self._short >= IN_A_ROW:
            size = min(max(FEWEST, -(-len(launches) // self._cores)), MOST)
        return [launches[at : at + size] for at in range(0, len(launches), size)]
