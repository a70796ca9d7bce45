"""How values become columns and come back: instants, JSON, text a database can hold."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from json.encoder import encode_basestring_ascii
from typing import Any

from pydantic_core import from_json

from jobreconciler.core.audit import canonical_json
from jobreconciler.model.condition import Condition
from jobreconciler.model.problem import Problem

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)

to_json = canonical_json
"""Compact, sorted, ASCII: what the changelog hashes and what the columns hold is one text."""

quoted = encode_basestring_ascii
"""A text as canonical JSON."""


def read_json(text: str) -> Any:
    """What `to_json` wrote. Halves of surrogate pairs, which nobody else takes, become U+FFFD."""
    try:
        return from_json(text)
    except ValueError:  # such a half, or more levels than the quick reader goes down
        return json.loads(storable(json.dumps(json.loads(text), ensure_ascii=False)))


def micros(at: datetime) -> int:
    """Whole microseconds since the epoch."""
    return (at - _EPOCH) // _MICROSECOND


def micros_or_none(at: datetime | None) -> int | None:
    return None if at is None else (at - _EPOCH) // _MICROSECOND


def instant(value: int) -> datetime:
    return _EPOCH + timedelta(microseconds=value)


def instant_or_none(value: int | None) -> datetime | None:
    return None if value is None else _EPOCH + timedelta(microseconds=value)


def storable(text: str) -> str:
    """Text without what a database refuses: NUL and halves of surrogate pairs become U+FFFD."""
    if text.isascii():
        return text.replace("\0", "\ufffd") if "\0" in text else text
    try:
        text.encode()
    except UnicodeEncodeError:
        text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text.replace("\0", "\ufffd")


def storable_or_none(text: str | None) -> str | None:
    return None if text is None else storable(text)


def object_or_none(text: str | None) -> dict[str, Any] | None:
    """A JSON object; None for anything else, since somebody may have edited the row."""
    if text is None:
        return None
    try:
        value = from_json(text)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def conditions_json(conditions: Iterable[Condition]) -> str:
    return to_json([[c.type, c.status, c.reason, c.message, micros(c.since)] for c in conditions])


def read_conditions(text: str) -> tuple[Condition, ...]:
    return tuple(
        Condition(type_, status, reason, message, instant(since))
        for type_, status, reason, message, since in json.loads(text)
    )


def read_problems(text: str) -> tuple[Problem, ...]:
    return tuple(Problem(**problem) for problem in json.loads(text))


def problems_json(problems: Iterable[Problem]) -> str:
    return to_json([problem.to_json() for problem in problems])
