"""Lengths of time and amounts of memory, as Kubernetes and systemd spell them."""

from __future__ import annotations

import re
from decimal import Decimal
from fractions import Fraction
from typing import Any, Final

SMALLEST_MIB: Final = 16
LARGEST_MIB: Final = 1_048_576

_DECIMAL: Final = {"": 0, "k": 1, "M": 2, "G": 3, "T": 4, "P": 5, "E": 6}
_QUANTITY = re.compile(
    r"([0-9]{1,20}(?:\.[0-9]{1,9})?|\.[0-9]{1,9})(?:([numkMGTPE])|([KMGTPE]i)|[eE]([0-9]{1,2}))?"
)
_SIZE = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,9})?)\s*([KMGTPE]?)(?:i?B)?", re.I)
_SPAN = re.compile(r"\s*([0-9]{1,12}(?:\.[0-9]{1,9})?)\s*([a-zA-Zµμ]*)")
_SECONDS: Final[dict[str, Fraction]] = {
    **dict.fromkeys(("usec", "us", "µs", "μs"), Fraction(1, 1_000_000)),
    **dict.fromkeys(("msec", "ms"), Fraction(1, 1000)),
    **dict.fromkeys(("", "s", "sec", "second", "seconds"), Fraction(1)),
    **dict.fromkeys(("m", "min", "minute", "minutes"), Fraction(60)),
    **dict.fromkeys(("h", "hr", "hour", "hours"), Fraction(3600)),
    **dict.fromkeys(("d", "day", "days"), Fraction(86_400)),
    **dict.fromkeys(("w", "week", "weeks"), Fraction(604_800)),
    **dict.fromkeys(("M", "month", "months"), Fraction(2_629_800)),
    **dict.fromkeys(("y", "year", "years"), Fraction(31_557_600)),
}


def mebibytes_of_quantity(value: Any) -> int | None:
    """MiB, rounded up, of a Kubernetes quantity: `128Mi`, `1G`, `1e9`, `134217728`."""
    found = _QUANTITY.fullmatch(str(value)) if not isinstance(value, bool) else None
    if found is None:
        return None
    number, decimal, binary, exponent = found.groups()
    amount = Fraction(Decimal(number))
    if decimal in ("n", "u", "m"):
        amount /= 1000 ** {"n": 3, "u": 2, "m": 1}[decimal]
    elif binary:
        amount *= 1024 ** ("KMGTPE".index(binary[0]) + 1)
    else:
        amount *= 1000 ** _DECIMAL[decimal or ""] * 10 ** int(exponent or 0)
    return _mebibytes(amount)


def mebibytes_of_size(text: str) -> int | None:
    """MiB, rounded up, of a systemd size: `512M`, `1G`, to the base 1024."""
    found = _SIZE.fullmatch(text.strip())
    if found is None:
        return None
    power = " KMGTPE".index(found[2].upper() or " ")
    return _mebibytes(Fraction(Decimal(found[1])) * 1024**power)


def _mebibytes(amount: Fraction) -> int:
    return -int(-amount // 2**20)


def seconds_of_span(text: str) -> Fraction | None:
    """Seconds of a systemd time span: `5min 20s`, `1.5h`, `90`. None for `infinity` and others."""
    total, at = Fraction(0), 0
    stripped = text.strip()
    while at < len(stripped):
        found = _SPAN.match(stripped, at)
        if found is None or found[2] not in _SECONDS:
            return None
        total += Fraction(Decimal(found[1])) * _SECONDS[found[2]]
        at = found.end()
    return total if stripped else None


def whole(seconds: Fraction) -> int:
    """Rounded up to whole seconds."""
    return -int(-seconds // 1)
