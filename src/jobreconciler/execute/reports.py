"""What a job says about itself through its report descriptor: one JSON object a line.

The lines are documented in docs/job-reporting.md. A line that is not understood is counted and
noted, it never fails the job. Standard library only: runs inside the supervisor.
"""

from __future__ import annotations

import json
import math

from jobreconciler.core.nesting import MOST_LEVELS, is_too_deep

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

LONGEST_LINE = 1024 * 1024
MOST_METRICS = 200
LEVELS = ("debug", "info", "warn", "error")
_NAMES = {"warning": "warn", "critical": "error", "fatal": "error"}


class Reports:
    """Reads report lines and keeps the latest of each kind.

    `changed` is set with every progress or metric, for whoever writes the live view; `log` is
    called with (level, message, fields), `note` with a text about a line not understood.
    """

    def __init__(
        self,
        mask: Callable[[Any], Any],
        log: Callable[[str, str, dict[str, Any]], None],
        note: Callable[[str], None],
    ) -> None:
        self.progress: list[int] | None = None
        self.metrics: dict[str, dict[str, Any]] = {}
        self.result: dict[str, Any] | None = None
        self.error: str | None = None
        self.malformed = 0
        self.changed = False
        self._mask = mask
        self._log = log
        self._note = note
        self._line = bytearray()
        self._number = 0
        self._overlong = False

    def feed(self, data: bytes) -> None:
        *lines, rest = data.split(b"\n")
        for line in lines:
            self._line += line
            self._end_of_line()
        self._line += rest
        if len(self._line) > LONGEST_LINE:
            self._line.clear()
            self._overlong = True

    def flush(self) -> None:
        """The stream has ended; a last line needs no line break."""
        if self._line or self._overlong:
            self._end_of_line()

    def _end_of_line(self) -> None:
        line, self._line = bytes(self._line).strip(), bytearray()
        self._number += 1
        if self._overlong or len(line) > LONGEST_LINE:
            self._overlong = False
            self._refuse(f"it is longer than {LONGEST_LINE} bytes")
        elif line:
            self._take(line)

    def _take(self, line: bytes) -> None:
        try:
            said = json.loads(line)
        except (ValueError, RecursionError):
            self._refuse("it is not JSON")
            return
        if not isinstance(said, dict) or not said:
            self._refuse("it is not a JSON object")
            return
        for kind, value in said.items():
            problem = self._take_one(kind, value)
            if problem:
                self._refuse(problem)

    def _take_one(self, kind: str, value: Any) -> str | None:
        """What is wrong with it."""
        handler = _KINDS.get(kind)
        if handler is None:
            return f"{kind!r} is not a kind of report"
        if is_too_deep(value):
            return f"{kind} is nested more than {MOST_LEVELS} levels deep"
        return handler(self, value)

    def _refuse(self, why: str) -> None:
        self.malformed += 1
        if self.malformed == 1:
            self._note(f"report line {self._number} was not understood: {why}")

    def _take_progress(self, value: Any) -> str | None:
        if not isinstance(value, dict):
            return "progress must be an object"
        done: Any = value.get("done")
        total: Any = value.get("total")
        if not (_is_count(done) and _is_count(total)):
            return "progress needs whole numbers `done` and `total`, none below 0"
        self.progress = [int(done), int(total)]
        self.changed = True
        return None

    def _take_metric(self, value: Any) -> str | None:
        if not isinstance(value, dict):
            return "metric must be an object"
        name, number, unit = value.get("name"), value.get("value"), value.get("unit", "")
        if not isinstance(name, str) or not 0 < len(name) <= 200:
            return "metric needs a `name` of 1 to 200 characters"
        if not _is_number(number) or not isinstance(unit, str):
            return f"metric {name!r} needs a finite number `value` and a text `unit`"
        name = self._mask(name)
        if name not in self.metrics and len(self.metrics) >= MOST_METRICS:
            return f"more than {MOST_METRICS} metrics"
        self.metrics[name] = {"value": number, "unit": self._mask(unit)}
        self.changed = True
        return None

    def _take_log(self, value: Any) -> str | None:
        if not isinstance(value, dict) or not isinstance(value.get("message"), str):
            return "log needs a text `message`"
        level = str(value.get("level", "info")).lower()
        level = _NAMES.get(level, level)
        if level not in LEVELS:
            return f"log level must be one of {', '.join(LEVELS)}"
        fields = {key: item for key, item in value.items() if key not in ("level", "message")}
        self._log(level, value["message"], fields)
        return None

    def _take_result(self, value: Any) -> str | None:
        if not isinstance(value, dict):
            return "result must be an object"
        try:
            json.dumps(value, allow_nan=False)
        except ValueError:
            return "result holds NaN or an infinity"
        self.result = self._mask(value)
        return None

    def _take_error(self, value: Any) -> str | None:
        if not isinstance(value, str):
            return "error must be a text"
        self.error = self._mask(value)[:2000]
        return None


_KINDS: dict[str, Callable[[Reports, Any], str | None]] = {
    "progress": Reports._take_progress,
    "metric": Reports._take_metric,
    "log": Reports._take_log,
    "result": Reports._take_result,
    "error": Reports._take_error,
}


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**53


def _is_number(value: Any) -> bool:
    if not isinstance(value, int | float) or isinstance(value, bool):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # an integer beyond what a float holds
        return False
