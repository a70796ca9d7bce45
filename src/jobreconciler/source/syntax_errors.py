"""libyaml's complaints in words that say what to do."""

from __future__ import annotations

from yaml import MarkedYAMLError, YAMLError
from yaml.reader import ReaderError

from jobreconciler.source.raw_bytes import Refusal, place_of

_HINTS = {
    "mapping values are not allowed in this context": (
        "a colon stands where none can",
        "quote the text if it holds ': ', or check the indentation of this line",
    ),
    "could not find expected ':'": (
        "expected ': ' after a key",
        "write `key: value`; close the quote if the text above it has one",
    ),
    "did not find expected key": (
        "expected a key of the map above",
        "indent this line like its neighbours, and quote texts that hold quotes or brackets",
    ),
    "did not find expected '-' indicator": (
        "expected the next '- ' of the list above",
        "indent this line like its neighbours",
    ),
    "did not find expected ',' or ']'": ("expected ',' or ']'", "close the list with ]"),
    "did not find expected ',' or '}'": ("expected ',' or '}'", "close the map with }"),
    "did not find expected node content": ("expected a value", "write one, or quote the text"),
    "found unexpected end of stream": (
        "the file ends inside a quoted text",
        "close the quote that opened at the place named",
    ),
    "found unknown escape character": (
        "this backslash starts no known escape",
        "double the backslash, or use single quotes",
    ),
    "block sequence entries are not allowed in this context": (
        "a list item stands where none can",
        "begin the list in a line of its own, below its key",
    ),
    "did not find expected <document start>": (
        "text follows after the end of the document",
        "a file declares one job; delete what follows, or move it to a file of its own",
    ),
    "found unexpected document indicator": (
        "the document ends inside a quoted text",
        "close the quote, or indent the line",
    ),
}


_BLAMES_ITS_START = ("found unexpected end of stream", "could not find expected ':'")


def explain(error: Exception, data: bytes) -> Refusal:
    """Position, code, message and hint of what stopped libyaml."""
    if isinstance(error, ReaderError):
        return _unreadable(error, data)
    if not isinstance(error, MarkedYAMLError):
        return (0, 0), "syntax", f"not readable as YAML: {type(error).__name__}", ""
    mark = error.problem_mark or error.context_mark
    problem = (error.problem or "not readable as YAML").strip()
    if problem in _BLAMES_ITS_START and error.context_mark is not None:
        mark = error.context_mark
    at = (mark.line + 1, mark.column + 1) if mark is not None else (0, 0)
    if problem == "found a tab character where an indentation space is expected":
        return _tab(at)
    if problem == "found character that cannot start any token":
        return _cannot_start(at, data)
    message, hint = _HINTS.get(problem, (problem, ""))
    context = error.context_mark
    if context is not None and mark is not None and context.line != mark.line:
        message += f" ({error.context}, from line {context.line + 1})"
    return at, "syntax", message, hint


def _cannot_start(at: tuple[int, int], data: bytes) -> Refusal:
    lines = data.decode("utf-8-sig", errors="replace").split("\n")
    line = lines[at[0] - 1] if at[0] <= len(lines) else ""
    character = line[at[1] - 1 : at[1]]
    if character == "\t":
        return _tab(at)
    message = f"a value cannot begin with {character!r}" if character else "expected a value"
    return at, "syntax", message, "quote the text"


def _tab(at: tuple[int, int]) -> Refusal:
    return at, "tab_indentation", "this line is indented with a tab", "indent with spaces"


def _unreadable(error: YAMLError, data: bytes) -> Refusal:
    position = getattr(error, "position", 0)
    at = place_of(data, position if isinstance(position, int) else 0)
    character = getattr(error, "character", None)
    shown = f" (U+{character:04X})" if isinstance(character, int) else ""
    return (
        at,
        "control_character",
        f"the file holds a control character{shown}",
        'remove it; inside double quotes it can be written as an escape, such as "\\x1b"',
    )
