"""A mistake in an input, with the place a person has to look at."""

from __future__ import annotations

from typing import Any, NamedTuple


class Problem(NamedTuple):
    """One mistake. `line` and `column` count from 1; 0 where the file as a whole is meant."""

    file: str
    line: int
    column: int
    path: str
    code: str
    message: str
    hint: str = ""

    def to_json(self) -> dict[str, Any]:
        return {
            "file": self.file,
            "line": self.line,
            "column": self.column,
            "path": self.path,
            "code": self.code,
            "message": self.message,
            "hint": self.hint,
        }
