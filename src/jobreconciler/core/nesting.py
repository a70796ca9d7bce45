"""How deep a value from outside may be nested, and whether it is.

Every reader of JSON on a value's way takes more levels than that: the quickest one stops at 200.
Standard library only: supervisors ask it about what jobs report.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

MOST_LEVELS = 64
"""Objects and lists inside one another."""


def is_too_deep(value: Any) -> bool:
    """Looks level by level, since who calls itself for each of them ends at a thousand."""
    level = [value] if isinstance(value, dict | list) else []
    for _ in range(MOST_LEVELS):
        inner = [each for one in level for each in (one.values() if isinstance(one, dict) else one)]
        level = [each for each in inner if isinstance(each, dict | list)]
    return bool(level)
