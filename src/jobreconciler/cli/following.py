"""Print what an execution writes, attempt after attempt, until it has ended if asked to.

Polling, not a stream: it survives a restart of the daemon, which the execution itself does too.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any

from jobreconciler.cli.errors import Unreachable
from jobreconciler.cli.output import note, styled, width, write_bytes
from jobreconciler.cli.runs import Runs
from jobreconciler.cli.words import count, fit, span
from jobreconciler.errors import NotFound, Transient
from jobreconciler.model.execution import FINAL_STATUSES

Json = dict[str, Any]
LOOK_SECONDS = 0.3
PATIENCE_SECONDS = 60.0
"""How long a daemon may be away, for an upgrade say, before following gives up."""


class Follower:
    """Follows one execution. `show_output` false only waits."""

    def __init__(self, runs: Runs, execution_id: str, *, show_output: bool = True) -> None:
        self._runs = runs
        self._id = execution_id
        self._show_output = show_output
        self._offsets: dict[int, int] = {}
        self._bar = _Bar()

    def look(self, attempt: int | None = None) -> Json:
        """Print what is new, of one attempt or of all; return the execution as it is now."""
        execution = self._runs.execution(self._id)
        numbers = [each["number"] for each in execution["attempts"]]
        if attempt is not None and attempt not in numbers:
            made = count(len(numbers), "attempt")
            raise NotFound(f"the execution has no attempt {attempt}, it has made {made}")
        if self._show_output:
            for number in [attempt] if attempt is not None else numbers:
                self._print_new(number, several=attempt is None and len(numbers) > 1)
        return execution

    def follow(self, attempt: int | None = None) -> Json:
        """Until the execution has ended. Raises Unreachable when the daemon stays away."""
        began = time.monotonic()
        try:
            execution = self.look(attempt)
            while execution["status"] not in FINAL_STATUSES:
                self._bar.draw(execution, time.monotonic() - began)
                time.sleep(LOOK_SECONDS)
                execution = self._patiently(lambda: self.look(attempt))
            return execution
        finally:
            self._bar.clear()

    def _patiently(self, look: Callable[[], Json]) -> Json:
        gone_at = time.monotonic()
        while True:
            try:
                return look()
            except (Unreachable, Transient):
                if time.monotonic() - gone_at > PATIENCE_SECONDS:
                    raise
                time.sleep(1)

    def _print_new(self, number: int, *, several: bool) -> None:
        while True:
            offset = self._offsets.get(number)
            content, following = self._runs.output(self._id, number, offset or 0)
            if offset is None and several:
                self._bar.clear()
                note(styled(f"--- attempt {number} ---", "dim", colour=sys.stderr.isatty()))
            self._offsets[number] = following
            if not content:
                return
            self._bar.clear()
            write_bytes(content)


class _Bar:
    """One line on standard error that is redrawn in place; nothing where that is no terminal."""

    def __init__(self) -> None:
        self._shown = False

    def draw(self, execution: Json, elapsed: float) -> None:
        if elapsed < 1 or not sys.stderr.isatty():
            return
        parts = [execution["status"], span(elapsed)]
        progress = execution["progress"]
        if progress and progress["total"]:
            share = min(max(progress["done"] / progress["total"], 0.0), 1.0)
            parts.append(f"[{'#' * round(share * 20):<20}] {share:.0%}")
            parts.append(f"{progress['done']:,} of {progress['total']:,}")
        self._put(fit("  ".join(parts), width() - 1))
        self._shown = True

    def clear(self) -> None:
        if self._shown:
            self._put("")
            self._shown = False

    def _put(self, text: str) -> None:
        sys.stderr.write(f"\r\x1b[K{text}")
        sys.stderr.flush()
