"""Strict YAML, the thorough way: every mistake with its place, and where each value stands.

Only for files that `strict_yaml` would not vouch for. Goes on after every mistake that leaves the
structure readable, so that one pass shows them all; stops at the first that does not.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from yaml import YAMLError
from yaml._yaml import CParser
from yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
    StreamEndEvent,
)

from jobreconciler.model.desired import Position
from jobreconciler.source.raw_bytes import refuse_bytes, starts_with_tab
from jobreconciler.source.scalars import Unusable, plain_value
from jobreconciler.source.strict_yaml import MAX_BYTES, MAX_DEPTH, MAX_QUICK_BYTES
from jobreconciler.source.syntax_errors import explain

MAX_ALIAS_NODES = 1000
MAX_NODES = MAX_QUICK_BYTES // 2
MAX_MISTAKES = 1000


class Mistake(NamedTuple):
    """Something wrong with the YAML itself."""

    at: Position
    code: str
    message: str
    hint: str = ""


class Mark(NamedTuple):
    """Where one entry of a map or list stands. `inner` is the column offset past a quote."""

    key: Position
    value: Position
    inner: int = 0


@dataclass
class Located:
    """A file's value as far as it could be read, its mistakes, and the places of its entries.

    `complete` is False where reading had to stop: what follows in the file is unknown.
    `marks` are by the id() of the container that `value` holds alive.
    """

    value: Any = None
    mistakes: list[Mistake] = field(default_factory=list)
    complete: bool = True
    marks: dict[int, dict[Any, Mark]] = field(default_factory=dict)

    def find(self, path: tuple[Any, ...]) -> tuple[Mark, int]:
        """The mark of the deepest entry on `path` that is there, and how many steps led to it."""
        mark, value, steps = Mark((1, 1), (1, 1)), self.value, 0
        for step in path:
            found = self.marks.get(id(value), {}).get(step)
            if found is None:
                break
            mark, value, steps = found, value[step], steps + 1
        return mark, steps


def read_located(data: bytes) -> Located:
    """The file's value with places and mistakes; bounded in time and memory by MAX_BYTES."""
    refused = refuse_bytes(data, MAX_BYTES)
    if refused is not None:
        return Located(mistakes=[Mistake(*refused)], complete=False)
    return _Reader(data).read()


class _Stop(Exception):
    """The rest of the file cannot be read."""


@dataclass(slots=True)
class _Frame:
    """One open collection. `key` is None where a key comes next; False drops the value."""

    value: Any
    marks: dict[Any, Mark]
    key: Any = None
    key_at: Position = (0, 0)
    anchor: str | None = None
    nodes: int = 0
    size: int = 0


class _Anchored(NamedTuple):
    value: Any
    nodes: int
    size: int


