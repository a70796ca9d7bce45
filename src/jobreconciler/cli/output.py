"""Text for people and JSON for programs.

Tables are aligned and fit the width; colour is for terminals only; times are relative in text and
absolute in JSON.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, NamedTuple, TextIO

from jobreconciler.cli.errors import PipeClosed, discard, say
from jobreconciler.cli.words import clean, columns_of, fit, instant, relative, wrap

Style = Literal["good", "bad", "warn", "dim", "bold", "plain"]
_CODES: dict[Style, str] = {"good": "32", "bad": "31", "warn": "33", "dim": "2", "bold": "1"}
_STATUS_STYLE: dict[str, Style] = {
    "succeeded": "good",
    "running": "bold",
    "queued": "plain",
    "failed": "bad",
    "timed_out": "bad",
    "lost": "bad",
    "cancelled": "warn",
    "missed": "warn",
    "skipped": "dim",
}
GAP = "  "


class Cell(NamedTuple):
    """One cell of a table, or one styled word."""

    text: str
    style: Style = "plain"


class Column(NamedTuple):
    """When a table is too wide, columns that shrink give way first, down to `least`.

    A column that `wraps` goes on in lines below instead of being cut.
    """

    title: str
    right: bool = False
    shrinks: bool = False
    wraps: bool = False
    least: int = 8


# ------------------------------------------------------------------------------- where it goes


def width() -> int:
    """Columns to fill: `COLUMNS`, the terminal's, or 80 where there is no terminal."""
    # Imported here: it brings the formats of archives along.
    from shutil import get_terminal_size

    return max(40, get_terminal_size((80, 24)).columns)


def coloured(stream: TextIO | None = None) -> bool:
    """Colour on a terminal only; `NO_COLOR` and `FORCE_COLOR` decide where they are set."""
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR"):
        return True
    stream = stream or sys.stdout
    return stream.isatty() and os.environ.get("TERM") != "dumb"


def write(text: str, *, end: str = "\n") -> None:
    """To standard output, at once. Raises PipeClosed where nobody reads any more, OSError where it
    cannot be written."""
    with _written():
        try:
            sys.stdout.write(text + end)
        except UnicodeEncodeError as error:
            safe = (text + end).encode(error.encoding, "backslashreplace")
            sys.stdout.buffer.write(safe)
        sys.stdout.flush()


def write_bytes(raw: bytes) -> None:
    """Output of a job, as it is. Raises as `write` does."""
    with _written():
        sys.stdout.flush()
        sys.stdout.buffer.write(raw)
        sys.stdout.buffer.flush()


@contextmanager
def _written() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:
        discard(sys.stdout)
        raise PipeClosed from None
    except OSError as error:
        discard(sys.stdout)
        raise OSError(error.errno, error.strerror, "standard output") from None


def write_json(value: Any) -> None:
    write(json_text(value))


def json_text(value: Any) -> str:
    # Imported here: text answers do without.
    import json

    return re.sub(_UNSEEN, _escaped, json.dumps(value, indent=2, ensure_ascii=False))


_UNSEEN = "[\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]"
"""What json leaves as it is, and a terminal obeys: such text can be a commit's."""


def _escaped(found: re.Match[str]) -> str:
    return f"\\u{ord(found[0]):04x}"


def note(text: str) -> None:
    """A remark beside the answer, on standard error."""
    say(text)


def note_more(cursor: str | None) -> None:
    """Below a page of a list: how to go on, where there is more."""
    if cursor:
        note(f"more with --cursor {clean(cursor)}")


def styled(text: str, style: Style, colour: bool | None = None) -> str:
    """`text` in the style's colour where there is colour."""
    colour = coloured() if colour is None else colour
    code = _CODES.get(style)
    return f"\x1b[{code}m{text}\x1b[0m" if colour and code and text else text


def status_cell(status: str | None) -> Cell:
    return Cell(status or "-", _STATUS_STYLE.get(status or "", "plain"))


# -------------------------------------------------------------------------------------- tables


