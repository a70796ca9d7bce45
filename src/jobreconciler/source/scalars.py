"""Plain YAML scalars as values: YAML 1.2's core types in their decimal spellings, nothing else.

`no`, `on`, `12:30`, `0o17`, `0x1F` and dates stay text. What JSON cannot hold (infinities, numbers
beyond 64 bits) is refused instead of guessed at.
"""

from __future__ import annotations

import math
import re
from enum import Enum
from typing import Any


class Unusable(Enum):
    """Plain scalars that stand for nothing a job file may hold."""

    MERGE_KEY = "merge_key"
    NOT_FINITE = "number_not_finite"
    OUT_OF_RANGE = "number_out_of_range"


_WORDS: dict[str, Any] = {
    "": None,
    "~": None,
    "null": None,
    "Null": None,
    "NULL": None,
    "true": True,
    "True": True,
    "TRUE": True,
    "false": False,
    "False": False,
    "FALSE": False,
    "<<": Unusable.MERGE_KEY,
    ".nan": Unusable.NOT_FINITE,
    ".NaN": Unusable.NOT_FINITE,
    ".NAN": Unusable.NOT_FINITE,
    **{
        sign + word: Unusable.NOT_FINITE
        for sign in ("", "+", "-")
        for word in (".inf", ".Inf", ".INF")
    },
}
_INTEGER = re.compile(r"[-+]?[0-9]+", re.ASCII)
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?", re.ASCII)
_NUMERIC_STARTS = frozenset("0123456789+-.")
_LONGEST_INTEGER = 20
_LARGEST = 2**63 - 1


def plain_value(text: str) -> Any:
    """What an unquoted scalar means: None, a bool, an int, a float, its own text or Unusable."""
    if text in _WORDS:
        return _WORDS[text]
    if text[0] not in _NUMERIC_STARTS:
        return text
    if _INTEGER.fullmatch(text):
        digits = text.lstrip("+-0")
        if len(digits) > _LONGEST_INTEGER or abs(int(digits or 0)) > _LARGEST:
            return Unusable.OUT_OF_RANGE
        return int(text[:1].replace("+", "") + text[1:]) if len(text) < 40 else _long(text, digits)
    if _FLOAT.fullmatch(text):
        number = float(text)
        return number if math.isfinite(number) else Unusable.OUT_OF_RANGE
    return text


def _long(text: str, digits: str) -> int:
    """An integer spelled with many leading zeros."""
    return -int(digits or 0) if text[0] == "-" else int(digits or 0)


class PlainValues(dict[str, Any]):
    """`plain_value` with a memory: job files repeat the same few hundred scalars."""

    def __missing__(self, text: str) -> Any:
        if len(self) > 8192:
            self.clear()
        value = plain_value(text)
        if len(text) <= 64:
            self[text] = value
        return value
