"""What became of an execution, in words for people."""

from __future__ import annotations

from jobreconciler.core import views
from jobreconciler.model.execution import FAILED_STATUSES, Execution

LINES_SHOWN = 20


def run_seconds(execution: Execution) -> float | None:
    """How long it took from its first start to its end."""
    if execution.started_at is None or execution.finished_at is None:
        return None
    taken = (execution.finished_at - execution.started_at).total_seconds()
    return round(max(taken, 0.0), 3)


def duration_text(seconds: float) -> str:
    """`0.42 s`, `12 s`, `3 min 5 s`, `2 h 4 min`, `3 d 1 h`: two units at most."""
    if seconds < 10:
        return f"{round(seconds, 2):g} s"
    whole = round(seconds)
    for size, unit, rest_size, rest_unit in (
        (86400, "d", 3600, "h"),
        (3600, "h", 60, "min"),
        (60, "min", 1, "s"),
    ):
        if whole >= size:
            rest = whole % size // rest_size
            return f"{whole // size} {unit}" + (f" {rest} {rest_unit}" if rest else "")
    return f"{whole} s"


def last_lines(data: bytes) -> list[str]:
    """The last 20 lines of an output; the first of these bytes may lie within a line."""
    lines = data.decode("utf-8", "replace").splitlines()
    return lines[-LINES_SHOWN:]


def failure_text(execution: Execution) -> str:
    """Why it failed, in the executor's words or made from its exit."""
    if execution.error:
        return execution.error
    if execution.signal is not None:
        return f"{execution.status}: ended by signal {execution.signal}"
    if execution.exit_code is not None:
        return f"{execution.status}: exit code {execution.exit_code}"
    return execution.status.replace("_", " ")


def history_text(execution: Execution) -> str:
    """One line for the history: what became of it, how long it took, why."""
    words = execution.status.replace("_", " ")
    if execution.missed is not None:
        missed = execution.missed
        slots = "1 slot" if missed.count == 1 else f"{missed.count} slots"
        span = views.instant(missed.first)
        if missed.count > 1:
            span += f" to {views.instant(missed.last)}"
        return f"{words}: {slots}, {span} ({missed.reason})"
    if execution.status == "skipped":
        return f"skipped: {execution.error or execution.trigger.reason or 'no reason recorded'}"
    seconds = run_seconds(execution)
    if seconds is not None:
        words += f" after {duration_text(seconds)}"
    if len(execution.attempts) > 1:
        words += f", {len(execution.attempts)} attempts"
    if execution.status in FAILED_STATUSES or execution.status == "cancelled":
        words += f": {failure_text(execution)}" if execution.error or _exit(execution) else ""
    return f"{words} (dry run)" if execution.dry_run else words


def _exit(execution: Execution) -> bool:
    return execution.exit_code is not None or execution.signal is not None
