"""What the Python jobs of the killed daemons do: leave the mark of an attempt, as the others do."""

from __future__ import annotations

import os
import time

from jobreconciler.ports import JobContext


def mark(context: JobContext, marks: str) -> None:
    slot = context.slot.isoformat() if context.slot else "-"
    line = f"{context.execution_id} {context.attempt} {slot}\n"
    notes = os.open(marks, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(notes, line.encode())
    finally:
        os.close(notes)


def mark_and_wait(context: JobContext, marks: str) -> None:
    """Too long to be run in a row with others."""
    mark(context, marks)
    time.sleep(1.2)


def fail_once(context: JobContext, marks: str) -> None:
    mark(context, marks)
    if context.attempt == 1:
        raise SystemExit(1)
