"""Job files with their keys in canonical order, and every other byte as it was. Pure.

Keys are moved as lines of text, each with the comments right above it and below its value, so that
quotes, spelling and comments stay what a person made of them. A file that would not mean the same
afterwards (an alias that came to stand before its anchor) is left alone and said so.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from pydantic import BaseModel
from yaml._yaml import CParser
from yaml.events import (
    AliasEvent,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
    StreamEndEvent,
)

from jobreconciler.errors import NotFound
from jobreconciler.model.job_config import Defaults, JobConfig
from jobreconciler.model.problem import Problem
from jobreconciler.ports import JobTypes
from jobreconciler.source.findings import Text, problems_of
from jobreconciler.source.known_keys import Path, ordered_keys
from jobreconciler.source.located_yaml import read_located

_PARAMETERS: Final = ("payload", "parameters")


@dataclass(frozen=True, slots=True)
class Formatted:
    """The bytes to write, the same as before where nothing moves; or why the file is left alone."""

    data: bytes
    problems: tuple[Problem, ...] = ()


@dataclass(slots=True)
class _Node:
    """A value and the lines it stands on, counted from 0; `end` is the line behind its last."""

    start: tuple[int, int]
    end: int = 0
    last: tuple[int, int] = (0, 0)
    kind: str = ""
    flow: bool = False
    entries: list[_Entry] = field(default_factory=list)


@dataclass(slots=True)
class _Entry:
    key: str
    at: tuple[int, int]
    value: _Node


Order = Callable[[Path], Sequence[str]]
"""The canonical keys of the map at a path; those it doesn't name keep their place behind."""


def format_file(path: str, data: bytes, job_types: JobTypes) -> Formatted:
    """The file in canonical order. `path` says whether it is the defaults file."""
    located = read_located(data)
    if located.mistakes or not isinstance(located.value, dict):
        return Formatted(data, tuple(problems_of(Text(path, located), [])))
    is_defaults = path.rpartition("/")[2].startswith("_defaults.")
    order = _order(located.value, Defaults if is_defaults else JobConfig, job_types)
    made = _arranged(data, order)
    if made.rstrip(b"\r\n") == data.rstrip(b"\r\n"):
        return Formatted(data)
    after = read_located(made)
    if after.mistakes or after.value != located.value:
        return Formatted(data, (_left_alone(path),))
    return Formatted(made)


def _order(value: dict[str, Any], model: type[BaseModel], job_types: JobTypes) -> Order:
    payload = value.get("payload")
    name = payload.get("jobType") if isinstance(payload, dict) else None
    parameters: type[BaseModel] | None = None
    if isinstance(name, str):
        try:
            parameters = job_types.get(name).parameters
        except NotFound:
            parameters = None

    def order(path: Path) -> Sequence[str]:
        if path[:2] != _PARAMETERS:
            return ordered_keys(model, value, path)
        inside = value["payload"]["parameters"]
        return ordered_keys(parameters, inside, path[2:]) if parameters is not None else ()

    return order


def _left_alone(path: str) -> Problem:
    return Problem(
        path,
        0,
        0,
        "",
        "order_matters",
        "in canonical order it would not mean the same, so the file is left as it is",
        "an alias must not come before its anchor: write its value out",
    )


# -------------------------------------------------------------------------------------- reading


def _arranged(data: bytes, order: Order) -> bytes:
    text = data.decode("utf-8")
    if re.search(r"\r(?!\n)", text):
        # A line end to YAML, and none to us: no line would be where we take it to be.
        return data
    lines = re.findall(r"[^\n]*\n|[^\n]+$", text.removeprefix("\ufeff"))
    if lines and not lines[-1].endswith("\n"):
        lines[-1] += "\r\n" if "\r\n" in text else "\n"
    root = _read("".join(lines))
    if root is None or root.kind != "map" or root.flow or not root.entries:
        return data
    first = root.entries[0].at[0]
    made = "".join([*lines[:first], *_map(lines, root, first, len(lines), (), order)])
    return (text[:1] if text.startswith("\ufeff") else "").encode() + made.encode()


