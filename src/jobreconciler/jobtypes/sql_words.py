"""Which SQL statements begin or end a transaction, as one pattern for Python and JSON Schema."""

from __future__ import annotations

import re
from typing import Final

_WORDS = ("BEGIN", "START", "COMMIT", "END", "ROLLBACK", "ABORT")


def _any_case(word: str) -> str:
    """JSON Schema's patterns know no flags."""
    return "".join(f"[{letter}{letter.lower()}]" for letter in word)


_COMMENT = r"--[^\n]*\n|/\*([^*]|\*+[^*/])*\*+/"
_PREPARED = rf"{_any_case('PREPARE')}\s+{_any_case('TRANSACTION')}"

ENDS_A_TRANSACTION: Final = (
    rf"^(\s|;|{_COMMENT})*(({'|'.join(map(_any_case, _WORDS))})(?![A-Za-z0-9_])|{_PREPARED})"
)
"""Blanks and comments may come first; nothing is said of what stands inside a statement."""

_PATTERN = re.compile(ENDS_A_TRANSACTION)


def ends_a_transaction(statement: str) -> bool:
    return _PATTERN.match(statement) is not None