class _Reader:
    """One file being read. `nodes` and `size` count what was read, `aliased` what aliases add."""

    def __init__(self, data: bytes) -> None:
        self.lines = data.decode("utf-8-sig").split("\n") if b"\t" in data else []
        self.data = data
        self.out = Located()
        self.frames: list[_Frame] = []
        self.anchors: dict[str, _Anchored | None] = {}
        self.nodes = self.size = self.alias_nodes = self.alias_size = 0
        self.has_root = False
        self.actions: dict[type, Callable[[Any], None]] = {
            ScalarEvent: self.scalar,
            MappingStartEvent: self.start,
            SequenceStartEvent: self.start,
            MappingEndEvent: self.end,
            SequenceEndEvent: self.end,
            AliasEvent: self.alias,
            DocumentStartEvent: self.document,
        }

    def read(self) -> Located:
        try:
            self.events()
        except _Stop:
            self.out.complete = False
        except (YAMLError, UnicodeDecodeError) as error:
            self.out.complete = False
            self.out.mistakes.append(Mistake(*explain(error, self.data)))
        else:
            if self.out.value is None and not self.out.mistakes:
                self.mistake(
                    (1, 1), "empty_file", "the file is empty", "declare a job, or delete the file"
                )
        return self.out

    def events(self) -> None:
        parser = CParser(self.data)
        while True:
            event = parser.get_event()
            if event.__class__ is StreamEndEvent:
                return
            action = self.actions.get(event.__class__)
            if action is not None:
                if self.lines:
                    self.check_tab(event)
                action(event)

    def mistake(self, at: Position, code: str, message: str, hint: str = "") -> None:
        self.out.mistakes.append(Mistake(at, code, message, hint))
        if len(self.out.mistakes) >= MAX_MISTAKES:
            self.out.mistakes.append(
                Mistake(at, "too_many_problems", "the file is read no further", "mend these first")
            )
            raise _Stop

    def count(self, at: Position, nodes: int, size: int) -> None:
        self.nodes += nodes
        self.size += size
        if self.nodes > MAX_NODES:
            self.mistake(
                at,
                "too_many_values",
                f"the file holds more than {MAX_NODES} values",
                "keep data out of job files",
            )
            raise _Stop

    def check_tab(self, event: Any) -> None:
        at = event.start_mark
        ends = event.__class__ in (MappingEndEvent, SequenceEndEvent)
        if not ends and starts_with_tab(self.lines, at.line, at.column):
            self.mistake(
                (at.line + 1, 1),
                "tab_indentation",
                "this line is indented with a tab",
                "indent with spaces",
            )

    def document(self, event: Any) -> None:
        if self.has_root:
            self.mistake(
                _position(event),
                "several_documents",
                "a second document begins here; a file declares one job",
                "move it to a file of its own",
            )
            raise _Stop
        if event.version or event.tags:
            self.mistake(
                _position(event),
                "directive",
                "YAML directives are not used here",
                "delete the line that begins with %",
            )

    def scalar(self, event: Any) -> None:
        at = _position(event)
        self.check_tag(event, at)
        plain = event.style == "" or event.style is None
        text = event.value
        value = plain_value(text) if plain else text
        if isinstance(value, Unusable) and value is not Unusable.MERGE_KEY:
            self.mistake(at, value.value, *_UNUSABLE[value])
            value = None
        if "\0" in text:
            self.mistake(at, "nul", "this text holds a NUL character", "remove it")
            value = None
        self.count(at, 1, len(text))
        self.place(value, at, 1 if event.style in ("'", '"') else 0, text)
        if event.anchor is not None:
            self.anchors[event.anchor] = _Anchored(value, 1, len(text))

    def start(self, event: Any) -> None:
        at = _position(event)
        self.check_tag(event, at)
        if len(self.frames) >= MAX_DEPTH:
            self.mistake(
                at,
                "too_deep",
                f"nested more than {MAX_DEPTH} levels deep",
                "the file is read no further than this; flatten it",
            )
            raise _Stop
        value: Any = {} if event.__class__ is MappingStartEvent else []
        marks: dict[Any, Mark] = {}
        self.out.marks[id(value)] = marks
        self.count(at, 1, 0)
        self.place(value, at, 0, None)
        self.frames.append(
            _Frame(value, marks, anchor=event.anchor, nodes=self.nodes - 1, size=self.size)
        )
        if event.anchor is not None:
            self.anchors[event.anchor] = None

    def end(self, _event: Any) -> None:
        frame = self.frames.pop()
        if frame.anchor is not None:
            nodes, size = self.nodes - frame.nodes, self.size - frame.size
            self.anchors[frame.anchor] = _Anchored(frame.value, nodes, size)

    def alias(self, event: Any) -> None:
        at, name = _position(event), event.anchor
        value: Any = None
        if name not in self.anchors:
            self.mistake(
                at,
                "unknown_anchor",
                f"*{name[:64]} refers to no anchor above it",
                f"write &{name[:64]} before the value that is meant",
            )
        elif (anchored := self.anchors[name]) is None:
            self.mistake(
                at,
                "recursive_anchor",
                f"*{name[:64]} stands inside the very value it refers to",
                "write the value out",
            )
        else:
            value = anchored.value
            self.count_alias(at, anchored)
        self.place(value, at, 0, value if isinstance(value, str) else None)

    def count_alias(self, at: Position, anchored: _Anchored) -> None:
        self.alias_nodes += anchored.nodes
        self.alias_size += anchored.size
        self.count(at, anchored.nodes, anchored.size)
        if self.alias_nodes > MAX_ALIAS_NODES or self.alias_size > MAX_BYTES:
            self.mistake(
                at,
                "too_many_aliases",
                f"aliases add more than {MAX_ALIAS_NODES} values or {MAX_BYTES // 1024} KiB",
                "write the values out, or move what jobs share to _defaults.yaml",
            )
            raise _Stop

    def check_tag(self, event: Any, at: Position) -> None:
        if event.tag is not None:
            self.mistake(
                at,
                "tag",
                f"the tag {event.tag[:64]} is not used here",
                "delete the tag; quote the value if it is meant as text",
            )

    def place(self, value: Any, at: Position, inner: int, text: str | None) -> None:
        """Put `value` where the document expects one: the root, a list, a key or its value."""
        if not self.frames:
            if not self.has_root:
                self.out.value, self.has_root = value, True
            return
        frame = self.frames[-1]
        if isinstance(frame.value, list):
            frame.marks[len(frame.value)] = Mark(at, at, inner)
            frame.value.append(None if value is Unusable.MERGE_KEY else value)
        elif frame.key is None:
            frame.key, frame.key_at = self.key(frame, value, at, text), at
        else:
            if frame.key is not False:
                frame.marks[frame.key] = Mark(frame.key_at, at, inner)
                frame.value[frame.key] = "<<" if value is Unusable.MERGE_KEY else value
            frame.key = None

    def key(self, frame: _Frame, value: Any, at: Position, text: str | None) -> str | bool:
        """The key as text, or False where its value has to be dropped."""
        if value is Unusable.MERGE_KEY:
            self.mistake(
                at,
                "merge_key",
                "merge keys (<<) are not used here",
                "write the keys out, or move what jobs share to _defaults.yaml",
            )
            return False
        if not isinstance(value, str):
            shown = f'"{text[:64]}"' if text else "it"
            self.mistake(
                at,
                "key_not_text",
                "expected text as a key, found " + _kind(value),
                f"quote it: {shown}" if text else "use a plain word as the key",
            )
            return False
        if value in frame.marks:
            first = frame.marks[value].key
            self.mistake(
                at,
                "duplicate_key",
                f"the key {value[:64]!r} stands in this map twice, first in line {first[0]}",
                "delete one of them",
            )
            return False
        return value


_UNUSABLE = {
    Unusable.NOT_FINITE: (
        "expected a finite number",
        "write a number, or quote it if it is meant as text",
    ),
    Unusable.OUT_OF_RANGE: (
        "this number does not fit into 64 bits",
        "quote it if it is meant as text",
    ),
}


def _position(event: Any) -> Position:
    return event.start_mark.line + 1, event.start_mark.column + 1


def _kind(value: Any) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, int | float):
        return "a number"
    return "a list" if isinstance(value, list) else "a map"
