"""Lines in a run's output that its job did not print: what it logged as reports, and our remarks.

An object of its own, so that a supervisor and its reports do not refer to each other: what a run
held is then free again when it is over, without a collection. Standard library only: runs inside
the supervisor.
"""

from __future__ import annotations

import time

from jobreconciler.execute import wording

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from jobreconciler.execute.capture import Capture
    from jobreconciler.execute.masking import Mask


class Lines:
    """Writes them to `capture`, masked."""

    def __init__(self, capture: Capture, mask: Mask) -> None:
        self._capture = capture
        self._mask = mask

    def log(self, level: str, message: str, fields: dict[str, Any]) -> None:
        shown = "".join(f" {key}={wording.shown(value)}" for key, value in fields.items())
        text = " ".join(f"{message}{shown}".splitlines())
        line = f"{wording.instant(time.time(), 3)} {level} {self._mask.text(text)}\n"
        self._capture.write(line.encode("utf-8", "replace"))

    def note(self, text: str) -> None:
        line = f"[jobreconciler: {self._mask.text(text)}]\n"
        self._capture.write(line.encode("utf-8", "replace"))
