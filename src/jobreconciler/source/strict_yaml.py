"""Strict YAML, the quick way: bytes to values, or the news that a file needs a closer look.

Reads libyaml's events with a stack of its own, so that neither nesting nor aliases can cost more
than the file's own size. Keeps no positions beyond the few that checks across files need: a file
with anything unusual in it is read again by `located_yaml`, which explains what is wrong.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from yaml import YAMLError
from yaml._yaml import CParser
from yaml.events import (
    DocumentEndEvent,
    DocumentStartEvent,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
    StreamEndEvent,
    StreamStartEvent,
)

from jobreconciler.model.desired import Position
from jobreconciler.source.scalars import PlainValues

MAX_BYTES = 256 * 1024
MAX_DEPTH = 32
MAX_QUICK_BYTES = 40_000
"""A value takes two bytes at least: below this size no file can hold too many of them."""

_plain = PlainValues()

_UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")


class CloserLook(Exception):
    """The file is wrong or unusual (an anchor, a tab, a directive): read it with positions."""


class Quick(NamedTuple):
    """A plain file's value, where its id and its dependencies stand, whether a null is in it."""

    value: Any
    id_at: Position
    jobs_at: tuple[Position, ...]
    has_null: bool = True


def is_unusual(data: bytes) -> bool:
    """Whether the bytes alone ask for a closer look."""
    return (
        len(data) > MAX_QUICK_BYTES
        or b"\t" in data
        or b"\0" in data
        or b"\\0" in data
        or b"\\x00" in data
        or b"\\u0000" in data
        or b"\\U00000000" in data
        or data[:1] == b"%"
        or b"\n%" in data
        or (not data.isascii() and _has_unusual_break(data))
    )


def _has_unusual_break(data: bytes) -> bool:
    """U+0085, U+2028 and U+2029 are line breaks in YAML 1.1, not in 1.2.

    Searches for fixed bytes: a regular expression takes ten times as long.
    """
    return (
        b"\xc2\x85" in data
        or b"\xe2\x80\xa8" in data
        or b"\xe2\x80\xa9" in data
        or data.startswith(_UTF16_MARKS)
    )


def read_quickly(data: bytes) -> Quick:
    """The value of a well-formed file without anchors or aliases.

    Only JSON's types come out: None, bool, int, float, str, list, dict with text keys.
    Raises CloserLook for every other file, right or wrong.
    """
    if is_unusual(data):
        raise CloserLook
    try:
        return _read(CParser(data))
    except (YAMLError, UnicodeDecodeError):
        raise CloserLook from None


_JSON_SCALARS = frozenset({str, int, float, bool, type(None)})


def _read(parser: Any) -> Quick:
    """Exactly one document without directives, whose root is a mapping."""
    event_of = parser.get_event
    _expect(event_of(), StreamStartEvent)
    start = _expect(event_of(), DocumentStartEvent)
    if start.version or start.tags:
        raise CloserLook
    root = _expect(event_of(), MappingStartEvent)
    if root.anchor is not None or root.tag is not None:
        raise CloserLook
    quick = _read_root(event_of)
    _expect(event_of(), DocumentEndEvent)
    _expect(event_of(), StreamEndEvent)
    return quick


def _read_root(event_of: Callable[[], Any]) -> Quick:
    """The root mapping up to its end.

    One function without calls, since it runs once for each scalar of each file: every line here
    is a percent of the time a large repository takes to validate.
    """
    plain = _plain
    value: Any = {}
    top = value
    key: str | None = None
    in_map = True
    depth = 1
    outer: list[tuple[Any, bool]] = []
    id_mark = None
    jobs: list[Any] | None = None
    job_marks: list[Any] = []
    has_null = False
    while depth:
        event = event_of()
        kind = event.__class__
        if kind is ScalarEvent:
            if event.tag is not None or event.anchor is not None:
                raise CloserLook
            text = plain[event.value] if event.implicit[0] else event.value
            if text is None:
                has_null = True
            if not in_map:
                value.append(text)
                if value is jobs:
                    job_marks.append(event.start_mark)
            elif key is not None:
                value[key] = text
                if depth == 2 and key == "id":
                    id_mark = event.start_mark
                key = None
            elif text.__class__ is str and text not in value:
                key = text
                continue
            else:
                raise CloserLook
            if text.__class__ not in _JSON_SCALARS:
                raise CloserLook
        elif kind is MappingStartEvent or kind is SequenceStartEvent:
            if event.tag is not None or event.anchor is not None or depth >= MAX_DEPTH:
                raise CloserLook
            inner: Any = {} if kind is MappingStartEvent else []
            if not in_map:
                value.append(inner)
            elif key is not None:
                value[key] = inner
                if key == "jobs" and depth == 3:
                    jobs = inner
            else:
                raise CloserLook
            outer.append((value, in_map))
            value, key, in_map = inner, None, kind is MappingStartEvent
            depth += 1
        elif kind is MappingEndEvent or kind is SequenceEndEvent:
            depth -= 1
            if depth:
                value, in_map = outer.pop()
        else:
            raise CloserLook
    return Quick(
        top,
        (id_mark.line + 1, id_mark.column + 1) if id_mark is not None else (0, 0),
        tuple((mark.line + 1, mark.column + 1) for mark in job_marks),
        has_null,
    )


def _expect(event: Any, kind: type) -> Any:
    if event.__class__ is not kind:
        raise CloserLook
    return event
