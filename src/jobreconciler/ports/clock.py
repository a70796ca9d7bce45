"""Time, as whoever may read it gives it to the others."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Protocol


class Clock(Protocol):
    def now(self) -> datetime:
        """The wall clock, aware, in UTC."""

    def monotonic(self) -> float:
        """Seconds of a clock that never jumps."""


Wake = Callable[[str], None]
"""Wakes a loop early; the text says why and is only logged."""
