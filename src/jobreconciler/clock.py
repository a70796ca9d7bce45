"""The one place that reads the wall clock. Everything else is handed a `Clock`."""

from __future__ import annotations

import time
from datetime import UTC, datetime


class SystemClock:
    """The machine's clock, in UTC."""

    def now(self) -> datetime:
        return datetime.now(UTC)  # noqa: TID251

    def monotonic(self) -> float:
        """Goes on while the machine sleeps, as the wall clock does: the two must not part then."""
        return time.clock_gettime(time.CLOCK_BOOTTIME)
