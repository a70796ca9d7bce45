"""Execution ids: a UUID version 7 (RFC 9562), so that ids sort by the time they were made."""

from __future__ import annotations

import os
from datetime import datetime


def new_execution_id(now: datetime) -> str:
    """Milliseconds of `now`, then 74 random bits."""
    milliseconds = int(now.timestamp() * 1000) & (1 << 48) - 1
    random = int.from_bytes(os.urandom(10), "big")
    value = milliseconds << 80 | 0x7 << 76 | (random >> 64 & 0xFFF) << 64
    value |= 0b10 << 62 | random & (1 << 62) - 1
    text = f"{value:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
