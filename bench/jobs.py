"""What the measured `python` jobs call: as little as a job can be."""

from __future__ import annotations

import time
from typing import Any


def nothing(_context: Any) -> None:
    """Does nothing, so that everything around it is what is measured."""


def began(_context: Any) -> dict[str, int]:
    """When the job's own code began, by the machine's wall clock, in nanoseconds."""
    return {"beganNs": time.time_ns()}


def wait(_context: Any) -> None:
    time.sleep(60)
