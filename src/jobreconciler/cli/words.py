"""Words of the text output: lengths of time, counts, and text that fits a terminal. Pure.

Whatever came from outside (messages, names) loses its control characters before it is shown.
"""

from __future__ import annotations

import unicodedata
from datetime import UTC, datetime

SHORT = 12
"""Characters of a revision that are shown; git takes them back."""


def clean(text: str) -> str:
    """One line without control characters, so that a commit message can't drive a terminal."""
    return "".join(
        char if unicodedata.category(char) not in {"Cc", "Cf", "Zl", "Zp"} else " " for char in text
    )


def columns_of(text: str) -> int:
    """How many columns of a terminal `text` takes; East Asian wide characters take two."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(char) else 1 + (unicodedata.east_asian_width(char) in "WF")
        for char in text
    )


def fit(text: str, limit: int) -> str:
    """`text` in at most `limit` columns, cut at the end with an ellipsis."""
    if columns_of(text) <= limit:
        return text
    kept = ""
    used = 1
    for char in text:
        used += columns_of(char)
        if used > limit:
            break
        kept += char
    return kept.rstrip() + "…"


def wrap(text: str, limit: int, indent: str = "") -> list[str]:
    """Lines of at most `limit` columns; a single longer word stays whole."""
    lines: list[str] = []
    line = indent
    for word in text.split():
        if line.strip() and columns_of(line) + 1 + columns_of(word) > limit:
            lines.append(line)
            line = indent
        line += word if line == indent else f" {word}"
    return [*lines, line] if line.strip() else lines


def count(number: int, noun: str, plural: str | None = None) -> str:
    """`1 job`, `2 jobs`."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def instant(text: str | None) -> datetime | None:
    """An RFC 3339 instant of our own JSON as a datetime in UTC."""
    return datetime.fromisoformat(text).astimezone(UTC) if text else None


def to_the_second(text: str) -> str:
    """An RFC 3339 instant of our own JSON without its fractions, for people."""
    whole, _, fraction = text.partition(".")
    return f"{whole}Z" if fraction else text


def span(seconds: float) -> str:
    """A length of time in its two largest units: `0.4s`, `12s`, `3m 05s`, `2h 10m`, `4d 3h`."""
    seconds = max(0.0, seconds)
    if seconds < 10:
        return f"{seconds:.1f}s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m {whole % 60:02d}s"
    if whole < 86_400:
        return f"{whole // 3600}h {whole % 3600 // 60:02d}m"
    return f"{whole // 86_400}d {whole % 86_400 // 3600}h"


def relative(moment: datetime | None, now: datetime) -> str:
    """`5m ago`, `in 2h`, `just now`; `never` for None. Coarse on purpose: one unit."""
    if moment is None:
        return "never"
    seconds = (now - moment).total_seconds()
    size = abs(seconds)
    if size < 1:
        return "just now"
    for unit, length in (("d", 86_400), ("h", 3600), ("m", 60), ("s", 1)):
        if size >= length:
            # A unit is kept until the next would read at least two of it, so 90m is "90m".
            if unit in "hd" and size < 2 * length:
                continue
            amount = f"{int(size // length)}{unit}"
            return f"{amount} ago" if seconds > 0 else f"in {amount}"
    return "just now"


def until_when(until: str | None) -> str:
    """How long a stop holds."""
    return f"until {to_the_second(until)}" if until else "until it is lifted"
