"""systemd's unit files as lists of directives, and the words of a directive's value."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from jobreconciler.importing.report import Place


class Directive(NamedTuple):
    """`Key=value` of a section. It stands in a file of the unit: its own or a drop-in."""

    section: str
    key: str
    value: str
    file: str
    line: int

    @property
    def at(self) -> Place:
        return Place(self.file, self.line)


class BadUnit(Exception):
    """The text is no unit file; `line` says where that shows."""

    def __init__(self, file: str, line: int, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.file, self.line, self.message, self.hint = file, line, message, hint


@dataclass
class Unit:
    """A unit with its drop-ins, in the order systemd reads them. Remembers what was asked for."""

    name: str
    directives: tuple[Directive, ...]
    asked: set[tuple[str, str]] = field(default_factory=set)

    def all(self, section: str, key: str) -> list[Directive]:
        """Every line of a key; an empty value forgets those above it."""
        self.asked.add((section, key))
        found: list[Directive] = []
        for one in self.directives:
            if (one.section, one.key) == (section, key):
                found = [*found, one] if one.value else []
        return found

    def last(self, section: str, *keys: str) -> Directive | None:
        """The line that counts of a key that may stand once, under any of its names."""
        self.asked |= {(section, key) for key in keys}
        wanted = [one for one in self.directives if one.section == section and one.key in keys]
        return wanted[-1] if wanted and wanted[-1].value else None

    def is_true(self, section: str, key: str) -> bool:
        found = self.last(section, key)
        return found is not None and found.value.lower() in ("1", "yes", "y", "true", "t", "on")

    def rest(self) -> list[Directive]:
        """What nobody has asked for, the last line of each key."""
        left = {
            (one.section, one.key): one
            for one in self.directives
            if (one.section, one.key) not in self.asked and one.value
        }
        return list(left.values())


_SECTION = re.compile(r"\[([^\[\]]+)\]")
_KEY = re.compile(r"([A-Za-z][A-Za-z0-9-]*)[ \t]*=[ \t]*(.*)", re.DOTALL)


def read_directives(file: str, text: str) -> list[Directive]:
    """Every directive of one file. Raises BadUnit for a line that is none."""
    found: list[Directive] = []
    section = ""
    for line, said in _logical_lines(text):
        heading = _SECTION.fullmatch(said)
        if heading is not None:
            section = heading[1]
            continue
        pair = _KEY.fullmatch(said)
        if pair is None or not section:
            what = (
                "a line before the first [Section]" if pair else "neither Key=value nor [Section]"
            )
            raise BadUnit(file, line, what, "name a systemd unit file")
        found.append(Directive(section, pair[1], pair[2].strip(), file, line))
    return found


def _logical_lines(text: str) -> Iterable[tuple[int, str]]:
    """Lines with what continues them after a backslash; comments in between are left out."""
    parts: list[str] = []
    start = 0
    for number, raw in enumerate(text.split("\n"), 1):
        line = raw.removesuffix("\r")
        if line.lstrip()[:1] in ("#", ";") or (not parts and not line.strip()):
            continue
        start = start if parts else number
        if line.endswith("\\"):
            parts.append(line[:-1])
            continue
        yield start, " ".join([*parts, line]).strip()
        parts = []
    if parts:
        yield start, " ".join(parts).strip()


# -------------------------------------------------------------------------------------- words


class BadWords(Exception):
    """Quotes that do not match, or an escape that there is none of."""


_SIMPLE_ESCAPES: Final[Mapping[str, str]] = {
    "a": "\a",
    "b": "\b",
    "f": "\f",
    "n": "\n",
    "r": "\r",
    "t": "\t",
    "v": "\v",
    "\\": "\\",
    '"': '"',
    "'": "'",
    "s": " ",
    ";": ";",
}
_CODED_ESCAPE = re.compile(r"x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|([0-3][0-7]{2})")


def words_of(text: str) -> list[str]:
    """Words between blanks; quotes around a word or a part of it; C's escapes everywhere."""
    return [word for word, _ in _tokens(text)]


def commands_of(text: str) -> list[list[str]]:
    """The words of each command of an Exec line: a bare `;` parts them."""
    commands: list[list[str]] = [[]]
    for word, bare in _tokens(text):
        if bare and word == ";":
            commands.append([])
        else:
            commands[-1].append(word)
    return [words for words in commands if words]


def _tokens(text: str) -> Iterator[tuple[str, bool]]:
    """Each word, and whether neither quote nor escape is in it. Raises BadWords."""
    word: list[str] = []
    quote, at, inside, bare = "", 0, False, True
    while at < len(text):
        char = text[at]
        at += 1
        if char == "\\":
            char, at = _escape(text, at)
            word.append(char)
            inside, bare = True, False
        elif quote and char == quote:
            quote = ""
        elif not quote and char in "\"'":
            quote, inside, bare = char, True, False
        elif not quote and char in " \t\n":
            if inside:
                yield "".join(word), bare
            word, inside, bare = [], False, True
        else:
            word.append(char)
            inside = True
    if quote:
        raise BadWords("its quotes do not match")
    if inside:
        yield "".join(word), bare


def _escape(text: str, at: int) -> tuple[str, int]:
    simple = _SIMPLE_ESCAPES.get(text[at : at + 1])
    if simple is not None:
        return simple, at + 1
    coded = _CODED_ESCAPE.match(text, at)
    if coded is None:
        raise BadWords(f"\\{text[at : at + 1]} is no escape")
    code = int(coded[4], 8) if coded[4] else int(coded[1] or coded[2] or coded[3], 16)
    if code == 0 or code > 0x10FFFF or 0xD800 <= code <= 0xDFFF:
        raise BadWords(f"{coded[0]} is no character")
    return chr(code), coded.end()


# --------------------------------------------------------------------------------- specifiers


def specifiers_of(name: str) -> dict[str, str]:
    """What `%n` and the others that follow from a unit's own name stand for."""
    stem = name.rpartition(".")[0] or name
    prefix, at, instance = stem.partition("@")
    known = {"%": "%", "n": name, "N": stem, "p": prefix, "j": prefix.rpartition("-")[2]}
    return known | ({"i": instance} if at and instance else {}) | ({} if at else {"i": ""})


def resolved(text: str, known: Mapping[str, str]) -> tuple[str, list[str]]:
    """The text with its specifiers put in, and those that only systemd knows."""
    unknown: list[str] = []

    def put(found: re.Match[str]) -> str:
        value = known.get(found[1])
        if value is None:
            unknown.append(found[0])
        return found[0] if value is None else value

    return re.sub(r"%([%A-Za-z])", put, text), unknown
