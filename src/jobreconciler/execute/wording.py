"""How a supervisor writes instants, values and ends of processes. Standard library only."""

from __future__ import annotations

import json
import signal
import time
from functools import lru_cache

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def instant(epoch: float, digits: int) -> str:
    """RFC 3339 in UTC with that many digits of a second."""
    micros = round(epoch * 1_000_000)
    seconds, fraction = divmod(micros, 1_000_000)
    return f"{_second(seconds)}.{fraction:06d}"[: 20 + digits] + "Z"


@lru_cache(maxsize=4)
def _second(epoch: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(epoch))


def shown(value: Any) -> str:
    if isinstance(value, str) and value and not any(c in value for c in ' "=\n'):
        return value
    return json.dumps(value, ensure_ascii=False)


def number(value: Any) -> str:
    return f"{float(value):g}"


def why(code: int | None, number: int | None) -> str:
    if number is None:
        return f"exit code {code}"
    try:
        return f"killed by signal {number} ({signal.Signals(number).name})"
    except ValueError:
        return f"killed by signal {number}"