def table(
    columns: Sequence[Column | str],
    rows: Iterable[Sequence[Cell | str]],
    *,
    limit: int | None = None,
    colour: bool | None = None,
    indent: str = "",
) -> str:
    """Aligned text, each line at most `limit` columns wide."""
    heads = [item if isinstance(item, Column) else Column(item) for item in columns]
    body = [[_cell(item) for item in row] for row in rows]
    limit = width() if limit is None else limit
    colour = coloured() if colour is None else colour
    widths = _widths(heads, body, limit - len(indent))
    lines = [_line([Cell(head.title, "dim") for head in heads], heads, widths, colour, indent)]
    for row in body:
        lines += [
            _line(part, heads, widths, colour, indent) for part in _wrapped(row, heads, widths)
        ]
    return "\n".join(lines)


def pairs(
    rows: Iterable[tuple[str, Cell | str]], *, limit: int | None = None, colour: bool | None = None
) -> str:
    """`name   value` lines, values aligned and wrapped below themselves."""
    listed = [(name, _cell(value)) for name, value in rows]
    limit = width() if limit is None else limit
    left = max((len(name) for name, _ in listed), default=0) + len(GAP)
    lines = []
    for name, value in listed:
        wrapped = wrap(value.text, limit - left) or [""]
        first, *rest = (styled(line, value.style, colour) for line in wrapped)
        lines.append(styled(f"{name:<{left}}", "dim", colour) + first)
        lines += [" " * left + line for line in rest]
    return "\n".join(line.rstrip() for line in lines)


def _cell(item: Cell | str) -> Cell:
    return Cell(clean(item)) if isinstance(item, str) else Cell(clean(item.text), item.style)


def _widths(heads: Sequence[Column], body: Sequence[Sequence[Cell]], limit: int) -> list[int]:
    widths = [
        max([columns_of(head.title), *(columns_of(row[n].text) for row in body)])
        for n, head in enumerate(heads)
    ]
    over = sum(widths) + len(GAP) * (len(widths) - 1) - limit
    for shrinks in (True, False):
        while over > 0:
            wide = [
                (widths[n], n)
                for n, head in enumerate(heads)
                if (head.shrinks or head.wraps) is shrinks
                and widths[n] > max(head.least, len(head.title))
            ]
            if not wide:
                break
            widths[max(wide)[1]] -= 1
            over -= 1
    return widths


def _wrapped(
    row: Sequence[Cell], heads: Sequence[Column], widths: Sequence[int]
) -> list[list[Cell]]:
    """One row as one or more lines: what doesn't fit a wrapping column goes below."""
    stacks = [
        [Cell(line, cell.style) for line in wrap(cell.text, wanted)] if head.wraps else [cell]
        for cell, head, wanted in zip(row, heads, widths, strict=True)
    ]
    height = max((len(stack) for stack in stacks), default=1)
    blank = Cell("")
    return [[stack[n] if n < len(stack) else blank for stack in stacks] for n in range(height)]


def _line(
    row: Sequence[Cell], heads: Sequence[Column], widths: Sequence[int], colour: bool, indent: str
) -> str:
    parts = []
    for cell, head, wanted in zip(row, heads, widths, strict=True):
        text = fit(cell.text, wanted)
        padding = " " * (wanted - columns_of(text))
        shown = styled(text, cell.style, colour)
        parts.append(padding + shown if head.right else shown + padding)
    return (indent + GAP.join(parts)).rstrip()


def flatten(value: Any) -> str:
    """A config value on one line: strings bare, absent as a dash, the rest as JSON."""
    if value is None:
        return "-"
    if isinstance(value, str):
        return value
    import json

    return json.dumps(value, ensure_ascii=False, sort_keys=True)


@dataclass(frozen=True, slots=True)
class Page:
    """How wide to draw, in colour or not, and what time it is."""

    now: datetime
    width: int = 80
    colour: bool = False

    def styled(self, text: str, style: Style) -> str:
        return styled(text, style, self.colour)

    def table(self, columns: Sequence[Column | str], rows: Iterable[Sequence[Cell | str]]) -> str:
        return table(columns, rows, limit=self.width, colour=self.colour)

    def pairs(self, rows: Iterable[tuple[str, Cell | str]]) -> str:
        return pairs(rows, limit=self.width, colour=self.colour)

    def ago(self, text: str | None) -> str:
        return relative(instant(text), self.now)

    def below(self, text: str, indent: str = "    ") -> list[str]:
        """Remarks under a line, wrapped and dim."""
        return [self.styled(line, "dim") for line in wrap(clean(text), self.width, indent)]


def page() -> Page:
    """The page as this process would draw it now."""
    from jobreconciler.clock import SystemClock

    return Page(SystemClock().now(), width(), coloured())
