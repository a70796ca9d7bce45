"""What the bytes of a file tell before any YAML is read: size, encoding, NUL, directives, tabs."""

from __future__ import annotations

from collections.abc import Sequence

from jobreconciler.model.desired import Position

Refusal = tuple[Position, str, str, str]
"""Position, code, message, hint."""


def refuse_bytes(data: bytes, limit: int) -> Refusal | None:
    """Why these bytes are not read at all, or None. Looks at no more than `limit` + 1 of them."""
    if len(data) > limit:
        return (
            (0, 0),
            "too_large",
            f"the file has {len(data)} bytes; at most {limit} ({limit // 1024} KiB) are read",
            "split it, or keep data out of job files",
        )
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return (1, 1), "not_utf8", "the file is UTF-16 text, not UTF-8", "save it as UTF-8"
    nul = data.find(b"\0")
    if nul >= 0:
        return (
            place_of(data, nul),
            "nul",
            "the file holds a NUL byte; is it a binary file, or UTF-16?",
            "save it as UTF-8 text",
        )
    try:
        data.decode("utf-8")
    except UnicodeDecodeError as error:
        return (
            place_of(data, error.start),
            "not_utf8",
            f"the byte 0x{data[error.start]:02X} is not UTF-8; is the file Latin-1?",
            "save it as UTF-8",
        )
    return _odd_break(data) or _directive(data)


def place_of(data: bytes, offset: int) -> Position:
    """Line and column (in characters) of a byte offset."""
    line = data.count(b"\n", 0, offset) + 1
    start = data.rfind(b"\n", 0, offset) + 1
    column = len(data[start:offset].decode("utf-8-sig", errors="replace")) + 1
    return line, column


def starts_with_tab(lines: Sequence[str], line: int, column: int) -> bool:
    """Whether a tab is among the white space that leads up to this first token of its line."""
    if line >= len(lines):
        return False
    lead = lines[line][:column]
    return "\t" in lead and not lead.strip(" \t")


def _odd_break(data: bytes) -> Refusal | None:
    """A character that ends a line in YAML 1.1 (and in libyaml) but not in 1.2."""
    for character in "\x85\u2028\u2029":
        offset = data.find(character.encode())
        if offset >= 0:
            return (
                place_of(data, offset),
                "control_character",
                f"the file holds U+{ord(character):04X}, a line break to some and none to others",
                f'write it as "\\u{ord(character):04x}" inside double quotes, or remove it',
            )
    return None


def _directive(data: bytes) -> Refusal | None:
    """A line that begins with % before the first line of content."""
    if data[:1] != b"%" and b"\n%" not in data:
        return None
    for number, line in enumerate(data.split(b"\n"), 1):
        if line.startswith(b"%"):
            return (
                (number, 1),
                "directive",
                "YAML directives are not used here",
                "delete the line that begins with %",
            )
        if line.strip() and not line.lstrip().startswith(b"#"):
            return None
    return None
