"""What differs between two normalised configs, field by field, in one stable order.

Walks sorted keys, never a set: the same two configs always give the same text.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from jobreconciler.model.change import FieldChange

_ABSENT: Any = object()


def diff_configs(old: dict[str, Any] | None, new: dict[str, Any] | None) -> tuple[FieldChange, ...]:
    """Field changes from `old` to `new`, sorted by path.

    A subtree that one side lacks is one change with the whole value, so a created job is
    `meta` and `payload`, from None. Lists of plain values change as a whole (a moved item is not
    two edits); lists that hold objects are compared by position.
    """
    return tuple(_walk("", old if old is not None else {}, new if new is not None else {}))


def _walk(path: str, old: Any, new: Any) -> Iterator[FieldChange]:
    if isinstance(old, dict) and isinstance(new, dict):
        for key in sorted(old.keys() | new.keys()):
            child = f"{path}.{key}" if path else key
            yield from _walk(child, old.get(key, _ABSENT), new.get(key, _ABSENT))
    elif isinstance(old, list) and isinstance(new, list) and _holds_objects(old, new):
        for position in range(max(len(old), len(new))):
            yield from _walk(
                f"{path}[{position}]",
                old[position] if position < len(old) else _ABSENT,
                new[position] if position < len(new) else _ABSENT,
            )
    elif not _same(old, new):
        yield FieldChange(path, None if old is _ABSENT else old, None if new is _ABSENT else new)


def _holds_objects(old: list[Any], new: list[Any]) -> bool:
    items = [*old, *new]
    return bool(items) and all(isinstance(item, dict) for item in items)


def _same(old: Any, new: Any) -> bool:
    """Equal as JSON: unlike Python, `true` is not 1 and 1 is not 1.0."""
    if type(old) is not type(new):
        return False
    if isinstance(old, list):
        return len(old) == len(new) and all(map(_same, old, new))
    if isinstance(old, dict):
        return old.keys() == new.keys() and all(_same(old[key], new[key]) for key in old)
    return bool(old == new)
