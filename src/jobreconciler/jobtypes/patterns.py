"""What parameters must not say, as patterns that Python and JSON Schema read the same way."""

from __future__ import annotations

from typing import Final


def _any_case(word: str) -> str:
    """JSON Schema's patterns know no flags."""
    return "".join(f"[{c.upper()}{c.lower()}]" if c.isalpha() else c for c in word)


def _any_of(*words: str) -> str:
    return f"({'|'.join(map(_any_case, words))})"


_COMMENT = r"--[^\n]*\n|/\*([^*]|\*+[^*/])*\*+/"
_CONTROL = _any_of("begin", "start", "commit", "end", "rollback", "abort")
_PREPARED = rf"{_any_case('prepare')}\s+{_any_case('transaction')}"

ENDS_A_TRANSACTION: Final = rf"^(\s|;|{_COMMENT})*({_CONTROL}(?![A-Za-z0-9_])|{_PREPARED})"
"""SQL that begins or ends a transaction. Blanks and comments may come first; nothing is said of
what stands inside a statement."""

RESERVED_HEADER: Final = (
    "^"
    + _any_of(
        "connection",
        "content-length",
        "expect",
        "host",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    )
    + "$"
)
"""Headers that follow from the URL, the body and the connection."""
