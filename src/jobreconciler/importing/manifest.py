"""YAML of strangers: several documents, anchors and merge keys, in bounded time and memory.

Kubernetes manifests are read more kindly than job files are, and as safely: libyaml's events, a
stack of our own, no tags constructed, aliases counted as what they stand for. Each map knows its
line and those of its keys.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from yaml import MarkedYAMLError, YAMLError
from yaml._yaml import CParser
from yaml.events import (
    AliasEvent,
    DocumentEndEvent,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
    StreamEndEvent,
)

MAX_DEPTH: Final = 64
MAX_NODES: Final = 500_000
MAX_ALIASED: Final = 20_000

_WORDS: Final[dict[str, Any]] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE", "yes", "Yes", "YES", "on", "On", "ON"), True),
    **dict.fromkeys(("false", "False", "FALSE", "no", "No", "NO", "off", "Off", "OFF"), False),
}
_INTEGER = re.compile(r"[-+]?[0-9]{1,18}")
_STRUCTURAL_TAGS: Final = frozenset(
    {None, "!", "tag:yaml.org,2002:str", "tag:yaml.org,2002:map", "tag:yaml.org,2002:seq"}
)


class Map(dict[str, Any]):
    """A mapping that knows where it begins and where its keys stand."""

    __slots__ = ("line", "lines", "size")

    def __init__(self, line: int) -> None:
        super().__init__()
        self.line = line
        self.lines: dict[str, int] = {}
        self.size = 1

    def at(self, key: str) -> int:
        """The line of a key, or of the map where the key is missing."""
        return self.lines.get(key, self.line)

    def map(self, key: str) -> Map:
        """The map at `key`, or an empty one."""
        value = self.get(key)
        return value if isinstance(value, Map) else Map(self.at(key))

    def maps(self, key: str) -> list[Map]:
        """The maps of the list at `key`."""
        value = self.get(key)
        return [one for one in value if isinstance(one, Map)] if isinstance(value, list) else []

    def text(self, key: str) -> str | None:
        value = self.get(key)
        return value if isinstance(value, str) else None

    def number(self, key: str) -> int | None:
        value = self.get(key)
        return value if isinstance(value, int) and not isinstance(value, bool) else None


class BadYaml(Exception):
    """The text is not read any further."""

    def __init__(self, line: int, column: int, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.line, self.column, self.message, self.hint = line, column, message, hint


@dataclass(slots=True)
class _Frame:
    value: Any
    key: Any = None
    key_line: int = 0
    anchor: str | None = None
    nodes: int = 0
    merged: list[Map] = field(default_factory=list)


_NO_KEY: Final = object()


def read_documents(text: str) -> Iterator[tuple[int, Any]]:
    """(line, value) of each document. Raises BadYaml with a place."""
    reader = _Reader(text)
    try:
        yield from reader.documents()
    except MarkedYAMLError as error:
        mark = error.problem_mark
        raise BadYaml(
            mark.line + 1 if mark else 1,
            mark.column + 1 if mark else 1,
            f"this is no YAML: {error.problem or 'it cannot be read'}",
        ) from None
    except YAMLError:
        raise BadYaml(1, 1, "this is no YAML: a character that it does not allow") from None


class _Reader:
    def __init__(self, text: str) -> None:
        self.parser = CParser(text)
        self.frames: list[_Frame] = []
        self.anchors: dict[str, tuple[Any, int] | None] = {}
        self.nodes = self.aliased = 0
        self.root: Any = None
        self.line = 1

    def documents(self) -> Iterator[tuple[int, Any]]:
        while True:
            event = self.parser.get_event()
            kind = event.__class__
            if kind is StreamEndEvent:
                return
            if kind is DocumentEndEvent:
                yield self.line, self.root
                self.root = None
                self.anchors.clear()
            elif kind is ScalarEvent:
                self.scalar(event)
            elif kind is AliasEvent:
                self.alias(event)
            elif kind is MappingStartEvent or kind is SequenceStartEvent:
                self.start(event)
            elif kind is MappingEndEvent or kind is SequenceEndEvent:
                self.end()

    def scalar(self, event: Any) -> None:
        self.count(event, 1)
        quoted = event.style not in (None, "") or event.tag is not None
        value: Any = event.value if quoted else _plain(event.value)
        if event.tag not in _STRUCTURAL_TAGS:
            raise _bad(event, f"the tag {event.tag[:64]} is not read here", "write the value out")
        self.place(value, event, None if quoted else event.value)
        if event.anchor is not None:
            self.anchors[event.anchor] = (value, 1)

    def start(self, event: Any) -> None:
        self.count(event, 1)
        if event.tag not in _STRUCTURAL_TAGS:
            raise _bad(event, f"the tag {event.tag[:64]} is not read here", "write the value out")
        if len(self.frames) >= MAX_DEPTH:
            raise _bad(event, f"nested more than {MAX_DEPTH} levels deep", "no manifest is")
        is_map = event.__class__ is MappingStartEvent
        value: Any = Map(event.start_mark.line + 1) if is_map else []
        self.place(value, event, None)
        if event.anchor is not None:
            self.anchors[event.anchor] = None
        self.frames.append(_Frame(value, _NO_KEY, 0, event.anchor, self.nodes))

    def end(self) -> None:
        frame = self.frames.pop()
        for merged in frame.merged:
            for key, value in merged.items():
                if key not in frame.value:
                    frame.value[key] = value
                    frame.value.lines[key] = merged.at(key)
        if frame.anchor is not None:
            self.anchors[frame.anchor] = (frame.value, self.nodes - frame.nodes + 1)

    def alias(self, event: Any) -> None:
        found = self.anchors.get(event.anchor)
        if found is None:
            inside = event.anchor in self.anchors
            raise _bad(
                event,
                f"*{event.anchor[:64]} refers to "
                + ("the very value it stands in" if inside else "no anchor above it"),
            )
        value, nodes = found
        self.aliased += nodes
        if self.aliased > MAX_ALIASED:
            raise _bad(event, f"aliases add more than {MAX_ALIASED} values", "write them out")
        self.count(event, nodes)
        self.place(value, event, value if isinstance(value, str) else None)

    def count(self, event: Any, nodes: int) -> None:
        self.nodes += nodes
        if self.nodes > MAX_NODES:
            raise _bad(event, f"it holds more than {MAX_NODES} values", "split the file")

    def place(self, value: Any, event: Any, plain: str | None) -> None:
        if not self.frames:
            self.root, self.line = value, event.start_mark.line + 1
            return
        frame = self.frames[-1]
        if isinstance(frame.value, list):
            frame.value.append(value)
        elif frame.key is _NO_KEY:
            frame.key, frame.key_line = self.key(value, event, plain), event.start_mark.line + 1
        else:
            key, frame.key = frame.key, _NO_KEY
            if key == "<<":
                self.merge(frame, value, event)
            elif key in frame.value:
                raise _bad(event, f"the key {key[:64]!r} stands twice in this map", "delete one")
            else:
                frame.value[key] = value
                frame.value.lines[key] = frame.key_line

    def key(self, value: Any, event: Any, plain: str | None) -> str:
        if isinstance(value, Map | list):
            raise _bad(event, "a key is a map or a list, not text")
        return value if isinstance(value, str) else plain or ""

    def merge(self, frame: _Frame, value: Any, event: Any) -> None:
        maps = value if isinstance(value, list) else [value]
        if not all(isinstance(one, Map) for one in maps):
            raise _bad(event, "<< merges maps only")
        self.aliased += sum(len(one) for one in maps)
        if self.aliased > MAX_ALIASED:
            raise _bad(event, f"aliases add more than {MAX_ALIASED} values", "write them out")
        frame.merged += maps


def _bad(event: Any, message: str, hint: str = "") -> BadYaml:
    mark = event.start_mark
    return BadYaml(mark.line + 1, mark.column + 1, message, hint)


def _plain(text: str) -> Any:
    """Kubernetes reads YAML 1.1's words; numbers matter only where they are whole."""
    if text in _WORDS:
        return _WORDS[text]
    return int(text) if _INTEGER.fullmatch(text) else text