def _read(text: str) -> _Node | None:
    """The tree of a text that the strict reader takes: its nesting is bounded."""
    parser = CParser(text)
    stack: list[tuple[_Node, list[Any]]] = []
    root: _Node | None = None
    while True:
        event: Any = parser.get_event()
        kind = event.__class__
        if kind is StreamEndEvent:
            return root
        if kind in (MappingEndEvent, SequenceEndEvent):
            node, pending = stack.pop()
            _finish(node, event, pending)
        elif kind in (ScalarEvent, AliasEvent, MappingStartEvent, SequenceStartEvent):
            mark = event.start_mark
            node = _Node((mark.line, mark.column))
            if stack:
                stack[-1][1].append((node, getattr(event, "value", None)))
            else:
                root = node
            if kind in (MappingStartEvent, SequenceStartEvent):
                node.kind = "map" if kind is MappingStartEvent else "list"
                node.flow = bool(event.flow_style)
                stack.append((node, []))
            else:
                end = event.end_mark
                node.last = (end.line, end.column)
                # A block scalar ends where the next line begins.
                node.end = end.line + (0 if getattr(event, "style", "") in ("|", ">") else 1)


def _finish(node: _Node, event: Any, inside: list[Any]) -> None:
    """Close a collection. A block ends with what is in it, not at the next token."""
    node.last = (event.end_mark.line, event.end_mark.column)
    node.end = event.end_mark.line + 1
    if not node.flow and inside:
        node.end = max(each.end for each, _ in inside)
    if node.kind == "map":
        pairs = zip(inside[::2], inside[1::2], strict=True)
        node.entries = [_Entry(key[1] or "", key[0].start, value[0]) for key, value in pairs]


# -------------------------------------------------------------------------------------- writing


def _map(
    lines: list[str], node: _Node, first: int, last: int, path: Path, order: Order
) -> list[str]:
    """The lines [first, last) of a block map, its entries in order."""
    entries = node.entries
    column = node.start[1]
    if any(lines[entry.at[0]][: entry.at[1]].strip() for entry in entries):
        return lines[first:last]
    begins = [entry.at[0] for entry in entries]
    ends = [
        _own_end(lines, max(entry.value.end, entry.at[0] + 1), following, column)
        for entry, following in zip(entries, [*begins[1:], last], strict=True)
    ]
    starts = [first, *ends[:-1]]
    blanks, chunks = [], []
    for entry, start, begin, end in zip(entries, starts, begins, ends, strict=True):
        kept = start
        while kept < begin and not lines[kept].strip():
            kept += 1
        blanks.append(lines[start:kept])
        chunks.append([*lines[kept:begin], *_entry(lines, entry, end, (*path, entry.key), order)])
    ranks = {key: number for number, key in enumerate(order(path))}
    ordered = sorted(range(len(entries)), key=lambda n: ranks.get(entries[n].key, len(ranks)))
    made = [line for slot, n in enumerate(ordered) for line in (*blanks[slot], *chunks[n])]
    return [*made, *lines[ends[-1] : last]]


def _own_end(lines: list[str], end: int, following: int, column: int) -> int:
    """Past the comments below a value that stand deeper than its key: they are about the value."""
    own = end
    for number in range(end, following):
        text = lines[number].strip("\r\n")
        if text.strip() and len(text) - len(text.lstrip(" ")) > column:
            own = number + 1
    return own


def _entry(lines: list[str], entry: _Entry, end: int, path: Path, order: Order) -> list[str]:
    begin, value = entry.at[0], entry.value
    if value.kind != "map" or not value.entries:
        return lines[begin:end]
    if value.flow:
        one_line = value.start[0] == value.last[0]
        if not one_line:
            return lines[begin:end]
        number = value.start[0]
        head = lines[begin:number]
        return [*head, _flow(lines[number], value, path, order), *lines[number + 1 : end]]
    inside = value.entries[0].at[0]
    opening = next(
        (n for n in range(begin + 1, inside) if not lines[n].strip() or _is_comment(lines[n])),
        inside,
    )
    return [*lines[begin:opening], *_map(lines, value, opening, end, path, order)]


def _is_comment(line: str) -> bool:
    return line.lstrip(" ").startswith("#")


def _flow(line: str, node: _Node, path: Path, order: Order) -> str:
    """One line with the entries of a flow map in order; what stands between them stays."""
    spans = [(entry.at[1], entry.value.last[1]) for entry in node.entries]
    texts = []
    for entry, (start, stop) in zip(node.entries, spans, strict=True):
        inner = entry.value
        if inner.kind == "map" and inner.entries:
            line = _flow(line, inner, (*path, entry.key), order)
        texts.append(line[start:stop])
    ranks = {key: number for number, key in enumerate(order(path))}
    wanted = sorted(range(len(texts)), key=lambda n: ranks.get(node.entries[n].key, len(ranks)))
    made, at = "", 0
    for (start, stop), n in zip(spans, wanted, strict=True):
        made += line[at:start] + texts[n]
        at = stop
    return made + line[at:]
