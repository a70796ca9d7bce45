"""Whether the wall clock can be believed: it must move as the monotonic clock does.

A step of a few minutes is taken as it comes (back, nothing fires twice; forward, the gap is a
misfire). A larger one is more likely a mistake than the time, so the scheduler pauses until the
clocks agree again or an operator confirms the new time.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

PARTED_SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class Anchor:
    """One moment on both clocks that is believed."""

    wall: datetime
    monotonic: float


def parted_by(anchor: Anchor, wall: datetime, monotonic: float) -> float:
    """Seconds the wall clock has gained on the monotonic one since the anchor; negative: lost."""
    return (wall - anchor.wall).total_seconds() - (monotonic - anchor.monotonic)


def believable(anchor: Anchor, wall: datetime, monotonic: float) -> bool:
    """Exactly five minutes still pass."""
    return abs(parted_by(anchor, wall, monotonic)) <= PARTED_SECONDS


def sentence(seconds: float) -> str:
    """What to tell about clocks that are `seconds` apart."""
    way = "forward" if seconds > 0 else "back"
    return (
        f"the wall clock was set {way} by {abs(seconds):.0f} s; no slot is started until it "
        "agrees with the monotonic clock again, or `jobreconciler unpause` confirms it"
    )
