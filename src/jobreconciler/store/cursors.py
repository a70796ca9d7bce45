"""Page cursors: opaque to the caller, bound to the list and order they were made for."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Sequence
from typing import Any

from jobreconciler.errors import Invalid


def write_cursor(kind: str, *key: Any) -> str:
    """Text that names the last item of a page by its sort key."""
    packed = json.dumps([kind, *key], separators=(",", ":")).encode()
    return base64.urlsafe_b64encode(packed).decode().rstrip("=")


def read_cursor(cursor: str, kind: str, types: Sequence[type]) -> tuple[Any, ...]:
    """The sort key in it. Raises Invalid for any text that `write_cursor` did not make for this."""
    try:
        packed = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
        found, *key = json.loads(packed)
    except (binascii.Error, ValueError, TypeError, RecursionError):
        raise _refused() from None
    fits = len(key) == len(types) and all(map(_is, key, types))
    if found != kind or not fits:
        raise _refused()
    return tuple(key)


def _is(value: Any, wanted: type) -> bool:
    """Of that type and, for a number, one the databases can hold."""
    if type(value) is not wanted:
        return False
    return not isinstance(value, int) or -(2**63) <= value < 2**63


def _refused() -> Invalid:
    return Invalid(
        "the cursor does not belong to this list",
        reason="BadCursor",
        hint="take `nextCursor` from the page before, with the same filters and sort",
    )
